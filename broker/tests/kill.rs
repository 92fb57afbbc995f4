//! kill -9 in a loop while a client produces and commits: nothing that was acknowledged may be lost, doubled or moved.

mod harness;

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use harness::{Broker, runtime};

/// `MILLSTREAM_TEST_KILLS` asks for another number.
const KILLS: u64 = 20;

#[test]
fn twenty_kills_lose_nothing() {
    let kills = std::env::var("MILLSTREAM_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS);
    let mut broker = Broker::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stop = dir.path().join("stop");
    let mut client = runtime::python("confluent_walk.py")
        .args([&broker.bootstrap(), "endure"])
        .arg(&stop)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python can be run");
    let mut out = BufReader::new(client.stdout.take().expect("it is piped"));
    let mut line = String::new();
    out.read_line(&mut line)
        .expect("the client says when its topic exists");
    assert_eq!(line, "ready\n", "{}", rest(client));
    for round in 0..kills {
        // Kills at different moments after the start: while it recovers, while the backlog comes in, at full load.
        std::thread::sleep(Duration::from_millis(50 + round * 337 % 900));
        if let Some(own) = broker.own() {
            own.kill_and_restart();
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    std::fs::write(&stop, "").expect("the temporary directory can be written");
    let mut said = String::new();
    out.read_to_string(&mut said)
        .expect("the client writes text");
    let output = client.wait_with_output().expect("the client ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "after {kills} kills:\n{said}{errors}\nbroker:\n{}",
        broker.log()
    );
    println!("{kills} kills: {said}");
}

/// What a client that ended early had to say.
fn rest(client: std::process::Child) -> String {
    let output = client.wait_with_output().expect("the client ends");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
