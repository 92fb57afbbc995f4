//! One operation in the kernel's hands: a slot that owns what the kernel may touch, and the future that
//! waits for it.
//!
//! The rule that makes this sound: **a slot is freed by its completion and by nothing else.** Dropping
//! the future only orphans the slot; buffers, paths, addresses and the descriptor stay in it until the
//! kernel is done. What a dropped operation would have produced is undone by its [`OnDrop`].

use std::ffi::CString;
use std::future::Future;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring::squeue;

use crate::address::Address;
use crate::buffer::{Buffer, Bytes};
use crate::ring::Ring;

/// A descriptor that stays open as long as an operation on it is in flight: a number that was closed
/// and given out again must never be found in a queued entry.
pub(crate) type Fd = Rc<OwnedFd>;

/// What an operation owns until its completion. Everything the kernel reads or writes is behind a heap
/// pointer, because slots move when their table grows. Paths are there for the kernel alone.
#[allow(dead_code, reason = "paths are read by the kernel only")]
pub(crate) enum Thing {
    Nothing,
    Buffer(Buffer),
    Gather(Vec<Bytes>, Option<Box<Gather>>),
    Path(CString),
    Paths([CString; 2]),
    Stat(CString, Box<libc::statx>),
    Address(Box<Address>),
}

/// The resources of an operation: a descriptor, if it is on one, and a [`Thing`].
pub(crate) struct Held {
    #[expect(dead_code, reason = "keeps the descriptor open")]
    fd: Option<Fd>,
    pub thing: Thing,
}

impl Held {
    pub(crate) fn new(fd: &Fd, thing: Thing) -> Held {
        Held {
            fd: Some(fd.clone()),
            thing,
        }
    }

    pub(crate) fn without_fd(thing: Thing) -> Held {
        Held { fd: None, thing }
    }
}

/// Gather list and message header of one write or send; reused from operation to operation.
pub(crate) struct Gather {
    pub iovecs: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl Gather {
    /// A message of the gather list, for SendMsg. Valid until the list changes or moves.
    pub(crate) fn message(&mut self) -> *const libc::msghdr {
        self.message.msg_iov = self.iovecs.as_mut_ptr();
        self.message.msg_iovlen = self.iovecs.len() as _;
        &raw const self.message
    }

    pub(crate) fn new() -> Gather {
        // SAFETY: msghdr is plain data; all zeros is a message without anything.
        let message = unsafe { std::mem::zeroed() };
        Gather {
            iovecs: Vec::new(),
            message,
        }
    }
}

/// What happens to an operation whose future was dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// Let it finish: writes, syncs, renames. Half of one is worse than all of it.
    Finish,
    /// Take it back: receives, sends and polls could wait for ever.
    Cancel,
    /// Its result is a descriptor nobody will ever see: close it. Taken back too, where that is possible.
    Close,
}

/// An entry of the ring's operation table.
pub(crate) struct Slot {
    pub state: State,
    pub held: Held,
    pub on_drop: OnDrop,
}

pub(crate) enum State {
    /// In flight; the future was not polled yet.
    Started,
    /// In flight, with a task waiting.
    Waiting(Waker),
    /// In flight, and nobody waits any more.
    Orphaned,
    Done {
        result: i32,
    },
}

/// The future of one operation. Yields its result and gives back what it held.
pub(crate) struct Op {
    ring: Ring,
    key: usize,
    taken: bool,
}

/// A finished operation.
pub(crate) struct Done {
    /// The completion's result: bytes, a descriptor or zero.
    pub result: io::Result<usize>,
    pub held: Held,
}

impl Op {
    /// Queues `entry`; it reaches the kernel with the next turn of the ring.
    ///
    /// # Safety
    /// Whatever `entry` points to must be owned by `held` (or live for ever), and `entry` must not be
    /// multishot: exactly one completion ends a slot.
    pub(crate) unsafe fn start(
        ring: &Ring,
        entry: squeue::Entry,
        held: Held,
        on_drop: OnDrop,
    ) -> Op {
        let key = ring.queue(
            entry,
            Slot {
                state: State::Started,
                held,
                on_drop,
            },
        );
        Op {
            ring: ring.clone(),
            key,
            taken: false,
        }
    }
}

impl Future for Op {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        assert!(!self.taken, "an operation is awaited once");
        match self.ring.poll_slot(self.key, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((result, held)) => {
                self.taken = true;
                Poll::Ready(Done {
                    result: outcome(result),
                    held,
                })
            }
        }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if !self.taken {
            self.ring.abandon(self.key);
        }
    }
}

/// A completion's number as a result: negative is an errno.
fn outcome(result: i32) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(n) => Ok(n),
        Err(_) => Err(io::Error::from_raw_os_error(result.wrapping_neg())),
    }
}

/// Closes the descriptor that an abandoned operation produced.
pub(crate) fn close_result(result: i32) {
    if result >= 0 {
        // SAFETY: the kernel has just given us this descriptor and nobody else learns its number.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
    }
}
