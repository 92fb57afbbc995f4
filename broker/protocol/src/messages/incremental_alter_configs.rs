//! IncrementalAlterConfigs: changes single configs of a resource (KIP-339).

use crate::message::{Str, message};

/// Element of [`IncrementalAlterConfigsResponse::responses`], the same as that of AlterConfigs.
pub use super::alter_configs::AlterConfigsResourceResponse;

message! {
    /// The request.
    pub struct IncrementalAlterConfigsRequest<'a>: Request(44), versions "0-1", flexible "1+" {
        resources: Vec<AlterConfigsResource<'a>> = versions("0+"),
        /// Check everything, change nothing.
        validate_only: bool = versions("0+"),
    }

    /// Element of [`IncrementalAlterConfigsRequest::resources`].
    pub struct AlterConfigsResource<'a> {
        /// ConfigResource type: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 = versions("0+"),
        resource_name: Str<'a> = versions("0+"),
        configs: Vec<AlterableConfig<'a>> = versions("0+"),
    }

    /// Element of [`AlterConfigsResource::configs`].
    pub struct AlterableConfig<'a> {
        name: Str<'a> = versions("0+"),
        /// AlterConfigOp: 0 set, 1 delete, 2 append, 3 subtract.
        config_operation: i8 = versions("0+"),
        value: Option<Str<'a>> = versions("0+").nullable("0+"),
    }
}

message! {
    /// The response.
    pub struct IncrementalAlterConfigsResponse<'a>: Response(44), versions "0-1", flexible "1+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        responses: Vec<AlterConfigsResourceResponse<'a>> = versions("0+"),
    }
}
