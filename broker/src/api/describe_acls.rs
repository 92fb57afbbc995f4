//! DescribeAcls (29): there is no authorizer, and so nothing to describe.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};

use crate::api::RequestContext;
use crate::net::replies::Reply;

pub(crate) async fn handle(context: &RequestContext, _request: DescribeAclsRequest<'_>) -> Reply {
    context.reply(&DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..Default::default()
    })
}
