//! DescribeClientQuotas (48): none are set, since they cannot be set yet.

use millstream_protocol::messages::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(
    context: &RequestContext,
    _request: DescribeClientQuotasRequest<'_>,
) -> Reply {
    let denied = context
        .authorize(Operation::DescribeConfigs, Resource::Cluster)
        .err();
    context.reply(&DescribeClientQuotasResponse {
        error_code: denied.map_or(0, |code| code.code()),
        error_message: denied.map(|code| code.message().into()),
        entries: denied.is_none().then(Vec::new),
        ..Default::default()
    })
}
