//! What the host could do better for the broker, said at a start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat};

/// Where the kernel shows its block devices by number (sysfs(5)).
const DEVICES: &str = "/sys/dev/block";

/// Names the devices of data directories whose I/O scheduler sends waiting reads before a flush: whoever reads old records
/// makes those who write wait then.
pub(crate) fn advise(log_dirs: &[PathBuf]) {
    let devices = log_dirs.iter().filter_map(|dir| stat(dir).ok());
    let devices: BTreeSet<_> = devices
        .filter_map(|stat| queue(Path::new(DEVICES), major(stat.st_dev), minor(stat.st_dev)))
        .collect();
    for queue in devices {
        let file = queue.join("scheduler");
        let schedulers = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some(scheduler) = active(&schedulers).filter(|active| *active != "none") {
            tracing::info!(
                "{} is {scheduler}: flushes wait behind reads there; \"none\" does without (tuning.md)",
                file.display()
            );
        }
    }
}

/// The directory with the settings of a device, or of the one that it is a partition of. A file system without a block device
/// of its own has none.
fn queue(devices: &Path, major: u32, minor: u32) -> Option<PathBuf> {
    let device = devices
        .join(format!("{major}:{minor}"))
        .canonicalize()
        .ok()?;
    [device.join("queue"), device.parent()?.join("queue")]
        .into_iter()
        .find(|queue| queue.is_dir())
}

/// The one in brackets, as in `mq-deadline kyber [none]`.
fn active(schedulers: &str) -> Option<&str> {
    schedulers
        .split_whitespace()
        .find_map(|name| name.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_brackets_is_active() {
        assert_eq!(active("[none] mq-deadline kyber\n"), Some("none"));
        assert_eq!(active("none [mq-deadline]\n"), Some("mq-deadline"));
        assert_eq!(active("none\n"), None);
        assert_eq!(active(""), None);
    }

    #[test]
    fn a_partition_has_the_queue_of_its_device() {
        let sys = tempfile::tempdir().expect("a directory");
        let disk = sys.path().canonicalize().expect("it is there").join("sda");
        std::fs::create_dir_all(disk.join("queue")).expect("creates");
        std::fs::create_dir_all(disk.join("sda1")).expect("creates");
        for (number, device) in [("8:0", disk.clone()), ("8:1", disk.join("sda1"))] {
            std::os::unix::fs::symlink(device, sys.path().join(number)).expect("links");
        }
        for minor in [0, 1] {
            assert_eq!(queue(sys.path(), 8, minor), Some(disk.join("queue")));
        }
        assert_eq!(queue(sys.path(), 8, 2), None);
    }
}
