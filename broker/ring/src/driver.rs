//! The driver of a ring, and the guard that keeps glommio awake.
//!
//! A *turn* is one `io_uring_enter`: it submits everything the tasks queued since the last one and
//! collects completions. The driver wakes their tasks and goes to the back of the run queue, so those
//! tasks run (and queue their next operations) before the next turn. While completions keep coming the
//! driver keeps turning with the eventfd off; when a turn brings nothing it arms the eventfd, which
//! glommio waits on, and parks.

use std::future::poll_fn;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::io::BufferedFile;

use crate::queues::Turn;
use crate::ring::Ring;

/// The guard's pace while anything happens; see [`Ring::guard_fast`].
const GUARD_FAST: Duration = Duration::from_millis(2);
/// Fast guard ticks without a turn of the ring after which it is called quiet.
const GUARD_QUIET_TICKS: u32 = 25;
/// The guard's pace while all is quiet. 2 ms would cost 3 % of an idle core.
const GUARD_SLOW: Duration = Duration::from_millis(200);

impl Ring {
    /// The driver: turns until the core ends.
    pub(crate) async fn drive(self) {
        loop {
            let turn = self.turn(false);
            if turn.completions > 0 {
                self.moved();
                self.yield_now().await;
                continue;
            }
            if turn.submitted > 0 {
                self.moved();
            }
            self.park().await;
        }
    }

    /// Sleeps until the eventfd fires or a task queues something, unless there is something already.
    async fn park(&self) {
        self.0.turn_wanted.set(false);
        self.0.queues.borrow_mut().set_eventfd(true);
        // The kernel posts, then looks whether the eventfd is on; we turn it on, then look for posts.
        fence(Ordering::SeqCst);
        let turn = self.turn(true);
        if turn.completions > 0 {
            self.moved();
            self.0.queues.borrow_mut().set_eventfd(false);
            self.yield_now().await;
            return;
        }
        if self.0.queues.borrow_mut().has_work() {
            // The kernel was out of memory, or works on something that takes several turns.
            self.yield_now().await;
        } else {
            poll_fn(|cx| {
                if self.0.turn_wanted.get() {
                    return Poll::Ready(());
                }
                self.0.parked.set(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
        }
        self.0.queues.borrow_mut().set_eventfd(false);
    }

    /// Submits, collects and wakes. `must_enter`: also when nothing asks for it.
    fn turn(&self, must_enter: bool) -> Turn {
        let mut queues = self.0.queues.borrow_mut();
        let turn = queues.turn(must_enter);
        let mut news = std::mem::take(&mut queues.news);
        drop(queues);
        // Outside of the borrow: waking may run destructors of tasks, and those end operations.
        news.finished.clear();
        news.woken.drain(..).for_each(Waker::wake);
        for bell in news.rung.drain(..) {
            let bell = self.0.bells.borrow().get(bell).cloned();
            if let Some(bell) = bell {
                bell.wake();
            }
        }
        self.0.queues.borrow_mut().news = news;
        turn
    }

    /// Waits on the eventfd through glommio, for ever, and wakes the driver.
    pub(crate) async fn listen_for_completions(self, eventfd: OwnedFd) {
        // SAFETY: the descriptor is ours and handed over; BufferedFile closes it.
        let eventfd = unsafe { BufferedFile::from_raw_fd(eventfd.into_raw_fd()) };
        loop {
            if eventfd.read_at(0, 8).await.is_err() {
                // Out of kernel memory, say. The driver looks for itself meanwhile.
                glommio::timer::sleep(GUARD_FAST).await;
            }
            self.want_turn();
        }
    }

    fn moved(&self) {
        self.0.turns.set(self.0.turns.get().wrapping_add(1));
        self.want_guard();
    }

    /// Starts the fast guard unless it runs.
    pub(crate) fn want_guard(&self) {
        if !self.0.guard_is_fast.replace(true) {
            self.spawn(self.clone().guard_fast());
        }
    }

    /// glommio 0.9 can park with runnable tasks when its preempt timer fires early (seen at ticks of
    /// 100 us to 1 ms, and a busy machine can make any tick late enough). A live timer turns the hang
    /// into a hiccup of its own length. This one lives while the ring turns and 50 ms longer.
    pub(crate) async fn guard_fast(self) {
        let mut quiet = 0;
        while quiet < GUARD_QUIET_TICKS {
            let before = self.0.turns.get();
            glommio::timer::sleep(GUARD_FAST).await;
            self.want_turn();
            quiet = if self.0.turns.get() == before {
                quiet + 1
            } else {
                0
            };
        }
        self.0.guard_is_fast.set(false);
    }

    /// The guard that is always there; see [`Ring::guard_fast`]. Both also have the driver look: a wake-up
    /// that got lost, for whatever reason, costs a moment and not the core.
    pub(crate) async fn guard_slow(self) {
        loop {
            glommio::timer::sleep(GUARD_SLOW).await;
            self.want_turn();
        }
    }
}
