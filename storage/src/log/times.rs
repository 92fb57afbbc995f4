//! Lookups by time, and what producer state needs at start.

use std::io;

use millstream_protocol::batch::{BatchHeader, Batches, HEADER, records};

use super::{Index, Log};
use crate::error::ReadError;
use crate::segment::aborted::{AbortedTxn, in_range};
use crate::segment::{self, SegmentError};
use crate::snapshot::{self, ProducerEntry};

/// Read at once while looking for a batch.
const SCAN_BYTES: usize = 1 << 20;
/// A batch that unpacks to more is answered by its first offset.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// Answer of a lookup by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Offset of the record.
    pub offset: i64,
    /// Its timestamp, Unix milliseconds.
    pub timestamp: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
}

/// What producer state is rebuilt from.
#[derive(Debug, Clone, Default)]
pub struct ProducerRecovery {
    /// Entries of the newest snapshot.
    pub snapshot: Vec<ProducerEntry>,
    /// The offset it covers up to; the log start where there is none.
    pub snapshot_offset: i64,
    /// Headers of all batches after it, in order.
    pub headers: Vec<BatchHeader>,
}

impl Log {
    /// The first record at or after `timestamp` below `bound`: Kafka's ListOffsets by time.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        bound: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let mut from = self.log_start_offset.get();
        // Segments whose largest timestamp is smaller are passed over without a look.
        let later: Vec<_> = {
            let state = self.state.borrow();
            let later = state
                .segments
                .iter()
                .filter(|s| s.info.largest_timestamp >= timestamp);
            later.map(|s| (s.info.clone(), s.closed)).collect()
        };
        for (info, closed) in later {
            from = from.max(info.base_offset);
            if closed {
                let path = self.path();
                let found = segment::find_timestamp(&self.dir.files, &path, &info, timestamp, from);
                match found.await {
                    Ok(Some(lowest)) => from = from.max(lowest),
                    Ok(None) => continue,
                    Err(SegmentError::Io(e)) if e.kind() != io::ErrorKind::UnexpectedEof => {
                        return Err(SegmentError::Io(e).into());
                    }
                    // Damaged: all that can be read of it is looked at.
                    Err(_) => {}
                }
            } else {
                let base = info.base_offset;
                let resumed = self.dir.resume_index(self, base).await;
                resumed.map_err(|source| ReadError::Io {
                    base_offset: base,
                    source,
                })?;
                let entry = match self.state.borrow_mut().segment_mut(base).map(|s| &s.index) {
                    Some(Index::Active(index)) => index.time_before(timestamp),
                    _ => None,
                };
                // It may have been read back from a file, which has no checksum.
                if let Some(entry) = entry
                    && let Ok(Some(place)) = self.find_batch(base, entry.offset).await
                    && entry.is_of(&place.header)
                {
                    from = from.max(entry.offset);
                }
            }
            let end = info.end_offset.max(from).min(bound);
            if let Some(found) = self.scan_for_timestamp(timestamp, from, end).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp: the first of its batch's that has it.
    pub async fn max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        let largest = {
            let state = self.state.borrow();
            state
                .segments
                .iter()
                .map(|s| s.info.largest_timestamp)
                .max()
                .unwrap_or(-1)
        };
        if largest < 0 {
            return Ok(None);
        }
        self.offset_for_timestamp(largest, i64::MAX).await
    }

    async fn scan_for_timestamp(
        &self,
        timestamp: i64,
        mut from: i64,
        bound: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let start = from;
        while from < bound {
            let read = match self.read(from, SCAN_BYTES, bound, true).await {
                // Those behind it are there.
                Err(ReadError::Corrupt { damage, .. }) => {
                    from = damage.offsets.end;
                    continue;
                }
                read => read?,
            };
            if read.bytes == 0 {
                return Ok(None);
            }
            let bytes = flat(&read.parts);
            for (header, batch) in Batches::new(&bytes).map_while(Result::ok) {
                from = header.next_offset();
                if header.max_timestamp < timestamp {
                    continue;
                }
                if let Some(found) = record_at_time(&header, batch, timestamp, start) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The aborted transactions that touch offsets in `[from, to)`: what a consumer that reads committed records has to
    /// leave out. Only logs that Kafka wrote have any.
    pub async fn aborted_transactions(
        &self,
        from: i64,
        to: i64,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        if self.none_aborted.get() || !self.state.borrow().materialized {
            return Ok(Vec::new());
        }
        let segments: Vec<_> = {
            let state = self.state.borrow();
            state.segments.iter().map(|s| s.info.clone()).collect()
        };
        let path = self.path();
        let found = in_range(&self.dir.files, &path, &segments, from, to).await?;
        if found.is_empty() {
            // Looked for once in the whole log, so that others do not cost a file look-up with each fetch.
            let all = in_range(&self.dir.files, &path, &segments, 0, i64::MAX).await?;
            self.none_aborted.set(all.is_empty());
        }
        Ok(found)
    }

    /// Reads back what producer state depends on. May read files: called when a partition is first written to.
    pub async fn producer_recovery(&self) -> Result<ProducerRecovery, ReadError> {
        let end = self.flushed_end_offset.get();
        let materialized = self.state.borrow().materialized;
        let start = self.log_start_offset.get();
        // What lies between an older snapshot and the log start is gone: its sequences would be those of long ago, and the
        // next batch of a producer would be refused. Kafka drops such snapshots too (ProducerStateManager.truncateAndReload).
        let newest = match materialized {
            true => snapshot::newest(&self.dir.ring, &self.path(), start..=end)
                .await
                .map_err(ReadError::Snapshot)?,
            false => None,
        };
        let (snapshot_offset, snapshot) = newest.unwrap_or((start, Vec::new()));
        let mut recovery = ProducerRecovery {
            snapshot,
            snapshot_offset,
            headers: Vec::new(),
        };
        let mut from = snapshot_offset.max(start);
        while from < end {
            let read = match self.read(from, SCAN_BYTES, end, true).await {
                // Of its producers nothing is known; those of the batches behind it are.
                Err(ReadError::Corrupt { damage, .. }) => {
                    from = damage.offsets.end;
                    continue;
                }
                read => read?,
            };
            if read.bytes == 0 {
                break;
            }
            let bytes = flat(&read.parts);
            for (header, _) in Batches::new(&bytes).map_while(Result::ok) {
                // Also the batch that the log start lies in: its producer would be unknown otherwise, and a retry a new batch.
                if header.next_offset() > from {
                    recovery.headers.push(header);
                }
                from = from.max(header.next_offset());
            }
        }
        self.state.borrow_mut().batches_since_snapshot = recovery.headers.len() as u64;
        Ok(recovery)
    }
}

fn flat(parts: &[millstream_ring::Bytes]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
    parts.iter().for_each(|p| bytes.extend_from_slice(p));
    bytes
}

/// The first record of the batch at or after `timestamp`, not below `from`. A batch that cannot be opened is
/// answered by itself: its first offset and largest timestamp.
fn record_at_time(
    header: &BatchHeader,
    batch: &[u8],
    timestamp: i64,
    from: i64,
) -> Option<TimestampOffset> {
    assert!(batch.len() >= HEADER);
    let leader_epoch = header.partition_leader_epoch;
    let mut scratch = Vec::new();
    let whole = TimestampOffset {
        offset: header.base_offset.max(from),
        timestamp: header.max_timestamp,
        leader_epoch,
    };
    let Ok(records) = records(batch, &mut scratch, UNPACKED_BYTES_MAX) else {
        return Some(whole);
    };
    for record in records {
        let Ok(record) = record else {
            return Some(whole);
        };
        if record.timestamp >= timestamp && record.offset >= from {
            return Some(TimestampOffset {
                offset: record.offset,
                timestamp: record.timestamp,
                leader_epoch,
            });
        }
    }
    None
}
