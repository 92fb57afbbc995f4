//! Heartbeat: a member lives, and learns whether a rebalance is under way. Version 3 knows static members (KIP-345).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct HeartbeatRequest<'a>: Request(12), versions "0-4", flexible "4+" {
        group_id: Str<'a> = versions("0+"),
        /// Counts the group's rebalances.
        generation_id: i32 = versions("0+"),
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("3+").nullable("3+").default_null(),
    }
}

message! {
    /// The response.
    pub struct HeartbeatResponse: Response(12), versions "0-4", flexible "4+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
    }
}
