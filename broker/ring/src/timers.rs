//! Timers of one core: what is due is woken by the driver, which sleeps no longer than until the next.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::ring::Ring;

/// When, and a number that tells those of the same moment apart.
type Key = (Duration, u64);

/// Everybody who sleeps, by the time of [`Ring::now`] at which to wake.
#[derive(Default)]
pub(crate) struct Timers {
    sleeping: RefCell<BTreeMap<Key, Waker>>,
    next: Cell<u64>,
}

impl Timers {
    /// Time from `now` until the next timer; as good as for ever without one.
    pub(crate) fn until_next(&self, now: Duration) -> Duration {
        let sleeping = self.sleeping.borrow();
        let first = sleeping.first_key_value();
        first.map_or(Duration::MAX, |((at, _), _)| at.saturating_sub(now))
    }

    /// Wakes whoever is due, and says how many.
    pub(crate) fn wake_due(&self, now: Duration) -> usize {
        let mut woken = 0;
        loop {
            // A waker may drop a task that sleeps: the borrow ends before it is called.
            let waker = {
                let mut sleeping = self.sleeping.borrow_mut();
                match sleeping.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return woken,
                }
            };
            waker.wake();
            woken += 1;
        }
    }

    fn remove(&self, key: &Key) {
        let waker = self.sleeping.borrow_mut().remove(key);
        drop(waker);
    }
}

/// The future of [`Ring::sleep`].
pub(crate) struct Sleep {
    ring: Ring,
    key: Key,
}

impl Sleep {
    pub(crate) fn new(ring: &Ring, duration: Duration) -> Sleep {
        let number = ring.timers().next.get();
        ring.timers().next.set(number + 1);
        Sleep {
            ring: ring.clone(),
            key: (ring.now().saturating_add(duration), number),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.ring.now() >= self.key.0 {
            return Poll::Ready(());
        }
        let replaced = self
            .ring
            .timers()
            .sleeping
            .borrow_mut()
            .insert(self.key, cx.waker().clone());
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.ring.timers().remove(&self.key);
    }
}
