//! Reading many partitions, each on its core, and waiting until one of them has more.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::Either;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;
use millstream_state::incremental_fetch::{FetchContext, FetchPartition, TopicKey};

use crate::net::replies::Replies;
use crate::partition::read::{Given, Wanted};
use crate::partition::waiters::{Notice, WaitId};
use crate::shard::Shard;
use crate::topics::Home;

/// What is to be read, in request order: where it is, or why it is not.
pub(super) struct Target {
    topic_id: Uuid,
    index: i32,
    wanted: Wanted,
    core: Result<usize, ErrorCode>,
}

/// A partition to read, for the core it lives on.
#[derive(Clone, Copy)]
struct Reading {
    place: usize,
    topic_id: Uuid,
    index: i32,
    wanted: Wanted,
}

/// What one response may still hold.
#[derive(Clone, Copy)]
struct Budget {
    bytes: usize,
    /// Nothing was found yet: the first batch comes whole, whatever its size (KIP-74).
    first: bool,
}

/// Looks up where the partitions of a fetch live.
pub(super) fn targets(shard: &Shard, fetch: &FetchContext, read_committed: bool) -> Vec<Target> {
    fetch
        .partitions()
        .map(|partition| target(shard, partition, read_committed))
        .collect()
}

fn target(shard: &Shard, partition: &FetchPartition, read_committed: bool) -> Target {
    let (topic, unknown) = match &partition.topic {
        TopicKey::Id(id) => (shard.topics.by_id(id), ErrorCode::UnknownTopicId),
        TopicKey::Name(name) => (
            shard.topics.by_name(name),
            ErrorCode::UnknownTopicOrPartition,
        ),
    };
    let core = match &topic {
        None => Err(unknown),
        Some(topic) => match topic.home(partition.partition) {
            Home::Here(_) => Ok(shard.index),
            Home::Core(core) => Ok(core),
            Home::Nowhere => Err(ErrorCode::UnknownTopicOrPartition),
        },
    };
    Target {
        topic_id: topic.map_or(Uuid::ZERO, |topic| topic.id),
        index: partition.partition,
        wanted: Wanted {
            offset: partition.fetch_offset,
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            read_committed,
        },
        core,
    }
}

/// Reads the partitions in request order within `max_bytes`, each core's in one go.
pub(super) async fn all(shard: &Rc<Shard>, targets: &[Target], max_bytes: usize) -> Vec<Given> {
    let mut given: Vec<Given> = targets
        .iter()
        .map(|target| Given {
            // Null is for partitions that were looked at.
            aborted: Some(Vec::new()),
            ..Given::error(target.core.err().unwrap_or(ErrorCode::None))
        })
        .collect();
    let mut budget = Budget {
        bytes: max_bytes,
        first: true,
    };
    for (core, readings) in by_core(targets) {
        let results = if core == shard.index {
            read_here(shard.clone(), readings, &mut budget).await
        } else {
            let mut there = budget;
            let reading = move |shard| async move {
                let results = read_here(shard, readings, &mut there).await;
                (results, there)
            };
            let (results, left) = shard.on(core, reading).await;
            budget = left;
            results
        };
        for (place, result) in results {
            given[place] = result;
        }
    }
    given
}

/// Readings grouped by core; cores and partitions in request order.
fn by_core(targets: &[Target]) -> Vec<(usize, Vec<Reading>)> {
    let mut cores: Vec<(usize, Vec<Reading>)> = Vec::new();
    for (place, target) in targets.iter().enumerate() {
        let Ok(core) = target.core else { continue };
        let reading = Reading {
            place,
            topic_id: target.topic_id,
            index: target.index,
            wanted: target.wanted,
        };
        match cores.iter_mut().find(|(there, _)| *there == core) {
            Some((_, readings)) => readings.push(reading),
            None => cores.push((core, vec![reading])),
        }
    }
    cores
}

async fn read_here(
    shard: Rc<Shard>,
    readings: Vec<Reading>,
    budget: &mut Budget,
) -> Vec<(usize, Given)> {
    let mut results = Vec::with_capacity(readings.len());
    for reading in readings {
        let home = shard
            .topics
            .by_id(&reading.topic_id)
            .map(|topic| topic.home(reading.index));
        let Some(Home::Here(partition)) = home else {
            results.push((reading.place, Given::error(ErrorCode::NotLeaderOrFollower)));
            continue;
        };
        let given = partition
            .read(reading.wanted, budget.bytes, budget.first)
            .await;
        budget.bytes = budget.bytes.saturating_sub(given.bytes);
        budget.first &= given.bytes == 0;
        results.push((reading.place, given));
    }
    results
}

/// Returns when one of the partitions has something new, after `wait`, or when nobody is there any more to be told.
pub(super) async fn wait(
    shard: &Rc<Shard>,
    targets: &[Target],
    given: &[Given],
    wait: Duration,
    replies: &Replies,
) {
    let id: WaitId = (shard.index, shard.waits_from_afar.number());
    let by_core = by_core(targets);
    let elsewhere: Vec<usize> = by_core
        .iter()
        .map(|(core, _)| *core)
        .filter(|core| *core != shard.index)
        .collect();
    let mut waits = Vec::with_capacity(by_core.len());
    for (core, readings) in by_core {
        let seen: Vec<(Uuid, i32, i64)> = readings
            .iter()
            .map(|reading| {
                (
                    reading.topic_id,
                    reading.index,
                    given[reading.place].high_watermark,
                )
            })
            .collect();
        waits.push(
            shard
                .call(core, move |there| wait_here(there, id, seen, wait))
                .await,
        );
    }
    if waits.is_empty() {
        shard.ring.sleep(wait).await;
        return;
    }
    let alone = waits.len() == 1;
    let gone = replies.gone();
    futures_util::pin_mut!(gone);
    let first = futures_util::future::select(futures_util::future::select_all(waits), gone).await;
    if !alone || matches!(first, Either::Right(_)) {
        for core in elsewhere {
            shard
                .tell(core, move |there| there.waits_from_afar.call_off(id))
                .await;
        }
    }
}

/// Returns when the high watermark of one of the partitions is another than the one seen, or after `wait`.
/// It can be called off as soon as this has returned.
fn wait_here(
    shard: Rc<Shard>,
    id: WaitId,
    seen: Vec<(Uuid, i32, i64)>,
    wait: Duration,
) -> impl Future<Output = ()> {
    let notice = Rc::new(Notice::default());
    if id.0 != shard.index {
        shard.waits_from_afar.begin(id, notice.clone());
    }
    async move {
        wait_for_news(&shard, &notice, seen, wait).await;
        shard.waits_from_afar.end(id);
    }
}

async fn wait_for_news(
    shard: &Shard,
    notice: &Rc<Notice>,
    seen: Vec<(Uuid, i32, i64)>,
    wait: Duration,
) {
    // Whoever stops has woken all that were parked and will not do so again.
    if shard.stopping.get() {
        return;
    }
    for (topic_id, index, high_watermark) in &seen {
        match shard.topics.by_id(topic_id).map(|topic| topic.home(*index)) {
            Some(Home::Here(partition)) if partition.high_watermark() == *high_watermark => {
                partition.log.flush_soon();
                partition.waiters.park(notice);
            }
            // It has something new already, or moved, or is gone: look again at once.
            _ => return,
        }
    }
    let given = notice.given();
    let timeout = shard.ring.sleep(wait);
    futures_util::pin_mut!(given, timeout);
    futures_util::future::select(given, timeout).await;
}
