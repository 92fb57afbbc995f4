//! Metadata (3): brokers, topics, leaders.
//!
//! v0 an empty list asks for all topics; from v1 null does, and empty for none · v4 allow_auto_topic_creation ·
//! v8 authorized operations (KIP-430) · v10 topic ids (KIP-516) · v12 queries by id · v13 top-level error (KIP-1102).

use std::collections::HashSet;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use millstream_protocol::uuid::Uuid;
use millstream_state::controller::{Command, Image, NewTopic, Reply as Answer, Topic};

use crate::api::RequestContext;
use crate::controller::{self, apply::is_internal};
use crate::coordinator::OFFSETS_TOPIC;
use crate::net::replies::Reply;
use crate::security::{CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS};

pub(crate) async fn handle(context: &RequestContext, request: MetadataRequest<'_>) -> Reply {
    // Ids came with v10, but may be asked for only from v12 on (KafkaApis.handleTopicMetadataRequest): refused as a whole.
    let early =
        |topic: &MetadataRequestTopic<'_>| topic.name.is_none() || !topic.topic_id.is_zero();
    if context.version < 12 && request.topics.iter().flatten().any(early) {
        return context.reply(&refused(&request));
    }
    let shard = &context.shard;
    // v8 and later; before, the client cannot ask.
    let operations = if request.include_topic_authorized_operations {
        TOPIC_OPERATIONS
    } else {
        NOT_ASKED
    };
    let mut image = shard.image();
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    if !all
        && shard.config.broker.auto_create_topics_enable
        && (request.allow_auto_topic_creation || context.version < 4)
    {
        create_missing(context, &request, &image).await;
    }
    // What was just created is told as missing, as Kafka does: the client asks again. Except that here it exists already
    // when the answer leaves, so the answer may as well say so.
    image = if all { image } else { shard.image() };
    let topics = match (&request.topics, all) {
        (Some(topics), false) => named(topics, &image, operations),
        _ => image
            .topics()
            .map(|topic| described(topic, operations))
            .collect(),
    };
    let rack = image
        .broker(shard.config.node_id)
        .and_then(|broker| broker.rack.clone());
    let (host, port) = context.advertised();
    context.reply(&MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: shard.config.node_id,
            host: host.into(),
            port,
            rack: rack.map(Into::into),
        }],
        cluster_id: Some(image.cluster_id().into()),
        controller_id: shard.config.node_id,
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => NOT_ASKED,
        },
        ..Default::default()
    })
}

/// Each topic once; where one is asked for by id, only those that are.
fn named<'a>(
    topics: &'a [MetadataRequestTopic<'_>],
    image: &'a Image,
    operations: i32,
) -> Vec<MetadataResponseTopic<'a>> {
    let mut seen = HashSet::new();
    let with_ids = topics.iter().any(|asked| !asked.topic_id.is_zero());
    let found = topics.iter().filter_map(|asked| match &asked.name {
        _ if with_ids && asked.topic_id.is_zero() => None,
        _ if !seen.insert((asked.name.as_deref(), asked.topic_id)) => None,
        Some(name) => Some(by_name(image, name, operations)),
        None => Some(by_id(image, asked.topic_id, operations)),
    });
    found.collect()
}

/// What Kafka answers to a request it refuses: every topic with the error, and nothing else
/// (MetadataRequest.getErrorResponse).
fn refused<'a>(request: &'a MetadataRequest<'_>) -> MetadataResponse<'a> {
    let topics = request
        .topics
        .iter()
        .flatten()
        .map(|asked| MetadataResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some(asked.name.as_deref().unwrap_or_default().into()),
            topic_id: asked.topic_id,
            topic_authorized_operations: NOT_ASKED,
            ..Default::default()
        });
    MetadataResponse {
        topics: topics.collect(),
        cluster_authorized_operations: NOT_ASKED,
        ..Default::default()
    }
}

fn by_name<'a>(image: &'a Image, name: &'a str, operations: i32) -> MetadataResponseTopic<'a> {
    match image.topic(name) {
        Some(topic) => described(topic, operations),
        None => MetadataResponseTopic {
            error_code: match controller::is_valid_topic_name(name) {
                true => ErrorCode::UnknownTopicOrPartition.code(),
                false => ErrorCode::InvalidTopicException.code(),
            },
            name: Some(name.into()),
            is_internal: is_internal(name),
            topic_authorized_operations: NOT_ASKED,
            ..Default::default()
        },
    }
}

fn by_id(image: &Image, id: Uuid, operations: i32) -> MetadataResponseTopic<'_> {
    match image.topic_by_id(id) {
        Some(topic) => described(topic, operations),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            name: None,
            topic_id: id,
            topic_authorized_operations: NOT_ASKED,
            ..Default::default()
        },
    }
}

fn described(topic: &Arc<Topic>, operations: i32) -> MetadataResponseTopic<'_> {
    let partitions =
        (0..)
            .zip(&topic.partitions)
            .map(|(index, partition)| MetadataResponsePartition {
                error_code: ErrorCode::None.code(),
                partition_index: index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.to_vec(),
                isr_nodes: partition.isr.to_vec(),
                offline_replicas: Vec::new(),
            });
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.as_ref().into()),
        topic_id: topic.topic_id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
    }
}

/// auto.create.topics.enable: creates the named topics that do not exist.
async fn create_missing(context: &RequestContext, request: &MetadataRequest<'_>, image: &Image) {
    let mut topics = Vec::new();
    for name in request
        .topics
        .iter()
        .flatten()
        .filter_map(|asked| asked.name.as_deref())
    {
        if image.topic(name).is_some() {
            continue;
        }
        if name == OFFSETS_TOPIC {
            if let Err(refusal) = controller::create_offsets_topic(&context.shard).await {
                tracing::warn!("{OFFSETS_TOPIC} cannot be created: {refusal}");
            }
        } else if controller::is_valid_topic_name(name) && !is_internal(name) {
            topics.push(NewTopic {
                name: name.to_owned(),
                topic_id: controller::new_topic_id(),
                num_partitions: -1,
                replication_factor: -1,
                assignments: Vec::new(),
                configs: Ok(Vec::new()),
            });
        }
    }
    if topics.is_empty() {
        return;
    }
    match controller::command(
        &context.shard,
        Command::CreateTopics {
            topics,
            validate_only: false,
        },
    )
    .await
    {
        Ok(Answer::CreatedTopics(created)) => {
            for topic in created {
                if let Err(refusal) = topic.result {
                    tracing::info!(
                        "topic {} is not created automatically: {refusal}",
                        topic.name
                    );
                }
            }
        }
        Ok(_) => unreachable!("a command has its own reply"),
        Err(refusal) => tracing::warn!("topics cannot be created automatically: {refusal}"),
    }
}
