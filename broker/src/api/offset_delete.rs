//! OffsetDelete (47): forgets committed offsets of topics the group does not subscribe to (KIP-496).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use millstream_state::group::{Input, OffsetDelete, OffsetDeleteReply, Reply as Answer};

use crate::api::RequestContext;
use crate::coordinator;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: OffsetDeleteRequest<'_>) -> Reply {
    let answer = match delete(context, &request).await {
        Ok(answer) => answer,
        Err(error) => OffsetDeleteReply {
            error,
            topics: Vec::new(),
        },
    };
    let topics = answer
        .topics
        .iter()
        .map(|(name, partitions)| OffsetDeleteResponseTopic {
            name: name.as_str().into(),
            partitions: partitions
                .iter()
                .map(|(index, code)| OffsetDeleteResponsePartition {
                    partition_index: *index,
                    error_code: code.code(),
                })
                .collect(),
        });
    context.reply(&OffsetDeleteResponse {
        error_code: answer.error.code(),
        topics: topics.collect(),
        ..Default::default()
    })
}

async fn delete(
    context: &RequestContext,
    request: &OffsetDeleteRequest<'_>,
) -> Result<OffsetDeleteReply, ErrorCode> {
    context.authorize(Operation::Delete, Resource::Group(&request.group_id))?;
    let topics = request.topics.iter().map(|topic| {
        let found = context.shard.topics.by_name(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let known = found
                .as_ref()
                .is_some_and(|found| (0..found.partition_count()).contains(&index));
            (
                index,
                if known {
                    ErrorCode::None
                } else {
                    ErrorCode::UnknownTopicOrPartition
                },
            )
        });
        (topic.name.to_string(), partitions.collect())
    });
    let delete = OffsetDelete {
        group_id: request.group_id.to_string(),
        topics: topics.collect(),
    };
    match coordinator::ask(&context.shard, &request.group_id, move |token| {
        Input::OffsetDelete(token, delete)
    })
    .await?
    {
        Answer::OffsetDelete(answer) => Ok(answer),
        _ => unreachable!("the coordinator answers what was asked"),
    }
}
