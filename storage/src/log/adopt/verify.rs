//! Reading a segment to the last byte: every batch's length, magic, order and checksum.

use std::io;

use millstream_protocol::batch::{self, BatchError, BatchHeader, ControlType};
use millstream_ring::{Bytes, File, fs};

use super::partition::{Loaded, Partition, end_bound, size_and_age, span};
use super::transactions::OpenTransactions;
use super::{AdoptError, io_error};
use crate::dir::{FileKind, file_name};
use crate::epochs::Epochs;
use crate::files::Access;
use crate::segment::index::rebuild;
use crate::segment::{SegmentError, SegmentInfo, aborted, read_range};

/// Bytes read at a time.
const WINDOW: usize = 1 << 20;
/// Checksums cover a batch from here on.
const CRC_START: u64 = 21;
/// A marker of a transaction is one small record; more than this is none.
const MARKER_BYTES_MAX: usize = 4096;

/// Kafka notes an epoch from a batch if it is newer than all it knows.
pub(super) fn note_epoch(epochs: &mut Epochs, header: &BatchHeader) {
    let epoch = header.partition_leader_epoch;
    if epoch >= 0 && epochs.latest().is_none_or(|last| last.epoch < epoch) {
        epochs.assign(epoch, header.base_offset);
    }
}

impl Partition<'_> {
    /// Verifies a segment, rebuilds its indexes, and cuts it behind the last good batch if it may.
    pub(super) async fn verify(
        &mut self,
        base: i64,
        later: &[i64],
        may_cut: bool,
        open: &mut OpenTransactions,
        epochs: &mut Epochs,
    ) -> Result<Loaded, AdoptError> {
        let next_base = later.first().copied();
        let path = self.path.join(file_name(base, FileKind::Log));
        let (bytes, modified_ms) = size_and_age(&path).map_err(|cause| io_error(&path, cause))?;
        let file = self.open(&file_name(base, FileKind::Log)).await;
        let file = file.map_err(|cause| io_error(&path, cause))?;
        self.first_timestamp(base, bytes).await?;
        let mut walk = Walk::new(file.clone(), base, next_base, bytes);
        let (mut spans, mut aborted_txns) = (Vec::new(), Vec::new());
        let mut info = SegmentInfo {
            base_offset: base,
            end_offset: base,
            bytes,
            largest_timestamp: -1,
            largest_timestamp_offset: base,
            first_timestamp: None,
            modified_ms,
        };
        while let Some((position, header)) = walk.next().await.map_err(|c| io_error(&path, c))? {
            info.first_timestamp.get_or_insert(header.max_timestamp);
            if header.max_timestamp > info.largest_timestamp {
                info.largest_timestamp = header.max_timestamp;
                info.largest_timestamp_offset = header.last_offset();
            }
            let marker = walk
                .marker(position, &header)
                .await
                .map_err(|c| io_error(&path, c))?;
            aborted_txns.extend(open.note(&header, marker));
            note_epoch(epochs, &header);
            spans.extend(span(position, &header));
        }
        info.end_offset = walk.next_offset;
        let cut = self.end(&walk, &mut info, may_cut, later).await?;
        file.sync_all()
            .await
            .map_err(|cause| io_error(&path, cause))?;
        if let (Some(next_base), false) = (next_base, cut) {
            info.end_offset = next_base;
        }
        if walk.problem.is_some() && !may_cut {
            // What stands behind the damage stays, and the next start takes the headers' word for it.
            spans.clear();
            let headers = |position, header: &BatchHeader| spans.extend(span(position, header));
            let _ = self.scan(base, next_base, headers).await?;
        }
        let (offsets, times) = rebuild(base, self.index_interval_bytes, spans);
        if let Some(last) = times
            .last()
            .filter(|t| t.timestamp > info.largest_timestamp)
        {
            info.largest_timestamp = last.timestamp;
            info.largest_timestamp_offset = last.offset;
        }
        self.keep_or_write(base, FileKind::Index, offsets.encode())
            .await?;
        self.keep_or_write(base, FileKind::TimeIndex, times.encode())
            .await?;
        self.keep_or_write(base, FileKind::TxnIndex, aborted::encode(&aborted_txns))
            .await?;
        Ok(Loaded { info, cut })
    }

    /// Cuts a file behind its good batches if it may, and removes the `later` segments, which nothing leads to any more. They go
    /// first: interrupted in between, the damage is still there to be found. True if records went.
    async fn end(
        &mut self,
        walk: &Walk,
        info: &mut SegmentInfo,
        may_cut: bool,
        later: &[i64],
    ) -> Result<bool, AdoptError> {
        let Some(problem) = &walk.problem else {
            return Ok(false);
        };
        let (base, valid) = (info.base_offset, walk.position);
        if !may_cut {
            self.repairs.push(format!(
                "segment {base} is damaged at {valid}: {problem}; later segments are not affected"
            ));
            return Ok(false);
        }
        // Zeros are what preallocation leaves behind the last batch of a log. A segment that was rolled has none.
        let records = !later.is_empty() || !matches!(problem, Problem::Zeros);
        if records {
            let gone = walk.bytes - valid;
            self.repairs.push(format!(
                "segment {base} cut at {valid}, {gone} bytes removed: {problem}"
            ));
        }
        for &dropped in later {
            self.drop_segment(dropped).await?;
            self.repairs
                .push(format!("segment {dropped} removed: it follows a torn one"));
        }
        let synced = fs::sync_dir(self.ring, self.path).await;
        synced.map_err(|cause| self.io(cause))?;
        let cut = walk.file.set_len(valid).await;
        cut.map_err(|cause| self.io(cause))?;
        info.bytes = valid;
        Ok(records)
    }

    /// Leaves an index file alone that is what it should be.
    async fn keep_or_write(
        &mut self,
        base: i64,
        kind: FileKind,
        bytes: Vec<u8>,
    ) -> Result<(), AdoptError> {
        let name = file_name(base, kind);
        let found = self.read_if_there(&name).await?;
        if found.as_deref() == Some(bytes.as_slice()) {
            // It may have been written just before the crash.
            let synced = async { self.open(&name).await?.sync_all().await };
            return synced.await.map_err(|cause| self.io(cause));
        }
        // No aborted transactions, no file.
        if kind == FileKind::TxnIndex && bytes.is_empty() {
            return self.unlink(&name).await;
        }
        self.replace(&name, &bytes).await
    }
}

/// Why a walk ended before the file did.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// Preallocated space.
    #[error("zeros")]
    Zeros,
    #[error("{0}")]
    Batch(BatchError),
    #[error("the last batch is incomplete")]
    Incomplete,
    #[error("checksum does not match")]
    Checksum,
    #[error("offset {0} is out of order")]
    Order(i64),
}

/// Good batches from the start of a file on.
struct Walk {
    file: File,
    bytes: u64,
    /// Where good batches end so far.
    position: u64,
    /// No batch may begin below.
    next_offset: i64,
    /// No batch may reach to or beyond.
    end_bound: i64,
    problem: Option<Problem>,
    window: Bytes,
    window_at: u64,
}

impl Walk {
    fn new(file: File, base: i64, next_base: Option<i64>, bytes: u64) -> Walk {
        Walk {
            file,
            bytes,
            position: 0,
            next_offset: base,
            end_bound: end_bound(base, next_base),
            problem: None,
            window: Bytes::new(),
            window_at: 0,
        }
    }

    /// The next good batch; after None `problem` says whether that was the end of the file.
    async fn next(&mut self) -> io::Result<Option<(u64, BatchHeader)>> {
        if self.position == self.bytes || self.problem.is_some() {
            return Ok(None);
        }
        match self.check(self.position).await? {
            Ok(header) => {
                let position = self.position;
                self.position += header.total_len() as u64;
                self.next_offset = header.next_offset();
                Ok(Some((position, header)))
            }
            Err(problem) => {
                self.problem = Some(problem);
                Ok(None)
            }
        }
    }

    async fn check(&mut self, position: u64) -> io::Result<Result<BatchHeader, Problem>> {
        let rest = self.bytes - position;
        let bytes = self
            .get(position, rest.min(batch::HEADER as u64) as usize)
            .await?;
        if bytes.iter().take(17).all(|byte| *byte == 0) {
            return Ok(Err(Problem::Zeros));
        }
        let header = match BatchHeader::read(&bytes) {
            Ok(header) => header,
            Err(BatchError::Missing) => return Ok(Err(Problem::Incomplete)),
            Err(error) => return Ok(Err(Problem::Batch(error))),
        };
        let len = header.total_len() as u64;
        if len > rest {
            return Ok(Err(Problem::Incomplete));
        }
        if header.base_offset < self.next_offset || header.last_offset() >= self.end_bound {
            return Ok(Err(Problem::Order(header.base_offset)));
        }
        // In pieces: a length that is garbage must not become an allocation.
        let (mut at, end) = (position + CRC_START, position + len);
        let mut checksum = 0;
        while at < end {
            let piece = self.get(at, (end - at).min(WINDOW as u64) as usize).await?;
            checksum = crc32c::crc32c_append(checksum, &piece);
            at += piece.len() as u64;
        }
        Ok(if checksum == header.crc {
            Ok(header)
        } else {
            Err(Problem::Checksum)
        })
    }

    /// What a control batch says about its transaction.
    async fn marker(
        &mut self,
        position: u64,
        header: &BatchHeader,
    ) -> io::Result<Option<ControlType>> {
        let len = header.total_len();
        if !header.is_control() || len > MARKER_BYTES_MAX {
            return Ok(None);
        }
        let bytes = self.get(position, len).await?;
        let mut scratch = Vec::new();
        let Ok(mut records) = batch::records(&bytes, &mut scratch, MARKER_BYTES_MAX) else {
            return Ok(None);
        };
        let key = records
            .next()
            .and_then(Result::ok)
            .and_then(|record| record.key);
        Ok(key.and_then(ControlType::from_key))
    }

    /// Bytes that lie in the file, at most a window of them.
    async fn get(&mut self, from: u64, len: usize) -> io::Result<Bytes> {
        assert!(len <= WINDOW);
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if from < held.start || from + len as u64 > held.end {
            let read = read_range(&self.file, Access::Buffered, from, WINDOW, self.bytes).await;
            self.window = read.map_err(|error| match error {
                SegmentError::Io(cause) => cause,
                other => io::Error::other(other),
            })?;
            self.window_at = from;
        }
        let start = (from - self.window_at) as usize;
        Ok(self.window.slice(start..start + len))
    }
}
