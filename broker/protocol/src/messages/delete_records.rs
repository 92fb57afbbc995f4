//! DeleteRecords: moves the log start forward (KIP-107).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DeleteRecordsRequest<'a>: Request(21), versions "0-2", flexible "2+" {
        topics: Vec<DeleteRecordsTopic<'a>> = versions("0+"),
        /// How long to wait for the outcome, in milliseconds; passing it does not undo anything.
        timeout_ms: i32 = versions("0+"),
    }

    /// Element of [`DeleteRecordsRequest::topics`].
    pub struct DeleteRecordsTopic<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<DeleteRecordsPartition> = versions("0+"),
    }

    /// Element of [`DeleteRecordsTopic::partitions`].
    pub struct DeleteRecordsPartition {
        partition_index: i32 = versions("0+"),
        /// New first offset; -1 for the high watermark.
        offset: i64 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DeleteRecordsResponse<'a>: Response(21), versions "0-2", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        topics: Vec<DeleteRecordsTopicResult<'a>> = versions("0+"),
    }

    /// Element of [`DeleteRecordsResponse::topics`].
    pub struct DeleteRecordsTopicResult<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<DeleteRecordsPartitionResult> = versions("0+"),
    }

    /// Element of [`DeleteRecordsTopicResult::partitions`].
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32 = versions("0+"),
        /// Lowest log start offset of all replicas, -1 with an error.
        low_watermark: i64 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
    }
}
