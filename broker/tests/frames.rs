//! What a hostile or broken client sends, at the door of the real broker: it hurts itself alone.

mod harness;

use std::io::Read;
use std::time::Duration;

use harness::node::Node;
use harness::wire::{self, FETCH, PRODUCE, Wire, batch, fetch_request, produce_request};
use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_protocol::messages::fetch::FetchResponse;
use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_protocol::messages::produce::ProduceResponse;

const MIB: usize = 1 << 20;

/// Waits until `value` is at most `wanted`, for what happens soon but not at once: free memory goes back to the system every 20 s
/// where something that lives on lies behind it.
#[track_caller]
fn comes_down_to(wanted: usize, mut value: impl FnMut() -> usize) {
    let mut last = value();
    for _ in 0..3000 {
        if last <= wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
        last = value();
    }
    panic!("{last} instead of {wanted}");
}

#[test]
fn what_is_no_request_closes_that_connection_only() {
    let mut node = Node::started(&["socket.request.max.bytes=1000000"]);
    let mut good = node.connect();
    good.create("t", 1);
    let unknown_version = {
        let mut bytes = wire::request_frame(9, &MetadataRequest::default(), 1);
        bytes[6..8].copy_from_slice(&99i16.to_be_bytes());
        bytes
    };
    let cut_short = {
        let mut bytes =
            wire::request_frame(PRODUCE, &produce_request("t", 0, batch(&[b"x"]), -1), 1);
        bytes.truncate(bytes.len() - 3);
        let length = (bytes.len() - 4) as i32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let frames: &[(&str, &[u8])] = &[
        ("negative length", &(-1i32).to_be_bytes()),
        ("the least length", &i32::MIN.to_be_bytes()),
        ("too long by one", &1_000_001i32.to_be_bytes()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("no header", &[0, 0, 0, 0]),
        ("half a header", &[0, 0, 0, 5, 0, 3, 0, 9, 0]),
        (
            "unknown api",
            &[0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        ("unknown version", &unknown_version),
        ("a body cut short", &cut_short),
        (
            "garbage",
            &[
                0, 0, 0, 20, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff, 0xff, 0xff,
            ],
        ),
    ];
    for (what, bytes) in frames {
        let mut bad = node.connect();
        bad.raw(bytes);
        assert!(bad.is_closed(), "{what}");
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    // What was asked before is answered before.
    let mut mixed = node.connect();
    let first = mixed.send(PRODUCE, &produce_request("t", 0, batch(&[b"before"]), -1));
    let second = mixed.send(9, &MetadataRequest::default());
    mixed.raw(frames[10].1);
    let _: ProduceResponse = mixed.receive(PRODUCE, first);
    let _: MetadataResponse = mixed.receive(9, second);
    assert!(mixed.is_closed());
    assert_eq!(good.values("t", 0, 0), [(0, b"before".to_vec())]);
    // More than one kind was seen, within far less time than one line each would have been allowed.
    let said = node.said();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("connection from"))
        .collect();
    assert!(!lines.is_empty(), "{said}");
    assert!(lines.iter().any(|line| line.contains("closed: ")), "{said}");
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn log_lines_about_bad_frames_are_limited() {
    let node = Node::started(&[]);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        let mut bad = node.connect();
        bad.raw(&(-1i32).to_be_bytes());
        assert!(bad.is_closed());
    }
    let allowed = begun.elapsed().as_secs() as usize + 1;
    let lines = node
        .said()
        .lines()
        .filter(|line| line.contains("connection from"))
        .count();
    assert!(
        (1..=allowed).contains(&lines),
        "{lines} lines, {allowed} allowed:\n{}",
        node.said()
    );
}

#[test]
fn api_versions_from_the_future_is_answered_in_version_0() {
    let node = Node::started(&[]);
    let mut wire = node.connect();
    let request = ApiVersionsRequest {
        client_software_name: "x".into(),
        client_software_version: "1".into(),
    };
    let mut bytes = wire::request_frame(4, &request, 7);
    bytes[6..8].copy_from_slice(&99i16.to_be_bytes());
    wire.raw(&bytes);
    let response: ApiVersionsResponse = wire::answer(wire.frame().expect("an answer"), 0, 7);
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    assert_eq!(ErrorCode::UnsupportedVersion.code(), 35);
    let own = response
        .api_keys
        .iter()
        .find(|key| key.api_key == 18)
        .expect("it tells its own versions");
    assert_eq!((own.min_version, own.max_version), (0, 4));
    // The client asks again on the same connection.
    let id = wire.send(3, &request);
    assert_eq!(wire.receive::<ApiVersionsResponse>(3, id).error_code, 0);
}

#[test]
fn frames_that_only_claim_to_be_long_cost_nothing() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    // Memory for connections as such is not what this is about.
    let open = |node: &Node| -> Vec<Wire> { (0..10).map(|_| node.connect()).collect() };
    let mut claims = open(&node);
    for wire in &mut claims {
        let _: MetadataResponse = wire.ask(9, &MetadataRequest::default());
    }
    let before = node.resident();
    for wire in &mut claims {
        wire.raw(&100_000_000i32.to_be_bytes());
        wire.raw(&[0, 0, 0, 9, 0, 0, 0, 1]);
    }
    // They were read once this connection, which came later, has been answered a few times.
    for _ in 0..20 {
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    std::thread::sleep(Duration::from_millis(200));
    let grown = node.resident().saturating_sub(before);
    assert!(grown < MIB, "{grown} bytes for ten claims");
    drop(claims);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn a_bad_checksum_is_told_and_nothing_is_stored() {
    let node = Node::started(&[]);
    let mut wire = node.connect();
    wire.create("crc", 1);
    let mut bad = batch(&[b"first", b"second"]);
    *bad.last_mut().expect("it has bytes") ^= 1;
    let refused = wire.produce("crc", 0, bad);
    assert_eq!(
        refused.error_code,
        ErrorCode::CorruptMessage.code(),
        "{refused:?}"
    );
    assert_eq!(wire.values("crc", 0, 0), []);
    assert_eq!(wire.produce("crc", 0, batch(&[b"good"])).base_offset, 0);
}

#[test]
fn acks_0_is_never_answered() {
    let node = Node::started(&[]);
    let mut wire = node.connect();
    wire.create("quiet", 1);
    for value in [b"1", b"2", b"3"] {
        wire.send(PRODUCE, &produce_request("quiet", 0, batch(&[value]), 0));
    }
    // The next answer is that of the next request that wants one.
    let id = wire.send(9, &MetadataRequest::default());
    let _: MetadataResponse = wire.receive(9, id);
    let answered = wire.produce("quiet", 0, batch(&[b"4"]));
    assert_eq!(answered.base_offset, 3);
    // A failed one closes the connection, so that the producer notices.
    wire.send(PRODUCE, &produce_request("nowhere", 0, batch(&[b"x"]), 0));
    assert!(wire.is_closed());
}

#[test]
fn answers_come_in_order_across_slow_and_fast_requests() {
    let node = Node::started(&[]);
    let mut wire = node.connect();
    wire.create("order", 4);
    let mut ids = Vec::new();
    for round in 0..25 {
        let partition = round % 4;
        let slow = wire.send(
            FETCH,
            &fetch_request("order", partition, i64::from(round / 4), 30),
        );
        let produce = wire.send(
            PRODUCE,
            &produce_request("order", partition, batch(&[b"v"]), -1),
        );
        let fast = wire.send(9, &MetadataRequest::default());
        ids.push((slow, produce, fast));
    }
    for (round, (slow, produce, fast)) in (0..).zip(ids) {
        let fetched: FetchResponse = wire.receive(FETCH, slow);
        assert_eq!(fetched.responses[0].partitions[0].error_code, 0);
        let produced: ProduceResponse = wire.receive(PRODUCE, produce);
        assert_eq!(
            produced.responses[0].partition_responses[0].base_offset,
            round / 4
        );
        let _: MetadataResponse = wire.receive(9, fast);
    }
}

#[test]
fn a_reader_that_never_reads_holds_back_only_itself() {
    let mut node = Node::started(&["tail.memory.bytes=67108864"]);
    let mut good = node.connect();
    good.create("big", 1);
    let value = vec![7u8; 900_000];
    for _ in 0..60 {
        assert_eq!(good.produce("big", 0, batch(&[&value])).error_code, 0);
    }
    let fill = |good: &mut Wire| {
        let id = good.send(FETCH, &fetch_request("big", 0, 0, 0));
        good.receive::<FetchResponse>(FETCH, id).responses[0].partitions[0]
            .records
            .bytes()
            .len()
    };
    assert!(fill(&mut good) > 40 * MIB);
    let before = node.resident();
    let mut stuck: Vec<Wire> = (0..4).map(|_| node.connect()).collect();
    for wire in &mut stuck {
        for _ in 0..20 {
            wire.send(FETCH, &fetch_request("big", 0, 0, 0));
        }
    }
    for _ in 0..5 {
        assert!(fill(&mut good) > 40 * MIB, "others are served as before");
    }
    let grown = node.resident().saturating_sub(before);
    // One answer of 54 MB each, of eighty asked for.
    assert!(
        grown < 4 * 110 * MIB,
        "{} MiB are held for four readers",
        grown / MIB
    );
    // Whoever reads at last gets everything, in order.
    let mut late = stuck.pop().expect("there are four");
    for id in 1..=20 {
        let fetched: FetchResponse = late.receive(FETCH, id);
        assert!(fetched.responses[0].partitions[0].records.bytes().len() > 40 * MIB);
    }
    drop(stuck);
    comes_down_to(before + 120 * MIB, || node.resident());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn connections_that_break_anywhere_leave_nothing_behind() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    good.create("left", 2);
    let value = vec![1u8; 300_000];
    for _ in 0..10 {
        assert_eq!(good.produce("left", 0, batch(&[&value])).error_code, 0);
    }
    let whole = wire::request_frame(
        PRODUCE,
        &produce_request("left", 1, batch(&[&value]), -1),
        1,
    );
    let breaks = |node: &Node| {
        for round in 0..40usize {
            let mut wire = node.connect();
            match round % 8 {
                0 => {}
                1 => wire.raw(&whole[..2]),
                2 => wire.raw(&whole[..whole.len() / 2]),
                3 => wire.raw(&whole),
                4 => drop(wire.send(FETCH, &fetch_request("left", 0, 0, 0))),
                5 => drop(wire.send(FETCH, &fetch_request("left", 1, 1_000_000, 100))),
                6 => {
                    // The broker stops reading while its answers are not read: so some of this may stay here.
                    let patience = Some(Duration::from_millis(100));
                    let set = wire.stream.set_write_timeout(patience);
                    set.expect("a timeout can be set");
                    let fetch = fetch_request("left", 0, 0, 0);
                    let fetch = wire::request_frame(FETCH, &fetch, 1);
                    for _ in 0..10 {
                        wire.raw(&fetch);
                        wire.raw(&whole);
                    }
                    // Some of the first answer, then gone with the rest of it unread.
                    let mut some = [0; 1000];
                    wire.stream.read_exact(&mut some).expect("an answer begins");
                }
                _ => drop(wire.send(9, &MetadataRequest::default())),
            }
        }
    };
    // Once to warm up: files that stay open, memory that is kept to be used again.
    breaks(&node);
    std::thread::sleep(Duration::from_millis(500));
    let (descriptors, resident) = (node.descriptors(), node.resident());
    for _ in 0..3 {
        breaks(&node);
    }
    comes_down_to(descriptors + 2, || node.descriptors());
    // What was produced meanwhile stays in memory as the newest part of its log: 3 x 5 x 11 batches at most.
    comes_down_to(resident + 60 * MIB, || node.resident());
    assert_eq!(good.produce("left", 0, batch(&[b"on"])).error_code, 0);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
