//! A produced batch that is not taken: what the client is told, as Kafka's `ReplicaManager` and `LogValidator` tell it.

use std::fmt::Write as _;

use millstream_protocol::batch::{BatchError, RecordError};
use millstream_protocol::error::ErrorCode;
use millstream_storage::AppendError;

use crate::api::errors;

/// Why a batch was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// Told where the batch came as far as the log, else -1.
    pub(crate) log_start_offset: i64,
    /// Seldom there, and then large; the results of batches that are taken stay small.
    pub(crate) details: Option<Box<Details>>,
}

/// From Produce v8 on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    pub(crate) message: String,
    /// Place in the batch from 0, and what is wrong with that record.
    pub(crate) records: Vec<(i32, String)>,
}

impl Refusal {
    /// For a batch of which some records are wrong, each for itself; `log` is the topic and partition as clients know it.
    pub(crate) fn of_records(wrong: Vec<(i32, RecordError)>, log: &str) -> Refusal {
        let any_timestamp = wrong
            .iter()
            .any(|(_, error)| matches!(error, RecordError::Timestamp { .. }));
        let records: Vec<(i32, String)> = wrong
            .into_iter()
            .map(|(index, error)| (index, text(index, &error, log)))
            .collect();
        let (code, message) = match any_timestamp {
            true => (
                ErrorCode::InvalidTimestamp,
                "One or more records have been rejected due to invalid timestamp".to_owned(),
            ),
            false => (ErrorCode::InvalidRecord, summary(&records)),
        };
        Refusal {
            details: Some(Box::new(Details { message, records })),
            ..Refusal::from(code)
        }
    }

    /// With the log's start where Kafka tells it: not for batches that are wrong at first sight or too large, and not
    /// where the log is not to be had.
    pub(crate) fn at(self, log_start_offset: i64) -> Refusal {
        match self.code {
            ErrorCode::CorruptMessage
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::KafkaStorageError => self,
            _ => Refusal {
                log_start_offset,
                ..self
            },
        }
    }
}

fn text(index: i32, error: &RecordError, log: &str) -> String {
    match error {
        RecordError::NoKey => {
            format!("Compacted topic cannot accept message without key in topic partition {log}")
        }
        RecordError::Timestamp {
            timestamp,
            earliest,
            latest,
        } => format!(
            "Timestamp {timestamp} of message with offset {index} is out of range. \
             The timestamp should be within [{earliest}, {latest}]"
        ),
        other => other.to_string(),
    }
}

/// `LogValidator.processRecordErrors`.
fn summary(records: &[(i32, String)]) -> String {
    let mut text = format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three \
         errors at most: [",
        records.len()
    );
    for (place, (index, message)) in records.iter().take(3).enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        write!(
            text,
            "{comma}RecordError(batchIndex={index}, message='{message}')"
        )
        .expect("a string takes everything");
    }
    text.push(']');
    text
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            log_start_offset: -1,
            details: None,
        }
    }
}

impl From<BatchError> for Refusal {
    /// Kafka has no message for most of these; ours says what was wrong.
    fn from(error: BatchError) -> Self {
        let details = Details {
            message: error.to_string(),
            records: Vec::new(),
        };
        Self {
            details: Some(Box::new(details)),
            ..Refusal::from(error.code())
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        errors::of_append(&error).into()
    }
}
