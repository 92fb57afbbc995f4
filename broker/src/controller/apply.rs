//! What the controller decided, carried out on each core: topics and partitions come, go and change.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use millstream_protocol::uuid::Uuid;
use millstream_state::controller::{Image, Partition as PartitionImage, Record, ResourceType};
use millstream_storage::{LogId, StoreError};

use crate::config::TopicConfig;
use crate::coordinator::OFFSETS_TOPIC;
use crate::knobs::layers::Overrides;
use crate::net::warnings::Kind;
use crate::partition::Partition;
use crate::partition::config::PartitionConfig;
use crate::shard::Shard;
use crate::topics::{Home, Topic};

/// Pause before a partition that had no room is placed again.
const PLACE_AGAIN: Duration = Duration::from_secs(1);
/// Topics that only the broker writes to (`Topic.INTERNAL_TOPICS`).
const INTERNAL: [&str; 2] = [OFFSETS_TOPIC, "__transaction_state"];

/// Whether only the broker writes to the topic.
pub(crate) fn is_internal(topic: &str) -> bool {
    INTERNAL.contains(&topic)
}

/// Hands the image, and the records that led to it, to every core; returns when all have applied them.
pub(crate) async fn publish(shard: &Rc<Shard>, image: Arc<Image>, records: Vec<Record>) {
    let records = Arc::new(records);
    let mut calls = Vec::with_capacity(shard.cores);
    for core in 0..shard.cores {
        let (image, records) = (image.clone(), records.clone());
        calls.push(
            shard
                .call(core, move |there| async move {
                    apply(&there, image, &records).await
                })
                .await,
        );
    }
    futures_util::future::join_all(calls).await;
}

/// Deletes the logs whose topic's deletion was durable when the process ended, and theirs was not.
pub(crate) async fn delete_leftovers(shard: &Rc<Shard>) {
    let image = shard.image();
    let left = shard
        .store
        .logs()
        .filter(|log| image.topic_by_id(Uuid(log.id().topic_id)).is_none());
    futures_util::future::join_all(
        left.map(|log| delete_log(shard, log.id(), log.topic().to_owned())),
    )
    .await;
}

/// Applies records on this core. What creates and deletes logs goes on at once for all of them, so that they share
/// flushes; records of one command do not concern the same partition twice.
async fn apply(shard: &Rc<Shard>, image: Arc<Image>, records: &[Record]) {
    shard.image.replace(image.clone());
    let mut changes: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
    for record in records {
        match record {
            Record::Topic(topic) => {
                add_topic(shard, &image, topic.name.clone(), topic.topic_id);
                for (index, partition) in (0..).zip(&topic.partitions) {
                    changes.push(Box::pin(place(shard, topic.topic_id, index, partition)));
                }
            }
            Record::Partitions {
                topic_id,
                first,
                partitions,
            } => {
                for (index, partition) in (*first..).zip(partitions) {
                    changes.push(Box::pin(place(shard, *topic_id, index, partition)));
                }
            }
            Record::RemoveTopic { topic_id } => {
                changes.push(Box::pin(remove_topic(shard, topic_id)))
            }
            Record::Config { resource, .. } => match resource.resource_type {
                ResourceType::Topic => reconfigure(shard, &image, Some(&resource.name)),
                ResourceType::Broker => reconfigure(shard, &image, None),
                _ => {}
            },
            // Homes and epochs change only before the cores start; the rest concerns the image alone.
            Record::PartitionHomes { .. }
            | Record::LeaderEpochs { .. }
            | Record::Cluster { .. }
            | Record::Broker(_)
            | Record::ProducerIds { .. }
            | Record::FeatureLevel { .. } => {}
        }
    }
    futures_util::future::join_all(changes).await;
}

/// The topic's configuration as it is in force: topic, broker, broker default, file, default. Nothing weakens the
/// durability of an internal topic.
fn topic_config(shard: &Shard, image: &Image, name: &str) -> Rc<PartitionConfig> {
    let none = Overrides::new();
    let own = image
        .config(ResourceType::Topic, name)
        .map_or(&none, |own| own);
    let mut config = TopicConfig::resolve(&shard.layers(), own);
    if is_internal(name) {
        config.flush_messages = 1;
    }
    Rc::new(PartitionConfig::from(&config))
}

fn add_topic(shard: &Rc<Shard>, image: &Image, name: Arc<str>, id: Uuid) {
    let config = topic_config(shard, image, &name);
    let internal = is_internal(&name);
    shard.topics.insert(Topic::new(name, id, internal, config));
}

async fn place(shard: &Rc<Shard>, topic_id: Uuid, index: i32, image: &PartitionImage) {
    let topic = shard
        .topics
        .by_id(&topic_id)
        .expect("a partition's topic is in the metadata before it");
    if usize::from(image.home.core) != shard.index {
        topic.place_on(index, usize::from(image.home.core));
        return;
    }
    let id = LogId {
        topic_id: topic_id.0,
        partition: index,
    };
    let config = topic.config.borrow().clone();
    let log = match shard.store.log(&id) {
        Some(log) => {
            log.set_config(config.log);
            log
        }
        None => {
            let Some(directory) = shard
                .directories
                .iter()
                .position(|id| *id == image.home.directory)
            else {
                tracing::error!(
                    "{}-{index} lives in data directory {}, which is not in log.dirs",
                    topic.name,
                    image.home.directory
                );
                return;
            };
            match shard
                .store
                .create_log(&topic.name, id, directory, image.leader_epoch, config.log)
                .await
            {
                Ok(log) => log,
                Err(StoreError::NoSpace) => {
                    shard.warnings.report(Kind::Placing, || {
                        format!("{}-{index} is created when there is room for it: there is none on the device", topic.name)
                    });
                    let later = place_later(shard.clone(), topic_id, index, image.clone());
                    return shard.ring.spawn_background(later);
                }
                Err(error) => {
                    tracing::error!("{}-{index} cannot be created: {error}", topic.name);
                    return;
                }
            }
        }
    };
    // Of a partition that was placed later, the topic may be gone.
    if shard.topics.by_id(&topic_id).is_none() {
        return delete_log(shard, log.id(), topic.name.to_string()).await;
    }
    let partition = Partition::new(topic.name.clone(), index, log, image.leader_epoch, config);
    topic.place_here(index, partition.clone());
    if &*topic.name == OFFSETS_TOPIC {
        shard.groups.open(shard, partition);
    }
}

/// Metadata has the partition, and storage had no room: clients are told that it is not here yet (NOT_LEADER_OR_FOLLOWER), and
/// ask again.
async fn place_later(shard: Rc<Shard>, topic_id: Uuid, index: i32, image: PartitionImage) {
    shard.ring.sleep(PLACE_AGAIN).await;
    if !shard.stopping.get() && shard.topics.by_id(&topic_id).is_some() {
        // Boxed: it may spawn this again.
        let placed: LocalBoxFuture<'_, ()> = Box::pin(place(&shard, topic_id, index, &image));
        placed.await;
    }
}

async fn remove_topic(shard: &Rc<Shard>, id: &Uuid) {
    let Some(topic) = shard.topics.remove(id) else {
        return;
    };
    let here = topic.here();
    for partition in &here {
        partition.close();
        if &*topic.name == OFFSETS_TOPIC {
            shard.groups.close(partition.index);
        }
    }
    shard.groups.topics_deleted(&[topic.name.to_string()]);
    let deletions = here
        .iter()
        .map(|partition| delete_log(shard, partition.log.id(), topic.name.to_string()));
    futures_util::future::join_all(deletions).await;
}

async fn delete_log(shard: &Shard, id: LogId, topic: String) {
    if let Err(error) = shard.store.delete_log(&id).await {
        tracing::error!("{topic}-{} cannot be deleted: {error}", id.partition);
    }
}

/// Puts changed configuration in force, for one topic or, if the broker's changed, for all.
fn reconfigure(shard: &Rc<Shard>, image: &Image, name: Option<&str>) {
    let topics = match name {
        Some(name) => shard.topics.by_name(name).into_iter().collect(),
        None => shard.topics.all(),
    };
    for topic in topics {
        let config = topic_config(shard, image, &topic.name);
        topic.config.replace(config.clone());
        for index in 0..topic.partition_count() {
            if let Home::Here(partition) = topic.home(index) {
                partition.log.set_config(config.log);
                partition.config.replace(config.clone());
            }
        }
    }
}
