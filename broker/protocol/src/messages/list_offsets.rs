//! ListOffsets: turns a timestamp, or a number below zero that stands for a place, into an offset.
//!
//! Version 2 knows isolation levels (KIP-98), 4 leader epochs (KIP-320), 5 answers OFFSET_NOT_AVAILABLE (KIP-207), 7 to 11 add
//! places (KIP-734, KIP-405, KIP-1005, KIP-1023), 10 a timeout (KIP-1075).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct ListOffsetsRequest<'a>: Request(2), versions "1-11", flexible "6+" {
        /// Broker id of a follower; -1 for a consumer, -2 for a debugging one.
        replica_id: i32 = versions("0+"),
        /// 0 reads uncommitted, 1 committed.
        isolation_level: i8 = versions("2+"),
        topics: Vec<ListOffsetsTopic<'a>> = versions("0+"),
        /// How long to wait for answers from tiered storage, in milliseconds (KIP-1075).
        timeout_ms: i32 = versions("10+").ignorable(),
    }

    /// Element of [`ListOffsetsRequest::topics`].
    pub struct ListOffsetsTopic<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<ListOffsetsPartition> = versions("0+"),
    }

    /// Element of [`ListOffsetsTopic::partitions`].
    pub struct ListOffsetsPartition {
        partition_index: i32 = versions("0+"),
        /// The epoch the client believes to be current, -1 not to check (KIP-320).
        current_leader_epoch: i32 = versions("4+").default(-1).ignorable(),
        /// Milliseconds, or -1 latest, -2 earliest, -3 of the largest timestamp, -4 earliest local, -5 latest tiered, -6 earliest pending upload.
        timestamp: i64 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct ListOffsetsResponse<'a>: Response(2), versions "1-11", flexible "6+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("2+").ignorable(),
        topics: Vec<ListOffsetsTopicResponse<'a>> = versions("0+"),
    }

    /// Element of [`ListOffsetsResponse::topics`].
    pub struct ListOffsetsTopicResponse<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<ListOffsetsPartitionResponse> = versions("0+"),
    }

    /// Element of [`ListOffsetsTopicResponse::partitions`].
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// Of the record found, -1 if none.
        timestamp: i64 = versions("1+").default(-1),
        /// Of the record found, -1 if none.
        offset: i64 = versions("1+").default(-1),
        /// Of the record found, -1 if unknown.
        leader_epoch: i32 = versions("4+").default(-1),
    }
}
