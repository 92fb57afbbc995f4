//! Keeps a backlog out of the page cache, as on a machine whose memory is smaller than its logs.
//!
//! What a catching-up reader reads for the second time would else come from memory on one broker, which reads through
//! the page cache, and from the disk on another that does not. Only the bytes that are there at the start are given back:
//! what is written meanwhile, and read at the tail, stays.

use std::fs::File;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

const AGAIN: Duration = Duration::from_millis(250);

/// Gives the pages back again and again until it is dropped.
pub struct Evicting {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Evicting {
    /// All segments of `topic` below `dir`; nothing without a directory, of a system that is not here.
    pub fn start(dir: Option<PathBuf>, topic: &str) -> Evicting {
        let files = dir.map_or_else(Vec::new, |dir| segments(&dir, topic));
        // Pages that are not written yet cannot be given back.
        let synced = files
            .into_iter()
            .filter(|(file, _)| file.sync_data().is_ok());
        let files: Vec<_> = synced.collect();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            loop {
                for (file, len) in &files {
                    // Advice: nothing to do where it is not taken.
                    let _ = fadvise(file, 0, Some(*len), Advice::DontNeed);
                }
                if stopped.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Evicting {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Evicting {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to panic with.
            let _ = thread.join();
        }
    }
}

/// The topic's segments with their lengths. Both brokers keep a partition in a directory `topic-partition`.
fn segments(dir: &Path, topic: &str) -> Vec<(File, NonZeroU64)> {
    let entries = |dir: &Path| {
        let read = std::fs::read_dir(dir).into_iter().flatten().flatten();
        read.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_partition = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let partition = name.and_then(|name| name.strip_prefix(topic)?.strip_prefix('-'));
        partition.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let partitions = entries(dir).into_iter().filter(is_partition);
    let files = partitions.flat_map(|partition| entries(&partition));
    files
        .filter(|path| path.extension().is_some_and(|name| name == "log"))
        .filter_map(|path| {
            let file = File::open(path).ok()?;
            let len = NonZeroU64::new(file.metadata().ok()?.len())?;
            Some((file, len))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_of_the_topic_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        for (partition, file) in [
            ("w9-0", "00000000000000000000.log"),
            ("w9-0", "00000000000000000000.index"),
            ("w9-1", "00000000000000000000.log"),
            ("w9-more-1", "00000000000000000000.log"),
        ] {
            let partition = dir.path().join(partition);
            std::fs::create_dir_all(&partition).unwrap();
            std::fs::write(partition.join(file), "records").unwrap();
        }
        assert_eq!(segments(dir.path(), "w9").len(), 2);
        drop(Evicting::start(Some(dir.path().to_owned()), "w9"));
    }
}
