//! DeleteRecords (21): moves log start offsets; the data goes later (KIP-107). -1 stands for the high watermark.

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use crate::api::{RequestContext, errors};
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// What the low watermark is when there is an error (`DeleteRecordsResponse.INVALID_LOW_WATERMARK`).
const NO_LOW_WATERMARK: i64 = -1;

pub(crate) async fn handle(context: &RequestContext, request: DeleteRecordsRequest<'_>) -> Reply {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let outcome = delete(
                context,
                &topic.name,
                partition.partition_index,
                partition.offset,
            )
            .await;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: *outcome.as_ref().unwrap_or(&NO_LOW_WATERMARK),
                error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name.as_ref().into(),
            partitions,
        });
    }
    context.reply(&DeleteRecordsResponse {
        topics,
        ..Default::default()
    })
}

async fn delete(
    context: &RequestContext,
    name: &str,
    index: i32,
    offset: i64,
) -> Result<i64, ErrorCode> {
    context.authorize(Operation::Delete, Resource::Topic(name))?;
    let shard = &context.shard;
    let topic = shard
        .topics
        .by_name(name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    let core = shard.core_of(&topic, index)?;
    let id = topic.id;
    shard
        .on(core, move |there| async move {
            let partition = there.partition(&id, index)?;
            if !partition.config.borrow().delete {
                return Err(ErrorCode::PolicyViolation);
            }
            let end = partition.acknowledged_end().await?;
            let to = if offset == -1 { end } else { offset };
            if !(0..=end).contains(&to) {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            partition
                .log
                .delete_records(to)
                .await
                .map_err(|error| errors::of_store(&error))
        })
        .await
}
