//! Fetches parked until a partition has more to give.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Something one task waits for and others announce. A notice given before the wait is not lost.
#[derive(Default)]
pub(crate) struct Notice {
    given: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Notice {
    pub(crate) fn give(&self) {
        self.given.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) async fn given(&self) {
        poll_fn(|cx| {
            if self.given.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// The fetches parked on one partition.
#[derive(Default)]
pub(crate) struct Waiters {
    parked: RefCell<Vec<Weak<Notice>>>,
}

impl Waiters {
    /// Wakes `notice` at the next [`Waiters::wake`], if its owner has not dropped it by then.
    pub(crate) fn park(&self, notice: &Rc<Notice>) {
        let mut parked = self.parked.borrow_mut();
        // Those that gave up meanwhile. One notice may be parked in many partitions, and not one of these keeps it alive.
        if parked.len() == parked.capacity() {
            parked.retain(|waiting| waiting.strong_count() > 0);
        }
        parked.push(Rc::downgrade(notice));
    }

    /// Somebody is parked.
    pub(crate) fn is_awaited(&self) -> bool {
        let parked = self.parked.borrow();
        parked.iter().any(|waiting| waiting.strong_count() > 0)
    }

    /// Wakes all that are parked; they look again and park again if it was not enough.
    pub(crate) fn wake(&self) {
        for notice in self.parked.take() {
            if let Some(notice) = notice.upgrade() {
                notice.give();
            }
        }
    }
}

/// Which fetch of another core waits here: that core and its number there.
pub(crate) type WaitId = (usize, u64);

/// What fetches of other cores wait for on this one, so that they can be called off: a fetch that waits on many cores
/// goes on with the first that has something.
#[derive(Default)]
pub(crate) struct WaitsFromAfar {
    numbers: Cell<u64>,
    waiting: RefCell<HashMap<WaitId, Rc<Notice>>>,
}

impl WaitsFromAfar {
    /// A number for a wait of this core on others.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.replace(self.numbers.get() + 1)
    }

    pub(crate) fn begin(&self, id: WaitId, notice: Rc<Notice>) {
        let before = self.waiting.borrow_mut().insert(id, notice);
        assert!(before.is_none(), "a wait has a number of its own");
    }

    /// Gives the notice of a wait that is still on.
    pub(crate) fn call_off(&self, id: WaitId) {
        if let Some(notice) = self.waiting.borrow().get(&id) {
            notice.give();
        }
    }

    pub(crate) fn end(&self, id: WaitId) {
        self.waiting.borrow_mut().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_that_gave_up_are_forgotten_by_idle_partitions() {
        let (one, other) = (Waiters::default(), Waiters::default());
        for _ in 0..10_000 {
            let notice = Rc::new(Notice::default());
            one.park(&notice);
            other.park(&notice);
        }
        assert!(
            one.parked.borrow().len() <= 8,
            "{} are left",
            one.parked.borrow().len()
        );
        assert!(
            other.parked.borrow().len() <= 8,
            "{} are left",
            other.parked.borrow().len()
        );
        let notice = Rc::new(Notice::default());
        one.park(&notice);
        one.wake();
        assert!(notice.given.get());
        assert!(one.parked.borrow().is_empty());
    }
}
