//! What of a touch goes into the journal entry and what straight into the segment.

use std::ops::Range;
use std::rc::Rc;

use super::units::{Touch, Unit};
use crate::journal::entry::append_overhead;
use crate::journal::writer::JournalFile;
use crate::knobs::{BLOCK, DIRECT_BYTES_MIN};
use crate::log::{Log, LogState};
use crate::store::core_dir::CoreDir;

/// A segment that large appends go to is grown when less than this is set aside ahead of its end.
const GROW_AHEAD: u64 = 16 << 20;

/// How a touch is written.
pub(super) struct Plan {
    pub payload_max: usize,
    pub segment_start: u64,
    sealed_block: Option<u64>,
    /// The first byte that goes into the entry.
    pub first: u64,
    pub direct: Range<u64>,
}

impl Plan {
    pub(super) fn inline(&self, end: u64) -> [Range<u64>; 2] {
        [
            self.first..self.direct.start.max(self.first),
            self.direct.end..end,
        ]
    }
}

impl CoreDir {
    /// What of a touch goes into the entry and what into the segment.
    pub(super) fn plan(&self, touch: &Touch) -> Plan {
        let state = touch.log.state.borrow();
        let Range {
            start: from,
            end: to,
        } = touch.range;
        let block = from / BLOCK * BLOCK;
        // A sealed block's earlier bytes join the entry: after its flush the block may be rewritten.
        let sealed = state.sealed && state.cut == from;
        let first = if sealed { block } else { from };
        // Two writes of one block must never be on their way together: the padded one could land last.
        let settling = state.settling.iter().any(|r| r.end > block);
        let unflushed = state
            .guard
            .is_some_and(|(b, unit)| b == block && unit > self.durable_now());
        // The tail has zeros where a continued log's first block was not read: such a block is
        // assembled by settling, never written from where it stands.
        let incomplete = block < state.tail.start();
        let guarded = sealed || settling || unflushed || incomplete;
        let direct_from = if guarded { block + BLOCK } else { block };
        let direct_to = to / BLOCK * BLOCK;
        let segment = state.segment_at(from).expect("a touch lies in a segment");
        // Where a deleted log's files were, another log's may be soon.
        let possible = self.direct.get()
            && !touch.log.deleted.get()
            && segment.ready
            && direct_to.saturating_sub(segment.start) <= segment.allocated
            && to - from >= DIRECT_BYTES_MIN;
        let direct = if possible && direct_to > direct_from {
            direct_from..direct_to
        } else {
            to..to
        };
        let pieces = [
            first..direct.start.max(first),
            direct.clone(),
            direct.end..to,
        ];
        let inline = (pieces[0].end - pieces[0].start) + (pieces[2].end - pieces[2].start);
        let headers = if direct.is_empty() { 0 } else { touch.batches };
        Plan {
            payload_max: append_overhead(headers) + inline as usize,
            segment_start: segment.start,
            sealed_block: sealed.then_some(block),
            first,
            direct,
        }
    }

    fn durable_now(&self) -> u64 {
        self.commit.borrow().durable
    }

    /// Books what was cut: from now on these bytes are dirty, in this journal file.
    pub(super) fn note_cut(&self, unit: u64, touch: &Touch, plan: &Plan, file: &Rc<JournalFile>) {
        let mut state = touch.log.state.borrow_mut();
        assert!(touch.range.start >= state.cut, "a log is cut in order");
        state.cut = state.past_padding(touch.range.end);
        state.in_flight += 1;
        if let Some(block) = plan.sealed_block {
            assert!(state.sealed);
            state.sealed = false;
            state.guard = Some((block, unit));
        }
        let mut dirty = 0;
        for range in plan.inline(touch.range.end) {
            // A deleted log's bytes are never settled.
            if !range.is_empty() && !touch.log.deleted.get() {
                dirty += state.add_dirty(range);
            }
        }
        let appended = touch.range.end - touch.range.start;
        let direct = plan.direct.end - plan.direct.start;
        // From here on: dirty bytes plus what is on its way to the segment, instead of what was appended.
        self.unpin(appended as usize);
        self.pin((dirty + direct) as usize);
        note_in_file(&touch.log, &mut state, file, touch.range.end);
        let active = state.active();
        if appended >= DIRECT_BYTES_MIN
            && active.end() + GROW_AHEAD > active.start + active.allocated
        {
            drop(state);
            self.wants_maintenance(&touch.log);
        }
    }

    pub(super) fn note_control(&self, unit: &Unit, file: &Rc<JournalFile>) {
        for log in &unit.controls.noted {
            let mut state = log.state.borrow_mut();
            note_in_file(log, &mut state, file, 0);
        }
        file.drops
            .borrow_mut()
            .extend_from_slice(&unit.controls.drops);
    }
}

pub(crate) fn note_in_file(log: &Rc<Log>, state: &mut LogState, file: &Rc<JournalFile>, end: u64) {
    let number = u64::from(file.number);
    match state.journalled.back_mut() {
        Some((last, to)) if *last == number => *to = (*to).max(end),
        _ => {
            state.journalled.push_back((number, end));
            file.logs.borrow_mut().push(log.clone());
        }
    }
}
