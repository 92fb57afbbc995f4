//! The controller: commands become records and a reply; state changes only when a record is replayed.
//!
//! One entry of the metadata log holds all records of one command and is applied whole or not at all. The driver's loop:
//! [`State::command`] → [`log::encode_entry`] → write, flush → [`State::replay`] → publish [`State::image`] → reply.
//! A command that yields no records needs no entry, and its reply may leave at once.
//!
//! Absent until there is a cluster: heartbeats and fencing, elections, ISR changes, reassignment. A registered broker
//! counts as live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

mod check;
pub mod configs;
pub mod features;
pub mod image;
pub mod log;
pub mod placement;
pub mod producer_ids;
pub mod quorum;
pub mod record;
mod removed;
pub mod topics;

// The compiler's output, read only through its verifying root function (see `record`).
#[allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    mismatched_lifetime_syntaxes
)]
#[rustfmt::skip]
mod metadata_generated;

pub use configs::{AlteredConfig, ConfigChange, Resource, ResourceType};
pub use image::{Broker, ConfigMap, Endpoint, Home, Image, Partition, Position, Topic};
pub use placement::{Context, HomeMove};
pub use record::{Entry, Record};
pub use topics::{
    AddedPartitions, AdoptedTopic, Created, CreatedTopic, DeletedTopic, MorePartitions, NewTopic,
    TopicRef,
};

/// Bytes of configs that one command may set: an entry of the log stays far below [`log::ENTRY_BYTES_MAX`] whatever a
/// request of 100 MiB asks for.
pub const CONFIG_BYTES_MAX: usize = 16 << 20;

/// What a shard asks of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// First of all in an empty log: names the cluster and sets the feature levels. Done twice it changes nothing,
    /// with another name it is refused (INCONSISTENT_CLUSTER_ID).
    Format {
        /// 22 characters.
        cluster_id: String,
    },
    /// This broker, as its configuration says; no records if nothing changed since.
    RegisterBroker(Broker),
    /// CreateTopics. A reply row for each distinct name.
    CreateTopics {
        /// In the order asked.
        topics: Vec<NewTopic>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// A topic the broker needs for itself, with min(asked replication factor, live brokers). Exists already: no
    /// records, and the reply shows the topic there is.
    CreateInternalTopic(NewTopic),
    /// Topics found in a data directory of Kafka's; they keep their ids.
    AdoptTopics {
        /// Names not in the metadata yet; others are refused row by row.
        topics: Vec<AdoptedTopic>,
        /// Producer ids below this one occur in the logs and are not handed out again; 0 for none.
        producer_ids_below: i64,
    },
    /// DeleteTopics.
    DeleteTopics(Vec<TopicRef>),
    /// CreatePartitions.
    CreatePartitions {
        /// In the order asked.
        topics: Vec<MorePartitions>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// AlterConfigs and IncrementalAlterConfigs; keys and values were validated before.
    AlterConfigs {
        /// In the order asked.
        changes: Vec<ConfigChange>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// The next [`producer_ids::PRODUCER_ID_BLOCK_SIZE`] producer ids, for this broker.
    AllocateProducerIds {
        /// Who will hand them out.
        broker_id: i32,
    },
    /// After a change of the cores: every partition gets a core below [`Context::cores`], loads differ by one at most,
    /// and as few partitions move as that allows.
    Rebalance,
    /// Moves named partitions. Refused (UNKNOWN_TOPIC_OR_PARTITION) as a whole if one does not exist.
    MovePartitions(Vec<HomeMove>),
    /// After an unclean stop: a new leader epoch for every partition that this broker leads (DESIGN §7).
    BumpLeaderEpochs {
        /// The leader that stopped.
        broker_id: i32,
    },
}

/// What the controller answers once the records are durable. Rows stand in the order asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to tell.
    Done,
    /// To CreateTopics, CreateInternalTopic and AdoptTopics.
    CreatedTopics(Vec<CreatedTopic>),
    /// To DeleteTopics.
    DeletedTopics(Vec<DeletedTopic>),
    /// To CreatePartitions.
    AddedPartitions(Vec<AddedPartitions>),
    /// To AlterConfigs.
    AlteredConfigs(Vec<AlteredConfig>),
    /// To AllocateProducerIds: `first`, `first + 1`, … `first + count - 1`.
    ProducerIds {
        /// The first id of the block.
        first: i64,
        /// How many.
        count: i32,
    },
    /// To Rebalance and MovePartitions.
    Moved {
        /// Partitions whose home changed.
        partitions: usize,
    },
}

/// A command, or one row of it, that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error:?}: {}", message.as_deref().unwrap_or(error.message()))]
pub struct Refusal {
    /// The code on the wire.
    pub error: ErrorCode,
    /// Kafka's sentence for this case; `None` stands for the code's own text.
    pub message: Option<String>,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            error,
            message: Some(message.into()),
        }
    }

    /// The sentence for the client: this case's own, or the code's.
    pub fn text(self) -> String {
        self.message
            .unwrap_or_else(|| self.error.message().to_owned())
    }
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Refusal {
        Refusal {
            error,
            message: None,
        }
    }
}

/// The metadata and what is derived from it.
#[derive(Clone, PartialEq)]
pub struct State {
    image: Image,
    /// Topic names with `.` or `_`, by the name with all dots made underscores: Kafka's metric names cannot tell those
    /// apart, so two such topics may not coexist.
    colliding: BTreeMap<String, BTreeSet<Arc<str>>>,
    load: placement::Load,
    removed: removed::Removed,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Before the first entry.
    pub fn new() -> State {
        State {
            image: Image::empty(),
            colliding: BTreeMap::new(),
            load: placement::Load::default(),
            removed: removed::Removed::new(),
        }
    }

    /// The metadata as it is now, to be handed to every shard. Cheap (see [`image`]).
    pub fn image(&self) -> Arc<Image> {
        Arc::new(self.image.clone())
    }

    /// The last entry replayed.
    pub fn position(&self) -> Position {
        self.image.position
    }

    /// What the command would change, and what to answer when that is durable. A refusal here means the command as a
    /// whole; rows of it are refused in the reply. Changes nothing: the records must come back through
    /// [`State::replay`] before the next command is asked.
    pub fn command(
        &self,
        command: &Command,
        context: &Context,
    ) -> Result<(Vec<Record>, Reply), Refusal> {
        assert!(context.cores > 0, "a broker has at least one core");
        let (records, reply) = match command {
            Command::Format { cluster_id } => (self.format(cluster_id)?, Reply::Done),
            Command::RegisterBroker(broker) => (self.register(broker), Reply::Done),
            Command::CreateTopics {
                topics,
                validate_only,
            } => self.create_topics(topics, *validate_only, context)?,
            Command::CreateInternalTopic(topic) => self.create_internal_topic(topic, context)?,
            Command::AdoptTopics {
                topics,
                producer_ids_below,
            } => self.adopt_topics(topics, *producer_ids_below, context),
            Command::DeleteTopics(topics) => self.delete_topics(topics),
            Command::CreatePartitions {
                topics,
                validate_only,
            } => self.create_partitions(topics, *validate_only, context),
            Command::AlterConfigs {
                changes,
                validate_only,
            } => configs::alter(&self.image, changes, *validate_only),
            Command::AllocateProducerIds { broker_id } => {
                producer_ids::allocate(&self.image, *broker_id)?
            }
            Command::Rebalance => self.rebalance(context),
            Command::MovePartitions(moves) => self.move_partitions(moves, context)?,
            Command::BumpLeaderEpochs { broker_id } => {
                (self.bump_leader_epochs(*broker_id), Reply::Done)
            }
        };
        let config_bytes: usize = records.iter().map(Record::config_bytes).sum();
        if config_bytes > CONFIG_BYTES_MAX {
            let message = format!(
                "The configs of one request may have {CONFIG_BYTES_MAX} bytes, not {config_bytes}."
            );
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        Ok((records, reply))
    }

    /// Applies an entry that is durable. Entries come in order and without gaps; a log that says otherwise was already
    /// refused by [`log::decode_log`].
    pub fn replay(&mut self, entry: &Entry) {
        let last = self.image.position;
        assert!(
            entry.position.index == last.index + 1,
            "entry {} follows {last}",
            entry.position
        );
        assert!(
            entry.position.epoch >= last.epoch,
            "entry {} follows {last}",
            entry.position
        );
        for record in &entry.records {
            self.replay_record(record);
        }
        self.image.position = entry.position;
    }

    /// Applies one record; the entry it stands in has the position.
    fn replay_record(&mut self, record: &Record) {
        match record {
            Record::Cluster { cluster_id } => {
                assert!(self.image.cluster_id.is_empty(), "a cluster is named once");
                self.image.cluster_id = Arc::from(cluster_id.as_str());
            }
            Record::Broker(broker) => self
                .image
                .brokers
                .insert_mut(broker.broker_id, Arc::new(broker.clone())),
            Record::Topic(topic) => self.replay_topic(topic),
            Record::Partitions {
                topic_id,
                first,
                partitions,
            } => self.replay_partitions(*topic_id, *first, partitions),
            Record::RemoveTopic { topic_id } => self.replay_remove_topic(*topic_id),
            Record::PartitionHomes { topic_id, homes } => self.replay_homes(*topic_id, homes),
            Record::LeaderEpochs { leader } => self.replay_leader_epochs(*leader),
            Record::Config { resource, entries } => {
                configs::replay(&mut self.image, resource, entries)
            }
            Record::ProducerIds {
                next_producer_id, ..
            } => producer_ids::replay(&mut self.image, *next_producer_id),
            Record::FeatureLevel { name, level } => features::replay(&mut self.image, name, *level),
        }
    }

    fn format(&self, cluster_id: &str) -> Result<Vec<Record>, Refusal> {
        if self.image.cluster_id() == cluster_id {
            return Ok(Vec::new());
        }
        if !self.image.cluster_id().is_empty() {
            let message = format!(
                "This is cluster {}, not {cluster_id}.",
                self.image.cluster_id()
            );
            return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
        }
        let name = Record::Cluster {
            cluster_id: cluster_id.to_string(),
        };
        Ok(std::iter::once(name).chain(features::initial()).collect())
    }

    fn register(&self, broker: &Broker) -> Vec<Record> {
        assert!(
            broker.broker_id >= 0,
            "node.id {} is negative",
            broker.broker_id
        );
        match self.image.broker(broker.broker_id) {
            Some(known) if **known == *broker => Vec::new(),
            _ => vec![Record::Broker(broker.clone())],
        }
    }

    fn bump_leader_epochs(&self, broker_id: i32) -> Vec<Record> {
        let leads = self
            .image
            .topics()
            .any(|topic| topic.partitions.iter().any(|p| p.leader == broker_id));
        // One small record, whatever the number of partitions: the start after a crash must not wait for a long log.
        leads
            .then_some(Record::LeaderEpochs { leader: broker_id })
            .into_iter()
            .collect()
    }

    fn replay_leader_epochs(&mut self, leader: i32) {
        let led: Vec<Arc<Topic>> = self
            .image
            .topics()
            .filter(|topic| topic.partitions.iter().any(|p| p.leader == leader))
            .cloned()
            .collect();
        for topic in led {
            let mut topic = (*topic).clone();
            for partition in topic
                .partitions
                .iter_mut()
                .filter(|partition| partition.leader == leader)
            {
                partition.leader_epoch += 1;
                partition.partition_epoch += 1;
            }
            self.put_topic(topic);
        }
    }

    /// Replaces a topic that is there, in both maps.
    fn put_topic(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        assert!(
            self.image.topics_by_id.contains_key(&topic.topic_id),
            "{} is not a topic",
            topic.name
        );
        self.image
            .topics_by_id
            .insert_mut(topic.topic_id, topic.clone());
        self.image.topics.insert_mut(topic.name.clone(), topic);
    }

    /// The topic that a record names. Records are only ever written about topics that exist.
    fn topic_of_record(&self, topic_id: Uuid) -> Topic {
        let topic = self.image.topic_by_id(topic_id);
        (**topic.unwrap_or_else(|| panic!("a record names topic {topic_id}, which does not exist")))
            .clone()
    }
}

#[cfg(test)]
mod tests;
