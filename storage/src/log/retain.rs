//! Drop by time, size and request; all three move the log start, which stands in the journal before a file goes.

use std::rc::Rc;
use std::time::Duration;

use super::{Log, LogState};
use crate::error::StoreError;
use crate::journal::entry::encode_log_start;

impl LogState {
    fn start_moved(&mut self, target: i64) {
        self.epochs.truncate_from_start(target);
        self.unclean = true;
    }
}

impl Log {
    /// Moves the log start to `new_start` (-1: the flushed end). Durable when it returns; answers the log start.
    pub async fn delete_records(&self, new_start: i64) -> Result<i64, StoreError> {
        let (start, end) = (self.log_start_offset.get(), self.flushed_end_offset.get());
        let target = if new_start == -1 { end } else { new_start };
        if target < 0 || target > end {
            return Err(StoreError::OutOfRange {
                offset: target,
                start,
                end,
            });
        }
        if self.dir.is_for_drops() {
            return Err(StoreError::NoSpace);
        }
        self.move_start(target).await?;
        Ok(self.log_start_offset.get())
    }

    /// Applies `retention.ms` and `retention.bytes` as Kafka does; returns the number of segments dropped.
    /// Nothing is dropped of a log whose policy contains `compact`, or does not contain `delete`.
    pub async fn retain(&self, now_ms: i64) -> Result<usize, StoreError> {
        let target = self.retention_start(now_ms);
        let before = self.state.borrow().segments.len();
        if let Some(target) = target {
            self.move_start(target).await?;
        } else {
            self.drop_segments().await?;
        }
        Ok(before.saturating_sub(self.state.borrow().segments.len()))
    }

    /// The log start that retention asks for, if it is above the present one.
    fn retention_start(&self, now_ms: i64) -> Option<i64> {
        let mut state = self.state.borrow_mut();
        let config = state.config;
        if config.compact || !config.delete {
            return None;
        }
        let flushed_end = self.flushed_end_offset.get();
        let mut excess = match config.retention_bytes {
            max if max >= 0 => {
                let size: u64 = state.segments.iter().map(|s| s.info.bytes).sum();
                size.saturating_sub(max as u64)
            }
            _ => 0,
        };
        let mut target = None;
        for segment in &state.segments {
            let info = &segment.info;
            if info.bytes == 0 || info.end_offset > flushed_end {
                break;
            }
            // As Kafka: a segment's age is that of its largest timestamp, or of its file without any.
            let newest = if info.largest_timestamp >= 0 {
                info.largest_timestamp
            } else {
                info.modified_ms
            };
            let old =
                config.retention_ms >= 0 && now_ms.saturating_sub(newest) > config.retention_ms;
            let large = excess >= info.bytes && config.retention_bytes >= 0;
            if !old && !large {
                break;
            }
            excess = excess.saturating_sub(info.bytes);
            target = Some(info.end_offset);
        }
        // The active segment goes too when all of it is old, as in Kafka: a new one begins first.
        if target == Some(self.log_end_offset.get()) && state.active().info.bytes > 0 {
            let end = self.log_end_offset.get();
            self.roll(&mut state, end);
        }
        target.filter(|t| *t > self.log_start_offset.get())
    }

    async fn move_start(&self, target: i64) -> Result<(), StoreError> {
        if target > self.log_start_offset.get() {
            self.log_start_offset.set(target);
            self.state.borrow_mut().start_moved(target);
            let mut item = Vec::new();
            encode_log_start(&self.key, target, &mut item);
            let ticket = self.dir.control(&item, self.me.upgrade(), None);
            self.start_moving.set(Some(ticket));
        }
        self.drop_segments().await
    }

    /// Waits until the log start of this moment, whoever moved it, is on the device.
    async fn start_durable(&self) -> Result<(), StoreError> {
        while let Some(ticket) = self.start_moving.get() {
            self.dir.wait_control(ticket).await?;
            if self.start_moving.get() == Some(ticket) {
                self.start_moving.set(None);
            }
        }
        Ok(())
    }

    /// Forgets and deletes segments wholly below the log start, never the active one.
    async fn drop_segments(&self) -> Result<(), StoreError> {
        self.start_durable().await?;
        let (bases, delay) = {
            let mut state = self.state.borrow_mut();
            if self.deleted.get() || state.maintained || state.settle_busy {
                // A segment that is being settled or closed goes at the next call.
                return Ok(());
            }
            let start = self.log_start_offset.get();
            let flushed = state.flushed;
            let mut bases = Vec::new();
            while state.segments.len() > 1 {
                let first = &state.segments[0];
                if first.info.end_offset > start || first.end() > flushed {
                    break;
                }
                let range = first.start..state.segments[1].start;
                let freed = state.remove_dirty(&range);
                self.dir.unpin(freed as usize);
                let gone = state.segments.pop_front().expect("there are two");
                if gone.ready {
                    bases.push(gone.info.base_offset);
                }
            }
            assert!(
                state.flushed >= state.segments[0].start,
                "only what is flushed goes"
            );
            (bases, state.config.file_delete_delay_ms)
        };
        if bases.is_empty() {
            return Ok(());
        }
        // Until they are out of the way, the log's directory stays where it is.
        self.state.borrow_mut().maintained = true;
        let path = self.path();
        let marked = self.dir.files.mark_segments_deleted(&path, &bases).await;
        self.state.borrow_mut().maintained = false;
        self.dir.committed.notify();
        let marked = marked.map_err(|source| StoreError::Io {
            doing: "delete segments",
            source,
        })?;
        for file in marked {
            self.dir
                .files
                .unlink_later(file, Duration::from_millis(delay));
        }
        Ok(())
    }

    /// The log is deleted: nothing of it is settled, read or appended from now on.
    pub(crate) fn abandon(self: &Rc<Self>) {
        self.deleted.set(true);
        self.release_dirty();
        self.tell_flushed();
    }

    /// Bytes of a deleted log need no segment.
    pub(crate) fn release_dirty(&self) {
        let mut state = self.state.borrow_mut();
        let dirty: u64 = state.dirty.drain(..).map(|r| r.end - r.start).sum();
        self.dir.unpin(dirty as usize);
    }
}
