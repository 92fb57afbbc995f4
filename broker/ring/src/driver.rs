//! The driver of a ring.
//!
//! A *turn* is one `io_uring_enter`: it submits everything the tasks queued since the last one and
//! collects completions. The driver wakes their tasks and goes to the back of the run queue, so those
//! tasks run (and queue their next operations) before the next turn. When a turn brings nothing, and no
//! task of this core can run, the turn after it sleeps in the kernel until something completes or the
//! next timer is due.
//!
//! So the core sleeps here and never in glommio, which decides which task is next and nothing else: to park,
//! it arms, cancels and links three rings of its own, about ten system calls, and our completions do not
//! reach it there. As long as a task can run it goes round its queues, and one always can: the driver, or
//! the turning point that the driver waits for.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::ring::Ring;

/// The longest sleep: should a wake-up ever get lost, for whatever reason, it costs a moment and not the core.
const NAP_MAX: Duration = Duration::from_millis(500);

/// The way through all run queues and back: see [`Ring::let_all_run`].
#[derive(Default)]
pub(crate) struct Round {
    driver: Cell<Option<Waker>>,
    turner: Cell<Option<Waker>>,
    asked: Cell<bool>,
    done: Cell<bool>,
}

impl Round {
    /// The driver is on its way.
    pub(crate) fn is_on(&self) -> bool {
        self.asked.get()
    }
}

impl Ring {
    /// The driver: turns until the core ends.
    pub(crate) async fn drive(self) {
        let mut nap = Duration::ZERO;
        loop {
            if self.turn(nap) > 0 {
                nap = Duration::ZERO;
                self.yield_now().await;
                continue;
            }
            let polls = self.kernel().polls.get();
            self.let_all_run().await;
            let quiet = self.kernel().polls.get() == polls;
            nap = if quiet {
                self.kernel().timers.until_next(self.now()).min(NAP_MAX)
            } else {
                Duration::ZERO
            };
        }
    }

    /// One turn of at most `nap`. Wakes whoever it brought something, and returns how many that may be.
    fn turn(&self, nap: Duration) -> usize {
        let sleeps = !nap.is_zero() && self.mailboxes_may_sleep();
        let mut queues = self.kernel().queues.borrow_mut();
        let completions = queues.turn(if sleeps { nap } else { Duration::ZERO });
        let mut news = std::mem::take(&mut queues.news);
        drop(queues);
        self.look_at_clock();
        // Outside of the borrow: waking may run destructors of tasks, and those end operations.
        news.finished.clear();
        news.woken.drain(..).for_each(Waker::wake);
        for bell in news.rung.drain(..) {
            let bell = self.kernel().bells.borrow().get(bell).cloned();
            if let Some(bell) = bell {
                bell.wake();
            }
        }
        self.kernel().queues.borrow_mut().news = news;
        if !nap.is_zero() {
            let bells = self.kernel().bells.borrow();
            bells.iter().for_each(|(_, bell)| bell.awake());
        }
        completions + self.wake_mailed() + self.kernel().timers.wake_due(self.now())
    }

    /// False when there is mail already.
    fn mailboxes_may_sleep(&self) -> bool {
        let bells = self.kernel().bells.borrow();
        bells.iter().all(|(_, bell)| bell.may_sleep())
    }

    /// Wakes the receivers of mailboxes that have got something, and says how many.
    fn wake_mailed(&self) -> usize {
        let mut woken = 0;
        loop {
            let bells = self.kernel().bells.borrow();
            let mailed = bells.iter().find(|(_, bell)| bell.take_mail());
            let mailed = mailed.map(|(_, bell)| bell.clone());
            drop(bells);
            match mailed {
                Some(bell) => bell.wake(),
                None => return woken,
            }
            woken += 1;
        }
    }

    /// Returns after every task that can run now had its turn, in both queues: the driver leaves the data
    /// queue, and comes back by a task that stands last in the other one.
    async fn let_all_run(&self) {
        let round = &self.kernel().round;
        round.asked.set(true);
        if let Some(turner) = round.turner.take() {
            turner.wake();
        }
        poll_fn(|cx| {
            if round.done.replace(false) {
                return Poll::Ready(());
            }
            round.driver.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// The turning point of [`Ring::let_all_run`], in the background queue.
    pub(crate) async fn turn_round(self) {
        let round = &self.kernel().round;
        poll_fn(|cx| {
            round.turner.set(Some(cx.waker().clone()));
            if round.asked.replace(false) {
                round.done.set(true);
                if let Some(driver) = round.driver.take() {
                    driver.wake();
                }
            }
            Poll::Pending
        })
        .await
    }
}
