//! The table against itself, against Kafka's rules, and the doors it feeds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::alter::{self, Operation, Refusal, Resource, Step};
use super::describe::{self, Described};
use super::layers::{Layers, Overrides, Source};
use super::value::{self, Value};
use super::*;

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn fixed(pairs: &[(&str, &str)]) -> Layers {
    Layers::fixed(Arc::new(overrides(pairs)))
}

fn set<'a>(name: &'a str, value: &'a str) -> Step<'a> {
    Step {
        name,
        operation: Operation::Set,
        value: Some(value),
    }
}

fn step<'a>(operation: Operation, name: &'a str, value: &'a str) -> Step<'a> {
    Step {
        name,
        operation,
        value: Some(value),
    }
}

/// One step on a topic without values of its own; the refusal's text where it is refused.
fn topic_step(step: Step<'_>) -> Result<Overrides, String> {
    let done = alter::incremental(
        Resource::Topic("t"),
        &Layers::default(),
        &Overrides::new(),
        &[step],
    );
    done.map_err(|refusal| refusal.to_string())
}

fn only(rows: Vec<Described>) -> Described {
    let [row] = <[Described; 1]>::try_from(rows).expect("exactly one row was asked for");
    row
}

fn said(row: &Described) -> Vec<(&str, Option<&str>, Source)> {
    row.synonyms
        .iter()
        .map(|s| (s.name.as_str(), s.value.as_deref(), s.source))
        .collect()
}

#[test]
fn every_row_is_sound() {
    let mut names = BTreeSet::new();
    for knob in all() {
        let name = knob.name;
        assert!(
            names.insert((knob.scope, name)),
            "{name} stands in the table twice"
        );
        assert!(
            knob.sentence.ends_with('.'),
            "{name}: a sentence ends in a full stop"
        );
        if let Some(default) = knob.default {
            let parsed =
                value::parse(knob, default).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(
                parsed.to_string().to_lowercase(),
                canonical(default),
                "{name}"
            );
        }
        if let Some(synonym) = knob.broker_synonym {
            let broker =
                find(Scope::Broker, synonym).unwrap_or_else(|| panic!("{name}: no {synonym}"));
            let strongest_chain = chain(synonym)[0];
            assert_eq!(
                strongest_chain, synonym,
                "{name}: synonyms are the strongest of their chain"
            );
            let resolved = Layers::default()
                .value(synonym)
                .map(|value| value.to_string());
            assert_eq!(
                resolved.as_deref(),
                knob.default,
                "{name} and {synonym} differ in their default"
            );
            assert_eq!(
                broker.kind, knob.kind,
                "{name} and {synonym} differ in their type"
            );
        } else if matches!(knob.scope, Scope::Topic) && !knob.hidden {
            assert!(
                knob.default.is_some(),
                "{name}: a topic setting is never null"
            );
        }
    }
}

/// Java and Rust write the greatest double differently; the texts of the table are Java's.
fn canonical(default: &str) -> String {
    match default.parse::<f64>() {
        Ok(number) if default.contains(['.', 'E']) => format!("{number:?}"),
        _ => default.to_lowercase(),
    }
}

#[test]
fn the_differences_are_differences() {
    for (name, kafka, _) in DIFFERENCES {
        let knob = all()
            .find(|knob| knob.name == *name)
            .expect("a difference names a knob");
        assert_ne!(knob.default, Some(*kafka), "{name}");
    }
}

#[test]
fn values_are_refused_in_kafkas_words() {
    // Each line as Kafka 4.3.1 answered it to IncrementalAlterConfigs.
    let refused = [
        ("foo", "1", "Unknown topic config name: foo"),
        (
            "retention.ms",
            "-5",
            "Invalid value -5 for configuration retention.ms: Value must be at least -1",
        ),
        (
            "retention.ms",
            "abc",
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "retention.ms",
            "",
            "Invalid value  for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "cleanup.policy",
            "compress",
            "Invalid value compress for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "compression.type",
            "lzo",
            "Invalid value lzo for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "18",
            "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "segment.bytes",
            "1024",
            "Invalid value 1024 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            "segment.bytes",
            "99999999999",
            "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "min.cleanable.dirty.ratio",
            "x",
            "Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
        ),
        (
            "leader.replication.throttled.replicas",
            "abc",
            "Invalid value [abc] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        (
            "message.format.version",
            "3.0",
            "Unknown topic config name: message.format.version",
        ),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
    ];
    for (name, value, words) in refused {
        assert_eq!(topic_step(set(name, value)), Err(words.to_owned()));
    }
    let lags = [
        set("max.compaction.lag.ms", "5"),
        set("min.compaction.lag.ms", "99"),
    ];
    let refused = alter::incremental(
        Resource::Topic("t"),
        &Layers::default(),
        &Overrides::new(),
        &lags,
    );
    let words =
        "conflict topic config setting min.compaction.lag.ms (99) > max.compaction.lag.ms (5)";
    assert_eq!(refused, Err(Refusal::InvalidConfig(words.to_owned())));
    for (name, value) in [
        ("retention.ms", " 77 "),
        ("cleanup.policy", ""),
        ("cleanup.policy", "compact, delete"),
        ("preallocate", "TRUE"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("leader.replication.throttled.replicas", "*"),
        ("internal.segment.bytes", "1000"),
    ] {
        assert!(topic_step(set(name, value)).is_ok(), "{name}={value}");
    }
}

#[test]
fn lists_grow_and_shrink() {
    let policy = |present: Option<&str>, operation, given| {
        let present: Overrides = present
            .into_iter()
            .map(|text| ("cleanup.policy".to_owned(), text.to_owned()))
            .collect();
        let steps = [step(operation, "cleanup.policy", given)];
        let after = alter::incremental(Resource::Topic("t"), &Layers::default(), &present, &steps);
        after.expect("the values are good")["cleanup.policy"].clone()
    };
    assert_eq!(policy(None, Operation::Append, "compact"), "delete,compact");
    assert_eq!(
        policy(Some("compact"), Operation::Append, "compact"),
        "compact"
    );
    assert_eq!(
        policy(Some("compact, delete"), Operation::Subtract, "delete"),
        "compact"
    );
    assert_eq!(policy(Some("delete"), Operation::Subtract, "delete"), "");
    let words = "Can't APPEND to key retention.ms because its type is not LIST.";
    assert_eq!(
        topic_step(step(Operation::Append, "retention.ms", "5")),
        Err(words.to_owned())
    );
    let words = "Can't SUBTRACT to key foo because its type is not LIST.";
    assert_eq!(
        topic_step(step(Operation::Subtract, "foo", "5")),
        Err(words.to_owned())
    );
    let delete = Step {
        name: "foo",
        operation: Operation::Delete,
        value: None,
    };
    assert_eq!(
        topic_step(delete),
        Ok(Overrides::new()),
        "deleting what is not set is nothing"
    );
}

#[test]
fn requests_that_make_no_sense() {
    let layers = Layers::default();
    let none = Overrides::new();
    let refused = |resource, steps: &[Step<'_>]| {
        alter::incremental(resource, &layers, &none, steps).unwrap_err()
    };
    let request = |text: &str| Refusal::InvalidRequest(text.to_owned());
    let null = Step {
        name: "retention.ms",
        operation: Operation::Set,
        value: None,
    };
    assert_eq!(
        refused(Resource::Topic("t"), &[null]),
        request("Null value not supported for : retention.ms")
    );
    let twice = [set("retention.ms", "1"), set("retention.ms", "2")];
    assert_eq!(
        refused(Resource::Topic("t"), &twice),
        request("Error due to duplicate config keys")
    );
    assert_eq!(
        refused(Resource::Topic(""), &[]),
        request("Default topic resources are not allowed.")
    );
    assert_eq!(
        refused(Resource::Group(""), &[]),
        request("Default group resources are not allowed.")
    );
    assert_eq!(
        refused(Resource::ClientMetrics(""), &[]),
        request("Subscription name can't be empty")
    );
    let created = alter::new_topic(&layers, &[("retention.ms", None)]);
    let words = "Null value not supported for topic configs: retention.ms";
    assert_eq!(created, Err(Refusal::InvalidConfig(words.to_owned())));
    assert_eq!(Operation::from_code(4), None);
}

#[test]
fn broker_changes_as_in_kafka() {
    let none = Overrides::new();
    let layers = Layers::default();
    let change = |resource, name, value| {
        let done = alter::incremental(resource, &layers, &none, &[set(name, value)]);
        done.map(drop).map_err(|refusal| refusal.to_string())
    };
    let one = |name, value| change(Resource::Broker, name, value);
    let every = |name, value| change(Resource::AllBrokers, name, value);
    assert_eq!(one("log.retention.ms", "100"), Ok(()));
    assert_eq!(
        one("listener.name.plaintext.ssl.keystore.location", "/x"),
        Ok(())
    );
    let words = "Cannot update these configs dynamically: [num.partitions]";
    assert_eq!(one("num.partitions", "4"), Err(words.to_owned()));
    let words = "Cannot update these configs at default cluster level, broker id must be specified: [sasl.jaas.config]";
    assert_eq!(every("sasl.jaas.config", "x"), Err(words.to_owned()));
    let words = "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]";
    assert_eq!(one("ssl.keystore.location", "/x"), Err(words.to_owned()));
    let words =
        "Invalid value 0 for configuration log.flush.interval.messages: Value must be at least 1";
    assert_eq!(
        every("log.flush.interval.messages", "0"),
        Err(words.to_owned())
    );
    assert_eq!(
        one("log.roll.ms", "0"),
        Err("log.roll.ms must be greater than or equal to 1".to_owned())
    );
    let words = "Unknown broker config name: log.retention.mss; did you mean log.retention.ms?";
    assert_eq!(one("log.retention.mss", "1"), Err(words.to_owned()));
    assert!(
        one("num.io.threads", "100")
            .is_err_and(|words| words.contains("not be greater than double the current value 8"))
    );
    assert_eq!(one("num.io.threads", "9"), Ok(()));
    assert_eq!(every("num.io.threads", "100"), Ok(()));
    assert!(one("max.connections.per.ip.overrides", "x").is_err());
    assert!(one("cordoned.log.dirs", "/elsewhere").is_err());
    assert_eq!(one("cordoned.log.dirs", "./millstream-data"), Ok(()));
}

#[test]
fn groups_stay_within_the_brokers_bounds() {
    let change = |name, value| {
        let done = alter::incremental(
            Resource::Group("g"),
            &Layers::default(),
            &Overrides::new(),
            &[set(name, value)],
        );
        done.map(drop).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(change("consumer.session.timeout.ms", "50000"), Ok(()));
    let name = "consumer.session.timeout.ms";
    let words = "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms";
    assert_eq!(change(name, "100"), Err(words.to_owned()));
    let words = "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms";
    assert_eq!(change(name, "500000"), Err(words.to_owned()));
    assert_eq!(
        change("foo", "1"),
        Err("Unknown group config name: foo".to_owned())
    );
    assert!(change("streams.num.standby.replicas", "3").is_err());
    let words = "Invalid value foo for configuration share.auto.offset.reset: Invalid value `foo` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";
    assert_eq!(
        change("share.auto.offset.reset", "foo"),
        Err(words.to_owned())
    );
    assert_eq!(
        change("share.auto.offset.reset", "by_duration:PT1H"),
        Ok(())
    );
}

#[test]
fn client_metrics_subscriptions() {
    let change = |name, value| {
        let steps = [set(name, value)];
        alter::incremental(
            Resource::ClientMetrics("m"),
            &Layers::default(),
            &Overrides::new(),
            &steps,
        )
        .map(drop)
    };
    let words =
        "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)";
    assert_eq!(
        change("interval.ms", "5"),
        Err(Refusal::InvalidRequest(words.to_owned()))
    );
    let words = "Unknown client metrics configuration: foo";
    assert_eq!(
        change("foo", "1"),
        Err(Refusal::InvalidRequest(words.to_owned()))
    );
    assert_eq!(
        change("match", "x"),
        Err(Refusal::InvalidConfig(
            "Illegal client matching pattern: x".to_owned()
        ))
    );
    assert_eq!(change("match", "client_id=a.*"), Ok(()));
}

#[test]
fn a_topic_is_described_with_its_synonyms() {
    let layers = Layers {
        broker: Arc::new(overrides(&[("log.retention.ms", "100")])),
        cluster: Arc::new(overrides(&[("log.retention.ms", "200")])),
        fixed: Arc::new(overrides(&[("log.retention.hours", "10")])),
    };
    let row = only(describe::topic(
        &layers,
        &overrides(&[("retention.ms", "77")]),
        Some(&["retention.ms"]),
    ));
    assert_eq!(
        (row.value.as_deref(), row.source),
        (Some("77"), Source::DynamicTopic)
    );
    assert_eq!(
        said(&row),
        [
            ("retention.ms", Some("77"), Source::DynamicTopic),
            ("log.retention.ms", Some("100"), Source::DynamicBroker),
            (
                "log.retention.ms",
                Some("200"),
                Source::DynamicDefaultBroker
            ),
            ("log.retention.hours", Some("10"), Source::StaticBroker),
            ("log.retention.hours", Some("168"), Source::Default),
        ]
    );
    let row = only(describe::topic(
        &layers,
        &Overrides::new(),
        Some(&["retention.ms"]),
    ));
    assert_eq!(
        (row.value.as_deref(), row.source),
        (Some("100"), Source::DynamicBroker)
    );
}

#[test]
fn hours_reach_the_topic_though_kafka_names_no_synonym_for_them() {
    let layers = fixed(&[("log.retention.hours", "10")]);
    let row = only(describe::topic(
        &layers,
        &Overrides::new(),
        Some(&["retention.ms"]),
    ));
    assert_eq!(
        (row.value.as_deref(), row.source, row.synonyms.len()),
        (Some("36000000"), Source::Default, 0)
    );
    let broker = only(describe::broker(&layers, Some(&["log.retention.ms"])));
    assert_eq!((broker.value, broker.source), (None, Source::Default));
    assert_eq!(
        layers.value("log.retention.ms"),
        Some(Value::Whole(36_000_000))
    );
    assert_eq!(
        fixed(&[("log.retention.minutes", "-1")]).value("log.retention.ms"),
        Some(Value::Whole(-1))
    );
    assert_eq!(
        fixed(&[("log.flush.scheduler.interval.ms", "9")]).value("log.flush.interval.ms"),
        Some(Value::Whole(9))
    );
}

#[test]
fn a_broker_is_described() {
    let mut layers = fixed(&[
        ("num.io.threads", "4"),
        ("ssl.key.password", "secret"),
        ("listener.name.a.ssl.client.auth", "none"),
    ]);
    layers.cluster = Arc::new(overrides(&[
        ("log.segment.bytes", "2097152"),
        ("leader.replication.throttled.rate", "7"),
    ]));
    let row = |name: &str| only(describe::broker(&layers, Some(&[name])));
    assert_eq!(
        said(&row("num.io.threads")),
        [
            ("num.io.threads", Some("4"), Source::StaticBroker),
            ("num.io.threads", Some("8"), Source::Default)
        ]
    );
    assert!(!row("num.io.threads").read_only);
    assert!(row("num.partitions").read_only);
    let secret = row("ssl.key.password");
    assert!(secret.is_sensitive);
    assert_eq!(
        (secret.value, secret.synonyms[0].value.clone()),
        (None, None)
    );
    assert_eq!(
        row("log.segment.bytes").source,
        Source::DynamicDefaultBroker
    );
    assert_eq!(
        row("leader.replication.throttled.rate").value.as_deref(),
        Some("7")
    );
    assert!(row("listener.name.a.ssl.client.auth").read_only);
    let all = describe::broker(&layers, None);
    assert!(all.iter().all(|row| !row.name.starts_with("internal.")));
    let defaults: Vec<_> = describe::cluster_default(&layers, None)
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(
        defaults,
        ["leader.replication.throttled.rate", "log.segment.bytes"]
    );
}

#[test]
fn groups_and_subscriptions_are_described() {
    let rows = describe::group(&Layers::default(), &Overrides::new(), None);
    assert_eq!(rows.len(), 17);
    let name = "share.auto.offset.reset";
    let row = only(describe::group(
        &Layers::default(),
        &overrides(&[(name, "earliest")]),
        Some(&[name]),
    ));
    assert_eq!(
        said(&row),
        [
            (name, Some("earliest"), Source::Group),
            (name, Some("latest"), Source::Default)
        ]
    );
    let row = only(describe::client_metrics(
        &Layers::default(),
        &Overrides::new(),
        Some(&["interval.ms"]),
    ));
    assert_eq!(
        (row.value.as_deref(), row.source),
        (Some("300000"), Source::Default)
    );
}

#[test]
fn a_value_that_another_version_stored_does_not_stop_the_broker() {
    let layers = fixed(&[("log.segment.bytes", "12")]);
    assert_eq!(
        layers.value("log.segment.bytes"),
        Some(Value::Whole(1 << 30))
    );
}

/// `MILLSTREAM_WRITE_KNOBS=1 cargo test -p millstream knobs` brings tuning.md up to date.
#[test]
fn the_reference_in_tuning_md_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tuning.md");
    let text =
        std::fs::read_to_string(path).expect("tuning.md stands beside the workspace's Cargo.toml");
    let (before, rest) = text
        .split_once(reference::BEGIN)
        .expect("tuning.md has the marker before the knobs");
    let (_, after) = rest
        .split_once(reference::END)
        .expect("tuning.md has the marker after the knobs");
    let current = format!(
        "{before}{}\n\n{}\n{}{after}",
        reference::BEGIN,
        reference::markdown(),
        reference::END
    );
    if std::env::var_os("MILLSTREAM_WRITE_KNOBS").is_some() {
        std::fs::write(path, &current).expect("tuning.md can be written");
        return;
    }
    assert!(
        text == current,
        "tuning.md is out of date: run MILLSTREAM_WRITE_KNOBS=1 cargo test -p millstream knobs"
    );
}
