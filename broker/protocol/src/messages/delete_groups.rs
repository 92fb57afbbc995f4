//! DeleteGroups: removes empty groups with their offsets (KIP-229).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DeleteGroupsRequest<'a>: Request(42), versions "0-2", flexible "2+" {
        groups_names: Vec<Str<'a>> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DeleteGroupsResponse<'a>: Response(42), versions "0-2", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        results: Vec<DeletableGroupResult<'a>> = versions("0+"),
    }

    /// Element of [`DeleteGroupsResponse::results`].
    pub struct DeletableGroupResult<'a> {
        group_id: Str<'a> = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
    }
}
