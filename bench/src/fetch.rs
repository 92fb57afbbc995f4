//! `fetch`: reads partitions from their start again and again, or waits at their end.
//!
//! One request in flight on each connection, for one partition; a connection takes its partitions in turn. Where the next
//! request starts follows from the batch headers of the answer; records are not looked at.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::Batches;
use millstream_protocol::frame;
use millstream_protocol::header;
use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use millstream_ring::{Buffer, Bytes, Ring, Socket};

use crate::Fault;
use crate::cluster::{self, Target, TopicOptions};
use crate::connection::CORRELATION;
use crate::load::{self, LoadOptions, Stop, Workload};
use crate::report::{self, Tally};

/// The last version with topic names.
const VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
const LATEST: i64 = -1;
/// Fields around the records of one partition.
const AROUND_RECORDS: usize = 4 << 10;
/// A first batch may exceed every limit (KIP-74); this is where we stop believing it.
const RESPONSE_MAX: usize = 256 << 20;
const RECEIVE_WINDOW: usize = 4 << 20;
const ERROR_PAUSE: Duration = Duration::from_millis(20);

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
    topics: TopicOptions,
    #[command(flatten)]
    load: LoadOptions,
    /// Where reading starts.
    #[arg(long, value_enum, default_value_t = From::Start)]
    from: From,
    /// Most bytes of one answer; a batch that is larger comes whole.
    #[arg(long, default_value_t = 1 << 20)]
    partition_max_bytes: usize,
    /// Least bytes of one answer, before --max-wait-ms is over.
    #[arg(long, default_value_t = 1)]
    min_bytes: i32,
    /// How long the broker may wait for --min-bytes.
    #[arg(long, default_value_t = 500)]
    max_wait_ms: i32,
}

/// What all connections share.
pub struct Plan {
    from: From,
    partition_max_bytes: usize,
    min_bytes: i32,
    max_wait_ms: i32,
}

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    i32::try_from(options.partition_max_bytes)?;
    let targets = cluster::prepare(&options.topics)?;
    let title = format!(
        "fetch {}: {} partitions, {} connections, at most {} bytes an answer, from {}",
        options.topics.bootstrap,
        targets.len(),
        options.load.connections,
        options.partition_max_bytes,
        if options.from == From::Start {
            "start"
        } else {
            "tail"
        },
    );
    let plan = Plan {
        from: options.from,
        partition_max_bytes: options.partition_max_bytes,
        min_bytes: options.min_bytes,
        max_wait_ms: options.max_wait_ms,
    };
    let measured = load::run(&options.load, &targets, &Workload::Fetch(Arc::new(plan)))?;
    report::publish(&title, &measured, options.load.json.as_deref())
}

/// Keeps one connection busy until `stop`.
pub async fn drive(
    ring: &Ring,
    socket: Socket,
    plan: &Plan,
    targets: &[Target],
    tally: &Rc<Tally>,
    stop: &Stop,
) -> Result<(), Fault> {
    socket.set_receive_buffer(RECEIVE_WINDOW)?;
    let mut link = Link {
        socket,
        correlation: 0,
        buffer: Buffer::with_capacity(plan.partition_max_bytes + AROUND_RECORDS),
    };
    let mut offsets = Vec::with_capacity(targets.len());
    for target in targets {
        offsets.push(match plan.from {
            From::Start => 0,
            From::Tail => link.end_offset(target).await?,
        });
    }
    for at in (0..targets.len()).cycle() {
        if stop.is_stopped() {
            break;
        }
        let request = cluster::request(
            ApiKey::Fetch,
            VERSION,
            &fetch_request(plan, &targets[at], offsets[at]),
        )?;
        let sent = Instant::now();
        let answer = link.call(ApiKey::Fetch, VERSION, request.bytes).await?;
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
    Ok(())
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

/// A connection with one request in flight.
struct Link {
    socket: Socket,
    correlation: i32,
    /// Used again for every answer, so that it stays in the cache.
    buffer: Buffer,
}

impl Link {
    /// Sends the request and returns its answer's frame, without the length.
    async fn call(
        &mut self,
        api: ApiKey,
        version: i16,
        mut request: Vec<u8>,
    ) -> Result<&[u8], Fault> {
        self.correlation = self.correlation.wrapping_add(1);
        request[CORRELATION..CORRELATION + 4].copy_from_slice(&self.correlation.to_be_bytes());
        self.socket.send(vec![Bytes::from(request)]).await?;
        self.receive_exactly(frame::PREFIX).await?;
        let prefix = *self.buffer.first_chunk().ok_or("no length")?;
        let length = frame::length(prefix, RESPONSE_MAX)?;
        if length > self.buffer.capacity() {
            self.buffer = Buffer::with_capacity(length);
        }
        self.receive_exactly(length).await?;
        let (correlation, _) = header::read_response(&self.buffer, api.row(), version)?;
        if correlation != self.correlation {
            return Err("an answer to another request".into());
        }
        Ok(&self.buffer)
    }

    /// Replaces the buffer's content by the next `length` bytes.
    async fn receive_exactly(&mut self, length: usize) -> Result<(), Fault> {
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::with_capacity(0));
        buffer.clear();
        let received;
        (received, self.buffer) = self.socket.recv_exact(buffer, length).await;
        Ok(received?)
    }

    async fn end_offset(&mut self, target: &Target) -> Result<i64, Fault> {
        let partition = ListOffsetsPartition {
            partition_index: target.partition,
            timestamp: LATEST,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic {
            name: (&*target.topic).into(),
            partitions: vec![partition],
        };
        let body = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            ..ListOffsetsRequest::default()
        };
        let request = cluster::request(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &body)?;
        let frame = self
            .call(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, request.bytes)
            .await?;
        let (_, mut body) =
            header::read_response(frame, ApiKey::ListOffsets.row(), LIST_OFFSETS_VERSION)?;
        let response = ListOffsetsResponse::read(&mut body, LIST_OFFSETS_VERSION)?;
        let partition = response
            .topics
            .first()
            .and_then(|topic| topic.partitions.first())
            .ok_or("no offset")?;
        match partition.error_code {
            0 => Ok(partition.offset),
            code => Err(format!(
                "ListOffsets {}-{}: {}",
                target.topic,
                target.partition,
                cluster::error_name(code)
            )
            .into()),
        }
    }
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
