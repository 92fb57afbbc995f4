//! Metadata in the background, ahead of need: directories and segments created and fsynced, extents set
//! aside, rolled segments cut to their length and closed, producer snapshots written.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::core_dir::{CoreDir, Errand};
use crate::knobs::{BLOCK, SNAPSHOT_AFTER_BATCHES};
use crate::log::{Index, Log};
use crate::segment::index::{ActiveIndex, BatchSpan, OffsetEntry, OffsetIndex, TimeIndex};
use crate::{dir, snapshot};

/// Ahead of a busy segment's end up to so much is set aside.
const AHEAD_BYTES: u64 = 32 << 20;
/// A segment with less than this gets its blocks as they are written.
const BUSY_BYTES_MIN: u64 = 1 << 20;
/// Wait before what found no space is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl CoreDir {
    /// Works off the queue until the store ends. What has to wait, for space say, waits aside: nothing else does.
    pub(crate) async fn run_maintenance(self: Rc<Self>) {
        let mut later: Vec<Rc<Log>> = Vec::new();
        loop {
            let seen = self.maintenance_wanted.count();
            if self.is_offline() || self.stopped.get() {
                return;
            }
            if !self.has_authority() {
                self.ring.sleep(Duration::from_millis(1)).await;
                continue;
            }
            let next = self.maintenance.borrow_mut().pop_front();
            match next {
                Some(log) => later.extend(self.maintain(log).await),
                None if later.is_empty() => {
                    self.goes_on(Errand::Maintain);
                    self.maintenance_wanted.changed_since(seen).await;
                }
                None => {
                    let wanted = self.maintenance_wanted.changed_since(seen);
                    self.ring.timeout(RETRY, wanted).await;
                    later.drain(..).for_each(|log| self.wants_maintenance(&log));
                }
            }
        }
    }

    /// Brings one log's files to where its bytes want them; returns it if that has to wait.
    async fn maintain(&self, log: Rc<Log>) -> Option<Rc<Log>> {
        log.maintenance_queued.set(false);
        if log.deleted.get() {
            return None;
        }
        if std::mem::replace(&mut log.state.borrow_mut().maintained, true) {
            // Somebody removes files of it.
            return Some(log);
        }
        let result = self.maintain_files(&log).await;
        log.state.borrow_mut().maintained = false;
        self.committed.notify();
        match result {
            Ok(()) => {}
            Err(_) if log.deleted.get() => {}
            Err(cause) if self.has_to_wait(Errand::Maintain, &cause) => return Some(log),
            Err(cause) => self.fail(&cause, "maintain a log"),
        }
        None
    }

    async fn maintain_files(&self, log: &Rc<Log>) -> io::Result<()> {
        self.materialize(log).await?;
        let (base, ready, needed, allocated, busy) = {
            let state = log.state.borrow();
            let active = state.active();
            // As much again as there is: a log that grew by small appends must not set aside what only a busy one needs,
            // or thousands of them fill the device with nothing.
            let ahead = active.info.bytes.min(AHEAD_BYTES);
            let needed = (active.info.bytes + ahead).next_multiple_of(BLOCK);
            let busy = active.info.bytes >= BUSY_BYTES_MIN;
            (
                active.info.base_offset,
                active.ready,
                needed,
                active.allocated,
                busy,
            )
        };
        if !ready {
            self.make_segment(log, base).await?;
        }
        // Nothing is set aside of the reserve: what is appended from there goes through the journal.
        if busy && needed > allocated && self.direct.get() && self.has_room() {
            self.grow_segment(log, base, needed).await?;
        }
        self.close_rolled(log).await?;
        if log.state.borrow().batches_since_snapshot > SNAPSHOT_AFTER_BATCHES {
            self.write_snapshot(log).await?;
        }
        Ok(())
    }

    /// The partition's directory, durable under its name.
    pub(crate) async fn materialize(&self, log: &Rc<Log>) -> io::Result<()> {
        loop {
            let seen = self.committed.count();
            if log.state.borrow().materialized {
                return Ok(());
            }
            let busy = log.state.borrow().creating || self.is_deleting(&log.name);
            if !busy || log.deleted.get() || self.is_offline() {
                break;
            }
            self.committed.changed_since(seen).await;
        }
        if log.deleted.get() || self.is_offline() {
            return Err(io::ErrorKind::NotFound.into());
        }
        log.state.borrow_mut().creating = true;
        let created = self.create_partition(log).await;
        log.state.borrow_mut().creating = false;
        self.committed.notify();
        created?;
        let mut state = log.state.borrow_mut();
        state.materialized = true;
        if state.active().info.base_offset == 0 {
            state.active_mut().ready = true;
        }
        Ok(())
    }

    async fn create_partition(&self, log: &Log) -> io::Result<()> {
        let created = self
            .files
            .create_partition(&self.data, &log.name, log.key.id.topic_id)
            .await;
        match created {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                // What is left of a partition that nobody knows: kept, out of the way.
                self.files
                    .mark_partition(&self.data, &log.name, dir::Mark::Stray)
                    .await?;
                self.files
                    .create_partition(&self.data, &log.name, log.key.id.topic_id)
                    .await?;
            }
            other => drop(other?),
        }
        Ok(())
    }

    pub(crate) async fn make_segment(&self, log: &Rc<Log>, base_offset: i64) -> io::Result<()> {
        self.materialize(log).await?;
        self.files.create_segment(&log.path(), base_offset).await?;
        if let Some(segment) = log.state.borrow_mut().segment_mut(base_offset) {
            segment.ready = true;
        }
        Ok(())
    }

    pub(crate) async fn grow_segment(
        &self,
        log: &Rc<Log>,
        base_offset: i64,
        needed: u64,
    ) -> io::Result<()> {
        let (allocated, at_most) = {
            let state = log.state.borrow();
            let Ok(at) = state
                .segments
                .binary_search_by_key(&base_offset, |s| s.info.base_offset)
            else {
                return Ok(());
            };
            let segment = &state.segments[at];
            let at_most = u64::from(state.config.segment_bytes)
                .max(segment.info.bytes)
                .next_multiple_of(BLOCK);
            (segment.allocated, at_most)
        };
        let needed = needed.min(at_most);
        if needed <= allocated {
            return Ok(());
        }
        let path = log.segment_path(base_offset);
        let grown = self.files.grow(&path, allocated, needed, at_most).await?;
        if let Some(segment) = log.state.borrow_mut().segment_mut(base_offset) {
            segment.allocated = segment.allocated.max(grown);
        }
        Ok(())
    }

    /// Rolled segments whose bytes are all in place are cut, indexed and never written again. Those whose bytes
    /// are not are handed to settling, which comes back here.
    pub(super) async fn close_rolled(&self, log: &Rc<Log>) -> io::Result<()> {
        loop {
            let (base, bytes, settled) = {
                let state = log.state.borrow();
                let rolled = state.segments.len() - 1;
                let Some(segment) = state.segments.iter().take(rolled).find(|s| !s.closed) else {
                    return Ok(());
                };
                let settled = state.settled() >= segment.end();
                (segment.info.base_offset, segment.info.bytes, settled)
            };
            if self.is_offline() {
                return Ok(());
            }
            if !settled {
                self.settle_soon(log);
                return Ok(());
            }
            self.resume_index(log, base).await?;
            self.files.cut(&log.segment_path(base), bytes).await?;
            self.write_index(log, base, true).await?;
            self.write_snapshot(log).await?;
            let mut state = log.state.borrow_mut();
            if let Some(segment) = state.segment_mut(base) {
                segment.closed = true;
                segment.index = Index::OnDisk;
            }
        }
    }

    /// Writes what the index files lack; `last` adds the closing entry.
    pub(crate) async fn write_index(&self, log: &Log, base: i64, last: bool) -> io::Result<()> {
        let unwritten = {
            let mut state = log.state.borrow_mut();
            match state.segment_mut(base).map(|s| &mut s.index) {
                Some(Index::Active(index)) if last => index.finish(),
                Some(Index::Active(index)) => index.take_unwritten(),
                _ => return Ok(()),
            }
        };
        let written = match last {
            true => self.files.finish_index(&log.path(), base, &unwritten).await,
            false => self.files.write_index(&log.path(), base, &unwritten).await,
        };
        if written.is_err()
            && let Some(segment) = log.state.borrow_mut().segment_mut(base)
            && let Index::Active(index) = &mut segment.index
        {
            // It is tried again where space or a descriptor was missing, and must not leave a hole.
            index.put_back(unwritten);
        }
        written
    }

    /// After a start: reads the index files of a segment that is still written, scans what they lack, and
    /// adds the batches since.
    pub(crate) async fn resume_index(&self, log: &Log, base: i64) -> io::Result<()> {
        let (interval, scan_to, info) = {
            let state = log.state.borrow();
            let Ok(at) = state
                .segments
                .binary_search_by_key(&base, |s| s.info.base_offset)
            else {
                return Ok(());
            };
            let segment = &state.segments[at];
            let Index::Unread(spans) = &segment.index else {
                return Ok(());
            };
            let scan_to = spans
                .first()
                .map_or(segment.info.bytes, |s| u64::from(s.position));
            (
                state.config.index_interval_bytes,
                scan_to,
                segment.info.clone(),
            )
        };
        let path = log.path();
        let read = async |kind| {
            let bytes =
                millstream_ring::fs::read(&self.ring, &path.join(dir::file_name(base, kind))).await;
            bytes.unwrap_or_default()
        };
        let offsets = read(dir::FileKind::Index).await;
        let times = read(dir::FileKind::TimeIndex).await;
        let decoded = OffsetIndex::decode(base, &offsets, scan_to)
            .ok()
            .zip(TimeIndex::decode(base, info.end_offset, &times).ok());
        // What does not make sense is rebuilt from the log, from all of it that can be read.
        let resumed = match decoded {
            Some((offsets, times)) => {
                let index = ActiveIndex::resume(interval, &offsets, &times);
                let last = offsets.entries().last().copied();
                continue_index(log, index, last, scan_to, info.end_offset).await?
            }
            None => None,
        };
        let mut index = match resumed {
            Some(index) => index,
            None => {
                let new = ActiveIndex::new(base, interval);
                match continue_index(log, new.clone(), None, scan_to, info.end_offset).await? {
                    Some(index) => index,
                    None => {
                        let mut index = new;
                        let intact = log.intact_spans(base, scan_to).await;
                        let intact = intact.map_err(io::Error::other)?;
                        intact.into_iter().for_each(|span| index.push(span));
                        index
                    }
                }
            }
        };
        let mut state = log.state.borrow_mut();
        if let Some(segment) = state.segment_mut(base)
            && let Index::Unread(spans) = &segment.index
        {
            spans.iter().for_each(|span| index.push(*span));
            segment.index = Index::Active(Box::new(index));
        }
        Ok(())
    }

    /// A producer snapshot of the log's present end, once that is flushed.
    pub(crate) async fn write_snapshot(&self, log: &Rc<Log>) -> io::Result<()> {
        let Some(source) = log.snapshot_source.borrow().clone() else {
            return Ok(());
        };
        // Taken together, without an await between: the state describes exactly this end.
        let (entries, end) = (source(), log.log_end_offset.get());
        log.state.borrow_mut().batches_since_snapshot = 0;
        log.flush_soon();
        loop {
            let seen = self.committed.count();
            if self.is_offline() || log.deleted.get() {
                return Ok(());
            }
            if log.flushed_end_offset.get() >= end {
                break;
            }
            self.committed.changed_since(seen).await;
        }
        snapshot::write(&self.ring, &log.path(), end, &entries).await?;
        let bases: Vec<i64> = log
            .state
            .borrow()
            .segments
            .iter()
            .map(|s| s.info.base_offset)
            .collect();
        for offset in snapshot::obsolete(&snapshot::offsets(&log.path())?, &bases, end) {
            let path = log
                .path()
                .join(dir::file_name(offset, dir::FileKind::Snapshot));
            self.files.unlink_later(path, Duration::ZERO);
        }
        Ok(())
    }
}

/// Adds the batches up to `scan_to`, all below `end_offset`. `None`: what `last`, the index's last entry, leads to is no such
/// batch, or the segment is damaged behind it.
async fn continue_index(
    log: &Log,
    mut index: ActiveIndex,
    last: Option<OffsetEntry>,
    scan_to: u64,
    end_offset: i64,
) -> io::Result<Option<ActiveIndex>> {
    let from = u64::from(index.resume_position());
    let headers = match log.headers(index.base_offset(), from, scan_to).await {
        Ok(headers) => headers,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(error) => return Err(error),
    };
    let first = headers.first().map(|(_, header)| header.last_offset());
    if last.is_some_and(|entry| Some(entry.offset) != first) {
        return Ok(None);
    }
    let mut next = index.base_offset();
    for (position, header) in headers {
        // No checksum covers a base offset, and none was looked at here.
        if header.base_offset < next || header.next_offset() > end_offset {
            return Ok(None);
        }
        next = header.next_offset();
        index.push(BatchSpan::new(position, &header));
    }
    Ok(Some(index))
}
