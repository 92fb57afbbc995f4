//! DescribeTopicPartitions: topics page by page, with eligible leader replicas (KIP-966).

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct DescribeTopicPartitionsRequest<'a>: Request(75), versions "0", flexible "0+" {
        /// Empty for all.
        topics: Vec<TopicRequest<'a>> = versions("0+"),
        /// Most partitions in one answer.
        response_partition_limit: i32 = versions("0+").default(2000),
        /// Where to go on, from the last answer; null for the start.
        cursor: Option<Cursor<'a>> = versions("0+").nullable("0+").default_null(),
    }

    /// Element of [`DescribeTopicPartitionsRequest::topics`].
    pub struct TopicRequest<'a> {
        name: Str<'a> = versions("0+"),
    }

    /// See [`DescribeTopicPartitionsRequest::cursor`].
    pub struct Cursor<'a> {
        topic_name: Str<'a> = versions("0+"),
        partition_index: i32 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeTopicPartitionsResponse<'a>: Response(75), versions "0", flexible "0+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+").ignorable(),
        topics: Vec<DescribeTopicPartitionsResponseTopic<'a>> = versions("0+"),
        /// Where to go on; null if this was all.
        next_cursor: Option<ResponseCursor<'a>> = versions("0+").nullable("0+").default_null(),
    }

    /// Element of [`DescribeTopicPartitionsResponse::topics`].
    pub struct DescribeTopicPartitionsResponseTopic<'a> {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        name: Option<Str<'a>> = versions("0+").nullable("0+"),
        topic_id: Uuid = versions("0+").ignorable(),
        /// One of Kafka's own topics, such as `__consumer_offsets`.
        is_internal: bool = versions("0+").ignorable(),
        partitions: Vec<DescribeTopicPartitionsResponsePartition> = versions("0+"),
        /// Bit set of AclOperation codes; `i32::MIN` if not asked for (KIP-430).
        topic_authorized_operations: i32 = versions("0+").default(i32::MIN as i64),
    }

    /// Element of [`DescribeTopicPartitionsResponseTopic::partitions`].
    pub struct DescribeTopicPartitionsResponsePartition {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        partition_index: i32 = versions("0+"),
        /// Broker id, -1 if there is none.
        leader_id: i32 = versions("0+"),
        leader_epoch: i32 = versions("0+").default(-1).ignorable(),
        /// Broker ids of all replicas, the preferred leader first.
        replica_nodes: Vec<i32> = versions("0+"),
        /// Broker ids of the in-sync replicas.
        isr_nodes: Vec<i32> = versions("0+"),
        /// Not in sync, but known to hold all committed records (KIP-966).
        eligible_leader_replicas: Option<Vec<i32>> = versions("0+").nullable("0+").default_null(),
        /// Replicas that were so when the last one was lost (KIP-966).
        last_known_elr: Option<Vec<i32>> = versions("0+").nullable("0+").default_null(),
        /// Broker ids of replicas that cannot serve.
        offline_replicas: Vec<i32> = versions("0+").ignorable(),
    }

    /// See [`DescribeTopicPartitionsResponse::next_cursor`].
    pub struct ResponseCursor<'a> {
        topic_name: Str<'a> = versions("0+"),
        partition_index: i32 = versions("0+"),
    }
}
