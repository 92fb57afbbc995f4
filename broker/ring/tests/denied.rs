//! Where io_uring is refused: the probe names the cause, and nothing panics. Each test starts itself
//! again as a child that lives under the restriction.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::{env, io};

use millstream_ring::{CoreOptions, Denied, probe_for, start};

const CHILD: &str = "RING_DENIED_CHILD";
const MEMLOCK: libc::rlim_t = 512 * 1024;
/// capabilities(7): CAP_IPC_LOCK lifts RLIMIT_MEMLOCK.
const CAP_IPC_LOCK: libc::c_ulong = 14;

/// Runs the test `name` of this binary again, after `restrict` in the child.
fn again(name: &str, restrict: fn() -> io::Result<()>) -> Output {
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1");
    // SAFETY: `restrict` only makes system calls.
    unsafe { child.pre_exec(restrict) };
    child.output().unwrap()
}

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

fn assert_passed(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn by_seccomp_with_eperm() {
    if is_child() {
        return assert_seccomp("io_uring_setup");
    }
    assert_passed(&again("by_seccomp_with_eperm", || {
        deny(libc::SYS_io_uring_setup, libc::EPERM)
    }));
}

#[test]
fn by_seccomp_with_enosys() {
    if is_child() {
        return assert_seccomp("io_uring_setup");
    }
    assert_passed(&again("by_seccomp_with_enosys", || {
        deny(libc::SYS_io_uring_setup, libc::ENOSYS)
    }));
}

#[test]
fn by_seccomp_at_the_second_call() {
    if is_child() {
        return assert_seccomp("io_uring_enter");
    }
    assert_passed(&again("by_seccomp_at_the_second_call", || {
        deny(libc::SYS_io_uring_enter, libc::EPERM)
    }));
}

fn assert_seccomp(call: &'static str) {
    let denied = probe_for(1).unwrap_err();
    assert_eq!(denied, Denied::Seccomp { call });
    assert!(denied.to_string().contains("seccomp"));
    if call == "io_uring_setup" {
        let refused = start(CoreOptions::default(), async |_| ());
        assert!(refused.is_err(), "an error, not a panic");
    }
}

#[test]
fn by_memlock() {
    if is_child() {
        let denied = probe_for(1).unwrap_err();
        assert_eq!(
            denied,
            Denied::Memlock {
                limit: MEMLOCK / 2,
                needed: MEMLOCK,
                executors: 1
            }
        );
        assert!(denied.to_string().contains("ulimit -l 512"), "{denied}");
        assert!(
            start(CoreOptions::default(), async |_| ()).is_err(),
            "an error, not a panic"
        );
        return;
    }
    assert_passed(&again("by_memlock", || limit_memlock(MEMLOCK / 2)));
}

/// What the probe asks for is enough.
const CORES: usize = 8;

#[test]
fn the_memlock_asked_for_is_enough() {
    if is_child() {
        probe_for(CORES).unwrap();
        let cores: Vec<_> = (0..CORES)
            .map(|_| {
                start(
                    CoreOptions::default(),
                    async |ring: millstream_ring::Ring| {
                        ring.sleep(std::time::Duration::from_millis(200)).await;
                    },
                )
                .unwrap()
            })
            .collect();
        cores.into_iter().for_each(|core| core.join().unwrap());
        return;
    }
    assert_passed(&again("the_memlock_asked_for_is_enough", || {
        limit_memlock(CORES as libc::rlim_t * MEMLOCK)
    }));
}

/// Limits locked memory, for good: also for root, which loses the right to ignore it with the next exec.
fn limit_memlock(bytes: libc::rlim_t) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: plain system calls. Dropping from the bounding set fails where there is nothing to drop.
    unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
        check(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit))
    }
}

/// Installs a filter that answers system call `call` with `errno` (seccomp(2)).
fn deny(call: libc::c_long, errno: i32) -> io::Result<()> {
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        // The number of the call is the first word of seccomp_data.
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            call as u32,
            0,
            1,
        ),
        op(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | errno as u32,
            0,
            0,
        ),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program lives through the call.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        ))
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
