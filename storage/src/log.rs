//! One partition: its segments, the newest bytes in memory, and how far they are on the device.
//!
//! Four marks move to the right in this order: `cut` (given to a journal entry) ≤ end, flushed ≤ cut,
//! and what is no longer *dirty* (in its segment, or not yet flushed at all). All are addresses in the line
//! that [`crate::tail`] describes; offsets are derived for the outside.

pub(crate) mod adopt;
pub(crate) mod ahead;
mod append;
mod damage;
pub(crate) mod read;
mod retain;
mod times;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use millstream_ring::Bytes;

use crate::LogId;
use crate::commit::ControlTicket;
use crate::dir::PartitionName;
use crate::epochs::Epochs;
use crate::error::Offline;
use crate::journal::entry::LogKey;
use crate::knobs::{BLOCK, LogConfig};
use crate::segment::SegmentInfo;
use crate::segment::index::{ActiveIndex, BatchSpan};
use crate::segment::survey::Damage;
use crate::snapshot::ProducerEntry;
use crate::store::core_dir::CoreDir;
use crate::tail::Tail;

pub use append::Appended;
pub use read::ReadResult;
pub use times::{ProducerRecovery, TimestampOffset};

type FlushedCallback = dyn Fn(i64);
type SnapshotSource = dyn Fn() -> Vec<ProducerEntry>;

/// One log on its core. Handles are `Rc`s; the log itself lives until its deletion.
pub struct Log {
    pub(crate) me: Weak<Log>,
    pub(crate) key: LogKey,
    pub(crate) name: PartitionName,
    pub(crate) dir: Rc<CoreDir>,
    pub(crate) log_start_offset: Cell<i64>,
    /// What makes the present log start durable; None once it is.
    pub(crate) start_moving: Cell<Option<ControlTicket>>,
    pub(crate) log_end_offset: Cell<i64>,
    pub(crate) flushed_end_offset: Cell<i64>,
    pub(crate) deleted: Cell<bool>,
    /// Waits in the maintenance queue.
    pub(crate) maintenance_queued: Cell<bool>,
    /// Read since the eviction clock passed: it gets a second round.
    pub(crate) read_lately: Cell<bool>,
    pub(crate) state: RefCell<LogState>,
    /// No segment has an aborted-transaction index, and none will get one: transactions are not served.
    pub(crate) none_aborted: Cell<bool>,
    on_flushed: RefCell<Option<Rc<FlushedCallback>>>,
    pub(crate) snapshot_source: RefCell<Option<Rc<SnapshotSource>>>,
}

/// What changes with every append.
pub(crate) struct LogState {
    pub config: LogConfig,
    /// Never empty; the last is the active one.
    pub segments: VecDeque<Segment>,
    pub tail: Tail,
    /// Batches in the tail at about every 4 KiB: `(address, base offset)`.
    pub marks: VecDeque<(u64, i64)>,
    pub epochs: Epochs,
    /// Bytes below were given to a journal entry.
    pub cut: u64,
    /// Bytes below are on the device.
    pub flushed: u64,
    /// Entries on their way that hold bytes of this log.
    pub in_flight: u32,
    /// Bytes that only the journal holds, oldest first, each beginning at a block.
    pub dirty: VecDeque<Range<u64>>,
    /// Dirty ranges that are being written to their segments now.
    pub settling: Vec<Range<u64>>,
    /// The last, partial block lies in the segment, padded: it may not be rewritten before an entry with
    /// its bytes is flushed.
    pub sealed: bool,
    /// The sealed block whose bytes went into this unit: free to be rewritten once that is flushed.
    pub guard: Option<(u64, u64)>,
    /// The sealed block's bytes as read back, for a log that was continued without them in memory.
    pub prefix: Option<Bytes>,
    /// Unit and index of this log's place in it.
    pub touch: (u64, usize),
    /// `(journal file, address)`: up to where this log's bytes stand in that file.
    pub journalled: VecDeque<(u64, u64)>,
    /// The partition's directory exists durably.
    pub materialized: bool,
    /// Segments with a lower base are in the table as they are now.
    pub rows_from: i64,
    /// Batches since the last producer snapshot.
    pub batches_since_snapshot: u64,
    /// A background change of the files runs (creation, growth, closing).
    pub maintained: bool,
    /// A settling pass works on its segments.
    pub settle_busy: bool,
    /// Its directory is being created.
    pub creating: bool,
    /// Changed since the last clean stop: its files are to be closed at the next.
    pub unclean: bool,
}

/// One data file.
pub(crate) struct Segment {
    pub info: SegmentInfo,
    /// Address of its first byte, a multiple of the block.
    pub start: u64,
    /// Bytes the file system has set aside.
    pub allocated: u64,
    /// The file exists, durably.
    pub ready: bool,
    /// Rolled, settled, cut to its length: never written again.
    pub closed: bool,
    pub index: Index,
    /// What was found when something in it had looked wrong, and all of it was read.
    pub surveyed: Option<Rc<[Damage]>>,
}

/// The index of a segment that is still written.
pub(crate) enum Index {
    /// Complete on disk; nothing in memory.
    OnDisk,
    /// After a start: the files were not read yet; batches since then wait here.
    Unread(Vec<BatchSpan>),
    /// In memory, continuing the files.
    Active(Box<ActiveIndex>),
}

impl Segment {
    pub fn new(base_offset: i64, start: u64, interval: u32) -> Segment {
        let info = SegmentInfo::empty(base_offset);
        let index = Index::Active(Box::new(ActiveIndex::new(base_offset, interval)));
        Segment {
            info,
            start,
            allocated: 0,
            ready: false,
            closed: false,
            index,
            surveyed: None,
        }
    }

    pub fn end(&self) -> u64 {
        self.start + self.info.bytes
    }
}

impl LogState {
    pub fn active(&self) -> &Segment {
        self.segments.back().expect("a log has an active segment")
    }

    pub fn active_mut(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("a log has an active segment")
    }

    /// The segment that holds `address`.
    pub fn segment_at(&self, address: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|s| s.start <= address);
        self.segments.get(after.checked_sub(1)?)
    }

    pub fn segment(&self, base_offset: i64) -> Option<&Segment> {
        self.segments.get(self.index_of(base_offset)?)
    }

    pub fn segment_mut(&mut self, base_offset: i64) -> Option<&mut Segment> {
        let at = self.index_of(base_offset)?;
        self.segments.get_mut(at)
    }

    fn index_of(&self, base_offset: i64) -> Option<usize> {
        let bases = |s: &Segment| s.info.base_offset;
        self.segments.binary_search_by_key(&base_offset, bases).ok()
    }

    /// An address at the end of a rolled segment stands for the start of the next: between them is padding only, which
    /// nobody has to write or flush.
    pub fn past_padding(&self, address: u64) -> u64 {
        let next = self.segments.partition_point(|s| s.start <= address);
        let holder = next.checked_sub(1).map(|at| &self.segments[at]);
        match (holder, self.segments.get(next)) {
            (Some(holder), Some(next)) if address >= holder.end() => next.start,
            _ => address,
        }
    }

    /// Adds journal-only bytes; returns how many are new.
    pub fn add_dirty(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start <= range.end);
        match self.dirty.back_mut() {
            Some(last) if last.start <= range.start && range.start <= last.end => {
                let added = range.end.saturating_sub(last.end);
                last.end = last.end.max(range.end);
                added
            }
            _ => {
                assert!(
                    range.start.is_multiple_of(BLOCK),
                    "dirty bytes begin at a block"
                );
                assert!(
                    self.dirty.back().is_none_or(|last| last.end <= range.start),
                    "in order"
                );
                self.dirty.push_back(range.clone());
                range.end - range.start
            }
        }
    }

    /// Forgets dirty bytes within `range`, which now stand in the segment. Returns how many.
    pub fn remove_dirty(&mut self, range: &Range<u64>) -> u64 {
        let mut removed = 0;
        let mut kept = VecDeque::with_capacity(self.dirty.len());
        for d in self.dirty.drain(..) {
            let overlap = d.start.max(range.start)..d.end.min(range.end);
            if overlap.start >= overlap.end {
                kept.push_back(d);
                continue;
            }
            removed += overlap.end - overlap.start;
            if d.start < overlap.start {
                kept.push_back(d.start..overlap.start);
            }
            if overlap.end < d.end {
                kept.push_back(overlap.end..d.end);
            }
        }
        self.dirty = kept;
        removed
    }

    /// Bytes below are in their segments; what lies above is needed in memory.
    pub fn settled(&self) -> u64 {
        let dirty = self.dirty.front().map_or(self.flushed, |r| r.start);
        self.settling
            .iter()
            .map(|r| r.start)
            .fold(dirty.min(self.flushed), u64::min)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let memory = self.state.get_mut().tail.memory();
        self.dir.budget.tail_shrank(memory.bytes);
    }
}

impl Log {
    pub(crate) fn new(
        key: LogKey,
        name: PartitionName,
        dir: Rc<CoreDir>,
        start: i64,
        end: i64,
        state: LogState,
    ) -> Rc<Log> {
        assert!(start <= end, "log start {start} is behind the end {end}");
        assert!(!state.segments.is_empty());
        Rc::new_cyclic(|me| Log {
            me: me.clone(),
            key,
            name,
            dir,
            log_start_offset: Cell::new(start),
            start_moving: Cell::new(None),
            log_end_offset: Cell::new(end),
            flushed_end_offset: Cell::new(end),
            deleted: Cell::new(false),
            maintenance_queued: Cell::new(false),
            read_lately: Cell::new(false),
            state: RefCell::new(state),
            none_aborted: Cell::new(false),
            on_flushed: RefCell::new(None),
            snapshot_source: RefCell::new(None),
        })
    }

    /// Topic id and partition.
    pub fn id(&self) -> LogId {
        self.key.id
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.name.topic
    }

    /// Index of the data directory.
    pub fn dir(&self) -> usize {
        self.dir.index
    }

    /// The configuration in force.
    pub fn config(&self) -> LogConfig {
        self.state.borrow().config
    }

    /// Takes effect with the next append, retention check or deletion.
    pub fn set_config(&self, config: LogConfig) {
        self.state.borrow_mut().config = config;
    }

    /// First offset that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset.get()
    }

    /// Offset of the next record.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset.get()
    }

    /// Everything below is on the device and may be shown and acknowledged.
    pub fn flushed_end_offset(&self) -> i64 {
        self.flushed_end_offset.get()
    }

    /// Bytes of batches in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.state
            .borrow()
            .segments
            .iter()
            .map(|s| s.info.bytes)
            .sum()
    }

    /// Kafka's OffsetForLeaderEpoch: the largest epoch ≤ `epoch` and where it ends; (-1, -1) if unknown.
    pub fn offset_for_epoch(&self, epoch: i32) -> (i32, i64) {
        self.state
            .borrow()
            .epochs
            .end_offset_for(epoch, self.flushed_end_offset.get())
    }

    /// Leader epoch of the record at `offset`, -1 if unknown.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        self.state.borrow().epochs.epoch_at(offset).unwrap_or(-1)
    }

    /// Newest leader epoch, -1 in an empty log that never had one.
    pub fn latest_epoch(&self) -> i32 {
        self.state.borrow().epochs.latest().map_or(-1, |e| e.epoch)
    }

    /// Called each time the flushed end moved, and once when the log went offline. Must be cheap and must not append.
    pub fn set_on_flushed(&self, f: Box<dyn Fn(i64)>) {
        *self.on_flushed.borrow_mut() = Some(Rc::from(f));
    }

    /// Storage asks here for the producer state when it writes a snapshot: at a roll, after many batches, at stop.
    /// The answer must describe exactly the batches below the log end offset.
    pub fn set_snapshot_source(&self, f: Box<dyn Fn() -> Vec<ProducerEntry>>) {
        *self.snapshot_source.borrow_mut() = Some(Rc::from(f));
    }

    /// Somebody waits for what is appended: it is flushed, and may be shown, without waiting for the number of records or
    /// the time that the log's class allows.
    pub fn flush_soon(&self) {
        if self.flushed_end_offset.get() < self.log_end_offset.get() {
            self.dir.flush_soon();
        }
    }

    /// Returns when everything that is appended now is flushed.
    pub async fn flushed(&self) -> Result<(), Offline> {
        let end = self.log_end_offset.get();
        self.flush_soon();
        loop {
            let seen = self.dir.committed.count();
            if self.flushed_end_offset.get() >= end {
                return Ok(());
            }
            if self.dir.is_offline() || self.dir.stopped.get() || self.deleted.get() {
                return Err(Offline);
            }
            self.dir.committed.changed_since(seen).await;
        }
    }

    pub(crate) fn tell_flushed(&self) {
        // Cloned out: the callback may set another one.
        let callback = self.on_flushed.borrow().clone();
        if let Some(callback) = callback {
            callback(self.flushed_end_offset.get());
        }
    }

    /// Bytes up to `address`, records up to `end_offset` are on the device.
    pub(crate) fn flushed_to(&self, address: u64, end_offset: i64) {
        {
            let mut state = self.state.borrow_mut();
            assert!(address >= state.flushed, "the flushed end never moves back");
            assert!(address <= state.cut, "flushed before it was written");
            state.flushed = state.past_padding(address);
        }
        assert!(end_offset >= self.flushed_end_offset.get());
        assert!(end_offset <= self.log_end_offset.get());
        self.flushed_end_offset.set(end_offset);
    }

    /// Where the partition's files are.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.data.partition_path(&self.name)
    }

    pub(crate) fn segment_path(&self, base_offset: i64) -> PathBuf {
        self.path().join(crate::dir::file_name(
            base_offset,
            crate::dir::FileKind::Log,
        ))
    }
}
