//! What the metadata log says, as one immutable value that every shard may hold.
//!
//! The maps are persistent (`rpds` red-black trees): a new image shares everything that did not change with the one
//! before, so publishing one more topic among 10,000 costs a few node copies, and an image dropped late costs as little.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use millstream_protocol::uuid::Uuid;
use rpds::RedBlackTreeMapSync;

use super::configs::{Resource, ResourceType};
use super::record::Record;
use super::topics::REQUEST_PARTITIONS_MAX;

/// Place of an entry in the metadata log: the leadership term it was written in, and its number from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Term of the controller that wrote the entry; rises with each start of a controller.
    pub epoch: i32,
    /// Number of the entry; the same in every copy of the log, without gaps.
    pub index: i64,
}

impl Position {
    /// Before the first entry of all.
    pub const BEFORE_ALL: Position = Position {
        epoch: 0,
        index: -1,
    };

    /// The place of the entry that follows, written in `epoch`.
    pub fn next(self, epoch: i32) -> Position {
        assert!(
            epoch >= self.epoch,
            "an epoch of the metadata log never falls: {epoch} after {self}"
        );
        Position {
            epoch,
            index: self.index + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.epoch)
    }
}

/// One address under which a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener (`PLAINTEXT`, or as `listeners` calls it).
    pub listener: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// node.id.
    pub broker_id: i32,
    /// One for each advertised listener.
    pub endpoints: Vec<Endpoint>,
    /// broker.rack.
    pub rack: Option<String>,
}

/// Where a partition lives inside its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    /// Index of the shard that owns the partition.
    pub core: u16,
    /// `directory.id` of the data directory (meta.properties), which does not change with the order of `log.dirs`.
    pub directory: Uuid,
}

/// One partition, as Kafka's PartitionRecord, and its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Leading broker.
    pub leader: i32,
    /// Rises with each change of leadership and after an unclean stop of the leader.
    pub leader_epoch: i32,
    /// Rises with each change of this partition's row.
    pub partition_epoch: i32,
    /// Assigned brokers, preferred leader first.
    pub replicas: Box<[i32]>,
    /// Those in sync.
    pub isr: Box<[i32]>,
    /// Core and directory on this broker.
    pub home: Home,
}

/// A topic. Changing it makes a new one: `Arc::ptr_eq` tells whether a topic changed between two images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// 1 to 249 characters.
    pub name: Arc<str>,
    /// Differs between a deleted topic and its namesake.
    pub topic_id: Uuid,
    /// By partition index, never empty.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Replicas of each partition (all partitions have the same number).
    pub fn replication_factor(&self) -> i16 {
        self.partitions
            .first()
            .map_or(0, |first| first.replicas.len() as i16)
    }

    /// The partition with this index.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// The configs set for one resource; what is not in it has its default.
pub type ConfigMap = BTreeMap<String, String>;

/// All metadata at one position of the log. Cheap to clone; equal when the same records led to it.
#[derive(Clone, PartialEq)]
pub struct Image {
    pub(super) position: Position,
    pub(super) cluster_id: Arc<str>,
    pub(super) brokers: RedBlackTreeMapSync<i32, Arc<Broker>>,
    pub(super) topics: RedBlackTreeMapSync<Arc<str>, Arc<Topic>>,
    pub(super) topics_by_id: RedBlackTreeMapSync<Uuid, Arc<Topic>>,
    pub(super) partition_count: usize,
    pub(super) configs: RedBlackTreeMapSync<Resource, Arc<ConfigMap>>,
    pub(super) features: RedBlackTreeMapSync<String, i16>,
    pub(super) next_producer_id: i64,
}

impl Image {
    pub(super) fn empty() -> Image {
        Image {
            position: Position::BEFORE_ALL,
            cluster_id: Arc::from(""),
            brokers: RedBlackTreeMapSync::new_sync(),
            topics: RedBlackTreeMapSync::new_sync(),
            topics_by_id: RedBlackTreeMapSync::new_sync(),
            partition_count: 0,
            configs: RedBlackTreeMapSync::new_sync(),
            features: RedBlackTreeMapSync::new_sync(),
            next_producer_id: 0,
        }
    }

    /// The last entry of the log that this image contains.
    pub fn position(&self) -> Position {
        self.position
    }

    /// 22 characters; empty until the log was formatted.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// By id, ascending.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// The broker with this node.id.
    pub fn broker(&self, broker_id: i32) -> Option<&Arc<Broker>> {
        self.brokers.get(&broker_id)
    }

    /// How many brokers are registered.
    pub fn broker_count(&self) -> usize {
        self.brokers.size()
    }

    /// By name, ascending (bytewise, as Kafka's tools sort).
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// Topics whose name is `from` or sorts behind it: the pages of DescribeTopicPartitions.
    pub fn topics_from(&self, from: &str) -> impl Iterator<Item = &Arc<Topic>> {
        use std::ops::Bound::{Included, Unbounded};
        self.topics
            .range::<str, _>((Included(from), Unbounded))
            .map(|(_, topic)| topic)
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, topic_id: Uuid) -> Option<&Arc<Topic>> {
        self.topics_by_id.get(&topic_id)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.size()
    }

    /// Partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// What is set for this resource; `None` when nothing is.
    pub fn config(&self, resource_type: ResourceType, name: &str) -> Option<&Arc<ConfigMap>> {
        self.configs.get(&Resource::new(resource_type, name))
    }

    /// All resources with at least one config set, by type and name (ListConfigResources).
    pub fn configured(&self) -> impl Iterator<Item = (&Resource, &Arc<ConfigMap>)> {
        self.configs.iter()
    }

    /// The first producer id not handed out yet, on any broker.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Finalized level of a feature; 0 (not there) if it never was set.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Finalized features by name, ascending.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features
            .iter()
            .map(|(name, level)| (name.as_str(), *level))
    }

    /// The records that lead from nothing to this image: what a snapshot holds.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let head = (!self.cluster_id.is_empty()).then(|| Record::Cluster {
            cluster_id: self.cluster_id.to_string(),
        });
        let features = self
            .features
            .iter()
            .map(|(name, level)| Record::FeatureLevel {
                name: name.clone(),
                level: *level,
            });
        let brokers = self
            .brokers
            .values()
            .map(|broker| Record::Broker((**broker).clone()));
        let topics = self.topics.values().flat_map(|topic| topic_records(topic));
        let configs = self
            .configs
            .iter()
            .map(|(resource, entries)| Record::Config {
                resource: resource.clone(),
                entries: entries
                    .iter()
                    .map(|(key, value)| (key.clone(), Some(value.clone())))
                    .collect(),
            });
        let ids = (self.next_producer_id > 0).then_some(Record::ProducerIds {
            broker_id: -1,
            next_producer_id: self.next_producer_id,
        });
        head.into_iter()
            .chain(features)
            .chain(brokers)
            .chain(topics)
            .chain(configs)
            .chain(ids)
    }
}

/// A topic in records of bounded size, as if its partitions had been added one request after the other.
fn topic_records(topic: &Topic) -> impl Iterator<Item = Record> + '_ {
    topic
        .partitions
        .chunks(REQUEST_PARTITIONS_MAX)
        .enumerate()
        .map(|(chunk, partitions)| {
            let (topic_id, partitions) = (topic.topic_id, partitions.to_vec());
            match chunk {
                0 => Record::Topic(Topic {
                    name: topic.name.clone(),
                    topic_id,
                    partitions,
                }),
                _ => Record::Partitions {
                    topic_id,
                    first: (chunk * REQUEST_PARTITIONS_MAX) as i32,
                    partitions,
                },
            }
        })
}

impl fmt::Debug for Image {
    /// Short, since an image may hold 100,000 partitions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("position", &self.position)
            .field("cluster_id", &self.cluster_id)
            .field("brokers", &self.broker_count())
            .field("topics", &self.topic_count())
            .field("partitions", &self.partition_count)
            .finish_non_exhaustive()
    }
}
