//! What the process may use: open files, memory.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors a broker cannot do without, and those each core needs besides.
const FILES_MIN: u64 = 1024;
const FILES_MIN_PER_CORE: u64 = 64;

/// The limit of open files is too low to start.
#[derive(Debug, thiserror::Error)]
#[error("only {limit} open files are allowed and {needed} are needed: raise the limit (ulimit -n, or LimitNOFILE= in the systemd unit)")]
pub struct TooFewFiles {
    limit: u64,
    needed: u64,
}

/// Raises the soft limit of open files to the hard one and returns it.
pub(crate) fn raise_open_files(cores: usize) -> Result<u64, TooFewFiles> {
    let limits = getrlimit(Resource::Nofile);
    let hard = limits.maximum.unwrap_or(u64::MAX);
    let mut limit = limits.current.unwrap_or(u64::MAX);
    if limit < hard && setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum }).is_ok() {
        limit = hard;
    }
    let needed = FILES_MIN + FILES_MIN_PER_CORE * cores as u64;
    if limit < needed {
        return Err(TooFewFiles { limit, needed });
    }
    Ok(limit)
}

/// Bytes of memory the process may use: its control group's limit, or the machine's.
pub(crate) fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = groups.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    limits.fold(machine, u64::min)
}
