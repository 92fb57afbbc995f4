//! A broker process of the tests' own, or a sink, and runs of `millstream-bench` against it.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod liar;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Far above what a start takes: a busy machine must not fail a test.
const READY_MAX: Duration = Duration::from_secs(60);

/// A child process that does not outlive this value.
pub struct Process {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: PathBuf, port: u16, ready: &str) -> Process {
        let file = File::create(&log).expect("the log can be written");
        let copy = file.try_clone().expect("a descriptor can be copied");
        command.stdin(Stdio::null()).stdout(copy).stderr(file);
        let child = command.spawn().expect("the program is there");
        let mut process = Process { child, port, log };
        let end = Instant::now() + READY_MAX;
        while !(process.log().contains(ready) && TcpStream::connect(process.address()).is_ok()) {
            let ended = process.child.try_wait().expect("the process is ours");
            assert!(
                ended.is_none() && Instant::now() < end,
                "not ready ({ended:?}):\n{}",
                process.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        process
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("a killed process ends");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's words:\n{}", self.log());
        }
        // Ended already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real broker with its data under `dir`, on `port`.
pub fn broker(dir: &Path, port: u16) -> Process {
    broker_behind(dir, port, port)
}

/// One that sends its clients to `advertised`.
pub fn broker_behind(dir: &Path, port: u16, advertised: u16) -> Process {
    let mut command = Command::new(broker_program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_") {
            command.env_remove(name);
        }
    }
    for set in [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}"),
        format!("log.dirs={}", dir.join("data").display()),
        "journal.file.bytes=4194304".to_owned(),
        "offsets.topic.num.partitions=4".to_owned(),
    ] {
        command.args(["--set", &set]);
    }
    command.current_dir(dir);
    Process::start(command, dir.join("broker.log"), port, " is ready")
}

/// A sink whose topics have `partitions` partitions.
pub fn sink(dir: &Path, partitions: u32) -> Process {
    let port = free_port();
    let mut command = bench();
    command.arg("sink");
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--partitions", &partitions.to_string()]);
    Process::start(command, dir.join("sink.log"), port, "is ready")
}

/// The program under test.
pub fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_millstream-bench"))
}

/// Runs it with these words; its output, for whatever it ended with.
pub fn run(line: &str) -> Output {
    let words = line.split_whitespace();
    bench().args(words).output().expect("the program is there")
}

/// Runs it; panics with all it said unless it ended well.
pub fn run_well(line: &str) -> String {
    let output = run(line);
    let said = said(&output);
    assert!(output.status.success(), "{line}\n{said}");
    said
}

/// Both outputs as text.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the kernel has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// The broker's binary. Cargo builds only our own one for these tests, so it is asked for the other.
pub fn broker_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--locked",
            "-p",
            "millstream",
            "--bin",
            "millstream",
        ]);
        build.args(["--message-format", "json"]);
        build.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = build.spawn().expect("cargo is there");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let built = lines
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .filter(|message| message["target"]["name"] == "millstream")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        let status = child.wait().expect("it ends");
        built.unwrap_or_else(|| panic!("the broker was not built: {status}"))
    })
}
