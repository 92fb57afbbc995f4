//! SyncGroup (14): the leader gives the assignment, each member gets its part.
//!
//! v3 static members (KIP-345) · v5 protocol type and name, checked against the group's (KIP-559).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use millstream_state::group::{Input, Reply as Answer, SyncGroup, SyncReply};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: SyncGroupRequest<'_>) -> Reply {
    let answer = sync(context, &request)
        .await
        .unwrap_or_else(SyncReply::error);
    context.reply(&SyncGroupResponse {
        error_code: answer.error.code(),
        protocol_type: answer.protocol_type.as_deref().map(Into::into),
        protocol_name: answer.protocol_name.as_deref().map(Into::into),
        assignment: answer.assignment.as_slice().into(),
        ..Default::default()
    })
}

async fn sync(
    context: &RequestContext,
    request: &SyncGroupRequest<'_>,
) -> Result<SyncReply, ErrorCode> {
    context.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    // From v5 on both must be given (KIP-559).
    if context.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let sync = SyncGroup {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.as_deref().map(str::to_owned),
        generation_id: request.generation_id,
        protocol_type: request.protocol_type.as_deref().map(str::to_owned),
        protocol_name: request.protocol_name.as_deref().map(str::to_owned),
        assignments: request
            .assignments
            .iter()
            .map(|assignment| {
                (
                    assignment.member_id.to_string(),
                    assignment.assignment.to_vec(),
                )
            })
            .collect(),
    };
    match coordinator::ask(&context.shard, &request.group_id, move |token| {
        Input::Sync(token, sync)
    })
    .await?
    {
        Answer::Sync(answer) => Ok(answer),
        _ => unreachable!("the coordinator answers what was asked"),
    }
}
