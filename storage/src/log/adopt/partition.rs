//! One partition: its segments in order, each trusted or verified, and what belongs to them.

use std::io;
use std::ops::Range;
use std::path::Path;

use millstream_protocol::batch::{BatchHeader, HEADER};
use millstream_ring::{File, Open, Ring, fs};

use super::transactions::OpenTransactions;
use super::{AdoptError, AdoptedLog, io_error, leftovers, old_format, verify};
use crate::checkpoint::{self, CheckpointError};
use crate::dir::{
    self, FileKind, Id, PARTITION_METADATA, PartitionName, file_name, parse_file_name,
};
use crate::epochs::Epochs;
use crate::files::Access;
use crate::segment::index::{BatchSpan, IndexError, OffsetIndex, TimeIndex, rebuild};
use crate::segment::{HeaderScan, SegmentError, SegmentInfo, aborted};
use crate::snapshot;

/// One partition while it is taken over.
pub(super) struct Partition<'a> {
    pub(super) ring: &'a Ring,
    pub(super) path: &'a Path,
    pub(super) index_interval_bytes: u32,
    /// Segments from the one that contains this offset on are verified.
    pub(super) recovery_point: i64,
    pub(super) clean: bool,
    pub(super) log_start_checkpoint: i64,
    pub(super) repairs: Vec<String>,
}

/// A segment's own verdict on where it ends.
pub(super) struct Loaded {
    pub(super) info: SegmentInfo,
    /// Something was cut off: it is the last one now.
    pub(super) cut: bool,
}

impl Partition<'_> {
    pub(super) async fn adopt(mut self, name: PartitionName) -> Result<AdoptedLog, AdoptError> {
        let repaired = leftovers::clear(self.ring, self.path).await;
        self.repairs
            .extend(repaired.map_err(|cause| self.io(cause))?);
        let topic_id = self.topic_id().await?;
        let bases = self.bases().await?;
        let mut epochs = self.epochs(&bases).await?;
        let epochs_on_disk = epochs.clone();
        let mut segments = self.load_segments(&bases, &mut epochs).await?;

        let end = segments.last().map_or(0, |s| s.end_offset);
        if segments.is_empty() || end < self.log_start_checkpoint {
            self.start_afresh(&mut segments, &mut epochs).await?;
        }
        let first = segments.first().expect("there is at least one").base_offset;
        let log_end_offset = segments.last().expect("there is at least one").end_offset;
        let log_start_offset = self.log_start_checkpoint.max(first);
        assert!(log_start_offset <= log_end_offset);

        epochs.truncate_from_end(log_end_offset);
        epochs.truncate_from_start(log_start_offset);
        if epochs != epochs_on_disk {
            self.write_epochs(&epochs).await?;
        }
        let snapshot_offset = self.snapshots(log_end_offset).await?;
        fs::sync_dir(self.ring, self.path)
            .await
            .map_err(|cause| self.io(cause))?;
        for repair in &self.repairs {
            tracing::warn!("{}: {repair}", self.path.display());
        }
        Ok(AdoptedLog {
            name,
            topic_id,
            log_start_offset,
            log_end_offset,
            segments,
            epochs,
            snapshot_offset,
            repairs: self.repairs,
        })
    }

    async fn topic_id(&mut self) -> Result<Option<Id>, AdoptError> {
        let Some(bytes) = self.read_if_there(PARTITION_METADATA).await? else {
            return Ok(None);
        };
        match dir::parse_partition_metadata(&bytes) {
            Ok(id) => Ok(Some(id)),
            Err(error) => {
                self.repairs
                    .push(format!("{PARTITION_METADATA} is not used: {error}"));
                Ok(None)
            }
        }
    }

    /// The base offsets of all segments. Index files without a segment go.
    async fn bases(&mut self) -> Result<Vec<i64>, AdoptError> {
        let mut files = Vec::new();
        for entry in fs::list(self.path).map_err(|cause| self.io(cause))? {
            files.extend(entry.name.to_str().and_then(parse_file_name));
        }
        let logs = files.iter().filter(|(_, kind)| *kind == FileKind::Log);
        let mut bases: Vec<i64> = logs.map(|(base, _)| *base).collect();
        bases.sort_unstable();
        for (base, kind) in files {
            let index = !matches!(kind, FileKind::Log | FileKind::Snapshot);
            if index && bases.binary_search(&base).is_err() {
                let name = file_name(base, kind);
                self.unlink(&name).await?;
                self.repairs
                    .push(format!("{name} removed: it has no segment"));
            }
        }
        Ok(bases)
    }

    /// The epochs in their file. A corrupt one is replaced by what the batches say.
    async fn epochs(&mut self, bases: &[i64]) -> Result<Epochs, AdoptError> {
        let error = match checkpoint::read_epochs(self.ring, self.path).await {
            Ok(epochs) => return Ok(epochs),
            Err(CheckpointError::Io { path, cause }) => return Err(AdoptError::Io { path, cause }),
            Err(error) => error,
        };
        let mut epochs = Epochs::default();
        for (i, &base) in bases.iter().enumerate() {
            // Of a damaged segment counts what is before the damage; its verification will speak of it.
            let _ = self
                .scan(base, bases.get(i + 1).copied(), |_, header| {
                    verify::note_epoch(&mut epochs, header)
                })
                .await?;
        }
        self.repairs
            .push(format!("leader epochs taken from the batches: {error}"));
        self.write_epochs(&epochs).await?;
        Ok(epochs)
    }

    async fn write_epochs(&self, epochs: &Epochs) -> Result<(), AdoptError> {
        let written = checkpoint::write_epochs(self.ring, self.path, epochs).await;
        written.map_err(|cause| self.io(cause))
    }

    async fn load_segments(
        &mut self,
        bases: &[i64],
        epochs: &mut Epochs,
    ) -> Result<Vec<SegmentInfo>, AdoptError> {
        let unflushed = match self.clean {
            true => bases.len(),
            false => bases
                .partition_point(|base| *base <= self.recovery_point)
                .saturating_sub(1),
        };
        let verify_from = unflushed.min(self.first_bad_txnindex(bases).await?);
        let mut transactions = None;
        let mut segments: Vec<SegmentInfo> = Vec::new();
        for (i, &base) in bases.iter().enumerate() {
            let later = &bases[i + 1..];
            let trusted = match i < verify_from {
                true => self.trust(base, later.first().copied()).await?,
                false => None,
            };
            let loaded = match trusted {
                Some(info) => Loaded { info, cut: false },
                None => {
                    if transactions.is_none() {
                        transactions = Some(self.open_transactions(&segments, base).await?);
                    }
                    let open = transactions.as_mut().expect("set just above");
                    // What was flushed is never cut, except at the log's very end.
                    let may_cut = i >= unflushed || later.is_empty();
                    self.verify(base, later, may_cut, open, epochs).await?
                }
            };
            segments.push(loaded.info);
            if loaded.cut {
                break;
            }
        }
        Ok(segments)
    }

    /// The place of the first segment whose `.txnindex` cannot be read; the number of segments if all can.
    async fn first_bad_txnindex(&mut self, bases: &[i64]) -> Result<usize, AdoptError> {
        for (i, &base) in bases.iter().enumerate() {
            if let Some(bytes) = self
                .read_if_there(&file_name(base, FileKind::TxnIndex))
                .await?
                && aborted::decode(&bytes).is_err()
            {
                return Ok(i);
            }
        }
        Ok(bases.len())
    }

    /// Takes a segment's word for what is in it: indexes are read, and rebuilt if they make no sense. The last segment is walked
    /// from its last index entry on to see where it ends; None if that fails and it must be verified.
    async fn trust(
        &mut self,
        base: i64,
        next_base: Option<i64>,
    ) -> Result<Option<SegmentInfo>, AdoptError> {
        let path = self.path.join(file_name(base, FileKind::Log));
        let (bytes, modified_ms) = size_and_age(&path).map_err(|cause| io_error(&path, cause))?;
        let first_timestamp = self.first_timestamp(base, bytes).await?;
        let (offsets, times) = match self.read_indexes(base, next_base, bytes).await? {
            Ok(indexes) => indexes,
            Err(reason) => {
                let mut spans = Vec::new();
                let scanned = self
                    .scan(base, next_base, |position, header| {
                        spans.extend(span(position, header))
                    })
                    .await?;
                if let Err(error) = scanned {
                    if next_base.is_none() {
                        return Ok(None);
                    }
                    self.repairs.push(format!(
                        "segment {base} is damaged: {error}; later segments are not affected"
                    ));
                }
                let rebuilt = rebuild(base, self.index_interval_bytes, spans);
                self.write_indexes(base, &rebuilt.0, &rebuilt.1).await?;
                // A segment of ours has no indexes before its first batch.
                if bytes > 0 {
                    self.repairs
                        .push(format!("indexes of segment {base} rebuilt: {reason}"));
                }
                rebuilt
            }
        };
        let mut info = SegmentInfo {
            base_offset: base,
            end_offset: next_base.unwrap_or(base),
            bytes,
            largest_timestamp: times.last().map_or(-1, |e| e.timestamp),
            largest_timestamp_offset: times.last().map_or(base, |e| e.offset),
            first_timestamp,
            modified_ms,
        };
        if next_base.is_some() {
            return Ok(Some(info));
        }
        let from = offsets
            .entries()
            .last()
            .map_or(0, |entry| u64::from(entry.position));
        match self.walk_to_end(&mut info, from).await {
            Ok(()) => Ok(Some(info)),
            Err(SegmentError::Io(cause)) => Err(io_error(&path, cause)),
            Err(_) => Ok(None),
        }
    }

    /// The largest timestamp of a segment's first batch. Sees to it on the way that its format is today's.
    pub(super) async fn first_timestamp(
        &self,
        base: i64,
        bytes: u64,
    ) -> Result<Option<i64>, AdoptError> {
        let path = self.path.join(file_name(base, FileKind::Log));
        let start = async {
            let file = self.open(&file_name(base, FileKind::Log)).await?;
            let len = bytes.min(HEADER as u64) as usize;
            let start = file.read_at(0, len).await?;
            let old = old_format::detect(&file, bytes, &start).await?;
            Ok((start, old))
        };
        let (start, old) = start.await.map_err(|cause| io_error(&path, cause))?;
        if let Some(magic) = old {
            return Err(AdoptError::OldFormat { path, magic });
        }
        Ok(BatchHeader::read(&start)
            .ok()
            .map(|header| header.max_timestamp))
    }

    async fn walk_to_end(&self, info: &mut SegmentInfo, from: u64) -> Result<(), SegmentError> {
        let file = self
            .open(&file_name(info.base_offset, FileKind::Log))
            .await?;
        let mut scan = HeaderScan::new(file, Access::Buffered, from, info.bytes);
        while let Some((position, header)) = scan.next().await? {
            let bounds = info.end_offset..end_bound(info.base_offset, None);
            in_order(position, &header, bounds)?;
            info.end_offset = header.next_offset();
            if header.max_timestamp > info.largest_timestamp {
                info.largest_timestamp = header.max_timestamp;
                info.largest_timestamp_offset = header.last_offset();
            }
        }
        Ok(())
    }

    async fn read_indexes(
        &self,
        base: i64,
        next_base: Option<i64>,
        log_bytes: u64,
    ) -> Result<Result<(OffsetIndex, TimeIndex), String>, AdoptError> {
        let index = self
            .read_if_there(&file_name(base, FileKind::Index))
            .await?;
        let times = self
            .read_if_there(&file_name(base, FileKind::TimeIndex))
            .await?;
        let (Some(index), Some(times)) = (index, times) else {
            return Ok(Err("one is missing".to_owned()));
        };
        let decoded = || -> Result<_, IndexError> {
            let offsets = OffsetIndex::decode(base, &index, log_bytes)?;
            Ok((
                offsets,
                TimeIndex::decode(base, end_bound(base, next_base), &times)?,
            ))
        };
        let (offsets, entries) = match decoded() {
            Ok(decoded) => decoded,
            Err(error) => return Ok(Err(error.to_string())),
        };
        // Kafka adds an entry when it closes or rolls a segment.
        if log_bytes > 0 && entries.last().is_none() && self.has_timestamps(base, next_base).await?
        {
            return Ok(Err("the time index is empty".to_owned()));
        }
        // Padding goes: entries are appended behind the last one from now on.
        if index.len() != offsets.encode().len() || times.len() != entries.encode().len() {
            self.write_indexes(base, &offsets, &entries).await?;
        }
        Ok(Ok((offsets, entries)))
    }

    async fn has_timestamps(&self, base: i64, next_base: Option<i64>) -> Result<bool, AdoptError> {
        let mut any = false;
        let _ = self
            .scan(base, next_base, |_, header| {
                any |= header.max_timestamp >= 0
            })
            .await?;
        Ok(any)
    }

    /// Removes what is left of a log that ends before it starts, and begins it anew where it should start.
    async fn start_afresh(
        &mut self,
        segments: &mut Vec<SegmentInfo>,
        epochs: &mut Epochs,
    ) -> Result<(), AdoptError> {
        let start = self.log_start_checkpoint;
        for old in segments.drain(..) {
            self.drop_segment(old.base_offset).await?;
            let base = old.base_offset;
            self.repairs
                .push(format!("segment {base} removed: the log starts at {start}"));
        }
        *epochs = Epochs::default();
        let name = file_name(start, FileKind::Log);
        self.replace(&name, &[]).await?;
        let (offsets, times) = rebuild(start, self.index_interval_bytes, []);
        self.write_indexes(start, &offsets, &times).await?;
        let path = self.path.join(&name);
        let (bytes, modified_ms) = size_and_age(&path).map_err(|cause| io_error(&path, cause))?;
        segments.push(SegmentInfo {
            base_offset: start,
            end_offset: start,
            bytes,
            largest_timestamp: -1,
            largest_timestamp_offset: start,
            first_timestamp: None,
            modified_ms,
        });
        Ok(())
    }

    /// Removes producer snapshots that are corrupt or above the log's end. Returns the newest of the others.
    async fn snapshots(&mut self, log_end_offset: i64) -> Result<Option<i64>, AdoptError> {
        let mut newest = None;
        for offset in snapshot::offsets(self.path).map_err(|cause| self.io(cause))? {
            let name = file_name(offset, FileKind::Snapshot);
            let bytes = self.read_if_there(&name).await?.unwrap_or_default();
            let reason = match snapshot::decode(&bytes) {
                _ if offset > log_end_offset => "it lies above the log's end".to_owned(),
                Err(error) => error.to_string(),
                Ok(_) => {
                    newest = Some(offset);
                    continue;
                }
            };
            self.unlink(&name).await?;
            self.repairs.push(format!("{name} removed: {reason}"));
        }
        Ok(newest)
    }

    /// Transactions that are open where the segment at `base` begins.
    async fn open_transactions(
        &self,
        before: &[SegmentInfo],
        base: i64,
    ) -> Result<OpenTransactions, AdoptError> {
        let newest = snapshot::newest(self.ring, self.path, 0..=base).await;
        let newest = newest.map_err(|cause| self.io(cause))?;
        let (from, entries) = newest.unwrap_or((self.log_start_checkpoint, Vec::new()));
        let mut open = OpenTransactions::new(&entries);
        for segment in before.iter().filter(|s| s.end_offset > from) {
            let note = |_, header: &BatchHeader| open.pass(header, from);
            let (base, end) = (segment.base_offset, segment.end_offset);
            let _ = self.scan(base, Some(end), note).await?;
        }
        Ok(open)
    }

    /// Walks the headers of a segment's batches as far as they are in order. The inner error says where that ends early; only
    /// the system's are the outer one.
    pub(super) async fn scan(
        &self,
        base: i64,
        next_base: Option<i64>,
        mut note: impl FnMut(u64, &BatchHeader),
    ) -> Result<Result<(), SegmentError>, AdoptError> {
        let walk = async {
            let file = self.open(&file_name(base, FileKind::Log)).await?;
            let bytes = file.len().await?;
            let mut scan = HeaderScan::new(file, Access::Buffered, 0, bytes);
            let (mut next, end) = (base, end_bound(base, next_base));
            while let Some((position, header)) = scan.next().await? {
                in_order(position, &header, next..end)?;
                next = header.next_offset();
                note(position, &header);
            }
            Ok(())
        };
        match walk.await {
            Err(SegmentError::Io(cause)) => Err(self.io(cause)),
            other => Ok(other),
        }
    }

    async fn write_indexes(
        &self,
        base: i64,
        offsets: &OffsetIndex,
        times: &TimeIndex,
    ) -> Result<(), AdoptError> {
        self.replace(&file_name(base, FileKind::Index), &offsets.encode())
            .await?;
        self.replace(&file_name(base, FileKind::TimeIndex), &times.encode())
            .await
    }

    pub(super) async fn drop_segment(&self, base: i64) -> Result<(), AdoptError> {
        // The data goes last: interrupted before, the segment is still there to be dropped again.
        for kind in [
            FileKind::Index,
            FileKind::TimeIndex,
            FileKind::TxnIndex,
            FileKind::Log,
        ] {
            self.unlink(&file_name(base, kind)).await?;
        }
        Ok(())
    }

    pub(super) async fn open(&self, name: &str) -> io::Result<File> {
        let how = Open {
            read: true,
            write: true,
            ..Open::default()
        };
        File::open(self.ring, &self.path.join(name), how).await
    }

    pub(super) async fn read_if_there(&self, name: &str) -> Result<Option<Vec<u8>>, AdoptError> {
        let path = self.path.join(name);
        match fs::read(self.ring, &path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(io_error(&path, cause)),
        }
    }

    pub(super) async fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), AdoptError> {
        let path = self.path.join(name);
        let written = fs::write_durably(self.ring, &path, bytes).await;
        written.map_err(|cause| io_error(&path, cause))
    }

    pub(super) async fn unlink(&self, name: &str) -> Result<(), AdoptError> {
        let path = self.path.join(name);
        match fs::unlink(self.ring, &path).await {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(io_error(&path, cause)),
            _ => Ok(()),
        }
    }

    pub(super) fn io(&self, cause: io::Error) -> AdoptError {
        io_error(self.path, cause)
    }
}

/// What the indexes need of a batch; None where its position does not fit into them.
/// No batch of the segment at `base` reaches this offset: the next segment has it, or an index entry's 31 bits end.
pub(super) fn end_bound(base: i64, next_base: Option<i64>) -> i64 {
    let entries = base.saturating_add(i64::from(i32::MAX)).saturating_add(1);
    next_base.map_or(entries, |next| next.min(entries))
}

/// A batch has its place between those before it and the end of its segment, whatever its header says.
fn in_order(position: u64, header: &BatchHeader, bounds: Range<i64>) -> Result<(), SegmentError> {
    if header.base_offset < bounds.start || header.last_offset() >= bounds.end {
        let offset = header.base_offset;
        return Err(SegmentError::Order { position, offset });
    }
    Ok(())
}

pub(super) fn span(position: u64, header: &BatchHeader) -> Option<BatchSpan> {
    Some(BatchSpan {
        position: u32::try_from(position).ok()?,
        bytes: u32::try_from(header.total_len()).ok()?,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
    })
}

/// Length and time of the last change, in Unix milliseconds. Blocks: for start only.
pub(super) fn size_and_age(path: &Path) -> io::Result<(u64, i64)> {
    fs::size_and_modified(path)
}
