//! Records of the metadata log, and their bytes: FlatBuffers of the schema `metadata.fbs`.
//!
//! Bytes are only ever read through the verifying root function of the generated code; what it accepts may still make no
//! sense (a negative count, an unknown type), which is an error here and not a panic in replay.

mod decode;
mod encode;

use flatbuffers::InvalidFlatbuffer;
use millstream_protocol::uuid::Uuid;

pub(super) use decode::decode;
pub(super) use encode::encode;

use super::configs::Resource;
use super::image::{Broker, Home, Partition, Position, Topic};

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Names the cluster.
    Cluster {
        /// 22 characters.
        cluster_id: String,
    },
    /// A broker's registration, new or changed.
    Broker(Broker),
    /// A new topic with all its partitions.
    Topic(Topic),
    /// Further partitions of a topic.
    Partitions {
        /// Whose.
        topic_id: Uuid,
        /// Index of the first of them: the number of partitions before.
        first: i32,
        /// The new ones.
        partitions: Vec<Partition>,
    },
    /// The topic, its partitions and its configs are gone.
    RemoveTopic {
        /// Which.
        topic_id: Uuid,
    },
    /// Partitions that change core or directory.
    PartitionHomes {
        /// Whose.
        topic_id: Uuid,
        /// Partition index and new home.
        homes: Vec<(i32, Home)>,
    },
    /// leader_epoch and partition_epoch of all partitions with this leader rise by one.
    LeaderEpochs {
        /// The leader.
        leader: i32,
    },
    /// Configs set (`Some`) and deleted (`None`).
    Config {
        /// Whose.
        resource: Resource,
        /// Key and value.
        entries: Vec<(String, Option<String>)>,
    },
    /// Producer ids below are handed out.
    ProducerIds {
        /// To whom; −1 where it is not known.
        broker_id: i32,
        /// The first one not handed out.
        next_producer_id: i64,
    },
    /// A feature's finalized level; 0 takes it away.
    FeatureLevel {
        /// Kafka's name.
        name: String,
        /// Its level.
        level: i16,
    },
}

impl Record {
    /// About how many bytes this record has if it sets configs; other records are bounded by what they count.
    pub(super) fn config_bytes(&self) -> usize {
        match self {
            Record::Config { resource, entries } => {
                let entry = |(key, value): &(String, Option<String>)| {
                    CONFIG_ENTRY_BYTES + key.len() + value.as_ref().map_or(0, String::len)
                };
                CONFIG_ENTRY_BYTES + resource.name.len() + entries.iter().map(entry).sum::<usize>()
            }
            _ => 0,
        }
    }
}

/// What tables and offsets around one config entry take.
const CONFIG_ENTRY_BYTES: usize = 32;

/// All records of one command, with their place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// What it changes; applied whole or not at all.
    pub records: Vec<Record>,
}

/// Bytes with a valid checksum that are no records of ours.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// Not a FlatBuffer of our schema.
    #[error("not metadata records: {}", first_line(.0))]
    Malformed(#[from] InvalidFlatbuffer),
    /// A kind of record that a newer version wrote.
    #[error("unknown kind of record {0}: written by a newer version")]
    UnknownKind(u8),
    /// A field holds what it never may.
    #[error("impossible value in a record: {0}")]
    Impossible(&'static str),
}

/// The verifier tells the way to the fault on further lines.
fn first_line(cause: &InvalidFlatbuffer) -> String {
    cause
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests;
