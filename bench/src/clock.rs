//! One clock for all threads of the process, as a number that fits a record.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

fn start() -> Instant {
    *START.get_or_init(Instant::now)
}

/// Nanoseconds since the first use of this clock; 0 before it.
pub fn nanoseconds(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(start()).as_nanos()).unwrap_or(u64::MAX)
}

/// The moment that many nanoseconds stand for; `None` where no such moment can be.
pub fn instant(nanoseconds: u64) -> Option<Instant> {
    start().checked_add(Duration::from_nanos(nanoseconds))
}
