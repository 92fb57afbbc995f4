//! Writing: infallible step by step, checked once at the end.

use super::EncodeError;
use crate::uuid::Uuid;

/// Bytes left out of a message, to be sent from elsewhere: `len` bytes belong at `position` of the written ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Index into the bytes that were written.
    pub position: usize,
    /// How many bytes are missing there.
    pub len: usize,
}

/// A finished message: what was written, and where record bytes go in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes without those of the gaps.
    pub bytes: Vec<u8>,
    /// In rising position.
    pub gaps: Vec<Gap>,
}

/// Collects a message. Mistakes of the sender are remembered, and [`Writer::finish`] reports the first:
/// the many small writes stay free of error paths, and nothing wrong gets out.
#[derive(Debug, Default)]
pub struct Writer {
    buf: Vec<u8>,
    gaps: Vec<Gap>,
    fault: Option<EncodeError>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Writer {
            buf: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Bytes written so far, without gaps.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes that stand for the message on the wire so far: those written and those of the gaps.
    pub fn wire_len(&self) -> usize {
        self.buf.len() + self.gaps.iter().map(|gap| gap.len).sum::<usize>()
    }

    /// The message, or the first thing that was wrong with it.
    pub fn finish(self) -> Result<Encoded, EncodeError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(Encoded {
                bytes: self.buf,
                gaps: self.gaps,
            }),
        }
    }

    /// Remembers the first fault.
    #[cold]
    pub fn fail(&mut self, fault: EncodeError) {
        self.fault.get_or_insert(fault);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Overwrites an INT32 written before (a length that is known only now).
    pub fn patch_i32(&mut self, position: usize, value: i32) {
        self.buf[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// BOOLEAN
    pub fn bool(&mut self, value: bool) {
        self.buf.push(u8::from(value));
    }

    /// INT8
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// INT16
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// UINT16
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// INT32
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// UINT32
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// INT64
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// FLOAT64
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// UUID
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    /// UNSIGNED_VARINT
    pub fn uvarint(&mut self, value: u32) {
        self.varint_bits(u64::from(value));
    }

    /// VARINT
    pub fn varint(&mut self, value: i32) {
        self.uvarint((value << 1 ^ value >> 31) as u32);
    }

    /// VARLONG
    pub fn varlong(&mut self, value: i64) {
        self.varint_bits((value << 1 ^ value >> 63) as u64);
    }

    fn varint_bits(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buf.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.push(value as u8);
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING.
    pub fn string(&mut self, compact: bool, value: Option<&str>) {
        let length = value.map(str::len);
        match (compact, length) {
            (true, _) => self.long_length(true, length),
            (false, None) => self.i16(-1),
            (false, Some(length)) => match i16::try_from(length) {
                Ok(length) => self.i16(length),
                Err(_) => self.fail(EncodeError::TooLong(length)),
            },
        }
        self.raw(value.unwrap_or_default().as_bytes());
    }

    /// NULLABLE_BYTES or COMPACT_NULLABLE_BYTES.
    pub fn bytes(&mut self, compact: bool, value: Option<&[u8]>) {
        self.long_length(compact, value.map(<[u8]>::len));
        self.raw(value.unwrap_or_default());
    }

    /// The length of NULLABLE_BYTES whose `len` bytes are sent from elsewhere.
    pub fn gap(&mut self, compact: bool, len: usize) {
        self.long_length(compact, Some(len));
        self.gaps.push(Gap {
            position: self.buf.len(),
            len,
        });
    }

    /// The element count of an array, `None` for null.
    pub fn array(&mut self, compact: bool, count: Option<usize>) {
        self.long_length(compact, count);
    }

    fn long_length(&mut self, compact: bool, length: Option<usize>) {
        match (compact, length.map(i32::try_from)) {
            (_, Some(Err(_))) => self.fail(EncodeError::TooLong(length.unwrap_or_default())),
            (true, None) => self.uvarint(0),
            (true, Some(Ok(length))) => self.uvarint(length as u32 + 1),
            (false, None) => self.i32(-1),
            (false, Some(Ok(length))) => self.i32(length),
        }
    }

    /// Turns what was written since `start` into a tagged field, by putting tag and size in front of it.
    pub fn tag_from(&mut self, start: usize, tag: u32) {
        assert!(
            self.gaps.last().is_none_or(|gap| gap.position <= start),
            "no gaps inside a tagged field"
        );
        let size = self.buf.len() - start;
        let end = self.buf.len();
        self.uvarint(tag);
        match u32::try_from(size) {
            Ok(size) => self.uvarint(size),
            Err(_) => self.fail(EncodeError::TooLong(size)),
        }
        let front = self.buf.len() - end;
        self.buf[start..].rotate_right(front);
    }
}
