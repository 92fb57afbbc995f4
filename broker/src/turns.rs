//! One at a time, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A lock for tasks of one core. Unlike most, it is handed on in the order in which it was asked for.
#[derive(Default)]
pub(crate) struct Turns {
    held: Cell<bool>,
    next: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Option<Waker>)>>,
}

impl Turns {
    /// Takes a place in the queue at once; the future ends when it is its turn, which lasts until the guard is dropped.
    pub(crate) fn take(&self) -> Waiting<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        self.queue.borrow_mut().push_back((number, None));
        Waiting { turns: self, number, done: false }
    }

    fn leave(&self, number: u64) {
        self.queue.borrow_mut().retain(|(other, _)| *other != number);
        self.wake_first();
    }

    fn wake_first(&self) {
        if self.held.get() {
            return;
        }
        if let Some((_, waker)) = self.queue.borrow_mut().front_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

/// A place in the queue.
pub(crate) struct Waiting<'a> {
    turns: &'a Turns,
    number: u64,
    done: bool,
}

/// The turn; ends when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
}

impl<'a> Future for Waiting<'a> {
    type Output = Turn<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn<'a>> {
        let turns = self.turns;
        let mut queue = turns.queue.borrow_mut();
        if !turns.held.get() && queue.front().is_some_and(|(first, _)| *first == self.number) {
            queue.pop_front();
            turns.held.set(true);
            self.done = true;
            return Poll::Ready(Turn { turns });
        }
        if let Some((_, waker)) = queue.iter_mut().find(|(number, _)| *number == self.number) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.turns.leave(self.number);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.held.set(false);
        self.turns.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll};

    use futures_util::task::noop_waker;

    use super::Turns;

    #[test]
    fn turns_come_in_order_and_pass_over_those_who_left() {
        let turns = Turns::default();
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut first = pin!(turns.take());
        let second = turns.take();
        let mut third = pin!(turns.take());
        assert!(third.as_mut().poll(&mut cx).is_pending(), "not before the first");
        let Poll::Ready(turn) = first.as_mut().poll(&mut cx) else { panic!("nobody is before the first") };
        drop(second);
        assert!(third.as_mut().poll(&mut cx).is_pending(), "the first still has it");
        drop(turn);
        assert!(third.as_mut().poll(&mut cx).is_ready());
    }
}
