//! Group commit, pipelined.
//!
//! Appends gather in the *open* unit. As soon as a write may go out, the unit is *cut*: its bytes are laid
//! into one journal entry, or, where a log has much, as whole blocks straight into its segment beside it.
//! Units go out without waiting for each other. When no flush runs and the oldest units are written, one
//! fdatasync of their journal file (and of the segments they wrote to) covers all of them, while later units
//! keep being written; then their waiters are released, in order. There is no timer: alone, an append is
//! flushed at once, and under load the flush time itself gathers the next group.
//!
//! A log of the weaker class (`flush.messages` above 1) is acknowledged when its unit is *written*, and its units alone
//! do not start a flush: they wait for their number of records, for their time, or for whoever needs them on the device.
//! Every such reason raises one mark, `flush_to`; a log of the flushed class raises it with each append.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use millstream_protocol::batch::{BatchHeader, HEADER};
use millstream_ring::{Buffer, Bytes, File};

use crate::dir;
use crate::files::Access;
use crate::journal::entry::{Append, EntryBuilder, LogKey, append_overhead};
use crate::journal::writer::{JournalFile, Place};
use crate::knobs::{BLOCK, DIRECT_BYTES_MIN, UNIT_BYTES_MAX, WRITES_IN_FLIGHT_MAX};
use crate::log::{Log, LogState};
use crate::store::core_dir::{CoreDir, Errand};
use crate::store::event::{Local, join_all};

/// Between two tries to open a file.
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(20);
/// A segment that large appends go to is grown when less than this is set aside ahead of its end.
const GROW_AHEAD: u64 = 16 << 20;
/// The longest sleep: then the commit task looks again.
const TIMER_MAX: Duration = Duration::from_secs(3600);
/// No more than this waits, written, for a flush that nobody needs yet.
const UNFLUSHED_BYTES_MAX: usize = 8 << 20;

/// Something that becomes durable: compare with [`crate::Store::is_durable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Index of the data directory: each has its own journal.
    pub dir: u32,
    /// Rises with the units of that journal.
    pub unit: u64,
    /// Of a log of the weaker class: due when it is written.
    pub when_written: bool,
}

/// Appends and control items that share one journal entry.
pub(crate) struct Unit {
    pub number: u64,
    pub touches: Vec<Touch>,
    pub control: Vec<u8>,
    pub control_items: u32,
    /// Logs that control items speak of: the journal file is needed until the table knows them.
    pub noted: Vec<Rc<Log>>,
    pub drops: Vec<LogKey>,
    bytes: usize,
    /// Somebody waits for the write, not for the flush.
    when_written: bool,
}

/// One log's batches in a unit; all in one segment.
pub(crate) struct Touch {
    pub log: Rc<Log>,
    pub segment: i64,
    pub range: Range<u64>,
    pub end_offset: i64,
    pub batches: usize,
}

/// A unit on its way.
struct Flying {
    number: u64,
    sequence: u64,
    writes_left: Rc<Cell<usize>>,
    when_written: bool,
    journal: Rc<JournalFile>,
    /// Segments written beside the entry.
    segments: Rc<RefCell<Vec<(u64, i64, File)>>>,
    touches: Vec<Touch>,
    /// Whole blocks written to segments: no longer dirty once flushed.
    direct: Vec<(Rc<Log>, Range<u64>)>,
}

pub(crate) struct Commit {
    open: Unit,
    closed: VecDeque<Unit>,
    flying: VecDeque<Flying>,
    writes: usize,
    flushing: bool,
    /// The next unit finds no room in the journal.
    stuck: bool,
    /// The last unit that was given to the journal.
    sent: u64,
    /// Every unit up to this one is written.
    written: u64,
    durable: u64,
    /// Units up to this one are to be flushed as soon as they are written.
    flush_to: u64,
    /// Bytes sent since a flush was last asked for.
    unflushed_bytes: usize,
    /// When the flush of what waits longest is due, by the ring's clock.
    flush_due: Option<Duration>,
}

impl Unit {
    fn new(number: u64) -> Unit {
        Unit {
            number,
            touches: Vec::new(),
            control: Vec::new(),
            control_items: 0,
            noted: Vec::new(),
            drops: Vec::new(),
            bytes: 0,
            when_written: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.control_items == 0
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
            flush_to: 0,
            unflushed_bytes: 0,
            flush_due: None,
        }
    }

    /// Every unit up to this one is on the device.
    pub fn durable(&self) -> u64 {
        self.durable
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

    /// Units up to `unit` no longer wait for their time.
    fn flush_soon(&mut self, unit: u64) {
        self.flush_to = self.flush_to.max(unit);
        self.unflushed_bytes = 0;
        if unit >= self.newest() {
            self.flush_due = None;
        }
    }

    /// What is appended now waits no longer than `flush_ms` for its flush.
    fn flush_within(&mut self, now: Duration, flush_ms: i64) {
        let wait = Duration::from_millis(u64::try_from(flush_ms).unwrap_or(0));
        let due = now.saturating_add(wait);
        self.flush_due = Some(self.flush_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Time that is left until a flush is due, if one is. What is due now no longer waits.
    fn flush_due_in(&mut self, now: Duration) -> Option<Duration> {
        if self.flush_due? <= now {
            self.flush_soon(self.newest());
        }
        self.flush_due.map(|due| due - now)
    }

    /// The newest unit with anything in it.
    fn newest(&self) -> u64 {
        self.open.number - u64::from(self.open.is_empty())
    }

    /// Nothing waits and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty() && self.flying.is_empty() && !self.flushing
    }

    /// Only settling, which frees a journal file, can help.
    pub fn is_stuck(&self) -> bool {
        self.stuck && self.flying.is_empty() && !self.flushing
    }

    /// The open unit, with room for `bytes` more; a full one is closed first.
    pub fn room_for(&mut self, bytes: usize) -> &mut Unit {
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

    fn next_unit(&mut self) -> Option<Unit> {
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

impl CoreDir {
    /// Books `[from, end of the tail)` of a log for the next entry.
    pub(crate) fn touch(
        &self,
        log: &Log,
        state: &mut LogState,
        from: u64,
        end_offset: i64,
    ) -> Ticket {
        let to = state.tail.end();
        let bytes = (to - from) as usize;
        let mut commit = self.commit.borrow_mut();
        let unit = commit.room_for(bytes);
        let number = unit.number;
        let when_written = state.config.flush_messages > 1;
        unit.when_written |= when_written;
        let segment = state.active().info.base_offset;
        let (in_unit, index) = state.touch;
        match unit
            .touches
            .get_mut(index)
            .filter(|t| in_unit == number && t.segment == segment)
        {
            Some(touch) => {
                assert_eq!(touch.range.end, from, "a log's appends follow each other");
                touch.range.end = to;
                touch.end_offset = end_offset;
                touch.batches += 1;
            }
            None => {
                let log = log
                    .me
                    .upgrade()
                    .expect("a log that is appended to is alive");
                state.touch = (number, unit.touches.len());
                unit.touches.push(Touch {
                    log,
                    segment,
                    range: from..to,
                    end_offset,
                    batches: 1,
                });
            }
        }
        if end_offset - log.flushed_end_offset.get() >= state.config.flush_messages {
            commit.flush_soon(number);
        } else {
            commit.flush_within(self.ring.now(), state.config.flush_ms);
        }
        drop(commit);
        self.pin(bytes);
        self.work.notify();
        Ticket {
            dir: self.index as u32,
            unit: number,
            when_written,
        }
    }

    /// Whatever was appended so far is flushed as soon as it is written.
    pub(crate) fn flush_soon(&self) {
        let mut commit = self.commit.borrow_mut();
        let newest = commit.newest();
        commit.flush_soon(newest);
        drop(commit);
        self.work.notify();
    }

    /// Puts an encoded control item into the next entry.
    pub(crate) fn control(
        &self,
        item: &[u8],
        noted: Option<Rc<Log>>,
        dropped: Option<LogKey>,
    ) -> Ticket {
        let mut commit = self.commit.borrow_mut();
        let unit = commit.room_for(item.len());
        unit.control.extend_from_slice(item);
        unit.control_items += 1;
        unit.noted.extend(noted);
        unit.drops.extend(dropped);
        let number = unit.number;
        commit.flush_soon(number);
        drop(commit);
        self.work.notify();
        Ticket {
            dir: self.index as u32,
            unit: number,
            when_written: false,
        }
    }

    /// Something is on its way to the device.
    pub(crate) fn is_writing(&self) -> bool {
        let commit = self.commit.borrow();
        commit.writes > 0 || commit.flushing
    }

    /// Sends units and flushes until the store ends or the directory fails.
    pub(crate) async fn run_commits(self: Rc<Self>) {
        loop {
            let seen = self.work.count();
            if self.is_offline() || self.stopped.get() {
                return;
            }
            while self.may_write() {
                let next = self.commit.borrow_mut().next_unit();
                let Some(unit) = next else { break };
                self.fetch_prefixes(&unit).await;
                if self.is_offline() {
                    return;
                }
                if let Err(unit) = self.send(unit) {
                    // No journal file is free: settling, which needs what is in them flushed, frees one and rings again.
                    let mut commit = self.commit.borrow_mut();
                    let sent = commit.sent;
                    commit.flush_soon(sent);
                    commit.closed.push_front(unit);
                    commit.stuck = true;
                    drop(commit);
                    self.settle_wanted.notify();
                    break;
                }
                self.commit.borrow_mut().stuck = false;
            }
            self.send_mark();
            let due_in = self.commit.borrow_mut().flush_due_in(self.ring.now());
            self.note_written();
            self.start_flush();
            let more = self.work.changed_since(seen);
            match due_in {
                None => more.await,
                Some(wait) => {
                    let _due = self.ring.timeout(wait.min(TIMER_MAX), more).await;
                }
            }
        }
    }

    fn may_write(&self) -> bool {
        self.commit.borrow().writes < WRITES_IN_FLIGHT_MAX && !self.is_offline()
    }

    /// An entry without items, whose header says that a journal file was settled: only then is that file free. It must go
    /// out ahead of a unit that finds no room, or that unit would wait for it, and it for the unit.
    fn send_mark(self: &Rc<Self>) {
        if self.may_write() && self.journal.borrow().wants_mark() {
            let number = self.commit.borrow().sent;
            self.commit.borrow_mut().flush_soon(number);
            // Without a place now, the flush that frees a file rings again.
            let _no_place = self.send(Unit::new(number));
        }
    }

    /// Lays the unit into an entry and starts its writes.
    fn send(self: &Rc<Self>, unit: Unit) -> Result<(), Unit> {
        let plans: Vec<Plan> = unit.touches.iter().map(|t| self.plan(t)).collect();
        let payload = unit.control.len() + plans.iter().map(|p| p.payload_max).sum::<usize>();
        let mut entry = EntryBuilder::new(payload);
        entry.encoded(&unit.control, unit.control_items);
        let mut writes = Vec::new();
        for (touch, plan) in unit.touches.iter().zip(&plans) {
            encode(touch, plan, &mut entry, &mut writes);
        }
        let Ok(place) = self.journal.borrow_mut().place(entry) else {
            return Err(unit);
        };
        for (touch, plan) in unit.touches.iter().zip(&plans) {
            self.note_cut(unit.number, touch, plan, &place.file);
        }
        self.note_control(&unit, &place.file);
        let bytes = unit.bytes;
        let when_written = unit.when_written;
        let direct = writes
            .iter()
            .map(|w| (w.log.clone(), w.range.clone()))
            .collect();
        let flying = Flying {
            number: unit.number,
            sequence: place.sequence,
            writes_left: Rc::new(Cell::new(1 + writes.len())),
            when_written,
            journal: place.file.clone(),
            segments: Rc::default(),
            touches: unit.touches,
            direct,
        };
        self.start_writes(&flying, place, writes);
        let mut commit = self.commit.borrow_mut();
        assert!(flying.number >= commit.sent, "units go out in order");
        commit.sent = flying.number;
        commit.unflushed_bytes += bytes;
        if commit.unflushed_bytes > UNFLUSHED_BYTES_MAX {
            commit.flush_soon(flying.number);
        }
        commit.flying.push_back(flying);
        Ok(())
    }

    fn start_writes(self: &Rc<Self>, flying: &Flying, place: Place, writes: Vec<DirectWrite>) {
        self.commit.borrow_mut().writes += 1 + writes.len();
        let left = flying.writes_left.clone();
        let dir = self.clone();
        self.ring.spawn(async move {
            let Place {
                file,
                offset,
                bytes,
                ..
            } = place;
            file.prepared_to(offset + bytes.len() as u64).await;
            if dir.is_offline() {
                return;
            }
            let result = file.file.write_at(vec![bytes.freeze()], offset).await;
            dir.write_done(&left, result, "write to the journal");
        });
        for write in writes {
            let left = flying.writes_left.clone();
            let segments = flying.segments.clone();
            let dir = self.clone();
            self.ring.spawn(async move {
                let log = write.log.clone();
                let result = match dir.write_blocks(write, &segments).await {
                    // Its files may be gone already, and nobody waits for it.
                    Err(_) if log.deleted.get() => Ok(()),
                    other => other,
                };
                dir.write_done(&left, result, "write to a segment");
            });
        }
    }

    async fn write_blocks(
        &self,
        write: DirectWrite,
        segments: &RefCell<Vec<(u64, i64, File)>>,
    ) -> io::Result<()> {
        let file = self.segment_file(&write.log, write.segment).await?;
        segments
            .borrow_mut()
            .push((write.log.key.instance, write.segment, file.clone()));
        file.write_at(write.parts, write.position).await
    }

    /// For what cannot go back any more: waits for a descriptor as long as there is none.
    async fn segment_file(&self, log: &Log, base: i64) -> io::Result<File> {
        loop {
            let path = log.segment_path(base);
            match self.files.get(&path, Access::Direct).await {
                Err(cause) if dir::lacks_descriptors(&cause) && !self.is_offline() => {
                    self.has_to_wait(Errand::Open, &cause);
                    self.ring.sleep(DESCRIPTOR_RETRY).await;
                }
                file => return file,
            }
        }
    }

    fn write_done(&self, left: &Cell<usize>, result: io::Result<()>, doing: &str) {
        self.commit.borrow_mut().writes -= 1;
        left.set(left.get() - 1);
        if let Err(cause) = result {
            // Not even ENOSPC may happen here: journal files are pre-written, segment blocks set aside.
            self.fail(&cause, doing);
        }
        self.work.notify();
    }

    /// Releases whoever waits for the oldest units to be written.
    fn note_written(&self) {
        let mut commit = self.commit.borrow_mut();
        let before = commit.written;
        let written = commit
            .flying
            .iter()
            .take_while(|f| f.writes_left.get() == 0);
        let written = written.filter(|f| f.number > before);
        let (newest, awaited) = written.fold((before, false), |(_, awaited), f| {
            (f.number, awaited || f.when_written)
        });
        if self.is_offline() {
            return;
        }
        commit.written = newest;
        drop(commit);
        if awaited {
            self.committed();
        }
    }

    /// One flush for all units that are written, oldest first, if one of them is to be flushed now.
    fn start_flush(self: &Rc<Self>) {
        let mut commit = self.commit.borrow_mut();
        let first = commit.flying.front().map_or(0, |f| f.number);
        if first > commit.flush_to {
            return;
        }
        let ready = commit
            .flying
            .iter()
            .take_while(|f| f.writes_left.get() == 0)
            .count();
        if commit.flushing || ready == 0 || self.is_offline() {
            return;
        }
        commit.flushing = true;
        let group: Vec<Flying> = commit.flying.drain(..ready).collect();
        drop(commit);
        let dir = self.clone();
        self.ring.spawn(async move {
            let files = files_of(&group);
            let flushes = files
                .iter()
                .map(|f| Box::pin(dir.files.flushed_by(f.sync_data())) as Local<'_, _>)
                .collect();
            let failed = join_all::<io::Result<()>>(flushes)
                .await
                .into_iter()
                .find_map(Result::err);
            match failed {
                // The kernel may have dropped the dirty state: a second flush would lie.
                Some(cause) => dir.fail(&cause, "flush"),
                None => dir.group_flushed(group),
            }
        });
    }

    /// Moves the flushed ends of everything in the group, then wakes whoever waits.
    fn group_flushed(&self, group: Vec<Flying>) {
        if self.is_offline() {
            return;
        }
        let last = group.last().expect("a group is never empty");
        let (number, sequence) = (last.number, last.sequence);
        self.journal.borrow_mut().flushed_to(sequence);
        for flying in &group {
            for (log, range) in &flying.direct {
                let mut state = log.state.borrow_mut();
                let freed = state.remove_dirty(range);
                self.unpin((freed + range.end - range.start) as usize);
            }
            for touch in &flying.touches {
                touch.log.state.borrow_mut().in_flight -= 1;
                touch.log.flushed_to(touch.range.end, touch.end_offset);
                if touch.log.deleted.get() {
                    touch.log.release_dirty();
                }
            }
        }
        let mut commit = self.commit.borrow_mut();
        // Equal after a mark alone, which has no unit of its own.
        assert!(number >= commit.durable, "units become durable in order");
        commit.durable = number;
        commit.flushing = false;
        drop(commit);
        for touch in group.iter().flat_map(|f| &f.touches) {
            touch.log.tell_flushed();
        }
        self.committed();
    }

    /// What of a touch goes into the entry and what into the segment.
    fn plan(&self, touch: &Touch) -> Plan {
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
    fn note_cut(&self, unit: u64, touch: &Touch, plan: &Plan, file: &Rc<JournalFile>) {
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

    fn note_control(&self, unit: &Unit, file: &Rc<JournalFile>) {
        for log in &unit.noted {
            let mut state = log.state.borrow_mut();
            note_in_file(log, &mut state, file, 0);
        }
        file.drops.borrow_mut().extend_from_slice(&unit.drops);
    }

    /// Logs that were continued without their last block in memory: read it, its bytes belong into the entry.
    async fn fetch_prefixes(&self, unit: &Unit) {
        let missing: Vec<Local<'_, ()>> = unit
            .touches
            .iter()
            .filter(|t| {
                let state = t.log.state.borrow();
                state.sealed && state.prefix.is_none() && state.tail.missing_prefix().is_some()
            })
            .map(|t| Box::pin(self.fetch_prefix(&t.log)) as Local<'_, ()>)
            .collect();
        if !missing.is_empty() {
            join_all(missing).await;
        }
    }

    async fn fetch_prefix(&self, log: &Log) {
        let (base, position, len) = {
            let state = log.state.borrow();
            let Some(missing) = state.tail.missing_prefix() else {
                return;
            };
            let segment = state
                .segment_at(missing.start)
                .expect("the sealed block lies in a segment");
            (
                segment.info.base_offset,
                missing.start - segment.start,
                (missing.end - missing.start) as usize,
            )
        };
        let read = async {
            let file = self.segment_file(log, base).await?;
            file.read_at(position, BLOCK as usize).await
        };
        match read.await {
            Ok(bytes) if bytes.len() >= len => {
                log.state.borrow_mut().prefix = Some(bytes.freeze());
            }
            _ if log.deleted.get() => {
                let mut zeros = Buffer::with_capacity(BLOCK as usize);
                zeros.resize_zeroed(BLOCK as usize);
                log.state.borrow_mut().prefix = Some(zeros.freeze());
            }
            Ok(bytes) => {
                // Gone, as reads of it say. The log goes on behind it.
                tracing::error!("{}: the end of segment {base} is missing", log.name);
                let mut block = Buffer::with_capacity(BLOCK as usize);
                block.extend_from_slice(&bytes);
                block.resize_zeroed(BLOCK as usize);
                log.state.borrow_mut().prefix = Some(block.freeze());
            }
            Err(cause) => self.fail(&cause, "read the end of a segment"),
        }
    }
}

/// How a touch is written.
struct Plan {
    payload_max: usize,
    segment_start: u64,
    sealed_block: Option<u64>,
    /// The first byte that goes into the entry.
    first: u64,
    direct: Range<u64>,
}

impl Plan {
    fn inline(&self, end: u64) -> [Range<u64>; 2] {
        [
            self.first..self.direct.start.max(self.first),
            self.direct.end..end,
        ]
    }
}

/// Whole blocks on their way to a segment.
struct DirectWrite {
    log: Rc<Log>,
    segment: i64,
    position: u64,
    range: Range<u64>,
    parts: Vec<Bytes>,
}

fn encode(touch: &Touch, plan: &Plan, entry: &mut EntryBuilder, writes: &mut Vec<DirectWrite>) {
    let state = touch.log.state.borrow();
    let position = |address: u64| address - plan.segment_start;
    let append = Append {
        key: touch.log.key,
        segment: touch.segment,
        from: position(touch.range.start),
        to: position(touch.range.end),
        end_offset: touch.end_offset,
        headers: &[],
        pieces: Vec::new(),
    };
    let headers = if plan.direct.is_empty() {
        Vec::new()
    } else {
        headers_of(&state, touch)
    };
    let inline = plan.inline(touch.range.end);
    let count =
        inline.iter().filter(|r| !r.is_empty()).count() + usize::from(!plan.direct.is_empty());
    entry.append(&append, &headers, count as u32);
    for range in inline.into_iter().filter(|r| !r.is_empty()) {
        entry.inline(
            position(range.start),
            (range.end - range.start) as usize,
            inline_parts(&state, range),
        );
    }
    if !plan.direct.is_empty() {
        let range = plan.direct.clone();
        let parts = state.tail.views(range.clone());
        let crc = parts
            .iter()
            .fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        entry.direct(position(range.start), (range.end - range.start) as u32, crc);
        writes.push(DirectWrite {
            log: touch.log.clone(),
            segment: touch.segment,
            position: position(range.start),
            range,
            parts,
        });
    }
}

/// Bytes of the tail, with what is missing of its first block from the fetched prefix.
fn inline_parts(state: &LogState, range: Range<u64>) -> impl Iterator<Item = &[u8]> {
    let valid = state.tail.start();
    let missing = valid.saturating_sub(range.start) as usize;
    let prefix = state.prefix.as_deref().unwrap_or_default();
    let prefix = prefix
        .get(..missing)
        .expect("fetched before the unit was sent");
    std::iter::once(prefix).chain(state.tail.slices(range.start.max(valid)..range.end))
}

fn headers_of(state: &LogState, touch: &Touch) -> Vec<u8> {
    let mut headers = Vec::with_capacity(touch.batches * HEADER);
    let mut at = touch.range.start;
    while at < touch.range.end {
        let mut header = [0; HEADER];
        assert!(state.tail.copy(at, &mut header), "a touch lies in the tail");
        let parsed = BatchHeader::read(&header).expect("verified before it was appended");
        headers.extend_from_slice(&header);
        at += parsed.total_len() as u64;
    }
    assert_eq!(headers.len(), touch.batches * HEADER);
    headers
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

/// The journal files and segments a group wrote to, each once.
fn files_of(group: &[Flying]) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let mut last = None;
    for flying in group {
        if last != Some(flying.journal.number) {
            last = Some(flying.journal.number);
            files.push(flying.journal.file.clone());
        }
    }
    let mut seen = std::collections::HashSet::new();
    for (instance, base, file) in group.iter().flat_map(|f| f.segments.borrow().clone()) {
        if seen.insert((instance, base)) {
            files.push(file);
        }
    }
    files
}
