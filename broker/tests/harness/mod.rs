//! What the tests with real clients share: a broker process of their own, and the clients' runtimes.
//!
//! `MILLSTREAM_TEST_BOOTSTRAP=host:port` points the tests to a broker that runs already, real Kafka say,
//! to tell a client's habits from a broker's faults.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod runtime;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a broker may take to answer, far above what it takes: a busy machine must not fail a test.
const READY_MAX: Duration = Duration::from_secs(60);

/// A broker: our own process with temporary data, or one that runs already.
pub struct Broker {
    port: u16,
    external: Option<String>,
    own: Option<Own>,
}

struct Own {
    child: Child,
    dir: tempfile::TempDir,
    sets: Vec<String>,
}

impl Broker {
    /// Starts the real binary on a free port with an empty data directory.
    pub fn start() -> Broker {
        Broker::start_with(&[])
    }

    /// The same with further settings, as `key=value`.
    pub fn start_with(sets: &[&str]) -> Broker {
        if let Ok(bootstrap) = std::env::var("MILLSTREAM_TEST_BOOTSTRAP") {
            return Broker {
                port: 0,
                external: Some(bootstrap),
                own: None,
            };
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let port = free_port();
        let child = spawn(port, dir.path(), &sets);
        let mut broker = Broker {
            port,
            external: None,
            own: Some(Own { child, dir, sets }),
        };
        broker.wait_until_ready();
        broker
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        self.external
            .clone()
            .unwrap_or_else(|| format!("127.0.0.1:{}", self.port))
    }

    /// False for a broker that runs already: it is not ours to kill.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// kill -9, then a start on the same port and data.
    pub fn kill_and_restart(&mut self) {
        let port = self.port;
        let own = self
            .own
            .as_mut()
            .expect("only a broker of our own is killed");
        own.child.kill().expect("the process is ours");
        own.child.wait().expect("a killed process ends");
        own.child = spawn(port, own.dir.path(), &own.sets);
        self.wait_until_ready();
    }

    /// SIGTERM; the exit code. The data directory stays until the value is dropped.
    pub fn stop(&mut self) -> Option<i32> {
        let own = self
            .own
            .as_mut()
            .expect("only a broker of our own is stopped");
        let pid = own.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill can be run");
        assert!(sent.success(), "the process {pid} is gone:\n{}", self.log());
        let own = self.own.as_mut().expect("looked at above");
        own.child.wait().expect("the process is ours").code()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.own
            .as_ref()
            .expect("only a broker of our own has data here")
            .dir
            .path()
            .join("data")
    }

    /// The end of what the broker wrote, for messages.
    pub fn log(&self) -> String {
        let Some(own) = &self.own else {
            return String::new();
        };
        let text = std::fs::read_to_string(own.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + READY_MAX;
        loop {
            let own = self
                .own
                .as_mut()
                .expect("only a broker of our own is waited for");
            if let Some(status) = own.child.try_wait().expect("the process is ours") {
                panic!("the broker ended with {status}:\n{}", self.log());
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            assert!(
                Instant::now() < end,
                "no answer on port {} in {READY_MAX:?}:\n{}",
                self.port,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's last words:\n{}", self.log());
        }
        if let Some(own) = &mut self.own {
            // Already ended, perhaps: then there is nothing to kill, and wait gives what it gave before.
            let _ = own.child.kill();
            let _ = own.child.wait();
        }
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the kernel has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(port: u16, dir: &Path, sets: &[String]) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("the log can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--set", &format!("listeners=PLAINTEXT://127.0.0.1:{port}")])
        .args(["--set", &format!("log.dirs={}", dir.join("data").display())])
        // Many brokers run beside each other here; small journals and few offsets partitions start faster.
        .args(["--set", "journal.file.bytes=4194304"])
        .args(["--set", "offsets.topic.num.partitions=4"])
        .args(["--set", "group.initial.rebalance.delay.ms=0"]);
    for set in sets {
        command.args(["--set", set]);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the descriptor can be copied"))
        .stderr(log)
        .spawn()
        .expect("the binary was built by cargo")
}
