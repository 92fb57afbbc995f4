//! kill -9 in a loop while clients produce and commit: nothing that was acknowledged may be lost, doubled or moved.

mod harness;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use harness::{Broker, runtime};

/// `MILLSTREAM_TEST_KILLS` asks for another number.
const KILLS: u64 = 20;

/// Then all starts anew: the clients keep in memory what was acknowledged.
const KILLS_OF_A_LAP: u64 = 100;

#[test]
fn twenty_kills_lose_nothing() {
    let mut left = std::env::var("MILLSTREAM_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS);
    while left > 0 {
        let kills = left.min(KILLS_OF_A_LAP);
        lap(kills);
        left -= kills;
    }
}

/// librdkafka, Java and kafkajs at once, each idempotent with topics of its own; the first two commit offsets of a group, too.
fn lap(kills: u64) {
    let mut broker = Broker::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stop = dir.path().join("stop");
    let programs = [
        runtime::python("confluent_walk.py"),
        runtime::Java::current().program("Walk.java"),
        runtime::node("walk.js"),
    ];
    let bootstrap = broker.bootstrap();
    let mut clients = programs.map(|program| Client::start(program, &bootstrap, &stop));
    for client in &mut clients {
        client.wait_until_ready();
    }
    for round in 0..kills {
        // Kills at different moments after the start: while it recovers, while the backlog comes in, at full load.
        std::thread::sleep(Duration::from_millis(50 + round * 337 % 900));
        if let Some(own) = broker.own() {
            own.kill_and_restart();
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    std::fs::write(&stop, "").expect("the temporary directory can be written");
    let log = || broker.log();
    for client in clients {
        println!("{kills} kills: {}", client.finish(log));
    }
}

/// A client's process, which does not outlive a test that fails.
struct Client {
    name: String,
    child: Option<Child>,
    out: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut program: Command, bootstrap: &str, stop: &Path) -> Client {
        let name = format!("{program:?}");
        program.args([bootstrap, "endure"]).arg(stop);
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().expect("the client can be run");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let child = Some(child);
        Client { name, child, out }
    }

    /// It says so when its topic exists.
    fn wait_until_ready(&mut self) {
        let mut line = String::new();
        self.out
            .read_line(&mut line)
            .expect("the client writes text");
        if line != "ready\n" {
            let output = self.end();
            panic!(
                "{}: {line}{}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// What it found.
    fn finish(mut self, broker_log: impl Fn() -> String) -> String {
        let mut said = String::new();
        self.out
            .read_to_string(&mut said)
            .expect("the client writes text");
        let output = self.end();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}:\n{said}{errors}\nbroker:\n{}",
            self.name,
            broker_log()
        );
        said
    }

    fn end(&mut self) -> Output {
        let child = self.child.take().expect("it ends once");
        child.wait_with_output().expect("the client ends")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Ended already, perhaps: then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
