//! SyncGroup: the leader hands in the assignment, every member receives its part.
//!
//! Version 3 knows static members (KIP-345), 5 tells type and name of the protocol (KIP-559).

use crate::message::{Bytes, Str, message};

message! {
    /// The request.
    pub struct SyncGroupRequest<'a>: Request(14), versions "0-5", flexible "4+" {
        group_id: Str<'a> = versions("0+"),
        /// Counts the group's rebalances.
        generation_id: i32 = versions("0+"),
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("3+").nullable("3+").default_null(),
        protocol_type: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
        protocol_name: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
        /// From the leader only.
        assignments: Vec<SyncGroupRequestAssignment<'a>> = versions("0+"),
    }

    /// Element of [`SyncGroupRequest::assignments`].
    pub struct SyncGroupRequestAssignment<'a> {
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// In the protocol's own form; the broker does not look inside.
        assignment: Bytes<'a> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct SyncGroupResponse<'a>: Response(14), versions "0-5", flexible "4+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        protocol_type: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
        protocol_name: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
        /// In the protocol's own form; the broker does not look inside.
        assignment: Bytes<'a> = versions("0+"),
    }
}
