//! Configurations as users have them, and what is said about wrong ones.

use std::ffi::OsString;
use std::net::SocketAddr;

use super::*;

const MACHINE: &str = "mill.example";

fn machine() -> Machine {
    Machine {
        ipv6: true,
        name: MACHINE.to_owned(),
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, String> {
    let inputs = Inputs {
        variables: variables(pairs),
        ..Inputs::default()
    };
    Config::load(&inputs, &machine()).map_err(|error| error.to_string())
}

fn from_sets(sets: &[&str]) -> Result<Config, String> {
    let inputs = Inputs {
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        ..Inputs::default()
    };
    Config::load(&inputs, &machine()).map_err(|error| error.to_string())
}

/// A file with this text, and the message without its directory.
fn from_file(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("server.properties");
    std::fs::write(&path, text).expect("the file can be written");
    let inputs = Inputs {
        file: Some(path),
        ..Inputs::default()
    };
    let prefix = format!("{}/", dir.path().display());
    Config::load(&inputs, &machine()).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

/// The listeners as (name, bound addresses, advertised).
fn listeners(config: &Config) -> Vec<(&str, Vec<SocketAddr>, String)> {
    let told =
        |listener: &Listener| format!("{}:{}", listener.advertised_host, listener.advertised_port);
    config
        .listeners
        .iter()
        .map(|all| (all.name.as_str(), all.bind.clone(), told(all)))
        .collect()
}

#[test]
fn without_anything() {
    let config = from_sets(&[]).expect("the defaults are good");
    assert_eq!(
        (
            config.node_id,
            config.cluster_id.clone(),
            config.cores.clone()
        ),
        (1, None, None)
    );
    assert_eq!(config.log_dirs, [PathBuf::from("./millstream-data")]);
    let bound = addresses(&["[::1]:9092", "127.0.0.1:9092"]);
    assert_eq!(
        listeners(&config),
        [("PLAINTEXT", bound, "localhost:9092".to_owned())]
    );
    assert!(config.is_flushed_class());
    assert_eq!(config.warnings, [""; 0]);
    assert!(config.broker.auto_create_topics_enable);
    assert_eq!(
        (config.broker.num_partitions, config.broker.fetch_max_bytes),
        (1, 57_671_680)
    );
}

/// As a user has it for Kafka's container, word for word.
#[test]
fn the_environment_of_kafkas_container() {
    let config = from_environment(&[
        ("KAFKA_CFG_NODE_ID", "1"),
        ("KAFKA_CFG_PROCESS_ROLES", "controller,broker"),
        (
            "KAFKA_CFG_LISTENERS",
            "PLAINTEXT://:9092,CONTROLLER://:9093",
        ),
        (
            "KAFKA_CFG_ADVERTISED_LISTENERS",
            "PLAINTEXT://localhost:9092",
        ),
        ("KAFKA_CFG_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("KAFKA_CFG_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ])
    .expect("this must work");
    let bound = addresses(&["[::]:9092", "0.0.0.0:9092"]);
    assert_eq!(
        listeners(&config),
        [("PLAINTEXT", bound, "localhost:9092".to_owned())]
    );
    assert_eq!(config.controller_listeners, ["CONTROLLER"]);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_environment_of_apaches_image() {
    let config = from_environment(&[
        ("KAFKA_NODE_ID", "7"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        (
            "KAFKA_LISTENERS",
            "PLAINTEXT://:9092,CONTROLLER://:9093,PLAINTEXT_HOST://0.0.0.0:29092",
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            "PLAINTEXT://broker:9092,PLAINTEXT_HOST://localhost:29092",
        ),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "7@broker:9093"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_NUM_IO_THREADS", "4"),
        ("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw"),
    ])
    .expect("this is how the image is used");
    assert_eq!(config.node_id, 7);
    assert_eq!(config.cluster_id.as_deref(), Some("5L6g3nShT-eMCtK--X86sw"));
    assert_eq!(config.broker.group_initial_rebalance_delay_ms, 0);
    let hosts: Vec<_> = listeners(&config)
        .into_iter()
        .map(|(name, _, told)| (name.to_owned(), told))
        .collect();
    let expected = [
        ("PLAINTEXT", "broker:9092"),
        ("PLAINTEXT_HOST", "localhost:29092"),
    ];
    assert_eq!(
        hosts,
        expected.map(|(name, told)| (name.to_owned(), told.to_owned()))
    );
    assert_eq!(
        config.warnings,
        [
            "accepted, but what they control is not built yet: transaction.state.log.min.isr",
            "accepted, without meaning here: num.io.threads",
        ]
    );
}

#[test]
fn what_orchestrators_inject_is_one_warning() {
    let config = from_environment(&[
        ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("KAFKA_SERVICE_HOST", "10.0.0.1"),
        ("CLUSTER_ID", "production"),
    ])
    .expect("variables never stop the start");
    assert_eq!(
        config.warnings,
        [
            "CLUSTER_ID is passed over: a cluster id is 22 characters of URL-safe base64",
            "environment variables that are no setting, passed over: KAFKA_PORT, KAFKA_PORT_9092_TCP_ADDR, KAFKA_SERVICE_HOST",
        ]
    );
    assert_eq!(listeners(&config).len(), 1);
}

#[test]
fn sources_in_their_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("p");
    std::fs::write(
        &path,
        "num.partitions=1\nlog.dirs=/a\nnode.id=1\nbroker.rack=r",
    )
    .expect("written");
    let inputs = Inputs {
        file: Some(path),
        variables: variables(&[
            ("KAFKA_NUM_PARTITIONS", "2"),
            ("KAFKA_NODE_ID", "2"),
            ("KAFKA_CFG_NODE_ID", "3"),
            ("KAFKA_CFG_LOG_DIRS", "/b,/c"),
        ]),
        sets: vec!["num.partitions=4".to_owned(), "num.partitions=5".to_owned()],
        cores: Some("1,0".to_owned()),
        memory: None,
    };
    let config = Config::load(&inputs, &machine()).expect("all of it is good");
    assert_eq!((config.broker.num_partitions, config.node_id), (5, 3));
    assert_eq!(config.log_dirs, [PathBuf::from("/b"), PathBuf::from("/c")]);
    assert_eq!(
        (config.cores, config.rack.as_deref()),
        (Some(vec![0, 1]), Some("r"))
    );
    assert_eq!(
        config.fixed.get("num.partitions").map(String::as_str),
        Some("5")
    );
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let wrong = |text: &str| from_file(text).expect_err("this is wrong");
    assert_eq!(
        wrong("# x\nlog.retention.mss=5"),
        "server.properties:2: unknown key log.retention.mss; did you mean log.retention.ms?"
    );
    assert_eq!(
        wrong("retention.ms=5"),
        "server.properties:1: unknown key retention.ms; that is a topic's setting; for the broker it is log.retention.ms"
    );
    assert_eq!(
        wrong("num.partitions=no"),
        "server.properties:1: Invalid value no for configuration num.partitions: Not a number of type INT; \
         num.partitions is: Partitions of a topic created without a number."
    );
    assert!(wrong("zookeeper.connect=a:2181").contains("no ZooKeeper"));
    assert!(wrong("xyz=1").ends_with("`millstream knobs` lists all keys"));
    assert!(wrong("a=\\u1").contains("server.properties:1: malformed"));
    let wrong = from_sets(&["num.partition=3"]).expect_err("this is wrong");
    assert_eq!(
        wrong,
        "--set num.partition=3: unknown key num.partition; did you mean num.partitions?"
    );
    assert!(from_sets(&["num.partitions"]).is_err_and(|error| error.contains("no = in it")));
    let wrong = from_environment(&[("KAFKA_CFG_NODE_ID", "x")]).expect_err("this is wrong");
    assert!(wrong.starts_with(
        "environment variable KAFKA_CFG_NODE_ID: Invalid value x for configuration node.id"
    ));
    let inputs = Inputs {
        file: Some("/nowhere/at/all".into()),
        ..Inputs::default()
    };
    let error = Config::load(&inputs, &machine())
        .expect_err("there is no such file")
        .to_string();
    assert!(
        error.starts_with("/nowhere/at/all: cannot be read"),
        "{error}"
    );
}

#[test]
fn passwords_stay_out_of_messages() {
    let config = from_sets(&[
        "ssl.key.password=geheim",
        "listener.name.x.ssl.key.password=geheim",
    ])
    .expect("stored");
    assert!(!config.warnings.join(" ").contains("geheim"));
}

#[test]
fn empty_hosts_and_hosts_that_are_names() {
    let everywhere = from_sets(&["listeners=PLAINTEXT://:19092"]).expect("good");
    let bound = addresses(&["[::]:19092", "0.0.0.0:19092"]);
    assert_eq!(
        listeners(&everywhere),
        [("PLAINTEXT", bound, format!("{MACHINE}:19092"))]
    );
    let inputs = Inputs {
        sets: vec!["listeners=PLAINTEXT://:19092".to_owned()],
        ..Inputs::default()
    };
    let without = Machine {
        ipv6: false,
        name: MACHINE.to_owned(),
    };
    let config = Config::load(&inputs, &without).expect("good");
    assert_eq!(config.listeners[0].bind, addresses(&["0.0.0.0:19092"]));
    let loopback = from_sets(&["listeners=PLAINTEXT://localhost:0"]).expect("good");
    assert_eq!(
        loopback.listeners[0].bind,
        addresses(&["[::1]:0", "127.0.0.1:0"])
    );
    let v6 = from_sets(&["listeners=PLAINTEXT://[::1]:9092"]).expect("good");
    assert_eq!(
        listeners(&v6),
        [(
            "PLAINTEXT",
            addresses(&["[::1]:9092"]),
            "::1:9092".to_owned()
        )]
    );
    assert!(
        Config::load(
            &Inputs {
                sets: vec!["listeners=PLAINTEXT://[::1]:9092".to_owned()],
                ..Inputs::default()
            },
            &without
        )
        .is_err()
    );
}

#[test]
fn listeners_from_what_is_advertised() {
    let config = from_environment(&[(
        "KAFKA_ADVERTISED_LISTENERS",
        "PLAINTEXT://kafka.example:19092",
    )])
    .expect("good");
    let bound = addresses(&["[::]:19092", "0.0.0.0:19092"]);
    assert_eq!(
        listeners(&config),
        [("PLAINTEXT", bound, "kafka.example:19092".to_owned())]
    );
    let config = from_file("advertised.listeners=PLAINTEXT://kafka.example:19092").expect("good");
    assert_eq!(
        config.listeners[0].bind,
        addresses(&["[::]:9092", "0.0.0.0:9092"])
    );
}

#[test]
fn listeners_that_cannot_be() {
    let cases: &[(&[&str], &str)] = &[
        (&["listeners=9092"], "is not a listener"),
        (&["listeners=PLAINTEXT://:99999"], "is not a listener"),
        (&["listeners="], "empty"),
        (&["listeners=SSL://:9092"], "TLS and SASL are not built yet"),
        (
            &["listeners=CLIENT://:9092"],
            "no security protocol is defined for listener CLIENT",
        ),
        (
            &["listeners=PLAINTEXT://:9092,PLAINTEXT://:9093"],
            "two listeners are called PLAINTEXT",
        ),
        (
            &["listeners=PLAINTEXT://:9092,CONTROLLER://:9092"],
            "two listeners have port 9092",
        ),
        (
            &["listeners=CONTROLLER://:9093"],
            "all of them are controller listeners",
        ),
        (
            &["listeners=PLAINTEXT://0.0.0.0:9092"],
            "nothing else is advertised",
        ),
        (
            &["advertised.listeners=OTHER://a:1"],
            "is not one of listeners",
        ),
        (
            &["advertised.listeners=PLAINTEXT://0.0.0.0:1"],
            "no address that a client can connect to",
        ),
        (
            &["controller.listener.names=CTRL"],
            "CTRL is not one of listeners",
        ),
        (
            &["inter.broker.listener.name=X"],
            "X is not one of listeners",
        ),
        (
            &[
                "inter.broker.listener.name=PLAINTEXT",
                "security.inter.broker.protocol=PLAINTEXT",
            ],
            "excludes",
        ),
        (
            &["listener.security.protocol.map=A:B"],
            "maps nothing to a protocol",
        ),
        (
            &["listeners=PLAINTEXT://no.such.host.invalid:1"],
            "cannot be found",
        ),
    ];
    for (sets, words) in cases {
        let error = from_sets(sets).expect_err("this cannot be");
        assert!(error.contains(words), "{sets:?}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn values_that_do_not_go_together() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["node.id=1", "broker.id=2"],
            "broker.id is 2, but node.id is 1",
        ),
        (&["process.roles=controller"], "without the broker role"),
        (
            &["controller.quorum.voters=1@a:1,2@b:1"],
            "clusters of several nodes are not built yet",
        ),
        (
            &["controller.quorum.voters=localhost:9093"],
            "is not a voter",
        ),
        (
            &[
                "group.min.session.timeout.ms=9",
                "group.max.session.timeout.ms=8",
            ],
            "must be greater than or equal to",
        ),
        (
            &["group.consumer.session.timeout.ms=44"],
            "must be greater than or equal to group.consumer.min",
        ),
        (
            &["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"],
            "everyone would be let in",
        ),
        (&["log.dirs=/a,/a/"], "twice"),
        (&["log.dirs=/a,,/b"], "empty one"),
        (&["log.retention.hours=0"], "must be unlimited (-1)"),
        (&["cores=1-"], "neither a core nor a range"),
        (&["max.connections.per.ip.overrides=a"], "is not host:count"),
    ];
    for (sets, words) in cases {
        let error = from_sets(sets).expect_err("this cannot be");
        assert!(error.contains(words), "{sets:?}: {error}");
    }
    assert_eq!(
        from_sets(&["broker.id=4"]).map(|config| config.node_id),
        Ok(4)
    );
}

#[test]
fn topic_settings_reach_the_topic_through_all_levels() {
    let config = from_sets(&[
        "log.retention.minutes=2",
        "log.flush.interval.messages=500",
        "compression.type=zstd",
    ])
    .expect("good");
    assert!(!config.is_flushed_class());
    let own = Overrides::from([("cleanup.policy".to_owned(), "compact,delete".to_owned())]);
    let cluster = Overrides::from([("log.segment.bytes".to_owned(), "2097152".to_owned())]);
    let topic = TopicConfig::resolve(&config.layers(Overrides::new(), cluster), &own);
    assert_eq!(
        (
            topic.retention_ms,
            topic.flush_messages,
            topic.segment_bytes
        ),
        (120_000, 500, 2_097_152)
    );
    assert_eq!(topic.compression_type, CompressionType::Zstd(3));
    assert!(topic.cleanup_compact && topic.cleanup_delete);
    let plain = TopicConfig::resolve(&Layers::default(), &Overrides::new());
    assert_eq!(
        (
            plain.flush_messages,
            plain.max_message_bytes,
            plain.flush_ms
        ),
        (1, 1_048_588, i64::MAX)
    );
    assert_eq!(plain.message_timestamp_type, TimestampType::CreateTime);
}

#[test]
fn memory_is_given_in_units() {
    let load = |memory: &str| {
        let inputs = Inputs {
            memory: Some(memory.to_owned()),
            ..Inputs::default()
        };
        Config::load(&inputs, &machine()).map(|config| config.broker.memory_bytes)
    };
    assert_eq!(load("512M"), Ok(Some(512 << 20)));
    assert_eq!(load("8GiB"), Ok(Some(8 << 30)));
    assert_eq!(load("1000000000"), Ok(Some(1_000_000_000)));
    for wrong in ["", "M", "-1G", "0", "8X", "99999999999T"] {
        assert!(load(wrong).is_err(), "{wrong}");
    }
}
