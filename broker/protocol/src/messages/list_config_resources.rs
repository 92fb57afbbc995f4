//! ListConfigResources: names of what has configs. Version 0 lists client metrics only (KIP-714), 1 every type (KIP-1142).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct ListConfigResourcesRequest: Request(74), versions "0-1", flexible "0+" {
        /// ConfigResource types; empty for all.
        resource_types: Vec<i8> = versions("1+"),
    }
}

message! {
    /// The response.
    pub struct ListConfigResourcesResponse<'a>: Response(74), versions "0-1", flexible "0+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        config_resources: Vec<ConfigResource<'a>> = versions("0+"),
    }

    /// Element of [`ListConfigResourcesResponse::config_resources`].
    pub struct ConfigResource<'a> {
        resource_name: Str<'a> = versions("0+"),
        /// ConfigResource type: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 = versions("1+").default(16).ignorable(),
    }
}
