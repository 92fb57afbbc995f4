//! One core's store: the only door to its logs.

pub(crate) mod budget;
mod carry;
pub(crate) mod core_dir;
pub(crate) mod counts;
pub(crate) mod event;
mod maintain;
mod start;
mod stop;
mod sweep;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::Ring;

use self::budget::Budget;
pub use self::budget::Held;
use self::core_dir::{CommitCallbacks, CoreDir};
pub use self::counts::DirCounts;
use self::stop::Patience;
use crate::LogId;
use crate::commit::Ticket;
use crate::dir::PartitionName;
use crate::epochs::Epochs;
use crate::error::{Offline, OpenError, StoreError};
use crate::journal::entry::{LogKey, encode_create, encode_drop};
use crate::knobs::LogConfig;
use crate::log::ahead::ReadAhead;
use crate::log::{Log, LogState, Segment};
use crate::recovery::{Stopped, StoreSeed};
use crate::tail::Tail;

/// One in so many bytes of the tails' memory is for what is read ahead.
const AHEAD_PART: usize = 16;
/// How often free space is looked at.
const SPACE_CHECK: Duration = Duration::from_secs(1);

/// One core's logs in all data directories. Clones are handles to the same store.
#[derive(Clone)]
pub struct Store(Rc<Inner>);

struct Inner {
    ring: Ring,
    dirs: Vec<Rc<CoreDir>>,
    budget: Rc<Budget>,
    callbacks: CommitCallbacks,
    instances: Cell<u64>,
    generation: u64,
}

/// State of one data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirStatus {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is offline, if it is.
    pub offline: Option<String>,
    /// Bytes of the file system.
    pub total: u64,
    /// Bytes that may still be used.
    pub usable: u64,
    /// Logs of this core in it.
    pub logs: usize,
    /// What this core has done there.
    pub counts: DirCounts,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.dirs.iter().for_each(|dir| dir.abandon());
    }
}

impl Store {
    /// Takes over the logs of `seed`. Returns when the first entry of the new journals is on the device; nothing
    /// may be appended before [`crate::Finish::run`] gave the new generation authority (what is, waits for it).
    pub async fn start(ring: &Ring, seed: StoreSeed) -> Result<Store, OpenError> {
        let file_bytes = start::journal_file_bytes(&seed.options, seed.cores) as usize;
        let journal_bytes = file_bytes * start::journal_files_max(&seed.options, seed.cores);
        let pinned_max = (journal_bytes / 4 * 3).min(seed.options.tail_bytes / 2);
        let ahead_bytes = seed.options.tail_bytes / AHEAD_PART;
        let budget = Rc::new(Budget::new(
            pinned_max,
            seed.options.tail_bytes - ahead_bytes,
        ));
        let callbacks: CommitCallbacks = Rc::default();
        let instances = Cell::new((seed.generation << 32) + 1);
        let mut dirs = Vec::new();
        let common = start::Common {
            ring,
            options: &seed.options,
            core: seed.core,
            cores: seed.cores,
            generation: seed.generation,
            authority: seed.authority.clone(),
            budget: budget.clone(),
            read_ahead: Rc::new(ReadAhead::new(ahead_bytes)),
            callbacks: callbacks.clone(),
            instances: &instances,
        };
        for (index, dir) in seed.dirs.into_iter().enumerate() {
            dirs.push(start::start_dir(&common, index, dir).await?);
        }
        let store = Store(Rc::new(Inner {
            ring: ring.clone(),
            dirs,
            budget,
            callbacks,
            instances,
            generation: seed.generation,
        }));
        store.watch_space();
        Ok(store)
    }

    /// Creates an empty log, durably. It gets its directory and its first file when bytes first leave the journal: thousands
    /// of logs that are seldom written cost the file system nothing.
    pub async fn create_log(
        &self,
        topic: &str,
        id: LogId,
        dir: usize,
        leader_epoch: i32,
        config: LogConfig,
    ) -> Result<Rc<Log>, StoreError> {
        let core_dir = self
            .0
            .dirs
            .get(dir)
            .ok_or(StoreError::NoSuchDir(dir))?
            .clone();
        if self.log(&id).is_some() {
            return Err(StoreError::Exists);
        }
        if core_dir.is_offline() {
            return Err(Offline.into());
        }
        if core_dir.is_for_drops() {
            return Err(StoreError::NoSpace);
        }
        let instance = self.0.instances.get();
        self.0.instances.set(instance + 1);
        let key = LogKey { id, instance };
        let name = PartitionName {
            topic: topic.to_owned(),
            partition: id.partition,
        };
        let mut epochs = Epochs::default();
        if leader_epoch >= 0 {
            epochs.assign(leader_epoch, 0);
        }
        let log = Log::new(
            key,
            name,
            core_dir.clone(),
            0,
            0,
            empty_state(config, epochs),
        );
        core_dir.logs.borrow_mut().insert(id, log.clone());
        let mut item = Vec::new();
        encode_create(&key, topic, 0, &mut item);
        let ticket = core_dir.control(&item, Some(log.clone()), None);
        core_dir.wait_control(ticket).await?;
        Ok(log)
    }

    /// The log with this id.
    pub fn log(&self, id: &LogId) -> Option<Rc<Log>> {
        self.0
            .dirs
            .iter()
            .find_map(|dir| dir.logs.borrow().get(id).cloned())
    }

    /// All logs, in no order.
    pub fn logs(&self) -> impl Iterator<Item = Rc<Log>> {
        let all: Vec<Rc<Log>> = self
            .0
            .dirs
            .iter()
            .flat_map(|dir| dir.logs.borrow().values().cloned().collect::<Vec<_>>())
            .collect();
        all.into_iter()
    }

    /// Deletes a log. Durable when it returns, and the name of its directory is free for any core; its files go in the
    /// background after `file.delete.delay.ms`.
    pub async fn delete_log(&self, id: &LogId) -> Result<(), StoreError> {
        let log = self.log(id).ok_or(StoreError::Unknown)?;
        let dir = log.dir.clone();
        dir.logs.borrow_mut().remove(id);
        dir.deleting.borrow_mut().push(log.clone());
        log.abandon();
        let mut item = Vec::new();
        encode_drop(&log.key, &mut item);
        let ticket = dir.control(&item, None, Some(log.key));
        let dropped = dir.wait_control(ticket).await;
        let (cleanup, name) = (dir.clone(), log.name.clone());
        dir.spawn(false, async move { cleanup.remove_files(&log).await });
        dropped?;
        // The name belongs to whoever creates it next, maybe on another core: it has to be free.
        loop {
            let seen = dir.committed.count();
            if !dir.is_deleting(&name) || dir.stopped.get() || dir.is_offline() {
                return Ok(());
            }
            dir.committed.changed_since(seen).await;
        }
    }

    /// Everything up to this ticket of data directory `dir` is on the device.
    pub fn durable(&self, dir: usize) -> Ticket {
        Ticket {
            dir: dir as u32,
            unit: self.0.dirs[dir].commit.borrow().durable(),
            when_written: false,
        }
    }

    /// Whether what got this ticket is on the device, or written for a log of the weaker class; [`Offline`] when it never
    /// will be.
    pub fn is_durable(&self, ticket: Ticket) -> Result<bool, Offline> {
        self.0.dirs[ticket.dir as usize].is_durable(ticket)
    }

    /// Waits until it is.
    pub async fn wait(&self, ticket: Ticket) -> Result<(), Offline> {
        self.0.dirs[ticket.dir as usize].wait(ticket).await
    }

    /// Called after each flushed group, when all flushed ends have moved, and when a directory goes offline.
    pub fn on_commit(&self, f: Box<dyn Fn()>) {
        self.0.callbacks.borrow_mut().push(Rc::from(f));
    }

    /// State of the data directories.
    pub fn dirs(&self) -> Vec<DirStatus> {
        let status = |dir: &Rc<CoreDir>| {
            let (total, usable) = dir.data.space();
            DirStatus {
                path: dir.data.path().to_owned(),
                offline: dir.data.offline().map(str::to_owned),
                total,
                usable,
                logs: dir.logs.borrow().len(),
                counts: dir.counts.get(),
            }
        };
        self.0.dirs.iter().map(status).collect()
    }

    /// Back-pressure: returns when `bytes` more may be appended, in the order of the calls; almost always at once.
    pub async fn admit(&self, bytes: usize) {
        let inner = &self.0;
        // A directory that failed or is full does not count; its appends are refused.
        let stopped = || inner.dirs.iter().any(|dir| dir.stopped.get());
        if !inner.budget.try_admit(bytes) {
            inner.dirs.iter().for_each(|dir| dir.settle_wanted.notify());
        }
        inner.budget.admit(bytes, stopped).await;
    }

    /// The same without waiting. False while somebody waits.
    pub fn try_admit(&self, bytes: usize) -> bool {
        self.0.budget.try_admit(bytes)
    }

    /// What the logs hold in memory.
    pub fn held(&self) -> Held {
        self.0.budget.held()
    }

    /// Settles everything, cuts files to their length and ends. The caller appends nothing any more. The last
    /// step, [`Stopped::finish`], is done once, with the answers of all stores.
    pub async fn stop(&self) -> Result<Stopped, StoreError> {
        for dir in &self.0.dirs {
            if let Err(cause) = self.stop_dir(dir).await {
                dir.fail(&cause, "stop");
                dir.stop_tasks().await;
            }
        }
        Ok(Stopped {
            generation: self.0.generation,
            dirs: self.0.dirs.iter().map(|d| d.data.clone()).collect(),
            offsets: self.0.dirs.iter().map(|d| d.offsets()).collect(),
        })
    }

    async fn stop_dir(&self, dir: &Rc<CoreDir>) -> std::io::Result<()> {
        dir.flush_soon();
        loop {
            let seen = dir.work.count();
            if dir.is_offline() || (dir.commit.borrow().is_idle() && dir.has_authority()) {
                break;
            }
            if dir.is_full() && dir.commit.borrow().is_stuck() {
                // Nothing of what is stuck was acknowledged. The rest is in the journal, for the next start.
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            dir.work.changed_since(seen).await;
        }
        dir.stop_tasks().await;
        if dir.is_offline() {
            return Ok(());
        }
        let patience = Patience::new(&self.0.ring);
        patience.with(async || dir.settle_all().await).await?;
        dir.close_files(&patience).await?;
        patience.with(async || dir.write_final_rows().await).await?;
        patience.with(async || dir.remove_journal().await).await
    }

    fn watch_space(&self) {
        for dir in &self.0.dirs {
            let watched = dir.clone();
            self.0.ring.spawn_background(async move {
                while !watched.stopped.get() && !watched.is_offline() {
                    watched.look_at_space();
                    watched.ring.sleep(SPACE_CHECK).await;
                }
            });
        }
    }
}

fn empty_state(config: LogConfig, epochs: Epochs) -> LogState {
    LogState {
        config,
        segments: [Segment::new(0, 0, config.index_interval_bytes)].into(),
        tail: Tail::new(0),
        marks: Default::default(),
        epochs,
        cut: 0,
        flushed: 0,
        in_flight: 0,
        dirty: Default::default(),
        settling: Vec::new(),
        sealed: false,
        guard: None,
        prefix: None,
        touch: (0, 0),
        journalled: Default::default(),
        materialized: false,
        rows_from: i64::MIN,
        batches_since_snapshot: 0,
        maintained: false,
        settle_busy: false,
        creating: false,
        unclean: true,
    }
}
