//! Produce (0): one batch per partition, answered when it is flushed.
//!
//! v0–v2 are advertised for old clients' sake and refused, as Kafka does (KAFKA-18659) · v8 carries record errors and a
//! message · v10 the current leader on NOT_LEADER_OR_FOLLOWER · v13 topic ids instead of names.
//!
//! `begin` puts every batch into its log, on whatever core it lives, before the connection's next request is read; so
//! order holds while acknowledgements overlap. `finish` shapes the reply once everything is flushed.

use std::ops::Deref;
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
use millstream_storage::{Held, Store};

use crate::api::{BadRequest, Outcome, RequestContext, errors};
use crate::handover::HandedBatch;
use crate::net::warnings::Kind;
use crate::partition::Partition;
use crate::partition::append::Appended;
use crate::partition::refusal::Refusal;
use crate::shard::Shard;
use crate::topics::Home;

/// A Produce whose batches are in their logs.
pub(crate) struct PendingProduce {
    context: RequestContext,
    partitions: Vec<Produced>,
    /// Cores that have not answered yet.
    cores_left: usize,
}

/// How far a Produce is.
pub(crate) enum Progress {
    /// Its reply is written.
    Answered,
    /// A batch of this core is not flushed.
    Unflushed,
    /// Another core has not answered.
    Away,
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

/// Takes the batches of one request. Returns with all of them appended or refused, or on their way to their cores in
/// order; the reply has its place.
pub(crate) async fn begin(
    mut context: RequestContext,
    frame: &Bytes,
    mut body: Reader<'_>,
) -> Result<Outcome, BadRequest> {
    let shard = context.shard.clone();
    let request = context.decode(ProduceRequest::read(&mut body, context.version))?;
    let acks = request.acks;
    let mut away: Vec<(usize, Vec<HandedBatch>)> = Vec::new();
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
                        match try_append(&shard, &partition, records, context.version) {
                            Some(result) => result,
                            None => {
                                // Boxed: it would otherwise sit in every idle connection.
                                let turn = take_turn(&shard, &partition, records, context.version);
                                Box::pin(turn).await
                            }
                        }
                    }
                    Home::Core(core) => {
                        let batch = HandedBatch {
                            place: partitions.len(),
                            topic_id: found.id,
                            index: data.index,
                            records: within(frame, records),
                            result: Err(ErrorCode::None.into()),
                        };
                        match away.iter_mut().find(|(there, _)| *there == core) {
                            Some((_, batches)) => batches.push(batch),
                            None => away.push((core, vec![batch])),
                        }
                        // Until that core answers.
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
    let replies = context.connection.replies.clone();
    let version = context.version;
    if away.is_empty() {
        // All of it was copied or refused.
        context.held = None;
    }
    context.connection.pulls.asked(match &away[..] {
        // Nothing with acks=0: batches on their way have the connection to complain by.
        [(core, batches)] if batches.len() == partitions.len() && acks != 0 => Some(*core),
        _ => None,
    });
    let pending = Box::new(PendingProduce {
        context,
        partitions,
        cores_left: away.len(),
    });
    let refused = pending.refused_here();
    let place = match acks {
        0 => None,
        _ => replies.push_appended(pending),
    };
    for (core, batches) in away {
        shard
            .hand_over(core, replies.clone(), place, version, acks != 0, batches)
            .await;
    }
    // Sent with acks=0: the connection is all there is to say it by.
    Ok(match refused.filter(|_| acks == 0) {
        Some(code) => Outcome::Refused(code.name()),
        None => Outcome::Answered,
    })
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

/// Appends a batch at once; `None` if something stands in its way: then it has to [`take_turn`].
pub(crate) fn try_append(
    shard: &Shard,
    partition: &Partition,
    records: &[u8],
    version: i16,
) -> Option<Result<Appended, Refusal>> {
    let needs_producers = carries_producer(records) && !partition.has_producers();
    let at_once =
        partition.appends.is_free() && !needs_producers && shard.store.try_admit(records.len());
    at_once.then(|| append(shard, partition, records, version))
}

/// Appends a batch when there is memory and the producers' state is read. It has its turn when this returns: whoever comes
/// after it waits for it, polled or not.
pub(crate) fn take_turn<R: Deref<Target = [u8]>>(
    shard: &Rc<Shard>,
    partition: &Rc<Partition>,
    records: R,
    version: i16,
) -> impl Future<Output = Result<Appended, Refusal>> + use<R> {
    let turn = partition.appends.take();
    let (shard, partition) = (shard.clone(), partition.clone());
    async move {
        let _turn = turn.await;
        if !shard.store.try_admit(records.len()) {
            report_full(&shard);
            shard.store.admit(records.len()).await;
        }
        if carries_producer(&records) && !partition.has_producers() {
            partition
                .load_producers(shard.steady_ms())
                .await
                .map_err(|error| Refusal::from(errors::of_read(&error)))?;
        }
        append(&shard, &partition, &records, version)
    }
}

fn append(
    shard: &Shard,
    partition: &Partition,
    records: &[u8],
    version: i16,
) -> Result<Appended, Refusal> {
    let result = partition.append_produced(records, version, shard.moment());
    if result.is_ok() {
        shard.metrics().produced(records);
    }
    result
}

fn report_full(shard: &Shard) {
    shard.warnings.report(Kind::Memory, || {
        let Held { pinned, pinned_max, tail, tail_max } = shard.store.held();
        format!(
            "core {}: produce waits for memory of the logs: they hold {tail} of {tail_max} bytes (tail.memory.bytes), and \
             {pinned} of {pinned_max} that are not in their segments yet",
            shard.index
        )
    });
}

/// Whether the batch names a producer id, looked up where the header has it; a batch too short to say is refused later.
fn carries_producer(records: &[u8]) -> bool {
    const PRODUCER_ID: std::ops::Range<usize> = 43..51;
    records
        .get(PRODUCER_ID)
        .is_some_and(|id| id.first().is_some_and(|high| high & 0x80 == 0))
}

impl PendingProduce {
    /// The first batch that was refused on this core.
    fn refused_here(&self) -> Option<ErrorCode> {
        self.partitions
            .iter()
            .filter_map(|produced| produced.result.as_ref().err())
            .map(|refusal| refusal.code)
            .find(|code| *code != ErrorCode::None)
    }

    /// Another core has batches of it.
    pub(crate) fn is_away(&self) -> bool {
        self.cores_left > 0
    }

    /// What another core has done with its batches.
    pub(crate) fn fill_in(&mut self, batches: Vec<HandedBatch>) {
        self.cores_left -= 1;
        for batch in batches {
            self.partitions[batch.place].result = batch.result;
        }
    }

    /// Appends the reply to `out` if everything it answers is flushed, or can never be.
    pub(crate) fn finish(&mut self, store: &Store, out: &mut Vec<u8>) -> Progress {
        if self.is_away() {
            return Progress::Away;
        }
        for produced in &mut self.partitions {
            if let Ok(Appended {
                ticket: ticket @ Some(_),
                ..
            }) = &mut produced.result
            {
                match ticket.map(|ticket| store.is_durable(ticket)) {
                    Some(Ok(false)) => return Progress::Unflushed,
                    Some(Err(_offline)) => {
                        produced.result = Err(ErrorCode::KafkaStorageError.into())
                    }
                    _ => *ticket = None,
                }
            }
        }
        let refused = self
            .partitions
            .iter()
            .filter_map(|p| p.result.as_ref().err());
        let metrics = self.context.shard.metrics();
        refused.for_each(|refusal| metrics.produce_refused(refusal.code));
        let encoded = self.context.encode(&self.response());
        if out.is_empty() {
            // Replies seldom leave alone.
            out.reserve(8 * encoded.bytes.len());
        }
        out.extend_from_slice(&encoded.bytes);
        Progress::Answered
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
