//! Fetch: limits, sessions, offsets and epochs.

use std::collections::BTreeMap;

use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
};
use millstream_protocol::messages::produce::ProduceResponse;

use crate::peer::{NO_SUCH_ID, Peer};
use crate::produce::{batch, request as produce};
use crate::topics;
use crate::transcript::Transcript;

type Response = FetchResponse<'static>;

/// First version with topic ids.
const BY_ID: i16 = 13;

pub fn cases(transcript: &mut Transcript) {
    topics::create(transcript, "read", 2, &[("retention.ms", "-1")]);
    let peer = &mut transcript.peer;
    for index in 0..2 {
        for values in [&["one", "two"][..], &["three"], &["four", "five", "six"]] {
            let answer: ProduceResponse<'_> = peer
                .ask(8, &produce(peer, 8, "read", &[(index, batch(values))]))
                .expect("an answer");
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
    }
    offsets(transcript);
    limits(transcript);
    epochs(transcript);
    unknown(transcript);
    sessions(transcript);
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
    peer: &Peer,
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
            peer.id(name)
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

fn one(index: i32, offset: i64) -> impl Fn(&Peer, i16) -> FetchRequest<'static> {
    move |peer, version| {
        fetch(vec![topic(
            peer,
            version,
            "read",
            vec![partition(index, offset)],
        )])
    }
}

fn settle(peer: &Peer, response: &mut Response) {
    response.session_id = response.session_id.signum();
    response
        .responses
        .sort_by_key(|topic| (topic.topic.clone(), peer.name_of(&topic.topic_id)));
    // Errors come last in some of Kafka's answers, under the topic's name once more.
    response.responses.dedup_by(|next, topic| {
        let same = (&next.topic, next.topic_id) == (&topic.topic, topic.topic_id);
        if same {
            topic.partitions.append(&mut next.partitions);
        }
        same
    });
    for topic in &mut response.responses {
        topic
            .partitions
            .sort_by_key(|partition| partition.partition_index);
    }
}

fn offsets(transcript: &mut Transcript) {
    let all = Transcript::versions::<FetchRequest<'_>>();
    for offset in [0, 1, 2, 5] {
        transcript.case_of_peer(
            &format!("from {offset}"),
            all.clone(),
            one(0, offset),
            settle,
        );
    }
    transcript.case_of_peer("at the end", all.clone(), one(0, 6), settle);
    transcript.case_of_peer("past the end", all.clone(), one(0, 7), settle);
    transcript.case_of_peer("negative", all.clone(), one(0, -1), settle);
    let committed = |peer: &Peer, version| FetchRequest {
        isolation_level: 1,
        ..one(0, 2)(peer, version)
    };
    transcript.case_of_peer("read committed", all.clone(), committed, settle);
    let committed_end = |peer: &Peer, version| FetchRequest {
        isolation_level: 1,
        ..one(0, 6)(peer, version)
    };
    transcript.case_of_peer(
        "read committed at the end",
        all.clone(),
        committed_end,
        settle,
    );
    transcript.case_of_peer("no topics", all, |_, _| fetch(vec![]), settle);
}

fn limits(transcript: &mut Transcript) {
    let all = Transcript::versions::<FetchRequest<'_>>();
    let bounded = |max_bytes: i32, partition_max_bytes: i32| {
        move |peer: &Peer, version| {
            let of = |index| FetchPartition {
                partition_max_bytes,
                ..partition(index, 0)
            };
            FetchRequest {
                max_bytes,
                ..fetch(vec![topic(peer, version, "read", vec![of(0), of(1)])])
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
    ] {
        let name = format!("{max_bytes} bytes in all, {partition_max_bytes} a partition");
        transcript.case_of_peer(
            &name,
            all.clone(),
            bounded(max_bytes, partition_max_bytes),
            settle,
        );
    }
    let impatient = |peer: &Peer, version| FetchRequest {
        min_bytes: 1 << 20,
        max_wait_ms: 0,
        ..one(0, 0)(peer, version)
    };
    transcript.case_of_peer("not enough, no time", all.clone(), impatient, settle);
    let waiting = |peer: &Peer, version| FetchRequest {
        min_bytes: 1 << 20,
        max_wait_ms: 50,
        ..one(0, 0)(peer, version)
    };
    transcript.case_of_peer("not enough in time", all.clone(), waiting, settle);
    let both = |peer: &Peer, version| {
        fetch(vec![topic(
            peer,
            version,
            "read",
            vec![partition(0, 9), partition(1, 3)],
        )])
    };
    transcript.case_of_peer("good beside bad", all.clone(), both, settle);
    let twice = |peer: &Peer, version| {
        fetch(vec![
            topic(peer, version, "read", vec![partition(0, 0)]),
            topic(peer, version, "read", vec![partition(0, 3)]),
        ])
    };
    transcript.case_of_peer("one partition twice", 13..=13, twice, settle);
}

fn epochs(transcript: &mut Transcript) {
    let with = |current: i32, last: i32| {
        move |peer: &Peer, version| {
            let mut request = one(0, 3)(peer, version);
            request.topics[0].partitions[0].current_leader_epoch = current;
            request.topics[0].partitions[0].last_fetched_epoch = last;
            request
        }
    };
    transcript.case_of_peer("the current epoch", 9..=18, with(0, -1), settle);
    transcript.case_of_peer("a later epoch", 9..=18, with(5, -1), settle);
    transcript.case_of_peer("last fetched in this epoch", 12..=18, with(0, 0), settle);
    transcript.case_of_peer("last fetched in a later epoch", 12..=18, with(0, 3), settle);
}

fn unknown(transcript: &mut Transcript) {
    let all = Transcript::versions::<FetchRequest<'_>>();
    let nowhere = |peer: &Peer, version| {
        fetch(vec![
            topic(
                peer,
                version,
                "nowhere",
                vec![partition(0, 0), partition(1, 0)],
            ),
            topic(
                peer,
                version,
                "read",
                vec![partition(9, 0), partition(0, 0)],
            ),
        ])
    };
    transcript.case_of_peer("unknown", all.clone(), nowhere, settle);
    transcript.case_of_peer("unknown partition", all, one(9, 0), settle);
    let id = |_: &Peer, _| {
        fetch(vec![FetchTopic {
            topic_id: NO_SUCH_ID,
            partitions: vec![partition(0, 0)],
            ..Default::default()
        }])
    };
    transcript.case_of_peer("unknown id", BY_ID..=18, id, settle);
    let zero = |_: &Peer, _| {
        fetch(vec![FetchTopic {
            partitions: vec![partition(0, 0)],
            ..Default::default()
        }])
    };
    transcript.case_of_peer("no id", BY_ID..=18, zero, settle);
}

fn sessions(transcript: &mut Transcript) {
    let stale = |id: i32, epoch: i32| {
        move |peer: &Peer, version| FetchRequest {
            session_id: id,
            session_epoch: epoch,
            ..one(0, 0)(peer, version)
        }
    };
    transcript.case_of_peer("an unknown session", 7..=18, stale(123, 1), settle);
    transcript.case_of_peer("an unknown session, closed", 7..=18, stale(123, -1), settle);
    transcript.case_of_peer("an unknown session, opened", 7..=18, stale(123, 0), settle);
    transcript.case_of_peer("no session, later epoch", 7..=18, stale(0, 3), settle);
    // (our peer or not, version) → session id
    // By version.
    let mut open: BTreeMap<i16, i32> = BTreeMap::new();
    for version in 7..=18 {
        let peer = &mut transcript.peer;
        let first = FetchRequest {
            session_epoch: 0,
            ..fetch(vec![
                topic(
                    peer,
                    version,
                    "read",
                    vec![partition(0, 0), partition(1, 6)],
                ),
                topic(peer, version, "empty", vec![partition(0, 0)]),
            ])
        };
        let answer: Response = peer.ask(version, &first).expect("an answer");
        assert!(answer.session_id > 0, "v{version}: {answer:?}");
        open.insert(version, answer.session_id);
    }
    let session = |version: i16| open[&version];
    let next = |epoch: i32, topics: fn(&Peer, i16) -> Vec<FetchTopic<'static>>| {
        move |peer: &Peer, version: i16| FetchRequest {
            session_id: session(version),
            session_epoch: epoch,
            ..fetch(topics(peer, version))
        }
    };
    transcript.case_of_peer(
        "session: nothing moved",
        7..=18,
        next(1, |_, _| vec![]),
        settle,
    );
    transcript.case_of_peer(
        "session: one moved on",
        7..=18,
        next(2, |peer, version| {
            vec![topic(peer, version, "read", vec![partition(0, 6)])]
        }),
        settle,
    );
    transcript.case_of_peer(
        "session: nothing new",
        7..=18,
        next(3, |_, _| vec![]),
        settle,
    );
    transcript.case_of_peer(
        "session: epoch passed over",
        7..=18,
        next(5, |_, _| vec![]),
        settle,
    );
    transcript.case_of_peer(
        "session: one out of range",
        7..=18,
        next(4, |peer, version| {
            vec![topic(peer, version, "read", vec![partition(0, 60)])]
        }),
        settle,
    );
    let forget = |peer: &Peer, version: i16| FetchRequest {
        forgotten_topics_data: vec![ForgottenTopic {
            topic: if version < BY_ID {
                "read".into()
            } else {
                Default::default()
            },
            topic_id: if version < BY_ID {
                Default::default()
            } else {
                peer.id("read")
            },
            partitions: vec![0],
        }],
        ..next(5, |_, _| vec![])(peer, version)
    };
    transcript.case_of_peer("session: one forgotten", 7..=18, forget, settle);
    transcript.case_of_peer(
        "session: another added",
        7..=18,
        next(6, |peer, version| {
            vec![topic(peer, version, "plain", vec![partition(9, 0)])]
        }),
        settle,
    );
    let closed = |peer: &Peer, version| FetchRequest {
        session_id: session(version),
        session_epoch: -1,
        ..one(0, 5)(peer, version)
    };
    transcript.case_of_peer("session: closed", 7..=18, closed, settle);
    transcript.case_of_peer(
        "session: after it was closed",
        7..=18,
        next(7, |_, _| vec![]),
        settle,
    );
}
