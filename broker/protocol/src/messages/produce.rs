//! Produce: appends one record batch to each of some partitions.
//!
//! Batches are of format 2 (KIP-98). Version 8 tells which record was refused (KIP-467), 10 who leads now (KIP-951), 11 knows
//! TRANSACTION_ABORTABLE and 12 lets a transaction begin here (KIP-890), 13 has topic ids (KIP-516).

use crate::message::{Records, Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct ProduceRequest<'a>: Request(0), versions "3-13", flexible "9+" {
        /// Null unless the producer is transactional.
        transactional_id: Option<Str<'a>> = versions("3+").nullable("3+").default_null(),
        /// 0: no response at all. 1: the leader has it. -1: all in-sync replicas have it.
        acks: i16 = versions("0+"),
        /// How long to wait for the acks, in milliseconds.
        timeout_ms: i32 = versions("0+"),
        topic_data: Vec<TopicProduceData<'a>> = versions("0+"),
    }

    /// Element of [`ProduceRequest::topic_data`].
    pub struct TopicProduceData<'a> {
        name: Str<'a> = versions("0-12").ignorable(),
        /// Takes the place of the name.
        topic_id: Uuid = versions("13+").ignorable(),
        partition_data: Vec<PartitionProduceData<'a>> = versions("0+"),
    }

    /// Element of [`TopicProduceData::partition_data`].
    pub struct PartitionProduceData<'a> {
        index: i32 = versions("0+"),
        /// Exactly one record batch.
        records: Records<'a> = versions("0+").nullable("0+"),
    }
}

message! {
    /// The response.
    pub struct ProduceResponse<'a>: Response(0), versions "3-13", flexible "9+" {
        responses: Vec<TopicProduceResponse<'a>> = versions("0+"),
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// Addresses of the leaders named in `current_leader` (KIP-951).
        node_endpoints: Vec<NodeEndpoint<'a>> = versions("10+").tag(0, "10+"),
    }

    /// Element of [`ProduceResponse::responses`].
    pub struct TopicProduceResponse<'a> {
        name: Str<'a> = versions("0-12").ignorable(),
        topic_id: Uuid = versions("13+").ignorable(),
        partition_responses: Vec<PartitionProduceResponse<'a>> = versions("0+"),
    }

    /// Element of [`TopicProduceResponse::partition_responses`].
    pub struct PartitionProduceResponse<'a> {
        index: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// Offset of the batch's first record, -1 with an error.
        base_offset: i64 = versions("0+"),
        /// When the broker stamped the batch; -1 unless the topic has LogAppendTime.
        log_append_time_ms: i64 = versions("2+").default(-1).ignorable(),
        /// First offset that can be read.
        log_start_offset: i64 = versions("5+").default(-1).ignorable(),
        /// Why the batch was refused, record by record (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage<'a>> = versions("8+").ignorable(),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("8+").nullable("8+").default_null().ignorable(),
        /// Sent with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951).
        current_leader: LeaderIdAndEpoch = versions("10+").tag(0, "10+"),
    }

    /// Element of [`PartitionProduceResponse::record_errors`].
    pub struct BatchIndexAndErrorMessage<'a> {
        /// Position of the record in the batch, from 0.
        batch_index: i32 = versions("8+"),
        batch_index_error_message: Option<Str<'a>> = versions("8+").nullable("8+").default_null(),
    }

    /// See [`PartitionProduceResponse::current_leader`].
    pub struct LeaderIdAndEpoch {
        /// Broker id, -1 if there is none.
        leader_id: i32 = versions("10+").default(-1),
        leader_epoch: i32 = versions("10+").default(-1),
    }

    /// Element of [`ProduceResponse::node_endpoints`].
    pub struct NodeEndpoint<'a> {
        node_id: i32 = versions("10+"),
        /// Host name or address.
        host: Str<'a> = versions("10+"),
        port: i32 = versions("10+"),
        /// Null if the broker has none.
        rack: Option<Str<'a>> = versions("10+").nullable("10+").default_null(),
    }
}
