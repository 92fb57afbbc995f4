//! The one place where an error of storage becomes a code on the wire.

use millstream_protocol::error::ErrorCode;
use millstream_state::controller::Refusal;
use millstream_storage::{AppendError, ReadError, StoreError};

use crate::knobs::alter;

pub(crate) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Offline(_) => ErrorCode::KafkaStorageError,
        AppendError::Deleted => ErrorCode::UnknownTopicOrPartition,
        // Kafka has no code for it. Not retriable.
        AppendError::OutOfOffsets => ErrorCode::UnknownServerError,
        // Retriable: the same batch may fit when space is free again.
        AppendError::NoSpace => ErrorCode::KafkaStorageError,
        AppendError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
    }
}

pub(crate) fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::Offline(_)
        | ReadError::Io { .. }
        | ReadError::Segment(_)
        | ReadError::Snapshot(_) => ErrorCode::KafkaStorageError,
    }
}

pub(crate) fn of_store(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        StoreError::Unknown => ErrorCode::UnknownTopicOrPartition,
        StoreError::Exists => ErrorCode::TopicAlreadyExists,
        StoreError::NoSuchDir(_) => ErrorCode::LogDirNotFound,
        StoreError::Offline(_) | StoreError::NoSpace | StoreError::Io { .. } => {
            ErrorCode::KafkaStorageError
        }
    }
}

pub(crate) fn of_config(refusal: alter::Refusal) -> Refusal {
    let error = match &refusal {
        alter::Refusal::InvalidConfig(_) => ErrorCode::InvalidConfig,
        alter::Refusal::InvalidRequest(_) => ErrorCode::InvalidRequest,
    };
    Refusal {
        error,
        message: Some(refusal.to_string()),
    }
}
