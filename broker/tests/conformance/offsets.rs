//! Offsets by time and epoch, and records deleted up to one.

use millstream_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use millstream_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopic,
};

use crate::peer::Peer;
use crate::produce::TIME;
use crate::transcript::Transcript;

pub fn cases(transcript: &mut Transcript) {
    list_offsets(transcript);
    offset_for_leader_epoch(transcript);
    delete_records(transcript);
    // Seen from a log that does not begin at 0.
    let earliest = |_: &Peer, _| list("read", &[(0, -1, -2), (1, -1, -2)]);
    transcript.case("after a deletion", 1..=11, earliest, sorted);
}

fn list(topic: &'static str, partitions: &[(i32, i32, i64)]) -> ListOffsetsRequest<'static> {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: partitions
                .iter()
                .map(
                    |(partition_index, current_leader_epoch, timestamp)| ListOffsetsPartition {
                        partition_index: *partition_index,
                        current_leader_epoch: *current_leader_epoch,
                        timestamp: *timestamp,
                    },
                )
                .collect(),
        }],
        ..Default::default()
    }
}

/// Kafka goes through maps.
fn sorted(response: &mut ListOffsetsResponse<'static>) {
    for topic in &mut response.topics {
        topic
            .partitions
            .sort_by_key(|partition| (partition.partition_index, partition.error_code));
    }
}

fn list_offsets(transcript: &mut Transcript) {
    let all = Transcript::versions::<ListOffsetsRequest<'_>>();
    let settle = sorted;
    for timestamp in [
        -1,
        -2,
        -3,
        -4,
        -5,
        -6,
        -7,
        -100,
        0,
        TIME,
        TIME + 1,
        TIME + 2,
        TIME + 3,
    ] {
        let name = if timestamp > TIME {
            format!("TIME+{}", timestamp - TIME)
        } else {
            timestamp.to_string()
        };
        transcript.case(
            &format!("{name} of a log"),
            all.clone(),
            move |_, _| list("read", &[(0, -1, timestamp)]),
            settle,
        );
        transcript.case(
            &format!("{name} of an empty log"),
            all.clone(),
            move |_, _| list("empty", &[(0, -1, timestamp)]),
            settle,
        );
    }
    transcript.case(
        "unknown topic",
        all.clone(),
        |_, _| list("nowhere", &[(0, -1, -1)]),
        settle,
    );
    transcript.case(
        "unknown partition",
        all.clone(),
        |_, _| list("read", &[(9, -1, -1), (1, -1, -1), (-1, -1, -1)]),
        settle,
    );
    transcript.case(
        "one partition twice",
        all.clone(),
        |_, _| list("read", &[(0, -1, -1), (1, -1, -1), (0, -1, -2)]),
        settle,
    );
    transcript.case(
        "no partitions",
        all.clone(),
        |_, _| list("read", &[]),
        settle,
    );
    transcript.case(
        "no topics",
        all,
        |_, _| ListOffsetsRequest {
            replica_id: -1,
            ..Default::default()
        },
        settle,
    );
    let committed = |_: &Peer, _| ListOffsetsRequest {
        isolation_level: 1,
        ..list("read", &[(0, -1, -1)])
    };
    transcript.case("read committed", 2..=11, committed, settle);
    transcript.case(
        "the current epoch",
        4..=11,
        |_, _| list("read", &[(0, 0, -1)]),
        settle,
    );
    transcript.case(
        "a later epoch",
        4..=11,
        |_, _| list("read", &[(0, 4, -1)]),
        settle,
    );
}

fn offset_for_leader_epoch(transcript: &mut Transcript) {
    let all = Transcript::versions::<OffsetForLeaderEpochRequest<'_>>();
    let nothing = |_: &mut OffsetForLeaderEpochResponse<'static>| {};
    let of = |topic: &'static str, index: i32, current: i32, epoch: i32| {
        move |_: &Peer, _| OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: topic.into(),
                partitions: vec![OffsetForLeaderPartition {
                    partition: index,
                    current_leader_epoch: current,
                    leader_epoch: epoch,
                }],
            }],
        }
    };
    transcript.case("epoch 0", all.clone(), of("read", 0, -1, 0), nothing);
    transcript.case(
        "epoch 0 of an empty log",
        all.clone(),
        of("empty", 0, -1, 0),
        nothing,
    );
    transcript.case("a later epoch", all.clone(), of("read", 0, -1, 4), nothing);
    transcript.case(
        "a later epoch of an empty log",
        all.clone(),
        of("empty", 0, -1, 4),
        nothing,
    );
    transcript.case("epoch -1", all.clone(), of("read", 0, -1, -1), nothing);
    transcript.case("epoch -2", all.clone(), of("read", 0, -1, -2), nothing);
    transcript.case(
        "the current epoch",
        all.clone(),
        of("read", 0, 0, 0),
        nothing,
    );
    transcript.case(
        "a current epoch that is not",
        all.clone(),
        of("read", 0, 3, 0),
        nothing,
    );
    transcript.case(
        "unknown topic",
        all.clone(),
        of("nowhere", 0, -1, 0),
        nothing,
    );
    transcript.case("unknown partition", all, of("read", 9, -1, 0), nothing);
}

fn delete_records(transcript: &mut Transcript) {
    let all = Transcript::versions::<DeleteRecordsRequest<'_>>();
    let settle = |response: &mut DeleteRecordsResponse<'static>| {
        // Kafka goes through maps.
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
    };
    let of = |topics: &'static [(&str, &[(i32, i64)])]| {
        move |_: &Peer, _| DeleteRecordsRequest {
            topics: topics
                .iter()
                .map(|(name, partitions)| DeleteRecordsTopic {
                    name: (*name).into(),
                    partitions: partitions
                        .iter()
                        .map(|(partition_index, offset)| DeleteRecordsPartition {
                            partition_index: *partition_index,
                            offset: *offset,
                        })
                        .collect(),
                })
                .collect(),
            timeout_ms: 30_000,
        }
    };
    transcript.case("up to 2", all.clone(), of(&[("read", &[(0, 2)])]), settle);
    transcript.case(
        "below the start",
        all.clone(),
        of(&[("read", &[(0, 1)])]),
        settle,
    );
    transcript.case(
        "past the end",
        all.clone(),
        of(&[("read", &[(0, 7), (1, 0)])]),
        settle,
    );
    transcript.case("negative", all.clone(), of(&[("read", &[(0, -2)])]), settle);
    transcript.case(
        "all of an empty log",
        all.clone(),
        of(&[("empty", &[(0, -1)])]),
        settle,
    );
    transcript.case("all", all.clone(), of(&[("read", &[(1, -1)])]), settle);
    transcript.case(
        "unknown",
        all.clone(),
        of(&[("nowhere", &[(0, 1)]), ("read", &[(9, 1), (0, 3)])]),
        settle,
    );
    transcript.case(
        "compacted",
        all.clone(),
        of(&[("compacted", &[(0, 1)])]),
        settle,
    );
    transcript.case(
        "internal",
        all.clone(),
        of(&[("__consumer_offsets", &[(0, 0)])]),
        settle,
    );
    transcript.case("nothing", all, of(&[]), settle);
}
