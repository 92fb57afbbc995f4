//! IncrementalAlterConfigs (44): sets, deletes, appends to and subtracts from settings (KIP-339).

use millstream_protocol::messages::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::api::{RequestContext, alteration};
use crate::net::replies::Reply;

pub(crate) async fn handle(
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest<'_>,
) -> Reply {
    let changes = request.resources.iter().map(|resource| {
        let steps = resource.configs.iter().map(|config| alteration::Step {
            name: config.name.to_string(),
            operation: config.config_operation,
            value: config.value.as_deref().map(str::to_owned),
        });
        alteration::Wanted {
            code: resource.resource_type,
            name: resource.resource_name.to_string(),
            how: alteration::How::Steps(steps.collect()),
        }
    });
    let results = alteration::carry_out(context, changes.collect(), request.validate_only).await;
    let resources = request.resources.iter().zip(results);
    let responses = resources.map(|(resource, outcome)| {
        alteration::row(resource.resource_type, &resource.resource_name, outcome)
    });
    context.reply(&IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    })
}
