//! Everything at once in a memory cgroup of 512 MiB: the broker holds its peers back and is not killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::{
    FETCH, PRODUCE, Wire, batch, fetch_request, produce_request, request_frame,
};
use crate::ids;

const LIMIT: usize = 512 * MIB;

/// Seconds of it: `MILLSTREAM_CEILING_SECONDS`.
fn seconds() -> u64 {
    std::env::var("MILLSTREAM_CEILING_SECONDS").map_or(10, |text| text.parse().expect("a number"))
}

/// A memory cgroup of our own, version 1 or 2; gone when dropped.
struct Cgroup {
    path: PathBuf,
    files: &'static Files,
}

/// What they are called in a version.
struct Files {
    root: &'static str,
    limit: &'static str,
    /// The most that was ever in use.
    peak: &'static str,
    /// Where it counts the processes that it killed.
    events: &'static str,
}

const VERSIONS: [Files; 2] = [
    Files {
        root: "/sys/fs/cgroup/memory",
        limit: "memory.limit_in_bytes",
        peak: "memory.max_usage_in_bytes",
        events: "memory.oom_control",
    },
    Files {
        root: "/sys/fs/cgroup",
        limit: "memory.max",
        peak: "memory.peak",
        events: "memory.events",
    },
];

/// In version 2 the memory of sockets counts; in version 1 it is only counted once it has a limit of its own.
const SOCKETS_LIMIT: &str = "memory.kmem.tcp.limit_in_bytes";
const SOCKETS_PEAK: &str = "memory.kmem.tcp.max_usage_in_bytes";

impl Cgroup {
    /// `None` where this user may not make one.
    fn new() -> Option<Cgroup> {
        let name = format!("millstream-test-{}", std::process::id());
        VERSIONS.iter().find_map(|files| {
            let path = Path::new(files.root).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Cgroup { path, files };
            fs::write(group.path.join(files.limit), LIMIT.to_string()).ok()?;
            // Far above what there will be: the memory of sockets is looked at, not limited.
            let _not_in_2 = fs::write(group.path.join(SOCKETS_LIMIT), (64 * LIMIT).to_string());
            Some(group)
        })
    }

    fn read(&self, file: &str) -> usize {
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn killed(&self) -> u64 {
        let events =
            fs::read_to_string(self.path.join(self.files.events)).expect("a cgroup counts");
        let row = events.lines().find_map(|row| row.strip_prefix("oom_kill "));
        row.expect("it counts what it killed")
            .parse()
            .expect("a number")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It stays while a process is in it: the broker of a test that failed goes later.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Does something again and again until told to stop.
fn again(
    stop: &Arc<AtomicBool>,
    mut work: impl FnMut() + Send + 'static,
) -> thread::JoinHandle<()> {
    let stop = stop.clone();
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            work();
        }
    })
}

/// Connections that each send something and then neither go on nor read, for a while.
fn stuck(port: u16, count: usize, sent: &[u8]) {
    let mut wires: Vec<Wire> = (0..count).map(|_| Wire::connect(port)).collect();
    wires.iter_mut().for_each(|wire| wire.raw(sent));
    thread::sleep(Duration::from_secs(2));
}

#[test]
fn half_a_gigabyte_is_enough_for_all_of_it() {
    let Some(cgroup) = Cgroup::new() else {
        println!("skipped: this user cannot make a memory cgroup");
        return;
    };
    let mut node = Node::new(&[
        "log.retention.check.interval.ms=500",
        "log.segment.delete.delay.ms=100",
        "offsets.retention.check.interval.ms=1000",
        "producer.id.expiration.ms=1000",
        "producer.id.expiration.check.interval.ms=500",
        // An hour of it must not fill the disk.
        "log.segment.bytes=16777216",
        "log.retention.bytes=67108864",
        "message.max.bytes=8000000",
    ]);
    node.within = Some(cgroup.path.join("cgroup.procs"));
    node.start();
    let port = node.port;
    let mut good = node.connect();
    good.create("ids", 1);
    good.create("healthy", 1);
    good.create("load", 8);
    ids::await_coordinators(&mut good);
    let value = vec![1; 900_000];
    for _ in 0..40 {
        assert_eq!(good.produce("load", 0, batch(&[&value])).error_code, 0);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicUsize::new(0));
    let claim = [&(100 * MIB as i32).to_be_bytes()[..], &[0, 0, 0, 9]].concat();
    let begun = [&claim[..], &vec![0; 2 * MIB]].concat();
    let [large, larger] = [(1, 900_000), (2, 7_000_000)].map(|(partition, bytes)| {
        let batch = batch(&[&vec![1; bytes]]);
        request_frame(PRODUCE, &produce_request("load", partition, batch, -1), 1)
    });
    let fetch = request_frame(FETCH, &fetch_request("load", 0, 0, 0), 1);
    let metadata = request_frame(9, &MetadataRequest::default(), 1);
    let threads = vec![
        again(&stop, move || {
            let begin = next.fetch_add(4_000, Ordering::Relaxed);
            // Closed while memory is short, perhaps.
            ids::storm(port, begin..begin + 4_000);
        }),
        again(&stop, move || stuck(port, 1_000, &claim)),
        again(&stop, move || stuck(port, 60, &begun)),
        again(&stop, move || stuck(port, 100, &fetch)),
        again(&stop, move || {
            stuck(port, 1_000, &metadata[..metadata.len() / 2])
        }),
        // Batches of 900 kB and of several blocks of memory, pipelined, by a peer that does read.
        again(&stop, move || {
            let mut wire = Wire::connect(port);
            let frames = || [&large; 20].into_iter().chain([&larger; 2]);
            frames().for_each(|frame| wire.raw(frame));
            let _ = frames().take_while(|_| wire.frame().is_some()).count();
        }),
    ];
    let (mut sent, mut slowest) = (0, Duration::ZERO);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds()) {
        let asked = Instant::now();
        let stored = good.produce("healthy", 0, batch(&[format!("{sent}").as_bytes()]));
        slowest = slowest.max(asked.elapsed());
        assert_eq!((stored.error_code, stored.base_offset), (0, sent));
        sent += 1;
        thread::sleep(Duration::from_millis(20));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("an attacker ends");
    }
    let values = good.values("healthy", 0, 0);
    assert_eq!(values.len() as i64, sent);
    let _: MetadataResponse = good.ask(9, &MetadataRequest::default());
    println!(
        "{:?} of everything in {} MiB: {} MiB resident, {} MiB in use and {} MiB in sockets at most; {sent} records beside it, \
         the slowest after {slowest:?}",
        begun.elapsed(),
        LIMIT / MIB,
        node.resident_peak() / MIB,
        cgroup.read(cgroup.files.peak) / MIB,
        cgroup.read(SOCKETS_PEAK) / MIB,
    );
    assert_eq!(cgroup.killed(), 0, "{}", node.said());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
