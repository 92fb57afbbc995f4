//! Fetch (1): batches from many partitions, waiting a while until there are enough.
//!
//! v7 sessions (KIP-227) · v9 current leader epoch (KIP-320) · v12 last fetched epoch and diverging epoch (KIP-595) ·
//! v13 topic ids (KIP-516) · v15 replica state as a tagged field · v16 node endpoints (KIP-951).

mod read;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::message::Records;
use millstream_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse,
    PartitionData,
};
use millstream_protocol::uuid::Uuid;
use millstream_protocol::wire::Encoded;
use millstream_ring::Bytes;
use millstream_state::incremental_fetch::{
    FetchContext, FetchMetadata, FetchPartition, PartitionKey, PartitionResult, TopicKey,
};

use crate::api::RequestContext;
use crate::net::memory::Share;
use crate::net::replies::Reply;
use crate::partition::read::Given;
use crate::shard::Shard;

/// `IsolationLevel.READ_COMMITTED`.
const READ_COMMITTED: i8 = 1;
/// However little memory is left, so much is read; beside it the first batch comes whole.
const READ_BYTES_MIN: usize = 64 << 10;
/// First version with topic ids instead of names.
const TOPIC_IDS: i16 = 13;

/// Answers at once if there is enough, an error, or no time to wait; else when either comes true.
pub(crate) async fn handle(context: &RequestContext, request: FetchRequest<'_>) -> Reply {
    let shard = &context.shard;
    let now = shard.steady_ms();
    context.connection.pulls.asked(None);
    let mut fetch = open(context, &request, now);
    if let Some(code) = fetch.error() {
        return context.reply(&FetchResponse {
            error_code: code.code(),
            ..Default::default()
        });
    }
    let deadline =
        shard.ring.now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let max_bytes = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(shard.config.broker.fetch_max_bytes);
    let min_bytes = usize::try_from(request.min_bytes)
        .unwrap_or(0)
        .min(max_bytes);
    let targets = read::targets(shard, &fetch, request.isolation_level == READ_COMMITTED);
    let mut held = shard.memory.replies.share(0);
    let (mut given, mut bytes) = read_within(shard, &targets, max_bytes, &mut held).await;
    while !enough(&given, min_bytes.min(bytes)) {
        let now = shard.ring.now();
        if now >= deadline || shard.stopping.get() || context.connection.replies.is_broken() {
            break;
        }
        read::wait(
            shard,
            &targets,
            &given,
            deadline - now,
            &context.connection.replies,
        )
        .await;
        given.clear();
        (given, bytes) = read_within(shard, &targets, max_bytes, &mut held).await;
    }
    let results: Vec<PartitionResult> = given.iter().map(result).collect();
    let answer = shard
        .fetch_sessions
        .borrow_mut()
        .respond(&mut fetch, &results, shard.steady_ms());
    let reply = shape(
        context,
        &fetch,
        answer.session_id,
        answer.error,
        &answer.included,
        given,
    );
    shard.fetch_sessions.borrow_mut().finish(fetch);
    reply
}

/// Reads no more than the core has memory for, which is returned too; a client that gets less than it asked for asks again.
async fn read_within(
    shard: &Rc<Shard>,
    targets: &[read::Target],
    max_bytes: usize,
    held: &mut Share,
) -> (Vec<Given>, usize) {
    held.set(0);
    shard.memory.replies.room(shard).await;
    let bytes = max_bytes.min((shard.memory.replies.left() / 4).max(READ_BYTES_MIN));
    held.set(bytes);
    let given = read::all(shard, targets, bytes).await;
    held.set(given.iter().map(|given| given.bytes).sum());
    (given, bytes)
}

/// The session's view of the request: which partitions are to be read.
fn open(context: &RequestContext, request: &FetchRequest<'_>, now: i64) -> FetchContext {
    let metadata = FetchMetadata {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        uses_topic_ids: context.version >= TOPIC_IDS,
        from_follower: false,
    };
    let by_id = context.version >= TOPIC_IDS;
    let key = |name: &str, id: Uuid| match by_id {
        true => TopicKey::Id(id),
        // The topic's own name is shared, another is told back as it came.
        false => match context.shard.topics.by_name(name) {
            Some(topic) => TopicKey::Name(topic.name.clone()),
            None => TopicKey::Name(Arc::from(name)),
        },
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let key = key(&topic.topic, topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|partition| FetchPartition {
            topic: key.clone(),
            partition: partition.partition,
            current_leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
            partition_max_bytes: partition.partition_max_bytes,
        }));
    }
    let mut forgotten: Vec<PartitionKey> = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = key(&topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|index| (key.clone(), *index)));
    }
    context
        .shard
        .fetch_sessions
        .borrow_mut()
        .open(metadata, partitions, forgotten, now)
}

fn enough(given: &[Given], min_bytes: usize) -> bool {
    let bytes: usize = given.iter().map(|given| given.bytes).sum();
    given.is_empty()
        || bytes >= min_bytes
        || given
            .iter()
            .any(|given| given.error != ErrorCode::None || given.diverging.is_some())
}

fn result(given: &Given) -> PartitionResult {
    PartitionResult {
        error: given.error,
        high_watermark: given.high_watermark,
        last_stable_offset: given.high_watermark,
        log_start_offset: given.log_start_offset,
        records_bytes: given.bytes,
        has_diverging_epoch: given.diverging.is_some(),
        has_preferred_read_replica: false,
    }
}

/// The reply: what was written, with the records' views in its gaps.
fn shape(
    context: &RequestContext,
    fetch: &FetchContext,
    session_id: i32,
    error: ErrorCode,
    included: &[u32],
    mut given: Vec<Given>,
) -> Reply {
    let mut records: Vec<Vec<Bytes>> = Vec::with_capacity(included.len());
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
    // A rotated session may come back to a topic: its partitions still stand together.
    let mut places: BTreeMap<&TopicKey, usize> = BTreeMap::new();
    let mut order: Vec<Vec<usize>> = Vec::new();
    for place in included.iter().map(|place| *place as usize) {
        let Some(partition) = fetch.partition(place) else {
            continue;
        };
        let at = *places.entry(&partition.topic).or_insert_with(|| {
            responses.push(topic_response(&partition.topic));
            order.push(Vec::new());
            responses.len() - 1
        });
        responses[at]
            .partitions
            .push(partition_response(partition.partition, &given[place]));
        order[at].push(place);
        let given = &given[place];
        context.shard.metrics().fetched(given.error, given.bytes);
    }
    for place in order.into_iter().flatten() {
        records.push(std::mem::take(&mut given[place].records));
    }
    let response = FetchResponse {
        error_code: error.code(),
        session_id,
        responses,
        ..Default::default()
    };
    interleave(context.encode(&response), records)
}

fn topic_response(key: &TopicKey) -> FetchableTopicResponse<'_> {
    match key {
        TopicKey::Id(id) => FetchableTopicResponse {
            topic_id: *id,
            ..Default::default()
        },
        TopicKey::Name(name) => FetchableTopicResponse {
            topic: name.as_ref().into(),
            ..Default::default()
        },
    }
}

fn partition_response<'a>(index: i32, given: &Given) -> PartitionData<'a> {
    let diverging_epoch = given
        .diverging
        .map_or_else(EpochEndOffset::default, |(epoch, end_offset)| {
            EpochEndOffset { epoch, end_offset }
        });
    PartitionData {
        partition_index: index,
        error_code: given.error.code(),
        high_watermark: given.high_watermark,
        last_stable_offset: given.high_watermark,
        log_start_offset: given.log_start_offset,
        diverging_epoch,
        aborted_transactions: given
            .aborted
            .as_ref()
            .map(|aborted| aborted.iter().map(aborted_transaction).collect()),
        preferred_read_replica: -1,
        records: Records::Gap(given.bytes),
        ..Default::default()
    }
}

fn aborted_transaction((producer_id, first_offset): &(i64, i64)) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: *producer_id,
        first_offset: *first_offset,
    }
}

/// Puts the views of the records, in the order of the partitions, where the response has its gaps.
fn interleave(encoded: Encoded, records: Vec<Vec<Bytes>>) -> Reply {
    let bytes = Bytes::from(encoded.bytes);
    let mut parts = Vec::with_capacity(encoded.gaps.len() * 2 + 1);
    let mut at = 0;
    // An empty gap is none: it wrote a length of 0 and nothing belongs there.
    for (gap, views) in encoded
        .gaps
        .iter()
        .filter(|gap| gap.len > 0)
        .zip(records.into_iter().filter(|r| !r.is_empty()))
    {
        parts.push(bytes.slice(at..gap.position));
        parts.extend(views);
        at = gap.position;
    }
    parts.push(bytes.slice(at..bytes.len()));
    Reply { parts }
}
