//! Waiting within one core: something changed, look again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A counter whose rise wakes everybody who waits for it.
#[derive(Default)]
pub(crate) struct Event {
    count: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Event {
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    pub fn notify(&self) {
        self.count.set(self.count.get() + 1);
        // Taken out first: a waker may run something that waits here again.
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns once [`Self::notify`] was called after `seen` was read.
    pub async fn changed_since(&self, seen: u64) {
        poll_fn(|context| {
            if self.count.get() != seen {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|w| w.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

/// A future that owns what it needs, on this core.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Futures that run at the same time, to be taken in their order. All are polled whenever one is asked for and not, as with
/// `StreamExt::buffered`, only when its taker has to wait: a device works while the taker does.
pub(crate) struct Ahead<'a, T>(VecDeque<Slot<'a, T>>);

enum Slot<'a, T> {
    Running(Local<'a, T>),
    Done(T),
}

impl<'a, T> Ahead<'a, T> {
    pub fn new() -> Self {
        Ahead(VecDeque::new())
    }

    /// How many were not taken yet.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds one, which begins when the next one is asked for.
    pub fn push(&mut self, future: Local<'a, T>) {
        self.0.push_back(Slot::Running(future));
    }

    /// The first one's result; `None` when there is none left.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            self.0.iter_mut().for_each(|slot| slot.poll(context));
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(Slot::Done(value)) => Poll::Ready(Some(value)),
                Some(first) => {
                    self.0.push_front(first);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<T> Slot<'_, T> {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Slot::Running(future) = self
            && let Poll::Ready(value) = future.as_mut().poll(context)
        {
            *self = Slot::Done(value);
        }
    }
}

/// Runs all of them at once; results in their order. Meant for tens, not thousands: each wake polls all that are left.
pub(crate) async fn join_all<T>(futures: Vec<Local<'_, T>>) -> Vec<T> {
    let mut slots: Vec<(Option<Local<'_, T>>, Option<T>)> =
        futures.into_iter().map(|f| (Some(f), None)).collect();
    poll_fn(|context| {
        let mut pending = false;
        for (future, result) in &mut slots {
            if let Some(running) = future {
                match running.as_mut().poll(context) {
                    Poll::Ready(value) => {
                        *future = None;
                        *result = Some(value);
                    }
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    slots.into_iter().filter_map(|(_, result)| result).collect()
}
