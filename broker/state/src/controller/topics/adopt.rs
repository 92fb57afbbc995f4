//! Topics found in a data directory of Kafka's: they keep their ids, partitions and epochs.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

use super::{
    AdoptedTopic, Created, CreatedTopic, Draft, created, first_configs, invalid_name, too_many,
};
use crate::controller::image::Topic;
use crate::controller::placement::{Context, place_replicas};
use crate::controller::record::Record;
use crate::controller::{Refusal, Reply, State};

/// Partitions that one command adopts; more need several commands. Keeps the entry below the log's limit.
pub const ADOPTED_PARTITIONS_MAX: usize = 100_000;

impl State {
    pub(in crate::controller) fn adopt_topics(
        &self,
        topics: &[AdoptedTopic],
        producer_ids_below: i64,
        context: &Context,
    ) -> (Vec<Record>, Reply) {
        let mut draft = self.draft();
        let mut reply = Vec::with_capacity(topics.len());
        let (mut names, mut ids): (BTreeSet<&str>, BTreeSet<Uuid>) = Default::default();
        for topic in topics {
            let fresh = !names.contains(topic.name.as_str()) && !ids.contains(&topic.topic_id);
            let result = match fresh {
                true => self.adopt_topic(topic, context, &mut draft),
                false => Err(Refusal::new(
                    ErrorCode::InconsistentTopicId,
                    "Two topics claim one name or one id.",
                )),
            };
            if result.is_ok() {
                names.insert(&topic.name);
                ids.insert(topic.topic_id);
            }
            reply.push(CreatedTopic {
                name: topic.name.clone(),
                result,
            });
        }
        if producer_ids_below > self.image.next_producer_id() {
            draft.records.push(Record::ProducerIds {
                broker_id: -1,
                next_producer_id: producer_ids_below,
            });
        }
        (draft.records, Reply::CreatedTopics(reply))
    }

    /// A found topic keeps everything: unlike a new one it may collide in metric names, since it already exists.
    fn adopt_topic(
        &self,
        topic: &AdoptedTopic,
        context: &Context,
        draft: &mut Draft,
    ) -> Result<Created, Refusal> {
        if let Some(reason) = invalid_name(&topic.name) {
            return Err(Refusal::new(ErrorCode::InvalidTopicException, reason));
        }
        if self.image.topic(&topic.name).is_some()
            || self.image.topic_by_id(topic.topic_id).is_some()
        {
            let message = format!("Topic '{}' already exists.", topic.name);
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
        }
        let count = topic
            .directories
            .last_key_value()
            .map_or(0, |(last, _)| i64::from(*last) + 1) as usize;
        let negative = topic.directories.keys().any(|index| *index < 0);
        if count == 0 || negative || topic.topic_id.is_zero() || topic.leader_epoch < 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "A found topic has partitions, an id and an epoch.",
            ));
        }
        if draft.partitions + count > ADOPTED_PARTITIONS_MAX {
            return Err(too_many());
        }
        let replicas = place_replicas(&self.image, draft.partitions, count, 1)?;
        let mut partitions = self.new_partitions(replicas, topic.leader_epoch, context, draft)?;
        for (index, partition) in partitions.iter_mut().enumerate() {
            if let Some(directory) = topic.directories.get(&(index as i32)) {
                draft.load.remove(partition.home);
                partition.home.directory = *directory;
                draft.load.add(partition.home);
            }
        }
        let made = Topic {
            name: Arc::from(topic.name.as_str()),
            topic_id: topic.topic_id,
            partitions,
        };
        let reply = created(&made);
        draft.records.push(Record::Topic(made));
        draft
            .records
            .extend(first_configs(&topic.name, &topic.configs));
        Ok(reply)
    }
}
