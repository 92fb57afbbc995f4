//! Topics: made, grown, shown, and deleted.

use millstream_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse,
    CreatePartitionsTopic,
};
use millstream_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    CreateTopicsResponse,
};
use millstream_protocol::messages::delete_topics::{
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use millstream_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use millstream_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use millstream_protocol::uuid::Uuid;

use crate::peer::{NO_SUCH_ID, Peer};
use crate::transcript::Transcript;

/// Stands for an id that is made up anew each time.
const SOME_ID: Uuid = Uuid([1; 16]);

pub fn cases(transcript: &mut Transcript) {
    create(transcript, "plain", 2, &[("retention.ms", "-1")]);
    create(transcript, "empty", 1, &[]);
    create_topics(transcript);
    create_partitions(transcript);
    metadata(transcript);
    describe_topic_partitions(transcript);
}

/// Makes a topic on both transcript and waits until it can be used.
pub fn create(
    transcript: &mut Transcript,
    name: &'static str,
    partitions: i32,
    configs: &'static [(&str, &str)],
) {
    let peer = &mut transcript.peer;
    let request = CreateTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![topic(name, partitions, 1, configs)],
        ..Default::default()
    };
    let created: CreateTopicsResponse<'_> = peer.ask(7, &request).expect("an answer");
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
    peer.learn_id(name, created.topics[0].topic_id);
    wait_for(peer, name);
}

/// Kafka answers before all of it knows the topic.
fn wait_for(peer: &mut Peer, name: &str) {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.to_owned().into()),
            ..Default::default()
        }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    for attempt in 0.. {
        let known: MetadataResponse<'_> = peer.ask(8, &request).expect("an answer");
        let topic = &known.topics[0];
        if topic.error_code == 0
            && topic
                .partitions
                .iter()
                .all(|partition| partition.leader_id == 1)
        {
            return;
        }
        assert!(attempt < 600, "{name} does not appear: {known:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn topic(
    name: &str,
    num_partitions: i32,
    replication_factor: i16,
    configs: &[(&'static str, &'static str)],
) -> CreatableTopic<'static> {
    CreatableTopic {
        name: name.to_owned().into(),
        num_partitions,
        replication_factor,
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).into(),
                value: Some((*value).into()),
            })
            .collect(),
        ..Default::default()
    }
}

fn hide_ids(response: &mut CreateTopicsResponse<'static>) {
    for topic in &mut response.topics {
        topic.topic_id = if topic.topic_id.is_zero() {
            Uuid::ZERO
        } else {
            SOME_ID
        };
        // The values are compared by DescribeConfigs.
        topic.configs = topic.configs.take().map(|_| Vec::new());
    }
    // Kafka goes through maps.
    response.topics.sort_by(|a, b| a.name.cmp(&b.name));
}

fn create_topics(transcript: &mut Transcript) {
    let all = Transcript::versions::<CreateTopicsRequest<'_>>();
    let of = |topics: Vec<CreatableTopic<'static>>| {
        move |_: &Peer, _| CreateTopicsRequest {
            timeout_ms: 30_000,
            topics: topics.clone(),
            ..Default::default()
        }
    };
    let fresh = |_: &Peer, version| CreateTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![topic(
            &format!("fresh-v{version}"),
            3,
            1,
            &[("retention.ms", "1000")],
        )],
        ..Default::default()
    };
    transcript.case("a topic", all.clone(), fresh, hide_ids);
    let defaults = |_: &Peer, version| CreateTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![topic(&format!("defaults-v{version}"), -1, -1, &[])],
        ..Default::default()
    };
    transcript.case("with defaults", all.clone(), defaults, hide_ids);
    let validated = |_: &Peer, _| CreateTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![
            topic("only-validated", 3, 1, &[]),
            topic("plain", 3, 1, &[]),
        ],
        validate_only: true,
    };
    transcript.case("validated only", all.clone(), validated, hide_ids);
    transcript.case("no topics", all.clone(), of(vec![]), hide_ids);
    transcript.case(
        "one that exists",
        all.clone(),
        of(vec![topic("plain", 1, 1, &[])]),
        hide_ids,
    );
    transcript.case(
        "one twice",
        all.clone(),
        of(vec![
            topic("twice", 1, 1, &[]),
            topic("twice", 1, 1, &[]),
            topic("empty", 1, 1, &[]),
        ]),
        hide_ids,
    );
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "ü", "a/b", &long] {
        transcript.case(
            &format!("name {name:?}"),
            all.clone(),
            of(vec![topic(name, 1, 1, &[])]),
            hide_ids,
        );
    }
    transcript.case(
        "a name that collides",
        all.clone(),
        of(vec![topic("a.b_c", 1, 1, &[]), topic("a_b.c", 1, 1, &[])]),
        hide_ids,
    );
    transcript.case(
        "__cluster_metadata",
        all.clone(),
        of(vec![topic("__cluster_metadata", 1, 1, &[])]),
        hide_ids,
    );
    for (partitions, factor) in [(0, 1), (-2, 1), (1, 0), (1, -2), (1, 2), (10_001, 1)] {
        let request = of(vec![topic("wrong-size", partitions, factor, &[])]);
        transcript.case(
            &format!("{partitions} partitions, {factor} replicas"),
            all.clone(),
            request,
            hide_ids,
        );
    }
    assignments(transcript);
    let with = |configs: &'static [(&str, &str)]| of(vec![topic("configured", 1, 1, configs)]);
    for (name, value) in [
        ("no.such.config", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "burn"),
        ("min.insync.replicas", "0"),
        ("max.message.bytes", "99999999999"),
        ("compression.type", "brotli"),
        ("unclean.leader.election.enable", "maybe"),
        ("segment.bytes", "1"),
    ] {
        let pair: &'static [(&str, &str)] = Vec::leak(vec![(name, value)]);
        transcript.case(
            &format!("{name}={value}"),
            all.clone(),
            with(pair),
            hide_ids,
        );
    }
    let null = |_: &Peer, _| {
        let mut topic = topic("configured", 1, 1, &[]);
        topic.configs.push(CreatableTopicConfig {
            name: "retention.ms".into(),
            value: None,
        });
        CreateTopicsRequest {
            timeout_ms: 30_000,
            topics: vec![topic],
            ..Default::default()
        }
    };
    transcript.case("a config that is null", all.clone(), null, hide_ids);
    let twice = with(&[("retention.ms", "1"), ("retention.ms", "2")]);
    transcript.case(
        "a config twice",
        all.start().to_owned()..=*all.start(),
        twice,
        hide_ids,
    );
}

fn assignments(transcript: &mut Transcript) {
    let all = Transcript::versions::<CreateTopicsRequest<'_>>();
    let assigned = |partitions: i32, factor: i16, rows: &'static [(i32, &[i32])]| {
        move |_: &Peer, version: i16| {
            let mut topic = topic(&format!("assigned-v{version}"), partitions, factor, &[]);
            topic.assignments = rows
                .iter()
                .map(|(index, brokers)| CreatableReplicaAssignment {
                    partition_index: *index,
                    broker_ids: brokers.to_vec(),
                })
                .collect();
            CreateTopicsRequest {
                timeout_ms: 30_000,
                topics: vec![topic],
                ..Default::default()
            }
        }
    };
    for (name, partitions, factor, rows) in [
        ("assigned and counted", 1, 1, [(0, &[1][..])].as_slice()),
        ("a gap", -1, -1, &[(1, &[1])]),
        ("one partition twice", -1, -1, &[(0, &[1]), (0, &[1])]),
        ("no replicas", -1, -1, &[(0, &[])]),
        ("an unknown broker", -1, -1, &[(0, &[7])]),
        ("one broker twice", -1, -1, &[(0, &[1, 1])]),
        ("assigned", -1, -1, &[(0, &[1]), (1, &[1])]),
    ] {
        transcript.case(
            name,
            all.clone(),
            assigned(partitions, factor, Vec::leak(rows.to_vec())),
            hide_ids,
        );
    }
}

fn create_partitions(transcript: &mut Transcript) {
    create(transcript, "growing", 1, &[]);
    let all = Transcript::versions::<CreatePartitionsRequest<'_>>();
    let settle = |response: &mut CreatePartitionsResponse<'static>| {
        response.results.sort_by(|a, b| a.name.cmp(&b.name))
    };
    let more = |name: &'static str, count: i32, rows: Option<&'static [&'static [i32]]>| {
        CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: rows.map(|rows| {
                rows.iter()
                    .map(|row| CreatePartitionsAssignment {
                        broker_ids: row.to_vec(),
                    })
                    .collect()
            }),
        }
    };
    let grow = move |_: &Peer, version: i16| CreatePartitionsRequest {
        timeout_ms: 30_000,
        topics: vec![more("growing", i32::from(version) + 2, None)],
        ..Default::default()
    };
    transcript.case("more", all.clone(), grow, settle);
    let of = |topics: Vec<CreatePartitionsTopic<'static>>, validate_only| {
        move |_: &Peer, _| CreatePartitionsRequest {
            timeout_ms: 30_000,
            topics: topics.clone(),
            validate_only,
        }
    };
    transcript.case(
        "validated only",
        all.clone(),
        of(vec![more("growing", 50, None)], true),
        settle,
    );
    transcript.case(
        "as many",
        all.clone(),
        of(vec![more("plain", 2, None)], false),
        settle,
    );
    transcript.case(
        "fewer",
        all.clone(),
        of(vec![more("plain", 1, None)], false),
        settle,
    );
    transcript.case(
        "none at all",
        all.clone(),
        of(vec![more("plain", 0, None)], false),
        settle,
    );
    transcript.case(
        "unknown",
        all.clone(),
        of(vec![more("nowhere", 3, None), more("a b", 3, None)], false),
        settle,
    );
    transcript.case(
        "twice",
        all.clone(),
        of(vec![more("plain", 3, None), more("plain", 3, None)], false),
        settle,
    );
    transcript.case(
        "too few assignments",
        all.clone(),
        of(vec![more("plain", 4, Some(&[&[1]]))], false),
        settle,
    );
    transcript.case(
        "an unknown broker",
        all.clone(),
        of(vec![more("plain", 3, Some(&[&[9]]))], false),
        settle,
    );
    transcript.case(
        "no replicas",
        all.clone(),
        of(vec![more("plain", 3, Some(&[&[]]))], false),
        settle,
    );
    transcript.case(
        "too many replicas",
        all.clone(),
        of(vec![more("plain", 3, Some(&[&[1, 1]]))], false),
        settle,
    );
    transcript.case(
        "no assignments",
        all,
        of(vec![more("plain", 3, Some(&[]))], true),
        settle,
    );
}

fn metadata(transcript: &mut Transcript) {
    let all = Transcript::versions::<MetadataRequest<'_>>();
    let settle = |peer: &Peer, response: &mut MetadataResponse<'static>| {
        response
            .topics
            .sort_by_key(|topic| (topic.name.clone(), peer.name_of(&topic.topic_id)));
        for topic in &mut response.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
    };
    let named = |names: &'static [&str], auto: bool| {
        move |_: &Peer, version| MetadataRequest {
            topics: Some(
                names
                    .iter()
                    .map(|name| MetadataRequestTopic {
                        name: Some((*name).into()),
                        ..Default::default()
                    })
                    .collect(),
            ),
            allow_auto_topic_creation: auto || version < 4,
            ..Default::default()
        }
    };
    transcript.case_of_peer("a topic", all.clone(), named(&["plain"], false), settle);
    transcript.case_of_peer(
        "a topic twice",
        all.clone(),
        named(&["plain", "empty", "plain"], false),
        settle,
    );
    transcript.case_of_peer(
        "unknown",
        4..=13,
        named(&["plain", "nowhere"], false),
        settle,
    );
    transcript.case_of_peer(
        "bad names",
        all.clone(),
        named(&["", "a b", "..", "plain"], true),
        settle,
    );
    transcript.case_of_peer("no topics", 1..=13, named(&[], true), settle);
    let operations = |_: &Peer, version| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("plain".into()),
            ..Default::default()
        }]),
        include_cluster_authorized_operations: version <= 10,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    transcript.case_of_peer("operations", 8..=13, operations, settle);
    let by_id = |peer: &Peer, _| MetadataRequest {
        topics: Some(vec![
            MetadataRequestTopic {
                topic_id: peer.id("plain"),
                name: None,
            },
            MetadataRequestTopic {
                topic_id: NO_SUCH_ID,
                name: None,
            },
        ]),
        ..Default::default()
    };
    transcript.case_of_peer("by id", 12..=13, by_id, settle);
    transcript.case_of_peer("by id too early", 10..=11, by_id, settle);
    let both = |peer: &Peer, _| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: peer.id("plain"),
            name: Some("plain".into()),
        }]),
        ..Default::default()
    };
    transcript.case_of_peer("by name and id", 10..=13, both, settle);
    let neither = |_: &Peer, _| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic::default()]),
        ..Default::default()
    };
    transcript.case_of_peer("neither name nor id", 10..=13, neither, settle);
    let mixed = |peer: &Peer, _| MetadataRequest {
        topics: Some(vec![
            MetadataRequestTopic {
                topic_id: peer.id("plain"),
                name: None,
            },
            MetadataRequestTopic {
                topic_id: Uuid::ZERO,
                name: Some("empty".into()),
            },
        ]),
        ..Default::default()
    };
    transcript.case_of_peer("names and ids", 12..=13, mixed, settle);
    let ids_hidden = move |peer: &Peer, response: &mut MetadataResponse<'static>| {
        settle(peer, response);
        for topic in &mut response.topics {
            topic.topic_id = if topic.topic_id.is_zero() {
                Uuid::ZERO
            } else {
                SOME_ID
            };
        }
    };
    let everything = |_: &Peer, version| MetadataRequest {
        topics: if version > 0 { None } else { Some(vec![]) },
        ..Default::default()
    };
    transcript.case_of_peer("all", all.clone(), everything, ids_hidden);
    let created = |_: &Peer, version| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(format!("auto-v{version}").into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    transcript.case_of_peer("created on the way", all.clone(), created, ids_hidden);
    let peer = &mut transcript.peer;
    for version in all.clone() {
        wait_for(peer, &format!("auto-v{version}"));
    }
    transcript.case_of_peer("created by then", all, created, ids_hidden);
    // `a.b_c` is there.
    let collides = named(&["a.b.c", "a_b_c", "__cluster_metadata"], true);
    transcript.case_of_peer("not to be created", 13..=13, collides, ids_hidden);
}

fn describe_topic_partitions(transcript: &mut Transcript) {
    let settle = |response: &mut DescribeTopicPartitionsResponse<'static>| {
        for topic in &mut response.topics {
            topic.topic_id = if topic.topic_id.is_zero() {
                Uuid::ZERO
            } else {
                SOME_ID
            };
        }
    };
    let page = |names: &'static [&str], limit: i32, cursor: Option<(&'static str, i32)>| {
        move |_: &Peer, _| DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|name| TopicRequest {
                    name: (*name).into(),
                })
                .collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, index)| Cursor {
                topic_name: name.into(),
                partition_index: index,
            }),
        }
    };
    for (case, names, limit, cursor) in [
        ("named", ["plain", "empty"].as_slice(), 2000, None),
        ("one twice", &["plain", "plain"], 2000, None),
        ("unknown", &["nowhere", "plain"], 2000, None),
        ("a bad name", &["a b", "plain"], 2000, None),
        ("a page of one", &["plain", "growing", "empty"], 1, None),
        ("a page of two", &["plain", "growing", "empty"], 2, None),
        ("a page of four", &["plain", "growing", "empty"], 4, None),
        (
            "from a cursor",
            &["plain", "growing", "empty"],
            3,
            Some(("growing", 1)),
        ),
        (
            "from a cursor between",
            &["plain", "growing", "empty"],
            2000,
            Some(("f", 0)),
        ),
        (
            "a cursor past the topic",
            &["plain", "growing"],
            2000,
            Some(("growing", 70)),
        ),
        (
            "a cursor at the topic's end",
            &["plain", "growing"],
            2000,
            Some(("growing", 5)),
        ),
        ("a cursor past all", &["plain"], 2000, Some(("z", 0))),
        ("a negative cursor", &["plain"], 2000, Some(("plain", -1))),
        (
            "a cursor at an unknown topic",
            &["plain", "nowhere"],
            2000,
            Some(("nowhere", 1)),
        ),
        ("no limit", &["plain"], 0, None),
        ("a negative limit", &["plain"], -1, None),
        ("all", &[], 2000, None),
        ("the first five of all", &[], 5, None),
        ("all from a cursor", &[], 5, Some(("growing", 1))),
        (
            "all from a cursor at a topic that is gone",
            &[],
            3,
            Some(("gr", 1)),
        ),
    ] {
        transcript.case(case, 0..=0, page(names, limit, cursor), settle);
    }
}

/// At the very end: what is deleted is not asked for again.
pub fn deletions(transcript: &mut Transcript) {
    let all = Transcript::versions::<DeleteTopicsRequest<'_>>();
    let settle = |response: &mut DeleteTopicsResponse<'static>| {
        for topic in &mut response.responses {
            if !topic.topic_id.is_zero() && topic.topic_id != NO_SUCH_ID {
                topic.topic_id = SOME_ID;
            }
        }
        response
            .responses
            .sort_by(|a, b| a.name.cmp(&b.name).then(a.topic_id.0.cmp(&b.topic_id.0)));
    };
    let named = |names: fn(i16) -> Vec<String>| {
        move |_: &Peer, version| match version {
            6.. => DeleteTopicsRequest {
                timeout_ms: 30_000,
                topics: names(version)
                    .into_iter()
                    .map(|name| DeleteTopicState {
                        name: Some(name.into()),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            },
            _ => DeleteTopicsRequest {
                timeout_ms: 30_000,
                topic_names: names(version).into_iter().map(Into::into).collect(),
                ..Default::default()
            },
        }
    };
    transcript.case(
        "by name",
        all.clone(),
        named(|version| vec![format!("auto-v{version}")]),
        settle,
    );
    transcript.case(
        "unknown",
        all.clone(),
        named(|_| vec!["nowhere".to_owned(), "a b".to_owned()]),
        settle,
    );
    transcript.case("none", all.clone(), named(|_| vec![]), settle);
    transcript.case(
        "twice",
        all,
        named(|_| vec!["empty".to_owned(), "empty".to_owned(), "nowhere".to_owned()]),
        settle,
    );
    let by_id = |peer: &Peer, _| DeleteTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![
            DeleteTopicState {
                topic_id: peer.id("growing"),
                ..Default::default()
            },
            DeleteTopicState {
                topic_id: NO_SUCH_ID,
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    transcript.case("by id", 6..=6, by_id, settle);
    let id_twice = |peer: &Peer, _| DeleteTopicsRequest {
        timeout_ms: 30_000,
        topics: [peer.id("plain"), NO_SUCH_ID, peer.id("plain"), NO_SUCH_ID]
            .map(|topic_id| DeleteTopicState {
                topic_id,
                ..Default::default()
            })
            .into(),
        ..Default::default()
    };
    transcript.case("ids twice", 6..=6, id_twice, settle);
    let both = |peer: &Peer, _| DeleteTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![DeleteTopicState {
            name: Some("plain".into()),
            topic_id: peer.id("plain"),
        }],
        ..Default::default()
    };
    transcript.case("by name and id", 6..=6, both, settle);
    let neither = |_: &Peer, _| DeleteTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![DeleteTopicState::default()],
        ..Default::default()
    };
    transcript.case("neither name nor id", 6..=6, neither, settle);
    let name_and_id = |peer: &Peer, _| DeleteTopicsRequest {
        timeout_ms: 30_000,
        topics: vec![
            DeleteTopicState {
                name: Some("plain".into()),
                ..Default::default()
            },
            DeleteTopicState {
                topic_id: peer.id("plain"),
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    transcript.case("one by name and again by id", 6..=6, name_and_id, settle);
}
