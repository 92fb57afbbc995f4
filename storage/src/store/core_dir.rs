//! One core's part of one data directory: its journal, table and logs there.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_ring::{Ring, Turns};

use super::budget::Budget;
use super::counts::Counting;
use super::event::Event;
use crate::LogId;
use crate::commit::{Commit, ControlTicket, Ticket};
use crate::dir::{self, DataDir, PartitionName};
use crate::error::Offline;
use crate::files::Files;
use crate::journal::writer::Journal;
use crate::knobs::ENTRY_OVERHEAD;
use crate::log::Log;
use crate::log::ahead::ReadAhead;
use crate::table::TableWriter;

/// Callbacks of the store's user after each group of commits.
pub(crate) type CommitCallbacks = Rc<RefCell<Vec<Rc<dyn Fn()>>>>;

/// Work that waits where there is no space, and is tried again.
#[derive(Clone, Copy)]
pub(crate) enum Errand {
    Settle = 1,
    Maintain = 2,
    PrepareJournal = 4,
    Delete = 8,
    /// Nothing but a descriptor is needed.
    Open = 16,
}

pub(crate) struct CoreDir {
    pub index: usize,
    pub ring: Ring,
    pub data: Arc<DataDir>,
    pub files: Files,
    /// In order, so that a run of the simulation can be repeated.
    pub logs: RefCell<BTreeMap<LogId, Rc<Log>>>,
    pub journal: RefCell<Journal>,
    pub commit: RefCell<Commit>,
    pub table: TableWriter,
    pub budget: Rc<Budget>,
    pub read_ahead: Rc<ReadAhead>,
    /// Reads of segments, so that flushes find their way between them.
    pub reads: Turns,
    /// Direct I/O is really there; without it segments are written like everything else, through the page cache.
    pub direct: Cell<bool>,
    /// The new generation has authority: segments and directories may be changed.
    pub authority: Arc<AtomicBool>,
    pub callbacks: CommitCallbacks,
    /// Rings when a unit waits or a write ended.
    pub work: Event,
    /// Rings after each flushed group, and when the directory went offline.
    pub committed: Event,
    pub settle_wanted: Event,
    /// Writes of settling that are on their way; rings when one has ended.
    pub settle_writes: Cell<usize>,
    pub settle_wrote: Event,
    pub settle_queue: RefCell<Vec<Rc<Log>>>,
    pub maintenance: RefCell<VecDeque<Rc<Log>>>,
    pub maintenance_wanted: Event,
    pub counts: Counting,
    pub stopped: Cell<bool>,
    /// Background tasks that still run.
    pub tasks: Cell<usize>,
    /// This core has taken notice that the directory is offline.
    pub failed: Cell<bool>,
    /// Bytes of its logs that are not in their segments yet.
    pub pinned: Cell<usize>,
    /// They count in the budget. Not so while the directory takes no more: others need not wait for it.
    pub counted: Cell<bool>,
    /// Errands that wait for space, one bit each. Nothing is produced meanwhile.
    pub no_space_for: Cell<u8>,
    /// Something waits for descriptors, and was told of.
    pub lacks_descriptors: Cell<bool>,
    /// Bytes appended since the last look at the device's space, with those that were only in the journal then.
    pub unseen: Cell<u64>,
    /// When that was, by the clock of the turns.
    pub looked_ms: Cell<i64>,
    /// Files the journal has, or will have as soon as they are there.
    pub journal_files: Cell<usize>,
    pub journal_files_max: usize,
    /// Some of them are being made.
    pub journal_grows: Cell<bool>,
    pub cores: u32,
    /// Logs from the request to delete them until their directories are renamed away; nobody may create one of these names
    /// meanwhile.
    pub deleting: RefCell<Vec<Rc<Log>>>,
}

impl CoreDir {
    pub fn is_offline(&self) -> bool {
        self.failed.get() || self.data.offline().is_some()
    }

    pub fn has_authority(&self) -> bool {
        self.authority.load(Ordering::Acquire)
    }

    /// The directory of a partition of this name is still to be renamed away.
    pub fn is_deleting(&self, name: &PartitionName) -> bool {
        self.deleting.borrow().iter().any(|log| log.name == *name)
    }

    pub fn unit_bytes_max(&self) -> usize {
        self.journal.borrow().payload_max() - ENTRY_OVERHEAD
    }

    pub fn pin(&self, bytes: usize) {
        self.pinned.set(self.pinned.get() + bytes);
        if self.counted.get() {
            self.budget.pin(bytes);
        }
    }

    pub fn unpin(&self, bytes: usize) {
        let pinned = self.pinned.get().checked_sub(bytes);
        self.pinned
            .set(pinned.expect("no more is unpinned than was pinned"));
        if self.counted.get() {
            self.budget.unpin(bytes);
        }
    }

    fn count(&self, counted: bool) {
        if self.counted.replace(counted) == counted {
            return;
        }
        if counted {
            self.budget.pin(self.pinned.get());
        } else {
            self.budget.unpin(self.pinned.get());
        }
    }

    /// Whether a batch may be appended: everything appended before can still go to its segment, and the reserve stays.
    /// Looks at the device again, once in a millisecond at most, before it says no.
    pub fn has_room(&self) -> bool {
        if self.is_full() {
            return false;
        }
        let enough = || self.data.room() / u64::from(self.cores) > self.unseen.get();
        if enough() {
            return true;
        }
        let now = self.ring.wall_ms();
        if self.looked_ms.replace(now) != now {
            self.look_at_space();
        }
        enough()
    }

    /// A system call that does not wait for the device.
    pub fn look_at_space(&self) {
        match self.data.check_space() {
            Ok(_) => {
                // What the journal still has to take counts as taken.
                let journal = self.journal.borrow();
                let (_, _, bytes) = journal.parameters();
                let missing = self
                    .journal_files
                    .get()
                    .saturating_sub(journal.all().count());
                let pinned = self.pinned.get() as u64;
                self.unseen.set(pinned + missing as u64 * bytes);
            }
            Err(cause) => {
                let path = self.data.path().display();
                tracing::warn!("{path}: free space is unknown: {cause}");
            }
        }
    }

    /// Work in the background has to wait, for space or descriptors; said once. `false`: it is for neither, and the disk
    /// cannot be trusted.
    pub fn has_to_wait(&self, errand: Errand, cause: &io::Error) -> bool {
        if dir::takes_directory_offline(cause) {
            return false;
        }
        let path = self.data.path().display();
        if dir::is_full(cause) {
            let before = self.no_space_for.get();
            self.no_space_for.set(before | errand as u8);
            self.count(false);
            if before == 0 {
                tracing::warn!(
                    "{path} is full ({cause}): nothing can be produced there until it has space"
                );
            }
        } else if dir::lacks_descriptors(cause) {
            // Not every file is opened through the cache: what it keeps open may be all that is missing.
            self.files.close_idle();
            if !self.lacks_descriptors.replace(true) {
                tracing::warn!(
                    "{path}: {cause}; trying again until some are closed (raise the limit)"
                );
            }
        }
        true
    }

    /// What had to wait was done, or is not to be done any more.
    pub fn goes_on(&self, errand: Errand) {
        self.lacks_descriptors.set(false);
        let before = self.no_space_for.get();
        self.no_space_for.set(before & !(errand as u8));
        if before != 0 && !self.is_full() && !self.is_offline() {
            self.count(true);
            tracing::info!("{} has space again", self.data.path().display());
        }
    }

    /// Something could not be written for want of space, and was not yet.
    pub fn is_full(&self) -> bool {
        self.no_space_for.get() != 0
    }

    /// Takes the directory offline for all cores: nothing more is acknowledged.
    pub fn fail(&self, cause: &io::Error, doing: &str) {
        self.data.fail(cause, doing);
        self.files.close();
        if self.failed.replace(true) {
            return;
        }
        self.count(false);
        self.work.notify();
        self.settle_wanted.notify();
        self.maintenance_wanted.notify();
        self.budget.wake();
        let logs: Vec<Rc<Log>> = self.logs.borrow().values().cloned().collect();
        logs.iter().for_each(|log| log.tell_flushed());
        self.committed();
    }

    /// A group was flushed, or the directory failed: wakes all who wait for either.
    pub fn committed(&self) {
        let queued = !self.settle_queue.borrow().is_empty();
        if queued || self.journal_wants_settling() || self.budget.wants_settling() {
            self.settle_wanted.notify();
        }
        self.committed.notify();
        self.work.notify();
        let callbacks = self.callbacks.borrow().clone();
        for callback in callbacks {
            callback();
        }
    }

    pub fn is_durable(&self, ticket: Ticket) -> Result<bool, Offline> {
        // What was flushed stays true, also after a failure.
        if self.commit.borrow().is_done(ticket) {
            return Ok(true);
        }
        // Nothing more is sent once a stop has found everything flushed.
        if self.is_offline() || self.stopped.get() {
            Err(Offline)
        } else {
            Ok(false)
        }
    }

    /// Half of the journal is full, and no more of it is on the way.
    pub fn journal_wants_settling(&self) -> bool {
        let journal = self.journal.borrow();
        let grows = self.journal_grows.get() && journal.free_files() > 0;
        journal.full_files() * 2 >= journal.files() && !grows
    }

    pub async fn wait(&self, ticket: Ticket) -> Result<(), Offline> {
        loop {
            let seen = self.committed.count();
            if self.is_durable(ticket)? {
                return Ok(());
            }
            self.committed.changed_since(seen).await;
        }
    }

    /// The same for a control item.
    pub async fn wait_control(&self, ticket: ControlTicket) -> Result<(), Offline> {
        loop {
            let seen = self.committed.count();
            // What was flushed stays true, also after a failure.
            if ticket.0 <= self.commit.borrow().controls_durable() {
                return Ok(());
            }
            if self.is_offline() || self.stopped.get() {
                return Err(Offline);
            }
            self.committed.changed_since(seen).await;
        }
    }

    /// Of that file, too, little is left: deletions of whole logs free more than what moves their starts, or creates some.
    pub fn is_for_drops(&self) -> bool {
        self.is_for_deletions() && self.journal.borrow().nears_its_end()
    }

    /// The device has no space, and the journal no more than its last file: that is for deletions, which free the others.
    pub fn is_for_deletions(&self) -> bool {
        self.is_full() && self.journal.borrow().free_files() == 0
    }

    /// The store is gone: its tasks end, and the logs, which refer back here, are let go.
    pub fn abandon(&self) {
        self.stopped.set(true);
        self.failed.set(true);
        self.work.notify();
        self.settle_wanted.notify();
        self.maintenance_wanted.notify();
        self.committed.notify();
        self.logs.borrow_mut().clear();
        self.deleting.borrow_mut().clear();
        self.settle_queue.borrow_mut().clear();
        self.maintenance.borrow_mut().clear();
        self.journal.borrow().all().for_each(|file| file.abandon());
        self.budget.wake();
        self.commit.borrow_mut().abandon();
    }

    /// Puts the log's rolled segments, or what its oldest block of memory waits for, before the journal's turn.
    pub fn settle_soon(&self, log: &Log) {
        let Some(log) = log.me.upgrade() else { return };
        // Once the store is gone, nobody would let go of it any more.
        if self.stopped.get() {
            return;
        }
        let mut queue = self.settle_queue.borrow_mut();
        if !queue.iter().any(|queued| Rc::ptr_eq(queued, &log)) {
            queue.push(log);
        }
        drop(queue);
        self.settle_wanted.notify();
    }

    /// Queues background work on the log's files.
    pub fn wants_maintenance(&self, log: &Log) {
        let Some(log) = log.me.upgrade() else { return };
        // Once the store is gone, nobody would let go of it any more.
        if self.stopped.get() || log.maintenance_queued.replace(true) {
            return;
        }
        self.maintenance.borrow_mut().push_back(log);
        self.maintenance_wanted.notify();
    }

    /// Runs `task` until it ends, counted, so that a stop can wait for it.
    pub fn spawn(self: &Rc<Self>, background: bool, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let dir = self.clone();
        let counted = async move {
            task.await;
            dir.tasks.set(dir.tasks.get() - 1);
            dir.committed.notify();
        };
        if background {
            self.ring.spawn_background(counted)
        } else {
            self.ring.spawn(counted)
        }
    }
}
