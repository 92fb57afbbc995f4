//! The end of a broker under load, what is on disk then, and the next start: also with other cores, also on a directory that
//! Kafka wrote.

mod harness;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::node::{Node, copy};
use harness::runtime::{self, Java};
use harness::wire::{self, FETCH, PRODUCE, Wire, batch, fetch_request, produce_request};
use millstream_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use millstream_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_protocol::messages::produce::ProduceResponse;

const TOPIC: &str = "load";
const PARTITIONS: i32 = 4;
const DUMP_LOG: &str = "org.apache.kafka.tools.DumpLogSegments";

/// Offset and value of every acknowledged record.
type Acknowledged = BTreeMap<i64, Vec<u8>>;

fn value(partition: i32, number: u64) -> Vec<u8> {
    let mut value = format!("{partition}-{number}-").into_bytes();
    // Now and then one that takes the way of the large ones.
    value.resize(
        if number.is_multiple_of(50) {
            200_000
        } else {
            300
        },
        b'.',
    );
    value
}

/// Produces to one partition, several requests in flight, until the broker ends the connection.
fn produce_until_the_end(port: u16, partition: i32, count: &AtomicU64) -> Acknowledged {
    let mut wire = Wire::connect(port);
    let mut acknowledged = Acknowledged::new();
    let mut waiting = std::collections::VecDeque::new();
    for number in 0.. {
        let records = batch(&[&value(partition, number)]);
        let bytes = wire::request_frame(
            PRODUCE,
            &produce_request(TOPIC, partition, records, -1),
            number as i32,
        );
        wire.raw(&bytes);
        waiting.push_back(number);
        if waiting.len() < 8 {
            continue;
        }
        let number = waiting.pop_front().expect("eight wait");
        let Some(frame) = wire.frame() else { break };
        let response: ProduceResponse = wire::answer(frame, PRODUCE, number as i32);
        let answer = &response.responses[0].partition_responses[0];
        if answer.error_code == 0 {
            acknowledged.insert(answer.base_offset, value(partition, number));
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

/// A member that waits for the group to begin.
fn park_in_a_group(node: &Node) -> Wire {
    let mut wire = node.connect();
    let find = FindCoordinatorRequest {
        key: "parked".into(),
        ..Default::default()
    };
    loop {
        let found: FindCoordinatorResponse = wire.ask(2, &find);
        if found.error_code == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let join = JoinGroupRequest {
        group_id: "parked".into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: b"".as_slice().into(),
        }],
        ..Default::default()
    };
    wire.send(3, &join);
    wire
}

/// Every acknowledged record is where it was said to be.
#[track_caller]
fn has_all(node: &Node, acknowledged: &[Acknowledged]) {
    for (partition, acknowledged) in (0..).zip(acknowledged) {
        let there: BTreeMap<i64, Vec<u8>> = node
            .connect()
            .values(TOPIC, partition, 0)
            .into_iter()
            .collect();
        assert!(
            there.keys().copied().eq(0..there.len() as i64),
            "offsets without a gap"
        );
        for (offset, value) in acknowledged {
            assert!(
                there.get(offset) == Some(value),
                "{TOPIC}-{partition} at {offset}:\n{}",
                node.said()
            );
        }
    }
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data).expect("a data directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            let files = std::fs::read_dir(path).expect("a partition");
            found.extend(
                files
                    .map(|file| file.expect("an entry").path())
                    .filter(|file| file.extension().is_some_and(|e| e == "log")),
            );
        }
    }
    found.sort();
    found
}

/// Kafka's own reader finds nothing to complain about.
#[track_caller]
fn kafka_reads_all(data: &Path) {
    let files: Vec<String> = segments(data)
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    assert!(!files.is_empty());
    let mut dump = Java::current().class(DUMP_LOG);
    dump.args(["--deep-iteration", "--files", &files.join(",")]);
    let output = runtime::finish(&mut dump);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("isvalid: true"), "{out}");
    for complaint in ["isvalid: false", "Found", "exception", "corrupt"] {
        assert!(
            !out.contains(complaint) && !err.contains(complaint),
            "{complaint}:\n{err}"
        );
    }
    assert_eq!(
        out.matches("Log starting offset: ").count(),
        files.len(),
        "every segment was read"
    );
}

#[test]
fn a_stop_under_load_keeps_every_acknowledged_record() {
    let mut node = Node::new(&["group.initial.rebalance.delay.ms=60000"]);
    node.start();
    node.connect().create(TOPIC, PARTITIONS);
    node.connect().create("empty", 1);
    let group = park_in_a_group(&node);
    let mut fetch = node.connect();
    fetch.send(FETCH, &fetch_request("empty", 0, 0, 60_000));
    let (port, count) = (node.port, AtomicU64::new(0));
    let acknowledged: Vec<Acknowledged> = std::thread::scope(|scope| {
        let count = &count;
        let producers: Vec<_> = (0..PARTITIONS)
            .map(|p| scope.spawn(move || produce_until_the_end(port, p, count)))
            .collect();
        while count.load(Ordering::Relaxed) < 2000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let begun = Instant::now();
        node.process().signal("TERM");
        // Who presses the key twice gets no less.
        std::thread::sleep(Duration::from_millis(20));
        if node.process().is_running() {
            node.process().signal("TERM");
        }
        let code = node.process().wait();
        let took = begun.elapsed();
        assert_eq!(code, Some(0), "{}", node.said());
        // Neither the group nor the fetch, which want a minute, has been waited for.
        assert!(took < Duration::from_secs(30), "{took:?}");
        println!("stopped in {took:?}");
        producers
            .into_iter()
            .map(|producer| producer.join().expect("a producer"))
            .collect()
    });
    drop((group, fetch));
    assert!(node.data().join(".kafka_cleanshutdown").exists());
    kafka_reads_all(&node.data());
    node.start();
    has_all(&node, &acknowledged);
    assert!(!node.said().contains("ERROR"), "{}", node.said());
    let next = node
        .connect()
        .produce(TOPIC, 0, batch(&[b"goes on"]))
        .base_offset;
    assert!(
        next > *acknowledged[0]
            .keys()
            .last()
            .expect("some were acknowledged")
    );
    assert_eq!(node.process().stop(), Some(0));
}

#[test]
fn sigint_stops_as_sigterm_does_and_cores_may_change() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // On a machine with one core the same is tried without a change.
    let all = if cores > 1 { "0,1" } else { "0" };
    let mut node = Node::new(&[]);
    let mut acknowledged = vec![Acknowledged::new(); PARTITIONS as usize];
    for (round, list) in ["0", all, "0", all].into_iter().enumerate() {
        node.arguments = vec!["--cores".to_owned(), list.to_owned()];
        node.start();
        if round == 0 {
            node.connect().create(TOPIC, PARTITIONS);
        }
        has_all(&node, &acknowledged);
        let mut wire = node.connect();
        for (partition, acknowledged) in (0..).zip(&mut acknowledged) {
            for number in 0..60 {
                let value = value(partition, number);
                let answer = wire.produce(TOPIC, partition, batch(&[&value]));
                assert_eq!(answer.error_code, 0, "{answer:?}");
                acknowledged.insert(answer.base_offset, value);
            }
        }
        if round == 2 {
            node.process().kill();
            continue;
        }
        node.process().signal("INT");
        assert_eq!(node.process().wait(), Some(0), "{}", node.said());
    }
    node.start();
    has_all(&node, &acknowledged);
    assert!(!node.said().contains("ERROR"), "{}", node.said());
}

/// The narrow places: the directory is no longer clean and the new journals are not in force, or the old ones are gone and
/// it is not clean yet.
#[test]
fn kills_while_starting_and_stopping_do_no_harm() {
    let mut node = Node::started(&[]);
    node.connect().create(TOPIC, PARTITIONS);
    let mut acknowledged = vec![Acknowledged::new(); PARTITIONS as usize];
    for round in 0..12 {
        let mut wire = node.connect();
        for (partition, acknowledged) in (0..).zip(&mut acknowledged) {
            let value = value(partition, round);
            let answer = wire.produce(TOPIC, partition, batch(&[&value]));
            assert_eq!(answer.error_code, 0, "{answer:?}");
            acknowledged.insert(answer.base_offset, value);
        }
        if round % 2 == 0 {
            node.process().signal("TERM");
            std::thread::sleep(Duration::from_millis(3 * round));
            node.process().kill();
        } else {
            assert_eq!(node.stop(), Some(0), "{}", node.said());
            let mut interrupted = node.command();
            interrupted
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            let mut interrupted = interrupted.spawn().expect("the binary was built by cargo");
            std::thread::sleep(Duration::from_millis(5 * round));
            interrupted.kill().expect("it is ours");
            interrupted.wait().expect("a killed process ends");
        }
        node.start();
        has_all(&node, &acknowledged);
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

/// Nobody can stop cleanly there, and nobody should wait for it.
#[test]
fn a_data_directory_that_is_gone_does_not_keep_the_broker_from_stopping() {
    let mut node = Node::started(&[]);
    let mut wire = node.connect();
    wire.create(TOPIC, 1);
    assert_eq!(wire.produce(TOPIC, 0, batch(&[b"lost"])).error_code, 0);
    // The broker goes on making files there while the directory is being emptied.
    while let Err(error) = std::fs::remove_dir_all(node.data()) {
        match error.kind() {
            ErrorKind::NotFound => break,
            ErrorKind::DirectoryNotEmpty => {}
            _ => panic!("{}: {error}", node.data().display()),
        }
    }
    let code = node.stop();
    assert_eq!(code, Some(1), "{}", node.said());
    let said = node.said();
    assert!(
        said.contains("the stop was not clean") && !said.contains("panicked"),
        "{said}"
    );
}

/// A directory of Kafka 4.3.1, copied after it had stopped cleanly.
#[test]
fn a_directory_that_kafka_wrote_opens_here() {
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../storage/tests/fixtures/kafka-4.3.1/clean"
    );
    let mut node = Node::new(&[]);
    copy(Path::new(fixture), &node.data());
    node.start();
    let line = "4 topics were found in the data directory and taken over; their retention is off until it is set";
    let line_of_all = line.replace("4 topics", "5 topics");
    assert!(
        node.said().contains(line) || node.said().contains(&line_of_all),
        "{}",
        node.said()
    );
    let mut wire = node.connect();
    let metadata: MetadataResponse = wire.ask(
        12,
        &MetadataRequest {
            topics: None,
            ..Default::default()
        },
    );
    assert_eq!(
        metadata.cluster_id.as_deref(),
        Some("MkU3OEVBNTcwNTJENDM2Qk")
    );
    for (name, end) in [("plain", 30), ("codecs", 120), ("empty", 0)] {
        let topic = metadata
            .topics
            .iter()
            .find(|topic| topic.name.as_deref() == Some(name));
        let topic = topic.unwrap_or_else(|| panic!("{name} is missing: {metadata:?}"));
        let own = std::fs::read_to_string(node.data().join(format!("{name}-0/partition.metadata")));
        assert!(
            own.expect("it is there")
                .contains(&format!("topic_id: {}", topic.topic_id)),
            "{name}"
        );
        let before = wire.values(name, 0, 0);
        assert_eq!(before.len(), end, "{name}");
        assert!(
            before.iter().map(|(offset, _)| *offset).eq(0..end as i64),
            "{name}"
        );
        let answer = wire.produce(name, 0, batch(&[b"new"]));
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, end as i64),
            "{name}"
        );
        assert_eq!(retention_ms(&mut wire, name), "-1");
    }
    // Transactions, ended and not: their records and markers keep their offsets.
    let answer = wire.produce("payments", 0, batch(&[b"new"]));
    assert_eq!(
        (answer.error_code, answer.base_offset),
        (0, 49),
        "{answer:?}"
    );
    assert_eq!(node.stop(), Some(0), "{}", node.said());
    kafka_reads_all(&node.data());
    node.start();
    let mut wire = node.connect();
    assert_eq!(wire.values("plain", 0, 30), [(30, b"new".to_vec())]);
    assert_eq!(wire.values("codecs", 0, 0).len(), 121);
    assert_eq!(retention_ms(&mut wire, "codecs"), "-1");
    assert_eq!(
        node.said().matches("taken over").count(),
        1,
        "said once:\n{}",
        node.said()
    );
}

fn retention_ms(wire: &mut Wire, topic: &'static str) -> String {
    const TOPIC: i8 = 2;
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configuration_keys: Some(vec!["retention.ms".into()]),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    let response: DescribeConfigsResponse = wire.ask(4, &request);
    response.results[0].configs[0]
        .value
        .as_deref()
        .unwrap_or_default()
        .to_owned()
}
