//! ListGroups: the groups which this broker coordinates. Version 4 filters by state (KIP-518), 5 by type (KIP-848).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct ListGroupsRequest<'a>: Request(16), versions "0-5", flexible "3+" {
        /// Empty for all; letter case does not matter.
        states_filter: Vec<Str<'a>> = versions("4+"),
        /// Empty for all; letter case does not matter.
        types_filter: Vec<Str<'a>> = versions("5+"),
    }
}

message! {
    /// The response.
    pub struct ListGroupsResponse<'a>: Response(16), versions "0-5", flexible "3+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        groups: Vec<ListedGroup<'a>> = versions("0+"),
    }

    /// Element of [`ListGroupsResponse::groups`].
    pub struct ListedGroup<'a> {
        group_id: Str<'a> = versions("0+"),
        protocol_type: Str<'a> = versions("0+"),
        /// `Stable`, `Empty`, `Dead`, …
        group_state: Str<'a> = versions("4+").ignorable(),
        /// `classic`, `consumer`, `share` or `streams`.
        group_type: Str<'a> = versions("5+").ignorable(),
    }
}
