//! Log lines about what peers do wrong: at most one a second for each kind, with the number left out.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use millstream_ring::Ring;

/// What a line is about.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Connection = 0,
    Batch = 1,
    Accept = 2,
}

const KINDS: usize = 3;
const INTERVAL: Duration = Duration::from_secs(1);

/// One core's limiter.
pub(crate) struct Warnings {
    ring: Ring,
    last: RefCell<[Option<Duration>; KINDS]>,
    left_out: [Cell<u64>; KINDS],
}

impl Warnings {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, last: RefCell::default(), left_out: Default::default() }
    }

    /// Logs the line, or counts it if one of its kind was logged within the last second.
    pub(crate) fn report(&self, kind: Kind, line: impl FnOnce() -> String) {
        let now = self.ring.now();
        let left_out = &self.left_out[kind as usize];
        let last = &mut self.last.borrow_mut()[kind as usize];
        if last.is_some_and(|last| now.saturating_sub(last) < INTERVAL) {
            left_out.set(left_out.get() + 1);
            return;
        }
        *last = Some(now);
        match left_out.take() {
            0 => tracing::warn!("{}", line()),
            n => tracing::warn!("{} ({n} more like it since the last such line)", line()),
        }
    }
}
