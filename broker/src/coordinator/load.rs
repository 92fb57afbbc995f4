//! Replay of a coordinator's partition.

use millstream_protocol::batch::{BatchError, Batches, records};
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

/// Gives every record's key and value, oldest first, to `replay`.
pub(super) async fn replay(
    partition: &Partition,
    mut replay: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(), LoadError> {
    let log = &partition.log;
    let mut offset = log.log_start_offset();
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
            if header.is_control() {
                continue;
            }
            for record in records(batch, &mut scratch, UNPACKED_MAX)? {
                let record = record?;
                if let Some(key) = record.key {
                    replay(key, record.value);
                }
            }
        }
        if offset == before {
            break;
        }
    }
    Ok(())
}
