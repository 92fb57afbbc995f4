//! Units on their way from the first append to the device.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::File;

use super::Ticket;
use crate::journal::entry::LogKey;
use crate::journal::writer::JournalFile;
use crate::knobs::{GATHER_BYTES_MAX, UNIT_BYTES_MAX};
use crate::log::Log;

/// Appends and control items that share one journal entry.
pub(super) struct Unit {
    pub number: u64,
    pub touches: Vec<Touch>,
    pub controls: Controls,
    pub bytes: usize,
    /// Somebody waits for the write, not for the flush.
    pub when_written: bool,
}

/// What creates and deletes logs and moves their starts. It has numbers of its own: where batches find no room in the journal,
/// it goes out ahead of them.
#[derive(Default)]
pub(super) struct Controls {
    /// Encoded.
    pub items: Vec<u8>,
    pub count: u32,
    /// The number of the last one.
    pub last: u64,
    /// Logs that they speak of: the journal file is needed until the table knows them.
    pub noted: Vec<Rc<Log>>,
    pub drops: Vec<LogKey>,
}

/// One log's batches in a unit; all in one segment.
pub(super) struct Touch {
    pub log: Rc<Log>,
    pub segment: i64,
    pub range: Range<u64>,
    pub end_offset: i64,
    pub batches: usize,
}

/// A unit on its way.
pub(super) struct Flying {
    pub number: u64,
    pub sequence: u64,
    pub writes_left: Rc<Cell<usize>>,
    /// Its write flushes it, too: it needs no flush of its own.
    pub durably: bool,
    pub when_written: bool,
    pub journal: Rc<JournalFile>,
    /// Segments written beside the entry.
    pub segments: Rc<RefCell<Vec<(u64, i64, File)>>>,
    pub touches: Vec<Touch>,
    /// The last of its control items; 0 without any.
    pub controls: u64,
    /// Whole blocks written to segments: no longer dirty once flushed.
    pub direct: Vec<(Rc<Log>, Range<u64>)>,
}

pub(crate) struct Commit {
    pub(super) open: Unit,
    pub(super) closed: VecDeque<Unit>,
    pub(super) flying: VecDeque<Flying>,
    pub(super) writes: usize,
    pub(super) flushing: bool,
    /// The next unit finds no room in the journal.
    pub(super) stuck: bool,
    /// The last unit that was given to the journal.
    pub(super) sent: u64,
    /// Every unit up to this one is written.
    pub(super) written: u64,
    pub(super) durable: u64,
    /// Control items up to here were taken, and are on the device.
    pub(super) controls: u64,
    pub(super) controls_durable: u64,
    /// Units up to this one are to be flushed as soon as they are written.
    pub(super) flush_to: u64,
    /// Bytes sent since a flush was last asked for.
    pub(super) unflushed_bytes: usize,
    /// When the flush of what waits longest is due, by the ring's clock.
    pub(super) flush_due: Option<Duration>,
}

impl Unit {
    pub fn new(number: u64) -> Unit {
        Unit {
            number,
            touches: Vec::new(),
            controls: Controls::default(),
            bytes: 0,
            when_written: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.controls.count == 0
    }
}

impl Commit {
    pub fn new() -> Commit {
        Commit {
            open: Unit::new(1),
            closed: VecDeque::new(),
            flying: VecDeque::new(),
            writes: 0,
            flushing: false,
            stuck: false,
            sent: 0,
            written: 0,
            durable: 0,
            controls: 0,
            controls_durable: 0,
            flush_to: 0,
            unflushed_bytes: 0,
            flush_due: None,
        }
    }

    /// Every unit up to this one is on the device.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The same for control items.
    pub fn controls_durable(&self) -> u64 {
        self.controls_durable
    }

    /// What the ticket stands for is where its log's class wants it before the acknowledgement.
    pub fn is_done(&self, ticket: Ticket) -> bool {
        let done = if ticket.when_written {
            self.written
        } else {
            self.durable
        };
        ticket.unit <= done
    }

    /// The first control items that wait behind batches, as a unit that goes out before those. It has the number of what was sent
    /// last.
    pub(super) fn next_controls(&mut self) -> Option<Unit> {
        let sent = self.sent;
        let mut closed = self.closed.iter_mut();
        let first = closed.find(|unit| unit.controls.count > 0);
        let first = first.unwrap_or(&mut self.open);
        if first.controls.count == 0 {
            return None;
        }
        let mut unit = Unit::new(sent);
        unit.controls = std::mem::take(&mut first.controls);
        self.flush_soon(sent);
        Some(unit)
    }

    /// They find no room either.
    pub(super) fn put_back(&mut self, controls: Controls) {
        let first = self.closed.front_mut().unwrap_or(&mut self.open);
        assert_eq!(first.controls.count, 0, "they were the first");
        first.controls = controls;
    }

    /// Units up to `unit` no longer wait for their time.
    pub(super) fn flush_soon(&mut self, unit: u64) {
        self.flush_to = self.flush_to.max(unit);
        self.unflushed_bytes = 0;
        if unit >= self.newest() {
            self.flush_due = None;
        }
    }

    /// What is appended now waits no longer than `flush_ms` for its flush.
    pub(super) fn flush_within(&mut self, now: Duration, flush_ms: i64) {
        let wait = Duration::from_millis(u64::try_from(flush_ms).unwrap_or(0));
        let due = now.saturating_add(wait);
        self.flush_due = Some(self.flush_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Time that is left until a flush is due, if one is. What is due now no longer waits.
    pub(super) fn flush_due_in(&mut self, now: Duration) -> Option<Duration> {
        if self.flush_due? <= now {
            self.flush_soon(self.newest());
        }
        self.flush_due.map(|due| due - now)
    }

    /// Whether unit `number`, all of which goes into the journal, is flushed by the operation that writes it: where no flush has to
    /// come anyway, for a unit ahead of it.
    pub(super) fn goes_durably(&self, number: u64) -> bool {
        number <= self.flush_to && !self.flushing && self.all_go_durably()
    }

    /// Something is being flushed, nothing but that is on its way, and little waits: that goes out as one entry when there is
    /// more of it, or behind the flush, instead of several entries now.
    pub(super) fn gathers(&self) -> bool {
        let is_little = self.closed.is_empty() && self.open.bytes < GATHER_BYTES_MAX;
        let flushes = self.flushing || !self.flying.is_empty();
        flushes && self.all_go_durably() && is_little && !self.open.when_written
    }

    /// They stand ahead of the others.
    fn all_go_durably(&self) -> bool {
        self.flying.back().is_none_or(|last| last.durably)
    }

    /// The newest unit with anything in it.
    pub(super) fn newest(&self) -> u64 {
        self.open.number - u64::from(self.open.is_empty())
    }

    /// Nothing waits and nothing is on its way, nor in the hands of who is about to send it.
    pub fn is_idle(&self) -> bool {
        let is_sent = self.open.is_empty() && self.sent == self.newest();
        is_sent && self.flying.is_empty() && !self.flushing
    }

    /// Only settling, which frees a journal file, can help.
    pub fn is_stuck(&self) -> bool {
        self.stuck && self.flying.is_empty() && !self.flushing
    }

    /// The open unit, with room for `bytes` more; a full one is closed first.
    pub(super) fn room_for(&mut self, bytes: usize) -> &mut Unit {
        if self.open.bytes > 0 && self.open.bytes + bytes > UNIT_BYTES_MAX {
            let next = Unit::new(self.open.number + 1);
            self.closed
                .push_back(std::mem::replace(&mut self.open, next));
        }
        self.open.bytes += bytes;
        &mut self.open
    }

    /// Lets go of all logs; nothing of this becomes durable any more.
    pub fn abandon(&mut self) {
        self.open = Unit::new(self.open.number);
        self.closed.clear();
        self.flying.clear();
    }

    pub(super) fn next_unit(&mut self) -> Option<Unit> {
        if let Some(unit) = self.closed.pop_front() {
            return Some(unit);
        }
        if self.open.is_empty() {
            return None;
        }
        let next = Unit::new(self.open.number + 1);
        Some(std::mem::replace(&mut self.open, next))
    }
}
