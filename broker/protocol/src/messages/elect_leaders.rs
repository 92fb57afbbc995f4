//! ElectLeaders: makes the preferred replica the leader (KIP-183), or an unclean one (KIP-460).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct ElectLeadersRequest<'a>: Request(43), versions "0-2", flexible "2+" {
        /// 0 preferred leader, 1 unclean (KIP-460).
        election_type: i8 = versions("1+"),
        /// Null for all.
        topic_partitions: Option<Vec<TopicPartitions<'a>>> = versions("0+").nullable("0+"),
        /// How long to wait for the outcome, in milliseconds; passing it does not undo anything.
        timeout_ms: i32 = versions("0+").default(60000),
    }

    /// Element of [`ElectLeadersRequest::topic_partitions`].
    pub struct TopicPartitions<'a> {
        topic: Str<'a> = versions("0+"),
        partitions: Vec<i32> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct ElectLeadersResponse<'a>: Response(43), versions "0-2", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("1+"),
        replica_election_results: Vec<ReplicaElectionResult<'a>> = versions("0+"),
    }

    /// Element of [`ElectLeadersResponse::replica_election_results`].
    pub struct ReplicaElectionResult<'a> {
        topic: Str<'a> = versions("0+"),
        partition_result: Vec<PartitionResult<'a>> = versions("0+"),
    }

    /// Element of [`ReplicaElectionResult::partition_result`].
    pub struct PartitionResult<'a> {
        partition_id: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
    }
}
