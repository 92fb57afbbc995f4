//! Replay of a coordinator's partition.

use std::collections::HashMap;

use millstream_protocol::batch::{BatchError, BatchHeader, Batches, ControlType, records};
use millstream_ring::Ring;
use millstream_storage::ReadError;

use crate::partition::Partition;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// A batch of an internal topic is never larger than this when unpacked.
const UNPACKED_MAX: usize = 64 << 20;

/// A coordinator's partition could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("cannot read: {0}")]
    Read(#[from] ReadError),
    #[error("corrupt batch: {0}")]
    Batch(#[from] BatchError),
}

/// Gives every record's key and value, oldest first, to `replay`. Those that a transaction of Kafka's wrote count from the
/// marker that commits it on; without one they do not count.
pub(super) async fn replay(
    ring: &Ring,
    partition: &Partition,
    mut replay: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(), LoadError> {
    let log = &partition.log;
    let mut offset = log.log_start_offset();
    let mut transactions = Transactions::default();
    let mut scratch = Vec::new();
    while offset < log.log_end_offset() {
        let read = log.read(offset, CHUNK, log.log_end_offset(), true).await?;
        let mut bytes = Vec::with_capacity(read.bytes);
        for part in &read.parts {
            bytes.extend_from_slice(part);
        }
        let before = offset;
        for batch in Batches::new(&bytes) {
            let (header, batch) = batch?;
            offset = header.last_offset() + 1;
            for record in records(batch, &mut scratch, UNPACKED_MAX)? {
                let record = record?;
                if let Some(key) = record.key {
                    transactions.pass(&header, key, record.value, &mut replay);
                }
            }
        }
        if offset == before {
            // Compaction may leave nothing behind here; anything else is not for this loop to hide.
            tracing::warn!(
                "{}-{}: nothing is left from {offset} to the end at {}",
                partition.topic,
                partition.index,
                log.log_end_offset()
            );
            break;
        }
        ring.yield_now().await;
    }
    Ok(())
}

/// A record: no value is a tombstone.
type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// What open transactions wrote, by producer id.
#[derive(Default)]
struct Transactions {
    open: HashMap<i64, Vec<KeyValue>>,
}

impl Transactions {
    fn pass(
        &mut self,
        header: &BatchHeader,
        key: &[u8],
        value: Option<&[u8]>,
        replay: &mut impl FnMut(&[u8], Option<&[u8]>),
    ) {
        if header.is_control() {
            match ControlType::from_key(key) {
                Some(ControlType::Commit) => {
                    for (key, value) in self.open.remove(&header.producer_id).unwrap_or_default() {
                        replay(&key, value.as_deref());
                    }
                }
                Some(ControlType::Abort) => drop(self.open.remove(&header.producer_id)),
                _ => {}
            }
        } else if header.is_transactional() {
            let written = self.open.entry(header.producer_id).or_default();
            written.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        } else {
            replay(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_protocol::batch::{BatchBuilder, end_transaction_marker};
    use millstream_protocol::compress::Codec;

    use super::*;

    #[test]
    fn offsets_of_a_transaction_count_when_it_commits() {
        let plain = |key: &str| {
            let mut batch = BatchBuilder::new(Codec::None, 0);
            batch.push(0, Some(key.as_bytes()), Some(b""), &[]);
            batch.finish(0)
        };
        let within = |producer: i64, key: &str| {
            let mut batch = BatchBuilder::new(Codec::None, 0)
                .producer(producer, 0, 0)
                .transactional();
            batch.push(0, Some(key.as_bytes()), Some(b""), &[]);
            batch.finish(0)
        };
        let marker = |producer, kind| end_transaction_marker(kind, 0, producer, 0, 0);
        let log = [
            within(1, "committed"),
            within(2, "aborted"),
            plain("plain"),
            marker(2, ControlType::Abort),
            marker(1, ControlType::Commit),
            within(3, "open"),
        ];
        let (mut transactions, mut seen) = (Transactions::default(), Vec::new());
        let mut scratch = Vec::new();
        for (header, batch) in
            Batches::new(&log.concat()).map(|batch| batch.expect("it was just built"))
        {
            for record in records(batch, &mut scratch, UNPACKED_MAX).expect("it was just built") {
                let record = record.expect("it was just built");
                let key = record.key.expect("all have keys");
                transactions.pass(&header, key, record.value, &mut |key, _| {
                    seen.push(String::from_utf8_lossy(key).into_owned())
                });
            }
        }
        assert_eq!(seen, ["plain", "committed"]);
    }
}
