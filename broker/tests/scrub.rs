//! `millstream scrub`, as an operator runs it; and what a consumer is told of a batch that the disk has changed.

mod harness;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use harness::clean_environment;
use harness::node::{Node, copy};
use harness::wire::{FETCH, batch, fetch_request};
use millstream_protocol::messages::fetch::FetchResponse;

fn scrub(dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    clean_environment(&mut command);
    let output = command.arg("scrub").arg(dir).output();
    output.expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_directory_of_kafkas() {
    let kafka = Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/tests/fixtures/kafka-4.3.1");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    copy(&kafka.join("clean"), &data);
    let output = scrub(&data);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains(": 0 findings"), "{}", said(&output));

    flip(&data.join("plain-0/00000000000000000017.log"), 80);
    let output = scrub(&data);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let line = "00000000000000000017.log: offsets 17 to ";
    assert!(said(&output).contains(line), "{}", said(&output));
    assert!(said(&output).contains("plain-0: "), "{}", said(&output));
}

#[test]
fn what_is_no_data_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = scrub(dir.path());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("no data directory"),
        "{}",
        said(&output)
    );
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 0);
}

#[test]
fn a_directory_in_use_and_a_batch_that_has_changed() {
    let mut node = Node::started(&[]);
    let mut wire = node.connect();
    wire.create("a", 1);
    for value in [b"one", b"two", b"six"] {
        assert_eq!(wire.produce("a", 0, batch(&[value])).error_code, 0);
    }
    let output = scrub(&node.data());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("in use"), "{}", said(&output));
    assert_eq!(node.stop(), Some(0), "{}", node.said());

    let log = node.data().join("a-0/00000000000000000000.log");
    let bytes = fs::read(&log).expect("a segment");
    let second = bytes.windows(3).position(|w| w == b"two").expect("there");
    flip(&log, second);
    let output = scrub(&node.data());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("offsets 1 to 1 "),
        "{}",
        said(&output)
    );

    node.start();
    let mut wire = node.connect();
    const CORRUPT_MESSAGE: i16 = 2;
    for (offset, error) in [(0, 0), (1, CORRUPT_MESSAGE), (2, 0)] {
        let request = fetch_request("a", 0, offset, 0);
        let mut response: FetchResponse = wire.ask(FETCH, &request);
        let data = response.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, error, "offset {offset}");
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
    assert!(node.said().contains("offsets 1 to 1 "), "{}", node.said());
}
