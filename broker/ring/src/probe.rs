//! May we use io_uring here? If not: which cause, which fix. Asked before glommio starts, which panics.

use std::fs::read_to_string;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::queues::build;

/// The oldest Linux with provided buffer rings, TASKRUN_FLAG and everything else used here.
const KERNEL_MIN: (u32, u32) = (5, 19);
/// What a core needs of RLIMIT_MEMLOCK, in bytes: glommio refuses to start below, and its queues, ours and
/// its registered memory come to about 450 KiB (measured on Linux 6.18, where all of that counts).
const MEMLOCK_MIN: u64 = 512 * 1024;

/// Why io_uring cannot be used. The text says what is wrong and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The kernel is too old, or was built without io_uring.
    #[error(
        "Linux {release} cannot do it ({detail}): the io_uring used here needs Linux 5.19 or newer, \
         best 6.1 or newer. Fix: boot a newer kernel"
    )]
    Kernel {
        /// What uname -r says.
        release: String,
        /// What is missing.
        detail: String,
    },
    /// A seccomp filter, as container engines install it, refuses the system calls.
    #[error(
        "a seccomp filter denies {call}. Fix: run with a profile that allows io_uring_setup, io_uring_enter \
         and io_uring_register (docker run --security-opt seccomp=PROFILE.json; Kubernetes: \
         seccompProfile of type Localhost; systemd: SystemCallFilter=@aio)"
    )]
    Seccomp {
        /// The first system call that was refused.
        call: &'static str,
    },
    /// The administrator switched io_uring off.
    #[error(
        "the sysctl kernel.io_uring_disabled is {value}. Fix: sysctl -w kernel.io_uring_disabled=0, or with \
         1: run as a member of the group kernel.io_uring_group"
    )]
    Sysctl {
        /// 1: only for a group and CAP_SYS_ADMIN; 2: for nobody.
        value: u32,
    },
    /// Too little memory may be locked.
    #[error(
        "RLIMIT_MEMLOCK is {limit} bytes, {needed} are needed for {executors} cores. Fix: ulimit -l {kib} \
         (docker run --ulimit memlock=-1; systemd: LimitMEMLOCK=infinity; /etc/security/limits.conf: memlock)",
        kib = needed / 1024
    )]
    Memlock {
        /// The hard limit.
        limit: u64,
        /// What it must be at least.
        needed: u64,
        /// Cores counted.
        executors: usize,
    },
    /// Refused, and none of the known causes: another security module, perhaps.
    #[error("{call} failed: {detail}")]
    Other {
        /// The system call.
        call: &'static str,
        /// What it said.
        detail: String,
    },
}

/// [`probe_for`] one core.
///
/// # Errors
/// The cause, see [`Denied`].
pub fn probe() -> Result<(), Denied> {
    probe_for(1)
}

/// Tries all that a core needs of io_uring, with a ring like a core's, and raises the soft limit of
/// RLIMIT_MEMLOCK to the hard one. Nothing stays open.
///
/// # Errors
/// The cause, see [`Denied`].
pub fn probe_for(executors: usize) -> Result<(), Denied> {
    let release = release();
    if version(&release).is_some_and(|version| version < KERNEL_MIN) {
        return Err(Denied::Kernel {
            release,
            detail: "too old".into(),
        });
    }
    check_memlock(executors)?;
    let mut ring = build(64).map_err(|e| explain("io_uring_setup", &e, executors))?;
    check_operations(&ring, executors)?;
    // SAFETY: a no-operation points to nothing.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    assert!(pushed.is_ok(), "a new queue has room");
    ring.submit_and_wait(1)
        .map_err(|e| explain("io_uring_enter", &e, executors))?;
    let submitter = ring.submitter();
    submitter
        .register_files_sparse(1)
        .map_err(|e| explain("io_uring_register", &e, executors))?;
    Ok(())
}

/// The operations that are not in every kernel that has io_uring at all.
fn check_operations(ring: &IoUring, executors: usize) -> Result<(), Denied> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|e| explain("io_uring_register", &e, executors))?;
    let needed = [
        ("accept", opcode::Accept::CODE),
        ("receive", opcode::Recv::CODE),
        ("gather-send", opcode::SendMsg::CODE),
        ("fallocate", opcode::Fallocate::CODE),
        ("rename", opcode::RenameAt::CODE),
        ("mkdir", opcode::MkDirAt::CODE),
        ("messages between rings", opcode::MsgRingData::CODE),
    ];
    match needed.iter().find(|(_, code)| !probe.is_supported(*code)) {
        None => Ok(()),
        Some((name, _)) => Err(Denied::Kernel {
            release: release(),
            detail: format!("no {name}"),
        }),
    }
}

/// Which of the known causes made `call` fail.
fn explain(call: &'static str, error: &io::Error, executors: usize) -> Denied {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => {
            let value = io_uring_disabled();
            if value > 0 {
                Denied::Sysctl { value }
            } else if has_seccomp_filter() {
                Denied::Seccomp { call }
            } else if error.raw_os_error() == Some(libc::ENOSYS) {
                Denied::Kernel {
                    release: release(),
                    detail: "built without io_uring".into(),
                }
            } else {
                Denied::Other {
                    call,
                    detail: error.to_string(),
                }
            }
        }
        Some(libc::EINVAL) => Denied::Kernel {
            release: release(),
            detail: format!("{call}: {error}"),
        },
        Some(libc::ENOMEM) => {
            let (_, limit) = memlock();
            Denied::Memlock {
                limit,
                needed: limit.saturating_add(needed(executors)),
                executors,
            }
        }
        _ => Denied::Other {
            call,
            detail: error.to_string(),
        },
    }
}

fn check_memlock(executors: usize) -> Result<(), Denied> {
    let (soft, limit) = memlock();
    let needed = needed(executors);
    if limit < needed {
        return Err(Denied::Memlock {
            limit,
            needed,
            executors,
        });
    }
    if soft < limit {
        let raised = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: a plain system call; the limit is only read. Raising up to the hard limit is anyone's
        // right, and if it is refused the start tells the same again.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raised) };
    }
    Ok(())
}

/// Who has CAP_IPC_LOCK is not counted, but glommio looks at the limit all the same.
fn needed(executors: usize) -> u64 {
    let counted = if may_lock_any_memory() {
        1
    } else {
        executors.max(1) as u64
    };
    MEMLOCK_MIN.saturating_mul(counted)
}

/// The effective capabilities, "CapEff: 00000000a80425fb" (proc_pid_status(5)), have CAP_IPC_LOCK.
fn may_lock_any_memory() -> bool {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let capabilities = status("CapEff:").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    capabilities.is_some_and(|capabilities| capabilities & CAP_IPC_LOCK != 0)
}

/// RLIMIT_MEMLOCK: soft and hard, in bytes.
fn memlock() -> (u64, u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is ours and lives through the call.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

fn release() -> String {
    read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_string()
}

/// Major and minor of "6.18.44-something".
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn io_uring_disabled() -> u32 {
    read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// "Seccomp: 2" (proc_pid_status(5)).
fn has_seccomp_filter() -> bool {
    status("Seccomp:").is_some_and(|mode| mode == "2")
}

/// A line of /proc/thread-self/status.
fn status(name: &str) -> Option<String> {
    let status = read_to_string("/proc/thread-self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert!(version("5.4.0").unwrap() < KERNEL_MIN && version("6.1.0").unwrap() > KERNEL_MIN);
        assert_eq!(version(""), None);
    }

    #[test]
    fn every_errno_has_a_cause() {
        let explain = |errno| explain("io_uring_setup", &io::Error::from_raw_os_error(errno), 2);
        assert!(matches!(explain(libc::EINVAL), Denied::Kernel { .. }));
        assert!(matches!(explain(libc::ENOMEM), Denied::Memlock { .. }));
        assert!(matches!(explain(libc::EMFILE), Denied::Other { .. }));
        assert!(explain(libc::ENOMEM).to_string().contains("ulimit -l"));
    }
}
