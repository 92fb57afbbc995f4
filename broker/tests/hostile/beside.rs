//! A healthy producer while others misbehave. That every record is answered is asserted; how long the answers take is
//! printed: `MILLSTREAM_PEERS=10000 MILLSTREAM_BESIDE_SECONDS=20` with a release build on a quiet machine gives figures.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::messages::metadata::MetadataRequest;

use crate::MIB;
use crate::floods::{open, peers};
use crate::harness::node::Node;
use crate::harness::wire::{FETCH, Wire, batch, fetch_request, request_frame};

/// One record of 1 KiB is due so often.
const EVERY: Duration = Duration::from_millis(2);
/// Peers that never read ask for so much each, in batches of this size.
const UNREAD: usize = 20 * MIB;
const LARGE: usize = 900_000;

fn seconds() -> u64 {
    std::env::var("MILLSTREAM_BESIDE_SECONDS").map_or(1, |text| text.parse().expect("a number"))
}

/// The p99 of a producer's records. Beside it a thread, which has nothing to do with the broker, writes a block and flushes
/// it as often: its p99 is what the machine alone makes of the load.
fn beside(node: &Node, what: &str) -> Duration {
    thread::scope(|scope| {
        let device = scope.spawn(|| {
            let file = tempfile::tempfile().expect("a temporary file");
            write_and_flush(&file);
            paced(|| write_and_flush(&file))
        });
        let producer = producer(node, what);
        show(
            &format!("{what}: the device"),
            device.join().expect("it writes"),
        );
        show(what, producer)
    })
}

fn write_and_flush(file: &File) {
    let written = file.write_all_at(&[b'd'; 4096], 0);
    written
        .and_then(|()| file.sync_data())
        .expect("the device takes a block");
}

fn producer(node: &Node, what: &str) -> Vec<Duration> {
    let mut good = node.connect();
    let mut records = BatchBuilder::new(Codec::None, 0);
    records.push(0, None, Some(&[b'v'; 1024]), &[]);
    let records = records.finish(0);
    paced(|| {
        let produced = good.produce("good", 0, records.clone());
        assert_eq!(produced.error_code, 0, "{what}: {produced:?}");
    })
}

/// How long after the moment at which it was due each of these was done: a stall hides nothing.
fn paced(mut each: impl FnMut()) -> Vec<Duration> {
    let count = seconds() * 1000 / EVERY.as_millis() as u64;
    let begun = Instant::now();
    let latency = |number| {
        let due = begun + EVERY * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        each();
        due.elapsed()
    };
    (0..count as u32).map(latency).collect()
}

fn show(what: &str, mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    println!("{what}: p50 {p50:?}, p99 {p99:?}, most {most:?}");
    p99
}

/// Runs `peer` again and again at the lowest priority, which leaves the processor to the producer, until `work` is done.
fn while_others<T>(count: usize, peer: impl Fn(usize) + Sync, work: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..count {
            let (ended, peer) = (&ended, &peer);
            scope.spawn(move || {
                rustix::process::setpriority_process(None, 19).expect("lower is always allowed");
                while !ended.load(Ordering::Relaxed) {
                    peer(number);
                }
            });
        }
        let done = work();
        ended.store(true, Ordering::Relaxed);
        done
    })
}

#[test]
fn a_healthy_producer_is_served_beside_every_flood() {
    let mut node = Node::started(&[]);
    let mut good = node.connect();
    good.create("good", 1);
    good.create("unread", 1);
    for _ in 0..UNREAD / LARGE {
        let stored = good.produce("unread", 0, batch(&[&vec![1; LARGE]]));
        assert_eq!(stored.error_code, 0);
    }
    beside(&node, "warming up");
    let alone = (beside(&node, "alone") + beside(&node, "alone again")) / 2;
    let mut p99 = Vec::new();

    let idle = open(&node, peers());
    p99.push((
        "idle",
        beside(&node, &format!("{} idle connections", idle.len())),
    ));

    let mut slow = idle;
    let claim = (100 * MIB as i32).to_be_bytes();
    for wire in &mut slow {
        wire.raw(&claim);
    }
    let writers = std::sync::Mutex::new(slow.iter_mut());
    let write = |_| {
        let next = writers.lock().expect("no writer panics").next();
        if let Some(wire) = next {
            wire.raw(&[0]);
        }
        thread::sleep(Duration::from_micros(200));
    };
    let what = format!(
        "{} that promise 100 MiB and send 5,000 bytes a second in all",
        peers()
    );
    p99.push((
        "slow writers",
        while_others(1, write, || beside(&node, &what)),
    ));
    drop(slow);

    let half = request_frame(9, &MetadataRequest::default(), 1);
    let halves: Vec<Wire> = (0..peers())
        .map(|_| {
            let mut wire = node.connect();
            wire.raw(&half[..half.len() / 2]);
            wire
        })
        .collect();
    p99.push((
        "halves",
        beside(&node, &format!("{} with half a frame", halves.len())),
    ));
    drop(halves);

    let unread: Vec<Wire> = (0..100)
        .map(|_| {
            let mut wire = node.connect();
            for _ in 0..4 {
                wire.send(FETCH, &fetch_request("unread", 0, 0, 0));
            }
            wire
        })
        .collect();
    p99.push(("unread", beside(&node, "100 that never read")));
    drop(unread);

    let hosts = AtomicU32::new(0);
    let storm = |number: usize| {
        let host = hosts.fetch_add(1, Ordering::Relaxed) % 250;
        let mut wire = Wire::connect_from(Ipv4Addr::new(127, 0, 1, 1 + host as u8), node.port);
        if number.is_multiple_of(2) {
            wire.raw(&half);
            assert!(wire.frame().is_some());
        }
    };
    let storms = || beside(&node, "connections that come and go");
    p99.push(("storm", while_others(4, storm, storms)));

    for (flood, p99) in p99 {
        let ratio = p99.as_secs_f64() / alone.as_secs_f64();
        println!("p99 beside {flood}: {ratio:.2} times that alone");
    }
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
