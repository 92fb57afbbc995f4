//! AlterConfigs (33): replaces all settings of a resource (KIP-133; deprecated by IncrementalAlterConfigs).

use millstream_protocol::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResponse};

use crate::api::{RequestContext, alteration};
use crate::net::replies::Reply;

pub(crate) async fn handle(context: &RequestContext, request: AlterConfigsRequest<'_>) -> Reply {
    let changes = request.resources.iter().map(|resource| {
        let values = resource.configs.iter().map(|config| {
            (
                config.name.to_string(),
                config.value.as_deref().map(str::to_owned),
            )
        });
        alteration::Wanted {
            code: resource.resource_type,
            name: resource.resource_name.to_string(),
            how: alteration::How::Replace(values.collect()),
        }
    });
    let results = alteration::carry_out(context, changes.collect(), request.validate_only).await;
    let resources = request.resources.iter().zip(results);
    let responses = resources.map(|(resource, outcome)| {
        alteration::row(resource.resource_type, &resource.resource_name, outcome)
    });
    context.reply(&AlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    })
}
