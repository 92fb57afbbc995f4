//! Everything that can be wrong with a batch, and what a producer is told about it.

use super::RecordError;
use crate::compress::DecompressError;
use crate::error::ErrorCode;

/// What is wrong with a batch. [`BatchError::code`] is what a producer is told.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a batch has, or than its length says.
    #[error("there must be one whole record batch per partition")]
    Missing,
    /// More bytes follow the batch.
    #[error(
        "there must be exactly one record batch per partition, found more behind {total_len} bytes"
    )]
    Several {
        /// Bytes of the first batch.
        total_len: usize,
    },
    /// A length that not even the header fits in.
    #[error("record batch length {0} is too small for a batch header")]
    Length(i32),
    /// Another format: 0 and 1 are Kafka's old ones.
    #[error("record batches must have magic version 2, found {0}")]
    Magic(i8),
    /// A codec id that is not in use.
    #[error("unknown compression type id {0}")]
    Codec(u8),
    /// zstd in a Produce request of version 6 or older (KIP-110).
    #[error("Produce version {version} must not carry zstd")]
    ZstdVersion {
        /// Version of the Produce request.
        version: i16,
    },
    /// Above `max.message.bytes`.
    #[error("the record batch has {size} bytes, more than the maximum of {max}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// The topic's limit.
        max: usize,
    },
    /// The bytes are not those the sender had.
    #[error("record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Crc {
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// A producer numbers its batches from 0.
    #[error("the baseOffset of a produced record batch should be 0, but it is {0}")]
    BaseOffset(i64),
    /// Offsets that do not ascend, are negative or leave 64 bits.
    #[error(
        "invalid offset range: base offset {base_offset}, last offset delta {last_offset_delta}"
    )]
    OffsetRange {
        /// First offset.
        base_offset: i64,
        /// Distance to the last.
        last_offset_delta: i32,
    },
    /// No records, or not as many as the offsets say.
    #[error("record count {record_count} does not fit the last offset delta {last_offset_delta}")]
    Count {
        /// Count in the header.
        record_count: i32,
        /// Offset delta in the header.
        last_offset_delta: i32,
    },
    /// The control bit in a produced batch.
    #[error("clients are not allowed to write control records")]
    Control,
    /// A producer id without a sequence.
    #[error(
        "invalid sequence number {base_sequence} in record batch with producerId {producer_id}"
    )]
    Sequence {
        /// Producer id in the header.
        producer_id: i64,
        /// Sequence in the header.
        base_sequence: i32,
    },
    /// The LogAppendTime bit in a produced batch.
    #[error(
        "invalid timestamp type in message: producers must not set the timestamp type to LogAppendTime"
    )]
    TimestampType,
    /// max_timestamp of a batch that was not opened lies outside `message.timestamp.before/after.max.ms`.
    #[error(
        "timestamp {timestamp} of the batch is out of range, it should be within [{earliest}, {latest}]"
    )]
    Timestamp {
        /// Milliseconds.
        timestamp: i64,
        /// Lower bound, inclusive.
        earliest: i64,
        /// Upper bound, inclusive.
        latest: i64,
    },
    /// One record is wrong.
    #[error("record {index}: {error}")]
    Record {
        /// Its place in the batch from 0: `batch_index` of Produce's record_errors.
        index: i32,
        /// What is wrong with it.
        #[source]
        error: RecordError,
    },
    /// Bytes are left behind the last record.
    #[error("{bytes} bytes are left behind the last of {record_count} records")]
    Trailing {
        /// How many.
        bytes: usize,
        /// Records that were read.
        record_count: i32,
    },
    /// The records could not be unpacked.
    #[error("compressed records: {0}")]
    Decompress(#[from] DecompressError),
}

impl BatchError {
    /// The error code of a Produce response.
    ///
    /// Where Kafka has no code of its own (records that do not unpack end as UNKNOWN_SERVER_ERROR there) it is
    /// INVALID_RECORD: CORRUPT_MESSAGE would make clients send bytes again whose CRC was right.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::Length(_) | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::Magic(magic) if !matches!(magic, 0..=2) => ErrorCode::CorruptMessage,
            BatchError::Codec(_) | BatchError::ZstdVersion { .. } => {
                ErrorCode::UnsupportedCompressionType
            }
            BatchError::TooLarge { .. }
            | BatchError::Decompress(DecompressError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            BatchError::TimestampType
            | BatchError::Timestamp { .. }
            | BatchError::Record {
                error: RecordError::Timestamp { .. },
                ..
            } => ErrorCode::InvalidTimestamp,
            _ => ErrorCode::InvalidRecord,
        }
    }

    /// The record that is wrong, for `record_errors` (Produce v8+).
    pub fn record_index(&self) -> Option<i32> {
        match self {
            BatchError::Record { index, .. } => Some(*index),
            _ => None,
        }
    }
}
