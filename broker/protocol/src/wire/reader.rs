//! Reading: every length is checked against what remains before it is used.

use std::borrow::Cow;

use super::{ARRAY_ELEMENTS_MAX, DecodeError, TAGGED_FIELDS_MAX};
use crate::uuid::Uuid;

/// A cursor over borrowed bytes. Nothing it returns is longer than what remains, and it never panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes }
    }

    /// How many bytes are still to be read.
    pub fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// What is still to be read, without reading it.
    pub fn rest(&self) -> &'a [u8] {
        self.left
    }

    /// Ends the reading: bytes left over are an error.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self
            .left
            .split_at_checked(len)
            .ok_or_else(|| self.truncated(len))?;
        self.left = left;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (chunk, left) = self
            .left
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated(N))?;
        self.left = left;
        Ok(*chunk)
    }

    #[cold]
    fn truncated(&self, wanted: usize) -> DecodeError {
        DecodeError::Truncated {
            wanted,
            left: self.left.len(),
        }
    }

    /// BOOLEAN: every byte but 0 is true, as for Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// INT8
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.chunk()?))
    }

    /// INT16
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.chunk()?))
    }

    /// UINT16
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.chunk()?))
    }

    /// INT32
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.chunk()?))
    }

    /// UINT32
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.chunk()?))
    }

    /// INT64
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.chunk()?))
    }

    /// FLOAT64
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.chunk()?))
    }

    /// UUID
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.chunk()?))
    }

    /// UNSIGNED_VARINT: 7 bits a byte, lowest first, at most 5 bytes.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let value = self.varint_bits(5)?;
        u32::try_from(value).ok().ok_or(DecodeError::VarintTooLong)
    }

    /// VARINT: zigzag of 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let bits = self.uvarint()?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    /// VARLONG: zigzag of 64 bits, at most 10 bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let bits = self.varint_bits(10)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_bits(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for place in 0..bytes_max {
            let [byte] = self.chunk()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if place == 9 && bits > 1 {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A classic length: -1 is null.
    fn length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length)
                .map(Some)
                .ok()
                .ok_or(DecodeError::NegativeLength(length)),
        }
    }

    /// A compact length: the value plus one, 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING. Bytes that are not UTF-8 become U+FFFD, as Kafka's decoder has it:
    /// a client with a Latin-1 client id is served, and such a topic name is refused as invalid, not as a broken frame.
    pub fn string(&mut self, compact: bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let length = match compact {
            true => self.compact_length()?,
            false => {
                let length = self.i16()?;
                self.length(i32::from(length))?
            }
        };
        length
            .map(|length| Ok(String::from_utf8_lossy(self.take(length)?)))
            .transpose()
    }

    /// NULLABLE_BYTES or COMPACT_NULLABLE_BYTES (records have the same form).
    pub fn bytes(&mut self, compact: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        self.long_length(compact)?
            .map(|length| self.take(length))
            .transpose()
    }

    /// The element count of an array; null is `None`. `element_min` is the smallest encoding of one element: a count
    /// that could not fit into what remains is refused here, before anything is allocated for it.
    pub fn array(
        &mut self,
        compact: bool,
        element_min: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.long_length(compact)? else {
            return Ok(None);
        };
        if count > ARRAY_ELEMENTS_MAX {
            return Err(DecodeError::ArrayTooLong(count));
        }
        match count.saturating_mul(element_min.max(1)) {
            wanted if wanted > self.remaining() => Err(self.truncated(wanted)),
            _ => Ok(Some(count)),
        }
    }

    fn long_length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        match compact {
            true => self.compact_length(),
            false => {
                let length = self.i32()?;
                self.length(length)
            }
        }
    }

    /// How many tagged fields follow.
    pub fn tag_count(&mut self) -> Result<u32, DecodeError> {
        match self.uvarint()? {
            count if count > TAGGED_FIELDS_MAX => Err(DecodeError::TooManyTaggedFields(count)),
            count => Ok(count),
        }
    }

    /// One tagged field: its tag and a reader of exactly its bytes.
    pub fn tagged(&mut self) -> Result<(u32, Reader<'a>), DecodeError> {
        let tag = self.uvarint()?;
        let size = self.uvarint()?;
        Ok((tag, Reader::new(self.take(size as usize)?)))
    }

    /// Skips a section of tagged fields of which none is known.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count()? {
            self.tagged()?;
        }
        Ok(())
    }
}
