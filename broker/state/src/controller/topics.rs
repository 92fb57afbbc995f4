//! Topics: create, delete, add partitions, adopt. Checks, their order and their texts are those of Kafka 4.3's
//! `ReplicationControlManager`, `ControllerApis` and `Topic`; compared with the running broker.

mod adopt;
mod assign;
mod create;
mod delete;
mod grow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

pub use adopt::ADOPTED_PARTITIONS_MAX;

use super::configs::{Resource, ResourceType};
use super::image::{Partition, Topic};
use super::placement::Load;
use super::record::Record;
use super::{Refusal, State};

/// Longest topic name: with `-2147483647` it must still be a directory name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Partitions one request may create (Kafka: `MAX_PARTITIONS_PER_BATCH`).
pub const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Partitions of all topics together. Kafka has no such limit; ours keeps the metadata in memory bounded.
pub const PARTITIONS_MAX: usize = 1_000_000;

/// One topic of CreateTopics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Any text: checked here.
    pub name: String,
    /// A fresh random id, used if the topic comes to be.
    pub topic_id: Uuid,
    /// −1 for num.partitions.
    pub num_partitions: i32,
    /// −1 for default.replication.factor.
    pub replication_factor: i16,
    /// Manual assignment: (partition index, brokers); empty for none.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// What the knob table made of the topic's configs. A refusal counts only if the name is valid and free, as in Kafka.
    pub configs: Result<Vec<(String, String)>, Refusal>,
}

/// A topic that exists since a moment ago, or would without validate_only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id for good (with validate_only: the proposed one).
    pub topic_id: Uuid,
    /// How many.
    pub num_partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
}

/// A row of the answer to CreateTopics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// As asked.
    pub name: String,
    /// Each topic for itself.
    pub result: Result<Created, Refusal>,
}

/// A topic found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedTopic {
    /// From the directory's name.
    pub name: String,
    /// From partition.metadata.
    pub topic_id: Uuid,
    /// Directory of each partition found, by index. Indexes below the largest that were not found are created empty.
    pub directories: BTreeMap<i32, Uuid>,
    /// At least the largest leader epoch in its logs, so that epochs never fall.
    pub leader_epoch: i32,
    /// Configs it starts with.
    pub configs: Vec<(String, String)>,
}

/// A topic to delete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// DeleteTopics up to version 5, or name given.
    Name(String),
    /// By id.
    Id(Uuid),
}

/// A row of the answer to DeleteTopics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// `None` if the id asked for is not known.
    pub name: Option<String>,
    /// Zero if the name asked for is not known.
    pub topic_id: Uuid,
    /// Each topic for itself.
    pub result: Result<(), Refusal>,
}

/// One topic of CreatePartitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// Which topic.
    pub name: String,
    /// Partitions it shall have altogether.
    pub count: i32,
    /// Brokers of each new partition; null in the request is `None`.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A row of the answer to CreatePartitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedPartitions {
    /// Which topic.
    pub name: String,
    /// Each topic for itself.
    pub result: Result<(), Refusal>,
}

/// Why this is no topic name; `None` if it is one (Kafka: `Topic.validate`).
pub fn invalid_name(name: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = match name {
        "" => "the empty string is not allowed".to_string(),
        "." => "'.' is not allowed".to_string(),
        ".." => "'..' is not allowed".to_string(),
        // Kafka counts UTF-16 units; a name that differs in that is refused by the next arm there too.
        _ if name.encode_utf16().count() > TOPIC_NAME_BYTES_MAX => {
            format!(
                "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}"
            )
        }
        _ if !name.bytes().all(allowed) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

fn too_many() -> Refusal {
    Refusal::new(
        ErrorCode::PolicyViolation,
        "Excessively large number of partitions per request.",
    )
}

/// Names that occur more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

/// What one command has created so far, as the next row must see it.
struct Draft {
    load: Load,
    partitions: usize,
    records: Vec<Record>,
}

impl State {
    fn draft(&self) -> Draft {
        Draft {
            load: self.load.clone(),
            partitions: 0,
            records: Vec::new(),
        }
    }

    pub(super) fn replay_topic(&mut self, topic: &Topic) {
        let (name, topic_id) = (topic.name.clone(), topic.topic_id);
        assert!(
            !topic.partitions.is_empty(),
            "topic {name} has no partition"
        );
        assert!(
            self.image.topic(&name).is_none(),
            "topic {name} is created twice"
        );
        assert!(
            self.image.topic_by_id(topic_id).is_none(),
            "topic id {topic_id} is used twice"
        );
        topic
            .partitions
            .iter()
            .for_each(|partition| self.load.add(partition.home));
        self.image.partition_count += topic.partitions.len();
        if let Some(key) = collision_key(&name) {
            self.colliding.entry(key).or_default().insert(name.clone());
        }
        let topic = Arc::new(topic.clone());
        self.image.topics_by_id.insert_mut(topic_id, topic.clone());
        self.image.topics.insert_mut(name, topic);
        assert_eq!(self.image.topics.size(), self.image.topics_by_id.size());
    }

    pub(super) fn replay_partitions(
        &mut self,
        topic_id: Uuid,
        first: i32,
        partitions: &[Partition],
    ) {
        let mut topic = self.topic_of_record(topic_id);
        assert_eq!(
            usize::try_from(first),
            Ok(topic.partitions.len()),
            "partitions of {} have a gap",
            topic.name
        );
        partitions
            .iter()
            .for_each(|partition| self.load.add(partition.home));
        self.image.partition_count += partitions.len();
        topic.partitions.extend_from_slice(partitions);
        self.put_topic(topic);
    }

    pub(super) fn replay_remove_topic(&mut self, topic_id: Uuid) {
        let topic = self.topic_of_record(topic_id);
        self.note_removed(&topic);
        topic
            .partitions
            .iter()
            .for_each(|partition| self.load.remove(partition.home));
        self.image.partition_count -= topic.partitions.len();
        if let Some(key) = collision_key(&topic.name) {
            let names = self
                .colliding
                .get_mut(&key)
                .expect("replay_topic entered this name");
            names.remove(&topic.name);
            if names.is_empty() {
                self.colliding.remove(&key);
            }
        }
        self.image.topics_by_id.remove_mut(&topic_id);
        self.image.topics.remove_mut(&topic.name);
        // A namesake created later starts with the defaults.
        self.image
            .configs
            .remove_mut(&Resource::new(ResourceType::Topic, &*topic.name));
        assert_eq!(self.image.topics.size(), self.image.topics_by_id.size());
    }
}

/// The name under which collisions are looked up; `None` for names that cannot collide.
fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

fn first_configs(name: &str, configs: &[(String, String)]) -> Option<Record> {
    let entries: Vec<_> = configs
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    (!entries.is_empty()).then(|| Record::Config {
        resource: Resource::new(ResourceType::Topic, name),
        entries,
    })
}

fn created(topic: &Topic) -> Created {
    Created {
        topic_id: topic.topic_id,
        num_partitions: topic.partitions.len() as i32,
        replication_factor: topic.replication_factor(),
    }
}
