//! Files that an earlier process left behind in the directories of partitions: segments it had dropped and not removed yet,
//! or had begun and never written to.
//!
//! Recovery opens no partition, so nobody else would find them, and Kafka, should it open the directory one day, would take
//! a leftover for a segment.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::fs;

use super::core_dir::CoreDir;
use crate::dir::{FileKind, parse_file_name, parse_stem};
use crate::files::DELETED;
use crate::log::Log;

/// Between two directories: there may be ten thousand, and the start has better things to do.
const PAUSE: Duration = Duration::from_millis(5);

impl CoreDir {
    /// Once after each start, slowly.
    pub(super) async fn sweep(self: Rc<Self>) {
        let ended = || self.stopped.get() || self.is_offline();
        while !self.has_authority() && !ended() {
            self.ring.sleep(PAUSE).await;
        }
        let logs: Vec<Rc<Log>> = self.logs.borrow().values().cloned().collect();
        for log in logs {
            self.ring.sleep(PAUSE).await;
            if ended() {
                return;
            }
            while log.state.borrow().maintained && !ended() {
                self.ring.sleep(PAUSE).await;
            }
            // Meanwhile its directory stays where it is: under its name there may be another log's one day.
            log.state.borrow_mut().maintained = true;
            // The log may begin a segment at its end or above at any time, and would do so in a file that is there already.
            let swept = self.sweep_log(&log, log.log_end_offset.get()).await;
            log.state.borrow_mut().maintained = false;
            self.committed.notify();
            if let Err(cause) = swept {
                let name = &log.name;
                tracing::warn!("{name}: leftovers stay until the next start: {cause}");
            }
        }
    }

    /// Files of segments that begin below `end`.
    pub(super) async fn sweep_log(&self, log: &Log, end: i64) -> io::Result<()> {
        let found = leftovers(log, end)?;
        for path in &found {
            self.files.forget(path);
            match fs::unlink(&self.ring, path).await {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        if !found.is_empty() {
            self.files.sync_dir(&log.path()).await?;
        }
        Ok(())
    }
}

/// Files of segments below `end` that the log does not have.
fn leftovers(log: &Log, end: i64) -> io::Result<Vec<PathBuf>> {
    let path = log.path();
    if log.deleted.get() || !log.state.borrow().materialized {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::list(&path)? {
        let name = entry.name.to_str().filter(|_| !entry.is_dir);
        if name.is_some_and(|name| is_leftover(log, name, end)) {
            found.push(path.join(&entry.name));
        }
    }
    Ok(found)
}

fn is_leftover(log: &Log, name: &str, end: i64) -> bool {
    if let Some(of_segment) = name.strip_suffix(DELETED) {
        return of_segment.get(..20).and_then(parse_stem).is_some();
    }
    match parse_file_name(name) {
        None => false,
        // Named after the offset up to which it tells of producers, not after a segment.
        Some((offset, FileKind::Snapshot)) => offset > log.log_end_offset.get(),
        Some((base, _)) => {
            let segments = &log.state.borrow().segments;
            let unknown = segments.binary_search_by_key(&base, |s| s.info.base_offset);
            base < end && unknown.is_err()
        }
    }
}
