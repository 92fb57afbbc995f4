//! DescribeQuorum: state of the metadata quorum (KIP-595). Version 1 has timestamps (KIP-836), 2 directories and nodes (KIP-853).

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct DescribeQuorumRequest<'a>: Request(55), versions "0-2", flexible "0+" {
        topics: Vec<TopicData<'a>> = versions("0+"),
    }

    /// Element of [`DescribeQuorumRequest::topics`].
    pub struct TopicData<'a> {
        topic_name: Str<'a> = versions("0+"),
        partitions: Vec<PartitionData> = versions("0+"),
    }

    /// Element of [`TopicData::partitions`].
    pub struct PartitionData {
        partition_index: i32 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeQuorumResponse<'a>: Response(55), versions "0-2", flexible "0+" {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("2+").nullable("2+").ignorable(),
        topics: Vec<ResponseTopicData<'a>> = versions("0+"),
        nodes: Vec<Node<'a>> = versions("2+"),
    }

    /// Element of [`DescribeQuorumResponse::topics`].
    pub struct ResponseTopicData<'a> {
        topic_name: Str<'a> = versions("0+"),
        partitions: Vec<ResponsePartitionData<'a>> = versions("0+"),
    }

    /// Element of [`ResponseTopicData::partitions`].
    pub struct ResponsePartitionData<'a> {
        partition_index: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("2+").nullable("2+").ignorable(),
        /// Broker id, -1 if there is none.
        leader_id: i32 = versions("0+"),
        leader_epoch: i32 = versions("0+"),
        high_watermark: i64 = versions("0+"),
        /// The leader is among them.
        current_voters: Vec<ReplicaState> = versions("0+"),
        /// Nodes that follow without a vote.
        observers: Vec<ReplicaState> = versions("0+"),
    }

    /// Element of [`ResponsePartitionData::current_voters`] and [`ResponsePartitionData::observers`].
    pub struct ReplicaState {
        /// Node id.
        replica_id: i32 = versions("0+"),
        /// Directory in which the replica lives (KIP-853).
        replica_directory_id: Uuid = versions("2+"),
        /// -1 if unknown.
        log_end_offset: i64 = versions("0+"),
        /// Milliseconds by the leader's clock, -1 if unknown.
        last_fetch_timestamp: i64 = versions("1+").default(-1).ignorable(),
        /// Milliseconds by the leader's clock, -1 if unknown.
        last_caught_up_timestamp: i64 = versions("1+").default(-1).ignorable(),
    }

    /// Element of [`DescribeQuorumResponse::nodes`].
    pub struct Node<'a> {
        node_id: i32 = versions("2+"),
        listeners: Vec<Listener<'a>> = versions("2+"),
    }

    /// Element of [`Node::listeners`].
    pub struct Listener<'a> {
        name: Str<'a> = versions("2+"),
        /// Host name or address.
        host: Str<'a> = versions("2+"),
        port: u16 = versions("2+"),
    }
}
