//! Which brokers hold a partition, and which core and data directory of this broker is its home.
//!
//! By load, measured in partitions, the lowest number winning a tie: the same metadata gives the same answer on every
//! machine. A partition keeps its home when topics come and go; only a change of the cores moves it.

use std::collections::BTreeMap;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

use super::image::{Home, Image, Topic};
use super::record::Record;
use super::{Refusal, Reply, State};

/// What the controller must know of this broker besides the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Shards of this broker; homes are on cores `0..cores`.
    pub cores: u16,
    /// `directory.id` of each data directory that is online, in the order of `log.dirs`. Never empty while topics can
    /// be created: with every directory offline, new partitions are refused with KAFKA_STORAGE_ERROR.
    pub directories: Vec<Uuid>,
    /// num.partitions.
    pub num_partitions: i32,
    /// default.replication.factor.
    pub default_replication_factor: i16,
}

/// A partition and its new home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeMove {
    /// Whose partition.
    pub topic_id: Uuid,
    /// Which one.
    pub partition: i32,
    /// Where to.
    pub home: Home,
}

/// Partitions on each core and in each directory; derived from the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    cores: BTreeMap<u16, u32>,
    directories: BTreeMap<Uuid, u32>,
}

impl Load {
    pub(super) fn add(&mut self, home: Home) {
        *self.cores.entry(home.core).or_default() += 1;
        *self.directories.entry(home.directory).or_default() += 1;
    }

    pub(super) fn remove(&mut self, home: Home) {
        take_one(&mut self.cores, home.core);
        take_one(&mut self.directories, home.directory);
    }

    /// The home with the fewest partitions, counted as taken from now on.
    pub(super) fn place(&mut self, context: &Context) -> Result<Home, Refusal> {
        let directory = self.least_directory(context)?;
        let core = self.least_core(context.cores);
        let home = Home { core, directory };
        self.add(home);
        Ok(home)
    }

    fn on_core(&self, core: u16) -> u32 {
        self.cores.get(&core).copied().unwrap_or(0)
    }

    fn least_core(&self, cores: u16) -> u16 {
        (0..cores)
            .min_by_key(|core| self.on_core(*core))
            .expect("cores > 0 was asserted")
    }

    fn least_directory(&self, context: &Context) -> Result<Uuid, Refusal> {
        let in_directory = |directory: &Uuid| self.directories.get(directory).copied().unwrap_or(0);
        // min_by_key returns the first of equals: the order of log.dirs breaks ties.
        let least = context.directories.iter().copied().min_by_key(in_directory);
        least.ok_or_else(|| {
            Refusal::new(
                ErrorCode::KafkaStorageError,
                "No data directory of this broker is online.",
            )
        })
    }
}

fn take_one<K: Ord + std::fmt::Debug>(counts: &mut BTreeMap<K, u32>, key: K) {
    let count = counts
        .get_mut(&key)
        .unwrap_or_else(|| panic!("{key:?} has no partition to lose"));
    *count -= 1;
    if *count == 0 {
        counts.remove(&key);
    }
}

/// Brokers for each of `partitions` new partitions, in stripes as Kafka's StripedReplicaPlacer lays them; the start of
/// the stripe follows from what exists, so that leaders spread evenly. Racks are not looked at until there is a cluster.
pub(super) fn place_replicas(
    image: &Image,
    first: usize,
    partitions: usize,
    replication_factor: i16,
) -> Result<Vec<Box<[i32]>>, Refusal> {
    let brokers: Vec<i32> = image.brokers().map(|broker| broker.broker_id).collect();
    let factor = usize::try_from(replication_factor).unwrap_or(0);
    assert!(factor > 0, "the replication factor was checked before");
    if factor > brokers.len() {
        let message = format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
             reached because only {} broker(s) are registered or some brokers have all their log directories cordoned.",
            brokers.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    let start = image.partition_count() + first;
    let stripe = |partition: usize| {
        (0..factor)
            .map(|replica| brokers[(start + partition + replica) % brokers.len()])
            .collect()
    };
    Ok((0..partitions).map(stripe).collect())
}

impl State {
    /// Evens out the cores with as few moves as possible: partitions of cores that are gone move first, then those
    /// above the even share.
    pub(super) fn rebalance(&self, context: &Context) -> (Vec<Record>, Reply) {
        let total = self.image.partition_count();
        let cores = usize::from(context.cores);
        // `total` over `cores`: the first `total % cores` of the fullest may keep one more than the others.
        let (share, mut extra) = (total / cores, total % cores);
        let mut keep: Vec<usize> = vec![0; cores];
        let mut fullest: Vec<u16> = (0..context.cores).collect();
        fullest.sort_by_key(|core| (std::cmp::Reverse(self.load.on_core(*core)), *core));
        for core in fullest {
            let has = self.load.on_core(core) as usize;
            let more = usize::from(has > share && extra > 0);
            extra -= more;
            keep[usize::from(core)] = has.min(share + more);
        }
        let mut load = Load::default();
        let mut homeless = Vec::new();
        for topic in self.image.topics() {
            for (index, partition) in topic.partitions.iter().enumerate() {
                match keep.get_mut(usize::from(partition.home.core)) {
                    Some(left) if *left > 0 => {
                        *left -= 1;
                        load.add(partition.home);
                    }
                    _ => homeless.push((topic.topic_id, index as i32, partition.home.directory)),
                }
            }
        }
        let moves = homeless
            .into_iter()
            .map(|(topic_id, partition, directory)| {
                let home = Home {
                    core: load.least_core(context.cores),
                    directory,
                };
                load.add(home);
                HomeMove {
                    topic_id,
                    partition,
                    home,
                }
            });
        homes(moves.collect())
    }

    pub(super) fn move_partitions(
        &self,
        moves: &[HomeMove],
        context: &Context,
    ) -> Result<(Vec<Record>, Reply), Refusal> {
        let mut changed = Vec::new();
        for wanted in moves {
            let topic = self.image.topic_by_id(wanted.topic_id);
            let Some(partition) = topic.and_then(|topic| topic.partition(wanted.partition)) else {
                return Err(ErrorCode::UnknownTopicOrPartition.into());
            };
            if wanted.home.core >= context.cores {
                let message = format!(
                    "Core {} is not one of the {} of this broker.",
                    wanted.home.core, context.cores
                );
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            if partition.home != wanted.home {
                changed.push(wanted.clone());
            }
        }
        Ok(homes(changed))
    }

    pub(super) fn replay_homes(&mut self, topic_id: Uuid, homes: &[(i32, Home)]) {
        let mut topic: Topic = self.topic_of_record(topic_id);
        for (index, home) in homes {
            let partition = usize::try_from(*index)
                .ok()
                .and_then(|index| topic.partitions.get_mut(index));
            let partition = partition.unwrap_or_else(|| {
                panic!(
                    "a record moves {}-{index}, which does not exist",
                    topic.name
                )
            });
            self.load.remove(partition.home);
            self.load.add(*home);
            partition.home = *home;
        }
        self.put_topic(topic);
    }
}

/// One record for each topic.
fn homes(moves: Vec<HomeMove>) -> (Vec<Record>, Reply) {
    let reply = Reply::Moved {
        partitions: moves.len(),
    };
    let mut by_topic: BTreeMap<Uuid, Vec<(i32, Home)>> = BTreeMap::new();
    for moved in moves {
        by_topic
            .entry(moved.topic_id)
            .or_default()
            .push((moved.partition, moved.home));
    }
    (
        by_topic
            .into_iter()
            .map(|(topic_id, homes)| Record::PartitionHomes { topic_id, homes })
            .collect(),
        reply,
    )
}
