//! The time by which things end: a clock that follows the wall clock and never jumps.
//!
//! The wall clock may be set by an hour, to 1970 or to 2100 while the broker runs. Kafka deletes by it: one wrong jump
//! forward, and all that is older than its retention goes at the next look, idempotent producers and offsets with it. Here
//! timers, producers and offsets go by this clock alone, so that a jump makes nothing older than the time that really
//! passed, up to a tenth. Records are stamped with the wall clock, as everywhere, so retention goes by the earlier of the
//! two: after a jump back what is written meanwhile, and with it all else, is not old until the jump is undone.

use std::cell::Cell;
use std::time::Duration;

/// By what part of the time that passes this clock may run faster or slower to come closer to the wall clock. Far more than
/// a clock is adjusted by NTP (0.05 %), so a good clock is followed exactly; after a jump of an hour it takes ten.
const SLEW: i64 = 10;
/// How often the clock begins anew from where it is.
const ANCHOR: Duration = Duration::from_secs(1);

/// What both clocks say.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// What records are stamped with and held against.
    pub(crate) wall_ms: i64,
    /// What ages are counted in.
    pub(crate) steady_ms: i64,
}

/// Unix milliseconds that never go back nor jump. One for each core.
pub(crate) struct SteadyClock {
    since: Cell<Duration>,
    then: Cell<i64>,
    last: Cell<i64>,
}

impl SteadyClock {
    /// Begins with the wall clock; `now` is a clock that only time moves.
    pub(crate) fn new(now: Duration, wall_ms: i64) -> SteadyClock {
        SteadyClock {
            since: Cell::new(now),
            then: Cell::new(wall_ms),
            last: Cell::new(wall_ms),
        }
    }

    /// The time.
    pub(crate) fn at(&self, now: Duration, wall_ms: i64) -> i64 {
        let passed = now.saturating_sub(self.since.get());
        let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX / 2);
        let pace = self.then.get().saturating_add(passed_ms);
        let slew = passed_ms / SLEW;
        // `max`: within one anchor a wall clock that swings may take this one forward and back.
        let steady = wall_ms
            .clamp(pace.saturating_sub(slew), pace.saturating_add(slew))
            .max(self.last.get());
        self.last.set(steady);
        if passed >= ANCHOR {
            self.since.set(now);
            self.then.set(steady);
        }
        steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;
    const YEAR_2100: i64 = 4_102_444_800_000;

    /// Looks at the clock every `step` while `seconds` pass and the wall clock is off by `off`; the last time seen.
    fn live(clock: &SteadyClock, now: &mut Duration, step: u64, seconds: u64, off: i64) -> i64 {
        let (mut last, end) = (i64::MIN, *now + Duration::from_secs(seconds));
        while *now < end {
            *now += Duration::from_millis(step);
            let seen = clock.at(*now, START + now.as_millis() as i64 + off);
            assert!(seen >= last, "it went back from {last} to {seen}");
            let most = i64::try_from(step).unwrap() * 11 / 10 + 100;
            assert!(
                last == i64::MIN || seen - last <= most,
                "it jumped from {last} to {seen}"
            );
            last = seen;
        }
        last
    }

    fn real(now: Duration) -> i64 {
        START + now.as_millis() as i64
    }

    #[test]
    fn a_good_clock_is_followed_exactly() {
        let mut now = Duration::from_secs(5);
        let clock = SteadyClock::new(now, real(now));
        for step in [1, 7, 1000, 60_000] {
            let seen = live(&clock, &mut now, step, 3600, 0);
            assert_eq!(seen, real(now));
        }
    }

    #[test]
    fn a_jump_is_followed_by_a_tenth_of_the_time_that_passes() {
        for jump in [
            HOUR,
            24 * HOUR,
            YEAR_2100 - START,
            -HOUR,
            -24 * HOUR,
            -START,
        ] {
            for step in [1, 50, 5_000] {
                let mut now = Duration::ZERO;
                let clock = SteadyClock::new(now, START);
                live(&clock, &mut now, step, 60, 0);
                let seen = live(&clock, &mut now, step, 600, jump);
                let off = seen - real(now);
                assert_eq!(off.signum(), jump.signum(), "towards {jump}");
                assert!(
                    (59_000..=60_100).contains(&off.abs()),
                    "{off} ms off after ten minutes with a jump of {jump}, looked at each {step} ms"
                );
                // Undone: it comes back to the wall clock.
                let seen = live(&clock, &mut now, step, 660, 0);
                assert_eq!(seen, real(now), "a jump of {jump} was undone");
            }
        }
    }

    #[test]
    fn a_jump_of_an_hour_is_caught_up_with_in_ten() {
        let mut now = Duration::ZERO;
        let clock = SteadyClock::new(now, START);
        let seen = live(&clock, &mut now, 1_000, 36_100, HOUR);
        assert_eq!(seen, real(now) + HOUR);
    }
}
