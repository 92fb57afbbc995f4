//! Kafka's protocol spoken by hand, for what no well-behaved client does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use millstream_protocol::api::{self, ApiRow};
use millstream_protocol::batch::{self, BatchBuilder, Batches};
use millstream_protocol::compress::Codec;
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::definition::Kind;
use millstream_protocol::message::{Message, Records};
use millstream_protocol::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use millstream_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use rustix::net;

/// Far above what any answer takes: a busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);
/// Versions with names instead of ids.
pub const PRODUCE: i16 = 9;
pub const FETCH: i16 = 12;

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    next: i32,
}

impl Wire {
    pub fn connect(port: u16) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker listens");
        Wire::over(stream)
    }

    /// From an address of its own: one address has no more than some 14,000 quick connections a minute to give, and the
    /// kernel looks at all of them before it says so.
    pub fn connect_from(address: Ipv4Addr, port: u16) -> Wire {
        let kind = net::SocketType::STREAM;
        let socket = net::socket(net::AddressFamily::INET, kind, None).expect("a socket");
        net::bind(&socket, &SocketAddrV4::new(address, 0)).expect("all of 127/8 is here");
        let broker = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        net::connect(&socket, &broker).expect("the broker listens");
        Wire::over(socket.into())
    }

    pub fn over(stream: TcpStream) -> Wire {
        let timeout = stream.set_read_timeout(Some(PATIENCE));
        timeout.expect("a timeout can be set");
        stream.set_nodelay(true).expect("it is a TCP connection");
        Wire { stream, next: 1 }
    }

    /// Sends bytes as they are. What becomes of the connection shows when something is read.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a request and returns its correlation id.
    pub fn send<'q, Q: Message<'q>>(&mut self, version: i16, request: &Q) -> i32 {
        let id = self.next;
        self.next += 1;
        let bytes = request_frame(version, request, id);
        self.stream.write_all(&bytes).expect("the broker reads");
        id
    }

    /// The next frame; `None` when the broker has closed the connection.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; frame::PREFIX];
        match self.stream.read_exact(&mut prefix) {
            Ok(()) => {}
            Err(error) => match error.kind() {
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted => return None,
                _ => panic!("neither an answer nor the end: {error}"),
            },
        }
        let len = frame::length(prefix, 1 << 30).expect("a broker's frame has a length");
        let mut bytes = vec![0; len];
        self.stream
            .read_exact(&mut bytes)
            .expect("a frame is whole");
        Some(bytes)
    }

    /// The answer to the request with this correlation id, which has to be the next.
    pub fn receive<R: Message<'static>>(&mut self, version: i16, id: i32) -> R {
        let bytes = self.frame().expect("an answer");
        answer(bytes, version, id)
    }

    pub fn ask<'q, Q: Message<'q>, R: Message<'static>>(&mut self, version: i16, request: &Q) -> R {
        let id = self.send(version, request);
        self.receive(version, id)
    }

    /// True when the broker closed the connection without another word.
    pub fn is_closed(&mut self) -> bool {
        self.frame().is_none()
    }

    /// A topic with so many partitions.
    pub fn create(&mut self, name: &'static str, num_partitions: i32) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let response: CreateTopicsResponse = self.ask(5, &request);
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    /// Produces one batch and returns what is said of it.
    pub fn produce(
        &mut self,
        topic: &'static str,
        partition: i32,
        records: Vec<u8>,
    ) -> PartitionProduceResponse<'static> {
        let request = produce_request(topic, partition, records, -1);
        let mut response: ProduceResponse = self.ask(PRODUCE, &request);
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// All values of a partition from an offset to its end, with their offsets.
    pub fn values(
        &mut self,
        topic: &'static str,
        partition: i32,
        from: i64,
    ) -> Vec<(i64, Vec<u8>)> {
        let mut values = Vec::new();
        let mut offset = from;
        loop {
            let request = fetch_request(topic, partition, offset, 0);
            let mut response: FetchResponse = self.ask(FETCH, &request);
            let data = response.responses.remove(0).partitions.remove(0);
            assert_eq!(data.error_code, 0, "{topic}-{partition} at {offset}");
            let records = data.records.bytes();
            if records.is_empty() {
                assert_eq!(offset, data.high_watermark, "all of it was read");
                return values;
            }
            for batch in Batches::new(records) {
                let (header, bytes) = batch.expect("whole batches");
                let mut scratch = Vec::new();
                let records = batch::records(bytes, &mut scratch, 64 << 20);
                for record in records.expect("records can be unpacked") {
                    let record = record.expect("records can be read");
                    if record.offset >= from && !header.is_control() {
                        let value = record.value.unwrap_or_default();
                        values.push((record.offset, value.to_vec()));
                    }
                }
                offset = header.next_offset();
            }
        }
    }
}

/// The response in a frame.
pub fn answer<R: Message<'static>>(frame: Vec<u8>, version: i16, id: i32) -> R {
    // The few thousand answers of one test run; one that borrows from nothing else is far easier to handle.
    let bytes: &'static [u8] = Vec::leak(frame);
    let (found, mut body) =
        header::read_response(bytes, row::<R>(), version).expect("a response header");
    assert_eq!(found, id, "answers come in order");
    R::read(&mut body, version).expect("an answer that parses")
}

/// A request's bytes, length and header included.
pub fn request_frame<'q, Q: Message<'q>>(version: i16, request: &Q, id: i32) -> Vec<u8> {
    request_frame_of("hostile", version, request, id)
}

/// The same from a client of this name.
pub fn request_frame_of<'q, Q: Message<'q>>(
    client: &str,
    version: i16,
    request: &Q,
    id: i32,
) -> Vec<u8> {
    let row = row::<Q>();
    let header = RequestHeader {
        api_key: row.key as i16,
        api_version: version,
        correlation_id: id,
        client_id: Some(client.into()),
    };
    let mut writer = frame::open(256);
    header::write(&mut writer, &header, row);
    request.write(&mut writer, version);
    frame::close(writer).expect("a request we can write").bytes
}

/// One batch with one record for each value.
pub fn batch(values: &[&[u8]]) -> Vec<u8> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let now = now.expect("the clock is past 1970").as_millis() as i64;
    let mut builder = BatchBuilder::new(Codec::None, now);
    for value in values {
        builder.push(now, None, Some(value), &[]);
    }
    builder.finish(0)
}

pub fn produce_request(
    topic: &'static str,
    index: i32,
    records: Vec<u8>,
    acks: i16,
) -> ProduceRequest<'static> {
    let records = Records::Borrowed(Vec::leak(records));
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index, records }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub fn fetch_request(
    topic: &'static str,
    partition: i32,
    fetch_offset: i64,
    max_wait_ms: i32,
) -> FetchRequest<'static> {
    let partition = FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 64 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 64 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The row of the API a message belongs to.
fn row<'m, M: Message<'m>>() -> &'static ApiRow {
    match M::DEFINITION.kind {
        Kind::Request(key) | Kind::Response(key) => api::row(key).expect("it is served"),
        _ => unreachable!("requests and responses only"),
    }
}
