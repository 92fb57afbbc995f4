//! Offset → tail or segment. Whole batches, never past the caller's bound or the flushed end.

use std::io;
use std::ops::Range;

use millstream_protocol::batch::{BatchHeader, HEADER};
use millstream_ring::Bytes;

use super::damage::intact_part;
use super::{Index, Log, LogState};
use crate::error::{Offline, ReadError};
use crate::files::Access;
use crate::knobs::BLOCK;
use crate::segment::survey::{Flaw, epoch_fits};
use crate::segment::{self, Place, SegmentError};
use crate::store::event::Ahead;

/// Bytes looked at to find a batch when the caller wants less.
const WINDOW_BYTES_MIN: u64 = 64 * 1024;

/// Read behind what is wanted: the next header says whether the offsets of the batch before it can be right.
pub(super) const BEHIND: u64 = HEADER as u64;

/// Segments are read in pieces of at most this many bytes, [`READS_AT_ONCE`] at a time for all readers of a core and a data
/// directory. A flush waits for what is being read when it begins: with 512 KiB a device still reads at about its full rate, and
/// flushes are answered in half a millisecond instead of tens (measured, tuning.md).
const PIECE_BYTES: u64 = 128 << 10;

/// See [`PIECE_BYTES`].
pub(crate) const READS_AT_ONCE: usize = 4;

/// A batch's checksum covers it from here on.
const CRC_START: u64 = 21;

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
        if let Some(result) = self.read_on(limits).await {
            // What was read ahead comes without a wait, and checking it took its time.
            self.dir.ring.yield_now().await;
            return Ok(result);
        }
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

    /// From where an earlier read ended. `None`: there is none, or what is there does not look right.
    async fn read_on(&self, limits: Limits) -> Option<ReadResult> {
        let place = self.place_at(limits.from)?;
        let base = place.base;
        let part = intact_part(&self.surveyed(base).unwrap_or_default(), limits.from).ok()?;
        if !part.contains(&place.position) {
            return None;
        }
        let ahead = Some(place.window().await.unwrap_or_default());
        let read = self.read_from(base, place.position, limits, part.end, ahead);
        let read = read.await.ok()?.ok()?;
        // The batch before, which was whole, says where this one is and what its offset is.
        (read.first_offset == limits.from && read.bytes > 0).then_some(read)
    }

    /// From a segment's file, and the tail for what the file does not have yet. Every batch is checked before it is given: what
    /// lies on the disk may have changed there.
    async fn read_segment(&self, limits: Limits) -> Result<ReadResult, ReadError> {
        let nothing = ReadResult {
            first_offset: limits.from,
            ..ReadResult::default()
        };
        let mut from = limits.from;
        loop {
            let Some((base, next)) = self.segment_of(from) else {
                return Ok(nothing);
            };
            match self.read_at(base, from, limits).await? {
                Some(result) => return Ok(result),
                // The offset lies in a gap at the segment's end (compaction): go on with the next one.
                None if next > from && next < limits.bound => from = next,
                None => return Ok(nothing),
            }
        }
    }

    /// From one segment; `None`: it has nothing from this offset on.
    async fn read_at(
        &self,
        base: i64,
        from: i64,
        limits: Limits,
    ) -> Result<Option<ReadResult>, ReadError> {
        let mut known = self.surveyed(base);
        let part = intact_part(known.as_deref().unwrap_or_default(), from);
        let found = match part.clone() {
            Ok(part) => {
                let surveyed = known.is_some();
                self.read_indexed(base, from, limits, &part, surveyed)
                    .await?
            }
            Err(_) => None,
        };
        if found.is_some() {
            return Ok(found);
        }
        if known.is_none() {
            known = Some(self.survey(base).await?);
        }
        let part =
            intact_part(&known.unwrap_or_default(), from).map_err(|damage| ReadError::Corrupt {
                base_offset: base,
                damage,
            })?;
        let Some(position) = self.walk(base, from, part.start, part.end).await? else {
            return Ok(None);
        };
        // What the survey saw was right: it has changed since.
        let read = self.read_from(base, position, limits, part.end, None);
        match read.await? {
            Ok(result) => Ok(Some(result)),
            Err(flaw) => Err(ReadError::Corrupt {
                base_offset: base,
                damage: self.changed_at(base, from, position, flaw).await?,
            }),
        }
    }

    /// Through the index. `None`: nothing was found, or what was found does not look right.
    async fn read_indexed(
        &self,
        base: i64,
        from: i64,
        limits: Limits,
        part: &Range<u64>,
        surveyed: bool,
    ) -> Result<Option<ReadResult>, ReadError> {
        let place = match self.find_batch(base, from).await {
            Ok(Some(place)) if part.contains(&place.position) => place,
            Ok(_) | Err(ReadError::Segment(_)) => return Ok(None),
            Err(ReadError::Io { source, .. })
                if source.kind() == io::ErrorKind::UnexpectedEof
                    || source.kind() == io::ErrorKind::InvalidData =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Offsets have no checksum. What was surveyed is as it was written, whatever stands before it.
        let elsewhere = place.header.base_offset > from && !place.sure;
        if elsewhere || !(place.apart || surveyed) {
            return Ok(None);
        }
        let read = self.read_from(base, place.position, limits, part.end, None);
        Ok(read.await?.ok())
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

    /// The first batch whose last offset is ≥ `offset`.
    pub(super) async fn find_batch(
        &self,
        base: i64,
        offset: i64,
    ) -> Result<Option<Place>, ReadError> {
        let (info, closed) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base) else {
                return Err(Offline.into());
            };
            (segment.info.clone(), segment.closed)
        };
        if closed {
            let found = segment::find_offset(&self.dir.files, &self.path(), &info, offset).await;
            return found.map_err(|error| match error {
                SegmentError::Io(source) => ReadError::Io {
                    base_offset: base,
                    source,
                },
                other => other.into(),
            });
        }
        let resumed = self.dir.resume_index(self, base).await;
        resumed.map_err(|source| ReadError::Io {
            base_offset: base,
            source,
        })?;
        let position = {
            let mut state = self.state.borrow_mut();
            match state.segment_mut(base).map(|s| &s.index) {
                Some(Index::Active(index)) => u64::from(index.position_for(offset)),
                _ => 0,
            }
        };
        self.walk_window(base, offset, position, u64::MAX).await
    }

    /// Position of the first batch from `start` on, below `end`, whose last offset is ≥ `offset`.
    async fn walk(
        &self,
        base: i64,
        offset: i64,
        start: u64,
        end: u64,
    ) -> Result<Option<u64>, ReadError> {
        let place = self.walk_window(base, offset, start, end).await?;
        Ok(place.map(|place| place.position))
    }

    async fn walk_window(
        &self,
        base: i64,
        offset: i64,
        mut position: u64,
        end: u64,
    ) -> Result<Option<Place>, ReadError> {
        let mut window = Window::default();
        let (mut next, mut apart) = (base, true);
        while position < end {
            if !window.covers(position, HEADER as u64) {
                window = self.window(base, position, WINDOW_BYTES_MIN).await?;
            }
            let Some(header) = window.header(position) else {
                return Ok(None);
            };
            apart &= header.base_offset >= next;
            next = header.next_offset();
            if header.last_offset() >= offset {
                return Ok(Some(Place {
                    position,
                    header,
                    sure: false,
                    apart,
                }));
            }
            position += header.total_len() as u64;
        }
        Ok(None)
    }

    /// Batches from a known position on, below the position `end`. `Err` within: what is wrong with the first. `ahead`: the
    /// reader goes on where an earlier read ended, and this was read since, which may be nothing.
    async fn read_from(
        &self,
        base: i64,
        position: u64,
        limits: Limits,
        end: u64,
        ahead: Option<Window>,
    ) -> Result<Result<ReadResult, Flaw>, ReadError> {
        let goes_on = ahead.is_some();
        let wanted = limits.max_bytes.max(WINDOW_BYTES_MIN);
        let mut window = ahead.unwrap_or_default();
        self.extend(&mut window, base, position, wanted + BEHIND)
            .await?;
        let Some(first) = window.header(position) else {
            return Ok(Err(Flaw::Missing));
        };
        let first_len = first.total_len() as u64;
        let nothing = ReadResult {
            first_offset: limits.from,
            ..ReadResult::default()
        };
        if first_len > limits.max_bytes && !limits.at_least_one {
            return Ok(Ok(nothing));
        }
        if !window.covers(position, first_len) {
            self.extend(&mut window, base, position, first_len + BEHIND)
                .await?;
            if !window.covers(position, first_len) {
                return Ok(Err(Flaw::Missing));
            }
        }
        if let Err(flaw) = self.intact(base, &window, position, &first) {
            return Ok(Err(flaw));
        }
        let mut last = first;
        let mut at = position + first_len;
        let behind = window.header(at).filter(|_| at < end);
        if behind.is_some_and(|behind| behind.base_offset <= first.last_offset()) {
            // One of the two is wrong.
            return Ok(Err(Flaw::Offsets));
        }
        // Only now: a batch that stands too high says so wrongly.
        if first.base_offset >= limits.bound {
            return Ok(Ok(nothing));
        }
        while let Some(header) = window.header(at).filter(|_| at < end) {
            if header.base_offset <= last.last_offset() {
                break;
            }
            let next = at + header.total_len() as u64;
            let too_much =
                next - position > limits.max_bytes || !window.covers(position, next - position);
            if too_much || header.base_offset >= limits.bound {
                break;
            }
            // Whoever reads on from there is told what is wrong.
            let follows = header.base_offset == last.next_offset()
                // Compaction left a gap, unless the batch behind it says that this one stands too high.
                || window
                    .header(next)
                    .is_some_and(|behind| behind.base_offset > header.last_offset());
            if !follows || self.intact(base, &window, at, &header).is_err() {
                break;
            }
            (last, at) = (header, next);
        }
        self.remember_place(base, at, last.next_offset(), wanted + BEHIND, goes_on);
        Ok(Ok(ReadResult {
            parts: window.take(position..at),
            bytes: (at - position) as usize,
            first_offset: first.base_offset,
        }))
    }

    /// Checksum, leader epoch and end of a whole batch.
    fn intact(
        &self,
        base: i64,
        window: &Window,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), Flaw> {
        let covered = position + CRC_START..position + header.total_len() as u64;
        let parts = window.take(covered);
        let crc = parts.iter().fold(0, |crc, p| crc32c::crc32c_append(crc, p));
        if crc != header.crc {
            return Err(Flaw::Checksum);
        }
        let state = self.state.borrow();
        let end = state.segment(base).map(|s| s.info.end_offset);
        let end = end.unwrap_or(i64::MAX).min(self.flushed_end_offset.get());
        if header.next_offset() > end {
            return Err(Flaw::Offsets);
        }
        match epoch_fits(&state.epochs, header) {
            true => Ok(()),
            false => Err(Flaw::Epoch),
        }
    }

    /// Makes a window reach over `[position, position + len)`, as far as there is something.
    async fn extend(
        &self,
        window: &mut Window,
        base: i64,
        position: u64,
        len: u64,
    ) -> Result<(), ReadError> {
        if window.parts.is_empty() {
            window.position = position;
        }
        let (have, to) = (window.end(), position.saturating_add(len));
        if have < to {
            let more = self.window(base, have, to - have).await?;
            window.parts.extend(more.parts);
        }
        Ok(())
    }

    /// `[position, position + len)` of a segment, cut at its flushed end: from its file below the tail, from the tail above.
    pub(super) async fn window(
        &self,
        base: i64,
        position: u64,
        len: u64,
    ) -> Result<Window, ReadError> {
        let (start, from_file, views) = {
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
            (start, from_file, views)
        };
        let mut parts = Vec::new();
        if !from_file.is_empty() {
            let io = |source| ReadError::Io {
                base_offset: base,
                source,
            };
            let file = self
                .dir
                .files
                .get(&self.segment_path(base), Access::Direct)
                .await
                .map_err(io)?;
            let range = from_file.start - start..from_file.end - start;
            let mut ranges = pieces_of(range);
            let mut pieces = Ahead::new();
            let read_piece = async |range: Range<u64>| {
                let _turn = self.dir.reads.take().await;
                let read = segment::read_some(&file, Access::Direct, range.clone()).await?;
                let len = read.len() as u64;
                self.dir.counts.change(|counts| counts.read_bytes += len);
                let whole = len == range.end - range.start;
                Ok((read, whole))
            };
            for range in ranges.by_ref().take(READS_AT_ONCE) {
                pieces.push(Box::pin(read_piece(range)));
            }
            while let Some(piece) = pieces.next().await {
                let (read, whole) = piece.map_err(io)?;
                parts.push(read);
                if !whole {
                    // The file ends too early, and what memory has does not join it.
                    return Ok(Window { position, parts });
                }
                if let Some(range) = ranges.next() {
                    pieces.push(Box::pin(read_piece(range)));
                }
            }
        }
        parts.extend(views);
        Ok(Window { position, parts })
    }

    /// The batch headers of `[from, to)` of a segment, with their positions. Nothing of them is checked but that they lead to
    /// `to`.
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
        // No checksum covers a length by itself.
        match position <= to.max(from) {
            true => Ok(headers),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Gives the first block of memory back if it is not needed; called by the budget's clock. `pressing`: far too much is
    /// held, and what alone keeps the block, bytes of it that only the journal has, is to be settled.
    pub(crate) fn evict_block(&self, pressing: bool) -> usize {
        let mut state = self.state.borrow_mut();
        let end = state.tail.end();
        let settled = state.settled();
        let idle = settled == end && state.cut == end;
        let whole = end.is_multiple_of(BLOCK);
        let Some(first_end) = state.tail.first_chunk_end() else {
            return 0;
        };
        let freed = if first_end < end && first_end <= settled {
            state.prefix = None;
            state.tail.evict_first()
        } else if idle && first_end == end && (whole || state.sealed || self.deleted.get()) {
            state.prefix = None;
            state.tail.clear()
        } else {
            if pressing && first_end <= state.flushed && !state.settle_busy {
                self.dir.settle_soon(self);
            }
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

/// A range of a file in pieces that begin at multiples of their size.
fn pieces_of(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let start = at;
        let end = (start / PIECE_BYTES + 1) * PIECE_BYTES;
        // No piece for a header that is looked at only.
        at = match range.end.saturating_sub(end) <= BEHIND {
            true => range.end,
            false => end,
        };
        (start < at).then_some(start..at)
    })
}

/// Contiguous bytes of a segment.
#[derive(Clone, Default)]
pub(super) struct Window {
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

    pub(super) fn take(&self, range: Range<u64>) -> Vec<Bytes> {
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
