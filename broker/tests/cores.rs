//! Connections on every core that ask for what lives on others: order, topics that come and go, groups, waiting fetches.
//!
//! The kernel spreads the connections over the cores. `MILLSTREAM_TEST_SEED` repeats a run.

mod harness;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::node::Node;
use harness::wire::{Wire, batch, request_frame};
use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::message::{Message, Records};
use millstream_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use millstream_protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use millstream_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use millstream_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

const PARTITIONS: i32 = 16;
const CONNECTIONS: usize = 8;
/// As many as an idempotent producer of Kafka's has.
const IN_FLIGHT: usize = 5;
const REQUESTS: usize = 150;
const GROUPS: usize = 12;
/// Versions with names instead of ids.
const PRODUCE: i16 = 7;
const FETCH: i16 = 7;

#[test]
fn order_holds_between_cores() {
    let seed = seed();
    let mut node = Node::started(&[]);
    node.connect().create("order", PARTITIONS);
    let mut producers: Vec<Producer> = (0..CONNECTIONS)
        .map(|number| Producer::new(node.port, number, seed))
        .collect();
    round(node.port, &mut producers);
    // Right after a start every partition reads its producers' state while more comes in: from memory after a kill, from
    // files after a stop.
    node.process().kill();
    node.start();
    round(node.port, &mut producers);
    assert_eq!(node.stop(), Some(0));
    node.start();
    round(node.port, &mut producers);
    let acknowledged: BTreeMap<(i32, i64), String> = producers
        .iter()
        .flat_map(|producer| producer.acknowledged.clone())
        .collect();
    for mut wire in [node.connect(), node.connect()] {
        let seen: usize = (0..PARTITIONS)
            .map(|partition| check_partition(&mut wire, partition, &acknowledged))
            .sum();
        assert_eq!(
            seen,
            acknowledged.len(),
            "seed {seed}: nothing lost or doubled"
        );
    }
}

/// All producers at once, and beside them topics that come and go, and groups.
fn round(port: u16, producers: &mut [Producer]) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| topics_come_and_go(port, &done));
        scope.spawn(|| groups_commit(port));
        let all: Vec<_> = producers
            .iter_mut()
            .map(|producer| scope.spawn(move || producer.run(port)))
            .collect();
        let ends: Vec<_> = all.into_iter().map(|one| one.join()).collect();
        done.store(true, Ordering::Relaxed);
        for end in ends {
            end.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// An idempotent producer on its own connection that writes to all partitions.
struct Producer {
    number: usize,
    random: u64,
    producer_id: i64,
    sequences: [i32; PARTITIONS as usize],
    /// What stands at each (partition, offset), by the answers.
    acknowledged: BTreeMap<(i32, i64), String>,
}

/// A batch on its way: partition, first sequence, records.
type Batch = (i32, i32, i32);

impl Producer {
    fn new(port: u16, number: usize, seed: u64) -> Producer {
        let request = InitProducerIdRequest {
            transactional_id: None,
            ..Default::default()
        };
        let answer: InitProducerIdResponse = Wire::connect(port).ask(1, &request);
        assert_eq!(answer.error_code, 0);
        Producer {
            number,
            random: seed.wrapping_add(number as u64),
            producer_id: answer.producer_id,
            sequences: [0; PARTITIONS as usize],
            acknowledged: BTreeMap::new(),
        }
    }

    fn run(&mut self, port: u16) {
        let mut wire = Wire::connect(port);
        let mut in_flight: VecDeque<(i32, Vec<Batch>)> = VecDeque::new();
        for _ in 0..REQUESTS {
            if in_flight.len() == IN_FLIGHT {
                self.receive(&mut wire, in_flight.pop_front());
            }
            in_flight.push_back(self.send(&mut wire));
        }
        while !in_flight.is_empty() {
            self.receive(&mut wire, in_flight.pop_front());
        }
    }

    /// One request with one to four batches, each for another partition.
    fn send(&mut self, wire: &mut Wire) -> (i32, Vec<Batch>) {
        let mut sent: Vec<Batch> = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..=self.below(4) {
            let partition = self.below(PARTITIONS as u64) as i32;
            if sent.iter().any(|(other, ..)| *other == partition) {
                continue;
            }
            let count = 1 + self.below(4) as i32;
            let first = self.sequences[partition as usize];
            self.sequences[partition as usize] += count;
            let mut builder =
                BatchBuilder::new(Codec::None, 0).producer(self.producer_id, 0, first);
            for sequence in first..first + count {
                let value = self.value(partition, sequence);
                builder.push(0, None, Some(value.as_bytes()), &[]);
            }
            bytes.push(builder.finish(0));
            sent.push((partition, first, count));
        }
        let rows = sent.iter().zip(&bytes);
        let rows = rows.map(|((index, ..), records)| PartitionProduceData {
            index: *index,
            records: Records::Borrowed(records),
        });
        (wire.send(PRODUCE, &produce("order", rows.collect())), sent)
    }

    fn receive(&mut self, wire: &mut Wire, oldest: Option<(i32, Vec<Batch>)>) {
        let (id, sent) = oldest.expect("something is in flight");
        let answer: ProduceResponse<'_> = wire.receive(PRODUCE, id);
        let rows = &answer.responses[0].partition_responses;
        assert_eq!(rows.len(), sent.len());
        for (row, (partition, first, count)) in rows.iter().zip(sent) {
            let said = ErrorCode::from_code(row.error_code);
            let number = self.number;
            assert_eq!(row.index, partition);
            assert_eq!(
                row.error_code, 0,
                "producer {number}, {partition}, sequence {first}: {said:?}"
            );
            for (offset, sequence) in (row.base_offset..).zip(first..first + count) {
                let value = self.value(partition, sequence);
                let before = self.acknowledged.insert((partition, offset), value);
                assert_eq!(before, None, "two records at one offset");
            }
        }
    }

    fn value(&self, partition: i32, sequence: i32) -> String {
        format!("{} {partition} {sequence}", self.number)
    }

    fn below(&mut self, end: u64) -> u64 {
        // Knuth's MMIX generator.
        let next = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = next.wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end
    }
}

/// Reads a partition: dense offsets, each producer's records in order, all as acknowledged. How many there are.
fn check_partition(
    wire: &mut Wire,
    partition: i32,
    acknowledged: &BTreeMap<(i32, i64), String>,
) -> usize {
    let mut next: BTreeMap<String, i32> = BTreeMap::new();
    let values = wire.values("order", partition, 0);
    for (expected, (offset, value)) in (0..).zip(&values) {
        let value = String::from_utf8_lossy(value).into_owned();
        assert_eq!(*offset, expected, "offsets are dense");
        assert_eq!(acknowledged.get(&(partition, *offset)), Some(&value));
        let words: Vec<&str> = value.split(' ').collect();
        let sequence = next.entry(words[0].to_owned()).or_default();
        assert_eq!(words[2], sequence.to_string(), "{partition} at {offset}");
        *sequence += 1;
    }
    values.len()
}

/// One topic is created, written, read and deleted again and again; each life has only its own records.
fn topics_come_and_go(port: u16, done: &AtomicBool) {
    let (mut one, mut other) = (Wire::connect(port), Wire::connect(port));
    let mut life = 0;
    while !done.load(Ordering::Relaxed) || life < 3 {
        life += 1;
        // Every other time there is one partition more before it, so that its own have their homes on other cores.
        let shifted = life % 2 == 0;
        if shifted {
            one.create("shift", 1);
        }
        one.create("short-lived", 5);
        for partition in 0..5 {
            let value = format!("{life} {partition}").into_bytes();
            let said = other.produce("short-lived", partition, batch(&[&value]));
            assert_eq!(said.error_code, 0, "life {life}: {said:?}");
            assert_eq!(one.values("short-lived", partition, 0), [(0, value)]);
        }
        delete(&mut other, "short-lived");
        if shifted {
            delete(&mut other, "shift");
        }
    }
}

/// Every group's commits come to the core of its coordinator and are seen from any other.
fn groups_commit(port: u16) {
    let (mut one, mut other) = (Wire::connect(port), Wire::connect(port));
    let request = FindCoordinatorRequest {
        key: "group-0".into(),
        ..Default::default()
    };
    settled(|| {
        let answer: FindCoordinatorResponse<'_> = one.ask(2, &request);
        answer.error_code
    });
    for offset in 1..=5 {
        for group in (0..GROUPS).map(|number| format!("group-{number}")) {
            let partition = OffsetCommitRequestPartition {
                committed_offset: offset,
                ..Default::default()
            };
            let request = OffsetCommitRequest {
                group_id: group.as_str().into(),
                topics: vec![OffsetCommitRequestTopic {
                    name: "order".into(),
                    partitions: vec![partition],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let code = settled(|| {
                let answer: OffsetCommitResponse<'_> = one.ask(6, &request);
                answer.topics[0].partitions[0].error_code
            });
            assert_eq!(code, 0, "{group}");
            let request = OffsetFetchRequest {
                group_id: group.as_str().into(),
                topics: Some(vec![OffsetFetchRequestTopic {
                    name: "order".into(),
                    partition_indexes: vec![0],
                }]),
                ..Default::default()
            };
            let answer: OffsetFetchResponse<'_> = other.ask(5, &request);
            let found = answer.topics[0].partitions[0].committed_offset;
            assert_eq!((answer.error_code, found), (0, offset), "{group}");
        }
    }
}

/// Asks again while a coordinator is being created or loaded.
fn settled(mut ask: impl FnMut() -> i16) -> i16 {
    let passing = [
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::CoordinatorLoadInProgress,
    ];
    loop {
        let code = ask();
        if !passing.iter().any(|error| error.code() == code) {
            return code;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_waiting_fetch_sees_what_any_core_gets() {
    let node = Node::started(&[]);
    let mut writer = node.connect();
    writer.create("awaited", 4);
    // Whatever core these are on, each waits for partitions of all of them.
    let mut readers: Vec<Wire> = (0..4).map(|_| node.connect()).collect();
    for (offset, writes) in (0..40).map(|round| (i64::from(round / 4), round % 4)) {
        let wanted = (0..4).map(|partition| FetchPartition {
            partition,
            fetch_offset: offset + i64::from(partition < writes),
            partition_max_bytes: 1 << 20,
            ..Default::default()
        });
        let request = FetchRequest {
            // Longer than the test's patience: only news ends it.
            max_wait_ms: 1_000_000,
            min_bytes: 1,
            topics: vec![FetchTopic {
                topic: "awaited".into(),
                partitions: wanted.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let ask = |reader: &mut Wire| reader.send(FETCH, &request);
        let ids: Vec<i32> = readers.iter_mut().map(ask).collect();
        let said = writer.produce("awaited", writes, batch(&[b"news"]));
        assert_eq!((said.error_code, said.base_offset), (0, offset));
        for (reader, id) in readers.iter_mut().zip(ids) {
            let answer: FetchResponse<'_> = reader.receive(FETCH, id);
            let rows = answer.responses[0].partitions.iter();
            let news = rows.filter(|row| !row.records.bytes().is_empty());
            let news: Vec<i32> = news.map(|row| row.partition_index).collect();
            assert_eq!(news, [writes], "offset {offset}");
        }
    }
}

#[test]
fn a_kill_between_metadata_and_logs_is_made_good() {
    let seed = seed();
    let mut node = Node::started(&[]);
    node.connect().create("kept", 4);
    let said = node.connect().produce("kept", 3, batch(&[b"this"]));
    assert_eq!(said.error_code, 0);
    for round in 0..6 {
        let port = node.port;
        let churn = thread::spawn(move || churn_until_it_dies(port, round));
        let pause = 30 + seed.wrapping_add(round * 17) % 60;
        thread::sleep(Duration::from_millis(pause));
        node.process().kill();
        churn.join().expect("it ends with its connection");
        // Whatever was being created or deleted, on any core: the start sees it through.
        node.start();
        let kept = node.connect().values("kept", 3, 0);
        assert_eq!(kept, [(0, b"this".to_vec())], "seed {seed}, round {round}");
    }
    let mut wire = node.connect();
    delete(&mut wire, "kept");
    wire.create("kept", 5);
    assert_eq!(wire.produce("kept", 3, batch(&[b"that"])).error_code, 0);
    assert_eq!(wire.values("kept", 3, 0), [(0, b"that".to_vec())]);
    assert_eq!(strays(&node), Vec::<String>::new(), "seed {seed}");
}

/// Creates and deletes topics until the connection breaks.
fn churn_until_it_dies(port: u16, round: u64) {
    let mut wire = Wire::connect(port);
    for life in 0.. {
        let name = format!("churn-{round}-{life}");
        let topic = CreatableTopic {
            name: name.as_str().into(),
            num_partitions: 8,
            replication_factor: 1,
            ..Default::default()
        };
        let create = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            ..Default::default()
        };
        if !answers(&mut wire, 4, &create) || !answers(&mut wire, 3, &deletion(&name)) {
            return;
        }
    }
}

/// False when the connection broke before or instead.
fn answers<'q, Q: Message<'q>>(wire: &mut Wire, version: i16, request: &Q) -> bool {
    wire.stream
        .write_all(&request_frame(version, request, 1))
        .is_ok()
        && wire.frame().is_some()
}

#[test]
fn logs_follow_the_cores_there_are() {
    let mut node = Node::started(&[]);
    let mut wire = node.connect();
    wire.create("moved", 6);
    let mut expected: Vec<(i64, Vec<u8>)> = Vec::new();
    let one = ["--cores".to_owned(), first_core()];
    for (life, arguments) in [&[][..], &one, &[], &one].into_iter().enumerate() {
        let value = life.to_string().into_bytes();
        for partition in 0..6 {
            let said = wire.produce("moved", partition, batch(&[&value]));
            assert_eq!(said.error_code, 0, "life {life}: {said:?}");
        }
        expected.push((life as i64, value));
        match life % 2 {
            0 => assert_eq!(node.stop(), Some(0)),
            _ => node.process().kill(),
        }
        node.arguments = arguments.to_vec();
        node.start();
        wire = node.connect();
        for partition in 0..6 {
            assert_eq!(wire.values("moved", partition, 0), expected, "life {life}");
        }
    }
    assert_eq!(strays(&node), Vec::<String>::new());
}

#[test]
fn a_directory_that_was_away_gives_up_what_was_deleted_meanwhile() {
    let (mut node, away) = (Node::new(&[]), tempfile::tempdir().expect("a directory"));
    let near = node.data().display().to_string();
    let both = format!("log.dirs={near},{}", away.path().display());
    let alone = format!("log.dirs={near}");
    node.sets = vec![both.clone()];
    node.start();
    let mut wire = node.connect();
    wire.create("gone", 4);
    wire.create("kept", 4);
    for partition in 0..4 {
        for topic in ["gone", "kept"] {
            let said = wire.produce(topic, partition, batch(&[b"before"]));
            assert_eq!(said.error_code, 0);
        }
    }
    assert_eq!(node.stop(), Some(0));
    assert!(names(away.path()).iter().any(|n| n.starts_with("gone-")));

    node.sets = vec![alone];
    node.start();
    let mut wire = node.connect();
    delete(&mut wire, "gone");
    wire.create("gone", 4);
    // A snapshot takes the place of the entry that tells of the deletion.
    let snapshot = node.data().join(".millstream-metadata-snapshot");
    for round in 0.. {
        if snapshot.exists() {
            break;
        }
        assert!(round < 1000, "no snapshot after {round} large entries");
        alter_at_length(&mut wire, "gone", round);
    }
    assert_eq!(node.stop(), Some(0));

    node.sets = vec![both];
    node.start();
    let mut wire = node.connect();
    let there = names(away.path());
    let old = |name: &&String| name.starts_with("gone-") && !name.ends_with("-delete");
    assert_eq!(there.iter().find(old), None, "{there:?}");
    for partition in 0..4 {
        let said = wire.values("kept", partition, 0);
        assert_eq!(said, [(0, b"before".to_vec())]);
        assert_eq!(wire.values("gone", partition, 0), []);
    }
}

/// Changes a topic's configuration by an entry of 64 KiB.
fn alter_at_length(wire: &mut Wire, topic: &str, round: usize) {
    let value = format!("{}:1", round + 1) + &",0:1".repeat(8_000);
    let config = |name: &'static str| AlterableConfig {
        name: name.into(),
        value: Some(value.as_str().into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: topic.into(),
        configs: vec![
            config("leader.replication.throttled.replicas"),
            config("follower.replication.throttled.replicas"),
        ],
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    let answer: IncrementalAlterConfigsResponse<'_> = wire.ask(1, &request);
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

/// A core this process may run on, as the kernel lists them: `0-3,8`.
fn first_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = line.expect("the kernel says what is allowed").trim();
    list.split(['-', ',']).next().unwrap_or_default().to_owned()
}

/// Directories that no topic is known for.
fn strays(node: &Node) -> Vec<String> {
    let mut names = names(&node.data());
    names.retain(|name| name.ends_with("-stray"));
    names
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the data directory is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

fn deletion(name: &str) -> DeleteTopicsRequest<'_> {
    DeleteTopicsRequest {
        topic_names: vec![name.into()],
        timeout_ms: 30_000,
        ..Default::default()
    }
}

fn delete(wire: &mut Wire, name: &str) {
    let answer: DeleteTopicsResponse<'_> = wire.ask(3, &deletion(name));
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

fn produce<'a>(topic: &'a str, rows: Vec<PartitionProduceData<'a>>) -> ProduceRequest<'a> {
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: rows,
        ..Default::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

fn seed() -> u64 {
    let given = std::env::var("MILLSTREAM_TEST_SEED");
    let seed = given.ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        now.map_or(0, |passed| passed.subsec_nanos().into())
    });
    println!("MILLSTREAM_TEST_SEED={seed}");
    seed
}
