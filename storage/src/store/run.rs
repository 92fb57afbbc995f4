//! What journals hold of a log, joined to runs of neighbouring bytes. Nothing is copied.

use std::collections::HashMap;
use std::ops::Range;

use millstream_ring::Bytes;

use crate::recovery::PieceAt;

/// Contiguous bytes of one segment, by address in the log.
pub(super) struct Run {
    start: u64,
    end: u64,
    parts: Vec<Bytes>,
}

impl Run {
    fn new(start: u64, bytes: Bytes) -> Run {
        Run {
            start,
            end: start + bytes.len() as u64,
            parts: vec![bytes],
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    pub(super) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &part[..])
    }

    /// Adds bytes that begin at `at`, no later than this ends. Some of them may be known: a sealed block's come again.
    fn join(&mut self, at: u64, bytes: &Bytes) {
        let known = (self.end - at) as usize;
        if known < bytes.len() {
            self.end = at + bytes.len() as u64;
            self.parts.push(bytes.slice(known..bytes.len()));
        }
    }

    /// Drops what lies before `from`; false when nothing is left.
    pub(super) fn trim(&mut self, from: u64) -> bool {
        if self.start < from {
            *self = self.cut(from.min(self.end)..self.end);
        }
        self.start < self.end
    }

    /// A part of it.
    fn cut(&self, range: Range<u64>) -> Run {
        let mut parts = Vec::new();
        let mut at = self.start;
        for part in &self.parts {
            let end = at + part.len() as u64;
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                parts.push(part.slice((from - at) as usize..(to - at) as usize));
            }
            at = end;
        }
        Run {
            start: range.start,
            end: range.end,
            parts,
        }
    }

    /// What of it does not stand in the segment as whole blocks; `direct` says what does, in order of its beginnings.
    pub(super) fn without(self, direct: &[Range<u64>]) -> Vec<Run> {
        let mut left = Vec::new();
        let mut at = self.start;
        for range in direct {
            if range.end <= at || self.end <= range.start {
                continue;
            }
            if at < range.start {
                left.push(self.cut(at..range.start));
            }
            at = range.end.min(self.end);
        }
        if at < self.end {
            left.push(self.cut(at..self.end));
        }
        left
    }
}

/// Journalled bytes joined to runs, and the ranges that stand in the segments. `starts`: each segment's address.
pub(super) fn runs_of(
    pieces: Vec<PieceAt>,
    starts: &HashMap<i64, u64>,
) -> (Vec<Run>, Vec<Range<u64>>) {
    let mut inline: Vec<(u64, i64, Bytes)> = Vec::with_capacity(pieces.len());
    let mut direct = Vec::new();
    for piece in pieces {
        // Segments below the log start are gone.
        let Some(start) = starts.get(&piece.segment) else {
            continue;
        };
        let at = start + piece.position;
        match piece.bytes {
            Some(bytes) => inline.push((at, piece.segment, bytes)),
            None => direct.push(at..at + piece.len),
        }
    }
    inline.sort_by_key(|(at, ..)| *at);
    direct.sort_by_key(|range| range.start);
    let mut runs: Vec<Run> = Vec::new();
    let mut segment = i64::MIN;
    for (at, in_segment, bytes) in inline {
        // A run is written to one file: where a segment ends with a block, the next one's bytes follow it without a gap.
        let same = std::mem::replace(&mut segment, in_segment) == in_segment;
        match runs.last_mut() {
            Some(run) if same && at <= run.end => run.join(at, &bytes),
            _ => runs.push(Run::new(at, bytes)),
        }
    }
    (runs, direct)
}
