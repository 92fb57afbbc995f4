//! DeleteTopics (20): v4 flexible · v5 messages (KIP-599) · v6 by name or by id (KIP-516).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use millstream_protocol::uuid::Uuid;
use millstream_state::controller::{Command, DeletedTopic, Refusal, Reply as Answer, TopicRef};

use crate::api::RequestContext;
use crate::controller;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: DeleteTopicsRequest<'_>) -> Reply {
    let mut malformed = Vec::new();
    let topics: Vec<TopicRef> = match context.version {
        6.. => request
            .topics
            .iter()
            .filter_map(|topic| reference(topic).map_err(|bad| malformed.push(bad)).ok())
            .collect(),
        _ => request
            .topic_names
            .iter()
            .map(|name| TopicRef::Name(name.to_string()))
            .collect(),
    };
    let deleted = match delete(context, topics.clone()).await {
        Ok(deleted) => deleted,
        Err(refusal) => topics
            .into_iter()
            .map(|topic| refused(topic, refusal.clone()))
            .collect(),
    };
    let responses = malformed.into_iter().chain(deleted).map(|topic| {
        let (code, message) = match topic.result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.error, Some(refusal.text())),
        };
        DeletableTopicResult {
            name: topic.name.map(Into::into),
            topic_id: topic.topic_id,
            error_code: code.code(),
            error_message: message.map(Into::into),
        }
    });
    context.reply(&DeleteTopicsResponse {
        responses: responses.collect(),
        ..Default::default()
    })
}

/// By name or by id, never both (ControllerApis.deleteTopics).
fn reference(topic: &DeleteTopicState<'_>) -> Result<TopicRef, DeletedTopic> {
    let message = match (&topic.name, topic.topic_id) {
        (Some(name), Uuid::ZERO) => return Ok(TopicRef::Name(name.to_string())),
        (None, Uuid::ZERO) => "Neither topic name nor id were specified.",
        (None, id) => return Ok(TopicRef::Id(id)),
        (Some(_), _) => "You may not specify both topic name and topic id.",
    };
    Err(DeletedTopic {
        name: topic.name.as_deref().map(str::to_owned),
        topic_id: topic.topic_id,
        result: Err(Refusal {
            error: ErrorCode::InvalidRequest,
            message: Some(message.to_owned()),
        }),
    })
}

async fn delete(
    context: &RequestContext,
    topics: Vec<TopicRef>,
) -> Result<Vec<DeletedTopic>, Refusal> {
    if !context.shard.config.broker.delete_topic_enable {
        return Err(match context.version {
            3.. => ErrorCode::TopicDeletionDisabled,
            _ => ErrorCode::InvalidRequest,
        }
        .into());
    }
    for topic in &topics {
        if let TopicRef::Name(name) = topic {
            context.authorize(Operation::Delete, Resource::Topic(name))?;
        }
    }
    match controller::command(&context.shard, Command::DeleteTopics(topics)).await? {
        Answer::DeletedTopics(deleted) => Ok(deleted),
        _ => unreachable!("a command has its own reply"),
    }
}

fn refused(topic: TopicRef, refusal: Refusal) -> DeletedTopic {
    let (name, topic_id) = match topic {
        TopicRef::Name(name) => (Some(name), Uuid::ZERO),
        TopicRef::Id(id) => (None, id),
    };
    DeletedTopic {
        name,
        topic_id,
        result: Err(refusal),
    }
}
