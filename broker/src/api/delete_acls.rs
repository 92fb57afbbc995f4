//! DeleteAcls (31): there is no authorizer, and so nothing to delete.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::delete_acls::{
    DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::NO_AUTHORIZER;

pub(crate) async fn handle(context: &RequestContext, request: DeleteAclsRequest<'_>) -> Reply {
    let results = request.filters.iter().map(|_| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(NO_AUTHORIZER.into()),
        ..Default::default()
    });
    context.reply(&DeleteAclsResponse {
        filter_results: results.collect(),
        ..Default::default()
    })
}
