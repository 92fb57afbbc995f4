//! One partition's reader, on a blocking connection of its own.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millstream_protocol::api::ApiKey;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::header;
use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::Course;
use super::checker::Checker;
use crate::Fault;
use crate::cluster;

/// The last version with topic names.
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
/// ListOffsets' timestamp for the log's end.
const LATEST: i64 = -1;
const FETCH_BYTES: i32 = 1 << 20;
const MAX_WAIT_MS: i32 = 200;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Where the partition ends now. A new partition's leader may need a moment before it knows that it is one.
pub fn end_offset(course: &Course) -> Result<i64, Fault> {
    let deadline = Instant::now() + course.patience;
    loop {
        match try_end_offset(course) {
            Err(fault) if Instant::now() > deadline => return Err(fault),
            Err(_) => std::thread::sleep(RETRY_PAUSE),
            known => return known,
        }
    }
}

fn try_end_offset(course: &Course) -> Result<i64, Fault> {
    let mut broker = connect(course)?;
    let partition = ListOffsetsPartition {
        partition_index: course.partition,
        timestamp: LATEST,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic {
        name: course.topic.as_str().into(),
        partitions: vec![partition],
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    };
    let (api, version) = (ApiKey::ListOffsets, LIST_OFFSETS_VERSION);
    let frame = cluster::call(&mut broker, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    let response = ListOffsetsResponse::read(&mut body, version)?;
    let topic = response.topics.first().ok_or("no offset")?;
    let partition = topic.partitions.first().ok_or("no offset")?;
    match partition.error_code {
        0 => Ok(partition.offset),
        code => Err(cluster::error_name(code).into()),
    }
}

/// Reads from `start` until all that is acknowledged in the end has come, or nothing comes for the course's patience.
pub fn run(course: &Course, start: i64) -> Result<Checker, Fault> {
    let mut checker = Checker::new(course.run, start);
    let mut offset = start;
    let mut progress = Instant::now();
    loop {
        // Both orders of these two lines matter: what is final is read after it is known to be final.
        let settled = course.settled.load(Ordering::Acquire);
        let acknowledged = course.acknowledged.load(Ordering::Acquire);
        if settled && checker.next() >= acknowledged {
            return Ok(checker.finish(acknowledged));
        }
        let before = offset;
        let lost = read(course, &mut checker, &mut offset);
        if offset > before {
            progress = Instant::now();
        } else if progress.elapsed() > course.patience {
            return match lost {
                // It answers, but does not have it.
                Ok(()) if settled => Ok(checker.finish(acknowledged)),
                Ok(()) => Err("no records for longer than --patience".into()),
                Err(fault) => Err(fault),
            };
        }
        if lost.is_err() {
            course.reconnects.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(RETRY_PAUSE);
        }
    }
}

fn connect(course: &Course) -> Result<TcpStream, Fault> {
    let leader = cluster::leader(&course.bootstrap, &course.topic, course.partition)?;
    cluster::connect(&leader.to_string())
}

/// Reads over one connection until nothing new comes.
fn read(course: &Course, checker: &mut Checker, offset: &mut i64) -> Result<(), Fault> {
    let mut broker = connect(course)?;
    loop {
        let partition = FetchPartition {
            partition: course.partition,
            fetch_offset: *offset,
            partition_max_bytes: FETCH_BYTES,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: course.topic.as_str().into(),
            partitions: vec![partition],
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let frame = cluster::call(&mut broker, ApiKey::Fetch, FETCH_VERSION, &request)?;
        let (_, mut body) = header::read_response(&frame, ApiKey::Fetch.row(), FETCH_VERSION)?;
        let response = FetchResponse::read(&mut body, FETCH_VERSION)?;
        let topic = response.responses.first().ok_or("an empty answer")?;
        let partition = topic.partitions.first().ok_or("an empty answer")?;
        if partition.error_code != ErrorCode::None.code() {
            return Err(cluster::error_name(partition.error_code).into());
        }
        match checker.take(partition.records.bytes(), *offset)? {
            Some(reached) => *offset = reached,
            None => return Ok(()),
        }
    }
}
