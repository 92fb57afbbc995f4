//! DescribeCluster (60): the brokers, or with endpoint type 2 the controllers (KIP-919). v2 fenced brokers (KIP-1073).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{CLUSTER_OPERATIONS, NOT_ASKED};

/// Endpoint types of the protocol.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(context: &RequestContext, request: DescribeClusterRequest) -> Reply {
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_authorized_operations: NOT_ASKED,
        ..Default::default()
    };
    // Controllers are asked on their own listener, which is not opened while there is one node.
    if request.endpoint_type != BROKERS {
        let (code, message) = match request.endpoint_type {
            CONTROLLERS => (
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                    .to_owned(),
            ),
            other => (
                ErrorCode::UnsupportedEndpointType,
                format!("Unsupported endpoint type {other}"),
            ),
        };
        response.error_code = code.code();
        response.error_message = Some(message.into());
        return context.reply(&response);
    }
    let image = context.shard.image();
    let node_id = context.shard.config.node_id;
    let (host, port) = context.advertised();
    response.cluster_id = image.cluster_id().into();
    response.controller_id = node_id;
    response.brokers = vec![DescribeClusterBroker {
        broker_id: node_id,
        host: host.into(),
        port,
        rack: context.shard.config.rack.as_deref().map(Into::into),
        is_fenced: false,
    }];
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    context.reply(&response)
}
