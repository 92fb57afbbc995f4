//! One reader: all its partitions in each Fetch, one Fetch at a time.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::{Batches, records};
use millstream_protocol::header;
use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use millstream_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use millstream_ring::{Ring, Socket};

use super::{Plan, READ_COMMITTED};
use crate::Fault;
use crate::clock;
use crate::cluster::{self, Target};
use crate::link::Link;
use crate::load::{Lane, Stop};
use crate::produce::payload::STAMP;
use crate::report::Tally;

/// The last version with topic names.
const VERSION: i16 = 12;
const OFFSET_COMMIT_VERSION: i16 = 8;
const ANSWER: usize = 64 << 10;
const RECEIVE_WINDOW: usize = 4 << 20;
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Reads until `stop`.
pub async fn read(
    ring: &Ring,
    socket: Socket,
    plan: &Plan,
    lane: &Lane,
    tally: &Rc<Tally>,
    stop: &Stop,
) -> Result<(), Fault> {
    socket.set_receive_buffer(RECEIVE_WINDOW)?;
    let mut link = Link::new(socket, ANSWER);
    let mut places = Places::new(&lane.targets);
    if !plan.catch_up {
        for at in 0..places.partitions.len() {
            places.partitions[at].offset = link.end_offset(&lane.targets[at]).await?;
        }
    }
    let mut committed = Instant::now();
    let mut commits = match plan.commits {
        Some(commits) => {
            let socket = Socket::connect(ring, commits.coordinator).await?;
            Some((commits.interval, Link::new(socket, ANSWER)))
        }
        None => None,
    };
    loop {
        let last = stop.is_stopped();
        let asked = Instant::now();
        let request = cluster::request(ApiKey::Fetch, VERSION, &places.request(plan))?;
        let frame = link.call(request.bytes).await?;
        let taken = places.take(frame, plan, asked, tally)?;
        // What was produced until the end is still read: an answer without records comes after all of it.
        if last && (plan.catch_up || taken == Taken::Nothing) {
            return Ok(());
        }
        if taken == Taken::Errors {
            ring.sleep(ERROR_PAUSE).await;
        }
        if let Some((interval, link)) = &mut commits
            && committed.elapsed() >= *interval
        {
            committed = Instant::now();
            let request = places.commit(plan);
            let version = OFFSET_COMMIT_VERSION;
            let request = cluster::request(ApiKey::OffsetCommit, version, &request)?;
            let frame = link.call(request.bytes).await?;
            count_failed_commits(frame, tally)?;
        }
    }
}

impl Plan {
    /// Whether records are there that a reader of what is committed does not get yet.
    fn waits_for_commit(&self, partition: &PartitionData<'_>) -> bool {
        self.isolation_level == READ_COMMITTED
            && partition.last_stable_offset < partition.high_watermark
    }
}

/// What an answer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Records,
    /// Nothing yet: a transaction is open.
    Open,
    Nothing,
    Errors,
}

/// Where a reader is in each of its partitions.
struct Places {
    partitions: Vec<Place>,
    index: HashMap<(Rc<str>, i32), usize>,
    scratch: Vec<u8>,
}

struct Place {
    topic: Rc<str>,
    partition: i32,
    offset: i64,
}

impl Places {
    fn new(targets: &[Target]) -> Places {
        let places = targets.iter().map(|target| Place {
            topic: Rc::from(&*target.topic),
            partition: target.partition,
            offset: 0,
        });
        let partitions: Vec<Place> = places.collect();
        let index = partitions.iter().enumerate();
        Places {
            index: index
                .map(|(at, place)| ((place.topic.clone(), place.partition), at))
                .collect(),
            partitions,
            scratch: Vec::new(),
        }
    }

    fn request(&self, plan: &Plan) -> FetchRequest<'_> {
        let topic = |places: &'_ [Place]| {
            let partitions = places.iter().map(|place| FetchPartition {
                partition: place.partition,
                fetch_offset: place.offset,
                partition_max_bytes: plan.partition_max_bytes,
                ..FetchPartition::default()
            });
            partitions.collect()
        };
        FetchRequest {
            max_wait_ms: plan.max_wait_ms,
            min_bytes: plan.min_bytes,
            max_bytes: plan.fetch_max_bytes,
            isolation_level: plan.isolation_level,
            topics: self
                .by_topic()
                .map(|places| FetchTopic {
                    topic: (&*places[0].topic).into(),
                    partitions: topic(places),
                    ..FetchTopic::default()
                })
                .collect(),
            ..FetchRequest::default()
        }
    }

    fn commit(&self, plan: &Plan) -> OffsetCommitRequest<'_> {
        let topics = self.by_topic().map(|places| {
            let partitions = places.iter().map(|place| OffsetCommitRequestPartition {
                partition_index: place.partition,
                committed_offset: place.offset,
                committed_metadata: Some("".into()),
                ..OffsetCommitRequestPartition::default()
            });
            OffsetCommitRequestTopic {
                name: (&*places[0].topic).into(),
                partitions: partitions.collect(),
                ..OffsetCommitRequestTopic::default()
            }
        });
        OffsetCommitRequest {
            group_id: plan.group.clone().into(),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        }
    }

    /// Targets come topic by topic.
    fn by_topic(&self) -> impl Iterator<Item = &[Place]> {
        self.partitions.chunk_by(|a, b| a.topic == b.topic)
    }

    /// Counts what an answer holds and moves on.
    fn take(
        &mut self,
        frame: &[u8],
        plan: &Plan,
        asked: Instant,
        tally: &Tally,
    ) -> Result<Taken, Fault> {
        let received = Instant::now();
        let (_, mut body) = header::read_response(frame, ApiKey::Fetch.row(), VERSION)?;
        let response = FetchResponse::read(&mut body, VERSION)?;
        if response.error_code != 0 {
            tally.failed(response.error_code);
            return Ok(Taken::Errors);
        }
        let mut taken = Taken::Nothing;
        for topic in &response.responses {
            let name: Rc<str> = Rc::from(&*topic.topic);
            for partition in &topic.partitions {
                let key = (name.clone(), partition.partition_index);
                let at = *self.index.get(&key).ok_or("a partition nobody asked for")?;
                if partition.error_code != 0 {
                    tally.failed(partition.error_code);
                    taken = Taken::Errors;
                    continue;
                }
                let bytes = partition.records.bytes();
                taken = match taken {
                    Taken::Nothing | Taken::Open if !bytes.is_empty() => Taken::Records,
                    Taken::Nothing if plan.waits_for_commit(partition) => Taken::Open,
                    other => other,
                };
                let mut offset = self.partitions[at].offset;
                for batch in Batches::new(bytes) {
                    let (header, batch) = batch?;
                    offset = header.next_offset();
                    let count = u64::try_from(header.record_count)?;
                    if plan.catch_up {
                        tally.done(asked, received, batch.len(), count);
                    } else if let Some(intended) = self.intended(batch, plan.run)? {
                        tally.done(intended, received, batch.len(), count);
                    }
                }
                if plan.catch_up && offset >= partition.high_watermark {
                    offset = partition.log_start_offset.max(0);
                }
                self.partitions[at].offset = offset;
            }
        }
        Ok(taken)
    }

    /// When the batch should have been sent, if it is of this run.
    fn intended(&mut self, batch: &[u8], run: u64) -> Result<Option<Instant>, Fault> {
        let first = records(batch, &mut self.scratch, batch.len())?
            .next()
            .transpose()?;
        let stamp = first.and_then(|record| record.value?.first_chunk::<STAMP>());
        let Some((of_run, at)) = stamp.and_then(|stamp| stamp.split_first_chunk::<8>()) else {
            return Ok(None);
        };
        if u64::from_be_bytes(*of_run) != run {
            return Ok(None);
        }
        let at = at.first_chunk().map(|at| u64::from_be_bytes(*at));
        Ok(at.and_then(clock::instant))
    }
}

fn count_failed_commits(frame: &[u8], tally: &Tally) -> Result<(), Fault> {
    let row = ApiKey::OffsetCommit.row();
    let (_, mut body) = header::read_response(frame, row, OFFSET_COMMIT_VERSION)?;
    let response = OffsetCommitResponse::read(&mut body, OFFSET_COMMIT_VERSION)?;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code != 0) {
        tally.failed(partition.error_code);
    }
    Ok(())
}
