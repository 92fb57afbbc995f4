//! `produce`: prebuilt batches, as many in flight as asked for.
//!
//! Built once: one batch, shared by all partitions, and for each partition the bytes of the request before and behind
//! it. Of a request only the correlation id is new. Small requests are copied together so that many go in one send;
//! large ones go as a gather list around the shared batch.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::{BatchBuilder, BatchHeader};
use millstream_protocol::compress::Codec;
use millstream_protocol::message::Records;
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_ring::{Buffer, Bytes, Ring, Socket};

use crate::Fault;
use crate::cluster::{self, Target, TopicOptions};
use crate::connection::{CORRELATION, Window, i16_at, i32_at, split_frame};
use crate::load::{self, LoadOptions, Stop, Workload};
use crate::report::{self, Tally};

/// The last version with topic names is 12; 9 is the first with compact lengths and served since Kafka 2.8.
const VERSION: i16 = 9;
/// The response before the error code: correlation id 4, tags 1, count 1, name length 1, name, count 1, index 4.
const ERROR_CODE_BEHIND_NAME: usize = 12;
/// A name of this length still has a one-byte length in the response.
const TOPIC_LEN_MAX: usize = 126;
/// Up to here a copy is cheaper than one more entry of a gather list.
const COPIED_MAX: usize = 16 << 10;
/// Bytes of one send.
const SEND_MAX: usize = 256 << 10;
const RECEIVE: usize = 64 << 10;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    load: LoadOptions,
    /// Bytes of a record's value; less where not even one such record fits the batch.
    #[arg(long, default_value_t = 1024)]
    record_size: usize,
    /// Bytes of a batch, header included, before compression: as many records as fit.
    #[arg(long, default_value_t = 16 << 10)]
    batch_size: usize,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none", value_parser = codec)]
    codec: Codec,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// -1 all, 1 leader, 0 none: then a request counts as done when it was sent.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    acks: i16,
}

fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| "none, gzip, snappy, lz4 or zstd expected".into())
}

/// What all connections share.
pub struct Plan {
    batch: Bytes,
    record_count: u64,
    acks: i16,
    in_flight: usize,
}

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    if options.in_flight == 0 {
        return Err("--in-flight must be at least 1".into());
    }
    let targets = cluster::prepare(&options.topics)?;
    if targets
        .iter()
        .any(|target| target.topic.len() > TOPIC_LEN_MAX)
    {
        return Err(format!("topic names must have at most {TOPIC_LEN_MAX} bytes").into());
    }
    let batch = build_batch(options)?;
    let header = BatchHeader::read(&batch)?;
    let title = format!(
        "produce {}: {} partitions, {} connections x {} in flight, acks {}, batches of {} bytes with {} records, {}",
        options.topics.bootstrap,
        targets.len(),
        options.load.connections,
        options.in_flight,
        options.acks,
        batch.len(),
        header.record_count,
        options.codec.name(),
    );
    let plan = Plan {
        batch: Bytes::from(batch),
        record_count: u64::try_from(header.record_count)?,
        acks: options.acks,
        in_flight: options.in_flight,
    };
    let measured = load::run(&options.load, &targets, &Workload::Produce(Arc::new(plan)))?;
    report::publish(&title, &measured, options.load.json.as_deref())
}

fn build_batch(options: &Options) -> Result<Vec<u8>, Fault> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    // Bytes that a disk or codec cannot make smaller than they are.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut value = vec![0u8; options.record_size];
    for byte in &mut value {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    let mut builder = BatchBuilder::new(options.codec, now);
    loop {
        let mut longer = builder.clone();
        longer.push(now, None, Some(&value), &[]);
        if longer.size() > options.batch_size {
            break;
        }
        // Records are alike: from the second on, the room left says how many follow.
        let record = (longer.size() - builder.size()).max(1);
        builder = longer;
        let left = options.batch_size - builder.size();
        // Offset deltas grow by a byte or two; the loop finds the rest.
        for _ in 0..left / (record + 4) {
            builder.push(now, None, Some(&value), &[]);
        }
    }
    while builder.record_count() == 0 {
        let mut longer = builder.clone();
        longer.push(now, None, Some(&value), &[]);
        if longer.size() <= options.batch_size {
            builder = longer;
        } else if value.pop().is_none() {
            return Err(format!("no record fits a batch of {} bytes", options.batch_size).into());
        }
    }
    Ok(builder.finish(0))
}

/// A request around the batch: what stands before and behind it.
struct Envelope {
    head: Vec<u8>,
    tail: Bytes,
    error_code_at: usize,
}

impl Envelope {
    fn new(plan: &Plan, target: &Target) -> Result<Envelope, Fault> {
        let partition = PartitionProduceData {
            index: target.partition,
            records: Records::Gap(plan.batch.len()),
        };
        let topic = TopicProduceData {
            name: (&*target.topic).into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        let body = ProduceRequest {
            transactional_id: None,
            acks: plan.acks,
            timeout_ms: 30_000,
            topic_data: vec![topic],
        };
        let encoded = cluster::request(ApiKey::Produce, VERSION, &body)?;
        let gap = encoded
            .gaps
            .first()
            .ok_or("a Produce request without records")?;
        let (head, tail) = encoded.bytes.split_at(gap.position);
        Ok(Envelope {
            head: head.to_vec(),
            tail: Bytes::from(tail.to_vec()),
            error_code_at: ERROR_CODE_BEHIND_NAME + target.topic.len(),
        })
    }

    fn len(&self, batch: &Bytes) -> usize {
        self.head.len() + batch.len() + self.tail.len()
    }
}

/// Keeps one connection busy until `stop`.
pub async fn drive(
    ring: &Ring,
    socket: Socket,
    plan: &Arc<Plan>,
    targets: &[Target],
    tally: &Rc<Tally>,
    stop: &Stop,
) -> Result<(), Fault> {
    let mut envelopes = Vec::with_capacity(targets.len());
    for target in targets {
        envelopes.push(Envelope::new(plan, target)?);
    }
    let envelopes = Rc::new(envelopes);
    let window = Rc::new(Window::new(plan.in_flight));
    stop.watch(&window);
    if plan.acks == 0 {
        return send(&socket, plan, &envelopes, &window, Some(tally)).await;
    }
    let sender = (
        socket.clone(),
        plan.clone(),
        envelopes.clone(),
        window.clone(),
        tally.clone(),
    );
    ring.spawn(async move {
        let (socket, plan, envelopes, window, tally) = sender;
        if let Err(fault) = send(&socket, &plan, &envelopes, &window, None).await {
            tally.lost(&fault);
        }
        // The receiver may be waiting for an answer to nothing.
        if window.in_flight() == 0 {
            socket.shutdown();
        }
    });
    let received = receive(&socket, plan, &envelopes, &window, tally).await;
    window.stop();
    received
}

/// Sends requests while there is room in the window. With `unanswered` (acks=0) each counts when it was sent.
async fn send(
    socket: &Socket,
    plan: &Plan,
    envelopes: &[Envelope],
    window: &Window,
    unanswered: Option<&Tally>,
) -> Result<(), Fault> {
    let mut rotation = (0..envelopes.len()).cycle();
    let frame_max = envelopes
        .iter()
        .map(|envelope| envelope.len(&plan.batch))
        .max()
        .unwrap_or(0);
    loop {
        let room = window.room().await;
        if room == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut parts = Vec::new();
        let mut small = Small::new(frame_max, room);
        let mut bytes = 0;
        let mut count = 0;
        while count < room && (count == 0 || bytes < SEND_MAX) {
            let envelope = &envelopes[rotation.next().unwrap_or(0)];
            let length = envelope.len(&plan.batch);
            let correlation = window.sent(now);
            if length <= COPIED_MAX {
                small.add(envelope, &plan.batch, correlation);
            } else {
                let mut head = envelope.head.clone();
                patch(&mut head, correlation);
                parts.extend([Bytes::from(head), plan.batch.clone(), envelope.tail.clone()]);
            }
            bytes += length;
            count += 1;
        }
        parts.extend(small.finish());
        socket.send(parts).await?;
        if let Some(tally) = unanswered {
            let done = Instant::now();
            for _ in 0..count {
                window.answered(0);
                tally.done(now, done, plan.batch.len(), plan.record_count);
            }
        }
    }
}

fn patch(frame: &mut [u8], correlation: i32) {
    frame[CORRELATION..CORRELATION + 4].copy_from_slice(&correlation.to_be_bytes());
}

/// Small requests copied one behind the other.
struct Small {
    buffer: Option<Buffer>,
    capacity: usize,
}

impl Small {
    /// Room for as many of `count` requests as one send takes. Just that: buffers wait in every connection.
    fn new(frame_max: usize, count: usize) -> Small {
        Small {
            buffer: None,
            capacity: frame_max.saturating_mul(count).min(SEND_MAX + frame_max),
        }
    }

    fn add(&mut self, envelope: &Envelope, batch: &Bytes, correlation: i32) {
        let buffer = self
            .buffer
            .get_or_insert_with(|| Buffer::with_capacity(self.capacity));
        let start = buffer.len();
        buffer.extend_from_slice(&envelope.head);
        patch(&mut buffer[start..], correlation);
        buffer.extend_from_slice(batch);
        buffer.extend_from_slice(&envelope.tail);
    }

    fn finish(self) -> Option<Bytes> {
        self.buffer.map(Buffer::freeze)
    }
}

/// Reads answers: correlation id and error code at their known places, nothing else.
async fn receive(
    socket: &Socket,
    plan: &Plan,
    envelopes: &[Envelope],
    window: &Window,
    tally: &Tally,
) -> Result<(), Fault> {
    let mut buffer = Buffer::with_capacity(RECEIVE);
    let mut rotation = envelopes.iter().cycle();
    loop {
        if window.is_stopped() && window.in_flight() == 0 {
            return Ok(());
        }
        let received;
        (received, buffer) = socket.recv(buffer).await;
        if received? == 0 {
            return match window.in_flight() {
                0 => Ok(()),
                open => Err(
                    format!("the broker closed the connection with {open} requests open").into(),
                ),
            };
        }
        let now = Instant::now();
        let mut position = 0;
        while let Some((frame, length)) = split_frame(&buffer[position..]) {
            position += length;
            let sent = i32_at(frame, 0).and_then(|correlation| window.answered(correlation));
            let sent = sent.ok_or("an answer to another request")?;
            let envelope = rotation.next().ok_or("no partitions")?;
            match i16_at(frame, envelope.error_code_at).ok_or("an answer that is too short")? {
                0 => tally.done(sent, now, plan.batch.len(), plan.record_count),
                code => tally.failed(code),
            }
        }
        buffer.consume(position);
        if buffer.remaining() == 0 {
            return Err("an answer larger than any to one partition".into());
        }
        window.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use millstream_protocol::batch::verify_crc;
    use millstream_protocol::header;
    use millstream_protocol::messages::produce::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Cli::parse_from(line.split(' ')).options
    }

    fn envelope(topic: &str, batch: &[u8]) -> (Plan, Envelope) {
        let batch = Bytes::from(batch.to_vec());
        let plan = Plan {
            batch,
            record_count: 1,
            acks: -1,
            in_flight: 1,
        };
        let leader = ([127, 0, 0, 1], 9092).into();
        let target = Target {
            topic: topic.into(),
            partition: 300,
            leader,
        };
        let envelope = Envelope::new(&plan, &target).unwrap();
        (plan, envelope)
    }

    #[test]
    fn batches_fill_the_size_asked_for() {
        for (line, size, record) in [
            ("b --batch-size 1024", 1024, 1024),
            ("b --batch-size 16384 --record-size 100", 16384, 100),
            ("b --batch-size 1048000 --record-size 1024", 1_048_000, 1024),
        ] {
            let batch = build_batch(&options(line)).unwrap();
            assert!(verify_crc(&batch));
            // What is left would not have held one more record.
            assert!(
                batch.len() <= size && batch.len() + record + 16 > size,
                "{line}: {}",
                batch.len()
            );
        }
        assert!(build_batch(&options("b --batch-size 61")).is_err());
    }

    #[test]
    fn a_request_is_what_the_broker_reads() {
        let (plan, envelope) = envelope("some-topic", b"the batch");
        let mut small = Small::new(envelope.len(&plan.batch), 2);
        small.add(&envelope, &plan.batch, 7);
        small.add(&envelope, &plan.batch, 8);
        let sent = small.finish().unwrap();
        let (first, length) = split_frame(&sent).unwrap();
        let (second, rest) = split_frame(&sent[length..]).unwrap();
        assert_eq!(length + rest, sent.len());
        for (frame, correlation) in [(first, 7), (second, 8)] {
            let (header, mut body) = header::read(frame).unwrap();
            assert_eq!((header.api_key, header.correlation_id), (0, correlation));
            let request = ProduceRequest::read(&mut body, VERSION).unwrap();
            let partition = &request.topic_data[0].partition_data[0];
            assert_eq!(
                (partition.index, partition.records.bytes()),
                (300, &b"the batch"[..])
            );
        }
    }

    #[test]
    fn the_error_code_stands_where_we_look_for_it() {
        for topic in ["t", &"long".repeat(31)] {
            let (_, envelope) = envelope(topic, b"x");
            let partition = PartitionProduceResponse {
                index: 300,
                error_code: 6,
                ..Default::default()
            };
            let response = ProduceResponse {
                responses: vec![TopicProduceResponse {
                    name: topic.into(),
                    partition_responses: vec![partition],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let mut writer = millstream_protocol::wire::Writer::new();
            header::write_response_header(&mut writer, ApiKey::Produce.row(), VERSION, 9);
            response.write(&mut writer, VERSION);
            let frame = writer.finish().unwrap().bytes;
            assert_eq!(i32_at(&frame, 0), Some(9));
            assert_eq!(i16_at(&frame, envelope.error_code_at), Some(6), "{topic}");
        }
    }

    #[test]
    fn answers_must_come_in_order() {
        let window = Window::new(2);
        let now = Instant::now();
        let (first, second) = (window.sent(now), window.sent(now + Duration::from_secs(1)));
        assert_eq!(window.in_flight(), 2);
        assert_eq!(window.answered(first), Some(now));
        assert_eq!(window.answered(second + 1), None);
    }
}
