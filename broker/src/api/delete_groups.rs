//! DeleteGroups (42): empty groups and their offsets go (KIP-229).

use std::collections::BTreeMap;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use millstream_state::group::{Input, Reply as Answer};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: DeleteGroupsRequest<'_>) -> Reply {
    let mut codes: BTreeMap<String, ErrorCode> = BTreeMap::new();
    for group_id in &request.groups_names {
        if !codes.contains_key(group_id.as_ref()) {
            let code = delete(context, group_id).await.unwrap_or_else(|code| code);
            codes.insert(group_id.to_string(), code);
        }
    }
    let results = codes.iter().map(|(group_id, code)| DeletableGroupResult {
        group_id: group_id.as_str().into(),
        error_code: code.code(),
    });
    context.reply(&DeleteGroupsResponse {
        results: results.collect(),
        ..Default::default()
    })
}

async fn delete(context: &RequestContext, group_id: &str) -> Result<ErrorCode, ErrorCode> {
    context.authorize(Operation::Delete, Resource::Group(group_id))?;
    let group = group_id.to_owned();
    match coordinator::ask(&context.shard, group_id, move |token| {
        Input::DeleteGroups(token, vec![group])
    })
    .await?
    {
        Answer::DeleteGroups(results) => {
            Ok(results.first().map_or(ErrorCode::None, |(_, code)| *code))
        }
        _ => unreachable!("the coordinator answers what was asked"),
    }
}
