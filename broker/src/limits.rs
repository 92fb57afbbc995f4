//! What the process may use: open files, memory.

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

/// Bytes of memory the process may use: its control group's limit, or the machine's.
pub(crate) fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    let groups = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = groups.iter().filter_map(|path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    limits.fold(machine, u64::min)
}

#[cfg(test)]
mod tests {
    use super::{Descriptors, divide};

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
