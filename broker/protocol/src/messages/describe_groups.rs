//! DescribeGroups: state and members of classic groups.
//!
//! Version 3 has authorized operations (KIP-430), 4 static members (KIP-345), 6 GROUP_ID_NOT_FOUND instead of a dead group
//! (KIP-1043).

use crate::message::{Bytes, Str, message};

message! {
    /// The request.
    pub struct DescribeGroupsRequest<'a>: Request(15), versions "0-6", flexible "5+" {
        groups: Vec<Str<'a>> = versions("0+"),
        include_authorized_operations: bool = versions("3+"),
    }
}

message! {
    /// The response.
    pub struct DescribeGroupsResponse<'a>: Response(15), versions "0-6", flexible "5+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        groups: Vec<DescribedGroup<'a>> = versions("0+"),
    }

    /// Element of [`DescribeGroupsResponse::groups`].
    pub struct DescribedGroup<'a> {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("6+").nullable("6+").default_null(),
        group_id: Str<'a> = versions("0+"),
        /// `Stable`, `Empty`, `Dead`, …
        group_state: Str<'a> = versions("0+"),
        protocol_type: Str<'a> = versions("0+"),
        /// The chosen assignor; empty unless the group is stable.
        protocol_data: Str<'a> = versions("0+"),
        members: Vec<DescribedGroupMember<'a>> = versions("0+"),
        /// Bit set of AclOperation codes; `i32::MIN` if not asked for (KIP-430).
        authorized_operations: i32 = versions("3+").default(i32::MIN as i64),
    }

    /// Element of [`DescribedGroup::members`].
    pub struct DescribedGroupMember<'a> {
        /// Given by the coordinator; empty before that.
        member_id: Str<'a> = versions("0+"),
        /// Null unless the member is static (KIP-345).
        group_instance_id: Option<Str<'a>> = versions("4+").nullable("4+").default_null().ignorable(),
        client_id: Str<'a> = versions("0+"),
        /// Where the member connects from, with a `/` in front.
        client_host: Str<'a> = versions("0+"),
        /// The subscription, in the protocol's own form.
        member_metadata: Bytes<'a> = versions("0+"),
        /// In the protocol's own form.
        member_assignment: Bytes<'a> = versions("0+"),
    }
}
