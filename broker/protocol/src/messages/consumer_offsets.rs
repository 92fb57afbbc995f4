//! Keys and values of the records in `__consumer_offsets` that classic groups and offsets are kept in.
//!
//! On disk each begins with an INT16, which is not part of these bodies: before a key it is the record type (Kafka's name for
//! the API key here), before a value the version of its body. Source: `common/message/*.json` of kafka-group-coordinator.

use crate::message::{Bytes, Str, message};
use crate::uuid::Uuid;

message! {
    /// Key of a committed offset. Type 0 is the same with an older value and is read alike.
    pub struct OffsetCommitKey<'a>: Key(1), versions "0", flexible "none" {
        group: Str<'a> = versions("0"),
        topic: Str<'a> = versions("0"),
        partition: i32 = versions("0"),
    }
}

message! {
    /// A committed offset. Kafka 4.3 writes version 4, or 1 for a commit with its own retention.
    pub struct OffsetCommitValue<'a>: Value(1), versions "0-4", flexible "4+" {
        /// Offset of the next record to read.
        offset: i64 = versions("0+"),
        /// Of the last record that was read, -1 if unknown.
        leader_epoch: i32 = versions("3+").default(-1).ignorable(),
        /// Whatever the client wanted to keep with it.
        metadata: Str<'a> = versions("0+"),
        /// Unix milliseconds.
        commit_timestamp: i64 = versions("0+"),
        /// Unix milliseconds; -1 for the broker's retention. Only a commit with its own retention has one.
        expire_timestamp: i64 = versions("1").default(-1).ignorable(),
        topic_id: Uuid = versions("4+").tag(0, "4+").ignorable(),
    }
}

message! {
    /// Key of a classic group.
    pub struct GroupMetadataKey<'a>: Key(2), versions "0", flexible "none" {
        group: Str<'a> = versions("0"),
    }
}

message! {
    /// A classic group. Kafka 4.3 writes version 3.
    pub struct GroupMetadataValue<'a>: Value(2), versions "0-4", flexible "4+" {
        protocol_type: Str<'a> = versions("0+"),
        generation: i32 = versions("0+"),
        /// Null while no protocol is chosen.
        protocol: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// Member id; null while the group is empty.
        leader: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// Unix milliseconds of the last change of state; -1 if unknown.
        current_state_timestamp: i64 = versions("2+").default(-1).ignorable(),
        members: Vec<MemberMetadata<'a>> = versions("0+"),
    }

    /// Element of [`GroupMetadataValue::members`].
    pub struct MemberMetadata<'a> {
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("3+").nullable("3+").default_null().ignorable(),
        client_id: Str<'a> = versions("0+"),
        /// Where the member connects from, with a `/` in front.
        client_host: Str<'a> = versions("0+"),
        /// Milliseconds.
        rebalance_timeout: i32 = versions("1+").default(-1).ignorable(),
        /// Milliseconds.
        session_timeout: i32 = versions("0+"),
        /// In the protocol's own form.
        subscription: Bytes<'a> = versions("0+"),
        /// In the protocol's own form; the broker does not look inside.
        assignment: Bytes<'a> = versions("0+"),
    }
}
