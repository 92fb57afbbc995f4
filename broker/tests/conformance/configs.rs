//! Configs: shown, set, refused.

use millstream_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse, AlterableConfig,
};
use millstream_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use millstream_protocol::messages::incremental_alter_configs as incremental;
use millstream_protocol::messages::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use millstream_protocol::messages::list_config_resources::{
    ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use crate::peer::Peer;
use crate::topics;
use crate::transcript::Transcript;

/// Types of config resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// Source of a config that stands in the broker's file.
const STATIC: i8 = 4;

pub fn cases(transcript: &mut Transcript) {
    topics::create(
        transcript,
        "set",
        1,
        &[("retention.ms", "-1"), ("cleanup.policy", "delete")],
    );
    set_cluster_default(&mut transcript.peer);
    describe(transcript);
    alter(transcript);
    alter_incrementally(transcript);
    list(transcript);
}

/// Kafka's formatting sets this for eligible leader replicas.
fn set_cluster_default(peer: &mut Peer) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: BROKER,
            resource_name: "".into(),
            configs: vec![incremental::AlterableConfig {
                name: "min.insync.replicas".into(),
                config_operation: SET,
                value: Some("1".into()),
            }],
        }],
        validate_only: false,
    };
    let set: IncrementalAlterConfigsResponse<'_> = peer.ask(1, &request).expect("an answer");
    assert_eq!(set.responses[0].error_code, 0, "{set:?}");
}

fn settle(response: &mut DescribeConfigsResponse<'static>) {
    for result in &mut response.results {
        result
            .configs
            .retain(|config| !OURS.contains(&config.name.as_ref()));
        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
        for config in &mut result.configs {
            // Each says it in its own words.
            config.documentation = config.documentation.take().map(|text| {
                if text.is_empty() {
                    text
                } else {
                    "words".into()
                }
            });
        }
    }
}

/// Without what each broker is told at its start.
fn not_of_this_place(response: &mut DescribeConfigsResponse<'static>) {
    settle(response);
    for result in &mut response.results {
        result.configs.retain(|config| {
            let name = config.name.as_ref();
            config.config_source != STATIC && !SET_THERE.contains(&name)
        });
    }
}

fn describe(transcript: &mut Transcript) {
    let all = Transcript::versions::<DescribeConfigsRequest<'_>>();
    let of = |resource_type: i8, name: &'static str, keys: Option<&'static [&str]>| {
        move |_: &Peer, version: i16| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: name.into(),
                configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
            }],
            include_synonyms: true,
            include_documentation: version >= 3,
        }
    };
    let some = Some(
        &[
            "retention.ms",
            "cleanup.policy",
            "segment.bytes",
            "no.such.config",
        ][..],
    );
    transcript.case(
        "some of a topic",
        all.clone(),
        of(TOPIC, "set", some),
        settle,
    );
    transcript.case(
        "all of a topic",
        all.clone(),
        of(TOPIC, "set", None),
        settle,
    );
    transcript.case(
        "no keys of a topic",
        all.clone(),
        of(TOPIC, "set", Some(&[])),
        settle,
    );
    let bare = |_: &Peer, _| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: "set".into(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    transcript.case(
        "all of a topic, without synonyms",
        all.clone(),
        bare,
        settle,
    );
    transcript.case(
        "an unknown topic",
        all.clone(),
        of(TOPIC, "nowhere", None),
        settle,
    );
    transcript.case(
        "a bad topic name",
        all.clone(),
        of(TOPIC, "a b", None),
        settle,
    );
    transcript.case("no topic name", all.clone(), of(TOPIC, "", None), settle);
    let broker = Some(
        &[
            "num.partitions",
            "log.retention.ms",
            "log.retention.hours",
            "message.max.bytes",
            "log.cleaner.threads",
            "node.id",
            "auto.create.topics.enable",
        ][..],
    );
    transcript.case(
        "some of a broker",
        all.clone(),
        of(BROKER, "1", broker),
        settle,
    );
    let every = |_: &Peer, _| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: "1".into(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    transcript.case("all of a broker", 4..=4, every, not_of_this_place);
    transcript.case("all brokers", all.clone(), of(BROKER, "", None), settle);
    transcript.case("another broker", all.clone(), of(BROKER, "2", None), settle);
    transcript.case("no number", all.clone(), of(BROKER, "one", None), settle);
    transcript.case("an unknown type", all.clone(), of(3, "x", None), settle);
    transcript.case(
        "client metrics",
        all.clone(),
        of(CLIENT_METRICS, "m", None),
        settle,
    );
    transcript.case(
        "client metrics without name",
        all.clone(),
        of(CLIENT_METRICS, "", None),
        settle,
    );
    transcript.case("a group", all.clone(), of(GROUP, "g", None), settle);
    transcript.case(
        "a group without name",
        all.clone(),
        of(GROUP, "", None),
        settle,
    );
    transcript.case(
        "a logger of another broker",
        all.clone(),
        of(BROKER_LOGGER, "2", None),
        settle,
    );
    let two = move |peer: &Peer, version: i16| {
        let mut request = of(TOPIC, "set", some)(peer, version);
        request
            .resources
            .extend(of(TOPIC, "nowhere", None)(peer, version).resources);
        request
            .resources
            .extend(of(TOPIC, "set", Some(&["retention.ms"]))(peer, version).resources);
        request
    };
    transcript.case("good beside bad", all, two, settle);
}

/// Stand in the file that Kafka is started with, and have defaults here.
const SET_THERE: &[&str] = &[
    "advertised.listeners",
    "broker.id",
    "controller.listener.names",
    "controller.quorum.voters",
    "listener.security.protocol.map",
    "offsets.topic.replication.factor",
    "process.roles",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "transaction.state.log.min.isr",
    "transaction.state.log.num.partitions",
    "transaction.state.log.replication.factor",
];
/// Not Kafka's.
const OURS: &[&str] = &[
    "connection.requests.max",
    "connection.responses.max.bytes",
    "cores",
    "journal.device.max.bytes",
    "journal.files",
    "log.dir.lock.wait.ms",
    "log.dir.reserve.bytes",
    "log.files.open.max",
    "log.scrub.bytes.per.second",
    "memory.bytes",
    "metrics.listener",
    "record.validation",
    "tail.memory.bytes",
];

type Pairs = &'static [(&'static str, Option<&'static str>)];

fn alter(transcript: &mut Transcript) {
    let all = Transcript::versions::<AlterConfigsRequest<'_>>();
    let settle = |response: &mut AlterConfigsResponse<'static>| {
        response
            .responses
            .sort_by(|a, b| a.resource_name.cmp(&b.resource_name))
    };
    let of = |resource_type: i8, name: &'static str, configs: Pairs| {
        move |_: &Peer, _: i16| AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: configs
                    .iter()
                    .map(|(name, value)| AlterableConfig {
                        name: (*name).into(),
                        value: value.map(Into::into),
                    })
                    .collect(),
            }],
            validate_only: false,
        }
    };
    transcript.case(
        "a topic",
        all.clone(),
        of(
            TOPIC,
            "set",
            &[
                ("retention.ms", Some("86400000")),
                ("max.message.bytes", Some("2000000")),
            ],
        ),
        settle,
    );
    transcript.case(
        "a bad value",
        all.clone(),
        of(TOPIC, "set", &[("retention.ms", Some("soon"))]),
        settle,
    );
    transcript.case(
        "an unknown key",
        all.clone(),
        of(TOPIC, "set", &[("no.such.config", Some("1"))]),
        settle,
    );
    transcript.case(
        "a null value",
        all.clone(),
        of(TOPIC, "set", &[("retention.ms", None)]),
        settle,
    );
    transcript.case(
        "an unknown topic",
        all.clone(),
        of(TOPIC, "nowhere", &[("retention.ms", Some("1"))]),
        settle,
    );
    transcript.case(
        "another broker",
        all.clone(),
        of(BROKER, "7", &[("log.cleaner.threads", Some("2"))]),
        settle,
    );
    transcript.case(
        "a broker's read-only",
        all.clone(),
        of(
            BROKER,
            "1",
            &[("num.io.threads", Some("2")), ("node.id", Some("5"))],
        ),
        settle,
    );
    transcript.case("an unknown type", all.clone(), of(3, "x", &[]), settle);
    let twice = move |peer: &Peer, version: i16| {
        let mut request = of(TOPIC, "set", &[("retention.ms", Some("5"))])(peer, version);
        request
            .resources
            .extend(of(TOPIC, "set", &[("retention.ms", Some("6"))])(peer, version).resources);
        request
    };
    transcript.case("twice", 2..=2, twice, settle);
    let validated = move |peer: &Peer, version: i16| AlterConfigsRequest {
        validate_only: true,
        ..of(TOPIC, "set", &[("retention.ms", Some("7"))])(peer, version)
    };
    transcript.case("validated only", all, validated, settle);
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn alter_incrementally(transcript: &mut Transcript) {
    let all = Transcript::versions::<IncrementalAlterConfigsRequest<'_>>();
    let settle = |response: &mut IncrementalAlterConfigsResponse<'static>| {
        response
            .responses
            .sort_by(|a, b| a.resource_name.cmp(&b.resource_name));
    };
    type Steps = &'static [(&'static str, i8, Option<&'static str>)];
    let of = |resource_type: i8, name: &'static str, steps: Steps| {
        move |_: &Peer, _: i16| IncrementalAlterConfigsRequest {
            resources: vec![incremental::AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: steps
                    .iter()
                    .map(
                        |(name, config_operation, value)| incremental::AlterableConfig {
                            name: (*name).into(),
                            config_operation: *config_operation,
                            value: value.map(Into::into),
                        },
                    )
                    .collect(),
            }],
            validate_only: false,
        }
    };
    for (name, resource_type, resource, steps) in [
        (
            "set",
            TOPIC,
            "set",
            &[("retention.ms", SET, Some("100000"))][..],
        ),
        (
            "append",
            TOPIC,
            "set",
            &[("cleanup.policy", APPEND, Some("compact"))],
        ),
        (
            "append again",
            TOPIC,
            "set",
            &[("cleanup.policy", APPEND, Some("compact"))],
        ),
        (
            "subtract",
            TOPIC,
            "set",
            &[("cleanup.policy", SUBTRACT, Some("compact"))],
        ),
        (
            "subtract what is not there",
            TOPIC,
            "set",
            &[("cleanup.policy", SUBTRACT, Some("compact"))],
        ),
        (
            "append to no list",
            TOPIC,
            "set",
            &[("retention.ms", APPEND, Some("1"))],
        ),
        (
            "append a bad value",
            TOPIC,
            "set",
            &[("cleanup.policy", APPEND, Some("burn"))],
        ),
        ("delete", TOPIC, "set", &[("retention.ms", DELETE, None)]),
        (
            "delete what is not set",
            TOPIC,
            "set",
            &[("segment.ms", DELETE, None)],
        ),
        (
            "delete an unknown key",
            TOPIC,
            "set",
            &[("no.such.config", DELETE, None)],
        ),
        ("a null value", TOPIC, "set", &[("retention.ms", SET, None)]),
        (
            "a bad value",
            TOPIC,
            "set",
            &[("min.insync.replicas", SET, Some("0"))],
        ),
        (
            "an unknown key",
            TOPIC,
            "set",
            &[("no.such.config", SET, Some("1"))],
        ),
        (
            "an unknown operation",
            TOPIC,
            "set",
            &[("retention.ms", 9, Some("1"))],
        ),
        (
            "one key twice",
            TOPIC,
            "set",
            &[
                ("retention.ms", SET, Some("1")),
                ("retention.ms", SET, Some("2")),
            ],
        ),
        ("nothing", TOPIC, "set", &[]),
        (
            "an unknown topic",
            TOPIC,
            "nowhere",
            &[("retention.ms", SET, Some("1"))],
        ),
        (
            "a bad topic name",
            TOPIC,
            "a b",
            &[("retention.ms", SET, Some("1"))],
        ),
        (
            "no topic name",
            TOPIC,
            "",
            &[("retention.ms", SET, Some("1"))],
        ),
        (
            "a broker",
            BROKER,
            "1",
            &[("log.cleaner.threads", SET, Some("2"))],
        ),
        (
            "all brokers",
            BROKER,
            "",
            &[("log.retention.ms", SET, Some("604800000"))],
        ),
        (
            "a broker's read-only key",
            BROKER,
            "1",
            &[("node.id", SET, Some("5"))],
        ),
        (
            "a broker's bad value",
            BROKER,
            "1",
            &[("log.cleaner.threads", SET, Some("many"))],
        ),
        (
            "per broker only, for all",
            BROKER,
            "",
            &[("listeners", SET, Some("PLAINTEXT://:1"))],
        ),
        (
            "another broker",
            BROKER,
            "7",
            &[("log.cleaner.threads", SET, Some("2"))],
        ),
        (
            "no number",
            BROKER,
            "one",
            &[("log.cleaner.threads", SET, Some("2"))],
        ),
        ("an unknown type", 3, "x", &[("a", SET, Some("b"))]),
        (
            "client metrics",
            CLIENT_METRICS,
            "m",
            &[("interval.ms", SET, Some("60000"))],
        ),
        (
            "client metrics, a bad value",
            CLIENT_METRICS,
            "m",
            &[("interval.ms", SET, Some("1"))],
        ),
        (
            "client metrics, an unknown key",
            CLIENT_METRICS,
            "m",
            &[("odd", SET, Some("1"))],
        ),
        (
            "a group",
            GROUP,
            "g",
            &[("consumer.session.timeout.ms", SET, Some("50000"))],
        ),
        (
            "a group, a bad value",
            GROUP,
            "g",
            &[("consumer.session.timeout.ms", SET, Some("1"))],
        ),
        (
            "a group, an unknown key",
            GROUP,
            "g",
            &[("odd", SET, Some("1"))],
        ),
        (
            "a group without name",
            GROUP,
            "",
            &[("consumer.session.timeout.ms", SET, Some("50000"))],
        ),
    ] {
        transcript.case(
            name,
            all.clone(),
            of(resource_type, resource, Vec::leak(steps.to_vec())),
            settle,
        );
    }
    let twice = move |peer: &Peer, version: i16| {
        let mut request = of(TOPIC, "set", &[("retention.ms", SET, Some("5"))])(peer, version);
        request.resources.extend(
            of(TOPIC, "set", &[("segment.ms", SET, Some("60000"))])(peer, version).resources,
        );
        request.resources.extend(
            of(TOPIC, "nowhere", &[("segment.ms", SET, Some("60000"))])(peer, version).resources,
        );
        request
    };
    transcript.case("one resource twice", all.clone(), twice, settle);
    let validated = move |peer: &Peer, version: i16| IncrementalAlterConfigsRequest {
        validate_only: true,
        ..of(TOPIC, "set", &[("segment.ms", SET, Some("70000"))])(peer, version)
    };
    transcript.case("validated only", all, validated, settle);
    // What has become of it. Kafka's broker learns of it a moment later.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let show = |resource_type: i8, name: &'static str, keys: &'static [&str]| {
        move |_: &Peer, _: i16| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: name.into(),
                configuration_keys: Some(keys.iter().map(|key| (*key).into()).collect()),
            }],
            include_synonyms: true,
            ..Default::default()
        }
    };
    let as_it_is = |_: &mut DescribeConfigsResponse<'static>| {};
    transcript.case(
        "a topic by then",
        4..=4,
        show(
            TOPIC,
            "set",
            &["retention.ms", "segment.ms", "cleanup.policy"],
        ),
        crate::configs::settle,
    );
    transcript.case(
        "a broker by then",
        4..=4,
        show(BROKER, "1", &["log.cleaner.threads", "log.retention.ms"]),
        crate::configs::settle,
    );
    transcript.case(
        "all brokers by then",
        4..=4,
        show(BROKER, "", &["log.retention.ms"]),
        as_it_is,
    );
    transcript.case(
        "client metrics by then",
        4..=4,
        show(CLIENT_METRICS, "m", &["interval.ms"]),
        as_it_is,
    );
    transcript.case(
        "a group by then",
        4..=4,
        show(GROUP, "g", &["consumer.session.timeout.ms"]),
        as_it_is,
    );
}

fn list(transcript: &mut Transcript) {
    let settle = |response: &mut ListConfigResourcesResponse<'static>| {
        response.config_resources.sort_by(|a, b| {
            (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name))
        });
    };
    let of = |types: &'static [i8]| {
        move |_: &Peer, _: i16| ListConfigResourcesRequest {
            resource_types: types.to_vec(),
        }
    };
    transcript.case("all", 0..=1, of(&[]), settle);
    for (name, types) in [
        ("topics", &[TOPIC][..]),
        ("brokers", &[BROKER]),
        ("loggers", &[BROKER_LOGGER]),
        ("client metrics", &[CLIENT_METRICS]),
        ("groups", &[GROUP]),
        ("two types", &[TOPIC, BROKER, TOPIC]),
        ("an unknown type", &[3]),
    ] {
        transcript.case(name, 1..=1, of(Vec::leak(types.to_vec())), settle);
    }
}
