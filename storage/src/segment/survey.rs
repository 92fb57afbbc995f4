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

    /// Where there is something again, behind a place where nothing is.
    fn resumes_behind(&self, position: u64) -> Option<u64>;
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

    fn resumes_behind(&self, _position: u64) -> Option<u64> {
        None
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
    /// What there is of a part of the segment, from its start on.
    window: Bytes,
    part: Range<u64>,
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
            part: 0..0,
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
        let mut behind = at + 1;
        while behind + batch::HEADER as u64 <= self.bounds.bytes {
            let head = self.bytes(behind, batch::HEADER as u64).await?;
            if head.len() < batch::HEADER {
                let Some(resumes) = self.source.resumes_behind(behind) else {
                    return Ok(None);
                };
                behind = resumes;
                continue;
            }
            if head[MAGIC_AT] == 2
                && let Ok(header) = self.batch(behind).await?
            {
                return Ok(Some((behind, header)));
            }
            behind += 1;
        }
        Ok(None)
    }

    /// `len` bytes from `at` on, or what the file has of them.
    async fn bytes(&mut self, at: u64, len: u64) -> io::Result<&[u8]> {
        if at < self.part.start || at + len > self.part.end {
            let end = self.bounds.bytes.min(at + len.max(WINDOW));
            self.window = self.source.bytes(at..end).await?;
            let found = at + self.window.len() as u64;
            let resumes = self.source.resumes_behind(found);
            self.part = at..end.min(resumes.unwrap_or(end));
        }
        let from = self.window.len().min((at - self.part.start) as usize);
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use millstream_protocol::batch::BatchBuilder;
    use millstream_protocol::compress::Codec;
    use millstream_ring::{Buffer, block_on};

    use super::*;

    /// A file that ends early, and memory that has what stands from some place on.
    struct Torn {
        file: Vec<u8>,
        memory: Vec<u8>,
        memory_at: u64,
        reads: Cell<usize>,
    }

    impl Source for &Torn {
        async fn bytes(&self, range: Range<u64>) -> io::Result<Bytes> {
            self.reads.set(self.reads.get() + 1);
            let (part, starts) = match range.start < self.memory_at {
                true => (&self.file, 0),
                false => (&self.memory, self.memory_at),
            };
            let within = |at: u64| part.len().min((at - starts) as usize);
            let found = &part[within(range.start)..within(range.end)];
            let mut bytes = Buffer::with_capacity(found.len());
            bytes.extend_from_slice(found);
            Ok(bytes.freeze())
        }

        fn resumes_behind(&self, position: u64) -> Option<u64> {
            let more = !self.memory.is_empty() && position < self.memory_at;
            more.then_some(self.memory_at)
        }
    }

    fn batches(offsets: Range<i64>) -> Vec<u8> {
        let batch = |offset| {
            let mut batch = BatchBuilder::new(Codec::None, 0);
            batch.push(0, None, Some(b"value"), &[]);
            batch.finish(offset)
        };
        offsets.flat_map(batch).collect()
    }

    /// Offsets of the batches, then of what is damaged, and how often something was read.
    fn survey(torn: Torn, bounds: Bounds) -> (Vec<i64>, Vec<(i64, i64)>, usize) {
        block_on(async move |_| {
            let epochs = Epochs::default();
            let mut survey = Survey::new(&torn, bounds, &epochs);
            let (mut whole, mut damaged) = (Vec::new(), Vec::new());
            while let Some(stretch) = survey.next().await.expect("it can be read") {
                match stretch {
                    Stretch::Batch(_, header) => whole.push(header.base_offset),
                    Stretch::Damage(Damage { offsets, .. }) => {
                        damaged.push((offsets.start, offsets.end));
                    }
                }
            }
            (whole, damaged, torn.reads.get())
        })
    }

    #[test]
    fn what_is_not_there_is_not_read_byte_by_byte() {
        let mut file = batches(0..2);
        file.pop();
        let torn = Torn {
            file,
            memory: Vec::new(),
            memory_at: u64::MAX,
            reads: Cell::new(0),
        };
        let bounds = Bounds {
            bytes: 1 << 30,
            offsets: 0..1000,
        };
        let (whole, damaged, reads) = survey(torn, bounds);
        assert_eq!((whole, damaged), (vec![0], vec![(1, 1000)]));
        assert!(reads < 10, "{reads}");
    }

    #[test]
    fn behind_what_is_not_there_memory_goes_on() {
        for missing in [1, batch::HEADER as u64, 10 * WINDOW] {
            let (file, memory) = (batches(0..2), batches(5..7));
            let memory_at = file.len() as u64 + missing;
            let bounds = Bounds {
                bytes: memory_at + memory.len() as u64,
                offsets: 0..7,
            };
            let torn = Torn {
                file,
                memory,
                memory_at,
                reads: Cell::new(0),
            };
            let (whole, damaged, reads) = survey(torn, bounds);
            assert_eq!(
                (whole, damaged),
                (vec![0, 1, 5, 6], vec![(2, 5)]),
                "{missing}"
            );
            assert!(reads < 10, "{reads}");
        }
    }
}
