//! CreatePartitions: more partitions for a topic (KIP-195). Version 3 may be refused by a quota (KIP-599).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct CreatePartitionsRequest<'a>: Request(37), versions "0-3", flexible "2+" {
        topics: Vec<CreatePartitionsTopic<'a>> = versions("0+"),
        /// How long to wait for the outcome, in milliseconds; passing it does not undo anything.
        timeout_ms: i32 = versions("0+"),
        /// Check everything, change nothing.
        validate_only: bool = versions("0+"),
    }

    /// Element of [`CreatePartitionsRequest::topics`].
    pub struct CreatePartitionsTopic<'a> {
        name: Str<'a> = versions("0+"),
        /// The new total.
        count: i32 = versions("0+"),
        /// Replicas of the new partitions only; null to let the broker choose.
        assignments: Option<Vec<CreatePartitionsAssignment>> = versions("0+").nullable("0+"),
    }

    /// Element of [`CreatePartitionsTopic::assignments`].
    pub struct CreatePartitionsAssignment {
        /// The preferred leader first.
        broker_ids: Vec<i32> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct CreatePartitionsResponse<'a>: Response(37), versions "0-3", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        results: Vec<CreatePartitionsTopicResult<'a>> = versions("0+"),
    }

    /// Element of [`CreatePartitionsResponse::results`].
    pub struct CreatePartitionsTopicResult<'a> {
        name: Str<'a> = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+").default_null(),
    }
}
