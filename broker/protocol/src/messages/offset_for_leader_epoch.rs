//! OffsetForLeaderEpoch: where an epoch ends, to find out whether a log was truncated (KIP-101, KIP-279, KIP-320).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct OffsetForLeaderEpochRequest<'a>: Request(23), versions "2-4", flexible "4+" {
        /// Broker id of a follower; -1 for a consumer, -2 for a debugging one.
        replica_id: i32 = versions("3+").default(-2).ignorable(),
        topics: Vec<OffsetForLeaderTopic<'a>> = versions("0+"),
    }

    /// Element of [`OffsetForLeaderEpochRequest::topics`].
    pub struct OffsetForLeaderTopic<'a> {
        topic: Str<'a> = versions("0+"),
        partitions: Vec<OffsetForLeaderPartition> = versions("0+"),
    }

    /// Element of [`OffsetForLeaderTopic::partitions`].
    pub struct OffsetForLeaderPartition {
        partition: i32 = versions("0+"),
        /// The epoch the client believes to be current, -1 not to check (KIP-320).
        current_leader_epoch: i32 = versions("2+").default(-1).ignorable(),
        /// The epoch whose end is asked for.
        leader_epoch: i32 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct OffsetForLeaderEpochResponse<'a>: Response(23), versions "2-4", flexible "4+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("2+").ignorable(),
        topics: Vec<OffsetForLeaderTopicResult<'a>> = versions("0+"),
    }

    /// Element of [`OffsetForLeaderEpochResponse::topics`].
    pub struct OffsetForLeaderTopicResult<'a> {
        topic: Str<'a> = versions("0+"),
        partitions: Vec<EpochEndOffset> = versions("0+"),
    }

    /// Element of [`OffsetForLeaderTopicResult::partitions`].
    pub struct EpochEndOffset {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        partition: i32 = versions("0+"),
        /// The largest epoch not above the one asked for, -1 if unknown.
        leader_epoch: i32 = versions("1+").default(-1).ignorable(),
        /// Where that epoch ends, -1 if unknown.
        end_offset: i64 = versions("0+").default(-1),
    }
}
