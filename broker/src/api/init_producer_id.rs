//! InitProducerId (22): an id for an idempotent producer. v3 epoch of the caller (KIP-360) · v4 PRODUCER_FENCED
//! (KIP-588) · v5 (KIP-890).
//!
//! Transactions are not served yet: a transactional id is refused with an error that no client retries.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};

use crate::api::RequestContext;
use crate::controller;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: InitProducerIdRequest<'_>) -> Reply {
    context.reply(&match init(context, &request).await {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(code) => InitProducerIdResponse {
            error_code: code.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    })
}

async fn init(
    context: &RequestContext,
    request: &InitProducerIdRequest<'_>,
) -> Result<i64, ErrorCode> {
    context.authorize(Operation::IdempotentWrite, Resource::Cluster)?;
    // Both or none (KIP-360).
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        None => controller::next_producer_id(&context.shard).await,
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
    }
}
