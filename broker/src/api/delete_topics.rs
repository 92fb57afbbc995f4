//! DeleteTopics (20): v4 flexible · v5 messages (KIP-599) · v6 by name or by id (KIP-516).

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use millstream_protocol::uuid::Uuid;
use millstream_state::controller::{Command, DeletedTopic, Refusal, Reply as Answer, TopicRef};

use crate::api::RequestContext;
use crate::controller;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: DeleteTopicsRequest<'_>) -> Reply {
    let topics: Vec<TopicRef> = match context.version {
        6.. => request
            .topics
            .iter()
            .map(|topic| match &topic.name {
                Some(name) => TopicRef::Name(name.to_string()),
                None => TopicRef::Id(topic.topic_id),
            })
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
    let responses = deleted.into_iter().map(|topic| {
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
