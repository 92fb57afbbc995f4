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

use crate::produce::TIME;
use crate::sides::{Side, Sides};

pub fn cases(sides: &mut Sides) {
    list_offsets(sides);
    offset_for_leader_epoch(sides);
    delete_records(sides);
    // Seen from a log that does not begin at 0.
    let earliest = |_: &Side, _| list("read", &[(0, -1, -2), (1, -1, -2), (0, -1, TIME)]);
    sides.case(
        "after a deletion",
        1..=11,
        earliest,
        |_: &mut ListOffsetsResponse<'static>| {},
    );
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

fn list_offsets(sides: &mut Sides) {
    let all = Sides::versions::<ListOffsetsRequest<'_>>();
    let nothing = |_: &mut ListOffsetsResponse<'static>| {};
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
        sides.case(
            &format!("{name} of a log"),
            all.clone(),
            move |_, _| list("read", &[(0, -1, timestamp)]),
            nothing,
        );
        sides.case(
            &format!("{name} of an empty log"),
            all.clone(),
            move |_, _| list("empty", &[(0, -1, timestamp)]),
            nothing,
        );
    }
    sides.case(
        "unknown topic",
        all.clone(),
        |_, _| list("nowhere", &[(0, -1, -1)]),
        nothing,
    );
    sides.case(
        "unknown partition",
        all.clone(),
        |_, _| list("read", &[(9, -1, -1), (1, -1, -1), (-1, -1, -1)]),
        nothing,
    );
    sides.case(
        "one partition twice",
        all.clone(),
        |_, _| list("read", &[(0, -1, -1), (1, -1, -1), (0, -1, -2)]),
        nothing,
    );
    sides.case(
        "no partitions",
        all.clone(),
        |_, _| list("read", &[]),
        nothing,
    );
    sides.case(
        "no topics",
        all,
        |_, _| ListOffsetsRequest {
            replica_id: -1,
            ..Default::default()
        },
        nothing,
    );
    let committed = |_: &Side, _| ListOffsetsRequest {
        isolation_level: 1,
        ..list("read", &[(0, -1, -1)])
    };
    sides.case("read committed", 2..=11, committed, nothing);
    sides.case(
        "the current epoch",
        4..=11,
        |_, _| list("read", &[(0, 0, -1)]),
        nothing,
    );
    sides.case(
        "a later epoch",
        4..=11,
        |_, _| list("read", &[(0, 4, -1)]),
        nothing,
    );
}

fn offset_for_leader_epoch(sides: &mut Sides) {
    let all = Sides::versions::<OffsetForLeaderEpochRequest<'_>>();
    let nothing = |_: &mut OffsetForLeaderEpochResponse<'static>| {};
    let of = |topic: &'static str, index: i32, current: i32, epoch: i32| {
        move |_: &Side, _| OffsetForLeaderEpochRequest {
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
    sides.case("epoch 0", all.clone(), of("read", 0, -1, 0), nothing);
    sides.case(
        "epoch 0 of an empty log",
        all.clone(),
        of("empty", 0, -1, 0),
        nothing,
    );
    sides.case("a later epoch", all.clone(), of("read", 0, -1, 4), nothing);
    sides.case(
        "a later epoch of an empty log",
        all.clone(),
        of("empty", 0, -1, 4),
        nothing,
    );
    sides.case("epoch -1", all.clone(), of("read", 0, -1, -1), nothing);
    sides.case("epoch -2", all.clone(), of("read", 0, -1, -2), nothing);
    sides.case(
        "the current epoch",
        all.clone(),
        of("read", 0, 0, 0),
        nothing,
    );
    sides.case(
        "a current epoch that is not",
        all.clone(),
        of("read", 0, 3, 0),
        nothing,
    );
    sides.case(
        "unknown topic",
        all.clone(),
        of("nowhere", 0, -1, 0),
        nothing,
    );
    sides.case("unknown partition", all, of("read", 9, -1, 0), nothing);
}

fn delete_records(sides: &mut Sides) {
    let all = Sides::versions::<DeleteRecordsRequest<'_>>();
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
        move |_: &Side, _| DeleteRecordsRequest {
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
    sides.case("up to 2", all.clone(), of(&[("read", &[(0, 2)])]), settle);
    sides.case(
        "below the start",
        all.clone(),
        of(&[("read", &[(0, 1)])]),
        settle,
    );
    sides.case(
        "past the end",
        all.clone(),
        of(&[("read", &[(0, 7), (1, 0)])]),
        settle,
    );
    sides.case("negative", all.clone(), of(&[("read", &[(0, -2)])]), settle);
    sides.case(
        "all of an empty log",
        all.clone(),
        of(&[("empty", &[(0, -1)])]),
        settle,
    );
    sides.case("all", all.clone(), of(&[("read", &[(1, -1)])]), settle);
    sides.case(
        "unknown",
        all.clone(),
        of(&[("nowhere", &[(0, 1)]), ("read", &[(9, 1), (0, 3)])]),
        settle,
    );
    sides.case(
        "compacted",
        all.clone(),
        of(&[("compacted", &[(0, 1)])]),
        settle,
    );
    sides.case(
        "internal",
        all.clone(),
        of(&[("__consumer_offsets", &[(0, 0)])]),
        settle,
    );
    sides.case("nothing", all, of(&[]), settle);
}
