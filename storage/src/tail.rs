//! The newest bytes of one log in memory.
//!
//! A log's segments lie in one line of addresses, each segment beginning at a multiple of the device's
//! block. The tail covers the last part of that line without holes, in aligned blocks, so any whole block
//! of it can be written to the segment from where it stands. Bytes are appended, never changed.

use std::collections::VecDeque;
use std::ops::Range;

use millstream_ring::{Block, Buffer, Bytes};

use crate::knobs::{BLOCK, TAIL_BLOCK_BYTES_MAX};

/// Memory that a tail took, or has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub blocks: usize,
    pub bytes: usize,
}

impl Taken {
    fn add(&mut self, bytes: usize) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// Memory of one log.
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    /// First address that holds bytes of the log. Inside the first chunk's first block when a log
    /// was continued without reading its last, partial block: before it stand zeros.
    valid_from: u64,
    end: u64,
}

struct Chunk {
    start: u64,
    block: Block,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.block.len() as u64
    }
}

impl Tail {
    /// An empty tail that continues at `end`.
    pub fn new(end: u64) -> Tail {
        Tail {
            chunks: VecDeque::new(),
            valid_from: end,
            end,
        }
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// First address whose bytes are here; equal to the end when nothing is.
    pub fn start(&self) -> u64 {
        self.valid_from
    }

    /// The first bytes of the block at which the tail starts, which are in the segment only: `[block, start)`.
    pub fn missing_prefix(&self) -> Option<Range<u64>> {
        let first = self.chunks.front()?;
        (self.valid_from > first.start).then_some(first.start..self.valid_from)
    }

    /// Appends `parts`; returns the memory that was added.
    pub fn append(&mut self, parts: [&[u8]; 2]) -> Taken {
        let len = parts[0].len() + parts[1].len();
        self.append_all(len, parts.into_iter())
    }

    /// The same for any number of parts, `len` bytes in all.
    pub fn append_all<'a>(&mut self, len: usize, parts: impl Iterator<Item = &'a [u8]>) -> Taken {
        let mut taken = Taken::default();
        for mut part in parts {
            while !part.is_empty() {
                if self.chunks.back().is_none_or(|c| c.block.remaining() == 0) {
                    taken.add(self.add_chunk(len));
                }
                let last = self.chunks.back_mut().expect("a chunk was just added");
                let n = part.len().min(last.block.remaining());
                last.block.append(&part[..n]);
                self.end += n as u64;
                part = &part[n..];
            }
        }
        taken
    }

    /// Gives all of it addresses that are higher by `by`, whole blocks.
    pub fn shift(&mut self, by: u64) {
        assert!(by.is_multiple_of(BLOCK), "segments begin at a block");
        self.chunks.iter_mut().for_each(|chunk| chunk.start += by);
        self.valid_from += by;
        self.end += by;
    }

    /// Zeros up to the next block: the segment ends here, and the next begins at the returned address.
    pub fn pad(&mut self) -> u64 {
        let to = self.end.next_multiple_of(BLOCK);
        if let Some(last) = self.chunks.back_mut() {
            last.block.append_zeros_to((to - last.start) as usize);
        } else {
            self.valid_from = to;
        }
        self.end = to;
        to
    }

    /// A quarter to a half of what the tail holds already, so that of any memory, shared by however many logs, only a part is
    /// not filled yet; never less than the batch needs, from one page to the maximum.
    fn add_chunk(&mut self, batch: usize) -> usize {
        let start = self.end / BLOCK * BLOCK;
        let held = self.chunks.front().map_or(0, |c| self.end - c.start) as usize;
        let share = (held / 2).checked_ilog2().map_or(0, |log| 1 << log);
        let needed = (batch + (self.end - start) as usize).next_power_of_two();
        let capacity = share
            .max(needed)
            .clamp(BLOCK as usize, TAIL_BLOCK_BYTES_MAX);
        let mut block = Block::new(capacity);
        block.append_zeros_to((self.end - start) as usize);
        assert!(
            start == self.end || self.chunks.is_empty(),
            "only a first chunk begins inside a block"
        );
        self.chunks.push_back(Chunk { start, block });
        capacity
    }

    /// Views of `range`, which must lie in the tail. No copy.
    pub fn views(&self, range: Range<u64>) -> Vec<Bytes> {
        self.parts(range)
            .map(|(chunk, within)| chunk.block.view(within))
            .collect()
    }

    /// The bytes of `range`, which must lie in the tail, to be copied at once.
    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = &[u8]> {
        self.parts(range)
            .map(|(chunk, within)| &chunk.block.filled()[within])
    }

    fn parts(&self, range: Range<u64>) -> impl Iterator<Item = (&Chunk, Range<usize>)> {
        assert!(
            range.start <= range.end && range.end <= self.end,
            "{range:?} ends behind {}",
            self.end
        );
        assert!(
            range.is_empty() || range.start >= self.valid_from,
            "{range:?} begins in bytes that are not here, before {}",
            self.valid_from
        );
        let first = self.chunks.partition_point(|c| c.end() <= range.start);
        assert!(
            range.is_empty()
                || self
                    .chunks
                    .get(first)
                    .is_some_and(|c| c.start <= range.start),
            "{range:?} begins before the tail at {}",
            self.valid_from
        );
        self.chunks
            .range(first..)
            .take_while(move |c| c.start < range.end)
            .map(move |c| {
                let from = range.start.max(c.start) - c.start;
                let to = range.end.min(c.end()) - c.start;
                (c, from as usize..to as usize)
            })
    }

    /// Copies `out.len()` bytes from `at`; false when they are not all here.
    pub fn copy(&self, at: u64, out: &mut [u8]) -> bool {
        let end = at + out.len() as u64;
        if at < self.valid_from || end > self.end {
            return false;
        }
        let mut filled = 0;
        for bytes in self.slices(at..end) {
            out[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        filled == out.len()
    }

    /// The last, partial block padded with zeros, `prefix` standing in for what is missing of it.
    pub fn padded_block(&self, block: u64, end: u64, prefix: Option<&Bytes>) -> Buffer {
        assert!(block.is_multiple_of(BLOCK) && block < end && end <= block + BLOCK);
        let mut buffer = Buffer::with_capacity(BLOCK as usize);
        let from = block.max(self.valid_from);
        if from > block {
            let missing = (from - block) as usize;
            let prefix = prefix.filter(|p| p.len() >= missing);
            // The prefix is fetched before the first entry of a continued log is written.
            buffer.extend_from_slice(
                &prefix.expect("fetched before the log's first entry")[..missing],
            );
        }
        for bytes in self.slices(from..end) {
            buffer.extend_from_slice(bytes);
        }
        buffer.resize_zeroed(BLOCK as usize);
        buffer
    }

    /// End of the first chunk, if it may be dropped alone: it is full and not the last one.
    pub fn first_chunk_end(&self) -> Option<u64> {
        self.chunks.front().map(Chunk::end)
    }

    /// Drops the first chunk; returns the memory given back.
    pub fn evict_first(&mut self) -> usize {
        let Some(first) = self.chunks.pop_front() else {
            return 0;
        };
        self.valid_from = first.end().max(self.valid_from);
        first.block.capacity()
    }

    /// All that it has taken.
    pub fn memory(&self) -> Taken {
        let mut all = Taken::default();
        self.chunks.iter().for_each(|c| all.add(c.block.capacity()));
        all
    }

    /// Drops everything; the log continues at the same end.
    pub fn clear(&mut self) -> usize {
        let mut freed = 0;
        while !self.chunks.is_empty() {
            freed += self.evict_first();
        }
        self.valid_from = self.end;
        freed
    }
}

#[cfg(test)]
#[path = "tail/tests.rs"]
mod tests;
