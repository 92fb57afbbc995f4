//! Fetch: limits, sessions, offsets and epochs.

use std::cell::RefCell;

use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
};
use millstream_protocol::messages::produce::ProduceResponse;

use crate::produce::{batch, request as produce};
use crate::sides::{NO_SUCH_ID, Side, Sides};
use crate::topics;

type Response = FetchResponse<'static>;

/// First version with topic ids.
const BY_ID: i16 = 13;

pub fn cases(sides: &mut Sides) {
    topics::create(sides, "read", 2, &[("retention.ms", "-1")]);
    for side in sides.both() {
        for index in 0..2 {
            for values in [&["one", "two"][..], &["three"], &["four", "five", "six"]] {
                let answer: ProduceResponse<'_> = side
                    .ask(8, &produce(side, 8, "read", &[(index, batch(values))]))
                    .expect("an answer");
                assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
            }
        }
    }
    offsets(sides);
    limits(sides);
    epochs(sides);
    unknown(sides);
    sessions(sides);
}

fn partition(index: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

fn topic(
    side: &Side,
    version: i16,
    name: &'static str,
    partitions: Vec<FetchPartition>,
) -> FetchTopic<'static> {
    FetchTopic {
        topic: if version < BY_ID {
            name.into()
        } else {
            Default::default()
        },
        topic_id: if version < BY_ID {
            Default::default()
        } else {
            side.id(name)
        },
        partitions,
    }
}

fn fetch(topics: Vec<FetchTopic<'static>>) -> FetchRequest<'static> {
    FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 10 << 20,
        topics,
        ..Default::default()
    }
}

fn one(index: i32, offset: i64) -> impl Fn(&Side, i16) -> FetchRequest<'static> {
    move |side, version| {
        fetch(vec![topic(
            side,
            version,
            "read",
            vec![partition(index, offset)],
        )])
    }
}

fn settle(response: &mut Response) {
    response.session_id = response.session_id.signum();
}

fn offsets(sides: &mut Sides) {
    let all = Sides::versions::<FetchRequest<'_>>();
    for offset in [0, 1, 2, 5] {
        sides.case(
            &format!("from {offset}"),
            all.clone(),
            one(0, offset),
            settle,
        );
    }
    sides.case("at the end", all.clone(), one(0, 6), settle);
    sides.case("past the end", all.clone(), one(0, 7), settle);
    sides.case("negative", all.clone(), one(0, -1), settle);
    let committed = |side: &Side, version| FetchRequest {
        isolation_level: 1,
        ..one(0, 2)(side, version)
    };
    sides.case("read committed", all.clone(), committed, settle);
    let committed_end = |side: &Side, version| FetchRequest {
        isolation_level: 1,
        ..one(0, 6)(side, version)
    };
    sides.case(
        "read committed at the end",
        all.clone(),
        committed_end,
        settle,
    );
    sides.case("no topics", all, |_, _| fetch(vec![]), settle);
}

fn limits(sides: &mut Sides) {
    let all = Sides::versions::<FetchRequest<'_>>();
    let bounded = |max_bytes: i32, partition_max_bytes: i32| {
        move |side: &Side, version| {
            let of = |index| FetchPartition {
                partition_max_bytes,
                ..partition(index, 0)
            };
            FetchRequest {
                max_bytes,
                ..fetch(vec![topic(side, version, "read", vec![of(0), of(1)])])
            }
        }
    };
    for (max_bytes, partition_max_bytes) in [
        (1, 1000),
        (1000, 1),
        (1, 1),
        (0, 0),
        (100, 1000),
        (250, 160),
        (400, 1000),
        (-1, -1),
    ] {
        let name = format!("{max_bytes} bytes in all, {partition_max_bytes} a partition");
        sides.case(
            &name,
            all.clone(),
            bounded(max_bytes, partition_max_bytes),
            settle,
        );
    }
    let impatient = |side: &Side, version| FetchRequest {
        min_bytes: 1 << 20,
        max_wait_ms: 0,
        ..one(0, 0)(side, version)
    };
    sides.case("not enough, no time", all.clone(), impatient, settle);
    let waiting = |side: &Side, version| FetchRequest {
        min_bytes: 1 << 20,
        max_wait_ms: 50,
        ..one(0, 0)(side, version)
    };
    sides.case("not enough in time", all.clone(), waiting, settle);
    let both = |side: &Side, version| {
        fetch(vec![topic(
            side,
            version,
            "read",
            vec![partition(0, 9), partition(1, 3)],
        )])
    };
    sides.case("good beside bad", all.clone(), both, settle);
    let twice = |side: &Side, version| {
        fetch(vec![
            topic(side, version, "read", vec![partition(0, 0)]),
            topic(side, version, "read", vec![partition(0, 3)]),
        ])
    };
    sides.case("one partition twice", all, twice, settle);
}

fn epochs(sides: &mut Sides) {
    let with = |current: i32, last: i32| {
        move |side: &Side, version| {
            let mut request = one(0, 3)(side, version);
            request.topics[0].partitions[0].current_leader_epoch = current;
            request.topics[0].partitions[0].last_fetched_epoch = last;
            request
        }
    };
    sides.case("the current epoch", 9..=18, with(0, -1), settle);
    sides.case("a later epoch", 9..=18, with(5, -1), settle);
    sides.case("last fetched in this epoch", 12..=18, with(0, 0), settle);
    sides.case("last fetched in a later epoch", 12..=18, with(0, 3), settle);
}

fn unknown(sides: &mut Sides) {
    let all = Sides::versions::<FetchRequest<'_>>();
    let nowhere = |side: &Side, version| {
        fetch(vec![
            topic(
                side,
                version,
                "nowhere",
                vec![partition(0, 0), partition(1, 0)],
            ),
            topic(
                side,
                version,
                "read",
                vec![partition(9, 0), partition(0, 0)],
            ),
        ])
    };
    sides.case("unknown", all.clone(), nowhere, settle);
    sides.case("unknown partition", all, one(9, 0), settle);
    let id = |_: &Side, _| {
        fetch(vec![FetchTopic {
            topic_id: NO_SUCH_ID,
            partitions: vec![partition(0, 0)],
            ..Default::default()
        }])
    };
    sides.case("unknown id", BY_ID..=18, id, settle);
    let zero = |_: &Side, _| {
        fetch(vec![FetchTopic {
            partitions: vec![partition(0, 0)],
            ..Default::default()
        }])
    };
    sides.case("no id", BY_ID..=18, zero, settle);
}

fn sessions(sides: &mut Sides) {
    let stale = |id: i32, epoch: i32| {
        move |side: &Side, version| FetchRequest {
            session_id: id,
            session_epoch: epoch,
            ..one(0, 0)(side, version)
        }
    };
    sides.case("an unknown session", 7..=18, stale(123, 1), settle);
    sides.case("an unknown session, closed", 7..=18, stale(123, -1), settle);
    sides.case("an unknown session, opened", 7..=18, stale(123, 0), settle);
    sides.case("no session, later epoch", 7..=18, stale(0, 3), settle);
    // (our side or not, version) → session id
    let open: RefCell<Vec<(String, i16, i32)>> = RefCell::default();
    for version in 7..=18 {
        for side in sides.both() {
            let first = FetchRequest {
                session_epoch: 0,
                ..fetch(vec![
                    topic(
                        side,
                        version,
                        "read",
                        vec![partition(0, 0), partition(1, 6)],
                    ),
                    topic(side, version, "empty", vec![partition(0, 0)]),
                ])
            };
            let answer: Response = side.ask(version, &first).expect("an answer");
            assert!(answer.session_id > 0, "v{version}: {answer:?}");
            open.borrow_mut()
                .push((side.id("read").to_string(), version, answer.session_id));
        }
    }
    let session = |side: &Side, version: i16| {
        let open = open.borrow();
        let key = side.id("read").to_string();
        open.iter()
            .find(|(topic, v, _)| *topic == key && *v == version)
            .expect("it was opened")
            .2
    };
    let next = |epoch: i32, topics: fn(&Side, i16) -> Vec<FetchTopic<'static>>| {
        move |side: &Side, version: i16| FetchRequest {
            session_id: session(side, version),
            session_epoch: epoch,
            ..fetch(topics(side, version))
        }
    };
    sides.case(
        "session: nothing moved",
        7..=18,
        next(1, |_, _| vec![]),
        settle,
    );
    sides.case(
        "session: one moved on",
        7..=18,
        next(2, |side, version| {
            vec![topic(side, version, "read", vec![partition(0, 6)])]
        }),
        settle,
    );
    sides.case(
        "session: nothing new",
        7..=18,
        next(3, |_, _| vec![]),
        settle,
    );
    sides.case(
        "session: epoch passed over",
        7..=18,
        next(5, |_, _| vec![]),
        settle,
    );
    sides.case(
        "session: one out of range",
        7..=18,
        next(4, |side, version| {
            vec![topic(side, version, "read", vec![partition(0, 60)])]
        }),
        settle,
    );
    let forget = |side: &Side, version: i16| FetchRequest {
        forgotten_topics_data: vec![ForgottenTopic {
            topic: if version < BY_ID {
                "read".into()
            } else {
                Default::default()
            },
            topic_id: if version < BY_ID {
                Default::default()
            } else {
                side.id("read")
            },
            partitions: vec![0],
        }],
        ..next(5, |_, _| vec![])(side, version)
    };
    sides.case("session: one forgotten", 7..=18, forget, settle);
    sides.case(
        "session: another added",
        7..=18,
        next(6, |side, version| {
            vec![topic(side, version, "plain", vec![partition(9, 0)])]
        }),
        settle,
    );
    let closed = |side: &Side, version| FetchRequest {
        session_id: session(side, version),
        session_epoch: -1,
        ..one(0, 5)(side, version)
    };
    sides.case("session: closed", 7..=18, closed, settle);
    sides.case(
        "session: after it was closed",
        7..=18,
        next(7, |_, _| vec![]),
        settle,
    );
}
