//! The broker's wall clock is set by an hour, a day, to 2100, to 1970 and back while it runs: nothing expires by it, no timer
//! is lost, nobody is thrown out of a group.

mod harness;

use std::path::Path;
use std::process::Command;

use harness::{Process, clean_environment, free_port, runtime};

/// Looks often, so that whatever a wrong clock could end would end within a second.
const SETTINGS: [&str; 5] = [
    "log.retention.check.interval.ms=100",
    "offsets.retention.check.interval.ms=100",
    "producer.id.expiration.check.interval.ms=100",
    "offsets.topic.num.partitions=1",
    "group.initial.rebalance.delay.ms=0",
];

/// A library that stands before libc's `clock_gettime` and moves the wall clock of its process alone.
fn clock_library(dir: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clock/shift.c");
    let library = dir.join("shift.so");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-o"]);
    cc.arg(&library).arg(source).arg("-ldl");
    runtime::run(cc);
    library
}

#[test]
fn a_clock_that_jumps_ends_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let shift = dir.path().join("shift");
    std::fs::write(&shift, [0; 8]).expect("the temporary directory can be written");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    clean_environment(&mut command);
    command
        .env("LD_PRELOAD", clock_library(dir.path()))
        .env("MILLSTREAM_TEST_CLOCK", &shift);
    let own = [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", dir.path().join("data").display()),
    ];
    for set in own.iter().map(String::as_str).chain(SETTINGS) {
        command.args(["--set", set]);
    }
    let mut broker = Process::start(command, dir.path(), port);
    let mut client = runtime::python("confluent_walk.py");
    client
        .args([&format!("127.0.0.1:{port}"), "clocks"])
        .arg(&shift);
    runtime::run(client);
    assert_eq!(broker.stop(), Some(0), "{}", broker.log());
}
