//! What stands in for rtrb: the same doors, the same two positions with the same orderings (rtrb 0.3.6).

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use loom::sync::atomic::{AtomicUsize, Ordering};

pub(in super::super) struct RingBuffer<T>(PhantomData<T>);

struct Shared<T> {
    /// The memory of a slot is no part of the model: it has no orderings of its own.
    slots: Vec<Mutex<Option<T>>>,
    head: AtomicUsize,
    tail: AtomicUsize,
    ends: AtomicUsize,
}

pub(in super::super) struct Producer<T> {
    shared: Arc<Shared<T>>,
    head_seen: Cell<usize>,
    tail: Cell<usize>,
}

pub(in super::super) struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: Cell<usize>,
    tail_seen: Cell<usize>,
}

pub(in super::super) enum PushError<T> {
    Full(T),
}

impl<T> RingBuffer<T> {
    #[expect(clippy::new_ret_no_self, reason = "rtrb's door")]
    pub fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let shared = Arc::new(Shared {
            slots: (0..capacity).map(|_| Mutex::new(None)).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            ends: AtomicUsize::new(2),
        });
        let producer = Producer {
            shared: shared.clone(),
            head_seen: Cell::new(0),
            tail: Cell::new(0),
        };
        let consumer = Consumer {
            shared,
            head: Cell::new(0),
            tail_seen: Cell::new(0),
        };
        (producer, consumer)
    }
}

impl<T> Shared<T> {
    fn slot(&self, position: usize) -> std::sync::MutexGuard<'_, Option<T>> {
        let slot = &self.slots[position % self.slots.len()];
        slot.try_lock().expect("one end has a slot at a time")
    }
}

impl<T> Producer<T> {
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        let (shared, tail) = (&self.shared, self.tail.get());
        if tail - self.head_seen.get() == shared.slots.len() {
            self.head_seen.set(shared.head.load(Ordering::Acquire));
            if tail - self.head_seen.get() == shared.slots.len() {
                return Err(PushError::Full(value));
            }
        }
        let before = shared.slot(tail).replace(value);
        assert!(before.is_none(), "a slot that is free");
        shared.tail.store(tail + 1, Ordering::Release);
        self.tail.set(tail + 1);
        Ok(())
    }

    pub fn is_abandoned(&self) -> bool {
        self.shared.ends.load(Ordering::Relaxed) < 2
    }
}

impl<T> Consumer<T> {
    pub fn pop(&mut self) -> Result<T, ()> {
        let (shared, head) = (&self.shared, self.head.get());
        if head == self.tail_seen.get() {
            self.tail_seen.set(shared.tail.load(Ordering::Acquire));
            if head == self.tail_seen.get() {
                return Err(());
            }
        }
        let value = shared.slot(head).take().expect("a slot that was filled");
        shared.head.store(head + 1, Ordering::Release);
        self.head.set(head + 1);
        Ok(value)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.ends.fetch_sub(1, Ordering::Release);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.ends.fetch_sub(1, Ordering::Release);
    }
}
