//! ApiVersions (18): what this broker serves, the first request on every connection.
//!
//! v0 answers versions it does not know with UNSUPPORTED_VERSION and its own range (KIP-511) · v3 names the client's
//! software and gives features (KIP-584) · v4 lists features whose minimum is 0 too (KAFKA-17011).

use millstream_protocol::api as table;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use millstream_state::controller::features;

use crate::api::RequestContext;
use crate::net::replies::Reply;

pub(crate) async fn handle(context: &RequestContext, request: ApiVersionsRequest<'_>) -> Reply {
    if context.version >= 3
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        return context.reply(&ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..Default::default()
        });
    }
    let image = context.shard.image();
    let supported = features::SUPPORTED
        .iter()
        .filter(|feature| context.version >= 4 || feature.min_version > 0);
    context.reply(&ApiVersionsResponse {
        api_keys: keys(),
        supported_features: supported
            .map(|feature| SupportedFeatureKey {
                name: feature.name.into(),
                min_version: feature.min_version,
                max_version: feature.max_version,
            })
            .collect(),
        finalized_features_epoch: image.position().index,
        finalized_features: image
            .features()
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.into(),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    })
}

/// The answer to a version we do not know: in v0, which every client reads.
pub(crate) fn unsupported(context: &RequestContext) -> Reply {
    let context = RequestContext {
        version: 0,
        ..context.clone()
    };
    context.reply(&ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: keys(),
        ..Default::default()
    })
}

fn keys() -> Vec<ApiVersion> {
    let rows = table::served().iter();
    rows.map(|row| ApiVersion {
        api_key: row.key as i16,
        min_version: row.min,
        max_version: row.max,
    })
    .collect()
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN)
fn is_software_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_as_kafka_wants_them() {
        for good in ["a", "apache-kafka-java", "4.3.1", "a--b", "A0"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a_b", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
