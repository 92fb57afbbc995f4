//! A device without a byte left, the real process: what creates is refused, topics are deleted, and then all goes on.
//!
//! The device is a tmpfs in a mount namespace of this test's own, which runs itself again under `unshare`; where that cannot
//! be had it says so.

mod harness;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::node::Node;
use harness::wire::{Wire, batch};
use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use millstream_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use millstream_protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use rustix::thread::{CpuSet, sched_getaffinity};

/// Set for the inner run: where the small file system is. Temporary files go there as well.
const DIR: &str = "MILLSTREAM_FULL_DIR";
const NAME: &str = "a_full_device_deletes_topics_and_goes_on";
const DEVICE_MIB: u64 = 256;
/// Partitions enough for some to be on each core.
const SPREAD: i32 = 16;
const PATIENCE: Duration = Duration::from_secs(60);

fn on_small_device() {
    let mount = tempfile::tempdir().expect("a temporary directory");
    let script = format!(
        "mount -t tmpfs -o size={DEVICE_MIB}m tmpfs \"$0\" || exit 77; {DIR}=\"$0\" TMPDIR=\"$0\" exec \"$1\" --exact {NAME} --nocapture"
    );
    let exe = std::env::current_exe().expect("this binary");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command.args(["sh", "-c", &script]).arg(mount.path());
    let ended = command.arg(exe).status();
    match ended.map(|status| status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(101) | None) => panic!("fails on a small device, see above"),
        other => println!("no small file system can be mounted here ({other:?})"),
    }
}

/// All that is left of the device, as somebody else might take it.
fn take_all(path: &Path) {
    let mut file = File::create(path).expect("creates");
    let block = vec![1; 64 << 10];
    for bytes in [block.len(), 4096] {
        while file.write_all(&block[..bytes]).is_ok() {}
    }
}

fn create(wire: &mut Wire, name: &str, partitions: i32) -> i16 {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response: CreateTopicsResponse = wire.ask(5, &request);
    response.topics[0].error_code
}

fn delete(wire: &mut Wire, name: &str) -> i16 {
    let request = DeleteTopicsRequest {
        topic_names: vec![name.into()],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response: DeleteTopicsResponse = wire.ask(5, &request);
    response.responses[0].error_code
}

fn delete_records(wire: &mut Wire, name: &str, offset: i64) -> i16 {
    let partition = DeleteRecordsPartition {
        partition_index: 0,
        offset,
    };
    let topic = DeleteRecordsTopic {
        name: name.into(),
        partitions: vec![partition],
    };
    let request = DeleteRecordsRequest {
        topics: vec![topic],
        timeout_ms: 30_000,
    };
    let response: DeleteRecordsResponse = wire.ask(2, &request);
    response.topics[0].partitions[0].error_code
}

/// Each has its journals: all of them would need a larger device on a larger machine.
fn two_cores() -> String {
    let allowed = sched_getaffinity(None).expect("this process runs somewhere");
    let all = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    let two: Vec<String> = all.take(2).map(|cpu| cpu.to_string()).collect();
    two.join(",")
}

#[test]
fn a_full_device_deletes_topics_and_goes_on() {
    let Some(dir) = std::env::var_os(DIR) else {
        return on_small_device();
    };
    let mut node = Node::started(&[
        "log.dir.reserve.bytes=16777216",
        "log.segment.bytes=4194304",
        "log.segment.delete.delay.ms=0",
        "journal.file.bytes=4194304",
        &format!("cores={}", two_cores()),
    ]);
    let mut wire = node.connect();
    wire.create("large", 1);
    wire.create("small", 1);
    let value = vec![7; 500_000];
    let records: Vec<&[u8]> = vec![b"a record"; 6_000];
    assert_eq!(wire.produce("small", 0, batch(&records)).error_code, 0);
    for _ in 0..80 {
        assert_eq!(wire.produce("large", 0, batch(&[&value])).error_code, 0);
    }
    // Of these the journal alone has the bytes, and keeps them until they find room.
    wire.create("dirty", SPREAD);
    for partition in 0..SPREAD {
        let stored = wire.produce("dirty", partition, batch(&[&value[..50_000]]));
        assert_eq!(stored.error_code, 0);
    }
    take_all(&Path::new(&dir).join("somebody-elses"));
    let refused = ErrorCode::KafkaStorageError.code();
    let asked = Instant::now();
    while wire.produce("small", 0, batch(&[&value])).error_code != refused {
        assert!(asked.elapsed() < PATIENCE, "what finds no space is refused");
    }
    // Each of these takes a block of the journal, whose last ones are for deletions of topics.
    let mut kept = 1;
    while delete_records(&mut wire, "small", kept) != refused {
        kept += 1;
        assert!(kept < records.len() as i64, "the journal ends");
    }
    println!("records were deleted {kept} times without a byte left");
    // The metadata has some space of its own: the topic is there, and those of its partitions that are on the same core, and
    // so in the same journal, come when there is room for them.
    assert_eq!(create(&mut wire, "waits", SPREAD), 0);
    let not_here = ErrorCode::NotLeaderOrFollower.code();
    let produced = |wire: &mut Wire, n| wire.produce("waits", n, batch(&[b"early"])).error_code;
    let waiting = (0..SPREAD)
        .filter(|n| produced(&mut wire, *n) == not_here)
        .count();
    println!("{waiting} of {SPREAD} partitions wait for room");
    assert!(waiting > 0);
    let mut created = 0;
    while create(&mut wire, &format!("more-{created}"), 1) != refused {
        created += 1;
        assert!(created < 2_000, "creations are refused");
    }
    println!("{created} topics were created without a byte left");
    for n in 0..created {
        assert_eq!(delete(&mut wire, &format!("more-{n}")), 0, "more-{n}");
    }
    assert_eq!(delete(&mut wire, "large"), 0);
    let waiting = (0..SPREAD).map(|n| ("waits", n));
    for (topic, partition) in [("small", 0)].into_iter().chain(waiting) {
        let asked = Instant::now();
        while wire
            .produce(topic, partition, batch(&[b"again"]))
            .error_code
            != 0
        {
            assert!(asked.elapsed() < PATIENCE, "{topic}-{partition} comes back");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(create(&mut wire, "another", 1), 0);
    assert!(!node.said().contains("panicked"), "{}", node.said());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
