//! One data file with its indexes: what is known of it, and how a batch in it is found and read.
//!
//! The file is whole record batches, one after another. Where a caller names an `end`, batches below it are trusted
//! to be whole: bytes that are no batch there are corruption and an error, never skipped.

pub mod aborted;
pub mod index;
pub mod survey;

use std::io;
use std::ops::Range;
use std::path::Path;

use millstream_protocol::batch::{self, BatchError, BatchHeader};
use millstream_ring::{BLOCK, Bytes, File};

use crate::dir::{FileKind, file_name};
use crate::files::{Access, Files};
use index::{OFFSET_ENTRY, OffsetEntry, TIME_ENTRY, TimeEntry};

/// Headers are picked out of reads of this size where batches are small.
const WINDOW_SMALL_BATCHES: usize = 64 << 10;
/// And of this size where the last batch was longer than the window above.
const WINDOW_LARGE_BATCHES: usize = BLOCK;
/// The last steps of a search in an index file are done in one read of so many entries.
const INDEX_RUN: u64 = 256;

/// What is known of a segment without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The offset in its file name; the first batch may begin above it.
    pub base_offset: i64,
    /// The offset after it: the next segment's base offset, or the log's end.
    pub end_offset: i64,
    /// Bytes of batches; the file may be longer while it is written.
    pub bytes: u64,
    /// The largest timestamp in it, -1 if there is none.
    pub largest_timestamp: i64,
    /// The last offset of the first batch that has it; the base offset if there is none.
    pub largest_timestamp_offset: i64,
    /// The first batch's largest timestamp, from which `segment.ms` counts; None while there is no batch.
    pub first_timestamp: Option<i64>,
    /// When the file was last written, in Unix milliseconds: its age where records have no timestamps.
    pub modified_ms: i64,
}

impl SegmentInfo {
    /// A segment without batches.
    pub fn empty(base_offset: i64) -> SegmentInfo {
        SegmentInfo {
            base_offset,
            end_offset: base_offset,
            bytes: 0,
            largest_timestamp: -1,
            largest_timestamp_offset: base_offset,
            first_timestamp: None,
            modified_ms: 0,
        }
    }
}

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is there that is no batch.
    #[error("no record batch at position {position}: {cause}")]
    Corrupt {
        /// In the file.
        position: u64,
        /// What is wrong with it.
        cause: BatchError,
    },
    /// A batch goes beyond where batches end.
    #[error("the record batch at position {position} is longer than what follows")]
    Torn {
        /// In the file.
        position: u64,
    },
    /// A batch whose offsets belong elsewhere. The checksum does not cover the base offset.
    #[error(
        "the record batch at position {position} begins at offset {offset}, which is out of order"
    )]
    Order {
        /// In the file.
        position: u64,
        /// Its base offset.
        offset: i64,
    },
}

/// The bytes of `[from, from + len)` that lie below `end`. With direct I/O whole blocks are read and cut to size.
pub async fn read_range(
    file: &File,
    access: Access,
    from: u64,
    len: usize,
    end: u64,
) -> Result<Bytes, SegmentError> {
    let to = from.saturating_add(len as u64).min(end).max(from);
    let read = read_some(file, access, from..to).await?;
    if from + (read.len() as u64) < to {
        let message = format!("file ends at {} of {to} bytes", from + read.len() as u64);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into());
    }
    Ok(read)
}

/// The bytes of `range` as far as the file has them. With direct I/O whole blocks are read and cut to size.
pub async fn read_some(file: &File, access: Access, range: Range<u64>) -> io::Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let block = BLOCK as u64;
    let (start, stop) = match access {
        Access::Buffered => (range.start, range.end),
        Access::Direct => (
            range.start - range.start % block,
            range.end.next_multiple_of(block),
        ),
    };
    let want = usize::try_from(stop - start).map_err(io::Error::other)?;
    let read = Bytes::from(file.read_at(start, want).await?);
    let skip = ((range.start - start) as usize).min(read.len());
    let end = ((range.end - start) as usize).min(read.len());
    Ok(read.slice(skip..end))
}

/// Walks the batch headers of a part of a file, hopping over what lies between.
pub struct HeaderScan {
    file: File,
    access: Access,
    position: u64,
    end: u64,
    window: Bytes,
    window_at: u64,
    window_bytes: usize,
}

impl HeaderScan {
    /// From the batch at `from` to the one that ends at `end`.
    pub fn new(file: File, access: Access, from: u64, end: u64) -> HeaderScan {
        HeaderScan {
            file,
            access,
            position: from,
            end,
            window: Bytes::new(),
            window_at: from,
            window_bytes: WINDOW_SMALL_BATCHES,
        }
    }

    /// The next batch's position and header; None at the end.
    pub async fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        if self.end - position < batch::HEADER as u64 {
            return Err(SegmentError::Torn { position });
        }
        let window_end = self.window_at + self.window.len() as u64;
        if position + batch::HEADER as u64 > window_end {
            let bytes = self.window_bytes;
            self.window = read_range(&self.file, self.access, position, bytes, self.end).await?;
            self.window_at = position;
        }
        let bytes = &self.window[(position - self.window_at) as usize..];
        let header =
            BatchHeader::read(bytes).map_err(|cause| SegmentError::Corrupt { position, cause })?;
        let len = header.total_len();
        if len as u64 > self.end - position {
            return Err(SegmentError::Torn { position });
        }
        self.window_bytes = match len > WINDOW_SMALL_BATCHES {
            true => WINDOW_LARGE_BATCHES,
            false => WINDOW_SMALL_BATCHES,
        };
        self.position = position + len as u64;
        Ok(Some((position, header)))
    }
}

/// Where a batch was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the file.
    pub position: u64,
    /// Its header, not checked.
    pub header: BatchHeader,
    /// All that led there was in order: no batch before it has the offset.
    pub sure: bool,
    /// No batch that was passed on the way reaches into another one.
    pub apart: bool,
}

/// The first batch of a rolled segment whose last offset is at or above `offset`, found through its `.index`.
pub async fn find_offset(
    files: &Files,
    dir: &Path,
    info: &SegmentInfo,
    offset: i64,
) -> Result<Option<Place>, SegmentError> {
    if offset >= info.end_offset {
        return Ok(None);
    }
    let log = files
        .get(
            &dir.join(file_name(info.base_offset, FileKind::Log)),
            Access::Buffered,
        )
        .await?;
    if let Some(entry) = indexed(files, dir, info, offset).await? {
        // The index has no checksum. One that is right leads to a batch that begins at or below the offset.
        let from = u64::from(entry.position);
        match walk_to_offset(&log, from, info, offset, Some(entry)).await {
            Ok(Some(place)) if place.position > from || place.header.base_offset <= offset => {
                return Ok(Some(place));
            }
            Err(SegmentError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(error.into());
            }
            _ => tracing::warn!(
                "{}: segment {}: its offset index, or what it leads to, is wrong",
                dir.display(),
                info.base_offset
            ),
        }
    }
    walk_to_offset(&log, 0, info, offset, None).await
}

/// Walks a rolled segment from `from`, where the index has `entry`, or from its first batch.
async fn walk_to_offset(
    log: &File,
    from: u64,
    info: &SegmentInfo,
    offset: i64,
    entry: Option<OffsetEntry>,
) -> Result<Option<Place>, SegmentError> {
    let mut scan = HeaderScan::new(log.clone(), Access::Buffered, from, info.bytes);
    // Of several batches that a follower of Kafka's took at once the index names the last one's offset.
    let begins = |header: &BatchHeader| entry.is_none_or(|e| e.offset == header.last_offset());
    let (mut next, mut sure, mut apart) = (info.base_offset, true, true);
    while let Some((position, header)) = scan.next().await? {
        apart &= header.base_offset >= next;
        sure &= apart && (position > from || begins(&header));
        next = header.next_offset();
        if header.last_offset() >= offset {
            return Ok(Some(Place {
                position,
                header,
                sure,
                apart,
            }));
        }
    }
    Ok(None)
}

/// Where in a rolled segment to look for the first record with a timestamp at or above `timestamp` and an offset at or above
/// `from_offset`: it has none below. Found through its `.timeindex` and `.index`; `None`: no batch has such a timestamp.
///
/// # Errors
/// Also where batches are out of order: nothing that they say of their offsets can be relied on then.
pub async fn find_timestamp(
    files: &Files,
    dir: &Path,
    info: &SegmentInfo,
    timestamp: i64,
    from_offset: i64,
) -> Result<Option<i64>, SegmentError> {
    if info.largest_timestamp < timestamp {
        return Ok(None);
    }
    let mut indexed = info.base_offset;
    if let Some(entry) = indexed_time(files, dir, info, timestamp).await? {
        // The time index has no checksum either. A wrong entry would hide records.
        let place = find_offset(files, dir, info, entry.offset).await?;
        if place.is_some_and(|place| entry.is_of(&place.header)) {
            indexed = entry.offset;
        }
    }
    let lowest = indexed.max(from_offset);
    let Some(place) = find_offset(files, dir, info, lowest).await? else {
        return Ok(None);
    };
    let from = place.position;
    let log = files
        .get(
            &dir.join(file_name(info.base_offset, FileKind::Log)),
            Access::Buffered,
        )
        .await?;
    let mut scan = HeaderScan::new(log, Access::Buffered, from, info.bytes);
    let mut next = info.base_offset;
    while let Some((position, header)) = scan.next().await? {
        let (first, end) = (header.base_offset, header.next_offset());
        if first < next || end > info.end_offset {
            let offset = first;
            return Err(SegmentError::Order { position, offset });
        }
        if header.max_timestamp >= timestamp {
            return Ok(Some(next.max(lowest)));
        }
        next = end;
    }
    Ok(None)
}

/// Where `.index` says that a scan for `offset` should begin; `None`: at the first batch.
async fn indexed(
    files: &Files,
    dir: &Path,
    info: &SegmentInfo,
    offset: i64,
) -> io::Result<Option<OffsetEntry>> {
    let Some(relative) = offset.checked_sub(info.base_offset).filter(|r| *r >= 0) else {
        return Ok(None);
    };
    let path = dir.join(file_name(info.base_offset, FileKind::Index));
    let at_most = |entry: &[u8; OFFSET_ENTRY]| {
        let [a, b, c, d, ..] = *entry;
        *entry != [0; OFFSET_ENTRY] && i64::from(u32::from_be_bytes([a, b, c, d])) <= relative
    };
    let entry = last_entry_where(files, &path, at_most).await?;
    let entry = entry.map(|[a, b, c, d, position @ ..]| OffsetEntry {
        offset: absolute(info, [a, b, c, d]),
        position: u32::from_be_bytes(position),
    });
    Ok(entry.filter(|e| e.position > 0 && u64::from(e.position) < info.bytes))
}

/// The offset of an index entry, which may be any number.
fn absolute(info: &SegmentInfo, relative: [u8; 4]) -> i64 {
    let relative = i64::from(u32::from_be_bytes(relative));
    info.base_offset.saturating_add(relative)
}

/// The last entry of `.timeindex` below a timestamp, which can be found from its offset on.
async fn indexed_time(
    files: &Files,
    dir: &Path,
    info: &SegmentInfo,
    timestamp: i64,
) -> io::Result<Option<TimeEntry>> {
    let path = dir.join(file_name(info.base_offset, FileKind::TimeIndex));
    let below = |entry: &[u8; TIME_ENTRY]| {
        let [a, b, c, d, e, f, g, h, ..] = *entry;
        *entry != [0; TIME_ENTRY] && i64::from_be_bytes([a, b, c, d, e, f, g, h]) < timestamp
    };
    let entry = last_entry_where(files, &path, below).await?;
    Ok(
        entry.map(|[a, b, c, d, e, f, g, h, offset @ ..]| TimeEntry {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: absolute(info, offset),
        }),
    )
}

/// Binary search in an index file: the last of its leading entries for which `holds`. Nothing is kept in memory: the pages that
/// searches begin with stay in the page cache by themselves. A missing file has no entries.
async fn last_entry_where<const N: usize>(
    files: &Files,
    path: &Path,
    holds: impl Fn(&[u8; N]) -> bool,
) -> io::Result<Option<[u8; N]>> {
    let file = match files.get(path, Access::Buffered).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // `holds` is true for all entries below `low` and false for those from `high` on.
    let (mut low, mut high) = (0, file.len().await? / N as u64);
    while high - low > INDEX_RUN {
        let middle = low + (high - low) / 2;
        let read = file.read_at(middle * N as u64, N).await?;
        match read.first_chunk::<N>() {
            Some(entry) if holds(entry) => low = middle + 1,
            _ => high = middle,
        }
    }
    // One before `low` too: it is the answer if none of the rest holds.
    let first = low.saturating_sub(1);
    let read = file
        .read_at(first * N as u64, (high - first) as usize * N)
        .await?;
    let (entries, _) = read.as_chunks::<N>();
    let count = entries.partition_point(|entry| holds(entry));
    Ok(count.checked_sub(1).map(|i| entries[i]))
}

#[cfg(test)]
mod tests;
