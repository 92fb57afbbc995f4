//! Floods: thousands of peers that sit, promise, or never read; the limits on connections; and a ceiling over all of it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use millstream_protocol::messages::fetch::FetchResponse;
use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::{
    self, FETCH, PRODUCE, Wire, batch, fetch_request, produce_request, request_frame,
};

/// Peers of one flood: `MILLSTREAM_PEERS`. A test process may open 20,000 files at most in some places.
pub fn peers() -> usize {
    std::env::var("MILLSTREAM_PEERS").map_or(2000, |text| text.parse().expect("a number"))
}

/// So many connections, each known to be served.
pub fn open(node: &Node, count: usize) -> Vec<Wire> {
    let limit = open_files();
    assert!(
        count + 200 < limit,
        "{limit} open files are too few for {count} peers"
    );
    let mut wires: Vec<Wire> = (0..count).map(|_| node.connect()).collect();
    for wire in &mut wires {
        let _: MetadataResponse = wire.ask(9, &MetadataRequest::default());
    }
    wires
}

/// The soft limit of open files of this process.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("a process has limits");
    let row = limits.lines().find(|row| row.starts_with("Max open files"));
    let soft = row.and_then(|row| row.split_whitespace().nth(3));
    soft.and_then(|soft| soft.parse().ok())
        .unwrap_or(usize::MAX)
}

#[track_caller]
fn settled(node: &mut Node) -> usize {
    std::thread::sleep(Duration::from_millis(300));
    node.resident()
}

#[test]
fn idle_peers_and_those_that_promise_much_cost_next_to_nothing() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    good.create("flood", 1);
    drop(open(&node, 200));
    let count = peers();
    let before = settled(&mut node);
    let mut wires = open(&node, count);
    let idle = settled(&mut node).saturating_sub(before);
    println!("{count} idle connections: {} bytes each", idle / count);
    assert!(idle / count <= 4096, "{} bytes each", idle / count);
    let claim = [
        &(100 * MIB as i32).to_be_bytes()[..],
        &[0, 0, 0, 9, 0, 0, 0, 1],
    ]
    .concat();
    for wire in &mut wires {
        wire.raw(&claim);
    }
    for round in 0..50 {
        assert_eq!(good.produce("flood", 0, batch(&[b"v"])).base_offset, round);
    }
    let promised = settled(&mut node).saturating_sub(before);
    println!("promising 100 MiB each: {} bytes each", promised / count);
    assert!(
        promised / count <= 2 * 4096 + 1024,
        "{} bytes each",
        promised / count
    );
    drop(wires);
    let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

/// The ceiling of the tests below, and what a broker needs before anybody comes.
fn small() -> Node {
    let mut node = Node::new(&[]);
    node.arguments = vec!["--memory".to_owned(), "256M".to_owned()];
    node.start();
    node
}

#[test]
fn peers_that_stop_in_large_frames_make_room_for_others() {
    let mut node = small();
    let mut good = node.connect();
    good.create("frames", 2);
    let value = vec![1u8; 700_000];
    assert_eq!(good.produce("frames", 0, batch(&[&value])).error_code, 0);
    let before = node.resident();
    // 120 MiB of 6,000 promised; requests may have 16 MiB.
    let claim = [&(100 * MIB as i32).to_be_bytes()[..], &[0, 0, 0, 9]].concat();
    let part = vec![0; 2 * MIB];
    let writers: Vec<_> = (0..60)
        .map(|_| {
            let stream = TcpStream::connect(("127.0.0.1", node.port)).expect("it listens");
            let (claim, part) = (claim.clone(), part.clone());
            std::thread::spawn(move || {
                let mut wire = Wire::over(stream);
                wire.raw(&claim);
                wire.raw(&part);
                // Closed while memory is short, or never.
                wire
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let frame = request_frame(
        PRODUCE,
        &produce_request("frames", 1, batch(&[&value]), -1),
        1,
    );
    let (mut stored, mut closed) = (0, 0);
    while stored < 10 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{stored} of 10");
        let mut late = node.connect();
        while stored < 10 {
            late.raw(&frame);
            match late.frame() {
                Some(_) => stored += 1,
                None => break,
            }
        }
        closed += usize::from(stored < 10);
    }
    let grown = node.resident_peak().saturating_sub(before);
    println!(
        "60 peers that stopped 2 MiB into 100: {} MiB more at most; ten batches after {:?}, closed {closed} times",
        grown / MIB,
        begun.elapsed()
    );
    assert!(grown < 120 * MIB, "{} MiB", grown / MIB);
    // Who claims little does not stand in line behind those who claim much.
    assert_eq!(closed, 0, "the late producer was closed with the others");
    assert!(good.values("frames", 1, 0).len() >= 10);
    for writer in writers {
        drop(writer.join().expect("a writer ends"));
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn peers_that_never_read_make_room_for_others() {
    let mut node = small();
    let mut good = node.connect();
    good.create("unread", 1);
    let value = vec![1u8; 900_000];
    for _ in 0..40 {
        assert_eq!(good.produce("unread", 0, batch(&[&value])).error_code, 0);
    }
    let before = node.resident();
    // 40 MB each, 4 GB in all; replies may have 32 MiB.
    let mut stuck: Vec<Wire> = (0..100).map(|_| node.connect()).collect();
    for wire in &mut stuck {
        wire.send(FETCH, &fetch_request("unread", 0, 0, 0));
    }
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let mut late = node.connect();
    for _ in 0..5 {
        let id = late.send(FETCH, &fetch_request("unread", 0, 0, 0));
        let fetched: FetchResponse = late.receive(FETCH, id);
        assert!(fetched.responses[0].partitions[0].records.bytes().len() > 900_000);
    }
    let grown = node.resident_peak().saturating_sub(before);
    println!(
        "100 peers that never read 40 MB each: {} MiB more at most; five answers after {:?}",
        grown / MIB,
        begun.elapsed()
    );
    assert!(grown < 120 * MIB, "{} MiB", grown / MIB);
    assert_eq!(late.values("unread", 0, 0).len(), 40);
    drop(stuck);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

/// `queued.max.request.bytes`: what is set is obeyed, and a single request above it still passes.
#[test]
fn queued_bytes_are_bounded_and_a_large_request_passes() {
    let mut node = Node::started(&[
        "queued.max.request.bytes=8388608",
        "message.max.bytes=33554432",
    ]);
    let mut good = node.connect();
    good.create("queue", 1);
    let value = vec![2u8; 20 * MIB];
    for _ in 0..3 {
        let error = good.produce("queue", 0, batch(&[&value])).error_code;
        // As large as it is, the journal of these tests may not take it: what matters is that it came through.
        assert!([0, 10, 18].contains(&error), "{error}");
    }
    let many: Vec<Wire> = (0..20).map(|_| node.connect()).collect();
    let value = vec![2u8; 900_000];
    let frame = request_frame(
        PRODUCE,
        &produce_request("queue", 0, batch(&[&value]), -1),
        1,
    );
    let threads: Vec<_> = many
        .into_iter()
        .map(|mut wire| {
            let frame = frame.clone();
            std::thread::spawn(move || {
                for _ in 0..5 {
                    wire.raw(&frame);
                }
                (0..5).filter(|_| wire.frame().is_some()).count()
            })
        })
        .collect();
    let answered: usize = threads
        .into_iter()
        .map(|t| t.join().expect("it ends"))
        .sum();
    assert_eq!(answered, 100);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

#[test]
fn connections_come_at_the_rate_that_is_allowed() {
    let mut node = Node::started(&["max.connection.creation.rate=40"]);
    let _warm = node.connect();
    let begun = Instant::now();
    // A second's worth may come at once; these are three seconds' worth more.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let port = node.port;
            std::thread::spawn(move || {
                for _ in 0..40 {
                    let mut wire = Wire::connect(port);
                    let _: MetadataResponse = wire.ask(9, &MetadataRequest::default());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("all are served in the end");
    }
    let took = begun.elapsed();
    println!("160 connections at 40 a second: {took:?}");
    assert!(took >= Duration::from_millis(2900), "{took:?}");
    assert!(
        node.said().contains("max.connection.creation.rate"),
        "{}",
        node.said()
    );
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}

/// A storm of connections that come and go at once leaves nothing.
#[test]
fn a_storm_of_connections_leaves_nothing() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    let storm = |node: &Node| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let port = node.port;
                std::thread::spawn(move || {
                    let frame = wire::request_frame(9, &MetadataRequest::default(), 1);
                    for round in 0..500 {
                        let mut wire = Wire::connect(port);
                        match (thread + round) % 4 {
                            0 => {}
                            1 => wire.raw(&frame[..frame.len() / 2]),
                            2 => wire.raw(&frame),
                            _ => {
                                wire.raw(&frame);
                                assert!(wire.frame().is_some());
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("a storm passes");
        }
    };
    storm(&node);
    let (descriptors, before) = (node.descriptors(), settled(&mut node));
    for _ in 0..3 {
        storm(&node);
        let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    }
    let grown = settled(&mut node).saturating_sub(before);
    println!(
        "6,000 connections that came and went: {} KiB more",
        grown >> 10
    );
    assert!(grown <= 4 * MIB, "{grown} bytes");
    assert!(node.descriptors() <= descriptors + 4);
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
