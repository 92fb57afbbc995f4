//! `.txnindex`: the aborted transactions of one segment, in the order of their markers.
//!
//! Entries of 34 bytes, version 0 (Kafka's `TransactionIndex`, `AbortedTxn`). Only transactions that wrote
//! something are listed. A read_committed fetch takes from here what its reader must skip.

use std::io;
use std::path::Path;

use super::{SegmentError, SegmentInfo};
use crate::dir::{FileKind, file_name};
use crate::files::{Access, Files};

/// Bytes of one entry.
const ENTRY: usize = 34;
const VERSION: i16 = 0;

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Who aborted.
    pub producer_id: i64,
    /// The first offset it wrote in this partition.
    pub first_offset: i64,
    /// The offset of the abort marker.
    pub last_offset: i64,
    /// The last stable offset when the marker was written: nothing below it was still open.
    pub last_stable_offset: i64,
}

/// A `.txnindex` that is not what it should be: it is rebuilt from the segment's markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbortedError {
    /// Not a whole number of entries.
    #[error("{0} bytes are no whole number of entries")]
    Length(usize),
    /// An entry of another version.
    #[error("entry {index} has version {version}")]
    Version {
        /// Which entry, from 0.
        index: usize,
        /// The version in it.
        version: i16,
    },
    /// Offsets that contradict each other or the entry before.
    #[error("entry {index} is out of order")]
    Order {
        /// Which entry, from 0.
        index: usize,
    },
}

/// The entries of a `.txnindex`.
pub fn decode(bytes: &[u8]) -> Result<Vec<AbortedTxn>, AbortedError> {
    let (entries, rest) = bytes.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return Err(AbortedError::Length(bytes.len()));
    }
    let mut aborted: Vec<AbortedTxn> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        if version != VERSION {
            return Err(AbortedError::Version { index, version });
        }
        let field = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&entry[at..at + 8]);
            i64::from_be_bytes(word)
        };
        let txn = AbortedTxn {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        };
        // Markers stand in the log one after the other, and each ends what began before it.
        let ordered = aborted
            .last()
            .is_none_or(|last| last.last_offset < txn.last_offset);
        if !ordered || txn.first_offset < 0 || txn.first_offset >= txn.last_offset {
            return Err(AbortedError::Order { index });
        }
        aborted.push(txn);
    }
    Ok(aborted)
}

/// The bytes of a `.txnindex`; entries can be appended to a file one by one.
pub fn encode(aborted: &[AbortedTxn]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(aborted.len() * ENTRY);
    for txn in aborted {
        assert!(txn.first_offset < txn.last_offset);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&txn.producer_id.to_be_bytes());
        bytes.extend_from_slice(&txn.first_offset.to_be_bytes());
        bytes.extend_from_slice(&txn.last_offset.to_be_bytes());
        bytes.extend_from_slice(&txn.last_stable_offset.to_be_bytes());
    }
    bytes
}

/// The aborted transactions that touch offsets in `[from, to)`, from the indexes of the log's segments. A transaction stands in the
/// segment of its marker, so later segments are asked until one says that nothing reaches back any more.
pub async fn in_range(
    files: &Files,
    dir: &Path,
    segments: &[SegmentInfo],
    from: i64,
    to: i64,
) -> Result<Vec<AbortedTxn>, SegmentError> {
    let mut found = Vec::new();
    for segment in segments.iter().filter(|segment| segment.end_offset > from) {
        let path = dir.join(file_name(segment.base_offset, FileKind::TxnIndex));
        let file = match files.get(&path, Access::Buffered).await {
            Ok(file) => file,
            // Nothing was aborted in this one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let len = usize::try_from(file.len().await?).map_err(io::Error::other)?;
        let entries = decode(&file.read_at(0, len).await?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if collect(&entries, from, to, &mut found) {
            break;
        }
    }
    Ok(found)
}

/// Adds those that touch `[from, to)`. True when the search is over: false means that transactions in the next segment's
/// index may reach back into the range (Kafka's `TransactionIndex.collectAbortedTxns`).
fn collect(aborted: &[AbortedTxn], from: i64, to: i64, found: &mut Vec<AbortedTxn>) -> bool {
    for txn in aborted {
        if txn.last_offset >= from && txn.first_offset < to {
            found.push(*txn);
        }
        if txn.last_stable_offset >= to {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: &[u8] = include_bytes!(
        "../../tests/fixtures/kafka-4.3.1/clean/payments-0/00000000000000000018.txnindex"
    );

    fn txn(first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: 7,
            first_offset,
            last_offset,
            last_stable_offset,
        }
    }

    #[test]
    fn kafkas_file_is_read_and_written_the_same() {
        let aborted = decode(KAFKAS).unwrap();
        assert_eq!(aborted.len(), 2);
        assert!(aborted.iter().all(|t| t.last_offset == t.first_offset + 3));
        assert_eq!(encode(&aborted), KAFKAS);
    }

    #[test]
    fn truncations_and_flips_are_entries_or_errors() {
        for len in 0..KAFKAS.len() {
            assert_eq!(
                decode(&KAFKAS[..len]).is_ok(),
                len % ENTRY == 0,
                "cut to {len}"
            );
        }
        for bit in 0..KAFKAS.len() * 8 {
            let mut bytes = KAFKAS.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(aborted) = decode(&bytes) {
                assert_eq!(encode(&aborted), bytes);
            }
        }
    }

    #[test]
    fn a_read_sees_what_overlaps_it() {
        let index = [txn(0, 5, 3), txn(3, 10, 6), txn(12, 20, 12)];
        let read = |from, to| {
            let mut found = Vec::new();
            let done = collect(&index, from, to, &mut found);
            (found, done)
        };
        assert_eq!(read(6, 11), (vec![index[1]], true));
        assert_eq!(read(0, 4), (vec![index[0], index[1]], true));
        assert_eq!(read(11, 30), (vec![index[2]], false));
        assert_eq!(read(21, 30), (vec![], false));
    }

    #[test]
    fn kafkas_aborted_transactions_are_found_across_segments() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/kafka-4.3.1/clean/payments-0");
        let bases = [0, 18, 36, 49];
        let info = |pair: &[i64]| SegmentInfo {
            base_offset: pair[0],
            end_offset: pair[1],
            bytes: 0,
            largest_timestamp: -1,
            largest_timestamp_offset: pair[0],
            first_timestamp: None,
            modified_ms: 0,
        };
        let segments: Vec<_> = bases.windows(2).map(info).collect();
        millstream_ring::block_on(async move |ring| {
            let files = Files::new(&ring, 4);
            let all = in_range(&files, &dir, &segments, 0, 49).await.unwrap();
            let ranges: Vec<_> = all
                .iter()
                .map(|t| (t.first_offset, t.last_offset))
                .collect();
            // Three records and a marker each; the second of every three transactions was aborted.
            assert_eq!(ranges, [(4, 7), (16, 19), (28, 31), (40, 43)]);
            // Its marker stands in the second segment, its records in the first.
            let one = in_range(&files, &dir, &segments, 16, 17).await.unwrap();
            assert_eq!(one, [all[1]]);
            let none = in_range(&files, &dir, &segments, 32, 40).await.unwrap();
            assert_eq!(none, []);
        });
    }
}
