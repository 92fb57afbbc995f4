//! CreatePartitions (37): the count is the new total, assignments are of the new partitions (KIP-195).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use millstream_state::controller::{
    AddedPartitions, Command, MorePartitions, Refusal, Reply as Answer,
};

use crate::api::RequestContext;
use crate::controller;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(
    context: &RequestContext,
    request: CreatePartitionsRequest<'_>,
) -> Reply {
    let topics: Vec<MorePartitions> = request
        .topics
        .iter()
        .map(|topic| MorePartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic
                .assignments
                .as_ref()
                .map(|rows| rows.iter().map(|row| row.broker_ids.clone()).collect()),
        })
        .collect();
    let added = match create(context, topics.clone(), request.validate_only).await {
        Ok(added) => added,
        Err(refusal) => topics
            .into_iter()
            .map(|topic| AddedPartitions {
                name: topic.name,
                result: Err(refusal.clone()),
            })
            .collect(),
    };
    let results = added.into_iter().map(|topic| {
        let (code, message) = match topic.result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.error, refusal.message),
        };
        CreatePartitionsTopicResult {
            name: topic.name.into(),
            error_code: code.code(),
            error_message: message.map(Into::into),
        }
    });
    context.reply(&CreatePartitionsResponse {
        results: results.collect(),
        ..Default::default()
    })
}

async fn create(
    context: &RequestContext,
    topics: Vec<MorePartitions>,
    validate_only: bool,
) -> Result<Vec<AddedPartitions>, Refusal> {
    for topic in &topics {
        context.authorize(Operation::Alter, Resource::Topic(&topic.name))?;
    }
    match controller::command(
        &context.shard,
        Command::CreatePartitions {
            topics,
            validate_only,
        },
    )
    .await?
    {
        Answer::AddedPartitions(added) => Ok(added),
        _ => unreachable!("a command has its own reply"),
    }
}
