//! DescribeQuorum (55): the metadata quorum, which is this node alone. v1 timestamps (KIP-836) · v2 nodes (KIP-853).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState,
    ResponsePartitionData, ResponseTopicData,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// The one topic that has a quorum (`Topic.CLUSTER_METADATA_TOPIC_NAME`).
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) async fn handle(context: &RequestContext, request: DescribeQuorumRequest<'_>) -> Reply {
    if let Err(code) = context.authorize(Operation::Describe, Resource::Cluster) {
        return context.reply(&DescribeQuorumResponse {
            error_code: code.code(),
            ..Default::default()
        });
    }
    let asked_right = match request.topics.as_slice() {
        [topic] => {
            topic.topic_name == METADATA_TOPIC
                && matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0)
        }
        _ => false,
    };
    if !asked_right {
        let topics = request.topics.iter().map(|topic| ResponseTopicData {
            topic_name: topic.topic_name.as_ref().into(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| ResponsePartitionData {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    error_message: Some(ErrorCode::UnknownTopicOrPartition.message().into()),
                    ..Default::default()
                })
                .collect(),
        });
        return context.reply(&DescribeQuorumResponse {
            topics: topics.collect(),
            ..Default::default()
        });
    }
    context.reply(&the_quorum(context))
}

fn the_quorum(context: &RequestContext) -> DescribeQuorumResponse<'_> {
    let shard = &context.shard;
    let node_id = shard.config.node_id;
    let quorum = shard.image().quorum(node_id);
    let now = shard.ring.wall_ms();
    let voter = ReplicaState {
        replica_id: node_id,
        replica_directory_id: if context.version >= 2 {
            shard.directories[0]
        } else {
            millstream_protocol::uuid::Uuid::ZERO
        },
        log_end_offset: quorum.log_end_offset,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
    };
    let partition = ResponsePartitionData {
        leader_id: quorum.leader_id,
        leader_epoch: quorum.leader_epoch,
        high_watermark: quorum.high_watermark,
        current_voters: vec![voter],
        error_message: Some("".into()),
        ..Default::default()
    };
    let (host, port) = context.advertised();
    let listener = Listener {
        name: "CONTROLLER".into(),
        host: host.into(),
        port: port as u16,
    };
    DescribeQuorumResponse {
        error_message: Some("".into()),
        topics: vec![ResponseTopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![partition],
        }],
        nodes: match context.version {
            2.. => vec![Node {
                node_id,
                listeners: vec![listener],
            }],
            _ => Vec::new(),
        },
        ..Default::default()
    }
}
