//! ElectLeaders (43): with one broker, every partition's leader is the one it can have (KIP-183, KIP-460).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// Election types of the protocol.
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) async fn handle(context: &RequestContext, request: ElectLeadersRequest<'_>) -> Reply {
    if let Err(code) = context.authorize(Operation::Alter, Resource::Cluster) {
        return context.reply(&ElectLeadersResponse {
            error_code: code.code(),
            ..Default::default()
        });
    }
    let image = context.shard.image();
    let Some(asked) = request.topic_partitions else {
        // Partitions that need no election are left out, topics are not (ReplicationControlManager.electLeaders).
        let topics = image.topics().map(|topic| ReplicaElectionResult {
            topic: topic.name.as_ref().into(),
            ..Default::default()
        });
        return context.reply(&ElectLeadersResponse {
            replica_election_results: topics.collect(),
            ..Default::default()
        });
    };
    let unknown_type = !matches!(request.election_type, PREFERRED | UNCLEAN);
    let results = asked.iter().map(|asked| {
        let topic = image.topic(&asked.topic);
        let partitions = asked.partitions.iter().map(|index| {
            let (code, message) = match topic {
                _ if unknown_type => (
                    ErrorCode::InvalidRequest,
                    format!("Unknown election type {}", request.election_type),
                ),
                None => (
                    ErrorCode::UnknownTopicOrPartition,
                    format!("No such topic as {}", asked.topic),
                ),
                Some(topic) if topic.partition(*index).is_none() => (
                    ErrorCode::UnknownTopicOrPartition,
                    format!("No such partition as {}-{index}", asked.topic),
                ),
                Some(_) => (
                    ErrorCode::ElectionNotNeeded,
                    ErrorCode::ElectionNotNeeded.message().to_owned(),
                ),
            };
            PartitionResult {
                partition_id: *index,
                error_code: code.code(),
                error_message: Some(message.into()),
            }
        });
        ReplicaElectionResult {
            topic: asked.topic.as_ref().into(),
            partition_result: partitions.collect(),
        }
    });
    context.reply(&ElectLeadersResponse {
        error_code: match unknown_type {
            true => ErrorCode::InvalidRequest.code(),
            false => ErrorCode::None.code(),
        },
        replica_election_results: results.collect(),
        ..Default::default()
    })
}
