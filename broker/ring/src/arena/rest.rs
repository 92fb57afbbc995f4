//! The keeper's rests. While it joins a chunk's pages, which takes a fraction of a millisecond, or some milliseconds where a
//! host has to find memory, whoever shares its processor stands still: it may be one record of a hundred that waits for that,
//! so the rest is far longer. Not while nobody is at work.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A rest is so many times as long as what it follows,
const TIMES: u32 = 200;
/// and over after so many times as long, if the process has been idle then.
const TIMES_IDLE: u32 = 10;
/// Idle is who takes less than this part of a processor's time.
const IDLE_PART: u32 = 20;

pub(super) struct Rest {
    end: Instant,
    /// Between two looks at what the process has done.
    between: Duration,
    next_look: Instant,
    worked: Duration,
}

impl Rest {
    /// From what took so long.
    pub fn after(took: Duration) -> Rest {
        Rest::begun(Instant::now(), processor_time(), took)
    }

    fn begun(now: Instant, worked: Duration, took: Duration) -> Rest {
        let between = took * TIMES_IDLE;
        Rest {
            end: now + took * TIMES,
            between,
            next_look: now + between,
            worked,
        }
    }

    pub fn is_over(&mut self) -> bool {
        self.is_over_at(Instant::now(), processor_time())
    }

    fn is_over_at(&mut self, now: Instant, worked: Duration) -> bool {
        let Some(late) = now.checked_duration_since(self.next_look) else {
            return false;
        };
        let work = worked.saturating_sub(self.worked);
        let idle = work * IDLE_PART < self.between + late;
        (self.next_look, self.worked) = (now + self.between, worked);
        idle || now >= self.end
    }

    /// When to ask again.
    pub fn next_look(&self) -> Instant {
        self.next_look
    }
}

/// What the process has taken of all processors.
fn processor_time() -> Duration {
    let taken = clock_gettime(ClockId::ProcessCPUTime);
    taken.try_into().expect("it grows from zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(1);
    const LOOK: Duration = Duration::from_millis(TIMES_IDLE as u64);

    /// How many looks a rest lasts in which the process works so long between two of them.
    fn looks(work: Duration) -> u32 {
        let (begin, before) = (Instant::now(), Duration::from_secs(7));
        let mut rest = Rest::begun(begin, before, TOOK);
        assert!(!rest.is_over_at(begin + LOOK - TOOK, before), "too early");
        let mut looks = 1..;
        let last = looks.find(|look| rest.is_over_at(begin + LOOK * *look, before + work * *look));
        last.expect("a rest ends")
    }

    #[test]
    fn it_is_short_while_nobody_works_and_long_otherwise() {
        assert_eq!(looks(Duration::ZERO), 1);
        assert_eq!(looks(LOOK / (IDLE_PART + 1)), 1);
        assert_eq!(looks(LOOK / IDLE_PART), TIMES / TIMES_IDLE);
        assert_eq!(looks(LOOK), TIMES / TIMES_IDLE);
    }

    #[test]
    fn after_nothing_there_is_none() {
        let now = Instant::now();
        let mut rest = Rest::begun(now, Duration::ZERO, Duration::ZERO);
        assert!(rest.is_over_at(now, Duration::from_secs(7)));
    }
}
