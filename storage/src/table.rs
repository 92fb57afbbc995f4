//! The log table: what a start knows of every log without opening a partition.
//!
//! One file per core and directory, only appended to. A row describes one log as far as its bytes are on the
//! device; the newest row of a log counts. Rows are written at each settling, before the journal file that
//! said the same is given up, so table and journal together always tell all. When most of the file is
//! outdated rows it is written anew beside itself and renamed.
//!
//! The first row says how long the rest was when the file was written as a whole, and how often that was done in this
//! generation. What was appended since is counted in the journal's entries: a table that has less than either says was
//! damaged, and did not just miss what a crash tore.
//!
//! A row: `u32` length of the rest, `u32` CRC-32C of it, then kind, log, and for a log its topic, offsets,
//! settled position, segments and epochs. A torn last row is one that nothing relied upon yet.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};

use millstream_ring::{Bytes, File, Open, Ring, fs};

use crate::epochs::Epochs;
use crate::files::flush;
use crate::journal::entry::{Cursor, LogKey, read_key, write_key};
use crate::log::Log;
use crate::segment::SegmentInfo;

const PREFIX: &str = ".millstream-table-";
const KIND_LOG: u8 = 1;
const KIND_DROP: u8 = 2;
const KIND_HEAD: u8 = 3;
const KIND_STOPPED: u8 = 4;
/// Of a mark so many bits count bytes, the rest rewrites.
const MARK_BYTES: u32 = 40;
/// A table is not worth rewriting below this size.
const REWRITE_BYTES_MIN: u64 = 4 << 20;
/// Space set aside behind the last row.
const AHEAD_BYTES: u64 = 64 << 10;

/// Which generation and core a table belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableName {
    pub generation: u64,
    pub core: u32,
}

impl TableName {
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{PREFIX}{}-{}", self.generation, self.core))
    }

    pub fn parse(name: &str) -> Option<TableName> {
        let (generation, core) = name.strip_prefix(PREFIX)?.split_once('-')?;
        Some(TableName {
            generation: generation.parse().ok()?,
            core: core.parse().ok()?,
        })
    }
}

/// What the table says about one log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub key: LogKey,
    pub topic: String,
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    /// Bytes below this position of this segment stand in their segments.
    pub settled: (i64, u64),
    /// The partition's directory exists.
    pub materialized: bool,
    /// Segments below this base are as an earlier row says.
    pub segments_from: i64,
    pub segments: Vec<SegmentInfo>,
    /// Of the segments here: file exists, closed.
    pub flags: Vec<u8>,
    pub epochs: Epochs,
}

/// A row as read.
pub(crate) enum Read {
    Log(Box<Row>),
    Drop(LogKey),
    /// The first row.
    Head(Head),
    /// Everything is settled and told by the rows before: the journal is no longer needed, and may be gone.
    Stopped,
}

/// What the first row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many cores wrote tables and journals in this generation.
    pub cores: u32,
    /// How often the table was written as a whole.
    pub rewrites: u32,
    /// Bytes that followed then.
    pub bytes: u64,
}

/// The segment's file exists.
pub(crate) const READY: u8 = 1;
/// It is cut to its length and its indexes are complete.
pub(crate) const CLOSED: u8 = 2;

impl Row {
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert_eq!(self.segments.len(), self.flags.len());
        framed(out, |out| {
            out.push(KIND_LOG);
            write_key(&self.key, out);
            out.extend_from_slice(&(self.topic.len() as u32).to_le_bytes());
            out.extend_from_slice(self.topic.as_bytes());
            out.extend_from_slice(&self.log_start_offset.to_le_bytes());
            out.extend_from_slice(&self.log_end_offset.to_le_bytes());
            out.extend_from_slice(&self.settled.0.to_le_bytes());
            out.extend_from_slice(&self.settled.1.to_le_bytes());
            out.push(u8::from(self.materialized));
            out.extend_from_slice(&self.segments_from.to_le_bytes());
            out.extend_from_slice(&(self.segments.len() as u32).to_le_bytes());
            for (segment, flags) in self.segments.iter().zip(&self.flags) {
                encode_segment(segment, *flags, out);
            }
            let epochs = self.epochs.entries();
            out.extend_from_slice(&(epochs.len() as u32).to_le_bytes());
            for entry in epochs {
                out.extend_from_slice(&entry.epoch.to_le_bytes());
                out.extend_from_slice(&entry.start_offset.to_le_bytes());
            }
        });
    }

    fn decode(c: &mut Cursor<'_>) -> Option<Row> {
        let key = read_key(c)?;
        let topic = c.u32()? as usize;
        let topic = std::str::from_utf8(c.take(topic)?).ok()?.to_owned();
        let (log_start_offset, log_end_offset) = (c.i64()?, c.i64()?);
        let settled = (c.i64()?, c.u64()?);
        let materialized = c.take(1)?[0] != 0;
        let segments_from = c.i64()?;
        let (mut segments, mut flags) = (Vec::new(), Vec::new());
        for _ in 0..c.u32()? {
            let (segment, flag) = decode_segment(c)?;
            segments.push(segment);
            flags.push(flag);
        }
        let mut epochs = Epochs::default();
        for _ in 0..c.u32()? {
            let (epoch, start_offset) = (i32::try_from(c.u32()?).ok()?, c.i64()?);
            if start_offset < 0 {
                return None;
            }
            epochs.assign(epoch, start_offset);
        }
        Some(Row {
            key,
            topic,
            log_start_offset,
            log_end_offset,
            settled,
            materialized,
            segments_from,
            segments,
            flags,
            epochs,
        })
    }

    /// Takes over from an earlier row of the same log what this one leaves out.
    pub fn complete_from(&mut self, earlier: &Row) {
        assert_eq!(self.key, earlier.key);
        let first = self.log_start_offset;
        let kept = |s: &SegmentInfo| s.base_offset < self.segments_from && s.end_offset > first;
        let pairs = earlier
            .segments
            .iter()
            .zip(&earlier.flags)
            .filter(|(s, _)| kept(s));
        let (mut segments, mut flags): (Vec<_>, Vec<_>) =
            pairs.map(|(s, f)| (s.clone(), *f)).unzip();
        segments.append(&mut self.segments);
        flags.append(&mut self.flags);
        (self.segments, self.flags, self.segments_from) = (segments, flags, i64::MIN);
    }
}

fn encode_segment(segment: &SegmentInfo, flags: u8, out: &mut Vec<u8>) {
    out.push(flags);
    out.extend_from_slice(&segment.base_offset.to_le_bytes());
    out.extend_from_slice(&segment.end_offset.to_le_bytes());
    out.extend_from_slice(&segment.bytes.to_le_bytes());
    out.extend_from_slice(&segment.largest_timestamp.to_le_bytes());
    out.extend_from_slice(&segment.largest_timestamp_offset.to_le_bytes());
    out.push(u8::from(segment.first_timestamp.is_some()));
    out.extend_from_slice(&segment.first_timestamp.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&segment.modified_ms.to_le_bytes());
}

fn decode_segment(c: &mut Cursor<'_>) -> Option<(SegmentInfo, u8)> {
    let flags = c.take(1)?[0];
    let (base_offset, end_offset, bytes) = (c.i64()?, c.i64()?, c.u64()?);
    let (largest_timestamp, largest_timestamp_offset) = (c.i64()?, c.i64()?);
    let known = c.take(1)?[0] != 0;
    let first = c.i64()?;
    let segment = SegmentInfo {
        base_offset,
        end_offset,
        bytes,
        largest_timestamp,
        largest_timestamp_offset,
        first_timestamp: known.then_some(first),
        modified_ms: c.i64()?,
    };
    Some((segment, flags))
}

/// The row that says that a log is gone.
pub(crate) fn encode_drop(key: &LogKey, out: &mut Vec<u8>) {
    framed(out, |out| {
        out.push(KIND_DROP);
        write_key(key, out);
    });
}

/// A table written as a whole: its first row, and `rows`.
pub(crate) fn whole(cores: u32, rewrites: u32, rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() + 32);
    framed(&mut bytes, |out| {
        out.push(KIND_HEAD);
        out.extend_from_slice(&cores.to_le_bytes());
        out.extend_from_slice(&rewrites.to_le_bytes());
        out.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    });
    bytes.extend_from_slice(rows);
    bytes
}

/// A mark in the journal's entries: how often the table was written as a whole, and how long it was then.
pub(crate) fn mark(rewrites: u32, bytes: u64) -> u64 {
    u64::from(rewrites) << MARK_BYTES | bytes.min((1 << MARK_BYTES) - 1)
}

/// The last row of a clean stop.
pub(crate) fn encode_stopped(out: &mut Vec<u8>) {
    framed(out, |out| out.push(KIND_STOPPED));
}

fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    body(out);
    let len = (out.len() - at - 8) as u32;
    let crc = crc32c::crc32c(&out[at + 8..]);
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    out[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Rewrites and bytes of a [`mark`].
pub(crate) fn parse_mark(mark: u64) -> (u32, u64) {
    ((mark >> MARK_BYTES) as u32, mark & ((1 << MARK_BYTES) - 1))
}

/// How many bytes the first row takes, which is whole.
pub(crate) fn first_row_bytes(bytes: &[u8]) -> u64 {
    let mut cursor = Cursor(bytes);
    let _whole = read_row(&mut cursor);
    (bytes.len() - cursor.0.len()) as u64
}

/// All rows up to the end, or up to the first that is torn, and where that is.
pub(crate) fn read_rows(bytes: &[u8]) -> (Vec<Read>, usize) {
    let mut rows = Vec::new();
    let mut cursor = Cursor(bytes);
    let mut end = 0;
    while let Some(row) = read_row(&mut cursor) {
        rows.push(row);
        end = bytes.len() - cursor.0.len();
    }
    (rows, end)
}

fn read_row(cursor: &mut Cursor<'_>) -> Option<Read> {
    let len = cursor.u32()? as usize;
    let crc = cursor.u32()?;
    let body = cursor.take(len)?;
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let mut c = Cursor(body);
    match c.take(1)?[0] {
        KIND_LOG => Some(Read::Log(Box::new(Row::decode(&mut c)?))),
        KIND_DROP => Some(Read::Drop(read_key(&mut c)?)),
        KIND_HEAD => Some(Read::Head(Head {
            cores: c.u32()?,
            rewrites: c.u32()?,
            bytes: c.u64()?,
        })),
        KIND_STOPPED => Some(Read::Stopped),
        _ => None,
    }
}

/// Appends rows, durably. One caller at a time: the settling task, or start and stop while that does not run.
pub(crate) struct TableWriter {
    ring: Ring,
    path: PathBuf,
    file: RefCell<File>,
    bytes: Cell<u64>,
    /// Space is set aside up to here.
    reserved: Cell<u64>,
    rewrites: Cell<u32>,
    /// Size right after the last rewrite.
    fresh: Cell<u64>,
    /// A rewrite failed in the middle: which file has the name is not known, nothing may be appended to either.
    doubtful: Cell<bool>,
}

impl TableWriter {
    /// Creates an empty table, durable under its name.
    pub async fn create(ring: &Ring, path: PathBuf) -> io::Result<TableWriter> {
        let file = write_new(ring, &path, &[]).await?;
        Ok(TableWriter {
            ring: ring.clone(),
            path,
            file: RefCell::new(file),
            bytes: Cell::new(0),
            reserved: Cell::new(0),
            rewrites: Cell::new(0),
            fresh: Cell::new(0),
            doubtful: Cell::new(false),
        })
    }

    pub async fn append(&self, rows: &[u8]) -> io::Result<()> {
        assert!(!self.doubtful.get(), "rewritten before it is appended to");
        let file = self.file.borrow().clone();
        file.write_at(vec![Bytes::from(rows.to_vec())], self.bytes.get())
            .await?;
        // sync_all: the file has grown.
        flush(&file).await?;
        self.bytes.set(self.bytes.get() + rows.len() as u64);
        self.reserve().await;
        Ok(())
    }

    /// Rows that say what was deleted find space where nothing else does. Best effort: without it they wait for space.
    async fn reserve(&self) {
        let wanted = self.bytes.get() + AHEAD_BYTES;
        if self.reserved.get() >= self.bytes.get() + AHEAD_BYTES / 2 {
            return;
        }
        let file = self.file.borrow().clone();
        if file.reserve(self.bytes.get(), AHEAD_BYTES).await.is_ok() {
            self.reserved.set(wanted);
        }
    }

    pub fn wants_rewrite(&self) -> bool {
        self.doubtful.get() || self.bytes.get() > (4 * self.fresh.get()).max(REWRITE_BYTES_MIN)
    }

    /// How far it is on the device, for the journal's entries to say.
    pub fn mark(&self) -> u64 {
        match self.doubtful.get() {
            true => 0,
            false => mark(self.rewrites.get(), self.bytes.get()),
        }
    }

    pub async fn rewrite(&self, cores: u32, rows: &[u8]) -> io::Result<()> {
        self.doubtful.set(true);
        let rewrites = self.rewrites.get() + 1;
        let bytes = whole(cores, rewrites, rows);
        let file = write_new(&self.ring, &self.path, &bytes).await?;
        self.doubtful.set(false);
        *self.file.borrow_mut() = file;
        self.rewrites.set(rewrites);
        self.bytes.set(bytes.len() as u64);
        self.fresh.set(bytes.len() as u64);
        self.reserved.set(0);
        self.reserve().await;
        Ok(())
    }
}

async fn write_new(ring: &Ring, path: &Path, rows: &[u8]) -> io::Result<File> {
    fs::write_durably(ring, path, rows).await?;
    File::open(
        ring,
        path,
        Open {
            read: true,
            write: true,
            ..Open::default()
        },
    )
    .await
}

impl Log {
    /// This log's row, as far as it is flushed.
    pub(crate) fn encode_row(&self, out: &mut Vec<u8>) {
        let mut state = self.state.borrow_mut();
        let flushed_end = self.flushed_end_offset.get();
        let settled = state.settled();
        let segment = state
            .segment_at(settled)
            .expect("settled bytes lie in a segment");
        let settled = (
            segment.info.base_offset,
            settled.min(segment.end()) - segment.start,
        );
        let (mut segments, mut flags) = (Vec::new(), Vec::new());
        let first = state.segments[0].info.base_offset;
        for s in state
            .segments
            .iter()
            .filter(|s| s.info.base_offset >= state.rows_from)
        {
            if s.info.base_offset > first
                && s.info.base_offset >= flushed_end
                && s.start > state.flushed
            {
                // Begun, but nothing of it is flushed.
                break;
            }
            let mut info = s.info.clone();
            if s.end() > state.flushed {
                info.bytes = state.flushed.saturating_sub(s.start);
                info.end_offset = flushed_end;
            }
            if info.bytes == 0 {
                info = SegmentInfo::empty(info.base_offset);
            }
            segments.push(info);
            flags.push(if s.ready { READY } else { 0 } | if s.closed { CLOSED } else { 0 });
        }
        let mut epochs = state.epochs.clone();
        epochs.truncate_from_end(flushed_end);
        let row = Row {
            key: self.key,
            topic: self.name.topic.clone(),
            log_start_offset: self.log_start_offset.get(),
            log_end_offset: flushed_end,
            settled,
            materialized: state.materialized,
            segments_from: state.rows_from,
            segments,
            flags,
            epochs,
        };
        row.encode(out);
        // Closed segments do not change any more; later rows leave them out.
        let open = state.segments.iter().find(|s| !s.closed);
        state.rows_from = open.map_or(i64::MIN, |s| s.info.base_offset);
    }
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
