//! DescribeTopicPartitions (75): topics page by page (KIP-966), in the order of their names.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, ResponseCursor,
};
use millstream_state::controller::Image;

use crate::api::RequestContext;
use crate::controller::{self, apply::is_internal};
use crate::net::replies::Reply;
use crate::security::{NOT_ASKED, TOPIC_OPERATIONS};

pub(crate) async fn handle(
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest<'_>,
) -> Reply {
    let image = context.shard.image();
    let named: Vec<&str> = request
        .topics
        .iter()
        .map(|topic| topic.name.as_ref())
        .collect();
    if let Some(cursor) = &request.cursor
        && (cursor.partition_index < 0
            || !named.is_empty() && !named.contains(&cursor.topic_name.as_ref()))
    {
        return context.reply(&refused(&named));
    }
    let (from, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_ref(), cursor.partition_index),
        None => ("", 0),
    };
    let mut names: Vec<&str> = match named.is_empty() {
        true => image
            .topics_from(from)
            .map(|topic| topic.name.as_ref())
            .collect(),
        false => named.into_iter().filter(|name| *name >= from).collect(),
    };
    names.sort_unstable();
    names.dedup();
    let asked = usize::try_from(request.response_partition_limit)
        .unwrap_or(1)
        .max(1);
    let mut left = asked.min(context.shard.config.broker.max_request_partition_size_limit);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let start = if name == from { from_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(ResponseCursor {
                topic_name: name.into(),
                partition_index: start,
            });
            break;
        }
        let (topic, next) = describe(&image, name, start, left);
        left -= topic.partitions.len().min(left);
        response.topics.push(topic);
        if let Some(next) = next {
            response.next_cursor = Some(ResponseCursor {
                topic_name: name.into(),
                partition_index: next,
            });
            break;
        }
    }
    context.reply(&response)
}

/// A cursor that is none of the topics asked for, or before the first partition.
fn refused<'a>(named: &[&'a str]) -> DescribeTopicPartitionsResponse<'a> {
    let topics = named
        .iter()
        .map(|name| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some((*name).into()),
            topic_authorized_operations: NOT_ASKED,
            ..Default::default()
        });
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

/// The topic's partitions from `start`, at most `limit`, and the first that did not fit.
fn describe<'a>(
    image: &'a Image,
    name: &'a str,
    start: i32,
    limit: usize,
) -> (DescribeTopicPartitionsResponseTopic<'a>, Option<i32>) {
    let mut row = DescribeTopicPartitionsResponseTopic {
        name: Some(name.into()),
        is_internal: is_internal(name),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..Default::default()
    };
    let Some(topic) = image.topic(name) else {
        row.error_code = match controller::is_valid_topic_name(name) {
            true => ErrorCode::UnknownTopicOrPartition.code(),
            false => ErrorCode::InvalidTopicException.code(),
        };
        return (row, None);
    };
    row.topic_id = topic.topic_id;
    let mut partitions = (0..)
        .zip(&topic.partitions)
        .skip_while(|(index, _)| *index < start);
    for (index, partition) in partitions.by_ref().take(limit) {
        row.partitions
            .push(DescribeTopicPartitionsResponsePartition {
                partition_index: index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.to_vec(),
                isr_nodes: partition.isr.to_vec(),
                eligible_leader_replicas: Some(Vec::new()),
                last_known_elr: Some(Vec::new()),
                ..Default::default()
            });
    }
    (row, partitions.next().map(|(index, _)| index))
}
