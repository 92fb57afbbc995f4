//! A segment looked at to its last byte: which batches are what was written, and where something else stands.
//!
//! A batch's checksum does not cover its base offset, length and leader epoch. These are held against the batches beside it,
//! against the segment's own bounds, and against the log's epochs.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use millstream_protocol::batch::{self, BatchError, BatchHeader};
use millstream_ring::{Bytes, File};

use super::read_some;
use crate::epochs::Epochs;
use crate::files::Access;

/// Read at once; more only for a batch that is larger.
const WINDOW: u64 = 1 << 20;
/// A batch's magic stands at this byte of it.
const MAGIC_AT: usize = 16;

/// A part of a segment that is not what was written.
#[derive(Clone, Debug)]
pub struct Damage {
    /// Records that cannot be read.
    pub offsets: Range<i64>,
    /// Where in the file.
    pub position: u64,
    /// How far it is to the next batch that can be read, or to the end.
    pub bytes: u64,
    /// What is wrong at `position`.
    pub flaw: Flaw,
}

/// What is wrong with a batch.
#[derive(Clone, Debug)]
pub enum Flaw {
    /// No batch has such a header.
    Header(Arc<BatchError>),
    /// It is longer than what follows.
    Length,
    /// The file ends before it does.
    Missing,
    /// Its bytes do not match its checksum.
    Checksum,
    /// Its offsets do not fit between those before and after it.
    Offsets,
    /// Its leader epoch is not that of the log there.
    Epoch,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Header(cause) => write!(f, "no record batch: {cause}"),
            Flaw::Length => f.write_str("a record batch longer than what follows"),
            Flaw::Missing => f.write_str("the file ends there"),
            Flaw::Checksum => f.write_str("the checksum does not match"),
            Flaw::Offsets => f.write_str("offsets that do not fit in there"),
            Flaw::Epoch => f.write_str("a leader epoch that does not fit in there"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.offsets;
        let (position, bytes) = (self.position, self.bytes);
        write!(
            f,
            "offsets {start} to {} at byte {position} ({bytes} bytes): {}",
            end - 1,
            self.flaw
        )
    }
}

/// The next part of a segment.
#[derive(Debug)]
pub enum Stretch {
    /// A batch as it was written, and where.
    Batch(u64, BatchHeader),
    /// Something else.
    Damage(Damage),
}

/// Where a segment begins and ends, in bytes and offsets.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Batches stand below it.
    pub bytes: u64,
    /// Offsets of its records; there may be fewer.
    pub offsets: Range<i64>,
}

/// Where a segment's bytes come from.
pub trait Source {
    /// The bytes of a part of the segment, or what there is of them.
    async fn bytes(&self, range: Range<u64>) -> io::Result<Bytes>;
}

/// A segment that is a file, and nothing else.
pub struct InFile {
    /// The file.
    pub file: File,
    /// How it was opened.
    pub access: Access,
}

impl Source for InFile {
    async fn bytes(&self, range: Range<u64>) -> io::Result<Bytes> {
        read_some(&self.file, self.access, range).await
    }
}

/// The way through a segment.
pub struct Survey<'a, S> {
    source: S,
    /// Of the whole log; none known, none checked.
    epochs: &'a Epochs,
    bounds: Bounds,
    position: u64,
    /// The offset that follows what was seen.
    next: i64,
    window: Bytes,
    window_at: u64,
}

impl<'a, S: Source> Survey<'a, S> {
    /// From the first batch of a segment.
    pub fn new(source: S, bounds: Bounds, epochs: &'a Epochs) -> Survey<'a, S> {
        Survey {
            source,
            epochs,
            position: 0,
            next: bounds.offsets.start,
            bounds,
            window: Bytes::new(),
            window_at: 0,
        }
    }

    /// Where in the file it is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// The system refuses to read.
    pub async fn next(&mut self) -> io::Result<Option<Stretch>> {
        if self.position >= self.bounds.bytes {
            return Ok(None);
        }
        let at = self.position;
        let flaw = match self.batch(at).await? {
            Ok(header) if self.fits(at, &header).await? => {
                self.position += header.total_len() as u64;
                self.next = header.next_offset();
                return Ok(Some(Stretch::Batch(at, header)));
            }
            Ok(_) => Flaw::Offsets,
            Err(flaw) => flaw,
        };
        let (behind, offset) = match self.next_batch(at).await? {
            Some((behind, header)) => (behind, header.base_offset),
            None => (self.bounds.bytes, self.bounds.offsets.end),
        };
        let damage = Damage {
            offsets: self.next..offset.max(self.next),
            position: at,
            bytes: behind - at,
            flaw,
        };
        self.position = behind;
        self.next = damage.offsets.end;
        Ok(Some(Stretch::Damage(damage)))
    }

    /// The batch at `at`, if it can stand there.
    async fn batch(&mut self, at: u64) -> io::Result<Result<BatchHeader, Flaw>> {
        let left = self.bounds.bytes - at;
        if left < batch::HEADER as u64 {
            return Ok(Err(Flaw::Length));
        }
        let head = self.bytes(at, batch::HEADER as u64).await?;
        if head.len() < batch::HEADER {
            return Ok(Err(Flaw::Missing));
        }
        let header = match BatchHeader::read(head) {
            Ok(header) => header,
            Err(cause) => return Ok(Err(Flaw::Header(Arc::new(cause)))),
        };
        let len = header.total_len() as u64;
        if len > left {
            return Ok(Err(Flaw::Length));
        }
        if header.base_offset < self.next || header.next_offset() > self.bounds.offsets.end {
            return Ok(Err(Flaw::Offsets));
        }
        let whole = self.bytes(at, len).await?;
        if (whole.len() as u64) < len {
            return Ok(Err(Flaw::Missing));
        }
        Ok(if !batch::verify_crc(whole) {
            Err(Flaw::Checksum)
        } else if !epoch_fits(self.epochs, &header) {
            Err(Flaw::Epoch)
        } else {
            Ok(header)
        })
    }

    /// A batch that leaves offsets out is what compaction left, unless the next one says that it stands too high.
    async fn fits(&mut self, at: u64, header: &BatchHeader) -> io::Result<bool> {
        let behind = at + header.total_len() as u64;
        if header.base_offset == self.next || behind >= self.bounds.bytes {
            return Ok(true);
        }
        Ok(match self.batch(behind).await? {
            Ok(following) => following.base_offset > header.last_offset(),
            Err(_) => true,
        })
    }

    /// The first batch behind the damage at `at`.
    async fn next_batch(&mut self, at: u64) -> io::Result<Option<(u64, BatchHeader)>> {
        // Most damage leaves the length as it was.
        let head = self.bytes(at, batch::HEADER as u64).await?;
        if let Ok(header) = BatchHeader::read(head) {
            let behind = at + header.total_len() as u64;
            if behind < self.bounds.bytes
                && let Ok(header) = self.batch(behind).await?
            {
                return Ok(Some((behind, header)));
            }
        }
        for behind in at + 1..self.bounds.bytes.saturating_sub(batch::HEADER as u64) {
            let head = self.bytes(behind, batch::HEADER as u64).await?;
            if head.get(MAGIC_AT) == Some(&2)
                && let Ok(header) = self.batch(behind).await?
            {
                return Ok(Some((behind, header)));
            }
        }
        Ok(None)
    }

    /// `len` bytes from `at` on, or what the file has of them.
    async fn bytes(&mut self, at: u64, len: u64) -> io::Result<&[u8]> {
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + len > window_end {
            let end = self.bounds.bytes.min(at + len.max(WINDOW));
            self.window = self.source.bytes(at..end).await?;
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        let to = self.window.len().min(from + len as usize);
        Ok(&self.window[from..to])
    }
}

/// Whether a batch has the leader epoch that the log has at its offset. Batches of old clusters have none.
pub fn epoch_fits(epochs: &Epochs, header: &BatchHeader) -> bool {
    let known = epochs.epoch_at(header.base_offset);
    header.partition_leader_epoch == -1
        || known.is_none_or(|epoch| epoch == header.partition_leader_epoch)
}
