//! OffsetDelete: forgets committed offsets (KIP-496). Never flexible.

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct OffsetDeleteRequest<'a>: Request(47), versions "0", flexible "none" {
        group_id: Str<'a> = versions("0+"),
        topics: Vec<OffsetDeleteRequestTopic<'a>> = versions("0+"),
    }

    /// Element of [`OffsetDeleteRequest::topics`].
    pub struct OffsetDeleteRequestTopic<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<OffsetDeleteRequestPartition> = versions("0+"),
    }

    /// Element of [`OffsetDeleteRequestTopic::partitions`].
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct OffsetDeleteResponse<'a>: Response(47), versions "0", flexible "none" {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+").ignorable(),
        topics: Vec<OffsetDeleteResponseTopic<'a>> = versions("0+"),
    }

    /// Element of [`OffsetDeleteResponse::topics`].
    pub struct OffsetDeleteResponseTopic<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<OffsetDeleteResponsePartition> = versions("0+"),
    }

    /// Element of [`OffsetDeleteResponseTopic::partitions`].
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
    }
}
