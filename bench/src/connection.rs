//! One connection's pace: how many requests are in flight, when each left, who waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Instant;

/// Byte position of the correlation id in a request frame: behind length, api key and version.
pub const CORRELATION: usize = 8;

/// The requests in flight on one connection, oldest first; answers come in the order of the requests.
pub struct Window {
    limit: usize,
    sent: RefCell<VecDeque<(i32, Instant)>>,
    next_correlation: Cell<i32>,
    stopped: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Window {
    /// At most `limit` requests in flight.
    pub fn new(limit: usize) -> Window {
        Window {
            limit,
            sent: RefCell::default(),
            next_correlation: Cell::new(0),
            stopped: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Waits until requests may be sent and returns how many, 0 once stopped.
    pub async fn room(&self) -> usize {
        poll_fn(|context| {
            if self.stopped.get() {
                return Poll::Ready(0);
            }
            match self.limit - self.sent.borrow().len() {
                0 => {
                    self.waiting.replace(Some(context.waker().clone()));
                    Poll::Pending
                }
                room => Poll::Ready(room),
            }
        })
        .await
    }

    /// Notes a request that leaves at `now` (or should have, in an open loop), and returns its correlation id.
    pub fn sent(&self, now: Instant) -> i32 {
        let correlation = self.next_correlation.get();
        self.next_correlation.set(correlation.wrapping_add(1));
        self.sent.borrow_mut().push_back((correlation, now));
        correlation
    }

    /// Takes the oldest request, which an answer with this correlation id must be for; its sending time.
    pub fn answered(&self, correlation: i32) -> Option<Instant> {
        let (expected, at) = self.sent.borrow_mut().pop_front()?;
        (expected == correlation).then_some(at)
    }

    /// Takes the oldest request, whatever its correlation id.
    pub fn pop(&self) {
        self.sent.borrow_mut().pop_front();
    }

    /// Lets the sender go on. Called once for many answers, so that it can send many requests together.
    pub fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// No more requests.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.wake();
    }

    /// Requests again, after [`Window::stop`].
    pub fn reopen(&self) {
        self.stopped.set(false);
    }

    /// Whether [`Window::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.sent.borrow().len()
    }
}

/// Splits the first whole frame off `bytes`: (what follows its length, bytes it takes in all). `None`: not all there.
pub fn split_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (prefix, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*prefix)).ok()?;
    Some((rest.get(..length)?, length + 4))
}

/// Big-endian integer at `position`, if it is there.
pub fn i32_at(bytes: &[u8], position: usize) -> Option<i32> {
    bytes
        .get(position..)?
        .first_chunk()
        .map(|bytes| i32::from_be_bytes(*bytes))
}

/// Big-endian integer at `position`, if it is there.
pub fn i16_at(bytes: &[u8], position: usize) -> Option<i16> {
    bytes
        .get(position..)?
        .first_chunk()
        .map(|bytes| i16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn answers_must_come_in_order() {
        let window = Window::new(2);
        let now = Instant::now();
        let (first, second) = (window.sent(now), window.sent(now + Duration::from_secs(1)));
        assert_eq!(window.in_flight(), 2);
        assert_eq!(window.answered(first), Some(now));
        assert_eq!(window.answered(second + 1), None);
    }
}
