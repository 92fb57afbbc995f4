//! JoinGroup: enters a classic group or its next generation; the answer waits until the members are known.
//!
//! Version 1 has a rebalance timeout of its own (KIP-62), 4 wants a member id first (KIP-394), 5 knows static members (KIP-345),
//! 7 tells the protocol type (KIP-559), 8 the reason (KIP-800), 9 can skip the assignment (KIP-814).

use crate::message::{Bytes, Str, message};

message! {
    /// The request.
    pub struct JoinGroupRequest<'a>: Request(11), versions "0-9", flexible "6+" {
        group_id: Str<'a> = versions("0+"),
        /// Silence after which the member is dropped, in milliseconds.
        session_timeout_ms: i32 = versions("0+"),
        /// How long a rebalance waits for the member, in milliseconds; -1 for the session timeout.
        rebalance_timeout_ms: i32 = versions("1+").default(-1).ignorable(),
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("5+").nullable("5+").default_null(),
        /// `consumer`, `connect`, …: the same for all members.
        protocol_type: Str<'a> = versions("0+"),
        /// What the member can use, most preferred first.
        protocols: Vec<JoinGroupRequestProtocol<'a>> = versions("0+"),
        /// Why, for the log (KIP-800).
        reason: Option<Str<'a>> = versions("8+").nullable("8+").default_null().ignorable(),
    }

    /// Element of [`JoinGroupRequest::protocols`].
    pub struct JoinGroupRequestProtocol<'a> {
        name: Str<'a> = versions("0+"),
        /// The subscription, in the protocol's own form.
        metadata: Bytes<'a> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct JoinGroupResponse<'a>: Response(11), versions "0-9", flexible "6+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("2+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// Counts the group's rebalances.
        generation_id: i32 = versions("0+").default(-1),
        protocol_type: Option<Str<'a>> = versions("7+").nullable("7+").default_null().ignorable(),
        /// The one that was chosen.
        protocol_name: Option<Str<'a>> = versions("0+").nullable("7+"),
        /// Member id of the leader, who must compute the assignment.
        leader: Str<'a> = versions("0+"),
        /// The leader need not compute one: the group is unchanged (KIP-814).
        skip_assignment: bool = versions("9+"),
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// For the leader only; empty for all others.
        members: Vec<JoinGroupResponseMember<'a>> = versions("0+"),
    }

    /// Element of [`JoinGroupResponse::members`].
    pub struct JoinGroupResponseMember<'a> {
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
        /// The subscription, in the protocol's own form.
        metadata: Bytes<'a> = versions("0+"),
    }
}
