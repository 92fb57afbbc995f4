//! What one core's connections may hold in memory: requests that have come in, and replies that have not gone out.
//!
//! Each [`Pool`] is a number, not memory: bytes are counted where they are allocated. Past the limit nobody takes more;
//! whoever wants to waits in line, which is back-pressure all the way to the peer. So that peers who stopped in the middle
//! cannot keep the others waiting, those among them that have not moved for [`STALLED`] are closed while somebody waits.
//!
//! As with Kafka's `queued.max.request.bytes` the limit may be overrun by what was taken last, and a frame that has begun to
//! come in is finished even where nothing is left, one at a time: a frame larger than all of it still passes. Frames that
//! claim a large part of it come in one after the other, so that a few of them cannot take what many others need.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::config::Config;
use crate::limits;
use crate::net::warnings::Kind;
use crate::shard::Shard;
use millstream_ring::{Turn, Turns};

/// While others wait for memory, a peer that has some and does not get on for so long is closed, be it that it sends or takes
/// nothing, or that it waits for more itself: else those who wait with large frames begun would get all that becomes free.
pub(crate) const STALLED: Duration = Duration::from_secs(5);
/// How often whoever waits looks for such peers.
const LOOK: Duration = Duration::from_millis(500);

/// Shares of the process's memory. The newest bytes of logs have a quarter (`tail.memory.bytes`); what is left is for
/// everything else and for the page cache.
const REQUESTS_SHARE: u64 = 16;
const REPLIES_SHARE: u64 = 8;
/// A frame that claims more than this part of a pool is a large one.
const LARGE_PART: usize = 4;
/// No core has less.
const POOL_BYTES_MIN: usize = 4 << 20;

/// A core's budget of one kind.
pub(crate) struct Pool {
    /// Who has it, and what sets it, for the log.
    what: &'static str,
    max: usize,
    used: Cell<usize>,
    turns: Turns,
    overrun: Turns,
    large: Turns,
    first: RefCell<Option<Waker>>,
}

/// Both of them.
pub(crate) struct Memory {
    /// Frames that are coming in or at work.
    pub(crate) requests: Rc<Pool>,
    /// Replies that are made or on their way out.
    pub(crate) replies: Rc<Pool>,
}

impl Memory {
    /// One core's share.
    pub(crate) fn new(config: &Config, cores: usize) -> Memory {
        let memory = limits::memory(config);
        let share = |what, all: u64| {
            let bytes = usize::try_from(all).unwrap_or(usize::MAX) / cores;
            Rc::new(Pool::new(what, bytes.max(POOL_BYTES_MIN)))
        };
        Memory {
            requests: share(
                "requests (queued.max.request.bytes)",
                config
                    .broker
                    .queued_max_request_bytes
                    .unwrap_or(memory / REQUESTS_SHARE),
            ),
            replies: share("replies (memory.bytes)", memory / REPLIES_SHARE),
        }
    }
}

impl Pool {
    fn new(what: &'static str, max: usize) -> Pool {
        Pool {
            what,
            max,
            used: Cell::new(0),
            turns: Turns::default(),
            overrun: Turns::default(),
            large: Turns::default(),
            first: RefCell::default(),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// What may still be taken.
    pub(crate) fn left(&self) -> usize {
        self.max.saturating_sub(self.used.get())
    }

    /// Counts bytes, room or not; for what was decided before.
    pub(crate) fn add(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
    }

    /// Says that somebody has to wait.
    fn report(&self, shard: &Shard) {
        shard.warnings.report(Kind::Memory, || {
            format!(
                "core {}: {} have {} of {} bytes of memory: others wait",
                shard.index,
                self.what,
                self.used.get(),
                self.max
            )
        });
    }

    /// Gives bytes back.
    pub(crate) fn sub(&self, bytes: usize) {
        let left = self.used.get().checked_sub(bytes);
        self.used
            .set(left.expect("no more is given back than was taken"));
        if self.left() > 0
            && let Some(waker) = self.first.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Takes bytes until the share is dropped.
    pub(crate) fn share(self: &Rc<Self>, bytes: usize) -> Share {
        self.add(bytes);
        Share {
            pool: self.clone(),
            bytes,
        }
    }

    /// Returns when something may be taken, in the order of the calls.
    pub(crate) async fn room(&self, shard: &Shard) {
        if self.left() > 0 && self.turns.is_free() {
            return;
        }
        self.report(shard);
        let turn = self.turns.take();
        let room = async {
            let _turn = turn.await;
            poll_fn(|cx| {
                if self.left() > 0 {
                    return Poll::Ready(());
                }
                *self.first.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        };
        patiently(shard, room, || false).await;
    }

    /// Before anything is taken for something of so many bytes: a large one waits until the one before it is there. `None`
    /// when `gives_up` says so, or it is not large.
    pub(crate) async fn turn_of_large(
        &self,
        shard: &Shard,
        bytes: usize,
        gives_up: impl Fn() -> bool,
    ) -> Option<Turn> {
        if bytes <= self.max / LARGE_PART {
            return None;
        }
        patiently(shard, self.large.take(), gives_up).await
    }

    /// For whoever holds something already and needs more to be done with it: waits until there is room, or until it is the
    /// one that may overrun the limit, for as long as it keeps the turn. So there is always one that gets to its end.
    /// `None` when `gives_up` says so, or there is room.
    pub(crate) async fn more(&self, shard: &Shard, gives_up: impl Fn() -> bool) -> Option<Turn> {
        if self.left() > 0 {
            return None;
        }
        self.report(shard);
        let turn = patiently(shard, self.overrun.take(), gives_up).await;
        turn.filter(|_| self.left() == 0)
    }
}

/// Waits, and closes those meanwhile who have memory and do not move.
async fn patiently<T>(
    shard: &Shard,
    wanted: impl Future<Output = T>,
    gives_up: impl Fn() -> bool,
) -> Option<T> {
    futures_util::pin_mut!(wanted);
    loop {
        let look = shard.ring.sleep(LOOK);
        futures_util::pin_mut!(look);
        match select(wanted.as_mut(), look).await {
            Either::Left((got, _)) => return Some(got),
            Either::Right(_) if gives_up() => return None,
            Either::Right(_) => shard.connections.shut_down_stalled(shard, STALLED),
        }
    }
}

/// Bytes of a pool, given back when dropped.
pub(crate) struct Share {
    pool: Rc<Pool>,
    bytes: usize,
}

impl Share {
    /// Makes it so many bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.pool.add(bytes);
        self.pool.sub(self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::Pool;

    #[test]
    fn shares_are_counted_and_given_back() {
        let pool = Rc::new(Pool::new("a test", 100));
        let mut one = pool.share(60);
        let two = pool.share(70);
        assert_eq!(pool.left(), 0, "the last may overrun it");
        one.set(10);
        assert_eq!(pool.left(), 20);
        drop(two);
        assert_eq!(pool.left(), 90);
        drop(one);
        assert_eq!((pool.left(), pool.used.get()), (100, 0));
    }
}
