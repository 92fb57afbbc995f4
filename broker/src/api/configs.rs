//! What the three config APIs share: resources, and what is set on them.

use millstream_protocol::error::ErrorCode;
use millstream_state::controller::{ConfigMap, Image, Resource, ResourceType};

use crate::api::RequestContext;
use crate::knobs::alter;

/// BROKER_LOGGER has no entry in the metadata: log levels are not dynamic here.
pub(crate) const BROKER_LOGGER: i8 = 8;

/// The resource as the knob table knows it.
pub(crate) fn knob_resource(resource: &Resource) -> alter::Resource<'_> {
    match resource.resource_type {
        ResourceType::Topic => alter::Resource::Topic(&resource.name),
        ResourceType::Broker if resource.name.is_empty() => alter::Resource::AllBrokers,
        ResourceType::Broker => alter::Resource::Broker,
        ResourceType::Group => alter::Resource::Group(&resource.name),
        ResourceType::ClientMetrics => alter::Resource::ClientMetrics(&resource.name),
    }
}

/// What is set on a resource now.
pub(crate) fn present(image: &Image, resource: &Resource) -> ConfigMap {
    image
        .config(resource.resource_type, &resource.name)
        .map(|own| (**own).clone())
        .unwrap_or_default()
}

/// The resource that is to be changed, or what `ConfigAdminManager` says of it.
pub(crate) fn named(
    context: &RequestContext,
    code: i8,
    name: &str,
) -> Result<Resource, (ErrorCode, String)> {
    let Some(resource_type) = ResourceType::from_code(code) else {
        return Err((
            ErrorCode::InvalidRequest,
            format!("Unknown resource type {code}"),
        ));
    };
    let this = context.shard.config.node_id;
    if resource_type == ResourceType::Broker && !name.is_empty() {
        let text = match name.parse::<i32>() {
            Ok(id) if id == this => return Ok(Resource::new(resource_type, name)),
            Ok(id) => format!("Unexpected broker id, expected {this}, but received {id}"),
            Err(_) => format!("Node id must be an integer, but it is: {name}"),
        };
        return Err((ErrorCode::InvalidRequest, text));
    }
    Ok(Resource::new(resource_type, name))
}
