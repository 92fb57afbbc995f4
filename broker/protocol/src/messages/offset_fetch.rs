//! OffsetFetch: asks how far groups have read.
//!
//! Version 2 asks for all topics (KIP-88), 5 has leader epochs (KIP-320), 7 waits for transactions (KIP-447), 8 takes several
//! groups (KIP-709), 9 member epochs (KIP-848), 10 topic ids.

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct OffsetFetchRequest<'a>: Request(9), versions "1-10", flexible "6+" {
        group_id: Str<'a> = versions("0-7"),
        /// Null for all; up to version 7.
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>> = versions("0-7").nullable("2-7"),
        /// Several groups at once (KIP-709).
        groups: Vec<OffsetFetchRequestGroup<'a>> = versions("8+"),
        /// Refuse while a transaction has commits pending (KIP-447).
        require_stable: bool = versions("7+"),
    }

    /// Element of [`OffsetFetchRequest::topics`].
    pub struct OffsetFetchRequestTopic<'a> {
        name: Str<'a> = versions("0-7"),
        partition_indexes: Vec<i32> = versions("0-7"),
    }

    /// Element of [`OffsetFetchRequest::groups`].
    pub struct OffsetFetchRequestGroup<'a> {
        group_id: Str<'a> = versions("8+"),
        /// Null if not a member of a consumer group (KIP-848).
        member_id: Option<Str<'a>> = versions("9+").nullable("9+").default_null().ignorable(),
        /// -1 if not a member of a consumer group (KIP-848).
        member_epoch: i32 = versions("9+").default(-1).ignorable(),
        /// Null for all.
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>> = versions("8+").nullable("8+"),
    }

    /// Element of [`OffsetFetchRequestGroup::topics`].
    pub struct OffsetFetchRequestTopics<'a> {
        name: Str<'a> = versions("8-9").ignorable(),
        topic_id: Uuid = versions("10+").ignorable(),
        partition_indexes: Vec<i32> = versions("8+"),
    }
}

message! {
    /// The response.
    pub struct OffsetFetchResponse<'a>: Response(9), versions "1-10", flexible "6+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("3+").ignorable(),
        topics: Vec<OffsetFetchResponseTopic<'a>> = versions("0-7"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("2-7").ignorable(),
        groups: Vec<OffsetFetchResponseGroup<'a>> = versions("8+"),
    }

    /// Element of [`OffsetFetchResponse::topics`].
    pub struct OffsetFetchResponseTopic<'a> {
        name: Str<'a> = versions("0-7"),
        partitions: Vec<OffsetFetchResponsePartition<'a>> = versions("0-7"),
    }

    /// Element of [`OffsetFetchResponseTopic::partitions`].
    pub struct OffsetFetchResponsePartition<'a> {
        partition_index: i32 = versions("0-7"),
        /// -1 if nothing was committed: that is no error.
        committed_offset: i64 = versions("0-7"),
        /// Leader epoch of the last record that was read, -1 if unknown.
        committed_leader_epoch: i32 = versions("5-7").default(-1).ignorable(),
        metadata: Option<Str<'a>> = versions("0-7").nullable("0-7"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0-7"),
    }

    /// Element of [`OffsetFetchResponse::groups`].
    pub struct OffsetFetchResponseGroup<'a> {
        group_id: Str<'a> = versions("8+"),
        topics: Vec<OffsetFetchResponseTopics<'a>> = versions("8+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("8+"),
    }

    /// Element of [`OffsetFetchResponseGroup::topics`].
    pub struct OffsetFetchResponseTopics<'a> {
        name: Str<'a> = versions("8-9").ignorable(),
        topic_id: Uuid = versions("10+").ignorable(),
        partitions: Vec<OffsetFetchResponsePartitions<'a>> = versions("8+"),
    }

    /// Element of [`OffsetFetchResponseTopics::partitions`].
    pub struct OffsetFetchResponsePartitions<'a> {
        partition_index: i32 = versions("8+"),
        /// -1 if nothing was committed: that is no error.
        committed_offset: i64 = versions("8+"),
        /// Leader epoch of the last record that was read, -1 if unknown.
        committed_leader_epoch: i32 = versions("8+").default(-1).ignorable(),
        metadata: Option<Str<'a>> = versions("8+").nullable("8+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("8+"),
    }
}
