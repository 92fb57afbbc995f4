//! FindCoordinator (10): which broker coordinates a group. On one node: this one, once `__consumer_offsets` exists.
//!
//! v1 key type and message (KIP-98) · v4 many keys (KIP-699) · v6 share groups (KIP-932), not served yet.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use crate::api::RequestContext;
use crate::controller;
use crate::coordinator::OFFSETS_TOPIC;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// Key types of the protocol.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

struct Refused(ErrorCode, &'static str);

pub(crate) async fn handle(context: &RequestContext, request: FindCoordinatorRequest<'_>) -> Reply {
    if context.version < 4 {
        let found = find(context, &request.key, request.key_type).await;
        return context.reply(&single(context, found));
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in &request.coordinator_keys {
        let mut coordinator = Coordinator {
            key: key.as_ref().into(),
            node_id: -1,
            port: -1,
            ..Default::default()
        };
        match find(context, key, request.key_type).await {
            Ok(()) => {
                let (host, port) = context.advertised();
                coordinator.node_id = context.shard.config.node_id;
                coordinator.host = host.into();
                coordinator.port = port;
            }
            Err(Refused(code, message)) => {
                coordinator.error_code = code.code();
                coordinator.error_message = Some(message.into());
            }
        }
        coordinators.push(coordinator);
    }
    context.reply(&FindCoordinatorResponse {
        coordinators,
        ..Default::default()
    })
}

fn single(context: &RequestContext, found: Result<(), Refused>) -> FindCoordinatorResponse<'_> {
    match found {
        Ok(()) => {
            let (host, port) = context.advertised();
            FindCoordinatorResponse {
                error_message: Some(ErrorCode::None.message().into()),
                node_id: context.shard.config.node_id,
                host: host.into(),
                port,
                ..Default::default()
            }
        }
        Err(Refused(code, message)) => FindCoordinatorResponse {
            error_code: code.code(),
            error_message: Some(message.into()),
            node_id: -1,
            port: -1,
            ..Default::default()
        },
    }
}

async fn find(context: &RequestContext, key: &str, key_type: i8) -> Result<(), Refused> {
    match key_type {
        GROUP => {
            context
                .authorize(Operation::Describe, Resource::Group(key))
                .map_err(|code| Refused(code, code.message()))?;
        }
        TRANSACTION => {
            return Err(Refused(
                ErrorCode::TransactionalIdAuthorizationFailed,
                "Transactions are not served by this broker yet.",
            ));
        }
        // Not served yet; Kafka itself has no words for it where many keys are asked for at once.
        SHARE if context.version >= 4 => return Err(Refused(ErrorCode::InvalidRequest, "")),
        _ => {
            let code = ErrorCode::InvalidRequest;
            return Err(Refused(code, code.message()));
        }
    }
    if context.shard.topics.by_name(OFFSETS_TOPIC).is_some() {
        return Ok(());
    }
    controller::create_offsets_topic(&context.shard)
        .await
        .map_err(|error| {
            tracing::warn!("cannot create {OFFSETS_TOPIC}: {error}");
            Refused(
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::CoordinatorNotAvailable.message(),
            )
        })
}
