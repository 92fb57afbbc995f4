//! AlterConfigs (33): replaces all settings of a resource (KIP-133; deprecated by IncrementalAlterConfigs).

use millstream_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse,
};

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
    let responses = request
        .resources
        .iter()
        .zip(results)
        .map(|(resource, (code, message))| AlterConfigsResourceResponse {
            error_code: code.code(),
            error_message: message.map(Into::into),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.as_ref().into(),
        });
    context.reply(&AlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    })
}
