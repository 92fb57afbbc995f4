//! DescribeLogDirs: the data directories, and the size of each partition in them (KIP-113).
//!
//! Version 3 has an error for the whole (KIP-784), 4 the space of the volume (KIP-827), 5 cordoned directories (KIP-1066).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DescribeLogDirsRequest<'a>: Request(35), versions "1-5", flexible "2+" {
        /// Null for all.
        topics: Option<Vec<DescribableLogDirTopic<'a>>> = versions("0+").nullable("0+"),
    }

    /// Element of [`DescribeLogDirsRequest::topics`].
    pub struct DescribableLogDirTopic<'a> {
        topic: Str<'a> = versions("0+"),
        partitions: Vec<i32> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeLogDirsResponse<'a>: Response(35), versions "1-5", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("3+").ignorable(),
        results: Vec<DescribeLogDirsResult<'a>> = versions("0+"),
    }

    /// Element of [`DescribeLogDirsResponse::results`].
    pub struct DescribeLogDirsResult<'a> {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// Absolute path.
        log_dir: Str<'a> = versions("0+"),
        topics: Vec<DescribeLogDirsTopic<'a>> = versions("0+"),
        /// Size of the volume, -1 if unknown (KIP-827).
        total_bytes: i64 = versions("4+").default(-1).ignorable(),
        /// Free space of the volume, -1 if unknown (KIP-827).
        usable_bytes: i64 = versions("4+").default(-1).ignorable(),
        /// Takes no new partitions (KIP-1066).
        is_cordoned: bool = versions("5+").ignorable(),
    }

    /// Element of [`DescribeLogDirsResult::topics`].
    pub struct DescribeLogDirsTopic<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<DescribeLogDirsPartition> = versions("0+"),
    }

    /// Element of [`DescribeLogDirsTopic::partitions`].
    pub struct DescribeLogDirsPartition {
        partition_index: i32 = versions("0+"),
        /// Bytes of all segments.
        partition_size: i64 = versions("0+"),
        /// Behind the high watermark or, for a future replica, behind the current one.
        offset_lag: i64 = versions("0+"),
        /// Will take the place of the replica in another directory.
        is_future_key: bool = versions("0+"),
    }
}
