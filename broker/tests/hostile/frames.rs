//! Valid frames, changed a little, against the running broker: `MILLSTREAM_FRAMES` of them (100,000), `MILLSTREAM_SEED`.
//!
//! The frames are those that real clients sent, made to speak of topics that exist, and one of every API and version; the
//! changes are seeded. Each is followed by one
//! that is always answered, so that none counts that was not read; where the broker closes the connection, the next begins. Beside
//! them, well-behaved clients produce and read back.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::{FETCH, PRODUCE, batch, fetch_request, produce_request, request_frame};

/// The list of all messages, and bytes made from their declarations.
#[path = "../../protocol/tests/support/mod.rs"]
mod support;

const RECORDED: &str = include_str!("../../protocol/tests/golden/frames.txt");

/// CreateTopics, DeleteTopics, DeleteRecords, AlterConfigs, CreatePartitions, IncrementalAlterConfigs as real clients sent
/// them, a thousand times under changed names, would leave another broker. Those made from declarations are refused.
const ALTERING: [u8; 6] = [19, 20, 21, 33, 37, 44];
/// Connections that send at the same time. One frame in some twenty waits for [`WAITING_MAX`]; the others send meanwhile.
const SENDERS: u64 = 32;
/// Far above what any answer takes; the slowest is printed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Fetch, JoinGroup and SyncGroup wait for as long as the client asks; not here.
const WAITING: [u8; 3] = [1, 11, 14];
const WAITING_MAX: Duration = Duration::from_millis(200);
/// What the broker may keep for good of all that was sent, besides the logs' newest bytes (bounded by setting).
const GROWTH_MAX: usize = 64 * MIB;
/// How often the broker looks for memory that became free.
const FREE_MEMORY_LOOK: Duration = Duration::from_secs(20);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Frames without their lengths.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for line in RECORDED.lines() {
        let hex = line
            .strip_prefix("request ")
            .and_then(|rest| rest.split(' ').nth(3));
        let Some(hex) = hex else { continue };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let frame: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        if !ALTERING.contains(&frame[1]) {
            seeds.push(frame);
        }
    }
    for message in support::all() {
        let millstream_protocol::message::definition::Kind::Request(key) = message.definition.kind
        else {
            continue;
        };
        for version in message.versions() {
            let mut frame = key.to_be_bytes().to_vec();
            frame.extend(version.to_be_bytes());
            frame.extend([0, 0, 0, 1, 0, 1, b'c']);
            if message.flexible(version) {
                frame.push(0);
            }
            frame.extend(support::sample(
                &message.definition,
                version,
                support::Fill::FULL,
            ));
            seeds.push(frame);
        }
    }
    // What reaches the logs: as many again of these.
    for _ in 0..seeds.len() / 6 {
        let value = vec![5u8; 300];
        let produce = produce_request("frames", 0, batch(&[&value, b"x"]), -1);
        seeds.push(request_frame(PRODUCE, &produce, 1)[4..].to_vec());
        let mut fetch = fetch_request("frames", 0, 0, 5);
        // Else most of the time goes into sending what was stored.
        fetch.max_bytes = 16 << 10;
        seeds.push(request_frame(FETCH, &fetch, 1)[4..].to_vec());
    }
    seeds
}

fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    // One in eight goes as it is.
    for _ in 0..random.below(8).min(3) {
        let at = random.below(bytes.len().max(1));
        if bytes.is_empty() {
            break;
        }
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.below(256) as u8),
            4 => {
                for (to, from) in bytes[at..].iter_mut().zip([0x7f, 0xff, 0xff, 0xff]) {
                    *to = from;
                }
            }
            5 => {
                for (to, from) in bytes[at..].iter_mut().zip([0xff, 0xff, 0xff, 0xff, 0x0f]) {
                    *to = from;
                }
            }
            6 => bytes[at] = bytes[at].wrapping_add(1),
            _ => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

/// Sends frames until all are sent; the slowest answer.
fn send(port: u16, seed: u64, left: &AtomicU64, seeds: &[Vec<u8>]) -> Duration {
    let mut random = Random(seed.max(1));
    let mut slowest = Duration::ZERO;
    let mut sink = vec![0; MIB];
    'connections: loop {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker listens");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("it can be set");
        for _ in 0..100 {
            let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(1))
            });
            if before == Ok(0) {
                return slowest;
            }
            if let Ok(more) = before
                && more % 500_000 == 0
            {
                println!("{more} to go");
            }
            let frame = changed(seeds, &mut random);
            let waits = frame.get(1).is_some_and(|api| WAITING.contains(api));
            let patience = if waits { WAITING_MAX } else { PATIENCE };
            let set = stream.set_read_timeout(Some(patience));
            set.expect("it can be set");
            let sent_frame = frame.clone();
            let mut frames = (frame.len() as i32).to_be_bytes().to_vec();
            frames.extend(frame);
            frames.extend(request_frame(9, &MetadataRequest::default(), 0x5eed));
            let sent = Instant::now();
            if stream.write_all(&frames).is_err() {
                continue 'connections;
            }
            let mut tail = Vec::new();
            loop {
                match stream.read(&mut sink) {
                    Ok(0) => continue 'connections,
                    Ok(n) => {
                        slowest = slowest.max(sent.elapsed());
                        tail.extend_from_slice(&sink[..n]);
                        if found(&tail) {
                            break;
                        }
                        let keep = tail.len().saturating_sub(8);
                        tail.drain(..keep);
                    }
                    // Whoever was stopped and goes on: read(2) with a timeout is not begun again then.
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if is_end(error.kind()) => continue 'connections,
                    Err(_) if waits => continue 'connections,
                    Err(error) => {
                        let hex: String = sent_frame.iter().map(|b| format!("{b:02x}")).collect();
                        panic!("neither an answer nor the end: {error}, seed {seed}: {hex}")
                    }
                }
            }
        }
    }
}

fn found(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| four == 0x5eedi32.to_be_bytes())
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// What is resident besides `before` when it is no more than is allowed, or after the broker has looked what it can give back.
fn kept(node: &mut Node, before: usize) -> usize {
    let end = Instant::now() + FREE_MEMORY_LOOK + FREE_MEMORY_LOOK / 4;
    loop {
        let grown = node.resident().saturating_sub(before);
        if grown <= GROWTH_MAX || Instant::now() > end {
            return grown;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn mutated_frames_end_no_process_and_hold_no_memory() {
    let frames = number("MILLSTREAM_FRAMES", 100_000);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let seed = number(
        "MILLSTREAM_SEED",
        clock.map_or(1, |now| now.as_nanos() as u64),
    );
    println!("frames: MILLSTREAM_SEED={seed}");
    let mut node = Node::started(&[
        "tail.memory.bytes=8388608",
        "log.retention.bytes=67108864",
        "auto.create.topics.enable=false",
        "group.min.session.timeout.ms=100",
        "group.max.session.timeout.ms=1000",
        "group.initial.rebalance.delay.ms=0",
        // Whoever asked to wait for long and went away is noticed then.
        "connections.max.idle.ms=5000",
    ]);
    let mut good = node.connect();
    good.create("frames", 1);
    good.create("kept", 1);
    let seeds = seeds();
    let port = node.port;
    // Once to warm up: the same frames, of which a part goes to the logs and into caches that stay.
    let run = |count: u64, seed: u64| {
        let left = AtomicU64::new(count);
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let (left, seeds) = (&left, &seeds);
                    scope.spawn(move || send(port, seed ^ (sender << 32), left, seeds))
                })
                .collect();
            let slowest = senders.into_iter().map(|sender| sender.join());
            slowest
                .map(|slowest| slowest.expect("a sender ends"))
                .max()
                .expect("there are some")
        })
    };
    run(frames / 5 + 20_000, seed ^ 0xaa);
    drop(good);
    let before = node.resident();
    let ended = AtomicBool::new(false);
    let (slowest, healthy) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut good = node.connect();
            let mut slowest = Duration::ZERO;
            let mut count = 0i64;
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let produced = good.produce("kept", 0, batch(&[b"kept"]));
                assert_eq!((produced.error_code, produced.base_offset), (0, count));
                count += 1;
                slowest = slowest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            (slowest, count)
        });
        let slowest = run(frames, seed);
        ended.store(true, Ordering::Relaxed);
        (slowest, beside.join().expect("the good client was served"))
    });
    let at_once = node.resident().saturating_sub(before);
    let grown = kept(&mut node, before);
    println!(
        "{frames} frames: {} MiB more, {} of them for good, slowest answer {slowest:?}; beside them {} records, the slowest {:?}",
        at_once / MIB,
        grown / MIB,
        healthy.1,
        healthy.0
    );
    assert!(grown <= GROWTH_MAX, "{grown} bytes more");
    assert!(!node.said().contains("panicked"), "{}", node.said());
    let mut reader = node.connect();
    assert_eq!(reader.values("kept", 0, 0).len() as i64, healthy.1);
    let _: MetadataResponse = reader.ask(9, &MetadataRequest::default());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
