//! ListConfigResources (74): names of resources that may have settings. v0 client metrics only (KIP-714) · v1 all types
//! (KIP-1142).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use millstream_state::controller::ResourceType;

use crate::api::{RequestContext, configs};
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// `ConfigResource.Type` codes.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) async fn handle(context: &RequestContext, request: ListConfigResourcesRequest) -> Reply {
    let mut types = match context.version {
        0 => vec![CLIENT_METRICS],
        _ if request.resource_types.is_empty() => {
            vec![TOPIC, BROKER, configs::BROKER_LOGGER, CLIENT_METRICS, GROUP]
        }
        _ => request.resource_types,
    };
    types.sort_unstable();
    types.dedup();
    let mut names: Vec<(i8, String)> = Vec::new();
    let code = match context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        Ok(()) => collect(context, &types, &mut names).await,
        Err(code) => Err(code),
    };
    let resources = names.into_iter().filter(|_| code.is_ok());
    context.reply(&ListConfigResourcesResponse {
        error_code: code.err().unwrap_or(ErrorCode::None).code(),
        config_resources: resources
            .map(|(resource_type, name)| ConfigResource {
                resource_name: name.into(),
                resource_type,
            })
            .collect(),
        ..Default::default()
    })
}

async fn collect(
    context: &RequestContext,
    types: &[i8],
    names: &mut Vec<(i8, String)>,
) -> Result<(), ErrorCode> {
    let image = context.shard.image();
    for resource_type in types {
        match *resource_type {
            TOPIC => names.extend(image.topics().map(|topic| (TOPIC, topic.name.to_string()))),
            BROKER | configs::BROKER_LOGGER => {
                names.extend(
                    image
                        .brokers()
                        .map(|broker| (*resource_type, broker.broker_id.to_string())),
                );
            }
            CLIENT_METRICS => names.extend(
                configured(context, ResourceType::ClientMetrics).map(|n| (CLIENT_METRICS, n)),
            ),
            GROUP => {
                let mut groups: Vec<String> = configured(context, ResourceType::Group).collect();
                let listed =
                    coordinator::read_all(&context.shard, |machine| machine.list(&[], &[])).await?;
                groups.extend(listed.into_iter().flatten().map(|group| group.group_id));
                groups.sort_unstable();
                groups.dedup();
                names.extend(groups.into_iter().map(|group| (GROUP, group)));
            }
            _ => return Err(ErrorCode::UnsupportedVersion),
        }
    }
    Ok(())
}

fn configured(
    context: &RequestContext,
    resource_type: ResourceType,
) -> impl Iterator<Item = String> {
    let image = context.shard.image();
    let names: Vec<String> = image
        .configured()
        .filter(|(resource, _)| resource.resource_type == resource_type)
        .map(|(resource, _)| resource.name.clone())
        .collect();
    names.into_iter()
}
