//! What every produce request costs before it is stored: reading its frame, and checking its batch.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::{
    BatchBuilder, Batches, ProduceRules, verify_crc, verify_produced,
};
use millstream_protocol::compress::Codec;
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::Records;
use millstream_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};

const VERSION: i16 = 9;

fn batch(bytes: usize, record: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    let value = vec![b'x'; record];
    while builder.record_count() == 0 || builder.size() + record < bytes {
        builder.push(0, None, Some(&value), &[]);
    }
    builder.finish(0)
}

fn request(batch: &[u8]) -> Vec<u8> {
    let mut writer = frame::open(batch.len() + 128);
    let head = RequestHeader {
        api_key: ApiKey::Produce as i16,
        api_version: VERSION,
        correlation_id: 1,
        client_id: Some("a client".into()),
    };
    header::write(&mut writer, &head, ApiKey::Produce.row());
    let partition = PartitionProduceData {
        index: 3,
        records: Records::Borrowed(batch),
    };
    let topic = TopicProduceData {
        name: "a-topic-name".into(),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    let body = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    body.write(&mut writer, VERSION);
    frame::close(writer).expect("a legal request").bytes
}

fn frames(criterion: &mut Criterion) {
    let frame = request(&batch(1024, 900));
    criterion.bench_function("decode a Produce request of 1 KiB", |bench| {
        bench.iter(|| {
            let (head, mut body) = header::read(black_box(&frame[4..])).expect("a legal request");
            let request = ProduceRequest::read(&mut body, head.api_version).expect("a legal body");
            black_box(request.topic_data.len())
        });
    });
    criterion.bench_function("encode a Produce response", |bench| {
        bench.iter(|| {
            let mut writer = frame::open(128);
            header::write_response_header(&mut writer, ApiKey::Produce.row(), VERSION, 1);
            let partition = PartitionProduceResponse {
                index: 3,
                base_offset: 77,
                ..PartitionProduceResponse::default()
            };
            let topic = TopicProduceResponse {
                name: "a-topic-name".into(),
                partition_responses: vec![partition],
                ..TopicProduceResponse::default()
            };
            let response = ProduceResponse {
                responses: vec![topic],
                ..ProduceResponse::default()
            };
            response.write(&mut writer, VERSION);
            frame::close(writer).expect("a legal response")
        });
    });
}

fn batches(criterion: &mut Criterion) {
    let rules = ProduceRules::default();
    for (name, bytes, record) in [
        ("1 KiB, one record", 1024, 900),
        ("64 KiB, records of 1 KiB", 64 << 10, 1024),
        ("1 MiB, records of 1 KiB", 1_000_000, 1024),
        ("64 KiB, records of 100 bytes", 64 << 10, 100),
    ] {
        let batch = batch(bytes, record);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function("verify a produced batch", |bench| {
            bench.iter(|| verify_produced(black_box(&batch), &rules).expect("a legal batch"));
        });
        group.bench_function("its checksum alone", |bench| {
            bench.iter(|| assert!(verify_crc(black_box(&batch))));
        });
        group.finish();
    }
    let log = batch(1024, 900).repeat(1000);
    criterion.bench_function("step over 1,000 batches", |bench| {
        bench.iter_batched(
            || Batches::new(black_box(&log)),
            |batches| assert_eq!(batches.filter(Result::is_ok).count(), 1000),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(hot, frames, batches);
criterion_main!(hot);
