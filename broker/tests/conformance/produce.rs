//! Produce: what is taken, and what is said about the rest.

use millstream_protocol::batch::{BatchBuilder, BatchHeader, HEADER};
use millstream_protocol::compress::Codec;
use millstream_protocol::message::Records;
use millstream_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

use crate::sides::{NO_SUCH_ID, Side, Sides};
use crate::topics;

/// Of all records, so that they are the same in every run.
pub const TIME: i64 = 1_700_000_000_000;
/// As close to `TIME` as the broker's own clock never comes.
const FAR_FUTURE: i64 = 9_000_000_000_000;

/// One batch with a record for each value.
pub fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None, TIME);
    for (value, time) in values.iter().zip(TIME..) {
        builder.push(time, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.finish(0)
}

/// A request for one topic.
pub fn request(
    side: &Side,
    version: i16,
    topic: &'static str,
    partitions: &[(i32, Vec<u8>)],
) -> ProduceRequest<'static> {
    let partition_data = partitions
        .iter()
        .map(|(index, records)| PartitionProduceData {
            index: *index,
            records: Records::Borrowed(Vec::leak(records.clone())),
        });
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: if version < 13 {
                topic.into()
            } else {
                Default::default()
            },
            topic_id: if version < 13 {
                Default::default()
            } else {
                side.id(topic)
            },
            partition_data: partition_data.collect(),
        }],
        ..Default::default()
    }
}

fn settle(response: &mut ProduceResponse<'static>) {
    for topic in &mut response.responses {
        for partition in &mut topic.partition_responses {
            if partition.log_append_time_ms > 0 {
                partition.log_append_time_ms = 1;
            }
        }
        topic
            .partition_responses
            .sort_by_key(|partition| partition.index);
    }
    response
        .responses
        .sort_by(|a, b| a.name.cmp(&b.name).then(a.topic_id.0.cmp(&b.topic_id.0)));
}

/// A batch with one byte overwritten, its CRC as it was or right again.
fn altered(mut batch: Vec<u8>, at: usize, byte: u8, crc_right: bool) -> Vec<u8> {
    batch[at] = byte;
    if crc_right {
        let crc = BatchHeader::read(&batch)
            .expect("a whole header")
            .checksum(&batch[HEADER..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    batch
}

pub fn cases(sides: &mut Sides) {
    topics::create(
        sides,
        "appended",
        1,
        &[
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", "-1"),
        ],
    );
    topics::create(
        sides,
        "compacted",
        1,
        &[("cleanup.policy", "compact"), ("retention.ms", "-1")],
    );
    topics::create(
        sides,
        "small",
        1,
        &[("max.message.bytes", "100"), ("retention.ms", "-1")],
    );
    topics::create(
        sides,
        "recent",
        1,
        &[("message.timestamp.before.max.ms", "3600000")],
    );
    topics::create(sides, "refusing", 1, &[("retention.ms", "-1")]);
    taken(sides);
    refused(sides);
    several_partitions(sides);
    without_answer(sides);
    idempotent(sides);
}

fn taken(sides: &mut Sides) {
    let all = Sides::versions::<ProduceRequest<'_>>();
    let one = |side: &Side, version| request(side, version, "plain", &[(0, batch(&["a", "b"]))]);
    sides.case("a batch", all.clone(), one, settle);
    let acks_1 = |side: &Side, version| ProduceRequest {
        acks: 1,
        ..request(side, version, "plain", &[(0, batch(&["c"]))])
    };
    sides.case("acks=1", all.clone(), acks_1, settle);
    let appended =
        |side: &Side, version| request(side, version, "appended", &[(0, batch(&["a", "b"]))]);
    sides.case("LogAppendTime", all.clone(), appended, settle);
    let compacted =
        |side: &Side, version| request(side, version, "compacted", &[(0, batch(&["a", "b"]))]);
    sides.case("with keys", all.clone(), compacted, settle);
    let nothing = |side: &Side, version| ProduceRequest {
        topic_data: vec![],
        ..request(side, version, "plain", &[])
    };
    sides.case("no topics", all.clone(), nothing, settle);
    let no_partitions = |side: &Side, version| request(side, version, "plain", &[]);
    sides.case("no partitions", all, no_partitions, settle);
}

fn refused(sides: &mut Sides) {
    let all = Sides::versions::<ProduceRequest<'_>>();
    let of = |topic: &'static str, records: Vec<u8>| {
        move |side: &Side, version| request(side, version, topic, &[(0, records.clone())])
    };
    let acks_5 = |side: &Side, version| ProduceRequest {
        acks: 5,
        ..request(side, version, "plain", &[(0, batch(&["a"]))])
    };
    sides.case("acks=5", all.clone(), acks_5, settle);
    sides.case(
        "unknown topic",
        all.clone(),
        of("nowhere", batch(&["a"])),
        settle,
    );
    let far = |side: &Side, version| {
        request(
            side,
            version,
            "plain",
            &[(7, batch(&["a"])), (-1, batch(&["a"]))],
        )
    };
    sides.case("unknown partitions", all.clone(), far, settle);
    sides.case(
        "internal topic",
        all.clone(),
        of("__consumer_offsets", batch(&["a"])),
        settle,
    );
    sides.case("no records", all.clone(), of("refusing", vec![]), settle);
    let null = |side: &Side, version| {
        let mut request = request(side, version, "refusing", &[(0, vec![])]);
        request.topic_data[0].partition_data[0].records = Records::None;
        request
    };
    sides.case("null records", all.clone(), null, settle);
    let two = [batch(&["a"]), batch(&["b"])].concat();
    sides.case("two batches", all.clone(), of("refusing", two), settle);
    sides.case(
        "wrong CRC",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 70, 0xff, false)),
        settle,
    );
    sides.case(
        "magic 1",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 16, 1, false)),
        settle,
    );
    sides.case(
        "magic 3",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 16, 3, false)),
        settle,
    );
    sides.case(
        "cut short",
        all.clone(),
        of("refusing", batch(&["abcdef"])[..70].to_vec()),
        settle,
    );
    sides.case(
        "less than a header",
        all.clone(),
        of("refusing", batch(&["abcdef"])[..20].to_vec()),
        settle,
    );
    sides.case(
        "wrong count",
        all.clone(),
        of("refusing", altered(batch(&["a", "b"]), 60, 3, true)),
        settle,
    );
    sides.case(
        "wrong last offset",
        all.clone(),
        of("refusing", altered(batch(&["a", "b"]), 26, 5, true)),
        settle,
    );
    sides.case(
        "a base offset",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 7, 5, false)),
        settle,
    );
    sides.case(
        "bytes after the batch",
        all.clone(),
        of("refusing", [batch(&["a"]), vec![0; 5]].concat()),
        settle,
    );
    sides.case(
        "too large",
        all.clone(),
        of("small", batch(&[&"x".repeat(200)])),
        settle,
    );
    sides.case(
        "too old",
        all.clone(),
        of("recent", batch(&["a", "b"])),
        settle,
    );
    let mut future = BatchBuilder::new(Codec::None, TIME);
    future
        .push(TIME, Some(b"k"), Some(b"v"), &[])
        .push(FAR_FUTURE, Some(b"k"), Some(b"v"), &[]);
    sides.case(
        "from the future",
        all.clone(),
        of("refusing", future.finish(0)),
        settle,
    );
    let mut without_key = BatchBuilder::new(Codec::None, TIME);
    without_key
        .push(TIME, Some(b"k"), Some(b"v"), &[])
        .push(TIME, None, Some(b"v"), &[])
        .push(TIME, None, Some(b"v"), &[]);
    sides.case(
        "without key",
        all.clone(),
        of("compacted", without_key.clone().finish(0)),
        settle,
    );
    let mut control = BatchBuilder::new(Codec::None, TIME)
        .producer(1, 0, 0)
        .control();
    control.push(TIME, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]), &[]);
    sides.case(
        "control batch",
        all.clone(),
        of("refusing", control.finish(0)),
        settle,
    );
    let mut zstd = BatchBuilder::new(Codec::Zstd, TIME);
    zstd.push(TIME, Some(b"k"), Some(b"v"), &[]);
    sides.case("zstd", all.clone(), of("plain", zstd.finish(0)), settle);
    let mut append_time = batch(&["a"]);
    append_time = altered(append_time, 22, 0x08, true);
    sides.case(
        "says LogAppendTime",
        all.clone(),
        of("refusing", append_time),
        settle,
    );
    let mut transactional = BatchBuilder::new(Codec::None, TIME)
        .producer(1, 0, 0)
        .transactional();
    transactional.push(TIME, None, Some(b"v"), &[]);
    let transactional = transactional.finish(0);
    sides.case(
        "transactional batch",
        all.clone(),
        of("refusing", transactional.clone()),
        settle,
    );
    let in_transaction = move |side: &Side, version| ProduceRequest {
        transactional_id: Some("t".into()),
        ..request(side, version, "refusing", &[(0, transactional.clone())])
    };
    sides.case("in a transaction", all, in_transaction, settle);
}

fn several_partitions(sides: &mut Sides) {
    let all = Sides::versions::<ProduceRequest<'_>>();
    let mixed = |side: &Side, version| {
        let damaged = altered(batch(&["a"]), 70, 0xff, false);
        let mut request_ = request(
            side,
            version,
            "plain",
            &[(1, batch(&["a"])), (0, damaged), (9, batch(&["a"]))],
        );
        request_
            .topic_data
            .extend(request(side, version, "nowhere", &[(0, batch(&["a"]))]).topic_data);
        request_
            .topic_data
            .extend(request(side, version, "appended", &[(0, batch(&["a"]))]).topic_data);
        request_
    };
    sides.case("good beside bad", all.clone(), mixed, settle);
    let twice = |side: &Side, version| {
        request(
            side,
            version,
            "plain",
            &[(1, batch(&["a"])), (1, batch(&["b"]))],
        )
    };
    sides.case("one partition twice", all.clone(), twice, settle);
    let topic_twice = |side: &Side, version| {
        let mut twice = request(side, version, "plain", &[(1, batch(&["a"]))]);
        twice
            .topic_data
            .extend(request(side, version, "plain", &[(0, batch(&["b"]))]).topic_data);
        twice
    };
    sides.case("one topic twice", all, topic_twice, settle);
    let unknown = |side: &Side, version| {
        let mut request = request(side, version, "plain", &[(0, batch(&["a"]))]);
        request.topic_data[0].topic_id = NO_SUCH_ID;
        request
    };
    sides.case("good id, then unknown id", 13..=13, unknown, settle);
}

/// acks=0 is never answered: the answer that comes is the next request's. Refused, it ends the connection.
fn without_answer(sides: &mut Sides) {
    let versions = ApiVersionsRequest {
        client_software_name: "conformance".into(),
        client_software_version: "1".into(),
    };
    for version in Sides::versions::<ProduceRequest<'_>>() {
        for side in sides.both() {
            let silent = ProduceRequest {
                acks: 0,
                ..request(side, version, "plain", &[(1, batch(&["silent"]))])
            };
            side.send(version, &silent);
            let next: Result<ApiVersionsResponse<'_>, String> = side.ask(3, &versions);
            assert_eq!(next.expect("the next request is answered").error_code, 0);
            let refused = ProduceRequest {
                acks: 0,
                ..request(side, version, "plain", &[(70, batch(&["silent"]))])
            };
            side.send(version, &refused);
            let next: Result<ApiVersionsResponse<'_>, String> = side.receive(3);
            assert_eq!(next.map(|_| ()), Err("(closed)".to_owned()), "v{version}");
        }
    }
}

fn idempotent(sides: &mut Sides) {
    topics::create(sides, "sequenced", 1, &[("retention.ms", "-1")]);
    let mut ids = Vec::new();
    for side in sides.both() {
        let init: InitProducerIdResponse = side
            .ask(
                4,
                &InitProducerIdRequest {
                    transaction_timeout_ms: 60_000,
                    ..Default::default()
                },
            )
            .expect("an answer");
        ids.push((side.id("sequenced"), init.producer_id));
    }
    let sequenced = |epoch: i16, sequence: i32, count: usize| {
        let ids = ids.clone();
        move |side: &Side, version| {
            let (_, producer_id) = ids
                .iter()
                .find(|(topic, _)| *topic == side.id("sequenced"))
                .expect("both have one");
            let mut builder =
                BatchBuilder::new(Codec::None, TIME).producer(*producer_id, epoch, sequence);
            for _ in 0..count {
                builder.push(TIME, None, Some(b"v"), &[]);
            }
            request(side, version, "sequenced", &[(0, builder.finish(0))])
        }
    };
    for (name, epoch, sequence, count) in [
        ("sequence 0", 0, 0, 2),
        ("again sequence 0", 0, 0, 2),
        ("sequence 0 with another length", 0, 0, 1),
        ("sequence 2", 0, 2, 3),
        ("a gap", 0, 9, 1),
        ("a new epoch not at 0", 1, 5, 1),
        ("a new epoch", 1, 0, 1),
        ("the old epoch", 0, 5, 1),
    ] {
        // The first version of an outcome appends; in the others the batch is a duplicate.
        let all = Sides::versions::<ProduceRequest<'_>>();
        sides.case(name, all, sequenced(epoch, sequence, count), settle);
    }
    let no_sequence = |side: &Side, version| {
        let mut builder = BatchBuilder::new(Codec::None, TIME).producer(77, 0, -1);
        builder.push(TIME, None, Some(b"v"), &[]);
        request(side, version, "sequenced", &[(0, builder.finish(0))])
    };
    sides.case(
        "a producer id without sequence",
        Sides::versions::<ProduceRequest<'_>>(),
        no_sequence,
        settle,
    );
    let unknown = |side: &Side, version| {
        let mut builder = BatchBuilder::new(Codec::None, TIME).producer(4_000_000, 0, 5);
        builder.push(TIME, None, Some(b"v"), &[]);
        request(side, version, "sequenced", &[(0, builder.finish(0))])
    };
    sides.case(
        "an unknown producer in mid-stream",
        Sides::versions::<ProduceRequest<'_>>(),
        unknown,
        settle,
    );
}
