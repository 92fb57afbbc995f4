//! OffsetForLeaderEpoch (23): where an epoch ended, for clients that check whether they were truncated (KIP-320).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest<'_>,
) -> Reply {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut end = EpochEndOffset {
                partition: partition.partition,
                ..Default::default()
            };
            match find(context, &topic.topic, partition).await {
                Ok((epoch, offset)) => (end.leader_epoch, end.end_offset) = (epoch, offset),
                Err(code) => end.error_code = code.code(),
            }
            partitions.push(end);
        }
        topics.push(OffsetForLeaderTopicResult {
            topic: topic.topic.as_ref().into(),
            partitions,
        });
    }
    context.reply(&OffsetForLeaderEpochResponse {
        topics,
        ..Default::default()
    })
}

async fn find(
    context: &RequestContext,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ErrorCode> {
    context.authorize(Operation::Describe, Resource::Topic(topic))?;
    let shard = &context.shard;
    let topic = shard
        .topics
        .by_name(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let core = shard.core_of(&topic, asked.partition)?;
    let (id, index, current, epoch) = (
        topic.id,
        asked.partition,
        asked.current_leader_epoch,
        asked.leader_epoch,
    );
    shard
        .on(core, move |there| async move {
            let partition = there.partition(&id, index)?;
            partition.check_epoch(current)?;
            // The current epoch ends where the log does, even if nothing was written in it.
            if epoch == partition.leader_epoch.get() {
                return Ok((epoch, partition.log.log_end_offset()));
            }
            Ok(partition.log.offset_for_epoch(epoch))
        })
        .await
}
