//! Heartbeat (12): a member lives, and learns of a rebalance. v3 static members (KIP-345).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millstream_state::group::{Heartbeat, Input, Reply as Answer};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: HeartbeatRequest<'_>) -> Reply {
    let code = beat(context, &request).await.unwrap_or_else(|code| code);
    // The client goes on beating while the coordinator reads its partition (GroupCoordinatorService.heartbeat).
    let code = if code == ErrorCode::CoordinatorLoadInProgress {
        ErrorCode::None
    } else {
        code
    };
    context.reply(&HeartbeatResponse {
        error_code: code.code(),
        ..Default::default()
    })
}

async fn beat(
    context: &RequestContext,
    request: &HeartbeatRequest<'_>,
) -> Result<ErrorCode, ErrorCode> {
    context.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    let beat = Heartbeat {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.as_deref().map(str::to_owned),
        generation_id: request.generation_id,
    };
    match coordinator::ask(&context.shard, &request.group_id, move |token| {
        Input::Heartbeat(token, beat)
    })
    .await?
    {
        Answer::Heartbeat(code) => Ok(code),
        _ => unreachable!("the coordinator answers what was asked"),
    }
}
