//! Record batch v2 as a view of bytes: header, checksum, walking concatenated batches.
//!
//! Layout of the 61-byte header, big endian: base_offset 8, batch_length 4, partition_leader_epoch 4, magic 1, crc 4,
//! then what the CRC-32C covers: attributes 2, last_offset_delta 4, base_timestamp 8, max_timestamp 8, producer_id 8,
//! producer_epoch 2, base_sequence 4, record_count 4 and the records (Kafka: `DefaultRecordBatch`). Offset and leader
//! epoch stand outside the checksum, so a broker places a batch without touching its records.

use crate::compress::Codec;

mod build;
mod error;
mod records;
mod verify;

pub use build::{BatchBuilder, ControlType, end_transaction_marker};
pub use error::BatchError;
pub use records::{Header, Headers, Record, RecordError, RecordIter, records};
pub use verify::{ProduceRules, recode, rejected_records, verify_produced};

/// Bytes of a batch before its first record.
pub const HEADER: usize = 61;
/// base_offset and batch_length: what is not counted in batch_length.
const LOG_OVERHEAD: usize = 12;
/// The CRC covers everything from the attributes on.
const CRC_START: usize = 21;
const MAGIC: i8 = 2;
/// "No timestamp" of a record or batch.
pub const NO_TIMESTAMP: i64 = -1;

const CODEC_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// Who set the timestamps of a batch (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer, record by record.
    #[default]
    CreateTime,
    /// The broker: every record counts as having the batch's max_timestamp.
    LogAppendTime,
}

/// The fields of a batch header under Kafka's names.
///
/// [`BatchHeader::read`] is the only way from bytes; what it returned has a possible length, magic 2, a known codec, a
/// non-negative last_offset_delta that does not overflow, and a non-negative record_count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record. 0 from a producer; assigned at append.
    pub base_offset: i64,
    /// Bytes after this field: the whole batch less 12.
    pub batch_length: i32,
    /// Leader epoch at append; noise from a producer.
    pub partition_leader_epoch: i32,
    /// Always 2.
    pub magic: i8,
    /// CRC-32C from the attributes to the end of the batch.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon: read through the methods.
    pub attributes: i16,
    /// Offset of the last record less base_offset; may exceed record_count − 1 after compaction.
    pub last_offset_delta: i32,
    /// Milliseconds that the records' deltas count from; with [`BatchHeader::has_delete_horizon`] that horizon.
    pub base_timestamp: i64,
    /// Largest timestamp in milliseconds, −1 if none.
    pub max_timestamp: i64,
    /// −1 without idempotence.
    pub producer_id: i64,
    /// −1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence of the first record, −1 without idempotence.
    pub base_sequence: i32,
    /// Records in the batch; may be 0 after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there. Errors: fewer than 61 bytes
    /// ([`BatchError::Missing`]), or a field that no batch can have.
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        check_frame(bytes)?;
        let mut rest = bytes
            .first_chunk::<HEADER>()
            .ok_or(BatchError::Missing)?
            .as_slice();
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(&mut rest)),
            batch_length: i32::from_be_bytes(field(&mut rest)),
            partition_leader_epoch: i32::from_be_bytes(field(&mut rest)),
            magic: i8::from_be_bytes(field(&mut rest)),
            crc: u32::from_be_bytes(field(&mut rest)),
            attributes: i16::from_be_bytes(field(&mut rest)),
            last_offset_delta: i32::from_be_bytes(field(&mut rest)),
            base_timestamp: i64::from_be_bytes(field(&mut rest)),
            max_timestamp: i64::from_be_bytes(field(&mut rest)),
            producer_id: i64::from_be_bytes(field(&mut rest)),
            producer_epoch: i16::from_be_bytes(field(&mut rest)),
            base_sequence: i32::from_be_bytes(field(&mut rest)),
            record_count: i32::from_be_bytes(field(&mut rest)),
        };
        let codec = header.codec_id();
        if Codec::from_id(codec).is_none() {
            return Err(BatchError::Codec(codec));
        }
        let delta = header.last_offset_delta;
        if delta < 0
            || header.base_offset < 0
            || header.base_offset.checked_add(i64::from(delta)).is_none()
        {
            return Err(BatchError::OffsetRange {
                base_offset: header.base_offset,
                last_offset_delta: delta,
            });
        }
        if header.record_count < 0 {
            return Err(BatchError::Count {
                record_count: header.record_count,
                last_offset_delta: delta,
            });
        }
        Ok(header)
    }

    /// Writes all fields as they are, the CRC too.
    pub fn write(&self, out: &mut [u8; HEADER]) {
        let mut rest = out.as_mut_slice();
        put(&mut rest, self.base_offset.to_be_bytes());
        put(&mut rest, self.batch_length.to_be_bytes());
        put(&mut rest, self.partition_leader_epoch.to_be_bytes());
        put(&mut rest, self.magic.to_be_bytes());
        put(&mut rest, self.crc.to_be_bytes());
        put(&mut rest, self.attributes.to_be_bytes());
        put(&mut rest, self.last_offset_delta.to_be_bytes());
        put(&mut rest, self.base_timestamp.to_be_bytes());
        put(&mut rest, self.max_timestamp.to_be_bytes());
        put(&mut rest, self.producer_id.to_be_bytes());
        put(&mut rest, self.producer_epoch.to_be_bytes());
        put(&mut rest, self.base_sequence.to_be_bytes());
        put(&mut rest, self.record_count.to_be_bytes());
    }

    /// Bytes of the whole batch, header included.
    pub fn total_len(&self) -> usize {
        // `read` has refused anything shorter than a header.
        usize::try_from(self.batch_length).unwrap_or(0) + LOG_OVERHEAD
    }

    /// Offset of the last record (or of the last one that compaction removed).
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record, −1 without idempotence. After 2³¹−1 comes 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Codec {
        // `read` has refused other ids.
        Codec::from_id(self.codec_id()).unwrap_or_default()
    }

    /// Who set the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is the broker's own word (a transaction marker), hidden by consumers.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether base_timestamp is the time after which compaction drops tombstones and markers (KIP-534).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// Makes all records count as arrived at `now` (milliseconds): bit 3, max_timestamp, and the CRC over `records`, the
    /// bytes behind the header.
    pub fn stamp_log_append_time(&mut self, now: i64, records: &[u8]) {
        self.attributes |= LOG_APPEND_TIME;
        self.max_timestamp = now;
        self.crc = self.checksum(records);
    }

    /// The CRC that this header has with `records` (the bytes behind it, compressed or not).
    pub fn checksum(&self, records: &[u8]) -> u32 {
        let mut bytes = [0; HEADER];
        self.write(&mut bytes);
        crc32c::crc32c_append(crc32c::crc32c(&bytes[CRC_START..]), records)
    }

    fn codec_id(&self) -> u8 {
        (self.attributes & CODEC_MASK) as u8
    }
}

/// Length and magic: what decides whether the rest may be read as a header at all.
fn check_frame(bytes: &[u8]) -> Result<(), BatchError> {
    let (Some(length), Some(&magic)) = (bytes.get(8..LOG_OVERHEAD), bytes.get(16)) else {
        return Err(BatchError::Missing);
    };
    let length = i32::from_be_bytes(length.try_into().expect("a slice of four bytes"));
    let magic = magic as i8;
    // Old formats may be shorter than a header of today: they are told by their magic, not as corruption.
    if magic != MAGIC && length >= 0 {
        return Err(BatchError::Magic(magic));
    }
    if usize::try_from(length).map_or(0, |length| length + LOG_OVERHEAD) < HEADER {
        return Err(BatchError::Length(length));
    }
    Ok(())
}

fn field<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .expect("the fields of a header fill its 61 bytes");
    *rest = tail;
    *head
}

fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    let (head, tail) = std::mem::take(rest)
        .split_first_chunk_mut::<N>()
        .expect("the fields of a header fill its 61 bytes");
    *head = bytes;
    *rest = tail;
}

/// Whether the one whole batch in `bytes` carries the CRC of its contents.
pub fn verify_crc(bytes: &[u8]) -> bool {
    match (bytes.get(17..CRC_START), bytes.get(CRC_START..)) {
        (Some(stored), Some(covered)) => {
            bytes.len() >= HEADER && crc32c::crc32c(covered).to_be_bytes() == *stored
        }
        _ => false,
    }
}

/// Walks concatenated batches: a segment file, or the records field of a response.
///
/// Ends cleanly where no whole batch follows: at the end, at zeros (the padding of a preallocated file), and at a batch
/// that is cut short. Anything else that cannot be a batch is an error, after which it ends too. CRCs are not computed:
/// see [`verify_crc`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// From the start of a batch on.
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches {
            bytes,
            position: 0,
            failed: false,
        }
    }

    /// Where the next batch starts; after the end, where whole batches end.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.position..).filter(|_| !self.failed)?;
        // No batch of any format has length 0, so zeros up to the magic are padding.
        if rest.get(..17)?.iter().all(|byte| *byte == 0) {
            return None;
        }
        match BatchHeader::read(rest) {
            Ok(header) => {
                let batch = rest.get(..header.total_len())?;
                self.position += batch.len();
                Some(Ok((header, batch)))
            }
            Err(BatchError::Missing) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
