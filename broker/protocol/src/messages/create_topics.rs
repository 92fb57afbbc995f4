//! CreateTopics. Version 4 has defaults for partitions and replicas (KIP-464), 5 shows the configs (KIP-525), 6 may be refused by
//! a quota (KIP-599), 7 tells the topic id (KIP-516).

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct CreateTopicsRequest<'a>: Request(19), versions "2-7", flexible "5+" {
        topics: Vec<CreatableTopic<'a>> = versions("0+"),
        /// How long to wait for the outcome, in milliseconds; passing it does not undo anything.
        timeout_ms: i32 = versions("0+").default(60000),
        /// Check everything, change nothing.
        validate_only: bool = versions("1+"),
    }

    /// Element of [`CreateTopicsRequest::topics`].
    pub struct CreatableTopic<'a> {
        name: Str<'a> = versions("0+"),
        /// -1 for the default, and with assignments.
        num_partitions: i32 = versions("0+"),
        /// -1 for the default, and with assignments.
        replication_factor: i16 = versions("0+"),
        /// Replicas of each partition; empty to let the broker choose.
        assignments: Vec<CreatableReplicaAssignment> = versions("0+"),
        configs: Vec<CreatableTopicConfig<'a>> = versions("0+"),
    }

    /// Element of [`CreatableTopic::assignments`].
    pub struct CreatableReplicaAssignment {
        partition_index: i32 = versions("0+"),
        /// The preferred leader first.
        broker_ids: Vec<i32> = versions("0+"),
    }

    /// Element of [`CreatableTopic::configs`].
    pub struct CreatableTopicConfig<'a> {
        name: Str<'a> = versions("0+"),
        /// Null for the default.
        value: Option<Str<'a>> = versions("0+").nullable("0+"),
    }
}

message! {
    /// The response.
    pub struct CreateTopicsResponse<'a>: Response(19), versions "2-7", flexible "5+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("2+").ignorable(),
        topics: Vec<CreatableTopicResult<'a>> = versions("0+"),
    }

    /// Element of [`CreateTopicsResponse::topics`].
    pub struct CreatableTopicResult<'a> {
        name: Str<'a> = versions("0+"),
        topic_id: Uuid = versions("7+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("1+").nullable("0+").ignorable(),
        /// Why the configs are not shown; 0 if they are.
        topic_config_error_code: i16 = versions("5+").tag(0, "5+").ignorable(),
        /// -1 with an error.
        num_partitions: i32 = versions("5+").default(-1).ignorable(),
        /// -1 with an error.
        replication_factor: i16 = versions("5+").default(-1).ignorable(),
        /// Null if they may not be seen.
        configs: Option<Vec<CreatableTopicConfigs<'a>>> = versions("5+").nullable("5+").ignorable(),
    }

    /// Element of [`CreatableTopicResult::configs`].
    pub struct CreatableTopicConfigs<'a> {
        name: Str<'a> = versions("5+"),
        value: Option<Str<'a>> = versions("5+").nullable("5+"),
        /// Cannot be changed while the broker runs.
        read_only: bool = versions("5+"),
        /// ConfigSource: 1 topic, 2 dynamic broker, 3 dynamic broker default, 4 static broker, 5 default, 8 group.
        config_source: i8 = versions("5+").default(-1).ignorable(),
        /// The value is secret and therefore null.
        is_sensitive: bool = versions("5+"),
    }
}
