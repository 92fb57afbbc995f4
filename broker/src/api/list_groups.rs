//! ListGroups (16): the groups this broker coordinates. v4 filter by state (KIP-518) · v5 by type (KIP-848).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::list_groups::{
    ListGroupsRequest, ListGroupsResponse, ListedGroup,
};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;

pub(crate) async fn handle(context: &RequestContext, request: ListGroupsRequest<'_>) -> Reply {
    let states: Vec<String> = request
        .states_filter
        .iter()
        .map(|state| state.to_string())
        .collect();
    let types: Vec<String> = request
        .types_filter
        .iter()
        .map(|kind| kind.to_string())
        .collect();
    let listed =
        coordinator::read_all(&context.shard, move |machine| machine.list(&states, &types)).await;
    let (code, groups) = match listed {
        Ok(listed) => (ErrorCode::None, listed.into_iter().flatten().collect()),
        Err(code) => (code, Vec::new()),
    };
    let groups = groups.iter().map(|group| ListedGroup {
        group_id: group.group_id.as_str().into(),
        protocol_type: group.protocol_type.as_str().into(),
        group_state: group.state.into(),
        group_type: group.group_type.into(),
    });
    context.reply(&ListGroupsResponse {
        error_code: code.code(),
        groups: groups.collect(),
        ..Default::default()
    })
}
