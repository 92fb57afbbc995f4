//! Metrics as Prometheus reads them: over HTTP, from a broker that has done what is counted.

mod harness;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::free_port;
use harness::node::{Node, refused};
use harness::wire::{FETCH, PRODUCE, batch, fetch_request, produce_request};
use millstream_protocol::messages::fetch::FetchResponse;
use millstream_protocol::messages::produce::ProduceResponse;

/// Far above what any figure takes to come: a busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker on one core, and the port of its metrics.
fn observed() -> (Node, u16) {
    let port = free_port();
    let mut node = Node::new(&[&format!("metrics.listener=127.0.0.1:{port}")]);
    node.arguments = vec!["--cores".to_owned(), "0".to_owned()];
    node.start();
    (node, port)
}

/// Head and body of an answer.
fn get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("metrics are served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// Samples by name and labels.
fn scrape(port: u16) -> BTreeMap<String, u64> {
    let (head, body) = get(port, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    samples
        .map(|line| parse(line).unwrap_or_else(|| panic!("no sample: {line}")))
        .collect()
}

/// Scrapes until the samples are as wanted: what a core copies is up to a second old.
#[track_caller]
fn until(port: u16, wanted: impl Fn(&BTreeMap<String, u64>) -> bool) -> BTreeMap<String, u64> {
    let end = Instant::now() + PATIENCE;
    loop {
        let samples = scrape(port);
        if wanted(&samples) {
            return samples;
        }
        assert!(Instant::now() < end, "it never came: {samples:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of the process's threads.
fn threads(node: &mut Node) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", node.process().pid()));
    let names = tasks.expect("the broker runs").map(|task| {
        let name = fs::read_to_string(task.expect("lists").path().join("comm"));
        // It may have ended meanwhile.
        name.unwrap_or_default().trim().to_owned()
    });
    names.collect()
}

/// Served by two cores, one connection produces to one partition after another, of which some live on the other core.
#[test]
fn a_connection_follows_its_data() {
    const PARTITIONS: i32 = 8;
    /// More than a connection that has moved as often waits for.
    const REQUESTS: i64 = 1500;
    const IN_FLIGHT: i64 = 5;
    let port = free_port();
    let mut node = Node::started(&[&format!("metrics.listener=127.0.0.1:{port}")]);
    let mut wire = node.connect();
    wire.create("pulls", PARTITIONS);
    let record = batch(&[b"it moves and nothing is lost"]);
    for partition in 0..PARTITIONS {
        let mut ids = VecDeque::new();
        for number in 0..REQUESTS + IN_FLIGHT {
            if number < REQUESTS {
                let request = produce_request("pulls", partition, record.clone(), -1);
                ids.push_back((wire.send(PRODUCE, &request), number));
            }
            if number >= IN_FLIGHT {
                let (id, offset) = ids.pop_front().expect("one is on its way");
                let answer: ProduceResponse<'_> = wire.receive(PRODUCE, id);
                let answer = &answer.responses[0].partition_responses[0];
                assert_eq!((answer.error_code, answer.base_offset), (0, offset));
            }
        }
    }
    let samples = scrape(port);
    let sum = |name: &str| -> u64 {
        let of_cores = samples.iter().filter(|(key, _)| key.starts_with(name));
        of_cores.map(|(_, value)| value).sum()
    };
    let cores = samples
        .keys()
        .filter(|key| key.starts_with("millstream_connections{"));
    if cores.count() > 1 {
        assert!(
            sum("millstream_connections_moved_total") > 0,
            "{samples:#?}"
        );
    }
    assert_eq!(sum("millstream_connections{"), 1, "{samples:#?}");
    for partition in 0..PARTITIONS {
        let stored = wire.values("pulls", partition, REQUESTS - 1);
        assert_eq!(stored.len(), 1, "of partition {partition}");
    }
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn what_was_done_is_counted() {
    let (mut node, port) = observed();
    let before = scrape(port);
    let version = env!("CARGO_PKG_VERSION");
    let core = |name: &str| format!("millstream_{name}{{core=\"0\"}}");
    assert_eq!(
        before[&format!("millstream_build_info{{version=\"{version}\"}}")],
        1
    );
    assert_eq!(before[&core("scrub_findings_total")], 0);
    assert_eq!(before[&core("produced_records_total")], 0);

    let mut wire = node.connect();
    wire.create("counted", 3);
    let two = batch(&[b"one", b"two"]);
    let bytes = two.len() as u64;
    assert_eq!(wire.produce("counted", 0, two).error_code, 0);
    assert_ne!(wire.produce("counted", 7, batch(&[b"no"])).error_code, 0);
    let fetch = |wire: &mut harness::wire::Wire, partition| -> FetchResponse<'static> {
        wire.ask(FETCH, &fetch_request("counted", partition, 0, 0))
    };
    fetch(&mut wire, 0);
    fetch(&mut wire, 9);

    let copied = core("partitions");
    let after = until(port, |samples| samples[&copied] >= 3);
    let of_api = |name: &str, api: &str| {
        after[&format!("millstream_{name}_total{{core=\"0\",api=\"{api}\"}}")]
    };
    let of_error = |api: &str, error: &str| {
        after[&format!(
            "millstream_partition_errors_total{{core=\"0\",api=\"{api}\",error=\"{error}\"}}"
        )]
    };
    assert_eq!(of_api("requests", "CreateTopics"), 1);
    assert_eq!(of_api("requests", "Produce"), 2);
    assert_eq!(of_api("requests", "Fetch"), 2);
    assert_eq!(of_error("Produce", "UNKNOWN_TOPIC_OR_PARTITION"), 1);
    assert_eq!(of_error("Fetch", "UNKNOWN_TOPIC_OR_PARTITION"), 1);
    assert_eq!(after[&core("produced_batches_total")], 1);
    assert_eq!(after[&core("produced_records_total")], 2);
    assert_eq!(after[&core("produced_bytes_total")], bytes);
    assert_eq!(after[&core("fetched_bytes_total")], bytes);
    assert!(
        after[&core("connections")] >= 1,
        "the connection is open: {after:#?}"
    );
    assert!(after[&core("connections_accepted_total")] >= 1);
    assert!(after[&core("received_bytes_total")] > bytes);
    assert!(after[&core("sent_bytes_total")] > bytes);
    assert!(after[&core("tail_memory_bytes")] > 0);
    assert_eq!(after[&core("unsettled_bytes")], bytes);
    let data = node.data();
    let of_directory = |name: &str, labels: &str| {
        after[&format!(
            "millstream_{name}{{{labels}directory=\"{}\"}}",
            data.display()
        )]
    };
    // Three partitions and a batch, each with its entry or together.
    assert!(of_directory("journal_bytes_total", "core=\"0\",") >= 4096);
    assert!(of_directory("flushes_total", "core=\"0\",") >= 2);
    assert_eq!(of_directory("settled_bytes_total", "core=\"0\","), 0);
    assert_eq!(of_directory("segment_read_bytes_total", "core=\"0\","), 0);
    assert_eq!(of_directory("directory_offline", ""), 0);
    assert!(of_directory("directory_usable_bytes", "") > 0);

    let (head, _) = get(port, "/metrics");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let (head, _) = get(port, "/");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn they_are_served_where_they_are_wanted_only() {
    let (mut node, port) = observed();
    let line = format!("  metrics     http://127.0.0.1:{port}/metrics");
    assert!(node.said().contains(&line), "{}", node.said());
    assert!(threads(&mut node).contains(&"metrics".to_owned()));
    // A second broker cannot have the same address, and says so before it touches anything.
    let second = Node::new(&[&format!("metrics.listener=127.0.0.1:{port}")]);
    refused(second.command(), &["metrics.listener=", "another address"]);
    assert!(!second.data().exists());
    assert_eq!(node.stop(), Some(0), "{}", node.said());

    let wrong = Node::new(&["metrics.listener=9404"]);
    refused(wrong.command(), &["metrics.listener", "host:port"]);

    let mut quiet = Node::started(&[]);
    assert!(!quiet.said().contains("metrics"), "{}", quiet.said());
    assert!(!threads(&mut quiet).contains(&"metrics".to_owned()));
    assert_eq!(quiet.stop(), Some(0), "{}", quiet.said());
}
