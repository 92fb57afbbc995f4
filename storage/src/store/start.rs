//! A core takes over its logs: the former journals' bytes go into a new journal, what the table says into a
//! new table. Nothing the former generation relies on is changed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{Buffer, File, Ring, Turns, fs};

use super::budget::Budget;
use super::carry::carry;
use super::core_dir::{CommitCallbacks, CoreDir, Errand};
use super::counts::Counting;
use super::event::{Event, Local, join_all};
use crate::commit::Commit;
use crate::dir::{self, PartitionName};
use crate::error::OpenError;
use crate::files::{Access, Files};
use crate::journal::entry::{Chain, LogKey};
use crate::journal::writer::{Journal, prepare_rest};
use crate::knobs::{BLOCK, ENTRY_OVERHEAD, LogConfig, StorageOptions};
use crate::log::ahead::ReadAhead;
use crate::log::read::READS_AT_ONCE;
use crate::log::{Index, Log, LogState, Segment};
use crate::recovery::{Recovered, Run, SeedDir, directory_tag};
use crate::segment::SegmentInfo;
use crate::table::{CLOSED, READY, Row, TableName, TableWriter};
use crate::tail::{Tail, Taken};

/// Wait before the journal's files are tried again where there is no space for them.
const RETRY: Duration = Duration::from_millis(500);
/// No journal grows beyond this: a start after a crash reads all of it, keeps what is not settled and carries it over, and
/// nobody is served before.
const GROWN_BYTES_MAX: u64 = 384 << 20;
/// Logs whose leftovers are settled at the same time.
const LOGS_AT_ONCE: usize = 32;

/// Ranges of a run that do not reach up to the log's end.
type Island = (Vec<Range<u64>>, Run);

/// What all directories of a store have in common.
pub(crate) struct Common<'a> {
    pub ring: &'a Ring,
    pub options: &'a StorageOptions,
    pub core: u32,
    pub cores: u32,
    pub generation: u64,
    pub authority: std::sync::Arc<std::sync::atomic::AtomicBool>,
    pub budget: Rc<Budget>,
    pub read_ahead: Rc<ReadAhead>,
    pub callbacks: CommitCallbacks,
    pub instances: &'a Cell<u64>,
}

/// Bytes of one journal file: within what a device may carry, as far as two of the largest batches let it.
pub(crate) fn journal_file_bytes(options: &StorageOptions, cores: u32) -> u64 {
    const MIB: u64 = 1 << 20;
    let share = options.journal_bytes_max / u64::from(cores) / options.journal_files as u64;
    let batches = 2 * (options.batch_bytes as u64 + ENTRY_OVERHEAD as u64);
    let file = options.journal_file_bytes.min(share).max(4 * MIB) / MIB * MIB;
    file.max(batches.next_multiple_of(MIB))
}

/// Files that a journal may grow to: no more than what memory may hold of it would fill, or a start should have to read.
pub(crate) fn journal_files_max(options: &StorageOptions, cores: u32) -> usize {
    let share = options.journal_bytes_max / u64::from(cores);
    let share = share.min(options.tail_bytes as u64 / 3 * 2);
    let share = share.min(GROWN_BYTES_MAX);
    let files = share / journal_file_bytes(options, cores);
    usize::try_from(files).map_or(options.journal_files, |n| n.max(options.journal_files))
}

pub(crate) async fn start_dir(
    common: &Common<'_>,
    index: usize,
    seed: SeedDir,
) -> Result<Rc<CoreDir>, OpenError> {
    let path = seed.data.path().to_owned();
    let failed = |doing, cause| OpenError::io(doing, &path, cause);
    seed.data
        .register(common.ring)
        .map_err(|e| failed("register the lock of", e))?;
    let chain = Chain {
        generation: common.generation,
        core: common.core,
        directory: directory_tag(&seed.data.directory_id()),
    };
    let file_bytes = journal_file_bytes(common.options, common.cores);
    let mut journal = Journal::new(path.clone(), chain, file_bytes);
    let first = Journal::create(common.ring, &path, chain, 0, file_bytes, seed.direct).await;
    journal.add(first.map_err(|e| failed("create the journal in", e))?);
    let table = TableName {
        generation: common.generation,
        core: common.core,
    }
    .path(&path);
    let table = TableWriter::create(common.ring, table)
        .await
        .map_err(|e| failed("create the log table in", e))?;
    let files = Files::new(common.ring, common.options.descriptors_max);
    if !seed.direct {
        files.without_direct();
    }
    let dir = Rc::new(CoreDir {
        index,
        ring: common.ring.clone(),
        data: seed.data,
        files,
        logs: RefCell::default(),
        journal: RefCell::new(journal),
        commit: RefCell::new(Commit::new()),
        table,
        budget: common.budget.clone(),
        read_ahead: common.read_ahead.clone(),
        reads: Turns::of(READS_AT_ONCE),
        direct: Cell::new(seed.direct),
        authority: common.authority.clone(),
        callbacks: common.callbacks.clone(),
        work: Event::default(),
        committed: Event::default(),
        settle_wanted: Event::default(),
        settle_writes: Cell::new(0),
        settle_wrote: Event::default(),
        settle_queue: RefCell::default(),
        maintenance: RefCell::new(VecDeque::new()),
        maintenance_wanted: Event::default(),
        counts: Counting::default(),
        stopped: Cell::new(false),
        tasks: Cell::new(0),
        failed: Cell::new(false),
        pinned: Cell::new(0),
        counted: Cell::new(true),
        no_space_for: Cell::new(0),
        lacks_descriptors: Cell::new(false),
        unseen: Cell::new(0),
        looked_ms: Cell::new(0),
        journal_files: Cell::new(common.options.journal_files),
        journal_files_max: journal_files_max(common.options, common.cores),
        journal_grows: Cell::new(false),
        cores: common.cores,
        deleting: RefCell::default(),
    });
    take_over(&dir, common, seed.logs).await?;
    dir.start_tasks();
    Ok(dir)
}

async fn take_over(
    dir: &Rc<CoreDir>,
    common: &Common<'_>,
    recovered: Vec<Recovered>,
) -> Result<(), OpenError> {
    let path = dir.data.path().to_owned();
    let failed = |doing, cause| OpenError::io(doing, &path, cause);
    let mut islands = Vec::new();
    for log in recovered {
        if log.without_topic_id {
            write_topic_id(dir, &log)
                .await
                .map_err(|e| failed("write partition.metadata in", e))?;
        }
        let instance = common.instances.get();
        common.instances.set(instance + 1);
        let (log, rest) = restore(dir, log, instance).map_err(|what| OpenError::Damaged {
            path: path.clone(),
            what,
        })?;
        dir.logs.borrow_mut().insert(log.key.id, log.clone());
        if !rest.is_empty() {
            islands.push((log, rest));
        }
    }
    for some in islands.chunks(LOGS_AT_ONCE) {
        let writing = some
            .iter()
            .map(|(log, runs)| Box::pin(write_islands(dir, log, runs)) as Local<'_, _>);
        for done in join_all::<io::Result<()>>(writing.collect()).await {
            done.map_err(|e| failed("settle a log in", e))?;
        }
    }
    carry(dir)
        .await
        .map_err(|e| failed("write the journal in", e))?;
    let mut rows = Vec::new();
    for log in dir.logs.borrow().values() {
        log.encode_row(&mut rows);
    }
    let written = dir.table.rewrite(common.cores, &rows).await;
    written.map_err(|e| failed("write the log table in", e))?;
    let reaches = dir.table.mark();
    dir.journal.borrow_mut().table_reaches(reaches);
    Ok(())
}

/// An old directory of Kafka's: from now on its topic id stands in it.
async fn write_topic_id(dir: &CoreDir, log: &Recovered) -> io::Result<()> {
    let name = PartitionName {
        topic: log.row.topic.clone(),
        partition: log.row.key.id.partition,
    };
    let path = dir.data.partition_path(&name).join(dir::PARTITION_METADATA);
    fs::write_durably(
        &dir.ring,
        &path,
        &dir::encode_partition_metadata(&log.row.key.id.topic_id),
    )
    .await
}

/// Puts the log together. Also returns journal-only bytes that do not reach up to its end: they go into their
/// segment before anything else happens.
fn restore(
    dir: &Rc<CoreDir>,
    recovered: Recovered,
    instance: u64,
) -> Result<(Rc<Log>, Vec<Island>), String> {
    let mut row = recovered.row;
    let name = PartitionName {
        topic: row.topic.clone(),
        partition: row.key.id.partition,
    };
    let key = LogKey {
        id: row.key.id,
        instance,
    };
    drop_deleted(&mut row);
    let mut segments = VecDeque::with_capacity(row.segments.len());
    let mut starts = HashMap::new();
    let mut at = 0;
    for (info, flags) in row.segments.into_iter().zip(&row.flags) {
        let mut segment = Segment::new(info.base_offset, at, 0);
        starts.insert(info.base_offset, at);
        segment.ready = flags & READY != 0;
        segment.closed = flags & CLOSED != 0;
        segment.index = if segment.closed {
            Index::OnDisk
        } else {
            Index::Unread(Vec::new())
        };
        segment.info = info;
        at = segment.end().next_multiple_of(BLOCK);
        segments.push_back(segment);
    }
    let end = segments.back().map_or(0, Segment::end);
    let settled = starts
        .get(&row.settled.0)
        .map_or(0, |start| start + row.settled.1);
    let (mut runs, direct) = recovered.runs.placed(&starts);
    check_coverage(&segments, settled, end, &runs, &direct)
        .map_err(|what| format!("{name}: {what}"))?;
    let starts_at = runs.iter().map(|run| run.range().start);
    if let Some(start) = starts_at.into_iter().find(|at| !at.is_multiple_of(BLOCK)) {
        return Err(format!(
            "{name}: its journalled bytes begin inside a block, at {start} of {end}, settled {settled}"
        ));
    }
    let last = runs.pop_if(|run| run.range().end == end);
    let islands = runs
        .into_iter()
        .map(|run| (run.without(&direct), run))
        .filter(|(missing, _)| !missing.is_empty())
        .collect();
    let mut state = LogState {
        config: LogConfig::default(),
        segments,
        tail: Tail::new(end),
        marks: VecDeque::new(),
        epochs: row.epochs,
        cut: end,
        flushed: end,
        in_flight: 0,
        dirty: VecDeque::new(),
        settling: Vec::new(),
        sealed: last.is_none() && !end.is_multiple_of(BLOCK),
        guard: None,
        prefix: None,
        touch: (0, 0),
        journalled: VecDeque::new(),
        materialized: row.materialized,
        rows_from: i64::MIN,
        batches_since_snapshot: 0,
        maintained: false,
        settle_busy: false,
        creating: false,
        unclean: !recovered.clean,
    };
    let mut memory = Taken::default();
    if let Some(run) = last {
        state.dirty.push_back(run.range());
        let (tail, first_batch) = run.into_tail();
        memory = tail.memory();
        dir.pin((tail.end() - tail.start()) as usize);
        state.tail = tail;
        if let Some(first) = first_batch {
            state.mark_batches(first);
        }
    }
    let log = Log::new(
        key,
        name,
        dir.clone(),
        row.log_start_offset,
        row.log_end_offset,
        state,
    );
    dir.budget.tail_grew(&log, memory);
    Ok((log, islands))
}

/// Leaves out the segments whose records are all deleted: they were dropped before the process ended, or should have been,
/// and their files may be gone. Where nothing is left the log goes on in an empty segment at its end, as it did then.
fn drop_deleted(row: &mut Row) {
    row.log_end_offset = row.log_end_offset.max(row.log_start_offset);
    let start = row.log_start_offset;
    let deleted = |s: &SegmentInfo| s.bytes > 0 && s.end_offset <= start;
    let gone = row.segments.iter().take_while(|s| deleted(s)).count();
    row.segments.drain(..gone);
    row.flags.drain(..gone);
    if row.segments.is_empty() {
        row.segments.push(SegmentInfo::empty(start));
        row.flags.push(0);
    }
    row.epochs.truncate_from_start(start);
}

/// Every byte behind the settled position is in the journal or in blocks that were written.
fn check_coverage(
    segments: &VecDeque<Segment>,
    settled: u64,
    end: u64,
    runs: &[Run],
    direct: &[Range<u64>],
) -> Result<(), String> {
    let mut ranges: Vec<Range<u64>> = runs
        .iter()
        .map(Run::range)
        .chain(direct.iter().cloned())
        .collect();
    ranges.sort_by_key(|r| r.start);
    let past_padding = |at: u64| match segments.iter().any(|s| s.end() == at) {
        true => at.next_multiple_of(BLOCK),
        false => at,
    };
    let mut at = past_padding(settled);
    for range in ranges {
        if range.start > at {
            break;
        }
        at = past_padding(at.max(range.end));
    }
    if at < end {
        return Err(format!("{} bytes of it are in no journal", end - at));
    }
    Ok(())
}

async fn write_islands(dir: &Rc<CoreDir>, log: &Rc<Log>, islands: &[Island]) -> io::Result<()> {
    let mut written: Vec<File> = Vec::new();
    let missing = islands
        .iter()
        .flat_map(|(ranges, run)| ranges.iter().map(move |range| (range, run)));
    for (range, run) in missing {
        let (base, position) = {
            let state = log.state.borrow();
            let segment = state.segment_at(range.start);
            let segment = segment.expect("runs lie in segments");
            (segment.info.base_offset, range.start - segment.start)
        };
        assert!(
            position.is_multiple_of(BLOCK),
            "journalled bytes begin at a block, not at {position}"
        );
        dir.make_segment(log, base).await?;
        let file = dir
            .files
            .get(&log.segment_path(base), Access::Direct)
            .await?;
        let len = (range.end - range.start) as usize;
        let whole = len.next_multiple_of(BLOCK as usize);
        let mut buffer = Buffer::with_capacity(whole);
        run.slices(range.clone())
            .for_each(|part| buffer.extend_from_slice(part));
        buffer.resize_zeroed(whole);
        file.write_at(vec![buffer.freeze()], position).await?;
        written.push(file);
    }
    for file in written {
        file.sync_all().await?;
    }
    Ok(())
}

impl LogState {
    /// Notes the batches of the tail from `first` on.
    fn mark_batches(&mut self, first: u64) {
        let mut at = first;
        while let Some(header) = self.header_at(at).filter(|h| h.batch_length > 0) {
            if self
                .marks
                .back()
                .is_none_or(|&(mark, _)| at - mark >= BLOCK)
            {
                self.marks.push_back((at, header.base_offset));
            }
            at += header.total_len() as u64;
        }
    }
}

impl CoreDir {
    /// The tasks of a directory, and the rest of its journal's files.
    fn start_tasks(self: &Rc<Self>) {
        let dir = self.clone();
        self.spawn(false, async move {
            while !dir.has_authority() && !dir.stopped.get() && !dir.is_offline() {
                dir.ring.sleep(Duration::from_millis(1)).await;
            }
            dir.run_commits().await;
        });
        self.spawn(true, self.clone().run_settling());
        self.spawn(true, self.clone().run_maintenance());
        self.spawn(true, self.clone().sweep());
        self.journal_grows.set(true);
        let dir = self.clone();
        self.spawn(true, async move {
            if let Err(cause) = dir.prepare_journal().await {
                dir.fail(&cause, "prepare the journal");
            }
            dir.journal_grows.set(false);
            dir.settle_wanted.notify();
        });
    }

    /// Gives the journal as many files more as it has, in the background, if it may have them and they take nobody's space.
    pub(crate) fn grow_journal(self: &Rc<Self>) {
        let (_, _, bytes) = self.journal.borrow().parameters();
        let now = self.journal_files.get();
        let more = now.min(self.journal_files_max - now);
        let room = self.data.room() / u64::from(self.cores);
        let needed = self.unseen.get() + bytes * more as u64;
        if more == 0 || self.is_full() || room < needed || self.journal_grows.get() {
            return;
        }
        self.journal_grows.set(true);
        self.journal_files.set(now + more);
        let dir = self.clone();
        self.spawn(true, async move {
            match dir.add_journal_files().await {
                Err(cause) if dir::takes_directory_offline(&cause) => {
                    dir.fail(&cause, "grow the journal");
                }
                // It does with what it got.
                _ => dir.journal_files.set(dir.journal.borrow().all().count()),
            }
            dir.journal_grows.set(false);
            dir.settle_wanted.notify();
        });
    }

    async fn add_journal_files(&self) -> io::Result<()> {
        while !self.stopped.get() && !self.is_offline() && self.add_journal_file().await? {}
        Ok(())
    }

    /// The whole ring of files. Waits where the device is full: until then those that are there go round.
    async fn prepare_journal(&self) -> io::Result<()> {
        let present: Vec<_> = self.journal.borrow().all().cloned().collect();
        for file in &present {
            self.patiently(async || prepare_rest(file, &self.files).await)
                .await?;
        }
        // Those that carried a predecessor's bytes may be more than it begins with; one is for what comes.
        let wanted = self.journal_files.get().max(present.len() + 1);
        self.journal_files.set(wanted.min(self.journal_files_max));
        while self
            .patiently(async || self.add_journal_file().await)
            .await?
            == Some(true)
        {}
        Ok(())
    }

    /// False when all files are there that the journal is to have.
    async fn add_journal_file(&self) -> io::Result<bool> {
        let (path, chain, bytes) = self.journal.borrow().parameters();
        let (present, direct) = (self.journal.borrow().all().count(), self.direct.get());
        if present >= self.journal_files.get() {
            return Ok(false);
        }
        let file = Journal::create(&self.ring, &path, chain, present as u32, bytes, direct).await?;
        // From here on it is one of them, and may be waited for.
        self.journal.borrow_mut().add(file.clone());
        self.work.notify();
        self.patiently(async || prepare_rest(&file, &self.files).await)
            .await?;
        Ok(true)
    }

    /// Tries again as long as it is for want of space or descriptors; `None` when the store ends before.
    async fn patiently<T>(&self, work: impl AsyncFn() -> io::Result<T>) -> io::Result<Option<T>> {
        let mut waited = false;
        while !self.stopped.get() && !self.is_offline() {
            match work().await {
                Err(cause) if self.has_to_wait(Errand::PrepareJournal, &cause) => {
                    waited = true;
                    self.ring.sleep(RETRY).await;
                }
                other => {
                    if waited {
                        self.goes_on(Errand::PrepareJournal);
                    }
                    return other.map(Some);
                }
            }
        }
        Ok(None)
    }
}
