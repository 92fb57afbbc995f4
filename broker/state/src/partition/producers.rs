//! Idempotent producers of one partition (KIP-98): who wrote last with which sequence, so that a retry is answered with
//! the offsets of the original and a gap is refused (Kafka: `ProducerStateManager`, `ProducerAppendInfo`).
//!
//! Order of use: [`ProducerStates::check`] in order of arrival, then the append, then [`ProducerStates::update`] at
//! once, before the batch is durable: the next batch of the same producer is checked against it. An append that fails
//! after its update is taken back with [`ProducerStates::roll_back`], the latest first.
//!
//! Transactional batches are refused by the caller until there is a transaction coordinator; the fields of transactions
//! are kept all the same, since a log written by Kafka may hold them.

use std::collections::BTreeMap;

use millstream_protocol::batch::BatchHeader;
use millstream_protocol::error::ErrorCode;

/// Batches remembered for each producer: as many as a client may have in flight.
pub const BATCHES_RETAINED: usize = 5;
/// "No producer id", of batches without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
const NO_PRODUCER_EPOCH: i16 = -1;
const NO_SEQUENCE: i32 = -1;
/// No coordinator wrote a marker yet; no transaction is open.
const NONE: i32 = -1;

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Append it.
    New,
    /// It was appended before: answer with this and append nothing. The original may not be durable yet, so the answer
    /// waits as the original's does.
    Duplicate {
        /// First offset of the original.
        base_offset: i64,
        /// Last offset of the original.
        last_offset: i64,
        /// max_timestamp of the original; its append time where the topic has LogAppendTime.
        timestamp: i64,
    },
}

/// A producer as a row of Kafka's `.snapshot` file, which keeps only the newest of its batches. The bytes are storage's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Who.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence of the last record; −1 if only markers are known.
    pub last_sequence: i32,
    /// Offset of the last record; −1 with last_sequence −1.
    pub last_offset: i64,
    /// Last less first offset of the last batch.
    pub offset_delta: i32,
    /// Time of the last write: what expiry counts from.
    pub timestamp: i64,
    /// Of the last transaction marker; −1 for none.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction; −1 for none.
    pub current_txn_first_offset: i64,
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    last_sequence: i32,
    offset_delta: i32,
    last_offset: i64,
    timestamp: i64,
}

impl Batch {
    fn of(header: &BatchHeader, base_offset: i64) -> Batch {
        Batch {
            last_sequence: sequence_after(header.base_sequence, header.last_offset_delta),
            offset_delta: header.last_offset_delta,
            last_offset: base_offset + i64::from(header.last_offset_delta),
            timestamp: header.max_timestamp,
        }
    }

    fn holds(&self, header: &BatchHeader) -> bool {
        self.last_sequence == sequence_after(header.base_sequence, header.last_offset_delta)
            && self.offset_delta == header.last_offset_delta
    }
}

/// Sequences are 31 bits: 0 follows 2³¹ − 1.
fn sequence_after(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    (sum & i64::from(i32::MAX)) as i32
}

/// 48 bytes and, on the heap, 24 for each remembered batch: most of many producers sent one batch only.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    producer_epoch: i16,
    coordinator_epoch: i32,
    current_txn_first_offset: i64,
    last_write_ms: i64,
    /// Oldest first, all of the current epoch. Empty if only markers are known.
    batches: Vec<Batch>,
}

impl Producer {
    fn new(producer_epoch: i16) -> Producer {
        Producer {
            producer_epoch,
            coordinator_epoch: NONE,
            current_txn_first_offset: i64::from(NONE),
            last_write_ms: 0,
            batches: Vec::new(),
        }
    }

    fn last_sequence(&self) -> i32 {
        self.batches
            .last()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Returns the batch that fell out of the window.
    fn push(&mut self, batch: Batch) -> Option<Batch> {
        let oldest = (self.batches.len() == BATCHES_RETAINED).then(|| self.batches.remove(0));
        // One slot, then all of them: no growth to a power of two.
        match self.batches.len() {
            0 => self.batches.reserve_exact(1),
            1 => self.batches.reserve_exact(BATCHES_RETAINED - 1),
            _ => {}
        }
        self.batches.push(batch);
        oldest
    }
}

/// How to take back one [`ProducerStates::update`]; dropping it means that the update stands.
#[derive(Debug)]
pub struct Undo {
    producer_id: i64,
    before: Before,
}

#[derive(Debug)]
enum Before {
    /// There was nothing to update.
    Unchanged,
    /// The producer was not known.
    Unknown,
    /// The batch joined others of the same epoch.
    SameEpoch {
        oldest: Option<Batch>,
        current_txn_first_offset: i64,
        last_write_ms: i64,
    },
    /// A new epoch, or a marker, replaced all this.
    Replaced(Producer),
}

/// The idempotent producers of one partition.
#[derive(Debug, Default)]
pub struct ProducerStates {
    producers: BTreeMap<i64, Producer>,
}

impl ProducerStates {
    /// For an empty log.
    pub fn new() -> ProducerStates {
        ProducerStates::default()
    }

    /// Whether a batch from a client may be appended. Errors: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER,
    /// and INVALID_TXN_STATE for a plain batch within the producer's open transaction.
    pub fn check(&self, header: &BatchHeader) -> Result<Checked, ErrorCode> {
        if header.producer_id == NO_PRODUCER_ID {
            return Ok(Checked::New);
        }
        // Nothing known, for instance since it expired: any sequence may be the next.
        let Some(producer) = self.producers.get(&header.producer_id) else {
            return Ok(Checked::New);
        };
        if header.producer_epoch < producer.producer_epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > producer.producer_epoch {
            let starts_anew =
                header.base_sequence == 0 || producer.producer_epoch == NO_PRODUCER_EPOCH;
            return if starts_anew {
                Ok(Checked::New)
            } else {
                Err(ErrorCode::OutOfOrderSequenceNumber)
            };
        }
        if let Some(original) = producer.batches.iter().find(|batch| batch.holds(header)) {
            let (last_offset, timestamp) = (original.last_offset, original.timestamp);
            let base_offset = last_offset - i64::from(original.offset_delta);
            return Ok(Checked::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            });
        }
        let expected = match producer.last_sequence() {
            NO_SEQUENCE => 0,
            last => sequence_after(last, 1),
        };
        if header.base_sequence != expected {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        if producer.current_txn_first_offset >= 0 && !header.is_transactional() {
            return Err(ErrorCode::InvalidTxnState);
        }
        Ok(Checked::New)
    }

    /// Remembers a batch that was checked and is being appended at `base_offset`.
    pub fn update(&mut self, header: &BatchHeader, base_offset: i64, now: i64) -> Undo {
        let producer_id = header.producer_id;
        if producer_id == NO_PRODUCER_ID {
            return Undo {
                producer_id,
                before: Before::Unchanged,
            };
        }
        assert!(base_offset >= 0, "a batch at offset {base_offset}");
        let before = match self.producers.get(&producer_id) {
            None => Before::Unknown,
            Some(producer) => {
                assert!(
                    header.producer_epoch >= producer.producer_epoch,
                    "update of a batch that was not checked"
                );
                let (current_txn_first_offset, last_write_ms) =
                    (producer.current_txn_first_offset, producer.last_write_ms);
                Before::SameEpoch {
                    oldest: None,
                    current_txn_first_offset,
                    last_write_ms,
                }
            }
        };
        let epoch = header.producer_epoch;
        let producer = self
            .producers
            .entry(producer_id)
            .or_insert_with(|| Producer::new(epoch));
        let mut before = before;
        if header.is_control() || epoch > producer.producer_epoch {
            if matches!(before, Before::SameEpoch { .. }) {
                before = Before::Replaced(producer.clone());
            }
            if epoch > producer.producer_epoch {
                producer.producer_epoch = epoch;
                producer.batches = Vec::new();
            }
        }
        producer.last_write_ms = now;
        if header.is_control() {
            // A marker ends the transaction; it has no sequence. The coordinator's epoch stands in its record, which a
            // header does not show: it stays as it was.
            producer.current_txn_first_offset = i64::from(NONE);
            return Undo {
                producer_id,
                before,
            };
        }
        if header.is_transactional() && producer.current_txn_first_offset < 0 {
            producer.current_txn_first_offset = base_offset;
        }
        let fallen = producer.push(Batch::of(header, base_offset));
        if let Before::SameEpoch { oldest, .. } = &mut before {
            *oldest = fallen;
        }
        assert!(producer.batches.len() <= BATCHES_RETAINED);
        Undo {
            producer_id,
            before,
        }
    }

    /// Takes an update back whose append failed. Several are taken back from the latest to the earliest.
    pub fn roll_back(&mut self, undo: Undo) {
        match undo.before {
            Before::Unchanged => {}
            Before::Unknown => {
                let removed = self.producers.remove(&undo.producer_id);
                assert!(removed.is_some(), "an update is taken back once");
            }
            Before::Replaced(producer) => {
                let replaced = self.producers.insert(undo.producer_id, producer);
                assert!(replaced.is_some(), "an update is taken back once");
            }
            Before::SameEpoch {
                oldest,
                current_txn_first_offset,
                last_write_ms,
            } => {
                let producer = self
                    .producers
                    .get_mut(&undo.producer_id)
                    .expect("an update is taken back once");
                let taken = producer.batches.pop();
                assert!(taken.is_some(), "an update is taken back once");
                if let Some(oldest) = oldest {
                    producer.batches.insert(0, oldest);
                }
                producer.current_txn_first_offset = current_txn_first_offset;
                producer.last_write_ms = last_write_ms;
            }
        }
    }

    /// The rows of a snapshot, by producer id. The time of a row is that of the last write, also where the records
    /// carry older times of their own: a producer that copies old data must not be forgotten at the next start.
    pub fn entries(&self) -> Vec<ProducerEntry> {
        let entry = |(producer_id, producer): (&i64, &Producer)| {
            let last = producer.batches.last();
            ProducerEntry {
                producer_id: *producer_id,
                producer_epoch: producer.producer_epoch,
                last_sequence: producer.last_sequence(),
                last_offset: last.map_or(-1, |batch| batch.last_offset),
                offset_delta: last.map_or(0, |batch| batch.offset_delta),
                timestamp: producer.last_write_ms,
                coordinator_epoch: producer.coordinator_epoch,
                current_txn_first_offset: producer.current_txn_first_offset,
            }
        };
        self.producers.iter().map(entry).collect()
    }

    /// The state after a start: the rows of a snapshot, then the headers of all batches behind it, in offset order and
    /// with the offsets they have in the log. These count as written `now`; a row whose time is in the future too.
    /// What a log holds was checked when it was written and is not checked again; rows and batches that make no sense
    /// (a damaged or foreign snapshot) are passed over.
    pub fn restore(
        entries: impl IntoIterator<Item = ProducerEntry>,
        headers: impl IntoIterator<Item = BatchHeader>,
        now: i64,
    ) -> ProducerStates {
        let mut states = ProducerStates::new();
        for entry in entries {
            states.restore_entry(&entry, now);
        }
        for header in headers {
            let known = states
                .producers
                .get(&header.producer_id)
                .map(|producer| producer.producer_epoch);
            let sound =
                header.producer_id >= 0 && header.base_offset >= 0 && header.producer_epoch >= 0;
            let has_sequence = header.is_control() || header.base_sequence >= 0;
            if sound && has_sequence && known.is_none_or(|epoch| header.producer_epoch >= epoch) {
                // Dropping the undo: what the log holds stands.
                states.update(&header, header.base_offset, now);
            }
        }
        states
    }

    fn restore_entry(&mut self, entry: &ProducerEntry, now: i64) {
        if entry.producer_id < 0 || entry.producer_epoch < 0 || entry.offset_delta < 0 {
            return;
        }
        let mut producer = Producer::new(entry.producer_epoch);
        producer.coordinator_epoch = entry.coordinator_epoch;
        producer.current_txn_first_offset = entry.current_txn_first_offset.max(i64::from(NONE));
        producer.last_write_ms = entry.timestamp.min(now);
        if entry.last_sequence >= 0 && entry.last_offset >= i64::from(entry.offset_delta) {
            let ProducerEntry {
                last_sequence,
                offset_delta,
                last_offset,
                timestamp,
                ..
            } = *entry;
            producer.push(Batch {
                last_sequence,
                offset_delta,
                last_offset,
                timestamp,
            });
        }
        self.producers.insert(entry.producer_id, producer);
    }

    /// Forgets producers that wrote nothing for `expiration_ms` (producer.id.expiration.ms), except those with an open
    /// transaction; called each producer.id.expiration.check.interval.ms. Returns how many.
    pub fn expire(&mut self, now: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, producer| {
            producer.current_txn_first_offset >= 0
                || now.saturating_sub(producer.last_write_ms) < expiration_ms
        });
        before - self.producers.len()
    }

    /// Producers known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// First offset of the earliest open transaction: consumers with read_committed stop there.
    pub fn first_undecided_offset(&self) -> Option<i64> {
        self.producers
            .values()
            .map(|producer| producer.current_txn_first_offset)
            .filter(|offset| *offset >= 0)
            .min()
    }
}

#[cfg(test)]
mod tests;
