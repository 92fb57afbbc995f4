//! Offset → tail or segment. Whole batches, never past the caller's bound or the flushed end.

use std::io;
use std::ops::Range;

use millstream_protocol::batch::{BatchHeader, HEADER};
use millstream_ring::Bytes;

use super::{Index, Log, LogState};
use crate::error::{Offline, ReadError};
use crate::files::Access;
use crate::knobs::BLOCK;
use crate::segment::{self, SegmentError};

/// Bytes looked at to find a batch when the caller wants less.
const WINDOW_BYTES_MIN: u64 = 64 * 1024;

/// Batches as views of memory or of what was read.
#[derive(Debug, Clone, Default)]
pub struct ReadResult {
    /// The bytes, in order; a batch may be spread over several parts.
    pub parts: Vec<Bytes>,
    /// Their sum.
    pub bytes: usize,
    /// Base offset of the first batch; the asked offset when there is none.
    pub first_offset: i64,
}

/// Limits of one read.
#[derive(Clone, Copy)]
struct Limits {
    from: i64,
    max_bytes: u64,
    bound: i64,
    /// The bound is the flushed end: whatever is flushed may be given.
    all: bool,
    at_least_one: bool,
}

impl Log {
    /// Whole batches of one segment, from the one that contains `from`, at most `max_bytes` (with `at_least_one`
    /// the first is given however large it is), none that begins at or above `bound` or the flushed end.
    pub async fn read(
        &self,
        from: i64,
        max_bytes: usize,
        bound: i64,
        at_least_one: bool,
    ) -> Result<ReadResult, ReadError> {
        if let Some(result) = self.read_tail(from, max_bytes, bound, at_least_one) {
            return result;
        }
        self.dir.budget.missed(max_bytes);
        let limits = self.limits(from, max_bytes, bound, at_least_one);
        self.read_segment(limits).await
    }

    /// The same, if all of it is in memory or it can be answered without reading.
    pub fn read_tail(
        &self,
        from: i64,
        max_bytes: usize,
        bound: i64,
        at_least_one: bool,
    ) -> Option<Result<ReadResult, ReadError>> {
        if let Err(error) = self.check_read(from) {
            return Some(Err(error));
        }
        let limits = self.limits(from, max_bytes, bound, at_least_one);
        if from >= limits.bound {
            return Some(Ok(ReadResult {
                first_offset: from,
                ..ReadResult::default()
            }));
        }
        let state = self.state.borrow();
        let at = state
            .marks
            .partition_point(|&(_, offset)| offset <= from)
            .checked_sub(1)?;
        let (address, _) = state.marks[at];
        if address < state.tail.start() {
            return None;
        }
        self.read_lately.set(true);
        let range = state.batches_from(address, &limits)?;
        let mut first_offset = from;
        if !range.is_empty() {
            first_offset = state.header_at(range.start)?.base_offset;
        }
        let parts = if range.is_empty() {
            Vec::new()
        } else {
            state.tail.views(range.clone())
        };
        Some(Ok(ReadResult {
            parts,
            bytes: (range.end - range.start) as usize,
            first_offset,
        }))
    }

    fn check_read(&self, from: i64) -> Result<(), ReadError> {
        if self.dir.is_offline() || self.deleted.get() {
            return Err(Offline.into());
        }
        let (start, end) = (self.log_start_offset.get(), self.flushed_end_offset.get());
        if from < start || from > end {
            return Err(ReadError::OutOfRange {
                offset: from,
                start,
                end,
            });
        }
        Ok(())
    }

    fn limits(&self, from: i64, max_bytes: usize, bound: i64, at_least_one: bool) -> Limits {
        let flushed_end = self.flushed_end_offset.get();
        Limits {
            from,
            max_bytes: max_bytes as u64,
            bound: bound.min(flushed_end),
            all: bound >= flushed_end,
            at_least_one,
        }
    }

    /// From a segment's file, and the tail for what the file does not have yet.
    async fn read_segment(&self, limits: Limits) -> Result<ReadResult, ReadError> {
        let mut from = limits.from;
        loop {
            let Some((base, next)) = self.segment_of(from) else {
                return Ok(ReadResult {
                    first_offset: limits.from,
                    ..ReadResult::default()
                });
            };
            let found = self.find_batch(base, from).await?;
            match found {
                Some(position) => return self.read_from(base, position, limits).await,
                // The offset lies in a gap at the segment's end (compaction): go on with the next one.
                None if next > from && next < limits.bound => from = next,
                None => {
                    return Ok(ReadResult {
                        first_offset: limits.from,
                        ..ReadResult::default()
                    });
                }
            }
        }
    }

    /// Base of the segment that holds `offset`, and the next one's base.
    fn segment_of(&self, offset: i64) -> Option<(i64, i64)> {
        let state = self.state.borrow();
        let after = state
            .segments
            .partition_point(|s| s.info.base_offset <= offset);
        let at = after.saturating_sub(1);
        let next = state
            .segments
            .get(at + 1)
            .map_or(i64::MAX, |s| s.info.base_offset);
        state.segments.get(at).map(|s| (s.info.base_offset, next))
    }

    /// Position of the first batch whose last offset is ≥ `offset`.
    async fn find_batch(&self, base: i64, offset: i64) -> Result<Option<u64>, ReadError> {
        let (info, closed) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base) else {
                return Err(Offline.into());
            };
            (segment.info.clone(), segment.closed)
        };
        if closed {
            let found = segment::find_offset(&self.dir.files, &self.path(), &info, offset).await?;
            return Ok(found.map(|(position, _)| position));
        }
        self.dir
            .resume_index(self, base)
            .await
            .map_err(|source| ReadError::Io {
                base_offset: base,
                source,
            })?;
        let mut position = {
            let mut state = self.state.borrow_mut();
            match state.segment_mut(base).map(|s| &s.index) {
                Some(Index::Active(index)) => u64::from(index.position_for(offset)),
                _ => 0,
            }
        };
        let mut window = Window::default();
        loop {
            if !window.covers(position, HEADER as u64) {
                window = self.window(base, position, WINDOW_BYTES_MIN).await?;
            }
            let Some(header) = window.header(position) else {
                return Ok(None);
            };
            if header.last_offset() >= offset {
                return Ok(Some(position));
            }
            position += header.total_len() as u64;
        }
    }

    /// Batches from a known position on.
    async fn read_from(
        &self,
        base: i64,
        position: u64,
        limits: Limits,
    ) -> Result<ReadResult, ReadError> {
        let mut window = self
            .window(base, position, limits.max_bytes.max(WINDOW_BYTES_MIN))
            .await?;
        let corrupt = ReadError::Corrupt {
            base_offset: base,
            position,
        };
        let Some(first) = window.header(position) else {
            return Err(corrupt);
        };
        let first_len = first.total_len() as u64;
        if first.base_offset >= limits.bound
            || (first_len > limits.max_bytes && !limits.at_least_one)
        {
            return Ok(ReadResult {
                first_offset: limits.from,
                ..ReadResult::default()
            });
        }
        if !window.covers(position, first_len) {
            window = self.window(base, position, first_len).await?;
            if !window.covers(position, first_len) {
                return Err(corrupt);
            }
        }
        let mut end = position + first_len;
        while let Some(header) = window.header(end) {
            let next = end + header.total_len() as u64;
            let too_much =
                next - position > limits.max_bytes || !window.covers(position, next - position);
            if too_much || header.base_offset >= limits.bound {
                break;
            }
            end = next;
        }
        Ok(ReadResult {
            parts: window.take(position..end),
            bytes: (end - position) as usize,
            first_offset: first.base_offset,
        })
    }

    /// `[position, position + len)` of a segment, cut at its flushed end: from its file below the tail, from the tail above.
    async fn window(&self, base: i64, position: u64, len: u64) -> Result<Window, ReadError> {
        let (start, from_file, views, closed, end) = {
            let mut state = self.state.borrow_mut();
            let flushed = state.flushed;
            let tail_start = state.tail.start();
            let Some(segment) = state.segment_mut(base) else {
                return Err(Offline.into());
            };
            let start = segment.start;
            let end = segment
                .end()
                .min(flushed)
                .min(start + position.saturating_add(len));
            let closed = segment.closed;
            let address = start + position;
            if address >= end {
                return Ok(Window::default());
            }
            let from_file = address..end.min(tail_start).max(address);
            let views = if from_file.end < end {
                state.tail.views(from_file.end..end)
            } else {
                Vec::new()
            };
            (start, from_file, views, closed, end)
        };
        let mut parts = Vec::new();
        if !from_file.is_empty() {
            let access = if closed {
                Access::Buffered
            } else {
                Access::Direct
            };
            let io = |source| ReadError::Io {
                base_offset: base,
                source,
            };
            let file = self
                .dir
                .files
                .get(&self.segment_path(base), access)
                .await
                .map_err(io)?;
            let at = from_file.start - start;
            let len = (from_file.end - from_file.start) as usize;
            let read = segment::read_range(&file, access, at, len, end - start).await;
            parts.push(read.map_err(|e| match e {
                SegmentError::Io(source) => io(source),
                other => other.into(),
            })?);
        }
        parts.extend(views);
        Ok(Window { position, parts })
    }

    /// The batch headers of `[from, to)` of a segment, with their positions.
    pub(crate) async fn headers(
        &self,
        base: i64,
        from: u64,
        to: u64,
    ) -> io::Result<Vec<(u64, BatchHeader)>> {
        let mut headers = Vec::new();
        let mut window = Window::default();
        let mut position = from;
        while position < to {
            if !window.covers(position, HEADER as u64) {
                window = self
                    .window(base, position, WINDOW_BYTES_MIN)
                    .await
                    .map_err(io::Error::other)?;
            }
            let header = window.header(position).ok_or(io::ErrorKind::InvalidData)?;
            headers.push((position, header));
            position += header.total_len() as u64;
        }
        Ok(headers)
    }

    /// Gives the first block of memory back if it is not needed; called by the budget's clock.
    pub(crate) fn evict_block(&self) -> usize {
        let mut state = self.state.borrow_mut();
        let end = state.tail.end();
        let settled = state.settled();
        let idle = settled == end && state.cut == end;
        let Some(first_end) = state.tail.first_chunk_end() else {
            return 0;
        };
        let freed = if first_end < end && first_end <= settled {
            state.prefix = None;
            state.tail.evict_first()
        } else if idle && first_end == end && (end.is_multiple_of(BLOCK) || state.sealed) {
            state.prefix = None;
            state.tail.clear()
        } else {
            0
        };
        let start = state.tail.start();
        while state.marks.front().is_some_and(|&(at, _)| at < start) {
            state.marks.pop_front();
        }
        freed
    }

    pub(crate) fn holds_memory(&self) -> bool {
        self.state.borrow().tail.first_chunk_end().is_some()
    }
}

impl LogState {
    pub(crate) fn header_at(&self, address: u64) -> Option<BatchHeader> {
        let mut bytes = [0; HEADER];
        if !self.tail.copy(address, &mut bytes) {
            return None;
        }
        BatchHeader::read(&bytes).ok()
    }

    /// Addresses of the batches that a read gives, walking from a batch at `address`.
    fn batches_from(&self, address: u64, limits: &Limits) -> Option<Range<u64>> {
        let segment_end = self.segment_at(address)?.end();
        let mut start = address;
        let first = loop {
            if start >= segment_end {
                // Batches go on in the next segment.
                start = self.segments.iter().find(|s| s.start >= start)?.start;
                return self.batches_from(start, limits);
            }
            let header = self.header_at(start)?;
            if header.last_offset() >= limits.from {
                break header;
            }
            start += header.total_len() as u64;
        };
        let first_end = start + first.total_len() as u64;
        let fits = first.total_len() as u64 <= limits.max_bytes || limits.at_least_one;
        if first.base_offset >= limits.bound || !fits {
            return Some(start..start);
        }
        let last_end = start.saturating_add(limits.max_bytes);
        let flushed_end = segment_end.min(self.flushed);
        if limits.all && flushed_end <= last_end {
            return Some(start..flushed_end.max(first_end));
        }
        let mut end = self.marked_before(first_end, last_end.min(segment_end), limits.bound);
        while end < flushed_end {
            let Some(header) = self.header_at(end) else {
                break;
            };
            let next = end + header.total_len() as u64;
            if next > last_end || header.base_offset >= limits.bound {
                break;
            }
            end = next;
        }
        Some(start..end)
    }

    /// The last marked batch that begins at or before `end` and has only batches below `bound` before it.
    fn marked_before(&self, first_end: u64, end: u64, bound: i64) -> u64 {
        let after = self
            .marks
            .partition_point(|&(at, offset)| at <= end && offset <= bound);
        match after.checked_sub(1).map(|i| self.marks[i].0) {
            Some(at) if at > first_end => at,
            _ => first_end,
        }
    }
}

/// Contiguous bytes of a segment.
#[derive(Default)]
struct Window {
    position: u64,
    parts: Vec<Bytes>,
}

impl Window {
    fn end(&self) -> u64 {
        self.position + self.parts.iter().map(|p| p.len() as u64).sum::<u64>()
    }

    fn covers(&self, position: u64, len: u64) -> bool {
        position >= self.position && position.saturating_add(len) <= self.end()
    }

    fn header(&self, position: u64) -> Option<BatchHeader> {
        if !self.covers(position, HEADER as u64) {
            return None;
        }
        let mut bytes = [0; HEADER];
        let mut filled = 0;
        for part in self.take(position..position + HEADER as u64) {
            bytes[filled..filled + part.len()].copy_from_slice(&part);
            filled += part.len();
        }
        let header = BatchHeader::read(&bytes).ok()?;
        // Zeros behind the end of what was written are no batch.
        (header.batch_length > 0 && header.total_len() >= HEADER).then_some(header)
    }

    fn take(&self, range: Range<u64>) -> Vec<Bytes> {
        let mut at = self.position;
        let mut taken = Vec::new();
        for part in &self.parts {
            let end = at + part.len() as u64;
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                taken.push(part.slice((from - at) as usize..(to - at) as usize));
            }
            at = end;
        }
        taken
    }
}
