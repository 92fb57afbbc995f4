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

use crate::files::Access;
use crate::journal::writer::JournalFile;
use crate::knobs::BLOCK;
use crate::log::{Log, LogState};
use crate::store::core_dir::CoreDir;
use crate::store::event::{Local, join_all};

/// Logs whose blocks are written at the same time.
const LOGS_AT_ONCE: usize = 32;
/// Bytes of one write.
const WRITE_BYTES_MAX: u64 = 1 << 20;
/// Logs with more than this to settle have space set aside ahead; small ones grow by what they write.
const GROW_BYTES_MIN: u64 = 256 * 1024;
/// Wait before trying again when the device is full.
const FULL_RETRY: Duration = Duration::from_millis(500);

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
        loop {
            let seen = self.settle_wanted.count();
            if self.is_offline() || self.stopped.get() {
                return;
            }
            match self.next_pass() {
                Some(pass) if self.has_authority() => {
                    if let Err(cause) = self.settle(pass).await {
                        self.fail(&cause, "settle");
                    }
                }
                Some(_) => self.ring.sleep(Duration::from_millis(1)).await,
                None => self.settle_wanted.changed_since(seen).await,
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
        for file in self.settle_log(log, Need::All).await? {
            file.sync_all().await?;
        }
        let mut state = log.state.borrow_mut();
        state.settle_busy = false;
        let settled: u64 = state.settling.drain(..).map(|r| r.end - r.start).sum();
        self.budget.unpin(settled as usize);
        Ok(())
    }

    fn next_pass(&self) -> Option<Pass> {
        let queued = std::mem::take(&mut *self.settle_queue.borrow_mut());
        if !queued.is_empty() {
            let logs = queued.into_iter().map(|log| {
                let rolled = log.state.borrow().active().start;
                (log, Need::To(rolled))
            });
            return Some(Pass {
                logs: logs.collect(),
                retire: None,
            });
        }
        let journal = self.journal.borrow();
        let full = journal.full_files();
        if full > 0 && (full * 2 >= self.journal_files || self.budget.wants_settling()) {
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
        if self.budget.wants_settling() {
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

    async fn settle(&self, pass: Pass) -> io::Result<()> {
        if let Some(file) = &pass.retire {
            self.wait_flushed(file).await;
        }
        let mut written: Vec<File> = Vec::new();
        for some in pass.logs.chunks(LOGS_AT_ONCE) {
            let settling = some
                .iter()
                .map(|(log, need)| Box::pin(self.settle_log(log, *need)) as Local<'_, _>);
            for files in join_all::<io::Result<Vec<File>>>(settling.collect()).await {
                written.extend(files?);
            }
        }
        for some in written.chunks(LOGS_AT_ONCE) {
            // sync_all: blocks may have been written behind the former end of the file.
            let flushing = some
                .iter()
                .map(|f| Box::pin(f.sync_all()) as Local<'_, _>)
                .collect();
            join_all::<io::Result<()>>(flushing)
                .await
                .into_iter()
                .collect::<io::Result<()>>()?;
        }
        if self.is_offline() {
            return Ok(());
        }
        for (log, _) in &pass.logs {
            let mut state = log.state.borrow_mut();
            state.settle_busy = false;
            let settled: u64 = state.settling.drain(..).map(|r| r.end - r.start).sum();
            self.budget.unpin(settled as usize);
        }
        self.write_rows(&pass).await?;
        if let Some(file) = pass.retire {
            self.retire(&file);
        }
        for (log, _) in &pass.logs {
            if log.has_rolled_segments() {
                self.wants_maintenance(log);
            }
        }
        self.committed();
        Ok(())
    }

    /// Everything in a full file is on the device once the file after it has begun and been flushed to.
    async fn wait_flushed(&self, file: &Rc<JournalFile>) {
        loop {
            let seen = self.committed.count();
            if self.is_offline() || self.journal.borrow().is_flushed(file) {
                return;
            }
            self.committed.changed_since(seen).await;
        }
    }

    async fn write_rows(&self, pass: &Pass) -> io::Result<()> {
        let mut rows = Vec::new();
        for (log, _) in pass.logs.iter().filter(|(log, _)| !log.deleted.get()) {
            log.encode_row(&mut rows);
        }
        if let Some(file) = &pass.retire {
            for key in file.drops.borrow().iter() {
                crate::table::encode_drop(key, &mut rows);
            }
        }
        if !rows.is_empty() {
            self.table.append(&rows).await?;
        }
        if self.table.wants_rewrite() {
            let logs: Vec<Rc<Log>> = self.logs.borrow().values().cloned().collect();
            let mut all = Vec::new();
            crate::table::encode_cores(self.cores, &mut all);
            for log in logs {
                log.state.borrow_mut().rows_from = i64::MIN;
                log.encode_row(&mut all);
            }
            self.table.rewrite(&all).await?;
        }
        Ok(())
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
            if self.is_offline() || log.deleted.get() || !log.state.borrow().dirty_to_settle() {
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
            self.committed.changed_since(seen).await;
        };
        let mut files: Vec<(i64, File)> = Vec::new();
        for write in writes {
            let path = log.segment_path(write.segment);
            let file = self.files.get(&path, Access::Direct).await?;
            loop {
                match file.write_at(write.parts.clone(), write.position).await {
                    Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                        self.ring.sleep(FULL_RETRY).await
                    }
                    other => break other?,
                }
            }
            if files.last().is_none_or(|(base, _)| *base != write.segment) {
                files.push((write.segment, file));
            }
        }
        Ok(files.into_iter().map(|(_, file)| file).collect())
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
    fn dirty_to_settle(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Dirty bytes belong to a segment whose file is not there yet.
    fn dirty_is_unready(&self) -> bool {
        let Some(end) = self.dirty.back().map(|r| r.end) else {
            return false;
        };
        self.segments
            .iter()
            .any(|s| !s.ready && s.start < end && s.info.bytes > 0)
    }

    /// Decides how far to settle and takes the writes. `None`: not now, something is on its way.
    fn start_settling(&mut self, need: Need) -> Option<Vec<BlockWrite>> {
        assert!(self.settling.is_empty(), "one pass at a time");
        let quiet = self.in_flight == 0;
        let rolled_end = self
            .segments
            .iter()
            .rev()
            .skip(1)
            .any(|s| s.end() == self.flushed);
        let whole = if rolled_end {
            self.flushed.next_multiple_of(BLOCK)
        } else {
            self.flushed / BLOCK * BLOCK
        };
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
        let seals = !rolled_end
            && !target.is_multiple_of(BLOCK)
            && taken.last().is_some_and(|r| r.end == target);
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
