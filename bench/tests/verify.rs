//! `verify` through kills of a real broker, and against one that lies.

mod harness;

use std::process::Stdio;
use std::time::Duration;

use harness::liar::{self, Lie};
use harness::{bench, broker, broker_behind, free_port, run, said, sink};

/// `MILLSTREAM_TEST_KILLS` asks for another number.
const KILLS: u64 = 3;

#[test]
fn kills_lose_nothing() {
    let kills = std::env::var("MILLSTREAM_TEST_KILLS");
    let kills = kills
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS);
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut running = broker(dir.path(), port);
    let duration = (2 * kills + 1).to_string();
    let child = bench()
        .args([
            "verify",
            "--bootstrap",
            &running.address(),
            "--duration",
            &duration,
        ])
        .args(["--rate", "5000", "--partitions", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for round in 0..kills {
        std::thread::sleep(Duration::from_millis(500 + round * 337 % 900));
        running.kill();
        running = broker(dir.path(), port);
    }
    let output = child.wait_with_output().unwrap();
    let text = said(&output);
    assert!(
        output.status.success(),
        "after {kills} kills:\n{text}\n{}",
        running.log()
    );
    assert!(text.contains("all there, once, in order"), "{text}");
    assert!(
        !text.contains(" 0 reconnections"),
        "it was not even interrupted:\n{text}"
    );
}

#[test]
fn a_broker_that_keeps_nothing_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), 1);
    let output = run(&format!(
        "verify --bootstrap {} --partitions 1 --duration 0.3 --rate 1 --batch-records 7 --patience 1",
        sink.address()
    ));
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("records 0 to 6 are MISSING"), "{text}");
}

#[test]
fn every_lie_about_records_is_found_out() {
    for (lie, words) in [
        (Lie::Lost, "records 200 to 219 are MISSING"),
        (Lie::Twice, "record 200 is there TWICE"),
        (Lie::Late, "record 200 is OUT OF ORDER"),
        (Lie::Damaged, "the batch at offset 200 is DAMAGED"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (port, between) = (free_port(), free_port());
        let broker = broker_behind(dir.path(), port, between);
        liar::start(between, broker.address(), lie, 200);
        let output = run(&format!(
            "verify --bootstrap 127.0.0.1:{between} --partitions 1 --duration 1 --rate 2000 --batch-records 20 --patience 5"
        ));
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{lie:?}: {text}");
        // While it is written, and when it is read again.
        for when in ["read: ", "read again: "] {
            assert!(text.contains(&format!("{when}{words}")), "{lie:?}: {text}");
        }
    }
}
