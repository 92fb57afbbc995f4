//! DescribeGroups (15): state and members of groups.
//!
//! v3 authorized operations (KIP-430) · v4 instance ids (KIP-345) · v6 GROUP_ID_NOT_FOUND with a message instead of the
//! state Dead (KIP-1043).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use millstream_state::group::DescribedGroup as Described;

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{GROUP_OPERATIONS, NOT_ASKED, Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: DescribeGroupsRequest<'_>) -> Reply {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in &request.groups {
        let group = match describe(context, group_id).await {
            Ok(described) => response(described, request.include_authorized_operations),
            Err(code) => DescribedGroup {
                error_code: code.code(),
                group_id: group_id.as_ref().into(),
                authorized_operations: NOT_ASKED,
                ..Default::default()
            },
        };
        groups.push(group);
    }
    context.reply(&DescribeGroupsResponse {
        groups,
        ..Default::default()
    })
}

async fn describe(context: &RequestContext, group_id: &str) -> Result<Described, ErrorCode> {
    context.authorize(Operation::Describe, Resource::Group(group_id))?;
    let group = group_id.to_owned();
    let version = context.version;
    coordinator::read(&context.shard, group_id, move |machine| {
        machine.describe(&group, version)
    })
    .await
}

fn response<'a>(group: Described, operations: bool) -> DescribedGroup<'a> {
    let members = group
        .members
        .into_iter()
        .map(|member| DescribedGroupMember {
            member_id: member.member_id.into(),
            group_instance_id: member.group_instance_id.map(Into::into),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            member_metadata: member.metadata.into(),
            member_assignment: member.assignment.into(),
        });
    DescribedGroup {
        error_code: group.error.code(),
        error_message: group.error_message.map(Into::into),
        group_id: group.group_id.into(),
        group_state: group.state.into(),
        protocol_type: group.protocol_type.into(),
        protocol_data: group.protocol_data.into(),
        members: members.collect(),
        authorized_operations: if operations && group.error == ErrorCode::None {
            GROUP_OPERATIONS
        } else {
            NOT_ASKED
        },
    }
}
