//! What the tests with real clients share: a broker process of their own, and the clients' runtimes.
//!
//! `MILLSTREAM_TEST_BOOTSTRAP=host:port` points the tests to a broker that runs already, real Kafka say,
//! to tell a client's habits from a broker's faults. `MILLSTREAM_TEST_BROKER=path` has the tests start another binary than
//! the one that was built with them, a release build say.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod node;
pub mod runtime;
pub mod wire;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a broker may take to answer, far above what it takes: a busy machine must not fail a test.
const READY_MAX: Duration = Duration::from_secs(60);

/// A broker for a client: a process of our own with temporary data, or one that runs already.
pub enum Broker {
    /// Ours.
    Own(Own),
    /// `host:port` of a broker that is not ours to kill.
    External(String),
}

/// A broker process, the directory it lives in, and how to start it again.
pub struct Own {
    process: Process,
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
            return Broker::External(bootstrap);
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let port = free_port();
        let process = Process::start(broker_command(port, dir.path(), &sets), dir.path(), port);
        Broker::Own(Own { process, dir, sets })
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        match self {
            Broker::Own(own) => format!("127.0.0.1:{}", own.process.port),
            Broker::External(bootstrap) => bootstrap.clone(),
        }
    }

    /// Ours, unless it runs already.
    pub fn own(&mut self) -> Option<&mut Own> {
        match self {
            Broker::Own(own) => Some(own),
            Broker::External(_) => None,
        }
    }

    /// The end of what the broker wrote, for messages.
    pub fn log(&self) -> String {
        match self {
            Broker::Own(own) => own.process.log(),
            Broker::External(_) => String::new(),
        }
    }
}

impl Own {
    /// kill -9, then a start on the same port and data.
    pub fn kill_and_restart(&mut self) {
        let port = self.process.port;
        self.process.kill();
        let command = broker_command(port, self.dir.path(), &self.sets);
        self.process = Process::start(command, self.dir.path(), port);
    }

    /// SIGTERM; the exit code. The data directory stays until the value is dropped.
    pub fn stop(&mut self) -> Option<i32> {
        self.process.stop()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// A child that listens on a port and writes into a log; it does not outlive this value.
pub struct Process {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in `dir` and waits until it says that it is ready.
    pub fn start(mut command: Command, dir: &Path, port: u16) -> Process {
        let log = dir.join("log");
        let how = File::options().create(true).append(true).open(&log);
        let file = how.expect("the log can be written");
        let said_before = file.metadata().expect("the log is a file").len();
        let copy = file.try_clone().expect("a descriptor can be copied");
        command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(file);
        let child = command.spawn().expect("the binary was built by cargo");
        let mut process = Process { child, port, log };
        process.wait_until_ready(said_before);
        process
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill can be run");
        assert!(sent.success(), "the process {pid} is gone:\n{}", self.log());
        self.child.wait().expect("the process is ours").code()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and does not wait for what it does.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.pid().to_string()]);
        runtime::run(kill);
    }

    /// Waits for its end: the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("the process is ours").code()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait();
        ended.expect("the process is ours").is_none()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("a killed process ends");
    }

    /// The end of what it wrote.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The port alone would not do: for a moment after kill -9 the kernel still answers there for the dead process.
    fn wait_until_ready(&mut self, said_before: u64) {
        let end = Instant::now() + READY_MAX;
        let skip = usize::try_from(said_before).expect("a log fits into memory");
        loop {
            let said = std::fs::read(&self.log).unwrap_or_default();
            let said = String::from_utf8_lossy(said.get(skip..).unwrap_or_default()).into_owned();
            if said.contains(" is ready") && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                panic!("the broker ended with {status}:\n{said}");
            }
            let port = self.port;
            assert!(
                Instant::now() < end,
                "not ready on port {port} in {READY_MAX:?}:\n{said}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's last words:\n{}", self.log());
        }
        // Ended already, perhaps: then there is nothing to kill, and wait says what it said before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the kernel has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Takes away what whoever runs the tests has set for a broker of theirs.
pub fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_") || name == "CLUSTER_ID" {
            command.env_remove(name);
        }
    }
}

fn broker_command(port: u16, dir: &Path, sets: &[String]) -> Command {
    let built = env!("CARGO_BIN_EXE_millstream").to_owned();
    let mut command = Command::new(std::env::var("MILLSTREAM_TEST_BROKER").unwrap_or(built));
    clean_environment(&mut command);
    let common = [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", dir.join("data").display()),
        // Many brokers run beside each other here; small journals and few offsets partitions start faster.
        "journal.file.bytes=4194304".to_owned(),
        "offsets.topic.num.partitions=4".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    for set in common.iter().chain(sets) {
        command.args(["--set", set]);
    }
    command
}
