//! One fsync of a directory for all who wait for one: partitions are created and renamed by the dozen.

use std::cell::Cell;
use std::future::Future;
use std::io;

use crate::store::event::Event;

#[derive(Default)]
pub(super) struct DirSync {
    begun: Cell<u64>,
    done: Cell<u64>,
    running: Cell<bool>,
    ended: Event,
}

impl DirSync {
    /// Returns when a run of `sync` is over that began after this call. One that fails is told to the one who began it; the
    /// others who wait for it begin their own.
    pub(super) async fn run<F>(&self, sync: impl Fn() -> F) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>>,
    {
        let wanted = self.begun.get() + 1;
        loop {
            let seen = self.ended.count();
            if self.done.get() >= wanted {
                return Ok(());
            }
            if self.running.replace(true) {
                self.ended.changed_since(seen).await;
                continue;
            }
            let number = self.begun.get() + 1;
            self.begun.set(number);
            let result = sync().await;
            if result.is_ok() {
                self.done.set(number);
            }
            self.running.set(false);
            self.ended.notify();
            return result;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// A flush that ends when it is told how.
    #[derive(Default)]
    struct Flush {
        begun: Cell<u32>,
        outcome: RefCell<Option<io::Result<()>>>,
    }

    impl Flush {
        fn begin(&self) -> impl Future<Output = io::Result<()>> + '_ {
            self.begun.set(self.begun.get() + 1);
            std::future::poll_fn(|_| match self.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => Poll::Pending,
            })
        }
    }

    #[test]
    fn those_who_come_during_a_flush_share_the_next() {
        let (gate, flush) = (DirSync::default(), Flush::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(gate.run(|| flush.begin()));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        let mut second = pin!(gate.run(|| flush.begin()));
        let mut third = pin!(gate.run(|| flush.begin()));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        flush.outcome.replace(Some(Ok(())));
        assert!(matches!(first.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
        // It began before they came.
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        flush.outcome.replace(Some(Ok(())));
        assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
        assert!(matches!(third.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!(flush.begun.get(), 2);
    }

    #[test]
    fn one_that_fails_counts_for_nobody() {
        let (gate, flush) = (DirSync::default(), Flush::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(gate.run(|| flush.begin()));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        let mut second = pin!(gate.run(|| flush.begin()));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        flush
            .outcome
            .replace(Some(Err(io::Error::other("no disk"))));
        assert!(matches!(first.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(flush.begun.get(), 2);
        flush.outcome.replace(Some(Ok(())));
        assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    }
}
