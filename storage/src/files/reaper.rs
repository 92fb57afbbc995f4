//! Removal in the background: 10,000 partition directories are 50,000 names, and a disk has better things to do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_ring::{Ring, fs};

/// Between two removals.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest sleep, so that something due earlier but added later is not late by more.
const SLEEP_MAX: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Reaper {
    /// When it is due, and a number that tells equal times apart → what.
    doomed: RefCell<BTreeMap<(Duration, u64), PathBuf>>,
    added: Cell<u64>,
    running: Cell<bool>,
}

impl Reaper {
    /// True if nobody is at work: the caller then starts [`Reaper::run`].
    pub(super) fn add(&self, due: Duration, path: PathBuf) -> bool {
        self.added.set(self.added.get() + 1);
        self.doomed
            .borrow_mut()
            .insert((due, self.added.get()), path);
        !self.running.replace(true)
    }

    /// Works until nothing is left.
    pub(super) async fn run(&self, ring: &Ring) {
        loop {
            let first = self.doomed.borrow().keys().next().copied();
            let Some((due, number)) = first else { break };
            let now = ring.now();
            if due > now {
                ring.sleep((due - now).min(SLEEP_MAX)).await;
                continue;
            }
            let path = self.doomed.borrow_mut().remove(&(due, number));
            if let Some(path) = path
                && let Err(error) = remove(ring, &path).await
            {
                tracing::warn!(
                    "cannot remove {}: {error}; the next start tries again",
                    path.display()
                );
            }
        }
        self.running.set(false);
    }
}

/// Partition directories hold files only; one that does not is left alone.
pub(super) async fn remove(ring: &Ring, path: &Path) -> io::Result<()> {
    // The ring has no readdir. This one is of a handful of names.
    let entries = match fs::list(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            fs::unlink(ring, path).await?;
            ring.sleep(PAUSE).await;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        fs::unlink(ring, &path.join(entry.name)).await?;
        ring.sleep(PAUSE).await;
    }
    fs::remove_dir(ring, path).await
}
