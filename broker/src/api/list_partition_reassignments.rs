//! ListPartitionReassignments (46): with one broker nothing can be under way.

use millstream_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(
    context: &RequestContext,
    _request: ListPartitionReassignmentsRequest<'_>,
) -> Reply {
    let denied = context
        .authorize(Operation::Describe, Resource::Cluster)
        .err();
    context.reply(&ListPartitionReassignmentsResponse {
        error_code: denied.map_or(0, |code| code.code()),
        error_message: denied.map(|code| code.message().into()),
        ..Default::default()
    })
}
