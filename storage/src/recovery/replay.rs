//! Table rows, then journal entries on top, for all cores of one generation in one directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use millstream_protocol::batch::{BatchHeader, HEADER};
use millstream_ring::{File, Open, Ring, fs};

use super::journal::JournalFiles;
use super::run::Runs;
use crate::LogId;
use crate::dir::{FileKind, PartitionName, file_name};
use crate::epochs::Epochs;
use crate::error::OpenError;
use crate::journal::JournalFileName;
use crate::journal::entry::{Append, Chain, EntryHeader, Item, LogKey, Piece, items, read_entry};
use crate::journal::replay::{Joint, Located, Walk, walk};
use crate::knobs::BLOCK;
use crate::segment::SegmentInfo;
use crate::table::{Head, READY, Read, Row, TableName, first_row_bytes, parse_mark, read_rows};

/// A log with all that is known of it.
pub(crate) struct Recovered {
    /// As of the last flushed entry.
    pub row: Row,
    /// Bytes that may stand in the journal only.
    pub runs: Runs,
    /// An old partition of Kafka's whose `partition.metadata` is missing.
    pub without_topic_id: bool,
    /// Its files are as a clean stop leaves them.
    pub clean: bool,
}

type Logs = HashMap<LogKey, Recovered>;
type Dropped = Vec<(PartitionName, LogId)>;

/// What is known so far.
struct Known {
    logs: Logs,
    dropped: Dropped,
}

/// Reads tables and, unless the directory was left clean, journals.
pub(super) async fn read(
    ring: &Ring,
    dir: &Path,
    generation: u64,
    directory: [u8; 16],
    journals: bool,
) -> Result<(Vec<Recovered>, Dropped), OpenError> {
    let mut known = Known {
        logs: Logs::new(),
        dropped: Dropped::new(),
    };
    let mut running = Vec::new();
    let mut cores = 1;
    let mut core = 0;
    while core < cores {
        let name = TableName { generation, core };
        let table = read_table(ring, dir, name, &mut known).await?;
        cores = table.head.cores;
        if !table.stopped {
            running.push((core, table));
        }
        core += 1;
    }
    // The mark of a clean stop comes after the last row of all tables.
    if let Some((_, table)) = running.first().filter(|_| !journals) {
        return Err(damaged(&table.path, "its last row is missing".to_owned()));
    }
    // A stop, or the start after one, may have been interrupted where the journals were gone but the directory was not
    // clean any more or not yet.
    if journals {
        for (core, table) in &running {
            let chain = Chain {
                generation,
                core: *core,
                directory: directory_tag(&directory),
            };
            read_journal(ring, dir, chain, table, &mut known).await?;
        }
    }
    let mut logs: Vec<Recovered> = known.logs.into_values().collect();
    let clean = !journals || running.is_empty();
    logs.iter_mut().for_each(|log| log.clean = clean);
    Ok((logs, known.dropped))
}

/// What of a directory id stands in each entry.
pub(crate) fn directory_tag(id: &[u8; 16]) -> u64 {
    u64::from_le_bytes(id[..8].try_into().expect("eight of sixteen bytes"))
}

/// What a table says besides its logs.
struct Table {
    path: PathBuf,
    head: Head,
    stopped: bool,
    /// Where its last whole row ends.
    end: u64,
}

impl Table {
    /// Whether all is there that was on the device when a journal's entry was written.
    fn reaches(&self, mark: u64) -> bool {
        let (rewrites, bytes) = parse_mark(mark);
        rewrites < self.head.rewrites || (rewrites == self.head.rewrites && bytes <= self.end)
    }
}

async fn read_table(
    ring: &Ring,
    dir: &Path,
    name: TableName,
    known: &mut Known,
) -> Result<Table, OpenError> {
    let path = name.path(dir);
    let bytes = fs::read(ring, &path)
        .await
        .map_err(|e| OpenError::io("read", &path, e))?;
    let (mut head, mut stopped) = (None, false);
    let (rows, end) = read_rows(&bytes);
    let first = rows.first().map(|_| first_row_bytes(&bytes));
    for row in rows {
        match row {
            Read::Head(found) => head = Some(found),
            Read::Stopped => stopped = true,
            Read::Drop(key) => known.drop_log(&key),
            Read::Log(mut row) => {
                if let Some(earlier) = known.logs.get(&row.key) {
                    row.complete_from(&earlier.row);
                }
                if row.segments.is_empty() {
                    return Err(damaged(
                        &path,
                        format!("{}-{} has no segments", row.topic, row.key.id.partition),
                    ));
                }
                let key = row.key;
                known.logs.insert(
                    key,
                    Recovered {
                        row: *row,
                        runs: Runs::default(),
                        without_topic_id: false,
                        clean: false,
                    },
                );
            }
        }
    }
    let head = head.ok_or_else(|| damaged(&path, "its first row is missing".to_owned()))?;
    let written = first.unwrap_or(0) + head.bytes;
    let end = end as u64;
    if end < written {
        return Err(damaged(
            &path,
            format!("the row at byte {end} does not match its checksum"),
        ));
    }
    Ok(Table {
        path,
        head,
        stopped,
        end,
    })
}

async fn read_journal(
    ring: &Ring,
    dir: &Path,
    chain: Chain,
    table: &Table,
    known: &mut Known,
) -> Result<(), OpenError> {
    let first = JournalFileName {
        generation: chain.generation,
        core: chain.core,
        number: 0,
    }
    .path(dir);
    let mut files = JournalFiles::open(ring, dir, chain).await?;
    let unreadable = |e| OpenError::io("read", &first, e);
    let mut surveyed = files.survey(chain).await.map_err(unreadable)?;
    let (walked, mut last) = loop {
        let looked = files.survey_newest(&mut surveyed, chain).await;
        looked.map_err(unreadable)?;
        let walked = walk(&surveyed.looks, surveyed.beyond);
        let walked = walked.map_err(|broken| damaged(&first, broken.to_string()))?;
        let read = read_unsure(&files, &walked).await.map_err(unreadable)?;
        match read {
            Ok(last) => break (walked, last),
            Err(torn) => surveyed.ends_at(&torn),
        }
    };
    drop(surveyed);
    let marks = walked.entries.iter().map(|entry| entry.header.table);
    if !table.reaches(marks.max().unwrap_or(0)) {
        let what = format!(
            "the row at byte {} was on the device, and does not match its checksum",
            table.end
        );
        return Err(damaged(&table.path, what));
    }
    // The table was made together with the journal's first entry: without one nothing is known.
    if walked.entries.is_empty() {
        return Err(damaged(&first, "it has no entries".to_owned()));
    }
    let (mut joint, mut applied) = (Joint::new(chain), Ok(()));
    let apply = |header: &EntryHeader, bytes: &[u8]| {
        applied = match read_entry(bytes) {
            None => Err(walked.lacks(header.sequence).to_string()),
            Some(_) if header.sequence < walked.needed => Ok(()),
            Some((header, payload)) => known.apply_entry(&header, payload),
        };
        applied.is_ok()
    };
    let read = files.read_whole(&walked.whole, &mut joint, apply).await;
    let all = read.map_err(unreadable)?;
    applied.map_err(|what| damaged(&first, what))?;
    if all && !joint.reaches(&walked.entries[0]) {
        let lacks = walked.lacks(joint.sequence());
        return Err(damaged(&first, lacks.to_string()));
    }
    let (sure, _) = walked.sure_and_unsure();
    let (mut entries, mut applied) = (sure.iter(), Ok(()));
    let apply = |bytes: &[u8]| {
        let entry = entries.next().expect("one after the other");
        applied = match read_entry(bytes) {
            Some((header, payload)) => known.apply_entry(&header, payload),
            None => Err(walked.lacks(entry.header.sequence).to_string()),
        };
        applied.is_ok()
    };
    files.read(sure, apply).await.map_err(unreadable)?;
    applied.map_err(|what| damaged(&first, what))?;
    cut_unwritten(ring, dir, &mut last, &known.logs).await?;
    for (header, payload) in last.iter().filter_map(|bytes| read_entry(bytes)) {
        let applied = known.apply_entry(&header, payload);
        applied.map_err(|what| damaged(&first, what))?;
    }
    Ok(())
}

/// The entries behind the last that is known to be flushed, or the first of them that is not whole.
async fn read_unsure(
    files: &JournalFiles,
    walked: &Walk,
) -> std::io::Result<Result<Vec<Vec<u8>>, Located>> {
    let (_, unsure) = walked.sure_and_unsure();
    let mut whole = Vec::with_capacity(unsure.len());
    let keep = |bytes: &[u8]| {
        let is_whole = read_entry(bytes).is_some();
        if is_whole {
            whole.push(bytes.to_vec());
        }
        is_whole
    };
    files.read(unsure, keep).await?;
    Ok(match unsure.get(whole.len()) {
        Some(torn) => Err(*torn),
        None => Ok(whole),
    })
}

fn items_of(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let entry = read_entry(bytes);
    entry
        .into_iter()
        .flat_map(|(header, payload)| items(&header, payload).flatten())
}

/// Entries behind the last flushed mark may refer to blocks that never reached their segment: the journal
/// ends before the first such entry. What was flushed needs no look.
async fn cut_unwritten(
    ring: &Ring,
    dir: &Path,
    entries: &mut Vec<Vec<u8>>,
    logs: &Logs,
) -> Result<(), OpenError> {
    // What is cut off may be what said that something earlier is gone: then that has to be looked at, too.
    while let Some(at) = first_unwritten(ring, dir, entries, logs).await? {
        entries.truncate(at);
    }
    Ok(())
}

/// The first entry whose blocks are missing although nothing after it says that they were dropped.
async fn first_unwritten(
    ring: &Ring,
    dir: &Path,
    entries: &[Vec<u8>],
    logs: &Logs,
) -> Result<Option<usize>, OpenError> {
    let mut created: HashMap<LogKey, String> = HashMap::new();
    let gone = gone_later(entries);
    for (at, entry) in entries.iter().enumerate() {
        for item in items_of(entry) {
            match item {
                Item::Create { key, topic, .. } => drop(created.insert(key, topic.to_owned())),
                Item::Append(append) => {
                    // Dropped or deleted later, with its files perhaps.
                    let start = gone.get(&append.key).copied().unwrap_or(i64::MIN);
                    if append.end_offset <= start {
                        continue;
                    }
                    let known = logs.get(&append.key).map(|l| l.row.topic.as_str());
                    let Some(topic) = known.or(created.get(&append.key).map(String::as_str)) else {
                        continue;
                    };
                    let name = PartitionName {
                        topic: topic.to_owned(),
                        partition: append.key.id.partition,
                    };
                    if !blocks_are_there(ring, &dir.join(name.to_string()), &append).await? {
                        return Ok(Some(at));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

/// The log start that these entries lead to; above everything for a log that is dropped.
fn gone_later(entries: &[Vec<u8>]) -> HashMap<LogKey, i64> {
    let mut gone: HashMap<LogKey, i64> = HashMap::new();
    for item in entries.iter().flat_map(|entry| items_of(entry)) {
        let (key, offset) = match item {
            Item::Drop { key } => (key, i64::MAX),
            Item::LogStart { key, offset } => (key, offset),
            _ => continue,
        };
        let start = gone.entry(key).or_insert(offset);
        *start = offset.max(*start);
    }
    gone
}

async fn blocks_are_there(
    ring: &Ring,
    partition: &Path,
    append: &Append<'_>,
) -> Result<bool, OpenError> {
    for piece in &append.pieces {
        let Piece::Direct { position, len, crc } = *piece else {
            continue;
        };
        let path = partition.join(file_name(append.segment, FileKind::Log));
        let read = async {
            let file = File::open(
                ring,
                &path,
                Open {
                    read: true,
                    ..Open::default()
                },
            )
            .await?;
            let bytes = file.read_at(position, len as usize).await?;
            // Nobody flushed it yet, and from now on it counts.
            file.sync_all().await?;
            Ok::<_, std::io::Error>(bytes)
        };
        match read.await {
            Ok(bytes) if bytes.len() == len as usize && crc32c::crc32c(&bytes) == crc => {}
            Ok(_) => return Ok(false),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(OpenError::io("read", path, e)),
        }
    }
    Ok(true)
}

impl Known {
    fn drop_log(&mut self, key: &LogKey) {
        if let Some(log) = self.logs.remove(key) {
            self.dropped.push((
                PartitionName {
                    topic: log.row.topic,
                    partition: key.id.partition,
                },
                key.id,
            ));
        }
    }

    fn apply_entry(&mut self, header: &EntryHeader, payload: &[u8]) -> Result<(), String> {
        for item in items(header, payload) {
            let item = item.ok_or_else(|| format!("entry {} does not parse", header.sequence))?;
            self.apply(&item)?;
        }
        Ok(())
    }

    fn apply(&mut self, item: &Item<'_>) -> Result<(), String> {
        match item {
            Item::Create {
                key,
                topic,
                start_offset,
            } => {
                self.logs
                    .entry(*key)
                    .or_insert_with(|| created(*key, topic, *start_offset));
            }
            Item::Drop { key } => self.drop_log(key),
            Item::LogStart { key, offset } => {
                if let Some(log) = self.logs.get_mut(key) {
                    log.row.log_start_offset = log.row.log_start_offset.max(*offset);
                }
            }
            Item::Carry {
                key,
                segment,
                position,
                bytes,
            } => {
                if let Some(log) = self.logs.get_mut(key) {
                    log.keep(*segment, *position, bytes);
                }
            }
            // A log that is not known was dropped: the table is ahead of this entry.
            Item::Append(append) => {
                if let Some(log) = self.logs.get_mut(&append.key) {
                    log.append(append)?;
                }
            }
        }
        Ok(())
    }
}

fn created(key: LogKey, topic: &str, start_offset: i64) -> Recovered {
    let row = Row {
        key,
        topic: topic.to_owned(),
        log_start_offset: start_offset,
        log_end_offset: start_offset,
        settled: (start_offset, 0),
        materialized: false,
        segments_from: i64::MIN,
        segments: vec![SegmentInfo::empty(start_offset)],
        flags: vec![0],
        epochs: Epochs::default(),
    };
    Recovered {
        row,
        runs: Runs::default(),
        without_topic_id: false,
        clean: false,
    }
}

impl Recovered {
    /// Whether the segment may lack some of it.
    fn lacks(&self, segment: i64, position: u64, len: u64) -> bool {
        (segment, position + len) > self.row.settled
    }

    fn keep(&mut self, segment: i64, position: u64, bytes: &[u8]) {
        if self.lacks(segment, position, bytes.len() as u64) {
            // An entry's bytes may begin long before what is not settled; a sealed block is needed from its start.
            let (settled_in, settled) = self.row.settled;
            let from = if segment == settled_in {
                settled / BLOCK * BLOCK
            } else {
                0
            };
            self.runs.keep(segment, position, bytes, from);
        }
    }

    fn append(&mut self, append: &Append<'_>) -> Result<(), String> {
        let segment = append.segment;
        for piece in &append.pieces {
            match *piece {
                Piece::Inline { position, bytes } => self.keep(segment, position, bytes),
                Piece::Direct { position, len, .. } => {
                    let len = u64::from(len);
                    if self.lacks(segment, position, len) {
                        self.runs.direct(segment, position..position + len);
                    }
                }
            }
        }
        self.runs.batch_at(segment, append.from);
        if append.end_offset <= self.row.log_end_offset {
            // The row was written after this entry.
            return Ok(());
        }
        for header in headers(append)? {
            self.add_batch(append.segment, &header)?;
        }
        let in_segment = |p: &Piece<'_>| matches!(p, Piece::Direct { .. });
        if append.pieces.iter().any(in_segment)
            && let Some(flags) = self.row.flags.last_mut()
        {
            // Blocks are written to files that are there only.
            *flags |= READY;
        }
        let end = self.row.segments.last().map_or(0, |s| s.bytes);
        if self.row.log_end_offset != append.end_offset || end != append.to {
            return Err(format!(
                "{}-{} ends at offset {} and byte {end} instead of {} and {}, with what begins at {} of segment {}",
                self.row.topic,
                append.key.id.partition,
                self.row.log_end_offset,
                append.end_offset,
                append.to,
                append.from,
                append.segment,
            ));
        }
        Ok(())
    }

    fn add_batch(&mut self, segment: i64, header: &BatchHeader) -> Result<(), String> {
        if header.base_offset < self.row.log_end_offset {
            return Ok(());
        }
        if header.partition_leader_epoch < 0 || header.base_offset < 0 {
            return Err(format!(
                "{} has a batch of leader epoch {} at offset {}",
                self.row.topic, header.partition_leader_epoch, header.base_offset
            ));
        }
        let last = self.row.segments.last().expect("a log has a segment");
        if last.base_offset != segment {
            if segment < last.base_offset || header.base_offset != segment {
                return Err(format!(
                    "{} has a batch of segment {segment} behind segment {}",
                    self.row.topic, last.base_offset
                ));
            }
            self.row.segments.push(SegmentInfo::empty(segment));
            self.row.flags.push(0);
        }
        let info = self.row.segments.last_mut().expect("a log has a segment");
        info.bytes += header.total_len() as u64;
        info.end_offset = header.next_offset();
        info.first_timestamp = info.first_timestamp.or(Some(header.max_timestamp));
        if header.max_timestamp > info.largest_timestamp {
            info.largest_timestamp = header.max_timestamp;
            info.largest_timestamp_offset = header.last_offset();
        }
        self.row
            .epochs
            .assign(header.partition_leader_epoch, header.base_offset);
        self.row.log_end_offset = header.next_offset();
        Ok(())
    }
}

/// The headers of an append: given, or in its one inline piece.
fn headers(append: &Append<'_>) -> Result<Vec<BatchHeader>, String> {
    let parse = |bytes: &[u8]| {
        BatchHeader::read(bytes).map_err(|e| format!("a journalled batch is none: {e}"))
    };
    if !append.headers.is_empty() {
        return append.headers.chunks_exact(HEADER).map(parse).collect();
    }
    let mut headers = Vec::new();
    let mut at = append.from;
    for piece in &append.pieces {
        let Piece::Inline { position, bytes } = *piece else {
            continue;
        };
        while at >= position && at - position < bytes.len() as u64 {
            let header = parse(&bytes[(at - position) as usize..])?;
            at += header.total_len().max(HEADER) as u64;
            headers.push(header);
        }
    }
    Ok(headers)
}

fn damaged(path: &Path, what: String) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        what,
    }
}

const _: () = assert!(BLOCK == 4096);
