//! Kafka's own command-line tools, 4.3.1, as a user types them.

mod harness;

use std::io::Write;
use std::process::{Command, Stdio};

use harness::Broker;
use harness::runtime::{self, Java};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";

struct Tools {
    java: Java,
    bootstrap: String,
}

impl Tools {
    fn of(broker: &Broker) -> Tools {
        Tools {
            java: Java::current(),
            bootstrap: broker.bootstrap(),
        }
    }

    fn command(&self, class: &str, arguments: &[&str]) -> Command {
        let mut tool = self.java.class(class);
        tool.args(["--bootstrap-server", &self.bootstrap])
            .args(arguments);
        tool
    }

    /// What a tool writes that must succeed.
    fn run(&self, class: &str, arguments: &[&str]) -> String {
        runtime::run(self.command(class, arguments))
    }

    /// All that a tool writes that must fail.
    fn fail(&self, class: &str, arguments: &[&str]) -> String {
        let output = runtime::finish(&mut self.command(class, arguments));
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        assert!(
            !output.status.success(),
            "{arguments:?} should fail:\n{text}"
        );
        text
    }

    fn produce(&self, topic: &str, lines: &str, arguments: &[&str]) {
        let mut producer = self.command(PRODUCER, &["--topic", topic]);
        let spawned = producer
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.expect("java can be run");
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(lines.as_bytes())
            .expect("the producer reads");
        let output = child.wait_with_output().expect("the producer ends");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[track_caller]
fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
}

/// A name of its own in every run: `MILLSTREAM_TEST_BOOTSTRAP` may point to a broker with a past.
fn name(base: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{base}-{}", now.expect("the clock is right").as_nanos())
}

#[test]
fn topics_are_created_described_altered_and_deleted() {
    let broker = Broker::start();
    let tools = Tools::of(&broker);
    let topic = &name("topics");
    has(
        &tools.run(
            TOPICS,
            &[
                "--create",
                "--topic",
                topic,
                "--partitions",
                "3",
                "--config",
                "retention.ms=5000",
            ],
        ),
        "Created topic",
    );
    has(&tools.run(TOPICS, &["--list"]), topic);
    let described = tools.run(TOPICS, &["--describe", "--topic", topic]);
    has(&described, "PartitionCount: 3");
    has(&described, "ReplicationFactor: 1");
    has(&described, "retention.ms=5000");
    has(
        &tools.fail(TOPICS, &["--create", "--topic", topic]),
        "already exists",
    );
    has(
        &tools.fail(TOPICS, &["--describe", "--topic", &name("nope")]),
        "does not exist",
    );
    has(
        &tools.fail(
            TOPICS,
            &[
                "--create",
                "--topic",
                &name("rf"),
                "--replication-factor",
                "3",
            ],
        ),
        "eplication factor",
    );
    tools.run(TOPICS, &["--alter", "--topic", topic, "--partitions", "5"]);
    has(
        &tools.run(TOPICS, &["--describe", "--topic", topic]),
        "PartitionCount: 5",
    );
    tools.run(TOPICS, &["--delete", "--topic", topic]);
    assert!(!tools.run(TOPICS, &["--list"]).contains(topic.as_str()));
}

#[test]
fn configs_are_described_and_altered() {
    let broker = Broker::start();
    let tools = Tools::of(&broker);
    let topic = &name("configs");
    tools.run(TOPICS, &["--create", "--topic", topic]);
    let entity = ["--entity-type", "topics", "--entity-name", topic.as_str()];
    let with = |more: &[&'static str]| [&entity[..], more].concat();
    tools.run(
        CONFIGS,
        &with(&[
            "--alter",
            "--add-config",
            "retention.ms=1000,cleanup.policy=[compact,delete]",
        ]),
    );
    let described = tools.run(CONFIGS, &with(&["--describe"]));
    has(
        &described,
        "retention.ms=1000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000}",
    );
    has(&described, "cleanup.policy=compact,delete");
    tools.run(
        CONFIGS,
        &with(&["--alter", "--delete-config", "retention.ms"]),
    );
    has(
        &tools.run(CONFIGS, &with(&["--describe", "--all"])),
        "retention.ms=604800000",
    );
    has(
        &tools.fail(
            CONFIGS,
            &with(&["--alter", "--add-config", "segment.bytes=12"]),
        ),
        "Value must be at least 1048576",
    );
    has(
        &tools.fail(CONFIGS, &with(&["--alter", "--add-config", "no.such=1"])),
        "Unknown topic config name: no.such",
    );
    tools.run(
        CONFIGS,
        &[
            "--broker-defaults",
            "--alter",
            "--add-config",
            "log.retention.ms=77777",
        ],
    );
    has(
        &tools.run(CONFIGS, &["--broker-defaults", "--describe"]),
        "log.retention.ms=77777",
    );
    has(
        &tools.run(CONFIGS, &with(&["--describe", "--all"])),
        "retention.ms=77777",
    );
    tools.run(
        CONFIGS,
        &[
            "--broker-defaults",
            "--alter",
            "--delete-config",
            "log.retention.ms",
        ],
    );
    has(
        &tools.run(CONFIGS, &["--broker", "1", "--describe", "--all"]),
        "num.partitions=1",
    );
}

#[test]
fn console_producer_consumer_and_groups() {
    let broker = Broker::start();
    let tools = Tools::of(&broker);
    let (topic, group) = (&name("console"), &name("group"));
    tools.run(TOPICS, &["--create", "--topic", topic]);
    tools.produce(
        topic,
        "first\nsecond\nthird\n",
        &["--compression-codec", "zstd"],
    );
    let read = [
        "--topic",
        topic,
        "--from-beginning",
        "--max-messages",
        "3",
        "--timeout-ms",
        "30000",
        "--group",
        group,
    ];
    assert_eq!(tools.run(CONSUMER, &read), "first\nsecond\nthird\n");
    tools.produce(topic, "fourth\n", &[]);
    let described = tools.run(GROUPS, &["--describe", "--group", group]);
    let row: Vec<&str> = described
        .lines()
        .filter(|line| line.contains(topic.as_str()))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(
        row.get(3..6),
        Some(&["3", "4", "1"][..]),
        "offset, end and lag in:\n{described}"
    );
    has(&tools.run(GROUPS, &["--list"]), group);
    tools.run(
        GROUPS,
        &[
            "--reset-offsets",
            "--group",
            group,
            "--topic",
            topic,
            "--to-earliest",
            "--execute",
        ],
    );
    has(
        &tools.run(GROUPS, &["--describe", "--group", group, "--state"]),
        "Empty",
    );
    let again = [
        "--topic",
        topic,
        "--max-messages",
        "4",
        "--timeout-ms",
        "30000",
        "--group",
        group,
    ];
    assert_eq!(
        tools.run(CONSUMER, &again),
        "first\nsecond\nthird\nfourth\n"
    );
    has(
        &tools.run(GROUPS, &["--delete", "--group", group]),
        "was successful",
    );
    let offsets = tools.run("org.apache.kafka.tools.GetOffsetShell", &["--topic", topic]);
    assert_eq!(offsets.trim(), format!("{topic}:0:4"));
}

#[test]
fn what_describes_the_broker() {
    let broker = Broker::start();
    let tools = Tools::of(&broker);
    let of = |tool: &str| format!("org.apache.kafka.tools.{tool}");
    has(
        &tools.run(&of("BrokerApiVersionsCommand"), &[]),
        "Produce(0)",
    );
    has(
        &tools.run(&of("LogDirsCommand"), &["--describe"]),
        "\"logDirs\"",
    );
    has(
        &tools.run(&of("MetadataQuorumCommand"), &["describe", "--status"]),
        "LeaderId:",
    );
    has(
        &tools.run(&of("FeatureCommand"), &["describe"]),
        "metadata.version",
    );
    let mut cluster = tools.java.class(&of("ClusterTool"));
    cluster.args(["cluster-id", "--bootstrap-server", &tools.bootstrap]);
    has(&runtime::run(cluster), "Cluster ID:");
}

/// After a clean stop, Kafka's own reader finds every segment whole.
#[test]
fn dump_log_reads_what_a_clean_stop_leaves() {
    let mut broker = Broker::start();
    let tools = Tools::of(&broker);
    let topic = &name("dumped");
    tools.run(TOPICS, &["--create", "--topic", topic]);
    tools.produce(topic, "one\ntwo\n", &["--compression-codec", "gzip"]);
    // The files of a broker that is not ours are out of reach.
    let Some(own) = broker.own() else { return };
    let (stopped, data) = (own.stop(), own.data());
    assert_eq!(stopped, Some(0), "{}", broker.log());
    let segment = data.join(format!("{topic}-0/00000000000000000000.log"));
    let mut dump = tools.java.class(DUMP_LOG);
    dump.args(["--deep-iteration", "--print-data-log", "--files"])
        .arg(&segment);
    let text = runtime::run(dump);
    has(&text, "payload: one");
    has(&text, "payload: two");
    has(&text, "isvalid: true");
    assert!(!text.contains("isvalid: false"), "{text}");
}
