//! CreateTopics (19): v4 partition count and replication factor -1 for the broker's defaults (KIP-464) · v5 what was
//! created in the reply (KIP-525) · v6 quota errors (KIP-599) · v7 topic ids (KIP-516).

use millstream_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use millstream_state::controller::{Command, CreatedTopic, NewTopic, Refusal, Reply as Answer};

use crate::api::RequestContext;
use crate::controller;
use crate::knobs::{alter, describe, layers::Overrides};
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(context: &RequestContext, request: CreateTopicsRequest<'_>) -> Reply {
    let topics: Vec<NewTopic> = request
        .topics
        .iter()
        .map(|topic| new_topic(context, topic))
        .collect();
    let configs: Vec<(String, Overrides)> = topics
        .iter()
        .map(|topic| {
            (
                topic.name.clone(),
                topic.configs.iter().flatten().cloned().collect(),
            )
        })
        .collect();
    let command = Command::CreateTopics {
        topics,
        validate_only: request.validate_only,
    };
    let outcome = match context.authorize(Operation::Create, Resource::Cluster) {
        Ok(()) => controller::command(&context.shard, command).await,
        Err(code) => Err(Refusal::from(code)),
    };
    let created = match outcome {
        Ok(Answer::CreatedTopics(created)) => created,
        Ok(_) => unreachable!("a command has its own reply"),
        Err(refusal) => {
            let refused = configs.iter().map(|(name, _)| CreatedTopic {
                name: name.clone(),
                result: Err(refusal.clone()),
            });
            refused.collect()
        }
    };
    let topics = created.into_iter().map(|topic| {
        let own = configs
            .iter()
            .find(|(name, _)| *name == topic.name)
            .map(|(_, own)| own);
        result(context, topic, own)
    });
    context.reply(&CreateTopicsResponse {
        topics: topics.collect(),
        ..Default::default()
    })
}

fn new_topic(context: &RequestContext, topic: &CreatableTopic<'_>) -> NewTopic {
    let values: Vec<(&str, Option<&str>)> = topic
        .configs
        .iter()
        .map(|config| (config.name.as_ref(), config.value.as_deref()))
        .collect();
    let configs = alter::new_topic(&context.shard.layers(), &values);
    NewTopic {
        name: topic.name.to_string(),
        topic_id: controller::new_topic_id(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|row| (row.partition_index, row.broker_ids.clone()))
            .collect(),
        configs: configs
            .map(|configs| configs.into_iter().collect())
            .map_err(super::errors::of_config),
    }
}

fn result(
    context: &RequestContext,
    topic: CreatedTopic,
    own: Option<&Overrides>,
) -> CreatableTopicResult<'static> {
    let mut result = CreatableTopicResult {
        name: topic.name.into(),
        error_message: None,
        ..Default::default()
    };
    match topic.result {
        Ok(created) => {
            result.topic_id = created.topic_id;
            result.num_partitions = created.num_partitions;
            result.replication_factor = created.replication_factor;
            result.configs = Some(configs(context, own.unwrap_or(&Overrides::new())));
        }
        Err(refusal) => {
            result.error_code = refusal.error.code();
            result.error_message = Some(refusal.text().into());
        }
    }
    result
}

/// The topic's configuration as DescribeConfigs would show it.
fn configs(context: &RequestContext, own: &Overrides) -> Vec<CreatableTopicConfigs<'static>> {
    if context.version < 5
        || context
            .authorize(Operation::DescribeConfigs, Resource::Cluster)
            .is_err()
    {
        return Vec::new();
    }
    let rows = describe::topic(&context.shard.layers(), own, None).into_iter();
    rows.map(|row| CreatableTopicConfigs {
        name: row.name.into(),
        value: row.value.map(Into::into),
        read_only: row.read_only,
        config_source: row.source as i8,
        is_sensitive: row.is_sensitive,
    })
    .collect()
}
