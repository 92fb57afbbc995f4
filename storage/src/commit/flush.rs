//! One flush for all that is written, and who is released by it.

use std::io;
use std::rc::Rc;

use millstream_ring::File;

use super::units::Flying;
use crate::store::core_dir::CoreDir;
use crate::store::event::{Local, join_all};

impl CoreDir {
    /// Releases whoever waits for the oldest units to be written.
    pub(super) fn note_written(&self) {
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
    pub(super) fn start_flush(self: &Rc<Self>) {
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
                None if dir.is_offline() => {}
                None => {
                    dir.commit.borrow_mut().flushing = false;
                    dir.group_flushed(group, 1);
                }
            }
        });
    }

    /// The oldest units, as far as they were flushed as they were written. They go out behind none that was not.
    pub(super) fn release_durable(&self) {
        if self.is_offline() {
            return;
        }
        let mut commit = self.commit.borrow_mut();
        let done = commit
            .flying
            .iter()
            .take_while(|f| f.durably && f.writes_left.get() == 0)
            .count();
        let group: Vec<Flying> = commit.flying.drain(..done).collect();
        assert!(
            group.is_empty() || !commit.flushing,
            "a flush is of what went before"
        );
        drop(commit);
        if !group.is_empty() {
            self.group_flushed(group, done as u64);
        }
    }

    /// Moves the flushed ends of everything in the group, then wakes whoever waits.
    fn group_flushed(&self, group: Vec<Flying>, flushes: u64) {
        self.counts.change(|counts| counts.flushes += flushes);
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
        commit.written = commit.written.max(number);
        let controls = group.iter().map(|f| f.controls).max().unwrap_or(0);
        commit.controls_durable = commit.controls_durable.max(controls);
        drop(commit);
        for touch in group.iter().flat_map(|f| &f.touches) {
            touch.log.tell_flushed();
        }
        self.committed();
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
