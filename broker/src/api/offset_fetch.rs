//! OffsetFetch (9): what a group has committed. A missing offset is -1, not an error.
//!
//! v2 null topics for all · v5 leader epoch · v7 require_stable (without transactions everything is stable) · v8 many
//! groups (KIP-709) · v9 member id and epoch (KIP-848) · v10 topic ids.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use millstream_protocol::uuid::Uuid;
use millstream_state::group::{FetchedOffset, FetchedTopic, OffsetQuery};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// What is asked of one group: (name, id on the wire, partitions), or all it has.
type Wanted = Option<Vec<WantedTopic>>;

#[derive(Clone)]
struct WantedTopic {
    name: String,
    topic_id: Uuid,
    partitions: Vec<i32>,
    /// The id is of no topic we know.
    unknown: bool,
}

pub(crate) async fn handle(context: &RequestContext, request: OffsetFetchRequest<'_>) -> Reply {
    if context.version < 8 {
        return one_group(context, &request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in &request.groups {
        let wanted = wanted(context, group);
        let fetched = fetch(context, &group.group_id, wanted.clone()).await;
        groups.push(group_response(context, group, wanted, fetched));
    }
    context.reply(&OffsetFetchResponse {
        groups,
        ..Default::default()
    })
}

async fn fetch(
    context: &RequestContext,
    group_id: &str,
    wanted: Wanted,
) -> Result<Vec<FetchedTopic>, ErrorCode> {
    context.authorize(Operation::Describe, Resource::Group(group_id))?;
    let group = group_id.to_owned();
    coordinator::read(&context.shard, group_id, move |machine| match wanted {
        None => machine.fetch_offsets(&group, OffsetQuery::All),
        Some(topics) => {
            let asked: Vec<_> = topics
                .into_iter()
                .filter(|topic| !topic.unknown)
                .map(|topic| (topic.name, topic.partitions))
                .collect();
            machine.fetch_offsets(&group, OffsetQuery::Some(&asked))
        }
    })
    .await
}

fn wanted(context: &RequestContext, group: &OffsetFetchRequestGroup<'_>) -> Wanted {
    let topics = group.topics.as_ref()?.iter().map(|topic| {
        let found = (context.version >= 10).then(|| context.shard.topics.by_id(&topic.topic_id));
        WantedTopic {
            name: match &found {
                Some(Some(found)) => found.name.to_string(),
                _ => topic.name.to_string(),
            },
            topic_id: topic.topic_id,
            partitions: topic.partition_indexes.clone(),
            unknown: matches!(found, Some(None)),
        }
    });
    Some(topics.collect())
}

fn group_response<'a>(
    context: &RequestContext,
    group: &OffsetFetchRequestGroup<'a>,
    wanted: Wanted,
    fetched: Result<Vec<FetchedTopic>, ErrorCode>,
) -> OffsetFetchResponseGroup<'a> {
    let mut response = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        ..Default::default()
    };
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(code) => {
            response.error_code = code.code();
            return response;
        }
    };
    for topic in fetched {
        let topic_id = match wanted
            .as_ref()
            .and_then(|w| w.iter().find(|wanted| wanted.name == topic.name))
        {
            Some(wanted) => wanted.topic_id,
            None => context
                .shard
                .topics
                .by_name(&topic.name)
                .map_or(Uuid::ZERO, |found| found.id),
        };
        // By id, offsets of a topic that is gone cannot be named.
        if context.version >= 10 && topic_id.is_zero() {
            continue;
        }
        response.topics.push(OffsetFetchResponseTopics {
            name: topic.name.into(),
            topic_id,
            partitions: topic.partitions.into_iter().map(partition).collect(),
        });
    }
    for topic in wanted.into_iter().flatten().filter(|topic| topic.unknown) {
        let partitions = topic
            .partitions
            .iter()
            .map(|index| OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: -1,
                error_code: ErrorCode::UnknownTopicId.code(),
                metadata: Some("".into()),
                ..Default::default()
            });
        response.topics.push(OffsetFetchResponseTopics {
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
            ..Default::default()
        });
    }
    response
}

fn partition(offset: FetchedOffset) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index: offset.index,
        committed_offset: offset.offset,
        committed_leader_epoch: offset.leader_epoch,
        metadata: Some(offset.metadata.into()),
        error_code: ErrorCode::None.code(),
    }
}

/// Up to v7: one group, its fields at the top.
async fn one_group(context: &RequestContext, request: &OffsetFetchRequest<'_>) -> Reply {
    let wanted: Wanted = request.topics.as_ref().map(|topics| {
        topics
            .iter()
            .map(|topic| WantedTopic {
                name: topic.name.to_string(),
                topic_id: Uuid::ZERO,
                partitions: topic.partition_indexes.clone(),
                unknown: false,
            })
            .collect()
    });
    let mut response = OffsetFetchResponse::default();
    match fetch(context, &request.group_id, wanted.clone()).await {
        Ok(fetched) => response.topics = fetched.into_iter().map(topic).collect(),
        Err(code) => {
            response.error_code = code.code();
            // v1 has no error for the whole: each partition carries it (OffsetFetchResponse.Builder).
            for topic in wanted.into_iter().flatten().filter(|_| context.version < 2) {
                let partitions =
                    topic
                        .partitions
                        .iter()
                        .map(|index| OffsetFetchResponsePartition {
                            partition_index: *index,
                            committed_offset: -1,
                            metadata: Some("".into()),
                            error_code: code.code(),
                            ..Default::default()
                        });
                response.topics.push(OffsetFetchResponseTopic {
                    name: topic.name.into(),
                    partitions: partitions.collect(),
                });
            }
        }
    }
    context.reply(&response)
}

fn topic(topic: FetchedTopic) -> OffsetFetchResponseTopic<'static> {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|offset| OffsetFetchResponsePartition {
            partition_index: offset.index,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            metadata: Some(offset.metadata.into()),
            error_code: ErrorCode::None.code(),
        });
    OffsetFetchResponseTopic {
        name: topic.name.into(),
        partitions: partitions.collect(),
    }
}
