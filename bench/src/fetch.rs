//! `fetch`: reads partitions from their start again and again, or waits at their end.
//!
//! One request in flight on each connection, for one partition; a connection takes its partitions in turn. Where the next
//! request starts follows from the batch headers of the answer; records are not looked at. With --rate requests are due
//! by a schedule, and latency counts from when each was due.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::Batches;
use millstream_protocol::header;
use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use millstream_ring::{Ring, Socket};

use crate::Fault;
use crate::cluster::{self, Target, TopicOptions};
use crate::link::Link;
use crate::load::{self, Lane, LoadOptions, Stop, Workload};
use crate::pace::Pace;
use crate::report::{self, Outcome, Tally};

/// The last version with topic names.
const VERSION: i16 = 12;
/// Fields around the records of one partition.
const AROUND_RECORDS: usize = 4 << 10;
const RECEIVE_WINDOW: usize = 4 << 20;
const ERROR_PAUSE: Duration = Duration::from_millis(20);
/// How often a connection that waits for its next request looks whether the time is over.
const LOOK: Duration = Duration::from_millis(100);

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// At the log's start, and there again after its end.
    Start,
    /// At the log's end, waiting for records.
    Tail,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub topics: TopicOptions,
    #[command(flatten)]
    pub load: LoadOptions,
    /// Where reading starts.
    #[arg(long, value_enum, default_value_t = From::Start)]
    pub from: From,
    /// Most bytes of one answer; a batch that is larger comes whole.
    #[arg(long, default_value_t = 1 << 20)]
    pub partition_max_bytes: usize,
    /// Least bytes of one answer, before --max-wait-ms is over.
    #[arg(long, default_value_t = 1)]
    pub min_bytes: i32,
    /// How long the broker may wait for --min-bytes.
    #[arg(long, default_value_t = 500)]
    pub max_wait_ms: i32,
    /// Open loop: requests a second over all connections, each sent when it is due or as soon as the one before it is
    /// answered; latency counts from when it was due. Without it a connection asks as soon as it has its answer.
    #[arg(long, value_name = "REQUESTS/S")]
    pub rate: Option<f64>,
}

/// What all connections share.
pub struct Plan {
    from: From,
    partition_max_bytes: usize,
    min_bytes: i32,
    max_wait_ms: i32,
    /// The time between two requests of one connection.
    interval: Option<Duration>,
}

impl Plan {
    /// Whether requests leave by schedule.
    pub fn is_open(&self) -> bool {
        self.interval.is_some()
    }
}

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    report::publish(&outcome(options)?, &options.load)
}

/// Runs the load.
pub fn outcome(options: &Options) -> Result<Outcome, Fault> {
    i32::try_from(options.partition_max_bytes)?;
    let targets = cluster::prepare(&options.topics)?;
    let title = format!(
        "fetch {}: {} partitions, {} connections, at most {} bytes an answer, from {}, {}",
        options.topics.bootstrap,
        targets.len(),
        options.load.connections,
        options.partition_max_bytes,
        if options.from == From::Start {
            "start"
        } else {
            "tail"
        },
        match options.rate {
            Some(rate) => format!("open loop of {rate} requests/s"),
            None => "closed loop".into(),
        },
    );
    let interval = options.rate.map(|rate| {
        Duration::try_from_secs_f64(options.load.connections as f64 / rate)
            .map_err(|_| format!("--rate {rate} is none"))
    });
    let plan = Plan {
        from: options.from,
        partition_max_bytes: options.partition_max_bytes,
        min_bytes: options.min_bytes,
        max_wait_ms: options.max_wait_ms,
        interval: interval.transpose()?,
    };
    let workload = Workload::Fetch(Arc::new(plan));
    let lanes = load::lanes(&targets, options.load.connections, &workload);
    let measured = load::run(&options.load, lanes, &["fetch"])?;
    Ok(report::outcome(&title, &measured))
}

/// Keeps one connection busy until `stop`.
pub async fn drive(
    ring: &Ring,
    socket: Socket,
    plan: &Plan,
    lane: &Lane,
    tally: &Rc<Tally>,
    stop: &Stop,
) -> Result<(), Fault> {
    socket.set_receive_buffer(RECEIVE_WINDOW)?;
    let mut link = Link::new(socket, plan.partition_max_bytes + AROUND_RECORDS);
    let targets = &lane.targets;
    let mut offsets = Vec::with_capacity(targets.len());
    for target in targets {
        offsets.push(match plan.from {
            From::Start => 0,
            From::Tail => link.end_offset(target).await?,
        });
    }
    // Connections begin one after another within the first interval.
    let mut pace = plan.interval.map(|interval| {
        let phase = interval.mul_f64(lane.at as f64 / lane.of.max(1) as f64);
        Pace::new(Instant::now() + phase, interval)
    });
    for at in (0..targets.len()).cycle() {
        let due = due(ring, pace.as_mut(), stop).await;
        if stop.is_stopped() {
            break;
        }
        let request = cluster::request(
            ApiKey::Fetch,
            VERSION,
            &fetch_request(plan, &targets[at], offsets[at]),
        )?;
        let sent = due.unwrap_or_else(Instant::now);
        let answer = link.call(request.bytes).await?;
        let received = Instant::now();
        let answer = read_answer(answer, plan.from, offsets[at])?;
        offsets[at] = answer.next_offset;
        match answer.error_code {
            0 if answer.bytes == 0 => {}
            0 => tally.done(sent, received, answer.bytes, answer.records),
            code => {
                tally.failed(code);
                ring.sleep(ERROR_PAUSE).await;
            }
        }
    }
    tally.behind(pace.map_or(0, |pace| pace.behind(Instant::now())));
    Ok(())
}

/// Waits until the next request is due, or the time is over. `None`: in a closed loop it is due now.
async fn due(ring: &Ring, pace: Option<&mut Pace>, stop: &Stop) -> Option<Instant> {
    let pace = pace?;
    loop {
        let now = Instant::now();
        if let Some(due) = pace.take(now) {
            return Some(due);
        }
        if stop.is_stopped() {
            return None;
        }
        let pause = pace.next().saturating_duration_since(now);
        ring.sleep(pause.min(LOOK)).await;
    }
}

fn fetch_request<'a>(plan: &Plan, target: &'a Target, fetch_offset: i64) -> FetchRequest<'a> {
    // `run` has checked that it is an i32.
    let partition_max_bytes = i32::try_from(plan.partition_max_bytes).unwrap_or(i32::MAX);
    let partition = FetchPartition {
        partition: target.partition,
        fetch_offset,
        partition_max_bytes,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: (&*target.topic).into(),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms: plan.max_wait_ms,
        min_bytes: plan.min_bytes,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

struct Answer {
    error_code: i16,
    bytes: usize,
    records: u64,
    next_offset: i64,
}

fn read_answer(frame: &[u8], from: From, offset: i64) -> Result<Answer, Fault> {
    let (_, mut body) = header::read_response(frame, ApiKey::Fetch.row(), VERSION)?;
    let response = FetchResponse::read(&mut body, VERSION)?;
    let partition = response
        .responses
        .first()
        .and_then(|topic| topic.partitions.first());
    let error_code = partition.map_or(0, |partition| partition.error_code);
    let error_code = if response.error_code != 0 {
        response.error_code
    } else {
        error_code
    };
    let partition = match partition {
        Some(partition) if error_code == 0 => partition,
        // OFFSET_OUT_OF_RANGE among others: the log start is told, where it is known.
        other => {
            let start = other.map_or(-1, |partition| partition.log_start_offset);
            return Ok(Answer {
                error_code,
                bytes: 0,
                records: 0,
                next_offset: if start >= 0 { start } else { offset },
            });
        }
    };
    let bytes = partition.records.bytes();
    let (mut records, mut next_offset) = (0, offset);
    for batch in Batches::new(bytes) {
        let (header, _) = batch?;
        records += u64::try_from(header.record_count)?;
        next_offset = header.next_offset();
    }
    // At the end a further request would only wait.
    if from == From::Start
        && next_offset >= partition.high_watermark
        && next_offset > partition.log_start_offset
    {
        next_offset = partition.log_start_offset.max(0);
    }
    Ok(Answer {
        error_code,
        bytes: bytes.len(),
        records,
        next_offset,
    })
}

#[cfg(test)]
mod tests {
    use millstream_protocol::batch::BatchBuilder;
    use millstream_protocol::compress::Codec;
    use millstream_protocol::message::Records;
    use millstream_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
    use millstream_protocol::wire::Writer;

    use super::*;

    fn answer(partition: PartitionData<'_>) -> Vec<u8> {
        let topic = FetchableTopicResponse {
            topic: "t".into(),
            partitions: vec![partition],
            ..FetchableTopicResponse::default()
        };
        let response = FetchResponse {
            responses: vec![topic],
            ..FetchResponse::default()
        };
        let mut writer = Writer::new();
        header::write_response_header(&mut writer, ApiKey::Fetch.row(), VERSION, 1);
        response.write(&mut writer, VERSION);
        writer.finish().unwrap().bytes
    }

    fn batches() -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None, 0);
        builder
            .push(0, None, Some(b"a"), &[])
            .push(0, None, Some(b"b"), &[]);
        [builder.clone().finish(10), builder.finish(12)].concat()
    }

    #[test]
    fn reading_goes_on_behind_the_last_whole_batch() {
        let bytes = batches();
        for (cut, next_offset, records) in [(0, 14, 4), (1, 12, 2), (bytes.len(), 10, 0)] {
            let records_bytes = Records::Borrowed(&bytes[..bytes.len() - cut]);
            let frame = answer(PartitionData {
                high_watermark: 100,
                records: records_bytes,
                ..PartitionData::default()
            });
            let read = read_answer(&frame, From::Start, 10).unwrap();
            assert_eq!(
                (read.next_offset, read.records),
                (next_offset, records),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn the_end_leads_to_the_start_or_is_waited_at() {
        let bytes = batches();
        let frame = answer(PartitionData {
            high_watermark: 14,
            log_start_offset: 4,
            records: Records::Borrowed(&bytes),
            ..PartitionData::default()
        });
        assert_eq!(read_answer(&frame, From::Start, 10).unwrap().next_offset, 4);
        assert_eq!(read_answer(&frame, From::Tail, 10).unwrap().next_offset, 14);
    }

    #[test]
    fn an_error_tells_where_the_log_starts() {
        let frame = answer(PartitionData {
            error_code: 1,
            log_start_offset: 30,
            ..PartitionData::default()
        });
        let read = read_answer(&frame, From::Start, 10).unwrap();
        assert_eq!((read.error_code, read.next_offset), (1, 30));
    }
}
