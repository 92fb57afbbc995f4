//! Journal-only bytes into their segments: the one primitive behind journal reuse, rolled segments, clean
//! stop and moves.
//!
//! A pass takes some logs, writes their dirty blocks, flushes the segments they stand in, and then puts one
//! row for each log into the table. Only after that the journal file that held the bytes may be retired. The
//! last, partial block of a log is written only while nothing of the log is on its way, padded with zeros; the
//! log is then *sealed* ([`crate::commit`] puts that block's bytes into the next entry). A busy log need not be
//! sealed: it is enough to wait until its flushed end has left the block in question.

use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{Bytes, File};

use crate::dir;
use crate::files::Access;
use crate::journal::writer::JournalFile;
use crate::knobs::{BLOCK, SETTLE_BYTES_MIN};
use crate::log::{Log, LogState};
use crate::store::core_dir::{CoreDir, Errand};
use crate::store::event::{Local, join_all};

/// Logs whose blocks are written at the same time.
const LOGS_AT_ONCE: usize = 32;
/// Bytes of one write, and how many are on their way while there is time: the journal's own writes stand in the same queue, and
/// its flushes wait for what the device was given before.
const WRITE_BYTES_MAX: u64 = 256 << 10;
const WRITES_AT_ONCE: usize = 2;
/// Logs with more than this to settle have space set aside ahead; small ones grow by what they write.
const GROW_BYTES_MIN: u64 = 256 * 1024;
/// Wait before trying again when the device is full.
const RETRY: Duration = Duration::from_millis(500);

/// How far a log must be settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Bytes up to this address.
    To(u64),
    /// Everything there is.
    All,
}

/// What a pass works on.
struct Pass {
    logs: Vec<(Rc<Log>, Need)>,
    /// The journal file that is retired afterwards.
    retire: Option<Rc<JournalFile>>,
}

impl CoreDir {
    /// Settles whenever the journal or memory asks for it, until the store ends.
    pub(crate) async fn run_settling(self: Rc<Self>) {
        let mut journal_first = false;
        loop {
            let seen = self.settle_wanted.count();
            if self.is_offline() || self.stopped.get() {
                return;
            }
            if self.settles_crumbs() {
                // Larger, it has more of each log when it comes to settling, and that comes seldomer.
                self.grow_journal();
            }
            match self.next_pass(journal_first) {
                Some(pass) if self.has_authority() => {
                    // By turns: logs that roll all the time, or find no space, must not keep others from the journal's.
                    journal_first = !journal_first;
                    match self.settle(pass).await {
                        Ok(()) => {}
                        Err(cause) if self.has_to_wait(Errand::Settle, &cause) => {
                            self.ring.sleep(RETRY).await;
                        }
                        Err(cause) => self.fail(&cause, "settle"),
                    }
                }
                Some(_) => self.ring.sleep(Duration::from_millis(1)).await,
                None => {
                    self.goes_on(Errand::Settle);
                    self.settle_wanted.changed_since(seen).await;
                }
            }
        }
    }

    /// Settles everything; the caller has seen to it that nothing is appended any more.
    pub(crate) async fn settle_all(&self) -> io::Result<()> {
        let logs = self
            .logs
            .borrow()
            .values()
            .map(|log| (log.clone(), Need::All))
            .collect();
        self.settle(Pass { logs, retire: None }).await
    }

    /// One log, at once, while no settling task runs.
    pub(crate) async fn settle_log_now(&self, log: &Rc<Log>) -> io::Result<()> {
        let files = self.settle_log(log, Need::All).await;
        for file in files.inspect_err(|_| self.unsettle(log))? {
            self.files.flush(&file).await?;
        }
        self.settled(log);
        Ok(())
    }

    fn next_pass(&self, journal_first: bool) -> Option<Pass> {
        if journal_first {
            self.journal_pass().or_else(|| self.queued_pass())
        } else {
            self.queued_pass().or_else(|| self.journal_pass())
        }
    }

    /// Logs whose rolled segments wait to be closed, or whose memory is needed. Those whose bytes wait for their entry stay in the queue: nothing can be
    /// settled of them before they are flushed, for which the journal may need to be settled first.
    fn queued_pass(&self) -> Option<Pass> {
        let logs: Vec<_> = self
            .settle_queue
            .borrow_mut()
            .extract_if(.., |log| log.state.borrow().rolled_can_settle())
            .map(|log| {
                let need = log.state.borrow().needed_soon();
                (log, need)
            })
            .collect();
        (!logs.is_empty()).then_some(Pass { logs, retire: None })
    }

    /// What the oldest journal file holds, or where memory asks for it, the one being written.
    fn journal_pass(&self) -> Option<Pass> {
        let journal = self.journal.borrow();
        // Where something found no space, all is tried until nothing is left to try.
        let wanted = self.budget.wants_settling() || self.is_full();
        if journal.full_files() > 0 && (self.journal_wants_settling() || wanted) {
            let oldest = journal.oldest().expect("a full file is there");
            let number = u64::from(oldest.number);
            let logs = oldest
                .logs
                .borrow()
                .iter()
                .map(|log| (log.clone(), log.needed_in(number)))
                .collect();
            return Some(Pass {
                logs,
                retire: Some(oldest),
            });
        }
        if wanted {
            let file = journal.used().last()?;
            let number = u64::from(file.number);
            let logs: Vec<_> = file
                .logs
                .borrow()
                .iter()
                .filter(|log| log.state.borrow().dirty_to_settle())
                .map(|log| (log.clone(), log.needed_in(number)))
                .collect();
            return (!logs.is_empty()).then_some(Pass { logs, retire: None });
        }
        None
    }

    /// The next journal file to be settled holds little of many logs.
    fn settles_crumbs(&self) -> bool {
        let journal = self.journal.borrow();
        let (_, _, bytes) = journal.parameters();
        let oldest = journal.oldest().filter(|_| self.journal_wants_settling());
        oldest.is_some_and(|file| bytes < file.logs.borrow().len() as u64 * SETTLE_BYTES_MIN)
    }

    /// One pass. A log that finds no space, or no descriptor, stays as dirty as it was and holds back the journal file, but
    /// no other log; the first such error is returned.
    async fn settle(&self, pass: Pass) -> io::Result<()> {
        if let Some(file) = &pass.retire {
            self.wait_flushed(file).await;
        }
        let mut left = None;
        for some in pass.logs.chunks(LOGS_AT_ONCE) {
            let settling = some
                .iter()
                .map(|(log, need)| Box::pin(self.settle_log(log, *need)) as Local<'_, _>);
            let outcomes = join_all::<io::Result<Vec<File>>>(settling.collect()).await;
            let mut written: Vec<File> = Vec::new();
            for ((log, _), outcome) in some.iter().zip(outcomes) {
                match outcome {
                    Ok(files) => written.extend(files),
                    Err(cause) if !dir::takes_directory_offline(&cause) => {
                        self.unsettle(log);
                        left = left.or(Some(cause));
                    }
                    Err(cause) => return Err(cause),
                }
            }
            // Flushed, and let go of, before the next are opened: a pass may have ten thousand.
            let flushing = written
                .iter()
                .map(|f| Box::pin(self.files.flush(f)) as Local<'_, _>);
            join_all::<io::Result<()>>(flushing.collect())
                .await
                .into_iter()
                .collect::<io::Result<()>>()?;
        }
        if self.is_offline() {
            return Ok(());
        }
        pass.logs.iter().for_each(|(log, _)| self.settled(log));
        self.budget.evict_all();
        let rows = self.write_rows(&pass).await;
        for (log, _) in &pass.logs {
            if log.has_rolled_segments() {
                self.wants_maintenance(log);
            }
        }
        self.committed();
        rows?;
        if let Some(cause) = left {
            return Err(cause);
        }
        if let Some(file) = pass.retire {
            self.retire(&file);
        }
        Ok(())
    }

    /// What the pass wrote of the log is on the device.
    fn settled(&self, log: &Log) {
        let mut state = log.state.borrow_mut();
        state.settle_busy = false;
        let settled: u64 = state.settling.drain(..).map(|r| r.end - r.start).sum();
        self.unpin(settled as usize);
        self.counts.change(|counts| counts.settled_bytes += settled);
    }

    /// What the pass took of the log is dirty again: some of it could not be written. What could is written once more.
    fn unsettle(&self, log: &Log) {
        let mut state = log.state.borrow_mut();
        let back = state.settling.iter().map(|r| r.end - r.start).sum::<u64>();
        let again = state.settling_is_dirty();
        state.settle_busy = false;
        drop(state);
        let known = back.checked_sub(again);
        self.unpin(known.expect("no more comes back than was taken") as usize);
    }

    /// Everything in a full file is on the device once the file after it has begun and been flushed to.
    async fn wait_flushed(&self, file: &Rc<JournalFile>) {
        self.flush_soon();
        loop {
            let seen = self.committed.count();
            if self.is_offline() || self.journal.borrow().is_flushed(file) {
                return;
            }
            self.committed.changed_since(seen).await;
        }
    }

    /// Rows for what the pass changed, or a new table with all rows when that is due.
    async fn write_rows(&self, pass: &Pass) -> io::Result<()> {
        let renew = self.table.wants_rewrite();
        let logs: Vec<Rc<Log>> = if renew {
            let logs = self.logs.borrow();
            let deleting = self.deleting.borrow();
            logs.values().chain(deleting.iter()).cloned().collect()
        } else {
            pass.logs.iter().map(|(log, _)| log.clone()).collect()
        };
        let mut rows = Vec::new();
        if renew {
            let all = |log: &Rc<Log>| log.state.borrow_mut().rows_from = i64::MIN;
            logs.iter().for_each(all);
        } else if let Some(file) = &pass.retire {
            for key in file.drops.borrow().iter() {
                crate::table::encode_drop(key, &mut rows);
            }
        }
        for log in &logs {
            log.encode_row(&mut rows);
            if log.deleted.get() {
                // What was to be settled of it was not: its entries count no more from here on. The one that drops it may
                // still wait for its place in the journal, and until that is flushed nothing else says so.
                crate::table::encode_drop(&log.key, &mut rows);
            }
        }
        let written = match renew {
            true => self.table.rewrite(self.cores, &rows).await,
            false if rows.is_empty() => Ok(()),
            false => self.table.append(&rows).await,
        };
        let reaches = self.table.mark();
        self.journal.borrow_mut().table_reaches(reaches);
        if written.is_err() {
            // The next row leaves out nothing that this one had said.
            let all = |log: &Rc<Log>| log.state.borrow_mut().rows_from = i64::MIN;
            logs.iter().for_each(all);
        }
        written
    }

    fn retire(&self, file: &Rc<JournalFile>) {
        let number = u64::from(file.number);
        for log in file.logs.borrow_mut().drain(..) {
            log.state
                .borrow_mut()
                .journalled
                .retain(|(n, _)| *n != number);
        }
        file.drops.borrow_mut().clear();
        self.journal.borrow_mut().retire_oldest();
        self.work.notify();
    }

    /// Writes one log's dirty blocks; returns the files to flush.
    async fn settle_log(&self, log: &Rc<Log>, need: Need) -> io::Result<Vec<File>> {
        match self.write_dirty(log, need).await {
            // A log deleted meanwhile has no files any more.
            Err(_) if log.deleted.get() => Ok(Vec::new()),
            other => other,
        }
    }

    async fn write_dirty(&self, log: &Rc<Log>, need: Need) -> io::Result<Vec<File>> {
        // From here to the end of the pass the log's segments stay where they are.
        log.state.borrow_mut().settle_busy = true;
        let writes = loop {
            let seen = self.committed.count();
            if self.is_offline() || log.deleted.get() || !log.state.borrow().is_due(need) {
                return Ok(Vec::new());
            }
            self.ready_segments(log).await?;
            if log.state.borrow().dirty_is_unready() {
                // Rolled meanwhile: the new segment has no file yet.
                continue;
            }
            let writes = log.state.borrow_mut().start_settling(need);
            if let Some(writes) = writes {
                break writes;
            }
            log.flush_soon();
            self.committed.changed_since(seen).await;
        };
        let mut files: Vec<(i64, File)> = Vec::new();
        for write in writes {
            let path = log.segment_path(write.segment);
            let file = self.files.get(&path, Access::Direct).await?;
            self.may_settle().await;
            let written = file.write_at(write.parts, write.position).await;
            self.settle_writes.set(self.settle_writes.get() - 1);
            self.settle_wrote.notify();
            written?;
            if files.last().is_none_or(|(base, _)| *base != write.segment) {
                files.push((write.segment, file));
            }
        }
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// Waits for its turn to write, and takes it.
    async fn may_settle(&self) {
        loop {
            let seen = self.settle_wrote.count();
            let writes = self.settle_writes.get();
            // Somebody waits for it, or will in a moment.
            let late = self.stopped.get()
                || self.journal.borrow().free_files() == 0
                || self.budget.is_waited_for();
            if late || writes < WRITES_AT_ONCE {
                self.settle_writes.set(writes + 1);
                return;
            }
            self.settle_wrote.changed_since(seen).await;
        }
    }

    /// The files that dirty bytes go to exist, and have space where it is much.
    async fn ready_segments(&self, log: &Rc<Log>) -> io::Result<()> {
        self.materialize(log).await?;
        let wanted: Vec<(i64, u64, u64, u64, bool)> = {
            let state = log.state.borrow();
            let end = state.dirty.back().map_or(0, |r| r.end);
            let start = state.dirty.front().map_or(0, |r| r.start);
            let dirty = state
                .segments
                .iter()
                .filter(|s| s.end() > start && s.start < end);
            dirty
                .map(|s| {
                    let needed = end.min(s.end()).next_multiple_of(BLOCK) - s.start;
                    (
                        s.info.base_offset,
                        s.allocated,
                        needed,
                        end - start,
                        s.ready,
                    )
                })
                .collect()
        };
        for (base, allocated, needed, dirty, ready) in wanted {
            if !ready {
                self.make_segment(log, base).await?;
            }
            if needed > allocated && dirty >= GROW_BYTES_MIN {
                self.grow_segment(log, base, needed).await?;
            }
        }
        Ok(())
    }
}

impl Log {
    fn needed_in(&self, file: u64) -> Need {
        let state = self.state.borrow();
        Need::To(
            state
                .journalled
                .iter()
                .find(|(n, _)| *n == file)
                .map_or(0, |(_, end)| *end),
        )
    }

    pub(crate) fn has_rolled_segments(&self) -> bool {
        let state = self.state.borrow();
        state
            .segments
            .iter()
            .rev()
            .skip(1)
            .take(2)
            .any(|s| !s.closed)
    }
}

/// One write to a segment.
struct BlockWrite {
    segment: i64,
    position: u64,
    parts: Vec<Bytes>,
}

impl LogState {
    /// All of the rolled segments, and of the oldest block of memory.
    fn needed_soon(&self) -> Need {
        let oldest = self.tail.first_chunk_end();
        let oldest = oldest.filter(|end| *end <= self.flushed);
        Need::To(self.active().start.max(oldest.unwrap_or(0)))
    }

    /// Bytes of rolled segments are dirty, or none of them is still to be flushed.
    fn rolled_can_settle(&self) -> bool {
        let rolled = self.active().start;
        let dirty = self.dirty.front().is_some_and(|d| d.start < rolled);
        dirty || self.flushed >= rolled
    }

    fn dirty_to_settle(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Something is dirty that has to be settled; often an earlier pass has been as far as that.
    fn is_due(&self, need: Need) -> bool {
        let behind = match need {
            Need::To(to) => self.settled() < to,
            Need::All => true,
        };
        behind && self.dirty_to_settle()
    }

    /// Gives back what a pass took; returns how many of these bytes had not become dirty anew meanwhile: a sealed block's do,
    /// with the entry that follows.
    fn settling_is_dirty(&mut self) -> u64 {
        let mut added = 0;
        for range in std::mem::take(&mut self.settling) {
            // If the last block was to be sealed, it is not.
            self.sealed &= range.end != self.cut;
            added += self.dirty_again(range);
        }
        added
    }

    fn dirty_again(&mut self, range: Range<u64>) -> u64 {
        let overlap = |d: &Range<u64>| {
            d.end
                .min(range.end)
                .saturating_sub(d.start.max(range.start))
        };
        let known: u64 = self.dirty.iter().map(overlap).sum();
        let (joined, mut apart): (Vec<_>, Vec<_>) = self
            .dirty
            .drain(..)
            .partition(|d| d.start <= range.end && range.start <= d.end);
        let start = joined.iter().map(|d| d.start).fold(range.start, u64::min);
        let end = joined.iter().map(|d| d.end).fold(range.end, u64::max);
        apart.push(start..end);
        apart.sort_by_key(|d| d.start);
        self.dirty = apart.into();
        range.end - range.start - known
    }

    /// Dirty bytes belong to a segment whose file is not there yet.
    fn dirty_is_unready(&self) -> bool {
        let (Some(first), Some(last)) = (self.dirty.front(), self.dirty.back()) else {
            return false;
        };
        self.segments
            .iter()
            .any(|s| !s.ready && s.start < last.end && s.end() > first.start)
    }

    /// Decides how far to settle and takes the writes. `None`: not now, something is on its way.
    fn start_settling(&mut self, need: Need) -> Option<Vec<BlockWrite>> {
        assert!(self.settling.is_empty(), "one pass at a time");
        let quiet = self.in_flight == 0;
        let whole = self.flushed / BLOCK * BLOCK;
        let enough = match need {
            Need::To(to) => whole >= to,
            Need::All => quiet && whole >= self.flushed,
        };
        let target = match (enough, quiet) {
            (true, _) => whole,
            (false, true) => self.flushed,
            (false, false) => return None,
        };
        let mut writes = Vec::new();
        let taken: Vec<Range<u64>> = self
            .dirty
            .iter()
            .map(|r| r.start..r.end.min(target))
            .filter(|r| !r.is_empty())
            .collect();
        for range in &taken {
            self.block_writes(range.clone(), &mut writes);
            self.remove_dirty(range);
        }
        let seals = !target.is_multiple_of(BLOCK) && taken.last().is_some_and(|r| r.end == target);
        if seals {
            assert_eq!(self.cut, self.flushed, "only a quiet log is sealed");
            self.sealed = true;
        }
        self.settling = taken;
        Some(writes)
    }

    /// Splits `range` by segments and into writes of whole blocks.
    fn block_writes(&self, range: Range<u64>, writes: &mut Vec<BlockWrite>) {
        let mut at = range.start;
        while at < range.end {
            let segment = self.segment_at(at).expect("dirty bytes lie in a segment");
            let end = range.end.min(segment.end()).min(at + WRITE_BYTES_MAX);
            assert!(
                at < end && at.is_multiple_of(BLOCK),
                "dirty bytes begin at a block of a segment"
            );
            writes.push(BlockWrite {
                segment: segment.info.base_offset,
                position: at - segment.start,
                parts: self.whole_blocks(at..end),
            });
            at = end.next_multiple_of(BLOCK);
        }
    }

    /// The blocks that hold `range`, zeros after its end where the block is not full yet.
    fn whole_blocks(&self, range: Range<u64>) -> Vec<Bytes> {
        let Range { mut start, end } = range;
        let mut parts = Vec::new();
        if start < self.tail.start() {
            let first = (start + BLOCK).min(end);
            parts.push(
                self.tail
                    .padded_block(start, first, self.prefix.as_ref())
                    .freeze(),
            );
            start += BLOCK;
        }
        let full = end / BLOCK * BLOCK;
        if start < full {
            parts.extend(self.tail.views(start..full));
        }
        if start.max(full) < end {
            parts.push(self.tail.padded_block(full, end, None).freeze());
        }
        parts
    }
}
