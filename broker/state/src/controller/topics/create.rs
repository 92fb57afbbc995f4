//! CreateTopics, and topics the broker creates for itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::assign::manual_replicas;
use super::{
    Created, CreatedTopic, Draft, NewTopic, REQUEST_PARTITIONS_MAX, collision_key, created,
    first_configs, invalid_name, repeated, too_many,
};
use crate::controller::image::Topic;
use crate::controller::placement::{Context, place_replicas};
use crate::controller::record::Record;
use crate::controller::{Refusal, Reply, State};

/// Kafka's own metadata topic, which here is not a topic.
const CLUSTER_METADATA: &str = "__cluster_metadata";

impl State {
    pub(in crate::controller) fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
        context: &Context,
    ) -> Result<(Vec<Record>, Reply), Refusal> {
        let twice = repeated(topics.iter().map(|topic| topic.name.as_str()));
        let distinct = |topic: &&NewTopic| !twice.contains(topic.name.as_str());
        let asked: usize = topics
            .iter()
            .filter(distinct)
            .map(|topic| partitions_asked(topic, context))
            .sum();
        if asked > REQUEST_PARTITIONS_MAX {
            return Err(too_many());
        }
        let mut draft = self.draft();
        let mut answered = BTreeSet::new();
        let mut reply = Vec::with_capacity(topics.len());
        for topic in topics {
            let result = if twice.contains(topic.name.as_str()) {
                if !answered.insert(topic.name.as_str()) {
                    continue;
                }
                Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.",
                ))
            } else {
                self.create_topic(topic, context, &mut draft)
            };
            reply.push(CreatedTopic {
                name: topic.name.clone(),
                result,
            });
        }
        let records = if validate_only {
            Vec::new()
        } else {
            draft.records
        };
        Ok((records, Reply::CreatedTopics(reply)))
    }

    pub(in crate::controller) fn create_internal_topic(
        &self,
        topic: &NewTopic,
        context: &Context,
    ) -> Result<(Vec<Record>, Reply), Refusal> {
        if let Some(known) = self.image.topic(&topic.name) {
            return Ok((Vec::new(), created_reply(&topic.name, Ok(created(known)))));
        }
        // With fewer brokers than replicas wanted, Kafka never creates the topic and groups wait for ever.
        let live = i16::try_from(self.image.broker_count()).unwrap_or(i16::MAX);
        let topic = NewTopic {
            replication_factor: topic.replication_factor.min(live),
            ..topic.clone()
        };
        let mut draft = self.draft();
        let result = self.create_topic(&topic, context, &mut draft);
        Ok((draft.records, created_reply(&topic.name, result)))
    }

    /// One row of CreateTopics; on success its records are in the draft.
    fn create_topic(
        &self,
        topic: &NewTopic,
        context: &Context,
        draft: &mut Draft,
    ) -> Result<Created, Refusal> {
        self.check_new_name(&topic.name)?;
        assert!(
            !topic.topic_id.is_zero(),
            "a new topic comes with a fresh id"
        );
        assert!(
            self.image.topic_by_id(topic.topic_id).is_none(),
            "a new topic comes with a fresh id"
        );
        let configs = topic.configs.as_ref().map_err(Refusal::clone)?;
        let replicas = self.replicas_of(topic, context, draft)?;
        let partitions = self.new_partitions(replicas, 0, context, draft)?;
        let made = Topic {
            name: Arc::from(topic.name.as_str()),
            topic_id: topic.topic_id,
            partitions,
        };
        let reply = created(&made);
        draft.records.push(Record::Topic(made));
        draft.records.extend(first_configs(&topic.name, configs));
        Ok(reply)
    }

    fn check_new_name(&self, name: &str) -> Result<(), Refusal> {
        if name == CLUSTER_METADATA {
            let message = "Creation of internal topic __cluster_metadata is prohibited.";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        if let Some(reason) = invalid_name(name) {
            return Err(Refusal::new(ErrorCode::InvalidTopicException, reason));
        }
        if self.image.topic(name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        let namesakes = collision_key(name).and_then(|key| self.colliding.get(&key));
        if let Some(other) = namesakes.and_then(BTreeSet::first) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
        }
        Ok(())
    }

    /// Brokers of each partition, by index: as assigned, or placed.
    fn replicas_of(
        &self,
        topic: &NewTopic,
        context: &Context,
        draft: &Draft,
    ) -> Result<Vec<Box<[i32]>>, Refusal> {
        let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        if !topic.assignments.is_empty() {
            if topic.replication_factor != -1 {
                return invalid(
                    "A manual partition assignment was specified, but replication factor was not set to -1.",
                );
            }
            if topic.num_partitions != -1 {
                return invalid(
                    "A manual partition assignment was specified, but numPartitions was not set to -1.",
                );
            }
            return manual_replicas(&self.image, &topic.assignments);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let message =
                "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        let factor = match topic.replication_factor {
            -1 => context.default_replication_factor,
            factor => factor,
        };
        place_replicas(
            &self.image,
            draft.partitions,
            partitions_asked(topic, context),
            factor,
        )
    }
}

/// Partitions this row would create; 0 if its number is not valid, which is told later.
fn partitions_asked(topic: &NewTopic, context: &Context) -> usize {
    match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(context.num_partitions).unwrap_or(0),
        partitions => usize::try_from(partitions).unwrap_or(0),
    }
}

fn created_reply(name: &str, result: Result<Created, Refusal>) -> Reply {
    Reply::CreatedTopics(vec![CreatedTopic {
        name: name.to_string(),
        result,
    }])
}
