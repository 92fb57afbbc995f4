//! What is on disk becomes a broker: storage and metadata are opened and brought to agree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_protocol::uuid::Uuid;
use millstream_ring::{Ring, fs};
use millstream_state::controller::{
    AdoptedTopic, Broker, Command, Context, Endpoint, Image, Position, Refusal, State,
};
use millstream_storage::{Finish, LogSummary, Opened, Stopped, StorageOptions, Store, StoreSeed};

use crate::broker::{RunError, StartError};
use crate::config::Config;
use crate::controller::Controller;
use crate::controller::metadata_log::MetadataLog;
use crate::limits;

/// What is on disk and what is configured contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The controller refused something at start.
    #[error("the metadata cannot be brought up to date: {0}")]
    Refused(#[from] Refusal),
    /// Logs are there, but not what they belong to.
    #[error(
        "data directory {path} has logs of ours, but no data directory has the metadata; name all of log.dirs"
    )]
    LostMetadata {
        /// Where the logs are.
        path: PathBuf,
    },
    /// The directories of two brokers, or one and a copy of it.
    #[error(
        "data directories {one} and {other} both have metadata; take one of them out of log.dirs"
    )]
    TwiceMetadata {
        /// The one.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// `recover` was pointed at something else.
    #[error("{path}: {what}; name a data directory, one of log.dirs")]
    NoDataDirectory {
        /// The file that was looked for.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Kafka keeps the next producer id in its metadata log, which is not read. No cluster has handed out as many ids as this,
/// so ours cannot meet one that is still in a log.
const ADOPTED_PRODUCER_IDS: i64 = 1 << 40;

/// Everything that is needed to start the cores.
pub(crate) struct Boot {
    pub(crate) controller: Controller,
    /// `directory.id` of each data directory, in the order of `log.dirs`.
    pub(crate) directories: Vec<Uuid>,
    opened: Opened,
    /// Topics that were deleted, and whose logs may still be there.
    removed: HashSet<Uuid>,
    cores: usize,
}

/// Opens data directories and metadata. The first thing that is written is the claim on the directories, when nothing
/// can be refused any more.
pub(crate) async fn open(ring: &Ring, config: &Config, cores: usize) -> Result<Boot, StartError> {
    let options = storage_options(config, cores);
    // A predecessor that is still stopping writes metadata until its lock is gone.
    let locked = millstream_storage::lock(ring, &options).await?;
    let metadata_directory = metadata_directory(config)?;
    let (state, found) = MetadataLog::read(ring, metadata_directory).await?;
    let removed = state.removed().keys().copied().collect();
    let options = StorageOptions {
        cluster_id: cluster_id(config, &state),
        ..options
    };
    let opened = millstream_storage::open_locked(ring, locked, options).await?;
    if state.position() == Position::BEFORE_ALL {
        refuse_lost_metadata(config, &opened)?;
    }
    let identity = opened.identity();
    let directories: Vec<Uuid> = identity.directory_ids.iter().map(|id| Uuid(*id)).collect();
    let (cluster_id, clean) = (identity.cluster_id.clone(), identity.clean);
    let log = MetadataLog::open(ring, metadata_directory, state.position(), found).await?;
    let first = state.position() == Position::BEFORE_ALL;
    let epoch = if first { 1 } else { state.position().epoch + 1 };
    let context = Context {
        cores: u16::try_from(cores).unwrap_or(u16::MAX),
        directories: directories.clone(),
        num_partitions: config.broker.num_partitions,
        default_replication_factor: i16::try_from(config.broker.default_replication_factor)
            .unwrap_or(i16::MAX),
    };
    let controller = Controller::new(state, log, epoch, context);
    let mut commands = vec![
        Command::Format { cluster_id },
        Command::RegisterBroker(this_broker(config)),
    ];
    let adopted = adopted_topics(
        opened.logs().filter(|log| log.adopted),
        &controller.image(),
        &directories,
    );
    if !adopted.is_empty() {
        tracing::info!(
            "{} topics were found in the data directory and taken over; their retention is off until it is set",
            adopted.len()
        );
        commands.push(Command::AdoptTopics {
            topics: adopted,
            producer_ids_below: ADOPTED_PRODUCER_IDS,
        });
    }
    if !clean && !first {
        commands.push(Command::BumpLeaderEpochs {
            broker_id: config.node_id,
        });
    }
    commands.push(Command::Rebalance);
    for command in &commands {
        controller
            .execute_at_start(command)
            .await
            .map_err(BootError::from)?;
    }
    Ok(Boot {
        controller,
        directories,
        opened,
        removed,
        cores,
    })
}

impl Boot {
    /// Gives each core its logs, by the homes in the metadata. The first core gets those whose topic's deletion is in the
    /// metadata log while theirs did not come about, to delete them.
    pub(crate) fn divide(self, image: &Image) -> (Controller, Vec<Uuid>, Vec<StoreSeed>, Finish) {
        let (seeds, finish) = self.opened.divide(self.cores, |log| {
            let topic_id = Uuid(log.id.topic_id);
            if self.removed.contains(&topic_id) && image.topic_by_id(topic_id).is_none() {
                return Some(0);
            }
            let topic = image.topic_by_id(topic_id)?;
            let partition = topic.partition(log.id.partition)?;
            (*topic.name == *log.topic).then_some(usize::from(partition.home.core))
        });
        (self.controller, self.directories, seeds, finish)
    }
}

/// The directory with the metadata: the first, unless another has it because they were named in another order.
fn metadata_directory(config: &Config) -> Result<&PathBuf, BootError> {
    let mut with = config
        .log_dirs
        .iter()
        .filter(|directory| MetadataLog::is_in(directory));
    match (with.next(), with.next()) {
        (Some(one), Some(other)) => Err(BootError::TwiceMetadata {
            one: one.clone(),
            other: other.clone(),
        }),
        (one, None) | (one @ None, _) => Ok(one.unwrap_or(&config.log_dirs[0])),
    }
}

/// Without metadata every log of ours would count as stray.
fn refuse_lost_metadata(config: &Config, opened: &Opened) -> Result<(), BootError> {
    let ours = opened.logs().filter(|log| !log.adopted);
    match ours.map(|log| config.log_dirs[log.dir].clone()).next() {
        Some(path) => Err(BootError::LostMetadata { path }),
        None => Ok(()),
    }
}

fn cluster_id(config: &Config, state: &State) -> String {
    match (state.image().cluster_id(), &config.cluster_id) {
        ("", Some(configured)) => configured.clone(),
        ("", None) => Uuid(*uuid::Uuid::new_v4().as_bytes()).to_string(),
        (known, _) => known.to_owned(),
    }
}

fn storage_options(config: &Config, cores: usize) -> StorageOptions {
    StorageOptions {
        node_id: config.node_id,
        cores,
        journal_file_bytes: config.broker.journal_file_bytes,
        batch_bytes: largest_batch(config),
        journal_files: config.broker.journal_files,
        journal_bytes_max: config.broker.journal_device_max_bytes,
        tail_bytes: tail_bytes(config, cores),
        descriptors_max: limits::descriptors(config, cores).segments_per_core,
        lock_wait: Duration::from_millis(config.broker.log_dir_lock_wait_ms),
        reserve_bytes: config.broker.log_dir_reserve_bytes,
        ..StorageOptions::new(config.log_dirs.clone())
    }
}

/// What `message.max.bytes` allows, as far as a request can carry it.
fn largest_batch(config: &Config) -> usize {
    let batch = usize::try_from(config.broker.message_max_bytes).unwrap_or(0);
    batch.min(config.broker.socket_request_max_bytes)
}

/// Each core's share of the memory for the newest bytes of logs: a quarter of the machine's unless configured.
fn tail_bytes(config: &Config, cores: usize) -> usize {
    let all = config
        .broker
        .tail_memory_bytes
        .unwrap_or_else(|| limits::memory(config) / 4);
    usize::try_from(all).unwrap_or(usize::MAX) / cores
}

fn this_broker(config: &Config) -> Broker {
    let endpoints = config.listeners.iter().map(|listener| Endpoint {
        listener: listener.name.clone(),
        host: listener.advertised_host.clone(),
        port: listener.advertised_port,
    });
    Broker {
        broker_id: config.node_id,
        endpoints: endpoints.collect(),
        rack: config.rack.clone(),
    }
}

/// Topics whose logs are there but which the metadata does not know: those of a directory that Kafka wrote.
fn adopted_topics<'a>(
    logs: impl Iterator<Item = &'a LogSummary>,
    image: &Image,
    directories: &[Uuid],
) -> Vec<AdoptedTopic> {
    let mut topics: BTreeMap<&str, AdoptedTopic> = BTreeMap::new();
    let mut ids: HashMap<&str, Uuid> = HashMap::new();
    for log in logs {
        let id = Uuid(log.id.topic_id);
        if image.topic_by_id(id).is_some() || image.topic(&log.topic).is_some() {
            continue;
        }
        // Two directories with one name and two ids: the first counts, the other becomes stray.
        if *ids.entry(&log.topic).or_insert(id) != id {
            continue;
        }
        let topic = topics.entry(&log.topic).or_insert_with(|| AdoptedTopic {
            name: log.topic.clone(),
            topic_id: id,
            directories: BTreeMap::new(),
            leader_epoch: 0,
            configs: adopted_configs(&log.topic),
        });
        topic
            .directories
            .insert(log.id.partition, directories[log.dir]);
        topic.leader_epoch = topic.leader_epoch.max(log.leader_epoch);
    }
    topics.into_values().collect()
}

/// Kafka keeps a topic's configuration in its metadata log, which is not read: nothing may be deleted on a guess.
fn adopted_configs(topic: &str) -> Vec<(String, String)> {
    let mut configs = vec![
        ("retention.ms".to_owned(), "-1".to_owned()),
        ("retention.bytes".to_owned(), "-1".to_owned()),
    ];
    if crate::controller::apply::is_internal(topic) {
        configs.push(("cleanup.policy".to_owned(), "compact".to_owned()));
    }
    configs
}

/// Opens one data directory, with all its logs on one core, and stops it cleanly.
pub(crate) async fn recover(ring: &Ring, directory: PathBuf) -> Result<(), RunError> {
    let options = StorageOptions {
        node_id: node_id(ring, &directory).await?,
        ..StorageOptions::new(vec![directory.clone()])
    };
    let opened = millstream_storage::open(ring, options)
        .await
        .map_err(StartError::from)?;
    let logs = opened.logs().count();
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let mut stores = Vec::with_capacity(1);
    for seed in seeds {
        stores.push(Store::start(ring, seed).await.map_err(StartError::from)?);
    }
    finish.run(ring).await.map_err(StartError::from)?;
    let mut stopped = Vec::with_capacity(1);
    for store in stores {
        stopped.push(
            store
                .stop()
                .await
                .map_err(|error| RunError::Stop(error.to_string()))?,
        );
    }
    Stopped::finish(stopped, ring)
        .await
        .map_err(|error| RunError::Stop(error.to_string()))?;
    crate::banner::say(&format!(
        "{}: {logs} logs, stopped cleanly\n",
        directory.display()
    ));
    Ok(())
}

/// The node whose directory it is.
async fn node_id(ring: &Ring, directory: &Path) -> Result<i32, StartError> {
    let path = directory.join("meta.properties");
    let refused = |what: String| BootError::NoDataDirectory {
        path: path.clone(),
        what,
    };
    let bytes = fs::read(ring, &path)
        .await
        .map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let named = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("node.id="));
    let id = named.and_then(|id| id.trim().parse().ok());
    Ok(id.ok_or_else(|| refused("it names no node.id".to_owned()))?)
}
