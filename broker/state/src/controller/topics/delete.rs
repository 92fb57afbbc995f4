//! DeleteTopics, by name or id.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

use super::{DeletedTopic, TopicRef};
use crate::controller::image::Topic;
use crate::controller::record::Record;
use crate::controller::{Refusal, Reply, State};

/// How often each reference stands in the request.
type Counts<'a> = BTreeMap<&'a TopicRef, usize>;

impl State {
    /// One row for each distinct reference; a topic named by name and by id has one row, of the name.
    pub(in crate::controller) fn delete_topics(&self, topics: &[TopicRef]) -> (Vec<Record>, Reply) {
        let mut counts = Counts::new();
        let mut records = Vec::new();
        let mut reply = Vec::with_capacity(topics.len());
        topics
            .iter()
            .for_each(|wanted| *counts.entry(wanted).or_default() += 1);
        let mut answered = BTreeMap::new();
        for wanted in topics {
            let topic = self.find(wanted);
            if answered.insert(wanted, ()).is_some() || named_too(wanted, topic, &counts) {
                continue;
            }
            let result = check(wanted, topic, &counts);
            if let (Ok(()), Some(topic)) = (&result, topic) {
                records.push(Record::RemoveTopic {
                    topic_id: topic.topic_id,
                });
            }
            let (name, topic_id) = match wanted {
                // Of what stands there twice, only that is told.
                TopicRef::Name(name) if counts[wanted] > 1 => (Some(name.clone()), Uuid::ZERO),
                TopicRef::Id(topic_id) if counts[wanted] > 1 => (None, *topic_id),
                TopicRef::Name(name) => (
                    Some(name.clone()),
                    topic.map_or(Uuid::ZERO, |topic| topic.topic_id),
                ),
                TopicRef::Id(topic_id) => (topic.map(|topic| topic.name.to_string()), *topic_id),
            };
            reply.push(DeletedTopic {
                name,
                topic_id,
                result,
            });
        }
        (records, Reply::DeletedTopics(reply))
    }

    fn find(&self, wanted: &TopicRef) -> Option<&Arc<Topic>> {
        match wanted {
            TopicRef::Name(name) => self.image.topic(name),
            TopicRef::Id(topic_id) => self.image.topic_by_id(*topic_id),
        }
    }
}

/// Whether this id is that of a topic whose name is given too.
fn named_too(wanted: &TopicRef, topic: Option<&Arc<Topic>>, counts: &Counts<'_>) -> bool {
    match (wanted, topic) {
        (TopicRef::Id(_), Some(topic)) => {
            counts.contains_key(&TopicRef::Name(topic.name.to_string()))
        }
        _ => false,
    }
}

fn check(
    wanted: &TopicRef,
    topic: Option<&Arc<Topic>>,
    counts: &Counts<'_>,
) -> Result<(), Refusal> {
    let twice = counts.get(wanted).is_some_and(|count| *count > 1);
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match (wanted, topic) {
        (TopicRef::Name(_), _) if twice => invalid("Duplicate topic name."),
        (TopicRef::Id(_), _) if twice => invalid("Duplicate topic id."),
        (TopicRef::Name(_), None) => Err(ErrorCode::UnknownTopicOrPartition.into()),
        (TopicRef::Id(_), None) => Err(ErrorCode::UnknownTopicId.into()),
        (TopicRef::Name(_), Some(topic)) if counts.contains_key(&TopicRef::Id(topic.topic_id)) => {
            invalid("The provided topic name maps to an ID that was already supplied.")
        }
        _ => Ok(()),
    }
}
