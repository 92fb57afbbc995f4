//! One at a time, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A lock for tasks of one core. Unlike most, it is handed on in the order in which it was asked for.
#[derive(Default)]
pub(crate) struct Turns(Rc<Queue>);

#[derive(Default)]
struct Queue {
    held: Cell<bool>,
    next: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Option<Waker>)>>,
}

impl Turns {
    /// Nobody has it and nobody waits for it.
    pub(crate) fn is_free(&self) -> bool {
        !self.0.held.get() && self.0.queue.borrow().is_empty()
    }

    /// Takes a place in the queue at once; the future ends when it is its turn, which lasts until the guard is dropped.
    pub(crate) fn take(&self) -> Waiting {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        self.0.queue.borrow_mut().push_back((number, None));
        Waiting {
            turns: self.0.clone(),
            number,
            done: false,
        }
    }
}

impl Queue {
    fn leave(&self, number: u64) {
        self.queue
            .borrow_mut()
            .retain(|(other, _)| *other != number);
        self.wake_first();
    }

    fn wake_first(&self) {
        if self.held.get() {
            return;
        }
        let waker = self
            .queue
            .borrow_mut()
            .front_mut()
            .and_then(|(_, waker)| waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A place in the queue.
pub(crate) struct Waiting {
    turns: Rc<Queue>,
    number: u64,
    done: bool,
}

/// The turn; ends when dropped.
pub(crate) struct Turn {
    turns: Rc<Queue>,
}

impl Future for Waiting {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let turns = self.turns.clone();
        let mut queue = turns.queue.borrow_mut();
        if !turns.held.get()
            && queue
                .front()
                .is_some_and(|(first, _)| *first == self.number)
        {
            queue.pop_front();
            turns.held.set(true);
            self.done = true;
            drop(queue);
            return Poll::Ready(Turn { turns });
        }
        if let Some((_, waker)) = queue.iter_mut().find(|(number, _)| *number == self.number) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.done {
            self.turns.leave(self.number);
        }
    }
}

impl Drop for Turn {
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
        assert!(turns.is_free());
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut first = pin!(turns.take());
        let second = turns.take();
        let mut third = pin!(turns.take());
        assert!(
            third.as_mut().poll(&mut cx).is_pending(),
            "not before the first"
        );
        let Poll::Ready(turn) = first.as_mut().poll(&mut cx) else {
            panic!("nobody is before the first")
        };
        drop(second);
        assert!(
            third.as_mut().poll(&mut cx).is_pending(),
            "the first still has it"
        );
        drop(turn);
        assert!(!turns.is_free(), "one waits");
        let last = third.as_mut().poll(&mut cx);
        assert!(last.is_ready());
        assert!(!turns.is_free(), "one has it");
        drop(last);
        assert!(turns.is_free());
    }
}
