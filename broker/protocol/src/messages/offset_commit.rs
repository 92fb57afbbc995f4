//! OffsetCommit: stores how far a group has read.
//!
//! Version 5 leaves the retention to the broker (KIP-211), 6 has leader epochs (KIP-320), 7 static members (KIP-345), 9 member
//! epochs (KIP-848), 10 topic ids.

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct OffsetCommitRequest<'a>: Request(8), versions "2-10", flexible "8+" {
        group_id: Str<'a> = versions("0+"),
        /// -1 if the commit comes from no member.
        generation_id_or_member_epoch: i32 = versions("1+").default(-1).ignorable(),
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("1+").ignorable(),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("7+").nullable("7+").default_null(),
        /// -1 for the broker's own.
        retention_time_ms: i64 = versions("2-4").default(-1).ignorable(),
        topics: Vec<OffsetCommitRequestTopic<'a>> = versions("0+"),
    }

    /// Element of [`OffsetCommitRequest::topics`].
    pub struct OffsetCommitRequestTopic<'a> {
        name: Str<'a> = versions("0-9").ignorable(),
        topic_id: Uuid = versions("10+").ignorable(),
        partitions: Vec<OffsetCommitRequestPartition<'a>> = versions("0+"),
    }

    /// Element of [`OffsetCommitRequestTopic::partitions`].
    pub struct OffsetCommitRequestPartition<'a> {
        partition_index: i32 = versions("0+"),
        /// Offset of the next record to read.
        committed_offset: i64 = versions("0+"),
        /// Leader epoch of the last record that was read, -1 if unknown.
        committed_leader_epoch: i32 = versions("6+").default(-1).ignorable(),
        /// Whatever the client wants to keep with it.
        committed_metadata: Option<Str<'a>> = versions("0+").nullable("0+"),
    }
}

message! {
    /// The response.
    pub struct OffsetCommitResponse<'a>: Response(8), versions "2-10", flexible "8+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("3+").ignorable(),
        topics: Vec<OffsetCommitResponseTopic<'a>> = versions("0+"),
    }

    /// Element of [`OffsetCommitResponse::topics`].
    pub struct OffsetCommitResponseTopic<'a> {
        name: Str<'a> = versions("0-9").ignorable(),
        topic_id: Uuid = versions("10+").ignorable(),
        partitions: Vec<OffsetCommitResponsePartition> = versions("0+"),
    }

    /// Element of [`OffsetCommitResponseTopic::partitions`].
    pub struct OffsetCommitResponsePartition {
        partition_index: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
    }
}
