//! Fetch: reads record batches, for consumers and followers; waits for data if asked to.
//!
//! Version 7 brings sessions (KIP-227), 9 leader epochs (KIP-320), 11 the nearest replica (KIP-392), 12 diverging epochs
//! (KIP-595), 13 topic ids (KIP-516), 15 the replica's epoch (KIP-903), 16 the new leader (KIP-951), 17 directory ids (KIP-853),
//! 18 the follower's high watermark (KIP-1166).

use crate::message::{Records, Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct FetchRequest<'a>: Request(1), versions "4-18", flexible "12+" {
        /// Checked against ours if not null.
        cluster_id: Option<Str<'a>> = versions("12+").nullable("12+").tag(0, "12+").default_null().ignorable(),
        /// Broker id of a follower; -1 for a consumer, -2 for a debugging one.
        replica_id: i32 = versions("0-14").default(-1),
        /// Who fetches, since version 15.
        replica_state: ReplicaState = versions("15+").tag(1, "15+"),
        /// How long to wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32 = versions("0+"),
        /// Answer as soon as there is so much.
        min_bytes: i32 = versions("0+"),
        /// Bound of the whole response; only its first batch may go past it.
        max_bytes: i32 = versions("3+").default(i32::MAX as i64).ignorable(),
        /// 0 reads uncommitted, 1 committed.
        isolation_level: i8 = versions("4+").ignorable(),
        /// 0 for none (KIP-227).
        session_id: i32 = versions("7+").ignorable(),
        /// -1 for a full fetch without session, 0 to begin one, else one more than last time.
        session_epoch: i32 = versions("7+").default(-1).ignorable(),
        topics: Vec<FetchTopic<'a>> = versions("0+"),
        /// Partitions to take out of the session.
        forgotten_topics_data: Vec<ForgottenTopic<'a>> = versions("7+"),
        /// The consumer's rack, for fetching from a near follower (KIP-392).
        rack_id: Str<'a> = versions("11+").ignorable(),
    }

    /// See [`FetchRequest::replica_state`].
    pub struct ReplicaState {
        /// Broker id of a follower; -1 for a consumer, -2 for a debugging one.
        replica_id: i32 = versions("15+").default(-1),
        replica_epoch: i64 = versions("15+").default(-1),
    }

    /// Element of [`FetchRequest::topics`].
    pub struct FetchTopic<'a> {
        topic: Str<'a> = versions("0-12").ignorable(),
        topic_id: Uuid = versions("13+").ignorable(),
        partitions: Vec<FetchPartition> = versions("0+"),
    }

    /// Element of [`FetchTopic::partitions`].
    pub struct FetchPartition {
        partition: i32 = versions("0+"),
        /// The epoch the client believes to be current, -1 not to check (KIP-320).
        current_leader_epoch: i32 = versions("9+").default(-1).ignorable(),
        fetch_offset: i64 = versions("0+"),
        /// Epoch of the last record the client has, -1 if unknown.
        last_fetched_epoch: i32 = versions("12+").default(-1),
        /// The follower's own; -1 from consumers.
        log_start_offset: i64 = versions("5+").default(-1).ignorable(),
        /// Bound of this partition's records; only its first batch may go past it.
        partition_max_bytes: i32 = versions("0+"),
        /// Directory in which the replica lives (KIP-853).
        replica_directory_id: Uuid = versions("17+").tag(0, "17+").ignorable(),
        /// The one the follower knows (KIP-1166).
        high_watermark: i64 = versions("18+").tag(1, "18+").default(i64::MAX).ignorable(),
    }

    /// Element of [`FetchRequest::forgotten_topics_data`].
    pub struct ForgottenTopic<'a> {
        topic: Str<'a> = versions("7-12").ignorable(),
        topic_id: Uuid = versions("13+").ignorable(),
        partitions: Vec<i32> = versions("7+"),
    }
}

message! {
    /// The response.
    pub struct FetchResponse<'a>: Response(1), versions "4-18", flexible "12+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("7+").ignorable(),
        /// 0 if there is no session.
        session_id: i32 = versions("7+"),
        responses: Vec<FetchableTopicResponse<'a>> = versions("0+"),
        /// Addresses of the leaders named in `current_leader` (KIP-951).
        node_endpoints: Vec<NodeEndpoint<'a>> = versions("16+").tag(0, "16+"),
    }

    /// Element of [`FetchResponse::responses`].
    pub struct FetchableTopicResponse<'a> {
        topic: Str<'a> = versions("0-12").ignorable(),
        topic_id: Uuid = versions("13+").ignorable(),
        partitions: Vec<PartitionData<'a>> = versions("0+"),
    }

    /// Element of [`FetchableTopicResponse::partitions`].
    pub struct PartitionData<'a> {
        partition_index: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// All below is on all in-sync replicas.
        high_watermark: i64 = versions("0+"),
        /// All transactions below are decided, -1 if unknown.
        last_stable_offset: i64 = versions("4+").default(-1).ignorable(),
        /// First offset that can be read.
        log_start_offset: i64 = versions("5+").default(-1).ignorable(),
        /// Largest epoch and end offset that both logs share, if the client must truncate.
        diverging_epoch: EpochEndOffset = versions("12+").tag(0, "12+"),
        /// Sent with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951).
        current_leader: LeaderIdAndEpoch = versions("12+").tag(1, "12+"),
        /// Snapshot to fetch instead; in the metadata log only.
        snapshot_id: SnapshotId = versions("12+").tag(2, "12+"),
        /// Those within the records; null unless reading committed.
        aborted_transactions: Option<Vec<AbortedTransaction>> = versions("4+").nullable("4+").ignorable(),
        /// Broker id of a follower to read from instead, -1 for none (KIP-392).
        preferred_read_replica: i32 = versions("11+").default(-1),
        /// Whole record batches as they are in the log; the last one may be cut.
        records: Records<'a> = versions("0+").nullable("0+"),
    }

    /// See [`PartitionData::diverging_epoch`].
    pub struct EpochEndOffset {
        epoch: i32 = versions("12+").default(-1),
        end_offset: i64 = versions("12+").default(-1),
    }

    /// See [`PartitionData::current_leader`].
    pub struct LeaderIdAndEpoch {
        /// Broker id, -1 if there is none.
        leader_id: i32 = versions("12+").default(-1),
        leader_epoch: i32 = versions("12+").default(-1),
    }

    /// See [`PartitionData::snapshot_id`].
    pub struct SnapshotId {
        end_offset: i64 = versions("0+").default(-1),
        epoch: i32 = versions("0+").default(-1),
    }

    /// Element of [`PartitionData::aborted_transactions`].
    pub struct AbortedTransaction {
        producer_id: i64 = versions("4+"),
        /// First offset of the transaction.
        first_offset: i64 = versions("4+"),
    }

    /// Element of [`FetchResponse::node_endpoints`].
    pub struct NodeEndpoint<'a> {
        node_id: i32 = versions("16+"),
        /// Host name or address.
        host: Str<'a> = versions("16+"),
        port: i32 = versions("16+"),
        /// Null if the broker has none.
        rack: Option<Str<'a>> = versions("16+").nullable("16+").default_null(),
    }
}
