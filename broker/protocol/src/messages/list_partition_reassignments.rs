//! ListPartitionReassignments: partitions that are being moved (KIP-455).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct ListPartitionReassignmentsRequest<'a>: Request(46), versions "0", flexible "0+" {
        /// How long to wait for the outcome, in milliseconds; passing it does not undo anything.
        timeout_ms: i32 = versions("0+").default(60000),
        /// Null for all.
        topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>> = versions("0+").nullable("0+").default_null(),
    }

    /// Element of [`ListPartitionReassignmentsRequest::topics`].
    pub struct ListPartitionReassignmentsTopics<'a> {
        name: Str<'a> = versions("0+"),
        partition_indexes: Vec<i32> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct ListPartitionReassignmentsResponse<'a>: Response(46), versions "0", flexible "0+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
        topics: Vec<OngoingTopicReassignment<'a>> = versions("0+"),
    }

    /// Element of [`ListPartitionReassignmentsResponse::topics`].
    pub struct OngoingTopicReassignment<'a> {
        name: Str<'a> = versions("0+"),
        partitions: Vec<OngoingPartitionReassignment> = versions("0+"),
    }

    /// Element of [`OngoingTopicReassignment::partitions`].
    pub struct OngoingPartitionReassignment {
        partition_index: i32 = versions("0+"),
        replicas: Vec<i32> = versions("0+"),
        /// Broker ids not yet in sync.
        adding_replicas: Vec<i32> = versions("0+"),
        /// Broker ids that will go.
        removing_replicas: Vec<i32> = versions("0+"),
    }
}
