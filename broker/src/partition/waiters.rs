//! Fetches parked until a partition has more to give.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
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
    parked: RefCell<Vec<Rc<Notice>>>,
}

impl Waiters {
    /// Wakes `notice` at the next [`Waiters::wake`].
    pub(crate) fn park(&self, notice: Rc<Notice>) {
        let mut parked = self.parked.borrow_mut();
        // Those that gave up meanwhile hold the only other reference no more.
        if parked.len() == parked.capacity() {
            parked.retain(|waiting| Rc::strong_count(waiting) > 1);
        }
        parked.push(notice);
    }

    /// Wakes all that are parked; they look again and park again if it was not enough.
    pub(crate) fn wake(&self) {
        for notice in self.parked.take() {
            notice.give();
        }
    }
}
