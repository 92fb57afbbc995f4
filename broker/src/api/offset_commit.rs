//! OffsetCommit (8): a group's offsets, answered when they are flushed.
//!
//! v5 no retention time (KIP-211) · v6 leader epoch (KIP-320) · v7 static members (KIP-345) · v9 GROUP_ID_NOT_FOUND and
//! STALE_MEMBER_EPOCH (KIP-848) · v10 topic ids.

use std::collections::HashMap;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use millstream_protocol::uuid::Uuid;
use millstream_state::group::{
    CommitPartition, CommitTopic, Input, OffsetCommit, Reply as Answer, TopicResult,
};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};
use crate::topics::Topic;

pub(crate) async fn handle(context: &RequestContext, request: OffsetCommitRequest<'_>) -> Reply {
    let topics = topics(context, &request);
    let results = match commit(context, &request, topics.clone()).await {
        Ok(results) => results,
        Err(code) => refuse(&topics, code),
    };
    context.reply(&OffsetCommitResponse {
        topics: rows(&results),
        ..Default::default()
    })
}

/// One row for each topic that has partitions, also where the request names it twice.
fn rows(results: &[TopicResult]) -> Vec<OffsetCommitResponseTopic<'_>> {
    let mut places = HashMap::new();
    let mut rows: Vec<OffsetCommitResponseTopic<'_>> = Vec::with_capacity(results.len());
    for topic in results.iter().filter(|topic| !topic.partitions.is_empty()) {
        let place = *places
            .entry((topic.name.as_str(), topic.topic_id))
            .or_insert(rows.len());
        if place == rows.len() {
            rows.push(OffsetCommitResponseTopic {
                name: topic.name.as_str().into(),
                topic_id: Uuid(topic.topic_id),
                ..Default::default()
            });
        }
        let partitions = topic.partitions.iter();
        rows[place]
            .partitions
            .extend(
                partitions.map(|(index, code)| OffsetCommitResponsePartition {
                    partition_index: *index,
                    error_code: code.code(),
                }),
            );
    }
    rows
}

async fn commit(
    context: &RequestContext,
    request: &OffsetCommitRequest<'_>,
    topics: Vec<CommitTopic>,
) -> Result<Vec<TopicResult>, ErrorCode> {
    context.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    let commit = OffsetCommit {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.as_deref().map(str::to_owned),
        generation_id: request.generation_id_or_member_epoch,
        retention_time_ms: request.retention_time_ms,
        api_version: context.version,
        topics,
    };
    match coordinator::ask(&context.shard, &request.group_id, move |token| {
        Input::OffsetCommit(token, commit)
    })
    .await?
    {
        Answer::OffsetCommit(results) => Ok(results),
        _ => unreachable!("the coordinator answers what was asked"),
    }
}

/// The request's topics with what is wrong with each partition before the coordinator sees it.
fn topics(context: &RequestContext, request: &OffsetCommitRequest<'_>) -> Vec<CommitTopic> {
    request
        .topics
        .iter()
        .map(|topic| {
            let (found, unknown) = match context.version {
                10.. => (
                    context.shard.topics.by_id(&topic.topic_id),
                    ErrorCode::UnknownTopicId,
                ),
                _ => (
                    context.shard.topics.by_name(&topic.name),
                    ErrorCode::UnknownTopicOrPartition,
                ),
            };
            let denied = found.as_ref().and_then(|found| {
                context
                    .authorize(Operation::Read, Resource::Topic(&found.name))
                    .err()
            });
            let partitions = topic.partitions.iter().map(|partition| CommitPartition {
                index: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_deref().map(str::to_owned),
                error: denied
                    .unwrap_or_else(|| check(found.as_deref(), partition.partition_index, unknown)),
            });
            CommitTopic {
                name: found
                    .as_ref()
                    .map_or_else(|| topic.name.to_string(), |found| found.name.to_string()),
                topic_id: found.as_ref().map_or(topic.topic_id, |found| found.id).0,
                partitions: partitions.collect(),
            }
        })
        .collect()
}

fn check(found: Option<&Topic>, index: i32, unknown: ErrorCode) -> ErrorCode {
    match found {
        None => unknown,
        Some(topic) if (0..topic.partition_count()).contains(&index) => ErrorCode::None,
        Some(_) => ErrorCode::UnknownTopicOrPartition,
    }
}

/// The whole request refused; what was wrong with a partition before stays.
fn refuse(topics: &[CommitTopic], code: ErrorCode) -> Vec<TopicResult> {
    topics
        .iter()
        .map(|topic| TopicResult {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    (
                        partition.index,
                        if partition.error == ErrorCode::None {
                            code
                        } else {
                            partition.error
                        },
                    )
                })
                .collect(),
        })
        .collect()
}
