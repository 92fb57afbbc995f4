//! Produce (0): one batch per partition, answered when it is flushed.
//!
//! v0–v2 are advertised for old clients' sake and refused, as Kafka does (KAFKA-18659) · v8 carries record errors and a
//! message · v10 the current leader on NOT_LEADER_OR_FOLLOWER · v13 topic ids instead of names.
//!
//! `begin` puts every batch into its log, on whatever core it lives, before the connection's next request is read; so
//! order holds while acknowledgements overlap. `finish` shapes the reply once everything is flushed.

use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use millstream_protocol::uuid::Uuid;
use millstream_protocol::wire::Reader;
use millstream_ring::Bytes;
use millstream_storage::Store;

use crate::api::{BadRequest, Outcome, RequestContext, errors};
use crate::net::replies::Reply;
use crate::partition::Partition;
use crate::partition::append::Appended;
use crate::partition::refusal::Refusal;
use crate::shard::Shard;
use crate::topics::Home;

/// A Produce whose batches are in their logs.
pub(crate) struct PendingProduce {
    context: RequestContext,
    partitions: Vec<Produced>,
}

/// The state of one partition of the request, in request order.
struct Produced {
    topic: TopicKey,
    index: i32,
    result: Result<Appended, Refusal>,
}

#[derive(Clone, PartialEq)]
enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

/// A batch for another core: which result it fills, and what to append.
struct Away {
    place: usize,
    topic_id: Uuid,
    index: i32,
    records: Bytes,
}

/// Takes the batches of one request. Returns with all of them appended or refused, or on their way to their cores in
/// order; the reply has its place.
pub(crate) async fn begin(
    context: RequestContext,
    frame: &Bytes,
    mut body: Reader<'_>,
) -> Result<Outcome, BadRequest> {
    let shard = context.shard.clone();
    let request = context.decode(ProduceRequest::read(&mut body, context.version))?;
    let acks = request.acks;
    let mut away: Vec<(usize, Vec<Away>)> = Vec::new();
    let mut partitions = Vec::with_capacity(
        request
            .topic_data
            .first()
            .map_or(0, |topic| topic.partition_data.len()),
    );
    let refused = refuse_all(&request);
    for topic in &request.topic_data {
        let found = match context.version {
            13.. => shard.topics.by_id(&topic.topic_id),
            _ => shard.topics.by_name(&topic.name),
        };
        let key = match &found {
            _ if context.version >= 13 => TopicKey::Id(topic.topic_id),
            Some(found) => TopicKey::Name(found.name.clone()),
            None => TopicKey::Name(Arc::from(&*topic.name)),
        };
        for data in &topic.partition_data {
            let records = data.records.bytes();
            let result = match (&found, &refused) {
                (_, Some(refusal)) => Err(refusal.clone()),
                (None, None) => Err(Refusal::from(unknown(context.version))),
                (Some(found), None) if found.internal => {
                    Err(ErrorCode::InvalidTopicException.into())
                }
                (Some(found), None) => match found.home(data.index) {
                    Home::Nowhere => Err(ErrorCode::UnknownTopicOrPartition.into()),
                    Home::Here(partition) => {
                        match enter(&shard, &partition, records, context.version) {
                            Entered::Done(result) => result,
                            Entered::Waits(result) => result.await,
                        }
                    }
                    Home::Core(core) => {
                        let item = Away {
                            place: partitions.len(),
                            topic_id: found.id,
                            index: data.index,
                            records: within(frame, records),
                        };
                        match away.iter_mut().find(|(there, _)| *there == core) {
                            Some((_, items)) => items.push(item),
                            None => away.push((core, vec![item])),
                        }
                        Err(ErrorCode::None.into())
                    }
                },
            };
            partitions.push(Produced {
                topic: key.clone(),
                index: data.index,
                result,
            });
        }
    }
    let pending = Box::new(PendingProduce {
        context,
        partitions,
    });
    match away.is_empty() {
        true => Ok(answer(pending, acks)),
        false => Ok(send_away(&shard, pending, acks, away).await),
    }
}

/// An error that concerns the whole request, if there is one.
fn refuse_all(request: &ProduceRequest<'_>) -> Option<Refusal> {
    if !matches!(request.acks, -1..=1) {
        return Some(ErrorCode::InvalidRequiredAcks.into());
    }
    // Transactions are not served yet; a retriable answer would hang the client.
    request
        .transactional_id
        .as_ref()
        .map(|_| ErrorCode::InvalidTxnState.into())
}

fn unknown(version: i16) -> ErrorCode {
    if version >= 13 {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    }
}

/// The part of the frame that `records` is, shared instead of copied.
fn within(frame: &Bytes, records: &[u8]) -> Bytes {
    let start = (records.as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
    match start.checked_add(records.len()) {
        Some(end) if end <= frame.len() => frame.slice(start..end),
        _ => Bytes::from(records.to_vec()),
    }
}

/// A batch that has its place in the order of its partition.
enum Entered<'a> {
    Done(Result<Appended, Refusal>),
    /// For memory, or for the producers' state to be read. Whoever comes after it waits for it, polled or not.
    Waits(Pin<Box<dyn Future<Output = Result<Appended, Refusal>> + 'a>>),
}

/// Appends a batch at once unless something stands in its way; then it has its turn when this returns.
fn enter<'a>(
    shard: &Rc<Shard>,
    partition: &Rc<Partition>,
    records: impl Deref<Target = [u8]> + 'a,
    version: i16,
) -> Entered<'a> {
    let needs_producers = carries_producer(&records) && !partition.has_producers();
    if partition.appends.is_free() && !needs_producers && shard.store.try_admit(records.len()) {
        return Entered::Done(partition.append_produced(&records, version, shard.ring.wall_ms()));
    }
    let turn = partition.appends.take();
    let (shard, partition) = (shard.clone(), partition.clone());
    Entered::Waits(Box::pin(async move {
        let _turn = turn.await;
        shard.store.admit(records.len()).await;
        if needs_producers {
            partition
                .load_producers(shard.ring.wall_ms())
                .await
                .map_err(|error| Refusal::from(errors::of_read(&error)))?;
        }
        partition.append_produced(&records, version, shard.ring.wall_ms())
    }))
}

/// Whether the batch names a producer id, looked up where the header has it; a batch too short to say is refused later.
fn carries_producer(records: &[u8]) -> bool {
    const PRODUCER_ID: std::ops::Range<usize> = 43..51;
    records
        .get(PRODUCER_ID)
        .is_some_and(|id| id.first().is_some_and(|high| high & 0x80 == 0))
}

/// Sends batches to their cores, in order, and lets the reply follow when all are flushed.
async fn send_away(
    shard: &Rc<Shard>,
    mut pending: Box<PendingProduce>,
    acks: i16,
    away: Vec<(usize, Vec<Away>)>,
) -> Outcome {
    let version = pending.context.version;
    let mut calls = Vec::with_capacity(away.len());
    for (core, items) in away {
        calls.push(
            shard
                .call(core, move |there| {
                    append_and_flush(there, items, version, acks)
                })
                .await,
        );
    }
    let replies = pending.context.connection.replies.clone();
    let place = (acks != 0).then(|| replies.reserve());
    let shard = shard.clone();
    shard.ring.clone().spawn(async move {
        for call in calls {
            for (place, result) in call.await {
                pending.partitions[place].result = result;
            }
        }
        for produced in &pending.partitions {
            if let Ok(Appended {
                ticket: Some(ticket),
                ..
            }) = produced.result
            {
                // The outcome is looked up again when the reply is shaped.
                let _flushed = shard.store.wait(ticket).await;
            }
        }
        match place {
            Some(place) => {
                let mut out = Vec::new();
                let shaped = pending.finish(&shard.store, &mut out);
                debug_assert!(shaped, "every ticket was waited for");
                replies.fill(place, Reply::from(out));
            }
            None if pending
                .partitions
                .iter()
                .any(|produced| produced.result.is_err()) =>
            {
                replies.break_off();
            }
            None => {}
        }
    });
    Outcome::Answered
}

/// On the home core: appends in order and answers when flushed. All batches of one request have their places in the
/// order of their partitions when this returns, before the next request is looked at.
fn append_and_flush(
    there: Rc<Shard>,
    items: Vec<Away>,
    version: i16,
    acks: i16,
) -> impl Future<Output = Vec<(usize, Result<Appended, Refusal>)>> {
    let enter_away = |item: Away| {
        let home = there
            .topics
            .by_id(&item.topic_id)
            .map(|topic| topic.home(item.index));
        let entered = match home {
            Some(Home::Here(partition)) => enter(&there, &partition, item.records, version),
            _ => Entered::Done(Err(ErrorCode::NotLeaderOrFollower.into())),
        };
        (item.place, entered)
    };
    let entered: Vec<(usize, Entered<'static>)> = items.into_iter().map(enter_away).collect();
    flush(there, entered, acks)
}

async fn flush(
    there: Rc<Shard>,
    entered: Vec<(usize, Entered<'static>)>,
    acks: i16,
) -> Vec<(usize, Result<Appended, Refusal>)> {
    let mut results = Vec::with_capacity(entered.len());
    for (place, entered) in entered {
        results.push((
            place,
            match entered {
                Entered::Done(result) => result,
                Entered::Waits(result) => result.await,
            },
        ));
    }
    for (_, result) in &mut results {
        if let Ok(Appended { ticket, .. }) = result {
            let flushed = match ticket.take() {
                Some(ticket) if acks != 0 => there.store.wait(ticket).await,
                _ => Ok(()),
            };
            if flushed.is_err() {
                *result = Err(ErrorCode::KafkaStorageError.into());
            }
        }
    }
    results
}

/// The place in the order of replies, or none for acks=0.
fn answer(pending: Box<PendingProduce>, acks: i16) -> Outcome {
    if acks != 0 {
        let replies = pending.context.connection.replies.clone();
        replies.push_appended(pending);
        return Outcome::Answered;
    }
    match pending
        .partitions
        .iter()
        .find_map(|produced| produced.result.as_ref().err())
    {
        Some(refusal) => Outcome::Refused(refusal.code.name()),
        None => Outcome::Answered,
    }
}

impl PendingProduce {
    /// Appends the reply to `out` if everything it answers is flushed, or can never be.
    pub(crate) fn finish(&mut self, store: &Store, out: &mut Vec<u8>) -> bool {
        for produced in &mut self.partitions {
            if let Ok(Appended {
                ticket: ticket @ Some(_),
                ..
            }) = &mut produced.result
            {
                match ticket.map(|ticket| store.is_durable(ticket)) {
                    Some(Ok(false)) => return false,
                    Some(Err(_offline)) => {
                        produced.result = Err(ErrorCode::KafkaStorageError.into())
                    }
                    _ => *ticket = None,
                }
            }
        }
        let encoded = self.context.encode(&self.response());
        if out.is_empty() {
            // Replies seldom leave alone.
            out.reserve(8 * encoded.bytes.len());
        }
        out.extend_from_slice(&encoded.bytes);
        true
    }

    fn response(&self) -> ProduceResponse<'_> {
        let mut responses: Vec<TopicProduceResponse<'_>> = Vec::new();
        for (at, produced) in self.partitions.iter().enumerate() {
            if at == 0 || self.partitions[at - 1].topic != produced.topic {
                let (name, topic_id) = match &produced.topic {
                    TopicKey::Name(name) => (name.as_ref(), Uuid::ZERO),
                    TopicKey::Id(id) => ("", *id),
                };
                responses.push(TopicProduceResponse {
                    name: name.into(),
                    topic_id,
                    ..Default::default()
                });
            }
            if let Some(topic) = responses.last_mut() {
                topic.partition_responses.push(produced.response());
            }
        }
        ProduceResponse {
            responses,
            ..Default::default()
        }
    }
}

fn record_errors(refusal: &Refusal) -> Vec<BatchIndexAndErrorMessage<'_>> {
    let records = refusal.details.iter().flat_map(|details| &details.records);
    records
        .map(|(batch_index, message)| BatchIndexAndErrorMessage {
            batch_index: *batch_index,
            batch_index_error_message: Some(message.as_str().into()),
        })
        .collect()
}

impl Produced {
    fn response(&self) -> PartitionProduceResponse<'_> {
        match &self.result {
            Ok(appended) => PartitionProduceResponse {
                index: self.index,
                error_code: ErrorCode::None.code(),
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time,
                log_start_offset: appended.log_start_offset,
                ..Default::default()
            },
            Err(refusal) => PartitionProduceResponse {
                index: self.index,
                error_code: refusal.code.code(),
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: refusal.log_start_offset,
                record_errors: record_errors(refusal),
                error_message: refusal
                    .details
                    .as_ref()
                    .map(|details| details.message.as_str().into()),
                current_leader: LeaderIdAndEpoch::default(),
            },
        }
    }
}
