//! FindCoordinator: which broker coordinates a group or a transaction.
//!
//! Version 1 has kinds of keys (KIP-98), 4 several keys (KIP-699), 6 share partitions (KIP-932).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct FindCoordinatorRequest<'a>: Request(10), versions "0-6", flexible "3+" {
        /// Group id or transactional id.
        key: Str<'a> = versions("0-3"),
        /// 0 group, 1 transaction, 2 share partition.
        key_type: i8 = versions("1+"),
        /// Several at once (KIP-699).
        coordinator_keys: Vec<Str<'a>> = versions("4+"),
    }
}

message! {
    /// The response.
    pub struct FindCoordinatorResponse<'a>: Response(10), versions "0-6", flexible "3+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0-3"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("1-3").nullable("1-3").ignorable(),
        node_id: i32 = versions("0-3"),
        /// Host name or address.
        host: Str<'a> = versions("0-3"),
        port: i32 = versions("0-3"),
        coordinators: Vec<Coordinator<'a>> = versions("4+"),
    }

    /// Element of [`FindCoordinatorResponse::coordinators`].
    pub struct Coordinator<'a> {
        key: Str<'a> = versions("4+"),
        node_id: i32 = versions("4+"),
        /// Host name or address.
        host: Str<'a> = versions("4+"),
        port: i32 = versions("4+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("4+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("4+").nullable("4+").ignorable(),
    }
}
