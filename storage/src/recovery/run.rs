//! What journals hold of a log, joined to runs of neighbouring bytes while they are read. They stay in the memory they are put
//! into then: the last run becomes the log's tail.

use std::collections::HashMap;
use std::ops::Range;

use crate::tail::Tail;

/// Bytes of a log that may not stand in its segments, and those known to stand there that go on from them.
#[derive(Default)]
pub(crate) struct Runs {
    journalled: Vec<Run>,
    /// Whole blocks that were written to a segment, by position in it.
    direct: Vec<(i64, Range<u64>)>,
}

/// Contiguous bytes of one segment, by position in it, and by address in the log as soon as they have one.
pub(crate) struct Run {
    segment: i64,
    bytes: Tail,
    /// Where a batch begins: the first that was told.
    first_batch: Option<u64>,
}

impl Runs {
    /// Adds bytes of a segment. They go on with the last ones as a rule, and some of them may be known: a sealed block's come
    /// again. What lies before `from` is left out.
    pub fn keep(&mut self, segment: i64, position: u64, bytes: &[u8], from: u64) {
        let start = position.max(from);
        let bytes = bytes.get((start - position) as usize..).unwrap_or_default();
        match self.journalled.last_mut() {
            Some(run) if run.goes_on(segment, start) => run.join(start, bytes),
            _ if bytes.is_empty() => {}
            _ => {
                let mut run = Run {
                    segment,
                    bytes: Tail::new(start),
                    first_batch: None,
                };
                run.bytes.append([bytes, &[]]);
                self.journalled.push(run);
            }
        }
    }

    /// These blocks stand in their segment.
    pub fn direct(&mut self, segment: i64, range: Range<u64>) {
        self.direct.push((segment, range));
    }

    /// A batch begins at `position` of `segment`: told in ascending order.
    pub fn batch_at(&mut self, segment: i64, position: u64) {
        if let Some(run) = self.journalled.last_mut()
            && run.segment == segment
            && run.first_batch.is_none()
            && run.range().contains(&position)
        {
            run.first_batch = Some(position);
        }
    }

    /// The runs and the ranges that stand in the segments, by address and in order. `starts`: each segment's address; what
    /// belongs to others is below the log start and gone.
    pub fn placed(self, starts: &HashMap<i64, u64>) -> (Vec<Run>, Vec<Range<u64>>) {
        let mut direct: Vec<Range<u64>> = self
            .direct
            .into_iter()
            .filter_map(|(segment, range)| {
                let start = starts.get(&segment)?;
                Some(start + range.start..start + range.end)
            })
            .collect();
        direct.sort_by_key(|range| range.start);
        let mut runs: Vec<Run> = Vec::with_capacity(self.journalled.len());
        for mut run in self.journalled {
            if let Some(start) = starts.get(&run.segment) {
                run.bytes.shift(*start);
                run.first_batch = run.first_batch.map(|at| start + at);
                runs.push(run);
            }
        }
        runs.sort_by_key(|run| run.range().start);
        runs.dedup_by(|next, run| {
            let joins = run.goes_on(next.segment, next.range().start);
            if joins {
                run.join_all(next);
            }
            joins
        });
        (runs, direct)
    }
}

impl Run {
    pub fn range(&self) -> Range<u64> {
        self.bytes.start()..self.bytes.end()
    }

    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = &[u8]> {
        self.bytes.slices(range)
    }

    /// The bytes, and where a batch of them begins.
    pub fn into_tail(self) -> (Tail, Option<u64>) {
        (self.bytes, self.first_batch)
    }

    /// What of it does not stand in the segment as whole blocks; `direct` says what does, in order of its beginnings.
    pub fn without(&self, direct: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut left = Vec::new();
        let Range { start: mut at, end } = self.range();
        for range in direct {
            if range.end <= at || end <= range.start {
                continue;
            }
            if at < range.start {
                left.push(at..range.start);
            }
            at = range.end.min(end);
        }
        if at < end {
            left.push(at..end);
        }
        left
    }

    /// A run is written to one file: where a segment ends with a block, the next one's bytes follow it without a gap.
    fn goes_on(&self, segment: i64, at: u64) -> bool {
        let range = self.range();
        segment == self.segment && range.start <= at && at <= range.end
    }

    /// Adds bytes that begin at `at`, no later than this ends.
    fn join(&mut self, at: u64, bytes: &[u8]) {
        let known = (self.bytes.end() - at) as usize;
        let new = bytes.get(known..).unwrap_or_default();
        self.bytes.append([new, &[]]);
    }

    fn join_all(&mut self, next: &Run) {
        let Range { start, end } = next.range();
        let known = self.bytes.end();
        if known < end {
            let parts = next.slices(known.max(start)..end);
            self.bytes.append_all((end - known) as usize, parts);
        }
        let told = [self.first_batch, next.first_batch];
        self.first_batch = told.into_iter().flatten().min();
    }
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
