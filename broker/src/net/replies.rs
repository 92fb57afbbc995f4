//! Replies of one connection, in request order.
//!
//! Each request that is to be answered takes a place in the queue when it is read; replies are filled in whenever they are
//! known and leave from the front. Replies that wait only for a flush hold the ticket of their append, so that one commit
//! releases any number of them without a task each.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::api::produce::{PendingProduce, Progress};
use crate::handover::HandedBatch;
use crate::net::memory::Pool;
use crate::shard::Shard;
use millstream_ring::Bytes;

/// What one send gathers at most, except that a single reply always goes whole.
const SEND_BYTES_MAX: usize = 1 << 20;
/// Views in one send; the kernel takes 1,024 (IOV_MAX).
const SEND_PARTS_MAX: usize = 512;
/// Smaller pieces are copied together; larger ones are sent from where they lie.
const COPY_BELOW: usize = 2048;

/// One encoded reply: the pieces of its frame, length prefix included.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) parts: Vec<Bytes>,
}

impl Reply {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl From<Vec<u8>> for Reply {
    fn from(frame: Vec<u8>) -> Self {
        Self {
            parts: vec![Bytes::from(frame)],
        }
    }
}

/// A place in the queue.
enum Slot {
    /// The handler is still at work.
    Waiting,
    Ready(Reply),
    /// Appends, here or on other cores, that are answered once they are flushed.
    Appended(Box<PendingProduce>),
}

/// The queue. One reader fills it, one writer empties it.
pub(crate) struct Replies {
    slots: RefCell<VecDeque<Slot>>,
    /// Sequence of the slot at the front.
    front: Cell<u64>,
    /// Bytes of replies that are ready but not gathered.
    queued_bytes: Cell<usize>,
    /// Bytes that were gathered last, on their way to the peer.
    sending_bytes: Cell<usize>,
    /// The core's, and what of it these bytes are counted as.
    pool: Rc<Pool>,
    counted: Cell<usize>,
    /// Replies, and bytes of replies, that may wait before no more requests are read.
    replies_max: usize,
    bytes_max: usize,
    writer: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    /// The reader has its turn, and the writer has one after it.
    reader_turn: Cell<bool>,
    /// In the shard's list of those a commit wakes.
    awaits_commit: Cell<bool>,
    /// No more requests come: the writer ends when the queue is empty.
    finished: Cell<bool>,
    /// The peer is gone: nothing is sent any more.
    broken: Cell<bool>,
}

impl Replies {
    pub(crate) fn new(pool: Rc<Pool>, replies_max: usize, bytes_max: usize) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::default(),
            front: Cell::new(0),
            queued_bytes: Cell::new(0),
            sending_bytes: Cell::new(0),
            pool,
            counted: Cell::new(0),
            replies_max,
            bytes_max,
            writer: RefCell::default(),
            reader: RefCell::default(),
            reader_turn: Cell::new(false),
            awaits_commit: Cell::new(false),
            finished: Cell::new(false),
            broken: Cell::new(false),
        })
    }

    /// The reader, whose task has the writer's turn after each of its own: it need not wake the writer, which would only have
    /// the task run once more.
    pub(crate) async fn before_writer<R>(
        &self,
        mut reader: Pin<Box<impl Future<Output = R>>>,
    ) -> R {
        poll_fn(|cx| {
            self.reader_turn.set(true);
            let turn = reader.as_mut().poll(cx);
            self.reader_turn.set(false);
            turn
        })
        .await
    }

    /// Gives the place that was taken last back: its request is not one.
    pub(crate) fn withdraw(&self, place: u64) {
        let mut slots = self.slots.borrow_mut();
        if self.broken.get() {
            return;
        }
        assert_eq!(
            self.front.get() + slots.len() as u64 - 1,
            place,
            "only the last place can be given back"
        );
        slots.pop_back();
    }

    /// Takes the next place in the order of replies.
    pub(crate) fn reserve(&self) -> u64 {
        let mut slots = self.slots.borrow_mut();
        slots.push_back(Slot::Waiting);
        self.front.get() + slots.len() as u64 - 1
    }

    /// Fills a place.
    pub(crate) fn fill(&self, place: u64, reply: Reply) {
        if self.broken.get() {
            return;
        }
        self.queued_bytes.set(self.queued_bytes.get() + reply.len());
        self.count();
        self.set(place, Slot::Ready(reply));
    }

    /// Takes the next place for appends that are answered when they are flushed; there is none if the peer is gone.
    pub(crate) fn push_appended(&self, appended: Box<PendingProduce>) -> Option<u64> {
        if self.broken.get() {
            return None;
        }
        let mut slots = self.slots.borrow_mut();
        let is_away = appended.is_away();
        slots.push_back(Slot::Appended(appended));
        let place = self.front.get() + slots.len() as u64 - 1;
        drop(slots);
        if !is_away {
            self.wake_writer();
        }
        Some(place)
    }

    /// Another core has done its part of the appends at this place.
    pub(crate) fn fill_in(&self, place: u64, batches: Vec<HandedBatch>) {
        if self.broken.get() {
            return;
        }
        let mut slots = self.slots.borrow_mut();
        let index = (place - self.front.get()) as usize;
        let Slot::Appended(appended) = &mut slots[index] else {
            panic!("the place of an append holds it until it is answered");
        };
        appended.fill_in(batches);
        drop(slots);
        if index == 0 {
            self.wake_writer();
        }
    }

    fn set(&self, place: u64, slot: Slot) {
        let mut slots = self.slots.borrow_mut();
        let index = (place - self.front.get()) as usize;
        assert!(
            matches!(slots[index], Slot::Waiting),
            "a reply is given once"
        );
        slots[index] = slot;
        if index == 0 {
            drop(slots);
            self.wake_writer();
        }
    }

    /// Makes the core's count agree with what is here.
    fn count(&self) {
        let bytes = self.queued_bytes.get() + self.sending_bytes.get();
        self.pool.add(bytes);
        self.pool.sub(self.counted.replace(bytes));
    }

    /// Whether bytes are on their way to the peer.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending_bytes.get() > 0
    }

    /// Whether the peer is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Marks that no more requests follow.
    pub(crate) fn finish(&self) {
        self.finished.set(true);
        self.wake_writer();
    }

    /// Marks that nothing can be sent any more.
    pub(crate) fn break_off(&self) {
        self.broken.set(true);
        self.wake_writer();
        self.wake_reader();
    }

    /// Ends the queue, sent or not. Pending replies refer to the connection, which refers to the queue: they have to go.
    pub(crate) fn discard(&self) {
        self.break_off();
        self.slots.take();
        self.queued_bytes.set(0);
        self.sending_bytes.set(0);
        self.count();
    }

    /// Called after a commit group was flushed.
    pub(crate) fn committed(&self) {
        self.awaits_commit.set(false);
        self.wake_writer();
    }

    fn wake_reader(&self) {
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    fn wake_writer(&self) {
        if self.reader_turn.get() {
            return;
        }
        if let Some(waker) = self.writer.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Returns when there is room for another request: a peer that does not read its replies holds back only itself.
    pub(crate) async fn room(&self) {
        poll_fn(|cx| {
            let bytes = self.queued_bytes.get() + self.sending_bytes.get();
            let full = self.slots.borrow().len() >= self.replies_max || bytes >= self.bytes_max;
            if !full || self.broken.get() {
                return Poll::Ready(());
            }
            *self.reader.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Returns when all that was asked is answered and sent, or the peer is gone. For the reader only, as [`Replies::room`].
    pub(crate) async fn all_sent(&self) {
        poll_fn(|cx| {
            let sent = self.slots.borrow().is_empty() && !self.is_sending();
            if sent || self.broken.get() {
                return Poll::Ready(());
            }
            *self.reader.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Returns when the peer is gone. For the reader only, as [`Replies::room`].
    pub(crate) async fn gone(&self) {
        poll_fn(|cx| {
            if self.broken.get() {
                return Poll::Ready(());
            }
            *self.reader.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next replies to send, gathered; `None` at the end of the connection.
    pub(crate) async fn next(self: &Rc<Self>, shard: &Shard) -> Option<Vec<Bytes>> {
        if self.sending_bytes.replace(0) > 0 {
            self.count();
            self.wake_reader();
        }
        poll_fn(|cx| {
            if self.broken.get() {
                return Poll::Ready(None);
            }
            let parts = self.gather(shard);
            // A reply that could not be encoded ends the connection.
            if self.broken.get() {
                return Poll::Ready(None);
            }
            if !parts.is_empty() {
                self.sending_bytes
                    .set(parts.iter().map(|part| part.len()).sum());
                self.count();
                return Poll::Ready(Some(parts));
            }
            if self.finished.get() && self.slots.borrow().is_empty() {
                return Poll::Ready(None);
            }
            *self.writer.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn gather(self: &Rc<Self>, shard: &Shard) -> Vec<Bytes> {
        let mut gather = Gather::default();
        let before = self.front.get();
        let mut slots = self.slots.borrow_mut();
        while let Some(slot) = slots.front_mut() {
            match slot {
                Slot::Waiting => break,
                Slot::Ready(reply) => {
                    let reply = std::mem::take(reply);
                    self.queued_bytes.set(self.queued_bytes.get() - reply.len());
                    gather.push(reply);
                }
                Slot::Appended(appended) => {
                    match appended.finish(&shard.store, &mut gather.small) {
                        Progress::Answered => {}
                        Progress::Unflushed => {
                            if !self.awaits_commit.replace(true) {
                                shard.commit_waiters.borrow_mut().push(self.clone());
                            }
                            break;
                        }
                        Progress::Away => break,
                    }
                }
            }
            slots.pop_front();
            self.front.set(self.front.get() + 1);
            if gather.is_full() {
                break;
            }
        }
        drop(slots);
        // Reader and writer are one task: woken for nothing, a reader that waits would have itself polled for ever.
        if self.front.get() > before {
            self.wake_reader();
        }
        gather.finish()
    }
}

/// Small replies are copied into one buffer; large pieces are sent as they are.
#[derive(Default)]
struct Gather {
    parts: Vec<Bytes>,
    small: Vec<u8>,
    bytes: usize,
}

impl Gather {
    fn push(&mut self, reply: Reply) {
        for part in reply.parts {
            if part.len() < COPY_BELOW {
                self.small.extend_from_slice(&part);
            } else {
                self.flush_small();
                self.bytes += part.len();
                self.parts.push(part);
            }
        }
    }

    fn flush_small(&mut self) {
        if !self.small.is_empty() {
            self.bytes += self.small.len();
            self.parts
                .push(Bytes::from(std::mem::take(&mut self.small)));
        }
    }

    fn is_full(&self) -> bool {
        self.bytes + self.small.len() >= SEND_BYTES_MAX || self.parts.len() >= SEND_PARTS_MAX
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.flush_small();
        self.parts
    }
}
