//! Messages between cores: a bounded single-producer queue for each direction of each pair, and MSG_RING
//! as the bell that wakes a sleeping core.
//!
//! A core that is awake looks for mail once a turn, so a bell is rung only for one that sleeps: it says so,
//! then looks a last time; the sender leaves its mail, then looks who sleeps. The same bell, the other way
//! round, tells a sender that waits for room. Marks are shared by two cores each, never by all.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

#[cfg(not(test))]
use {
    crate::ring::Ring,
    rtrb::{Consumer, Producer, PushError, RingBuffer},
    std::sync::atomic::{AtomicBool, AtomicU64, fence},
};
// What cores share is a model's: it tries every order of their steps, and every value that a load may see.
#[cfg(test)]
use {
    loom::sync::atomic::{AtomicU64, fence},
    tests::flag::AtomicBool,
    tests::queue::{Consumer, Producer, PushError, RingBuffer},
    tests::ring::Ring,
};

/// Queues between all pairs of `cores` cores (and from each to itself), `capacity` messages each way.
/// End `i` goes to core `i`.
pub fn mesh<T: Send + 'static>(cores: usize, capacity: usize) -> Vec<MeshEnd<T>> {
    let places: Arc<[Place]> = (0..cores).map(|_| Place::default()).collect();
    let end = |own| MeshEnd {
        own,
        places: places.clone(),
        outgoing: Vec::new(),
        incoming: Vec::new(),
    };
    let mut ends: Vec<MeshEnd<T>> = (0..cores).map(end).collect();
    for from in 0..cores {
        for to in 0..cores {
            let (producer, consumer) = RingBuffer::new(capacity.max(1));
            let marks = Arc::new(Marks::default());
            ends[from].outgoing.push(Outgoing {
                queue: RefCell::new(producer),
                marks: marks.clone(),
            });
            ends[to].incoming.push(Incoming {
                queue: RefCell::new(consumer),
                marks,
            });
        }
    }
    ends
}

/// One core's end of a [`mesh`], on its way to that core.
pub struct MeshEnd<T> {
    own: usize,
    places: Arc<[Place]>,
    outgoing: Vec<Outgoing<T>>,
    incoming: Vec<Incoming<T>>,
}

impl<T: Send + 'static> MeshEnd<T> {
    /// Makes `ring` the one to wake for messages to this end. Messages sent before are kept.
    pub fn join(self, ring: &Ring) -> Mailbox<T> {
        let marks = self.incoming.iter().map(|from| from.marks.clone());
        let bell = Rc::new(Bell {
            marks: marks.collect(),
            ..Bell::default()
        });
        let number = ring.add_bell(bell.clone());
        let number = u16::try_from(number).expect("a ring has less than 65,536 mailboxes");
        self.places[self.own].publish(ring.raw_fd(), number);
        Mailbox {
            ring: ring.clone(),
            bell,
            number,
            next: Cell::new(0),
            end: self,
        }
    }
}

/// One core's mailbox. One task receives; any number sends.
pub struct Mailbox<T> {
    ring: Ring,
    bell: Rc<Bell>,
    number: u16,
    /// The queue that is looked at first: each sender gets its turn.
    next: Cell<usize>,
    end: MeshEnd<T>,
}

impl<T> Mailbox<T> {
    /// This core's index in the mesh.
    pub fn own(&self) -> usize {
        self.end.own
    }

    /// Puts `message` into the queue of core `to`. A message to a core that has ended is dropped.
    ///
    /// # Errors
    /// The queue is full: the message comes back.
    pub fn try_send(&self, to: usize, message: T) -> Result<(), T> {
        let outgoing = &self.end.outgoing[to];
        let mut queue = outgoing.queue.borrow_mut();
        if queue.is_abandoned() {
            return Ok(());
        }
        match queue.push(message) {
            Ok(()) => {}
            Err(PushError::Full(message)) => return Err(message),
        }
        drop(queue);
        // Mail, then look who sleeps; the receiver says that it sleeps, then looks for mail.
        outgoing.marks.mail.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if outgoing.marks.asleep.load(Ordering::Relaxed)
            && outgoing.marks.asleep.swap(false, Ordering::AcqRel)
        {
            self.wake(to);
        }
        Ok(())
    }

    /// Puts `message` into the queue of core `to`, once there is room.
    pub async fn send(&self, to: usize, message: T) {
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(to, &mut message, cx)).await;
    }

    /// The next message and who sent it. Messages of one sender come in order.
    pub async fn recv(&self) -> (usize, T) {
        poll_fn(|cx| {
            if let Some(received) = self.try_recv() {
                return Poll::Ready(received);
            }
            *self.bell.receiver.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next message, if there is one.
    pub fn try_recv(&self) -> Option<(usize, T)> {
        let cores = self.end.incoming.len();
        let first = self.next.get();
        for from in (first..cores).chain(0..first) {
            let incoming = &self.end.incoming[from];
            let popped = incoming.queue.borrow_mut().pop();
            if let Ok(message) = popped {
                self.next.set(if from + 1 == cores { 0 } else { from + 1 });
                // Pop, then look for the mark; the sender marks, then looks for room.
                fence(Ordering::SeqCst);
                if incoming.marks.sender_waits.load(Ordering::Relaxed) {
                    incoming.marks.sender_waits.store(false, Ordering::Relaxed);
                    self.wake(from);
                }
                return Some((from, message));
            }
        }
        None
    }

    fn poll_send(&self, to: usize, message: &mut Option<T>, cx: &mut Context<'_>) -> Poll<()> {
        let mut attempt =
            || match self.try_send(to, message.take().expect("polled until it was sent")) {
                Ok(()) => true,
                Err(back) => {
                    *message = Some(back);
                    false
                }
            };
        if attempt() {
            return Poll::Ready(());
        }
        self.end.outgoing[to]
            .marks
            .sender_waits
            .store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if attempt() {
            return Poll::Ready(());
        }
        self.bell.senders.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// Rings the bell of core `to`. One that has not joined yet looks into its queues when it does.
    fn wake(&self, to: usize) {
        if to == self.end.own {
            self.bell.wake();
        } else if let Some((fd, bell)) = self.end.places[to].get() {
            self.ring.ring_bell(fd, bell);
        }
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        self.end.places[self.end.own].withdraw();
        self.ring.remove_bell(self.number.into());
        // Abandon the queues, then look for marks; a sender that waits for room has marked, then looked
        // whether its queue is abandoned.
        for (from, incoming) in std::mem::take(&mut self.end.incoming)
            .into_iter()
            .enumerate()
        {
            drop(incoming.queue);
            fence(Ordering::SeqCst);
            if incoming.marks.sender_waits.load(Ordering::Relaxed) {
                self.wake(from);
            }
        }
    }
}

struct Outgoing<T> {
    queue: RefCell<Producer<T>>,
    marks: Arc<Marks>,
}

struct Incoming<T> {
    queue: RefCell<Consumer<T>>,
    marks: Arc<Marks>,
}

/// What a sender and a receiver leave for each other; a cache line of their own.
#[derive(Default)]
#[repr(align(128))]
struct Marks {
    /// Something was sent since the receiver looked last.
    mail: AtomicBool,
    /// The receiver sleeps, or is about to, and nobody has rung for it yet.
    asleep: AtomicBool,
    /// The sender found the queue full.
    sender_waits: AtomicBool,
}

/// Where the bell of a core is: `(ring descriptor + 1) << 16 | bell`, zero for nowhere.
#[derive(Default)]
struct Place(AtomicU64);

impl Place {
    fn publish(&self, fd: RawFd, bell: u16) {
        let fd = u64::try_from(fd).expect("an open descriptor is not negative");
        self.0
            .store((fd + 1) << 16 | u64::from(bell), Ordering::SeqCst);
        // Published, then the first look into the queues; senders push, then look here.
        fence(Ordering::SeqCst);
    }

    fn withdraw(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    fn get(&self) -> Option<(RawFd, u16)> {
        let value = self.0.load(Ordering::SeqCst);
        (value != 0).then(|| ((value >> 16) as RawFd - 1, value as u16))
    }
}

/// Who waits for a ring of the bell, or for mail.
#[derive(Default)]
pub(crate) struct Bell {
    marks: Vec<Arc<Marks>>,
    receiver: RefCell<Option<Waker>>,
    senders: RefCell<Vec<Waker>>,
}

impl Bell {
    /// Whether there is mail since the last look.
    pub(crate) fn take_mail(&self) -> bool {
        let mut any = false;
        for marks in &self.marks {
            any |= marks.mail.load(Ordering::Relaxed) && marks.mail.swap(false, Ordering::AcqRel);
        }
        any
    }

    /// From here on senders ring; false if one has sent something before.
    pub(crate) fn may_sleep(&self) -> bool {
        for marks in &self.marks {
            marks.asleep.store(true, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        let mut marks = self.marks.iter();
        marks.all(|marks| !marks.mail.load(Ordering::Relaxed))
    }

    /// The core looks for itself again.
    pub(crate) fn awake(&self) {
        for marks in &self.marks {
            marks.asleep.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn wake(&self) {
        let receiver = self.receiver.borrow_mut().take();
        let senders = std::mem::take(&mut *self.senders.borrow_mut());
        receiver.into_iter().chain(senders).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
