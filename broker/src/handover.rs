//! Produced batches for partitions of other cores: there, and back with what became of them.
//!
//! One message each way for each request and core, and nothing else: no task waits for it on either side. A request's reply
//! has its place in its connection's order from the beginning and is filled in when the message comes back; on the other
//! core the message itself stands in line for the flush. Its memory, the batches' too, belongs to the core it came from and
//! is freed there.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;
use millstream_ring::Bytes;
use millstream_storage::Store;
use slab::Slab;

use crate::api::produce::{take_turn, try_append};
use crate::calls::Message;
use crate::net::replies::Replies;
use crate::partition::append::Appended;
use crate::partition::refusal::Refusal;
use crate::shard::Shard;

/// Some batches of one request, all for partitions of one core.
pub(crate) struct Handed {
    /// Names the request on the core it came from.
    key: usize,
    version: i16,
    /// Only what is flushed is answered (acks is not 0).
    flushed: bool,
    pub(crate) batches: Vec<HandedBatch>,
}

/// A batch for another core.
pub(crate) struct HandedBatch {
    /// Which of the request's results it is.
    pub(crate) place: usize,
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
    pub(crate) records: Bytes,
    /// On the way back.
    pub(crate) result: Result<Appended, Refusal>,
}

/// Whom to tell of a request that other cores work on.
struct Asked {
    replies: Rc<Replies>,
    /// The reply's place; none is given where none is wanted (acks=0).
    place: Option<u64>,
}

/// One core's requests on other cores, and those of other cores here.
#[derive(Default)]
pub(crate) struct Handover {
    away: RefCell<Slab<Asked>>,
    /// Appended here and not flushed: the core it came from, and the message. By data directory, in the order of tickets.
    unflushed: RefCell<Vec<VecDeque<(usize, Handed)>>>,
}

/// A batch that waits for its turn, and which one it is.
type Waiting = (
    usize,
    Pin<Box<dyn Future<Output = Result<Appended, Refusal>>>>,
);

impl Handed {
    /// The data directory whose flush is waited for; `None` when every batch has its final result.
    fn unflushed_in(&mut self, store: &Store) -> Option<usize> {
        for batch in &mut self.batches {
            let Ok(appended) = &mut batch.result else {
                continue;
            };
            let Some(ticket) = appended.ticket.filter(|_| self.flushed) else {
                continue;
            };
            match store.is_durable(ticket) {
                Ok(false) => return Some(ticket.dir as usize),
                Ok(true) => appended.ticket = None,
                Err(_offline) => batch.result = Err(ErrorCode::KafkaStorageError.into()),
            }
        }
        None
    }
}

impl Shard {
    /// Sends batches to `core`. When this returns they are queued there, behind all that was sent before.
    pub(crate) async fn hand_over(
        &self,
        core: usize,
        replies: Rc<Replies>,
        place: Option<u64>,
        version: i16,
        flushed: bool,
        batches: Vec<HandedBatch>,
    ) {
        let key = self
            .handover
            .away
            .borrow_mut()
            .insert(Asked { replies, place });
        let handed = Handed {
            key,
            version,
            flushed,
            batches,
        };
        self.calls.send(core, Message::Append(handed)).await;
    }

    /// On the home core: every batch is appended, or has its turn in its partition, when this returns.
    pub(crate) fn append_handed(self: &Rc<Self>, from: usize, mut handed: Handed) {
        let mut waiting: Vec<Waiting> = Vec::new();
        let version = handed.version;
        for (at, batch) in handed.batches.iter_mut().enumerate() {
            batch.result = match self.partition(&batch.topic_id, batch.index) {
                Err(code) => Err(code.into()),
                Ok(partition) => match try_append(self, &partition, &batch.records, version) {
                    Some(result) => result,
                    None => {
                        let records = batch.records.clone();
                        let turn = take_turn(self, &partition, records, version);
                        waiting.push((at, Box::pin(turn)));
                        continue;
                    }
                },
            };
        }
        if waiting.is_empty() {
            return self.answer_when_flushed(from, handed);
        }
        let shard = self.clone();
        self.ring.spawn(async move {
            for (at, result) in waiting {
                handed.batches[at].result = result.await;
            }
            shard.answer_when_flushed(from, handed);
        });
    }

    /// Back on the core the request came from.
    pub(crate) fn answer_handed(&self, handed: Handed) {
        let asked = self.handover.away.borrow_mut().remove(handed.key);
        match asked.place {
            Some(place) => asked.replies.fill_in(place, handed.batches),
            None if handed.batches.iter().any(|batch| batch.result.is_err()) => {
                asked.replies.break_off();
            }
            None => {}
        }
    }

    /// Sends back what was waiting for the flush that is through now, or for a directory that is offline.
    pub(crate) fn answer_flushed(&self) {
        let dirs = self.handover.unflushed.borrow().len();
        for dir in 0..dirs {
            while let Some((from, handed)) = self.next_flushed(dir) {
                self.answer_when_flushed(from, handed);
            }
        }
    }

    fn next_flushed(&self, dir: usize) -> Option<(usize, Handed)> {
        let mut unflushed = self.handover.unflushed.borrow_mut();
        let (_, first) = unflushed[dir].front_mut()?;
        if first.unflushed_in(&self.store) == Some(dir) {
            return None;
        }
        unflushed[dir].pop_front()
    }

    fn answer_when_flushed(&self, from: usize, mut handed: Handed) {
        match handed.unflushed_in(&self.store) {
            Some(dir) => {
                let mut unflushed = self.handover.unflushed.borrow_mut();
                if unflushed.len() <= dir {
                    unflushed.resize_with(dir + 1, VecDeque::new);
                }
                unflushed[dir].push_back((from, handed));
            }
            None => self.calls.post(&self.ring, from, Message::Appended(handed)),
        }
    }
}
