//! Whole blocks out, never a block twice before its file comes round again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use millstream_ring::{Buffer, Bytes, File, Open, Ring, fs};

use super::JournalFileName;
use super::entry::{Chain, EntryBuilder, LogKey};
use crate::files::Files;
use crate::knobs::BLOCK;
use crate::log::Log;
use crate::store::event::Event;

/// Pre-written at once, in the background: small, so that it does not starve the entries' own writes.
const PREPARE_BYTES: u64 = 256 * 1024;
/// A file is usable once so much of it is pre-written.
const PREPARED_FIRST: u64 = 1 << 20;
/// Kept free at the end of each file for an empty entry, by which alone a full journal says that a file was settled.
const MARK_RESERVE: u64 = 2 * BLOCK;
/// One in so many bytes of the last file there is, is kept free of batches: for what creates and deletes logs and moves their
/// starts. On a device without space that is what frees a file again.
const CONTROL_PART: u64 = 16;

/// One file of the ring.
pub(crate) struct JournalFile {
    pub number: u32,
    pub file: File,
    bytes: u64,
    /// Pre-written up to here.
    prepared: Cell<u64>,
    progress: Event,
    first_sequence: Cell<u64>,
    /// Logs of which something stands in this file that is not settled or not in the table.
    pub logs: RefCell<Vec<Rc<Log>>>,
    /// Logs dropped by entries of this file.
    pub drops: RefCell<Vec<LogKey>>,
}

impl JournalFile {
    /// The store is gone: whoever waits for the preparation goes on, and sees that.
    pub fn abandon(&self) {
        self.logs.borrow_mut().clear();
        self.prepared.set(u64::MAX);
        self.progress.notify();
    }

    /// Written directly, before anything else uses the file: this part needs no preparation.
    pub fn written_to(&self, end: u64) {
        self.prepared.set(self.prepared.get().max(end));
    }

    /// Waits until the file is pre-written up to `end`.
    pub async fn prepared_to(&self, end: u64) {
        loop {
            let seen = self.progress.count();
            if self.prepared.get() >= end {
                return;
            }
            self.progress.changed_since(seen).await;
        }
    }
}

/// Where an entry goes.
pub(crate) struct Place {
    pub file: Rc<JournalFile>,
    pub offset: u64,
    pub sequence: u64,
    pub bytes: Buffer,
}

/// One core's journal in one data directory.
pub(crate) struct Journal {
    dir: PathBuf,
    chain: Chain,
    file_bytes: u64,
    /// Oldest first; the last is being written.
    used: VecDeque<Rc<JournalFile>>,
    free: VecDeque<Rc<JournalFile>>,
    /// Settled, each with the sequence of the first entry that says so.
    retired: Vec<(Rc<JournalFile>, u64)>,
    at: u64,
    next_sequence: u64,
    previous_crc: u32,
    flushed: u64,
    table: u64,
    mark_wanted: bool,
}

impl Journal {
    pub fn new(dir: PathBuf, chain: Chain, file_bytes: u64) -> Journal {
        assert!(file_bytes.is_multiple_of(BLOCK) && file_bytes >= PREPARED_FIRST);
        Journal {
            dir,
            chain,
            file_bytes,
            used: VecDeque::new(),
            free: VecDeque::new(),
            retired: Vec::new(),
            at: 0,
            next_sequence: 1,
            previous_crc: 0,
            flushed: 0,
            table: 0,
            mark_wanted: false,
        }
    }

    /// Largest payload that fits beside the header and the reserve.
    pub fn payload_max(&self) -> usize {
        (self.file_bytes / 2) as usize
    }

    /// The file being written, its position among the used ones, and how many are free.
    pub fn full_files(&self) -> usize {
        self.used.len().saturating_sub(1)
    }

    /// Every entry of this used, full file is on the device.
    pub fn is_flushed(&self, file: &Rc<JournalFile>) -> bool {
        let next = self.used.iter().skip_while(|f| !Rc::ptr_eq(f, file)).nth(1);
        next.is_none_or(|next| self.flushed + 1 >= next.first_sequence.get())
    }

    /// Files that may be begun now.
    pub fn free_files(&self) -> usize {
        self.free.len()
    }

    pub fn oldest(&self) -> Option<Rc<JournalFile>> {
        self.used.front().cloned()
    }

    pub fn used(&self) -> impl Iterator<Item = &Rc<JournalFile>> {
        self.used.iter()
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.used.len() + self.free.len() + self.retired.len()
    }

    /// Every file there is.
    pub fn all(&self) -> impl Iterator<Item = &Rc<JournalFile>> {
        self.used
            .iter()
            .chain(&self.free)
            .chain(self.retired.iter().map(|(file, _)| file))
    }

    pub fn add(&mut self, file: Rc<JournalFile>) {
        self.free.push_back(file);
    }

    /// What is left of the last file there is, is less than half of what it keeps for control items.
    pub fn nears_its_end(&self) -> bool {
        let left = self.file_bytes - self.at;
        self.free.is_empty() && left < MARK_RESERVE + self.file_bytes / CONTROL_PART / 2
    }

    /// From now on each entry says that the log table is on the device up to there.
    pub fn table_reaches(&mut self, mark: u64) {
        self.table = mark;
    }

    pub fn wants_mark(&self) -> bool {
        self.mark_wanted
    }

    /// Gives `entry` its place and header. `Err` returns it: no file is free now.
    pub fn place(&mut self, mut entry: EntryBuilder) -> Result<Place, EntryBuilder> {
        let len = entry.disk_bytes();
        let control_reserve = self.file_bytes / CONTROL_PART;
        let reserve = match (entry.is_mark(), entry.has_appends() && self.free.is_empty()) {
            (true, _) => 0,
            (false, true) => MARK_RESERVE + control_reserve,
            (false, false) => MARK_RESERVE,
        };
        assert!(
            len + MARK_RESERVE + control_reserve <= self.file_bytes,
            "an entry fits into a file"
        );
        let fits = !self.used.is_empty() && self.at + len + reserve <= self.file_bytes;
        if !fits {
            let Some(next) = self.free.pop_front() else {
                return Err(entry);
            };
            next.first_sequence.set(self.next_sequence);
            assert!(
                next.logs.borrow().is_empty(),
                "a free file is needed by no log"
            );
            self.used.push_back(next);
            self.at = 0;
        }
        let file = self.used.back().expect("a file is being written").clone();
        let replay_from = self.used[0].first_sequence.get();
        let sequence = self.next_sequence;
        entry.table_reaches(self.table);
        let (bytes, crc) = entry.finish(
            self.chain,
            sequence,
            self.previous_crc,
            self.flushed,
            replay_from,
        );
        assert_eq!(bytes.len() as u64, len);
        let offset = self.at;
        self.at += len;
        self.next_sequence += 1;
        self.previous_crc = crc;
        self.mark_wanted = false;
        Ok(Place {
            file,
            offset,
            sequence,
            bytes,
        })
    }

    /// All entries up to `sequence` are on the device.
    pub fn flushed_to(&mut self, sequence: u64) {
        assert!(sequence >= self.flushed && sequence < self.next_sequence);
        self.flushed = sequence;
        let (free, waiting) = self
            .retired
            .drain(..)
            .partition(|(_, said)| *said <= sequence);
        self.retired = waiting;
        self.free.extend(free.into_iter().map(|(file, _)| file));
    }

    /// The oldest file is no longer needed. It becomes free when an entry that says so is flushed.
    pub fn retire_oldest(&mut self) {
        assert!(self.used.len() > 1, "the file being written stays");
        let file = self.used.pop_front().expect("checked above");
        assert!(
            file.logs.borrow().is_empty(),
            "a retired file is needed by no log"
        );
        self.retired.push((file, self.next_sequence));
        self.mark_wanted = true;
    }

    /// Creates file `number`, durable and pre-written far enough to begin; the rest follows in the background.
    pub async fn create(
        ring: &Ring,
        dir: &std::path::Path,
        chain: Chain,
        number: u32,
        bytes: u64,
        direct: bool,
    ) -> io::Result<Rc<JournalFile>> {
        let name = JournalFileName {
            generation: chain.generation,
            core: chain.core,
            number,
        };
        let path = name.path(dir);
        let how = Open {
            read: true,
            write: true,
            create: true,
            create_new: false,
            truncate: true,
            direct,
            random: false,
        };
        let file = File::open(ring, &path, how).await?;
        // All its blocks at once, or it is not there: what was acknowledged may not wait for space later on.
        match file.allocate(0, bytes).await {
            Err(e) if e.kind() != io::ErrorKind::Unsupported => {
                let _left_for_the_next_start = fs::unlink(ring, &path).await;
                return Err(e);
            }
            _ => {}
        }
        prepare(&file, 0, PREPARED_FIRST).await?;
        file.sync_all().await?;
        fs::sync_dir(ring, dir).await?;
        Ok(Rc::new(JournalFile {
            number,
            file,
            bytes,
            prepared: Cell::new(PREPARED_FIRST),
            progress: Event::default(),
            first_sequence: Cell::new(0),
            logs: RefCell::default(),
            drops: RefCell::default(),
        }))
    }

    /// Names and sizes a further file is created with.
    pub fn parameters(&self) -> (PathBuf, Chain, u64) {
        (self.dir.clone(), self.chain, self.file_bytes)
    }
}

/// Pre-writes the rest of a file: fallocated blocks would cost a metadata commit at every flush.
pub(crate) async fn prepare_rest(file: &JournalFile, files: &Files) -> io::Result<()> {
    while file.prepared.get() < file.bytes {
        let from = file.prepared.get();
        let to = (from + PREPARE_BYTES).min(file.bytes);
        prepare(&file.file, from, to).await?;
        file.prepared.set(to.max(file.prepared.get()));
        file.progress.notify();
    }
    // Entries are flushed to the file meanwhile: after one that failed, this one must not begin.
    files.flushed_by(file.file.sync_all()).await
}

async fn prepare(file: &File, from: u64, to: u64) -> io::Result<()> {
    let part = |at: u64| Bytes::from_static(&ZEROS.0[..(to - at).min(PREPARE_BYTES) as usize]);
    let parts = (from..to).step_by(PREPARE_BYTES as usize).map(part);
    file.write_at(parts.collect(), from).await
}

/// Never written, so they are one page of the kernel's and take no memory; aligned for O_DIRECT.
static ZEROS: Zeros = Zeros([0; PREPARE_BYTES as usize]);

#[repr(align(4096))]
struct Zeros([u8; PREPARE_BYTES as usize]);
