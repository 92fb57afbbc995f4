//! DescribeConfigs (32): settings with their sources. v1 synonyms (KIP-226) · v3 types and documentation (KIP-569).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use millstream_state::controller::topics::invalid_name;
use millstream_state::controller::{Resource, ResourceType};

use crate::api::{RequestContext, configs};
use crate::knobs::describe::{self, Described};
use crate::net::replies::Reply;
use crate::security::{self, Operation};

pub(crate) async fn handle(context: &RequestContext, request: DescribeConfigsRequest<'_>) -> Reply {
    let results = request.resources.iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.as_ref().into(),
            ..Default::default()
        };
        match rows(context, resource) {
            Ok(rows) => {
                let row = |described| {
                    row(
                        described,
                        request.include_synonyms,
                        request.include_documentation,
                    )
                };
                result.configs = rows.into_iter().map(row).collect();
            }
            Err((code, message)) => {
                result.error_code = code.code();
                result.error_message = Some(message.into());
            }
        }
        result
    });
    context.reply(&DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    })
}

fn rows(
    context: &RequestContext,
    asked: &DescribeConfigsResource<'_>,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    if asked.resource_type == configs::BROKER_LOGGER {
        let this = context.shard.config.node_id;
        return match asked.resource_name.parse() == Ok(this) {
            true => Ok(Vec::new()),
            false => {
                let name = &asked.resource_name;
                let text = format!("Unexpected broker id, expected {this} but received {name}");
                Err((ErrorCode::InvalidRequest, text))
            }
        };
    }
    let resource = resource(context, asked)?;
    // No keys are all keys, as null.
    let keys: Option<Vec<&str>> = asked
        .configuration_keys
        .as_ref()
        .filter(|keys| !keys.is_empty())
        .map(|keys| keys.iter().map(AsRef::as_ref).collect());
    let keys = keys.as_deref();
    let image = context.shard.image();
    let layers = context.shard.layers();
    let own = configs::present(&image, &resource);
    let denied = context
        .authorize(Operation::DescribeConfigs, security::of_config(&resource))
        .err();
    if let Some(code) = denied {
        return Err((code, code.message().to_owned()));
    }
    Ok(match resource.resource_type {
        ResourceType::Topic => {
            if image.topic(&resource.name).is_none() {
                return Err(match invalid_name(&resource.name) {
                    Some(reason) => (ErrorCode::InvalidTopicException, reason),
                    None => (ErrorCode::UnknownTopicOrPartition, String::new()),
                });
            }
            describe::topic(&layers, &own, keys)
        }
        ResourceType::Broker if resource.name.is_empty() => {
            describe::cluster_default(&layers, keys)
        }
        ResourceType::Broker => describe::broker(&layers, keys),
        ResourceType::Group if resource.name.is_empty() => {
            return Err((
                ErrorCode::InvalidRequest,
                "Group name must not be empty".to_owned(),
            ));
        }
        ResourceType::Group => describe::group(&layers, &own, keys),
        ResourceType::ClientMetrics if resource.name.is_empty() => {
            return Err((
                ErrorCode::InvalidRequest,
                "Client metrics subscription name must not be empty".to_owned(),
            ));
        }
        ResourceType::ClientMetrics => describe::client_metrics(&layers, &own, keys),
    })
}

/// The resource, or what `ConfigHelper` says of it.
fn resource(
    context: &RequestContext,
    asked: &DescribeConfigsResource<'_>,
) -> Result<Resource, (ErrorCode, String)> {
    let (name, this) = (asked.resource_name.as_ref(), context.shard.config.node_id);
    let invalid = |text: String| Err((ErrorCode::InvalidRequest, text));
    match ResourceType::from_code(asked.resource_type) {
        None => invalid(ErrorCode::InvalidRequest.message().to_owned()),
        Some(ResourceType::Broker) if !name.is_empty() => match name.parse::<i32>() {
            Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
            Ok(id) if id != this => invalid(format!(
                "Unexpected broker id, expected {this} or empty string, but received {name}"
            )),
            Ok(_) => Ok(Resource::new(ResourceType::Broker, name)),
        },
        Some(resource_type) => Ok(Resource::new(resource_type, name)),
    }
}

fn row(
    described: Described,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResourceResult<'static> {
    let all = described.synonyms.into_iter().filter(|_| synonyms);
    DescribeConfigsResourceResult {
        name: described.name.into(),
        value: described.value.map(Into::into),
        read_only: described.read_only,
        config_source: described.source as i8,
        is_sensitive: described.is_sensitive,
        synonyms: all
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.into(),
                value: synonym.value.map(Into::into),
                source: synonym.source as i8,
            })
            .collect(),
        config_type: described.config_type,
        documentation: described
            .documentation
            .filter(|_| documentation)
            .map(Into::into),
    }
}
