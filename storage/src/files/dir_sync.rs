//! One fsync of a directory for all who wait for one: partitions are created and renamed by the dozen.

use std::cell::Cell;
use std::future::Future;
use std::io;

use crate::dir::takes_directory_offline;
use crate::store::event::Event;

#[derive(Default)]
pub(super) struct DirSync {
    begun: Cell<u64>,
    done: Cell<u64>,
    running: Cell<bool>,
    failed: Cell<bool>,
    ended: Event,
}

impl DirSync {
    /// Returns when a run of `sync` is over that began after this call. After one that failed none is tried: it could say
    /// that all is well without what the kernel has dropped.
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
            if self.failed.get() {
                return Err(io::Error::other("a flush of the directory failed before"));
            }
            if self.running.replace(true) {
                self.ended.changed_since(seen).await;
                continue;
            }
            let number = self.begun.get() + 1;
            self.begun.set(number);
            let result = sync().await;
            match &result {
                Ok(()) => self.done.set(number),
                // For want of descriptors it was not even tried.
                Err(cause) => self.failed.set(takes_directory_offline(cause)),
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
    fn none_is_tried_after_one_that_failed() {
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
        assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
        assert_eq!(flush.begun.get(), 1);
    }
}
