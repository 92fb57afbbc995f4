//! A few at a time, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A semaphore for tasks of one core. Unlike most, it is handed on in the order in which it was asked for.
pub struct Turns(Rc<Queue>);

struct Queue {
    places: usize,
    taken: Cell<usize>,
    next: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Option<Waker>)>>,
}

impl Default for Turns {
    /// A lock: one turn at a time.
    fn default() -> Turns {
        Turns::of(1)
    }
}

impl Turns {
    /// So many turns at the same time.
    pub fn of(places: usize) -> Turns {
        Turns(Rc::new(Queue {
            places,
            taken: Cell::new(0),
            next: Cell::new(0),
            queue: RefCell::default(),
        }))
    }

    /// Nobody has a turn and nobody waits for one.
    pub fn is_free(&self) -> bool {
        self.0.taken.get() == 0 && self.0.queue.borrow().is_empty()
    }

    /// Takes a place in the queue at once; the future ends when it is its turn, which lasts until the guard is dropped.
    pub fn take(&self) -> Waiting {
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
    fn has_room(&self) -> bool {
        self.taken.get() < self.places
    }

    fn leave(&self, number: u64) {
        self.queue
            .borrow_mut()
            .retain(|(other, _)| *other != number);
        self.wake_first();
    }

    fn wake_first(&self) {
        if !self.has_room() {
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

/// A place in the queue of [`Turns`].
pub struct Waiting {
    turns: Rc<Queue>,
    number: u64,
    done: bool,
}

/// A turn; ends when dropped.
pub struct Turn {
    turns: Rc<Queue>,
}

impl Future for Waiting {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let turns = self.turns.clone();
        let mut queue = turns.queue.borrow_mut();
        let is_first = queue
            .front()
            .is_some_and(|(first, _)| *first == self.number);
        if is_first && turns.has_room() {
            queue.pop_front();
            turns.taken.set(turns.taken.get() + 1);
            self.done = true;
            drop(queue);
            // Two turns that ended one after the other woke the same waiter.
            turns.wake_first();
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
        self.turns.taken.set(self.turns.taken.get() - 1);
        self.turns.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::Turns;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn turns_come_in_order_and_pass_over_those_who_left() {
        let turns = Turns::default();
        assert!(turns.is_free());
        let mut cx = Context::from_waker(Waker::noop());
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

    #[test]
    fn as_many_as_there_are_places_go_at_once() {
        let turns = Turns::of(2);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let woken = || wakes.0.load(Ordering::Relaxed);
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(turns.take())).collect();
        let first: Vec<_> = waiting
            .iter_mut()
            .map(|waiting| waiting.as_mut().poll(&mut cx))
            .collect();
        let ready: Vec<bool> = first.iter().map(Poll::is_ready).collect();
        assert_eq!(ready, [true, true, false, false]);
        drop(first);
        assert_eq!(woken(), 1, "the third");
        let third = waiting[2].as_mut().poll(&mut cx);
        assert!(third.is_ready());
        assert_eq!(woken(), 2, "the fourth: two have ended");
        assert!(waiting[3].as_mut().poll(&mut cx).is_ready());
    }
}
