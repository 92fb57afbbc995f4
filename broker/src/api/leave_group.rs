//! LeaveGroup (13): members leave at once. v3 a batch with an error each (KIP-345) · v5 reason (KIP-800).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberResponse,
};
use millstream_state::group::{Input, LeaveGroup, LeaveReply, LeavingMember, Reply as Answer};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: LeaveGroupRequest<'_>) -> Reply {
    let answer = match leave(context, &request).await {
        Ok(answer) => answer,
        Err(error) => LeaveReply {
            error,
            members: Vec::new(),
        },
    };
    if context.version < 3 {
        let of_member = answer
            .members
            .first()
            .map_or(ErrorCode::None, |(_, _, code)| *code);
        let code = if answer.error == ErrorCode::None {
            of_member
        } else {
            answer.error
        };
        return context.reply(&LeaveGroupResponse {
            error_code: code.code(),
            ..Default::default()
        });
    }
    let members = answer
        .members
        .iter()
        .map(|(member_id, instance, code)| MemberResponse {
            member_id: member_id.as_str().into(),
            group_instance_id: instance.as_deref().map(Into::into),
            error_code: code.code(),
        });
    context.reply(&LeaveGroupResponse {
        error_code: answer.error.code(),
        members: members.collect(),
        ..Default::default()
    })
}

async fn leave(
    context: &RequestContext,
    request: &LeaveGroupRequest<'_>,
) -> Result<LeaveReply, ErrorCode> {
    context.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    let members = if context.version < 3 {
        vec![LeavingMember {
            member_id: request.member_id.to_string(),
            group_instance_id: None,
        }]
    } else {
        request
            .members
            .iter()
            .map(|member| LeavingMember {
                member_id: member.member_id.to_string(),
                group_instance_id: member.group_instance_id.as_deref().map(str::to_owned),
            })
            .collect()
    };
    let leave = LeaveGroup {
        group_id: request.group_id.to_string(),
        members,
    };
    match coordinator::ask(&context.shard, &request.group_id, move |token| {
        Input::Leave(token, leave)
    })
    .await?
    {
        Answer::Leave(answer) => Ok(answer),
        _ => unreachable!("the coordinator answers what was asked"),
    }
}
