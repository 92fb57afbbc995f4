//! A core whose thread is kept from running at the worst moments: on a busy machine the scheduler does that, here a signal
//! handler that sleeps. Whatever the moment, a core with tasks that can run goes on when it gets its processor back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream_ring::{CoreOptions, Ring, start};

/// Longer than any tick of the executor's.
const STALL: Duration = Duration::from_millis(8);
/// How often a core is stalled twice in a row.
const ROUNDS: u64 = 300;
/// The second stall comes so long after the first at most: within what the executor does when it runs again.
const GAP_NS_MAX: u64 = 60_000;
/// Far more than a core needs for its next beat.
const PATIENCE: Duration = Duration::from_secs(20);

static STALLED: AtomicBool = AtomicBool::new(false);

extern "C" fn stall(_signal: libc::c_int) {
    let nap = libc::timespec {
        tv_sec: 0,
        tv_nsec: STALL.as_nanos() as libc::c_long,
    };
    // SAFETY: nanosleep(2) is async-signal-safe, the timespec lives through the call, and the remainder is not asked for.
    unsafe { libc::nanosleep(&nap, std::ptr::null_mut()) };
    STALLED.store(false, Ordering::SeqCst);
}

/// Stalls `thread` once and returns as soon as it goes on.
fn stall_once(thread: libc::pthread_t) {
    STALLED.store(true, Ordering::SeqCst);
    // SAFETY: the core's thread lives until it is told to end, below.
    let sent = unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
    assert_eq!(sent, 0, "the thread is there");
    while STALLED.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_core_goes_on_after_every_stall() {
    // SAFETY: an all-zero sigaction is valid, and `stall` does only what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = stall as *const () as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    let (beats, thread, end) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let core = {
        let (beats, thread, end) = (beats.clone(), thread.clone(), end.clone());
        start(CoreOptions::default(), move |ring: Ring| async move {
            // SAFETY: it has no requirements.
            thread.store(unsafe { libc::pthread_self() }, Ordering::SeqCst);
            while !end.load(Ordering::SeqCst) {
                ring.sleep(Duration::from_millis(1)).await;
                beats.fetch_add(1, Ordering::SeqCst);
            }
        })
        .expect("io_uring is available")
    };
    let next_beat = |round: u64| {
        let (seen, since) = (beats.load(Ordering::SeqCst), Instant::now());
        while beats.load(Ordering::SeqCst) == seen {
            assert!(
                since.elapsed() < PATIENCE,
                "the core hangs after {round} stalls"
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    };
    next_beat(0);
    let thread = thread.load(Ordering::SeqCst) as libc::pthread_t;
    for round in 1..=ROUNDS {
        stall_once(thread);
        let gap = Duration::from_nanos(round * 7919 % GAP_NS_MAX);
        let since = Instant::now();
        while since.elapsed() < gap {
            std::hint::spin_loop();
        }
        stall_once(thread);
        next_beat(round);
    }
    end.store(true, Ordering::SeqCst);
    core.join().expect("the core ends");
}
