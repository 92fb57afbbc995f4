//! One core's part of one data directory: its journal, table and logs there.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_ring::Ring;

use super::budget::Budget;
use super::event::Event;
use crate::LogId;
use crate::commit::{Commit, Ticket};
use crate::dir::{DataDir, PartitionName};
use crate::error::Offline;
use crate::files::Files;
use crate::journal::writer::Journal;
use crate::log::Log;
use crate::table::TableWriter;

/// Callbacks of the store's user after each group of commits.
pub(crate) type CommitCallbacks = Rc<RefCell<Vec<Rc<dyn Fn()>>>>;

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
    pub settle_queue: RefCell<Vec<Rc<Log>>>,
    pub maintenance: RefCell<VecDeque<Rc<Log>>>,
    pub maintenance_wanted: Event,
    pub stopped: Cell<bool>,
    /// Background tasks that still run.
    pub tasks: Cell<usize>,
    /// This core has taken notice that the directory is offline.
    pub failed: Cell<bool>,
    pub journal_files: usize,
    pub cores: u32,
    /// Partitions whose directories are being renamed away; nobody may create one of these names meanwhile.
    pub deleting: RefCell<Vec<PartitionName>>,
}

impl CoreDir {
    pub fn is_offline(&self) -> bool {
        self.failed.get() || self.data.offline().is_some()
    }

    pub fn has_authority(&self) -> bool {
        self.authority.load(Ordering::Acquire)
    }

    pub fn unit_bytes_max(&self) -> usize {
        self.journal.borrow().payload_max() - (64 << 10)
    }

    /// Takes the directory offline for all cores: nothing more is acknowledged.
    pub fn fail(&self, cause: &io::Error, doing: &str) {
        self.data.fail(cause, doing);
        if self.failed.replace(true) {
            return;
        }
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
        if self.journal.borrow().full_files() * 2 >= self.journal_files
            || self.budget.wants_settling()
        {
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
        if ticket.unit <= self.commit.borrow().durable() {
            return Ok(true);
        }
        if self.is_offline() {
            Err(Offline)
        } else {
            Ok(false)
        }
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

    /// The store is gone: its tasks end, and the logs, which refer back here, are let go.
    pub fn abandon(&self) {
        self.stopped.set(true);
        self.failed.set(true);
        self.work.notify();
        self.settle_wanted.notify();
        self.maintenance_wanted.notify();
        self.committed.notify();
        self.logs.borrow_mut().clear();
        self.settle_queue.borrow_mut().clear();
        self.maintenance.borrow_mut().clear();
        self.journal.borrow().all().for_each(|file| file.abandon());
        self.budget.wake();
        self.commit.borrow_mut().abandon();
    }

    /// Queues background work on the log's files.
    pub fn wants_maintenance(&self, log: &Log) {
        let Some(log) = log.me.upgrade() else { return };
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
