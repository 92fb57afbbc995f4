//! Produce: what is taken, and what is said about the rest.

use std::borrow::Cow;

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

use crate::peer::{NO_SUCH_ID, Peer};
use crate::topics;
use crate::transcript::Transcript;

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
    peer: &Peer,
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
                peer.id(topic)
            },
            partition_data: partition_data.collect(),
        }],
        ..Default::default()
    }
}

fn settle(peer: &Peer, response: &mut ProduceResponse<'static>) {
    for topic in &mut response.responses {
        for partition in &mut topic.partition_responses {
            for error in &mut partition.record_errors {
                error.batch_index_error_message =
                    error.batch_index_error_message.take().map(without_range);
            }
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
        .sort_by_key(|topic| (topic.name.clone(), peer.name_of(&topic.topic_id)));
}

/// The range of timestamps that are taken moves with the clock.
fn without_range(text: Cow<'static, str>) -> Cow<'static, str> {
    match text.split_once(" within [") {
        Some((said, _)) => format!("{said} within [..]").into(),
        None => text,
    }
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

pub fn cases(transcript: &mut Transcript) {
    topics::create(
        transcript,
        "appended",
        1,
        &[
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", "-1"),
        ],
    );
    topics::create(
        transcript,
        "compacted",
        1,
        &[("cleanup.policy", "compact"), ("retention.ms", "-1")],
    );
    topics::create(
        transcript,
        "small",
        1,
        &[("max.message.bytes", "100"), ("retention.ms", "-1")],
    );
    topics::create(
        transcript,
        "recent",
        1,
        &[("message.timestamp.before.max.ms", "3600000")],
    );
    topics::create(transcript, "refusing", 1, &[("retention.ms", "-1")]);
    topics::create(transcript, "lenient", 1, &[("retention.ms", "-1")]);
    topics::create(transcript, "repeated", 2, &[("retention.ms", "-1")]);
    taken(transcript);
    refused(transcript);
    several_partitions(transcript);
    without_answer(transcript);
    idempotent(transcript);
}

fn taken(transcript: &mut Transcript) {
    let all = Transcript::versions::<ProduceRequest<'_>>();
    let one = |peer: &Peer, version| request(peer, version, "plain", &[(0, batch(&["a", "b"]))]);
    transcript.case_of_peer("a batch", all.clone(), one, settle);
    let acks_1 = |peer: &Peer, version| ProduceRequest {
        acks: 1,
        ..request(peer, version, "plain", &[(0, batch(&["c"]))])
    };
    transcript.case_of_peer("acks=1", all.clone(), acks_1, settle);
    let appended =
        |peer: &Peer, version| request(peer, version, "appended", &[(0, batch(&["a", "b"]))]);
    transcript.case_of_peer("LogAppendTime", all.clone(), appended, settle);
    let compacted =
        |peer: &Peer, version| request(peer, version, "compacted", &[(0, batch(&["a", "b"]))]);
    transcript.case_of_peer("with keys", all.clone(), compacted, settle);
    let nothing = |peer: &Peer, version| ProduceRequest {
        topic_data: vec![],
        ..request(peer, version, "plain", &[])
    };
    transcript.case_of_peer("no topics", all.clone(), nothing, settle);
    let no_partitions = |peer: &Peer, version| request(peer, version, "plain", &[]);
    transcript.case_of_peer("no partitions", all, no_partitions, settle);
}

fn refused(transcript: &mut Transcript) {
    let all = Transcript::versions::<ProduceRequest<'_>>();
    let of = |topic: &'static str, records: Vec<u8>| {
        move |peer: &Peer, version| request(peer, version, topic, &[(0, records.clone())])
    };
    let acks_5 = |peer: &Peer, version| ProduceRequest {
        acks: 5,
        ..request(peer, version, "plain", &[(0, batch(&["a"]))])
    };
    transcript.case_of_peer("acks=5", all.clone(), acks_5, settle);
    transcript.case_of_peer(
        "unknown topic",
        all.clone(),
        of("nowhere", batch(&["a"])),
        settle,
    );
    let far = |peer: &Peer, version| {
        request(
            peer,
            version,
            "plain",
            &[(7, batch(&["a"])), (-1, batch(&["a"]))],
        )
    };
    transcript.case_of_peer("unknown partitions", all.clone(), far, settle);
    transcript.case_of_peer(
        "internal topic",
        all.clone(),
        of("__consumer_offsets", batch(&["a"])),
        settle,
    );
    transcript.case_of_peer("no records", all.clone(), of("refusing", vec![]), settle);
    let null = |peer: &Peer, version| {
        let mut request = request(peer, version, "refusing", &[(0, vec![])]);
        request.topic_data[0].partition_data[0].records = Records::None;
        request
    };
    transcript.case_of_peer("null records", 13..=13, null, settle);
    let two = [batch(&["a"]), batch(&["b"])].concat();
    transcript.case_of_peer("two batches", all.clone(), of("refusing", two), settle);
    transcript.case_of_peer(
        "wrong CRC",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 70, 0xff, false)),
        settle,
    );
    transcript.case_of_peer(
        "magic 1",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 16, 1, false)),
        settle,
    );
    transcript.case_of_peer(
        "magic 3",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 16, 3, false)),
        settle,
    );
    transcript.case_of_peer(
        "cut short",
        all.clone(),
        of("refusing", batch(&["abcdef"])[..70].to_vec()),
        settle,
    );
    transcript.case_of_peer(
        "less than a header",
        all.clone(),
        of("refusing", batch(&["abcdef"])[..20].to_vec()),
        settle,
    );
    transcript.case_of_peer(
        "wrong count",
        all.clone(),
        of("refusing", altered(batch(&["a", "b"]), 60, 3, true)),
        settle,
    );
    transcript.case_of_peer(
        "wrong last offset",
        all.clone(),
        of("refusing", altered(batch(&["a", "b"]), 26, 5, true)),
        settle,
    );
    transcript.case_of_peer(
        "a base offset",
        all.clone(),
        of("refusing", altered(batch(&["a"]), 7, 5, false)),
        settle,
    );
    transcript.case_of_peer(
        "bytes after the batch",
        13..=13,
        of("lenient", [batch(&["a"]), vec![0; 5]].concat()),
        settle,
    );
    transcript.case_of_peer(
        "too large",
        all.clone(),
        of("small", batch(&[&"x".repeat(200)])),
        settle,
    );
    transcript.case_of_peer(
        "too old",
        all.clone(),
        of("recent", batch(&["a", "b"])),
        settle,
    );
    let mut future = BatchBuilder::new(Codec::None, TIME);
    future
        .push(TIME, Some(b"k"), Some(b"v"), &[])
        .push(FAR_FUTURE, Some(b"k"), Some(b"v"), &[]);
    transcript.case_of_peer(
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
    transcript.case_of_peer(
        "without key",
        all.clone(),
        of("compacted", without_key.clone().finish(0)),
        settle,
    );
    let keyless = |codec| {
        let mut builder = BatchBuilder::new(codec, TIME);
        for _ in 0..5 {
            builder.push(TIME, None, Some(b"v"), &[]);
        }
        builder.push(FAR_FUTURE, Some(b"k"), Some(b"v"), &[]);
        builder.finish(0)
    };
    for (name, codec) in [
        ("many without key, one from the future", Codec::None),
        ("the same, compressed", Codec::Gzip),
    ] {
        let request = of("compacted", keyless(codec));
        transcript.case_of_peer(name, 13..=13, request, settle);
    }
    let mut control = BatchBuilder::new(Codec::None, TIME)
        .producer(1, 0, 0)
        .control();
    control.push(TIME, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]), &[]);
    transcript.case_of_peer(
        "control batch",
        all.clone(),
        of("refusing", control.finish(0)),
        settle,
    );
    let mut zstd = BatchBuilder::new(Codec::Zstd, TIME);
    zstd.push(TIME, Some(b"k"), Some(b"v"), &[]);
    transcript.case_of_peer("zstd", all.clone(), of("plain", zstd.finish(0)), settle);
    let mut append_time = batch(&["a"]);
    append_time = altered(append_time, 22, 0x08, true);
    transcript.case_of_peer(
        "says LogAppendTime",
        13..=13,
        of("lenient", append_time),
        settle,
    );
    let mut transactional = BatchBuilder::new(Codec::None, TIME)
        .producer(1, 0, 0)
        .transactional();
    transactional.push(TIME, None, Some(b"v"), &[]);
    let transactional = transactional.finish(0);
    transcript.case_of_peer(
        "transactional batch",
        all.clone(),
        of("refusing", transactional.clone()),
        settle,
    );
    let in_transaction = move |peer: &Peer, version| ProduceRequest {
        transactional_id: Some("t".into()),
        ..request(peer, version, "refusing", &[(0, transactional.clone())])
    };
    transcript.case_of_peer("in a transaction", all, in_transaction, settle);
}

fn several_partitions(transcript: &mut Transcript) {
    let all = Transcript::versions::<ProduceRequest<'_>>();
    let mixed = |peer: &Peer, version| {
        let damaged = altered(batch(&["a"]), 70, 0xff, false);
        let mut request_ = request(
            peer,
            version,
            "plain",
            &[(1, batch(&["a"])), (0, damaged), (9, batch(&["a"]))],
        );
        request_
            .topic_data
            .extend(request(peer, version, "nowhere", &[(0, batch(&["a"]))]).topic_data);
        request_
            .topic_data
            .extend(request(peer, version, "appended", &[(0, batch(&["a"]))]).topic_data);
        request_
    };
    transcript.case_of_peer("good beside bad", all.clone(), mixed, settle);
    let twice = |peer: &Peer, version| {
        request(
            peer,
            version,
            "repeated",
            &[(1, batch(&["a"])), (1, batch(&["b"]))],
        )
    };
    transcript.case_of_peer("one partition twice", 13..=13, twice, settle);
    let topic_twice = |peer: &Peer, version| {
        let mut twice = request(peer, version, "plain", &[(1, batch(&["a"]))]);
        twice
            .topic_data
            .extend(request(peer, version, "plain", &[(0, batch(&["b"]))]).topic_data);
        twice
    };
    transcript.case_of_peer("one topic twice", all, topic_twice, settle);
    let unknown = |peer: &Peer, version| {
        let mut request = request(peer, version, "plain", &[(0, batch(&["a"]))]);
        request.topic_data[0].topic_id = NO_SUCH_ID;
        request
    };
    transcript.case_of_peer("good id, then unknown id", 13..=13, unknown, settle);
}

/// acks=0 is never answered: the answer that comes is the next request's. Refused, it ends the connection.
fn without_answer(transcript: &mut Transcript) {
    let versions = ApiVersionsRequest {
        client_software_name: "conformance".into(),
        client_software_version: "1".into(),
    };
    for version in Transcript::versions::<ProduceRequest<'_>>() {
        let peer = &mut transcript.peer;
        let silent = ProduceRequest {
            acks: 0,
            ..request(peer, version, "plain", &[(1, batch(&["silent"]))])
        };
        peer.send(version, &silent);
        let next: Result<ApiVersionsResponse<'_>, String> = peer.ask(3, &versions);
        assert_eq!(next.expect("the next request is answered").error_code, 0);
        let refused = ProduceRequest {
            acks: 0,
            ..request(peer, version, "plain", &[(70, batch(&["silent"]))])
        };
        peer.send(version, &refused);
        let next: Result<ApiVersionsResponse<'_>, String> = peer.receive(3);
        assert_eq!(next.map(|_| ()), Err("(closed)".to_owned()), "v{version}");
    }
}

fn idempotent(transcript: &mut Transcript) {
    topics::create(transcript, "sequenced", 1, &[("retention.ms", "-1")]);
    let request_of_id = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let init: InitProducerIdResponse = transcript.peer.ask(4, &request_of_id).expect("an answer");
    assert_eq!(init.error_code, 0, "{init:?}");
    let producer_id = init.producer_id;
    let sequenced = |epoch: i16, sequence: i32, count: usize| {
        move |peer: &Peer, version| {
            let mut builder =
                BatchBuilder::new(Codec::None, TIME).producer(producer_id, epoch, sequence);
            for _ in 0..count {
                builder.push(TIME, None, Some(b"v"), &[]);
            }
            request(peer, version, "sequenced", &[(0, builder.finish(0))])
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
        let all = Transcript::versions::<ProduceRequest<'_>>();
        transcript.case_of_peer(name, all, sequenced(epoch, sequence, count), settle);
    }
    let no_sequence = |peer: &Peer, version| {
        let mut builder = BatchBuilder::new(Codec::None, TIME).producer(77, 0, -1);
        builder.push(TIME, None, Some(b"v"), &[]);
        request(peer, version, "sequenced", &[(0, builder.finish(0))])
    };
    transcript.case_of_peer(
        "a producer id without sequence",
        Transcript::versions::<ProduceRequest<'_>>(),
        no_sequence,
        settle,
    );
    let unknown = |peer: &Peer, version| {
        let mut builder = BatchBuilder::new(Codec::None, TIME).producer(4_000_000, 0, 5);
        builder.push(TIME, None, Some(b"v"), &[]);
        request(peer, version, "sequenced", &[(0, builder.finish(0))])
    };
    transcript.case_of_peer(
        "an unknown producer in mid-stream",
        Transcript::versions::<ProduceRequest<'_>>(),
        unknown,
        settle,
    );
}
