//! What the process may use: open files, memory.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors a broker cannot do without, and those each core needs besides.
const FILES_MIN: u64 = 1024;
const FILES_MIN_PER_CORE: u64 = 64;

/// Descriptors for what is neither a segment nor a connection: rings, journals, tables, listeners, files open for a moment.
const FILES_OWN: usize = 128;
const FILES_OWN_PER_STORE: usize = 64;

/// The limit of open files is too low to start.
#[derive(Debug, thiserror::Error)]
#[error(
    "only {limit} open files are allowed and {needed} are needed: raise the limit (ulimit -n, or LimitNOFILE= in the systemd unit)"
)]
pub struct TooFewFiles {
    limit: u64,
    needed: u64,
}

/// Raises the soft limit of open files to the hard one and returns it.
pub(crate) fn raise_open_files(cores: usize) -> Result<u64, TooFewFiles> {
    let limits = getrlimit(Resource::Nofile);
    let hard = limits.maximum.unwrap_or(u64::MAX);
    let mut limit = limits.current.unwrap_or(u64::MAX);
    if limit < hard
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limits.maximum,
                maximum: limits.maximum,
            },
        )
        .is_ok()
    {
        limit = hard;
    }
    let needed = FILES_MIN + FILES_MIN_PER_CORE * cores as u64;
    if limit < needed {
        return Err(TooFewFiles { limit, needed });
    }
    Ok(limit)
}

/// How the open files that are allowed at this moment are divided.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Segments that each core may keep open in each data directory.
    pub(crate) segments_per_core: usize,
    /// Connections of all cores: however many come, storage has what it needs.
    pub(crate) connections: usize,
}

/// Divides the limit of open files.
pub(crate) fn descriptors(config: &Config, cores: usize) -> Descriptors {
    let stores = cores * config.log_dirs.len();
    let segments_wanted = config.broker.log_files_open_max;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    divide(
        usize::try_from(limit).unwrap_or(usize::MAX),
        stores,
        segments_wanted,
    )
}

/// `stores`: cores times data directories.
fn divide(limit: usize, stores: usize, segments_wanted: usize) -> Descriptors {
    let rest = limit.saturating_sub(FILES_OWN + FILES_OWN_PER_STORE * stores);
    let segments_per_core = segments_wanted.min(rest / 2 / stores).max(1);
    Descriptors {
        segments_per_core,
        connections: rest.saturating_sub(segments_per_core * stores),
    }
}

/// Bytes of memory the process may use: what is configured, else its control groups' limit, or the machine's.
pub(crate) fn memory(config: &Config) -> u64 {
    config.broker.memory_bytes.unwrap_or_else(|| {
        let info = rustix::system::sysinfo();
        let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = limit_files(&groups)
            .into_iter()
            .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
        limits.fold(machine, u64::min)
    })
}

/// The files with the limits of the groups that proc_pid_cgroup(5) names and of all groups around them, version 2 and 1.
/// Inside a container the paths lead nowhere but for the first, which is then the container's own.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            named if named.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(
            group
                .ancestors()
                .map(|group| Path::new(root).join(group).join(file)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{Descriptors, divide, limit_files};

    #[test]
    fn the_limits_of_all_groups_around_the_process_count() {
        let files = |groups| -> Vec<String> {
            let files = limit_files(groups);
            files
                .iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        assert_eq!(
            files("0::/system.slice/millstream.service\n"),
            [
                "/sys/fs/cgroup/system.slice/millstream.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            files("5:cpu,memory:/a\n3:pids:/a\nnonsense"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }

    #[test]
    fn storage_and_connections_share_the_open_files() {
        let divided = |limit, cores| {
            let Descriptors {
                segments_per_core,
                connections,
            } = divide(limit, cores, 1000);
            (segments_per_core, connections)
        };
        assert_eq!(divided(1 << 20, 2), (1000, (1 << 20) - 256 - 2000));
        assert_eq!(
            divided(1152, 2),
            (224, 448),
            "the least that a start accepts"
        );
        assert_eq!(divided(100, 2), (1, 0), "lowered while it runs");
    }
}
