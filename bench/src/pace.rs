//! An open loop: when requests should leave, whatever the broker does.

use std::time::{Duration, Instant};

/// One connection's schedule. Latency counts from the moments it gives, so that a stall is not hidden.
pub struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    /// One request every `interval`, the first at `first`.
    pub fn new(first: Instant, interval: Duration) -> Pace {
        Pace {
            next: first,
            interval,
        }
    }

    /// The moment the next request should leave, if that is not after `now`; it is then taken.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        (due <= now).then(|| {
            self.next += self.interval;
            due
        })
    }

    /// When the next request is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Requests that were due before `now` and were not taken.
    pub fn behind(&self, now: Instant) -> u64 {
        let late = now.saturating_duration_since(self.next);
        let late = late.as_nanos() / self.interval.as_nanos().max(1);
        u64::try_from(late).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_moves_no_later_request() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start, Duration::from_millis(10));
        assert_eq!(pace.take(at(0)), Some(at(0)));
        assert_eq!(pace.take(at(9)), None);
        // 30 ms of nothing: three are late, each by its own time.
        assert_eq!(pace.behind(at(39)), 2);
        let late: Vec<_> = std::iter::from_fn(|| pace.take(at(39))).collect();
        assert_eq!(late, [at(10), at(20), at(30)]);
        assert_eq!((pace.next(), pace.behind(at(39))), (at(40), 0));
    }
}
