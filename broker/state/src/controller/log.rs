//! The metadata log as bytes: entries one behind the other, and snapshots made of the same entries.
//!
//! An entry, all integers little endian:
//!
//! | offset | size | field |
//! |--:|--:|---|
//! | 0 | 4 | length of the payload, never 0 |
//! | 4 | 4 | CRC-32C of everything behind this field |
//! | 8 | 4 | epoch |
//! | 12 | 8 | index |
//! | 20 | 8 | flushed: the last index that was durable when this entry was written |
//! | 28 | … | payload: FlatBuffer `Records` |
//!
//! Zeros where an entry should begin reach to the next multiple of [`ALIGNMENT`]: so a writer may pad each write to whole
//! device blocks and never touch a flushed block again. `flushed` tells a torn write from damage: an entry that does not
//! check out was never acknowledged unless a later one says that it was flushed.
//!
//! A snapshot holds records that lead to one state, in entries that all carry its position; `flushed` counts them down
//! to 0, so that a snapshot cut short is noticed.

use super::State;
use super::image::{Position, Topic};
use super::record::{self, Entry, Record, RecordError};

/// Largest payload; a longer length is damage. 10,000 new partitions make about 1 MiB; the largest entry of all is a
/// rebalance that moves every partition of a full cluster, about 72 bytes each.
pub const ENTRY_BYTES_MAX: usize = 128 << 20;
/// Zero padding ends at a multiple of this.
pub const ALIGNMENT: usize = 4096;
/// Bytes in front of the payload.
pub const HEADER_BYTES: usize = 28;
/// Records of a snapshot are grouped into entries of about this size, measured in partitions and other records.
const SNAPSHOT_GROUP: usize = 10_000;

/// Why a log or snapshot cannot be used. `at` is the byte offset of the entry.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LogError {
    /// An entry that was durable does not match its checksum or its length any more.
    #[error(
        "metadata damaged at byte {at}: the entry there was flushed, but its checksum does not match"
    )]
    Damaged {
        /// Where.
        at: usize,
    },
    /// A whole entry that does not follow the one before.
    #[error("metadata damaged at byte {at}: entry {found} cannot follow {last}")]
    OutOfOrder {
        /// Where.
        at: usize,
        /// Of the entry before.
        last: Position,
        /// Of this one.
        found: Position,
    },
    /// A whole entry whose payload makes no sense.
    #[error("metadata not readable at byte {at}: {cause}")]
    Payload {
        /// Where.
        at: usize,
        /// What is wrong with it.
        #[source]
        cause: RecordError,
    },
    /// A snapshot that ends too early: it was replaced whole or not at all, so this is damage too.
    #[error("metadata snapshot damaged at byte {at}: it ends too early")]
    Short {
        /// Where it ends.
        at: usize,
    },
}

/// Appends an entry to `out`. `flushed` is the last index that is durable already (−1: none).
pub fn encode_entry(entry: &Entry, flushed: i64, out: &mut Vec<u8>) {
    assert!(
        flushed < entry.position.index,
        "an entry cannot be durable before it is written"
    );
    encode_frame(entry.position, flushed, &entry.records, out);
}

fn encode_frame(position: Position, flushed: i64, records: &[Record], out: &mut Vec<u8>) {
    let payload = record::encode(records);
    assert!(!payload.is_empty(), "a FlatBuffer has at least its root");
    assert!(
        payload.len() <= ENTRY_BYTES_MAX,
        "an entry of {} bytes: commands are bounded",
        payload.len()
    );
    let start = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&position.epoch.to_le_bytes());
    out.extend_from_slice(&position.index.to_le_bytes());
    out.extend_from_slice(&flushed.to_le_bytes());
    out.extend_from_slice(&payload);
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(out.len(), start + HEADER_BYTES + payload.len());
}

/// Walks a log that begins behind `last` (the position of the snapshot, or [`Position::BEFORE_ALL`]). Entries that
/// `last` already contains are checked and skipped: a crash may come between writing a snapshot and cutting the log.
pub fn decode_log(bytes: &[u8], last: Position) -> Entries<'_> {
    Entries {
        bytes,
        at: 0,
        end: 0,
        last,
        before: None,
        failed: false,
    }
}

/// Entries of a log; ends at a torn tail without an error, since what is torn was never acknowledged.
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    last: Position,
    /// Of the entry before, also while entries are skipped.
    before: Option<Position>,
    failed: bool,
}

impl Entries<'_> {
    /// Where the last whole entry ends, once the iterator has ended without an error: cut the log here and append here
    /// (or at the next multiple of [`ALIGNMENT`]).
    pub fn end(&self) -> usize {
        self.end
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, LogError> {
        loop {
            let Some(frame) = next_frame(self.bytes, &mut self.at) else {
                return match flushed_behind(self.bytes, self.at, self.before) {
                    true => Err(LogError::Damaged { at: self.at }),
                    false => Ok(None),
                };
            };
            let (at, found) = (self.at, frame.position);
            let last = self.before.unwrap_or(self.last);
            let follows = match self.before {
                Some(before) => {
                    Some(found.index) == before.index.checked_add(1) && found.epoch >= before.epoch
                }
                // The first may be any that the snapshot contains, or the one behind it.
                None => found.index >= 0 && found.index <= self.last.index.saturating_add(1),
            };
            if !follows {
                return Err(LogError::OutOfOrder { at, last, found });
            }
            let payload =
                record::decode(frame.payload).map_err(|cause| LogError::Payload { at, cause })?;
            self.before = Some(found);
            self.at += frame.len();
            self.end = self.at;
            if found.index > self.last.index {
                if found.epoch < self.last.epoch {
                    return Err(LogError::OutOfOrder {
                        at,
                        last: self.last,
                        found,
                    });
                }
                self.last = found;
                return Ok(Some(Entry {
                    position: found,
                    records: payload,
                }));
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_entry();
        self.failed = next.is_err();
        next.transpose()
    }
}

struct Frame<'a> {
    position: Position,
    flushed: i64,
    payload: &'a [u8],
}

impl Frame<'_> {
    fn len(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// The frame at `at`, behind padding if there is some; `at` is moved to its start. `None`: no whole frame there.
fn next_frame<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Frame<'a>> {
    if let Some(frame) = read_frame(bytes.get(*at..)?) {
        return Some(frame);
    }
    let block = at.next_multiple_of(ALIGNMENT);
    let padding = bytes.get(*at..block)?;
    if padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    let frame = read_frame(bytes.get(block..)?)?;
    *at = block;
    Some(frame)
}

/// A whole frame with a matching checksum at the start of `bytes`.
fn read_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let field = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let wide = |at: usize| (i64::from(field(at + 4)) << 32) | i64::from(field(at));
    let length = usize::try_from(field(0))
        .ok()
        .filter(|length| (1..=ENTRY_BYTES_MAX).contains(length))?;
    let rest = bytes.get(8..HEADER_BYTES + length)?;
    if crc32c::crc32c(rest) != field(4) {
        return None;
    }
    let position = Position {
        epoch: field(8) as i32,
        index: wide(12),
    };
    Some(Frame {
        position,
        flushed: wide(20),
        payload: &bytes[HEADER_BYTES..HEADER_BYTES + length],
    })
}

/// Whether a whole frame behind `at` says that the entry at `at`, which follows `before`, was durable. Where nothing
/// comes before it that entry's index is not known: the first entry of any later write has everything before it durable.
///
/// Looks at every byte, since the damage may be in a length; the index must fit before a checksum is computed.
fn flushed_behind(bytes: &[u8], at: usize, before: Option<Position>) -> bool {
    let last = before.map_or(-1, |before| before.index);
    let start = at.saturating_add(1);
    (start..bytes.len().saturating_sub(HEADER_BYTES)).any(|start| {
        let rest = &bytes[start..];
        let index = rest
            .get(12..20)
            .and_then(|index| index.try_into().ok())
            .map(i64::from_le_bytes);
        let plausible =
            index.is_some_and(|index| index > last && index < last.saturating_add(1 << 32));
        let frame = if plausible { read_frame(rest) } else { None };
        frame.is_some_and(|frame| match before {
            Some(before) => frame.flushed > before.index,
            None => frame.flushed >= 0 && frame.flushed == frame.position.index - 1,
        })
    })
}

/// The state as a snapshot file: to be written beside the old one and renamed over it.
pub fn encode_snapshot(state: &State) -> Vec<u8> {
    let mut groups: Vec<Vec<Record>> = vec![Vec::new()];
    let mut weight = 0;
    for record in state.removed_records().chain(state.image.records()) {
        let group = groups.last_mut().expect("starts with one");
        weight += match &record {
            Record::Topic(Topic { partitions, .. }) | Record::Partitions { partitions, .. } => {
                partitions.len()
            }
            Record::Config { .. } => 1 + record.config_bytes() / 100,
            _ => 1,
        };
        group.push(record);
        if weight >= SNAPSHOT_GROUP {
            groups.push(Vec::new());
            weight = 0;
        }
    }
    let mut out = Vec::new();
    for (left, records) in (0..groups.len() as i64).rev().zip(&groups) {
        encode_frame(state.position(), left, records, &mut out);
    }
    out
}

/// The state a snapshot holds. Anything less than a whole snapshot is an error.
pub fn decode_snapshot(bytes: &[u8]) -> Result<State, LogError> {
    let mut state = State::new();
    let (mut at, mut left) = (0, None);
    while left != Some(0) {
        let Some(frame) = bytes.get(at..).and_then(read_frame) else {
            let short = at == bytes.len();
            return Err(if short {
                LogError::Short { at }
            } else {
                LogError::Damaged { at }
            });
        };
        let first = left.is_none();
        let follows = left.is_none_or(|left| frame.flushed == left - 1) && frame.flushed >= 0;
        if !follows || (!first && frame.position != state.image.position) {
            return Err(LogError::OutOfOrder {
                at,
                last: state.image.position,
                found: frame.position,
            });
        }
        let records =
            record::decode(frame.payload).map_err(|cause| LogError::Payload { at, cause })?;
        for record in &records {
            state
                .replay_checked(record)
                .map_err(|cause| LogError::Payload { at, cause })?;
        }
        state.image.position = frame.position;
        left = Some(frame.flushed);
        at += frame.len();
    }
    Ok(state)
}

#[cfg(test)]
mod tests;
