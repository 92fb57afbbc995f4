//! LeaveGroup: members go. Version 3 takes several (KIP-345), 5 the reason (KIP-800).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct LeaveGroupRequest<'a>: Request(13), versions "0-5", flexible "4+" {
        group_id: Str<'a> = versions("0+"),
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0-2"),
        /// Several at once, since version 3.
        members: Vec<MemberIdentity<'a>> = versions("3+"),
    }

    /// Element of [`LeaveGroupRequest::members`].
    pub struct MemberIdentity<'a> {
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("3+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("3+").nullable("3+").default_null(),
        /// Why, for the log (KIP-800).
        reason: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
    }
}

message! {
    /// The response.
    pub struct LeaveGroupResponse<'a>: Response(13), versions "0-5", flexible "4+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        members: Vec<MemberResponse<'a>> = versions("3+"),
    }

    /// Element of [`LeaveGroupResponse::members`].
    pub struct MemberResponse<'a> {
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("3+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("3+").nullable("3+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("3+"),
    }
}
