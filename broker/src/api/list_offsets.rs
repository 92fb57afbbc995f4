//! ListOffsets (2): offsets by timestamp or by name.
//!
//! v2 isolation level (KIP-98) · v4 leader epoch (KIP-320) · v5 OFFSET_NOT_AVAILABLE (KIP-207) · v7 max timestamp
//! (KIP-734) · v8 earliest local (KIP-405) · v9 latest tiered (KIP-1005) · v10 timeout (KIP-1075) · v11 earliest pending
//! upload (KIP-1023).

use std::collections::HashMap;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use crate::api::{RequestContext, errors};
use crate::net::replies::Reply;
use crate::partition::Partition;
use crate::security::{Operation, Resource};

/// Timestamps that are names (ListOffsetsRequest, RemoteLogManager).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) async fn handle(context: &RequestContext, request: ListOffsetsRequest<'_>) -> Reply {
    // Partitions named twice are refused, with one row (ListOffsetsRequest.duplicatePartitions).
    let mut counts: HashMap<(&str, i32), usize> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *counts
                .entry((&topic.name, partition.partition_index))
                .or_default() += 1;
        }
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            // Taken out: later rows of the same partition have no answer.
            if let Some(count) = counts.remove(&(topic.name.as_ref(), partition.partition_index)) {
                partitions.push(answer(context, &topic.name, partition, count == 1).await);
            }
        }
        if partitions.is_empty() {
            continue;
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name.as_ref().into(),
            partitions,
        });
    }
    context.reply(&ListOffsetsResponse {
        topics,
        ..Default::default()
    })
}

async fn answer(
    context: &RequestContext,
    topic: &str,
    partition: &ListOffsetsPartition,
    once: bool,
) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse {
        partition_index: partition.partition_index,
        ..Default::default()
    };
    let found = match once {
        true => find(context, topic, partition).await,
        false => Err(ErrorCode::InvalidRequest),
    };
    match found {
        Ok((offset, timestamp, leader_epoch)) => {
            (response.offset, response.timestamp) = (offset, timestamp);
            // Unknown to clients before v4.
            response.leader_epoch = if context.version >= 4 {
                leader_epoch
            } else {
                -1
            };
        }
        Err(code) => response.error_code = code.code(),
    }
    response
}

/// Offset, timestamp and leader epoch.
type Found = (i64, i64, i32);

/// No record fits.
const NONE: Found = (-1, -1, -1);

async fn find(
    context: &RequestContext,
    topic: &str,
    partition: &ListOffsetsPartition,
) -> Result<Found, ErrorCode> {
    context.authorize(Operation::Describe, Resource::Topic(topic))?;
    let shard = &context.shard;
    let topic = shard
        .topics
        .by_name(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let core = shard.core_of(&topic, partition.partition_index)?;
    let (id, index) = (topic.id, partition.partition_index);
    let (epoch, timestamp, version) = (
        partition.current_leader_epoch,
        partition.timestamp,
        context.version,
    );
    shard
        .on(core, move |there| async move {
            let partition = there.partition(&id, index)?;
            partition.check_epoch(epoch)?;
            look_up(&partition, timestamp, version).await
        })
        .await
}

async fn look_up(partition: &Partition, timestamp: i64, version: i16) -> Result<Found, ErrorCode> {
    let log = &partition.log;
    let bound = partition.acknowledged_end().await?;
    let since = match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 1,
    };
    if version < since || timestamp < EARLIEST_PENDING_UPLOAD {
        return Err(ErrorCode::UnsupportedVersion);
    }
    match timestamp {
        LATEST => Ok((bound, -1, partition.leader_epoch.get())),
        EARLIEST | EARLIEST_LOCAL => {
            let start = log.log_start_offset();
            Ok((start, -1, log.epoch_at(start)))
        }
        // Nothing is tiered.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(NONE),
        MAX_TIMESTAMP => {
            let found = log
                .max_timestamp()
                .await
                .map_err(|error| errors::of_read(&error))?;
            Ok(found.map_or(NONE, |found| {
                (found.offset, found.timestamp, found.leader_epoch)
            }))
        }
        timestamp => {
            let found = log
                .offset_for_timestamp(timestamp, bound)
                .await
                .map_err(|error| errors::of_read(&error))?;
            Ok(found.map_or(NONE, |found| {
                (found.offset, found.timestamp, found.leader_epoch)
            }))
        }
    }
}
