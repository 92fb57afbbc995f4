//! One partition on its home core: its log, its producers' state and the fetches that wait for it.

pub(crate) mod append;
pub(crate) mod config;
pub(crate) mod expiry;
pub(crate) mod read;
pub(crate) mod refusal;
pub(crate) mod waiters;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_state::partition::producers::{ProducerEntry, ProducerStates};
use millstream_storage::{Log, ProducerRecovery, ReadError, Ticket};

use config::PartitionConfig;
use millstream_ring::Turns;
use waiters::Waiters;

/// A partition this core leads.
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) index: i32,
    pub(crate) log: Rc<Log>,
    pub(crate) leader_epoch: Cell<i32>,
    pub(crate) config: RefCell<Rc<PartitionConfig>>,
    pub(crate) waiters: Waiters,
    producers: Rc<RefCell<ProducerStates>>,
    /// Held by a batch that cannot be appended at once; those that come meanwhile go on in the order they came.
    pub(crate) appends: Turns,
    /// Producer state is read from snapshot and log when the first producer with an id comes.
    loaded: Cell<bool>,
    /// Of the newest append: what a retried batch has to wait for.
    last_ticket: Cell<Option<Ticket>>,
    /// Deleted while someone held it.
    pub(crate) deleted: Cell<bool>,
}

impl Partition {
    pub(crate) fn new(
        topic: Arc<str>,
        index: i32,
        log: Rc<Log>,
        leader_epoch: i32,
        config: Rc<PartitionConfig>,
    ) -> Rc<Self> {
        let partition = Rc::new(Self {
            topic,
            index,
            log,
            leader_epoch: Cell::new(leader_epoch),
            config: RefCell::new(config),
            waiters: Waiters::default(),
            producers: Rc::default(),
            appends: Turns::default(),
            loaded: Cell::new(false),
            last_ticket: Cell::new(None),
            deleted: Cell::new(false),
        });
        let weak = Rc::downgrade(&partition);
        partition.log.set_on_flushed(Box::new(move |_end| {
            if let Some(partition) = weak.upgrade() {
                partition.waiters.wake();
            }
        }));
        partition
    }

    /// End of what consumers may see: with one replica, what is flushed.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.log.flushed_end_offset()
    }

    /// The same, once all that is acknowledged is below it. Where acknowledgements wait for the flush, that is now.
    pub(crate) async fn acknowledged_end(&self) -> Result<i64, ErrorCode> {
        if self.config.borrow().log.flush_messages > 1 {
            let flushed = self.log.flushed().await;
            flushed.map_err(|_offline| ErrorCode::KafkaStorageError)?;
        }
        Ok(self.high_watermark())
    }

    /// Ends it: whoever waits looks again and finds it gone.
    pub(crate) fn close(&self) {
        self.deleted.set(true);
        self.waiters.wake();
    }

    /// Whether batches with a producer id can be checked.
    pub(crate) fn has_producers(&self) -> bool {
        self.loaded.get()
    }

    /// Makes producer state available; returns at once when it is. The caller has the turn of [`Partition::appends`].
    pub(crate) async fn load_producers(&self, now: i64) -> Result<(), ReadError> {
        if self.loaded.get() {
            return Ok(());
        }
        let recovery = self.log.producer_recovery().await?;
        self.producers.replace(restored(recovery, now));
        let producers = Rc::downgrade(&self.producers);
        self.log.set_snapshot_source(Box::new(move || {
            producers
                .upgrade()
                .map_or_else(Vec::new, |producers| snapshot(&producers.borrow()))
        }));
        self.loaded.set(true);
        Ok(())
    }
}

impl Partition {
    /// Forgets producers that have not written for `expiration_ms`; returns how many.
    pub(crate) fn expire_producers(&self, now: i64, expiration_ms: i64) -> usize {
        self.producers.borrow_mut().expire(now, expiration_ms)
    }
}

fn restored(recovery: ProducerRecovery, now: i64) -> ProducerStates {
    let entries = recovery.snapshot.into_iter().map(|entry| ProducerEntry {
        producer_id: entry.producer_id,
        producer_epoch: entry.producer_epoch,
        last_sequence: entry.last_sequence,
        last_offset: entry.last_offset,
        offset_delta: entry.offset_delta,
        timestamp: entry.timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.current_txn_first_offset,
    });
    ProducerStates::restore(entries, recovery.headers, now)
}

fn snapshot(producers: &ProducerStates) -> Vec<millstream_storage::ProducerEntry> {
    let entries = producers.entries().into_iter();
    entries
        .map(|entry| millstream_storage::ProducerEntry {
            producer_id: entry.producer_id,
            producer_epoch: entry.producer_epoch,
            last_sequence: entry.last_sequence,
            last_offset: entry.last_offset,
            offset_delta: entry.offset_delta,
            timestamp: entry.timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first_offset: entry.current_txn_first_offset,
        })
        .collect()
}
