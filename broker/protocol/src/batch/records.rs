//! The records inside a batch.
//!
//! A record: varint length, attributes 1 (unused), varlong timestamp delta, varint offset delta, varint key length (−1
//! null) and key, the same for the value, varint header count, and for each header varint key length and key, varint
//! value length (−1 null) and value. All numbers zig-zag encoded (Kafka: `DefaultRecord`).

use super::{BatchError, BatchHeader, HEADER, TimestampType};
use crate::compress::{Codec, decompress_into};

/// Why a record cannot be read or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside it.
    #[error("cut short")]
    CutShort,
    /// A varint of more than five bytes (ten for a timestamp).
    #[error("variable-length number has too many bytes")]
    Varint,
    /// A length that is negative or leads out of the record.
    #[error("invalid length {0}")]
    Length(i32),
    /// Its fields end before or behind its declared length.
    #[error("{0} bytes are left behind its last field")]
    Size(usize),
    /// Offsets inside a produced batch count up from 0.
    #[error("offset delta {0} is not its place in the batch")]
    OffsetDelta(i32),
    /// No key, in a compacted topic.
    #[error("compacted topic cannot accept message without key")]
    NoKey,
    /// Outside `message.timestamp.before/after.max.ms`.
    #[error("timestamp {timestamp} is out of range, it should be within [{earliest}, {latest}]")]
    Timestamp {
        /// Milliseconds.
        timestamp: i64,
        /// Lower bound, inclusive.
        earliest: i64,
        /// Upper bound, inclusive.
        latest: i64,
    },
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the log.
    pub offset: i64,
    /// Milliseconds; the batch's max_timestamp under LogAppendTime.
    pub timestamp: i64,
    /// `None` is null.
    pub key: Option<&'a [u8]>,
    /// `None` is null: a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// In the order written; keys may repeat.
    pub headers: Headers<'a>,
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8 by agreement of clients; not checked.
    pub key: &'a [u8],
    /// `None` is null.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    cursor: Cursor<'a>,
    left: i32,
}

impl Headers<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        usize::try_from(self.left).unwrap_or(0)
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left <= 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1).filter(|left| *left >= 0)?;
        self.cursor.header().ok()
    }
}

/// The records of the one whole batch in `bytes`, unpacked into `scratch` if they are compressed.
///
/// At most `decompressed_max` bytes are unpacked. The iterator yields exactly record_count records, or an error and then
/// nothing more. The CRC is not checked.
pub fn records<'a>(
    bytes: &'a [u8],
    scratch: &'a mut Vec<u8>,
    decompressed_max: usize,
) -> Result<RecordIter<'a>, BatchError> {
    let header = BatchHeader::read(bytes)?;
    let packed = bytes
        .get(HEADER..header.total_len())
        .ok_or(BatchError::Missing)?;
    let plain = unpack(&header, packed, scratch, decompressed_max)?;
    Ok(RecordIter {
        header,
        cursor: Cursor(plain),
        index: 0,
    })
}

/// The plain records behind `header`: `packed` itself, or `scratch` filled from it.
pub(super) fn unpack<'a>(
    header: &BatchHeader,
    packed: &'a [u8],
    scratch: &'a mut Vec<u8>,
    decompressed_max: usize,
) -> Result<&'a [u8], BatchError> {
    if header.codec() == Codec::None {
        return Ok(packed);
    }
    decompress_into(header.codec(), packed, decompressed_max, scratch)?;
    Ok(scratch)
}

/// Iterator over the records of a batch: see [`records`].
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    cursor: Cursor<'a>,
    index: i32,
}

impl<'a> RecordIter<'a> {
    fn read(&mut self) -> Result<Record<'a>, BatchError> {
        let index = self.index;
        let record = self
            .cursor
            .record()
            .map_err(|error| BatchError::Record { index, error })?;
        self.index += 1;
        if self.index == self.header.record_count && !self.cursor.0.is_empty() {
            return Err(BatchError::Trailing {
                bytes: self.cursor.0.len(),
                record_count: self.header.record_count,
            });
        }
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self
                .header
                .base_timestamp
                .wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        Ok(Record {
            offset: self
                .header
                .base_offset
                .saturating_add(i64::from(record.offset_delta)),
            timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.record_count {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.index = self.header.record_count;
        }
        Some(record)
    }
}

/// A record as it stands in the bytes, its numbers still relative to the batch.
pub(super) struct RawRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Bounded reading of records: every method fails rather than read past the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    pub fn record(&mut self) -> Result<RawRecord<'a>, RecordError> {
        let length = self.varint()?;
        let mut body = Cursor(self.bytes(length)?);
        body.bytes(1)?; // attributes: none are defined
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable_bytes()?;
        let value = body.nullable_bytes()?;
        let left = body.varint()?;
        // A header takes two bytes at least, so a count is believed no further than the bytes go.
        if usize::try_from(left).map_or(true, |left| left > body.0.len() / 2) {
            return Err(RecordError::Length(left));
        }
        let headers = Headers { cursor: body, left };
        for _ in 0..left {
            body.header()?;
        }
        if !body.0.is_empty() {
            return Err(RecordError::Size(body.0.len()));
        }
        Ok(RawRecord {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        })
    }

    fn header(&mut self) -> Result<Header<'a>, RecordError> {
        let length = self.varint()?;
        Ok(Header {
            key: self.bytes(length)?,
            value: self.nullable_bytes()?,
        })
    }

    #[inline]
    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        let length = self.varint()?;
        // Kafka writes −1 and reads any negative length as null.
        if length < 0 {
            Ok(None)
        } else {
            self.bytes(length).map(Some)
        }
    }

    #[inline]
    fn bytes(&mut self, length: i32) -> Result<&'a [u8], RecordError> {
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.0.split_at_checked(length));
        let (head, tail) = split.ok_or(RecordError::Length(length))?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, RecordError> {
        let value = self.unsigned(5)? as u32;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let value = self.unsigned(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Seven bits a byte, lowest first; bits beyond the type fall off, as in Kafka's `ByteUtils`.
    #[inline]
    fn unsigned(&mut self, bytes_max: usize) -> Result<u64, RecordError> {
        // Nearly every number in a record fits one byte.
        if let Some((&byte, tail)) = self.0.split_first()
            && byte < 0x80
        {
            self.0 = tail;
            return Ok(u64::from(byte));
        }
        let mut value = 0u64;
        for (index, &byte) in self.0.iter().take(bytes_max).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.0.len() < bytes_max {
            RecordError::CutShort
        } else {
            RecordError::Varint
        })
    }
}
