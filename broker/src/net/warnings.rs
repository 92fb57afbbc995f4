//! Log lines about what peers do wrong: at most one a second for each kind, with the number left out.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// What a line is about.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A connection that the broker closed for what came in on it.
    Connection = 0,
    /// Connections that cannot be accepted.
    Accept = 1,
    /// Connections above one of the limits.
    Quota = 2,
    /// Connections that stood still while memory was short.
    Stalled = 3,
    /// A share of the memory that is used up.
    Memory = 4,
    /// Partitions that storage has no room for.
    Placing = 5,
}

const KINDS: usize = 6;
const INTERVAL_MS: i64 = 1000;

/// The limiter of the whole process: nothing that happens often enough to matter passes through here.
pub(crate) struct Warnings {
    started: Instant,
    /// Milliseconds since the start at which the last line of a kind was logged.
    last: [AtomicI64; KINDS],
    left_out: [AtomicU64; KINDS],
}

impl Warnings {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            last: [const { AtomicI64::new(-INTERVAL_MS) }; KINDS],
            left_out: Default::default(),
        }
    }

    /// Logs the line, or counts it if one of its kind was logged within the last second.
    pub(crate) fn report(&self, kind: Kind, line: impl FnOnce() -> String) {
        let now = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let (last, left_out) = (&self.last[kind as usize], &self.left_out[kind as usize]);
        let before = last.load(Ordering::Relaxed);
        let ours = now.saturating_sub(before) >= INTERVAL_MS
            && last
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !ours {
            left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match left_out.swap(0, Ordering::Relaxed) {
            0 => tracing::warn!("{}", line()),
            n => tracing::warn!("{} ({n} more like it since the last such line)", line()),
        }
    }
}
