//! Metadata: the brokers, and the partitions and leaders of topics.
//!
//! Version 1 tells "all" from "none", 4 forbids creating topics, 7 has leader epochs (KIP-320), 8 authorized operations
//! (KIP-430), 10 and 12 topic ids (KIP-516), 11 leaves the cluster to DescribeCluster (KIP-700), 13 asks to bootstrap
//! again (KIP-1102).

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct MetadataRequest<'a>: Request(3), versions "0-13", flexible "9+" {
        /// Null (in version 0: empty) for all topics.
        topics: Option<Vec<MetadataRequestTopic<'a>>> = versions("0+").nullable("1+"),
        /// Whether asking may create a topic, if the broker allows that.
        allow_auto_topic_creation: bool = versions("4+").default(1),
        /// Whether to fill in the cluster's authorized operations.
        include_cluster_authorized_operations: bool = versions("8-10"),
        /// Whether to fill in the topics' authorized operations.
        include_topic_authorized_operations: bool = versions("8+"),
    }

    /// Element of [`MetadataRequest::topics`].
    pub struct MetadataRequestTopic<'a> {
        topic_id: Uuid = versions("10+").ignorable(),
        /// Null if asked by id.
        name: Option<Str<'a>> = versions("0+").nullable("10+"),
    }
}

message! {
    /// The response.
    pub struct MetadataResponse<'a>: Response(3), versions "0-13", flexible "9+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("3+").ignorable(),
        brokers: Vec<MetadataResponseBroker<'a>> = versions("0+"),
        /// Kafka's cluster id, 22 characters.
        cluster_id: Option<Str<'a>> = versions("2+").nullable("2+").default_null().ignorable(),
        /// Node id of the controller, -1 if unknown. In KRaft mode, any live broker that forwards.
        controller_id: i32 = versions("1+").default(-1).ignorable(),
        topics: Vec<MetadataResponseTopic<'a>> = versions("0+"),
        /// Bit set of AclOperation codes; `i32::MIN` if not asked for (KIP-430).
        cluster_authorized_operations: i32 = versions("8-10").default(i32::MIN as i64),
        /// REBOOTSTRAP_REQUIRED or none (KIP-1102).
        error_code: i16 = versions("13+").ignorable(),
    }

    /// Element of [`MetadataResponse::brokers`].
    pub struct MetadataResponseBroker<'a> {
        node_id: i32 = versions("0+"),
        /// Host name or address.
        host: Str<'a> = versions("0+"),
        port: i32 = versions("0+"),
        /// Null if the broker has none.
        rack: Option<Str<'a>> = versions("1+").nullable("1+").default_null().ignorable(),
    }

    /// Element of [`MetadataResponse::topics`].
    pub struct MetadataResponseTopic<'a> {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// Null if an unknown id was asked for.
        name: Option<Str<'a>> = versions("0+").nullable("12+"),
        topic_id: Uuid = versions("10+").ignorable(),
        /// One of Kafka's own topics, such as `__consumer_offsets`.
        is_internal: bool = versions("1+").ignorable(),
        partitions: Vec<MetadataResponsePartition> = versions("0+"),
        /// Bit set of AclOperation codes; `i32::MIN` if not asked for (KIP-430).
        topic_authorized_operations: i32 = versions("8+").default(i32::MIN as i64),
    }

    /// Element of [`MetadataResponseTopic::partitions`].
    pub struct MetadataResponsePartition {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        partition_index: i32 = versions("0+"),
        /// Broker id, -1 if there is none.
        leader_id: i32 = versions("0+"),
        leader_epoch: i32 = versions("7+").default(-1).ignorable(),
        /// Broker ids of all replicas, the preferred leader first.
        replica_nodes: Vec<i32> = versions("0+"),
        /// Broker ids of the in-sync replicas.
        isr_nodes: Vec<i32> = versions("0+"),
        /// Broker ids of replicas that cannot serve.
        offline_replicas: Vec<i32> = versions("5+").ignorable(),
    }
}
