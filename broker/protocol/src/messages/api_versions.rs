//! ApiVersions: what the broker can do; the first request of nearly every connection.
//!
//! Version 3 tells who the client is (KIP-511) and has features (KIP-584), 4 features whose lowest level is 0. The response's
//! header is always v0, and a request in an unknown version is answered in version 0: see [`crate::header`].

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct ApiVersionsRequest<'a>: Request(18), versions "0-4", flexible "3+" {
        /// Letters, digits, dots and dashes; never empty.
        client_software_name: Str<'a> = versions("3+").ignorable(),
        /// Letters, digits, dots and dashes; never empty.
        client_software_version: Str<'a> = versions("3+").ignorable(),
    }
}

message! {
    /// The response.
    pub struct ApiVersionsResponse<'a>: Response(18), versions "0-4", flexible "3+" {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// All that are served, also in an answer with UNSUPPORTED_VERSION.
        api_keys: Vec<ApiVersion> = versions("0+"),
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        /// Features and the levels this broker knows (KIP-584).
        supported_features: Vec<SupportedFeatureKey<'a>> = versions("3+").tag(0, "3+").ignorable(),
        /// Rises with each change of the finalized features; -1 if unknown.
        finalized_features_epoch: i64 = versions("3+").tag(1, "3+").default(-1).ignorable(),
        /// Features and the levels in force in the cluster.
        finalized_features: Vec<FinalizedFeatureKey<'a>> = versions("3+").tag(2, "3+").ignorable(),
        /// Always false: there is no ZooKeeper.
        zk_migration_ready: bool = versions("3+").tag(3, "3+").ignorable(),
    }

    /// Element of [`ApiVersionsResponse::api_keys`].
    pub struct ApiVersion {
        api_key: i16 = versions("0+"),
        min_version: i16 = versions("0+"),
        max_version: i16 = versions("0+"),
    }

    /// Element of [`ApiVersionsResponse::supported_features`].
    pub struct SupportedFeatureKey<'a> {
        name: Str<'a> = versions("3+"),
        min_version: i16 = versions("3+"),
        max_version: i16 = versions("3+"),
    }

    /// Element of [`ApiVersionsResponse::finalized_features`].
    pub struct FinalizedFeatureKey<'a> {
        name: Str<'a> = versions("3+"),
        max_version_level: i16 = versions("3+"),
        min_version_level: i16 = versions("3+"),
    }
}
