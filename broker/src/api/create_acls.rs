//! CreateAcls (30): there is no authorizer that would heed them.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::create_acls::{
    AclCreationResult, CreateAclsRequest, CreateAclsResponse,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::NO_AUTHORIZER;

pub(crate) async fn handle(context: &RequestContext, request: CreateAclsRequest<'_>) -> Reply {
    let results = request.creations.iter().map(|_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(NO_AUTHORIZER.into()),
    });
    context.reply(&CreateAclsResponse {
        results: results.collect(),
        ..Default::default()
    })
}
