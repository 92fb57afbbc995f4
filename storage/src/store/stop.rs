//! Clean stop: everything settled, files cut to length, journals gone. And the files of deleted logs.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{Ring, fs};

use super::core_dir::{CoreDir, Errand};
use super::event::{Local, join_all};
use crate::checkpoint::{OffsetFile, PartitionOffset, write_epochs, write_offsets};
use crate::dir::{self, DirError, Mark};
use crate::error::OpenError;
use crate::log::Log;
use crate::recovery::Stopped;

/// Wait before a directory is removed again that could not be.
const RETRY: Duration = Duration::from_millis(500);
/// Logs closed at the same time.
const LOGS_AT_ONCE: usize = 32;
/// So long a clean stop waits for descriptors, all in all, before it leaves the rest to the next start.
const DESCRIPTORS_WAIT: Duration = Duration::from_secs(10);
/// Wait before it looks again whether there are some.
const DESCRIPTORS_RETRY: Duration = Duration::from_millis(20);

/// How long a stop still waits for descriptors.
pub(super) struct Patience {
    ring: Ring,
    /// By the ring's clock.
    until: Duration,
}

impl Patience {
    pub fn new(ring: &Ring) -> Patience {
        Patience {
            ring: ring.clone(),
            until: ring.now() + DESCRIPTORS_WAIT,
        }
    }

    /// Does `work` again as long as it fails for want of a descriptor.
    pub async fn with<T>(&self, work: impl AsyncFn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match work().await {
                Err(cause) if dir::lacks_descriptors(&cause) && self.ring.now() < self.until => {
                    self.ring.sleep(DESCRIPTORS_RETRY).await;
                }
                other => return other,
            }
        }
    }
}

impl CoreDir {
    /// Ends the background tasks, each at its next pause, and waits for them.
    pub(super) async fn stop_tasks(&self) {
        self.stopped.set(true);
        self.work.notify();
        self.settle_wanted.notify();
        self.maintenance_wanted.notify();
        self.budget.wake();
        loop {
            let seen = self.committed.count();
            if self.tasks.get() == 0 {
                return;
            }
            self.committed.changed_since(seen).await;
        }
    }

    /// Brings every log's files to what Kafka leaves behind: cut, indexed, with snapshot and epochs.
    pub(super) async fn close_files(&self, patience: &Patience) -> io::Result<()> {
        let mut logs: Vec<Rc<Log>> = self.logs.borrow().values().cloned().collect();
        logs.retain(|log| log.state.borrow().unclean);
        for some in logs.chunks(LOGS_AT_ONCE) {
            let closing = some
                .iter()
                .map(|log| {
                    Box::pin(patience.with(async || self.close_log(log).await)) as Local<'_, _>
                })
                .collect();
            join_all::<io::Result<()>>(closing)
                .await
                .into_iter()
                .collect::<io::Result<()>>()?;
        }
        Ok(())
    }

    async fn close_log(&self, log: &Rc<Log>) -> io::Result<()> {
        self.materialize(log).await?;
        self.close_rolled(log).await?;
        let (base, bytes, ready) = {
            let state = log.state.borrow();
            let active = state.active();
            assert!(state.dirty.is_empty(), "settled before it is closed");
            assert_eq!(state.flushed, state.cut, "flushed before it is closed");
            (active.info.base_offset, active.info.bytes, active.ready)
        };
        if !ready {
            self.make_segment(log, base).await?;
        }
        self.resume_index(log, base).await?;
        self.files.cut(&log.segment_path(base), bytes).await?;
        self.write_index(log, base, true).await?;
        self.write_snapshot(log).await?;
        // Nothing is appended any more: all that there is besides.
        self.sweep_log(log, i64::MAX).await?;
        let epochs = log.state.borrow().epochs.clone();
        write_epochs(&self.ring, &log.path(), &epochs).await?;
        log.state.borrow_mut().active_mut().allocated = 0;
        Ok(())
    }

    /// The table alone tells everything from now on.
    pub(super) async fn write_final_rows(&self) -> io::Result<()> {
        let mut rows = Vec::new();
        for log in self.logs.borrow().values() {
            log.state.borrow_mut().rows_from = i64::MIN;
            log.encode_row(&mut rows);
        }
        crate::table::encode_stopped(&mut rows);
        self.table.rewrite(self.cores, &rows).await
    }

    pub(super) async fn remove_journal(&self) -> io::Result<()> {
        let (path, chain, _) = self.journal.borrow().parameters();
        let numbers: Vec<u32> = self
            .journal
            .borrow()
            .all()
            .map(|file| file.number)
            .collect();
        for number in numbers {
            let name = crate::journal::JournalFileName {
                generation: chain.generation,
                core: chain.core,
                number,
            };
            match fs::unlink(&self.ring, &name.path(&path)).await {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        self.files.sync_dir(&path).await
    }

    /// Takes a deleted log's directory out of the way, then removes it slowly.
    pub(super) async fn remove_files(&self, log: &Log) {
        loop {
            let seen = self.committed.count();
            let busy = {
                let state = log.state.borrow();
                state.creating || state.maintained || state.settle_busy
            };
            if !busy || self.is_offline() {
                break;
            }
            self.committed.changed_since(seen).await;
        }
        while !self.is_offline() {
            match self.move_away(log).await {
                Err(cause) if self.has_to_wait(Errand::Delete, &cause) && !self.stopped.get() => {
                    self.ring.sleep(RETRY).await;
                }
                moved => {
                    self.goes_on(Errand::Delete);
                    if let Err(cause) = moved {
                        let name = &log.name;
                        tracing::warn!("{name}: its files stay until the next start: {cause}");
                    }
                    break;
                }
            }
        }
        let gone = |of: &Rc<Log>| std::ptr::eq(&**of, log);
        self.deleting.borrow_mut().retain(|of| !gone(of));
        self.committed.notify();
    }

    async fn move_away(&self, log: &Log) -> io::Result<()> {
        if !fs::exists(&self.ring, &log.path()).await? {
            return Ok(());
        }
        let marked = self
            .files
            .mark_partition(&self.data, &log.name, Mark::Delete);
        match marked.await {
            Err(cause) if dir::is_full(&cause) => self.files.remove_now(&log.path()).await,
            marked => {
                let delay = log.state.borrow().config.file_delete_delay_ms;
                self.files
                    .unlink_later(marked?, Duration::from_millis(delay));
                Ok(())
            }
        }
    }

    /// What Kafka would find in its checkpoint files: `(end, log start where it is above the first segment)`.
    pub(super) fn offsets(&self) -> Vec<(PartitionOffset, Option<PartitionOffset>)> {
        let logs = self.logs.borrow();
        let offsets = logs.values().map(|log| {
            let start = log.log_start_offset();
            let first = log.state.borrow().segments[0].info.base_offset;
            let at = |offset| PartitionOffset {
                name: log.name.clone(),
                offset,
            };
            (
                at(log.flushed_end_offset()),
                (start > first).then(|| at(start)),
            )
        });
        offsets.collect()
    }
}

impl Stopped {
    /// The very last writes, once per process with the answers of all its stores: Kafka's checkpoint files and
    /// then the marks that say clean. A directory that went offline stays dirty.
    pub async fn finish(all: Vec<Stopped>, ring: &Ring) -> Result<(), OpenError> {
        let Some(first) = all.first() else {
            return Ok(());
        };
        let patience = Patience::new(ring);
        for (index, data) in first.dirs.iter().enumerate() {
            if data.offline().is_some() {
                continue;
            }
            let offsets = || all.iter().flat_map(|stopped| &stopped.offsets[index]);
            let ends: Vec<PartitionOffset> = offsets().map(|(end, _)| end.clone()).collect();
            let starts: Vec<PartitionOffset> =
                offsets().filter_map(|(_, start)| start.clone()).collect();
            let files = [
                (OffsetFile::RecoveryPoint, &ends),
                (OffsetFile::LogStart, &starts),
                (OffsetFile::Replication, &ends),
            ];
            for (file, rows) in files {
                let written =
                    patience.with(async || write_offsets(ring, data.path(), file, rows).await);
                written
                    .await
                    .map_err(|e| OpenError::io("write the checkpoints in", data.path(), e))?;
            }
            let marked = patience.with(async || {
                match data.finish_clean(ring, first.generation).await {
                    // What a descriptor was missing for is done again, all else is told as it is.
                    Err(DirError::Io { cause, .. }) if dir::lacks_descriptors(&cause) => Err(cause),
                    other => Ok(other),
                }
            });
            marked
                .await
                .map_err(|e| OpenError::io("mark as clean", data.path(), e))??;
        }
        Ok(())
    }
}
