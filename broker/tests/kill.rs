//! kill -9 in a loop while a client produces and commits: nothing that was acknowledged may be lost, doubled or moved.

mod harness;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Output, Stdio};
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
    let child = runtime::python("confluent_walk.py")
        .args([&broker.bootstrap(), "endure"])
        .arg(&stop)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python can be run");
    let mut client = Client(Some(child));
    let mut out = BufReader::new(client.process().stdout.take().expect("it is piped"));
    let mut line = String::new();
    out.read_line(&mut line)
        .expect("the client says when its topic exists");
    assert_eq!(line, "ready\n", "{}", client.rest());
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
    let output = client.finish();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "after {kills} kills:\n{said}{errors}\nbroker:\n{}",
        broker.log()
    );
    println!("{kills} kills: {said}");
}

/// The client's process, which does not outlive a test that fails.
struct Client(Option<Child>);

impl Client {
    fn process(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is taken only by finish")
    }

    fn finish(&mut self) -> Output {
        let child = self.0.take().expect("it is taken only here");
        child.wait_with_output().expect("the client ends")
    }

    /// What a client that ended early had to say.
    fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.finish().stderr).into_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Ended already, perhaps: then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
