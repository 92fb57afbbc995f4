//! JoinGroup (11): into a group, at the next generation. Parked until the rebalance ends.
//!
//! v1 rebalance timeout · v4 a member id is required (KIP-394) · v5 static members (KIP-345) · v7 protocol type in the
//! reply · v8 reason (KIP-800) · v9 skip_assignment (KIP-814).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use millstream_state::group::{Input, JoinGroup, JoinReply, Protocol, Reply as Answer};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: JoinGroupRequest<'_>) -> Reply {
    let member_id = request.member_id.to_string();
    let answer = match join(context, &request).await {
        Ok(answer) => answer,
        Err(code) => JoinReply::error(code, &member_id),
    };
    let no_name = if context.version >= 7 {
        None
    } else {
        Some("".into())
    };
    context.reply(&JoinGroupResponse {
        error_code: answer.error.code(),
        generation_id: answer.generation_id,
        protocol_type: answer.protocol_type.as_deref().map(Into::into),
        protocol_name: answer.protocol_name.as_deref().map(Into::into).or(no_name),
        leader: answer.leader.as_str().into(),
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id.as_str().into(),
        members: answer
            .members
            .iter()
            .map(|member| JoinGroupResponseMember {
                member_id: member.member_id.as_str().into(),
                group_instance_id: member.group_instance_id.as_deref().map(Into::into),
                metadata: member.metadata.as_slice().into(),
            })
            .collect(),
        ..Default::default()
    })
}

async fn join(
    context: &RequestContext,
    request: &JoinGroupRequest<'_>,
) -> Result<JoinReply, ErrorCode> {
    context.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    let join = JoinGroup {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.as_deref().map(str::to_owned),
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: protocol.name.to_string(),
                metadata: protocol.metadata.to_vec(),
            })
            .collect(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        client_id: context.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", context.connection.peer.ip()),
        api_version: context.version,
        uuid: uuid::Uuid::new_v4().to_string(),
    };
    match coordinator::ask(&context.shard, &request.group_id, move |token| {
        Input::Join(token, join)
    })
    .await?
    {
        Answer::Join(answer) => Ok(answer),
        _ => unreachable!("the coordinator answers what was asked"),
    }
}
