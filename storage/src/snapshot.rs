//! `.snapshot`: what is known of each producer at an offset (Kafka's `ProducerStateManager`, snapshot version 1).
//!
//! Taken when a segment rolls and when a log closes, so that a restart replays only the batches after it. Only the
//! newest batch of each producer is in it: a retry of an older one is recognised from the batches that follow.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use millstream_ring::{Ring, fs};

use crate::dir::{FileKind, file_name, parse_file_name};

const VERSION: i16 = 1;
/// Version, checksum, count.
const HEADER: usize = 10;
const ENTRY: usize = 46;

/// One producer, as it stands in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The last sequence of its last batch, -1 if it has none.
    pub last_sequence: i32,
    /// The last offset of that batch, -1 if it has none.
    pub last_offset: i64,
    /// Last minus first offset of that batch.
    pub offset_delta: i32,
    /// That batch's largest timestamp.
    pub timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins, -1 if none is open.
    pub current_txn_first_offset: i64,
}

/// A snapshot that cannot be used: an older one and more batches are read instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Shorter than its header or not as long as its count says.
    #[error("{0} bytes do not match its number of entries")]
    Length(usize),
    /// A version of somebody else.
    #[error("version {0}")]
    Version(i16),
    /// The checksum does not match.
    #[error("checksum does not match")]
    Checksum,
}

/// The bytes of a snapshot.
pub fn encode(entries: &[ProducerEntry]) -> Vec<u8> {
    let count = i32::try_from(entries.len()).expect("producers of one partition are bounded");
    let mut bytes = Vec::with_capacity(HEADER + entries.len() * ENTRY);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&count.to_be_bytes());
    for e in entries {
        bytes.extend_from_slice(&e.producer_id.to_be_bytes());
        bytes.extend_from_slice(&e.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&e.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&e.last_offset.to_be_bytes());
        bytes.extend_from_slice(&e.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&e.timestamp.to_be_bytes());
        bytes.extend_from_slice(&e.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&e.current_txn_first_offset.to_be_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The entries of a snapshot.
pub fn decode(bytes: &[u8]) -> Result<Vec<ProducerEntry>, SnapshotError> {
    let (header, body) = bytes
        .split_first_chunk::<HEADER>()
        .ok_or(SnapshotError::Length(bytes.len()))?;
    let [v0, v1, c0, c1, c2, c3, n0, n1, n2, n3] = *header;
    let version = i16::from_be_bytes([v0, v1]);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    if crc32c::crc32c(&bytes[6..]) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(SnapshotError::Checksum);
    }
    let (entries, rest) = body.as_chunks::<ENTRY>();
    if !rest.is_empty()
        || usize::try_from(i32::from_be_bytes([n0, n1, n2, n3])) != Ok(entries.len())
    {
        return Err(SnapshotError::Length(bytes.len()));
    }
    Ok(entries.iter().map(entry).collect())
}

/// Writes the snapshot that covers all below `offset`, durably.
pub async fn write(
    ring: &Ring,
    partition_dir: &Path,
    offset: i64,
    entries: &[ProducerEntry],
) -> io::Result<()> {
    let path = partition_dir.join(file_name(offset, FileKind::Snapshot));
    fs::write_durably(ring, &path, &encode(entries)).await
}

/// The newest valid snapshot at an offset within `range`, with its offset. Those that cannot be used are named in the log and
/// passed over.
pub async fn newest(
    ring: &Ring,
    partition_dir: &Path,
    range: RangeInclusive<i64>,
) -> io::Result<Option<(i64, Vec<ProducerEntry>)>> {
    let mut offsets = offsets(partition_dir)?;
    offsets.retain(|offset| range.contains(offset));
    for offset in offsets.into_iter().rev() {
        let path = partition_dir.join(file_name(offset, FileKind::Snapshot));
        match decode(&fs::read(ring, &path).await?) {
            Ok(entries) => return Ok(Some((offset, entries))),
            Err(error) => tracing::warn!("{}: producer snapshot not used: {error}", path.display()),
        }
    }
    Ok(None)
}

/// The offsets of all snapshots in a partition, ascending. Reads the directory: for start, not for the data path.
pub fn offsets(partition_dir: &Path) -> io::Result<Vec<i64>> {
    let mut offsets: Vec<i64> = Vec::new();
    for entry in fs::list(partition_dir)? {
        if let Some((offset, FileKind::Snapshot)) = entry.name.to_str().and_then(parse_file_name) {
            offsets.push(offset);
        }
    }
    offsets.sort_unstable();
    Ok(offsets)
}

/// Which snapshots Kafka would no longer keep: all below the newest two that are neither at a segment's base offset nor at
/// the log's end. Ascending in, ascending out.
pub fn obsolete(snapshot_offsets: &[i64], segment_bases: &[i64], log_end_offset: i64) -> Vec<i64> {
    let newest_two = snapshot_offsets.len().saturating_sub(2);
    let needed = |offset: &i64| *offset == log_end_offset || segment_bases.contains(offset);
    snapshot_offsets[..newest_two]
        .iter()
        .copied()
        .filter(|offset| !needed(offset))
        .collect()
}

fn entry(bytes: &[u8; ENTRY]) -> ProducerEntry {
    let long = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        i64::from_be_bytes(word)
    };
    let int =
        |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    ProducerEntry {
        producer_id: long(0),
        producer_epoch: i16::from_be_bytes([bytes[8], bytes[9]]),
        last_sequence: int(10),
        last_offset: long(14),
        offset_delta: int(22),
        timestamp: long(26),
        coordinator_epoch: int(34),
        current_txn_first_offset: long(38),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: &[u8] = include_bytes!(
        "../tests/fixtures/kafka-4.3.1/clean/codecs-0/00000000000000000120.snapshot"
    );

    #[test]
    fn kafkas_snapshot_is_read_and_written_the_same() {
        let entries = decode(KAFKAS).unwrap();
        assert_eq!(entries.len(), 5);
        assert!(
            entries
                .iter()
                .all(|e| e.current_txn_first_offset == -1 && e.last_sequence == 23)
        );
        assert!(entries.iter().any(|e| e.last_offset == 119));
        assert_eq!(encode(&entries), KAFKAS);
    }

    #[test]
    fn an_empty_snapshot_has_no_entries() {
        assert_eq!(decode(&encode(&[])), Ok(Vec::new()));
    }

    #[test]
    fn truncations_and_flips_are_refused() {
        for len in 0..KAFKAS.len() {
            assert!(decode(&KAFKAS[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..KAFKAS.len() * 8 {
            let mut bytes = KAFKAS.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_count_that_nothing_backs_is_refused() {
        let mut bytes = encode(&[]);
        bytes[6..10].copy_from_slice(&i32::MAX.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(decode(&bytes), Err(SnapshotError::Length(10)));
    }

    #[test]
    fn the_newest_two_and_those_of_segments_are_kept() {
        assert_eq!(obsolete(&[5, 10, 15, 20, 25], &[0, 10], 25), [5, 15]);
        assert_eq!(obsolete(&[5, 10], &[], 99), []);
        assert_eq!(obsolete(&[], &[], 0), []);
    }
}
