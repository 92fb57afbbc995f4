//! DescribeClientQuotas (48): none are set, since they cannot be set yet; what cannot be asked is refused all the same.

use std::collections::BTreeSet;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// Match types of the protocol.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

pub(crate) async fn handle(
    context: &RequestContext,
    request: DescribeClientQuotasRequest<'_>,
) -> Reply {
    let outcome = context
        .authorize(Operation::DescribeConfigs, Resource::Cluster)
        .map_err(|code| (code, code.message().to_owned()))
        .and_then(|()| check(&request.components));
    let (code, message, entries) = match outcome {
        Ok(()) => (ErrorCode::None, String::new(), Some(Vec::new())),
        Err((code, message)) => (code, message, None),
    };
    context.reply(&DescribeClientQuotasResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        entries,
        ..Default::default()
    })
}

/// `ClientQuotasImage.describe`.
fn check(components: &[ComponentData<'_>]) -> Result<(), (ErrorCode, String)> {
    let invalid = |text: String| Err((ErrorCode::InvalidRequest, text));
    let mut types = BTreeSet::new();
    for component in components {
        let entity_type = component.entity_type.as_ref();
        if entity_type.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if !types.insert(entity_type) {
            return invalid(format!(
                "Entity type {entity_type} cannot appear more than once in the filter."
            ));
        }
        if !matches!(entity_type, "user" | "client-id" | "ip") {
            let text = format!("Unsupported entity type {entity_type}");
            return Err((ErrorCode::UnsupportedVersion, text));
        }
        let named = component.r#match.is_some();
        let with_name = |kind: &str| {
            format!("Request specified MATCH_TYPE_{kind}, but also specified a match string.")
        };
        match component.match_type {
            EXACT if !named => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned(),
                );
            }
            DEFAULT if named => return invalid(with_name("DEFAULT")),
            SPECIFIED if named => return invalid(with_name("SPECIFIED")),
            EXACT | DEFAULT | SPECIFIED => {}
            other => return invalid(format!("Unknown match type {other}")),
        }
    }
    if types.contains("ip") && types.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component."
                .to_owned(),
        );
    }
    Ok(())
}
