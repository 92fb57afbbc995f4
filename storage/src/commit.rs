//! Group commit, pipelined.
//!
//! Appends gather in the *open* unit. As soon as a write may go out, the unit is *cut*: its bytes are laid
//! into one journal entry, or, where a log has much, as whole blocks straight into its segment beside it.
//! Units go out without waiting for what those ahead of them wait for, and their waiters are released in order.
//!
//! An entry that stands alone is written and flushed by one operation, several of them at a time: the core need not wake up between
//! the two, nor a thread of the kernel that flushes find its turn beside the core. Once a unit has gone out that writes a segment,
//! too, or belongs to the weaker class, one fdatasync of the files covers all units that are written when no flush runs, while
//! later ones keep being written. There is no timer: alone, an append is flushed at once, and under load the flush time itself
//! gathers the next unit.
//!
//! A log of the weaker class (`flush.messages` above 1) is acknowledged when its unit is *written*, and its units alone
//! do not start a flush: they wait for their number of records, for their time, or for whoever needs them on the device.
//! Every such reason raises one mark, `flush_to`; a log of the flushed class raises it with each append.

mod book;
mod cut;
mod encode;
mod flush;
mod prefix;
mod units;
mod write;

use std::rc::Rc;
use std::time::Duration;

pub(crate) use cut::note_in_file;
pub(crate) use units::Commit;
use units::Unit;

use crate::knobs::WRITES_IN_FLIGHT_MAX;
use crate::store::core_dir::CoreDir;

/// The longest sleep: then the commit task looks again.
const TIMER_MAX: Duration = Duration::from_secs(3600);

/// Something that becomes durable: compare with [`crate::Store::is_durable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Index of the data directory: each has its own journal.
    pub dir: u32,
    /// Rises with the units of that journal.
    pub unit: u64,
    /// Of a log of the weaker class: due when it is written.
    pub when_written: bool,
}

/// A control item that becomes durable: a log's creation, its deletion, or a move of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlTicket(pub(crate) u64);

impl CoreDir {
    /// Something is on its way to the device.
    pub(crate) fn is_writing(&self) -> bool {
        let commit = self.commit.borrow();
        commit.writes > 0 || commit.flushing
    }

    /// Sends units and flushes until the store ends or the directory fails.
    pub(crate) async fn run_commits(self: Rc<Self>) {
        loop {
            let seen = self.work.count();
            if self.is_offline() || self.stopped.get() {
                return;
            }
            while self.may_write() && !self.commit.borrow().gathers() {
                let next = self.commit.borrow_mut().next_unit();
                let Some(unit) = next else { break };
                self.fetch_prefixes(&unit).await;
                if self.is_offline() {
                    return;
                }
                if let Err(unit) = self.send(unit) {
                    // No journal file is free: settling, which needs what is in them flushed, frees one and rings again.
                    let mut commit = self.commit.borrow_mut();
                    let sent = commit.sent;
                    commit.flush_soon(sent);
                    commit.closed.push_front(*unit);
                    commit.stuck = true;
                    drop(commit);
                    self.settle_wanted.notify();
                    break;
                }
                self.commit.borrow_mut().stuck = false;
            }
            self.send_mark();
            if self.commit.borrow().stuck {
                self.send_controls();
            }
            let due_in = self.commit.borrow_mut().flush_due_in(self.ring.now());
            self.note_written();
            self.start_flush();
            let more = self.work.changed_since(seen);
            match due_in {
                None => more.await,
                Some(wait) => {
                    let _due = self.ring.timeout(wait.min(TIMER_MAX), more).await;
                }
            }
        }
    }

    fn may_write(&self) -> bool {
        self.commit.borrow().writes < WRITES_IN_FLIGHT_MAX && !self.is_offline()
    }

    /// Deletions are how a full device gets room: they do not wait behind batches that have none, and the journal keeps some of
    /// its last file for them. Everything that was appended to a log before it was deleted comes after the entry that drops it
    /// then, and is passed over by recovery, as what stands in the entry itself always was.
    fn send_controls(self: &Rc<Self>) {
        while self.may_write() {
            let next = self.commit.borrow_mut().next_controls();
            let Some(unit) = next else { return };
            if let Err(unit) = self.send(unit) {
                self.commit.borrow_mut().put_back(unit.controls);
                return;
            }
        }
    }

    /// An entry without items, whose header says that a journal file was settled: only then is that file free. It must go
    /// out ahead of a unit that finds no room, or that unit would wait for it, and it for the unit.
    fn send_mark(self: &Rc<Self>) {
        if self.may_write() && self.journal.borrow().wants_mark() {
            let number = self.commit.borrow().sent;
            self.commit.borrow_mut().flush_soon(number);
            // Without a place now, the flush that frees a file rings again.
            let _no_place = self.send(Unit::new(number));
        }
    }
}
