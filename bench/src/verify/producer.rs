//! One partition's idempotent producer, on a blocking connection of its own.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_protocol::api::ApiKey;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::header;
use millstream_protocol::message::Records;
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

use super::{Course, checker};
use crate::Fault;
use crate::cluster::{self, ProducerId};
use crate::produce::request::VERSION;

const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A batch that is not acknowledged.
struct Open {
    first: u64,
    count: u32,
    bytes: Vec<u8>,
}

/// Why a connection is given up.
enum Lost {
    /// Try again on a new one: the broker is away, or asked for it.
    Retry(Fault),
    /// The broker refused what it must take.
    Refused(Fault),
}

impl<E: Into<Fault>> From<E> for Lost {
    fn from(fault: E) -> Lost {
        Lost::Retry(fault.into())
    }
}

/// Produces until `stop`, then until all is acknowledged. `start`: the offset of record 0.
pub fn run(course: &Course, start: i64) -> Result<(), Fault> {
    let producer = cluster::producer_ids(&course.bootstrap, 1)?;
    let mut producer = Producer {
        course,
        id: producer[0],
        start,
        next: 0,
        open: VecDeque::new(),
        due: Instant::now(),
    };
    let mut progress = Instant::now();
    loop {
        let before = course.acknowledged.load(Ordering::Acquire);
        match producer.connection() {
            Ok(()) => return Ok(()),
            Err(Lost::Refused(fault)) => return Err(fault),
            Err(Lost::Retry(fault)) => {
                if course.acknowledged.load(Ordering::Acquire) > before {
                    progress = Instant::now();
                }
                if progress.elapsed() > course.patience {
                    let seconds = course.patience.as_secs();
                    return Err(
                        format!("nothing acknowledged for {seconds} s, last: {fault}").into(),
                    );
                }
            }
        }
        course.reconnects.fetch_add(1, Ordering::AcqRel);
        std::thread::sleep(RETRY_PAUSE);
    }
}

struct Producer<'a> {
    course: &'a Course,
    id: ProducerId,
    start: i64,
    /// Number of the next record.
    next: u64,
    open: VecDeque<Open>,
    due: Instant,
}

impl Producer<'_> {
    /// Produces over one connection to its end; all that was open before goes first.
    fn connection(&mut self) -> Result<(), Lost> {
        let course = self.course;
        let leader = cluster::leader(&course.bootstrap, &course.topic, course.partition)?;
        let mut broker = cluster::connect(&leader.to_string())?;
        let mut sent = 0;
        loop {
            while sent < self.open.len() {
                self.send(&mut broker, sent)?;
                sent += 1;
            }
            let stopped = course.stop.load(Ordering::Acquire);
            if !stopped && self.open.len() < course.in_flight && Instant::now() >= self.due {
                self.make()?;
                continue;
            }
            if !self.open.is_empty() {
                self.acknowledge(&mut broker)?;
                sent -= 1;
            } else if stopped {
                return Ok(());
            } else {
                std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// The next batch. After a stall the schedule starts anew: this is no load.
    fn make(&mut self) -> Result<(), Lost> {
        let course = self.course;
        self.due = self.due.max(Instant::now() - course.interval) + course.interval;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        // Sequence numbers go around from 2³¹ − 1 to 0.
        let sequence = i32::try_from(self.next & 0x7fff_ffff)?;
        let producer = (self.id.id, self.id.epoch, sequence);
        self.open.push_back(Open {
            first: self.next,
            count: course.batch_records,
            bytes: checker::batch(
                course.run,
                self.next,
                course.batch_records,
                course.record_size,
                now,
                producer,
            ),
        });
        self.next += u64::from(course.batch_records);
        Ok(())
    }

    fn send(&self, broker: &mut std::net::TcpStream, at: usize) -> Result<(), Lost> {
        let partition = PartitionProduceData {
            index: self.course.partition,
            records: Records::Borrowed(&self.open[at].bytes),
        };
        let topic = TopicProduceData {
            name: self.course.topic.as_str().into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        Ok(cluster::send(broker, ApiKey::Produce, VERSION, &request)?)
    }

    /// The answer to the oldest batch.
    fn acknowledge(&mut self, broker: &mut std::net::TcpStream) -> Result<(), Lost> {
        let frame = cluster::receive(broker, ApiKey::Produce)?;
        let (_, mut body) = header::read_response(&frame, ApiKey::Produce.row(), VERSION)?;
        let response = ProduceResponse::read(&mut body, VERSION)?;
        let topic = response.responses.first().ok_or("an empty answer")?;
        let partition = topic.partition_responses.first().ok_or("an empty answer")?;
        let open = self.open.front().ok_or("an answer to nothing")?;
        let code = partition.error_code;
        match ErrorCode::from_code(code) {
            // A duplicate is acknowledged without its offset when it is older than the broker remembers.
            Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber) => {}
            // Behind a batch that failed; all are sent again.
            Some(ErrorCode::OutOfOrderSequenceNumber) => {
                return Err("a batch before it failed".into());
            }
            Some(known) if known.retriable() => return Err(known.name().into()),
            _ => {
                let name = cluster::error_name(code);
                let refused = format!("record {} was refused: {name}", open.first);
                return Err(Lost::Refused(refused.into()));
            }
        }
        let expected = self.start + i64::try_from(open.first)?;
        if code == 0 && partition.base_offset != expected {
            let moved = format!(
                "record {} was acknowledged at offset {} instead of {expected}",
                open.first, partition.base_offset
            );
            return Err(Lost::Refused(moved.into()));
        }
        let acknowledged = open.first + u64::from(open.count);
        self.course
            .acknowledged
            .store(acknowledged, Ordering::Release);
        self.open.pop_front();
        Ok(())
    }
}
