//! The brokers that are compared: how each is started, found and stopped.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::results::SystemResult;
use super::{Options, kafka};
use crate::Fault;
use crate::child;
use crate::cluster;
use crate::load::cpu_list;

/// A JVM on one busy core takes its time.
const READY_MAX: Duration = Duration::from_secs(180);
const STOP_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);

/// One broker.
pub struct System {
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// A sink has no topics to delete.
    keeps_nothing: bool,
    start: Start,
    dir: PathBuf,
    configuration: String,
    child: Option<Child>,
    outside_pid: Option<u32>,
    results: SystemResult,
}

enum Start {
    /// It runs, and not by us.
    Outside,
    Ours {
        cpus: String,
        /// The program and its words.
        words: Vec<String>,
        /// Jars and properties of a Kafka, to format new directories.
        kafka: Option<(PathBuf, PathBuf)>,
    },
}

impl Start {
    fn on(cpus: &str, words: Vec<String>) -> Start {
        Start::Ours {
            cpus: cpus.to_owned(),
            words,
            kafka: None,
        }
    }
}

/// Millstream first, then the peers.
pub fn systems(options: &Options, work: &Path) -> Result<Vec<System>, Fault> {
    let mut systems = vec![millstream(options, work, &options.broker_cpus)?];
    match (
        &options.peer_address,
        &options.peer_start,
        options.peer.as_str(),
    ) {
        (Some(address), _, name) => systems.push(outside(name, address, options.peer_pid)),
        (None, Some(command), name) => systems.push(shell(name, command, options, work)?),
        (None, None, "kafka") => {
            let jars = kafka::jars(options.kafka_home.as_deref(), &options.kafka_version)?;
            for class in &options.classes {
                systems.push(kafka_node(&jars, class, options, work)?);
            }
        }
        (None, None, name) => {
            return Err(format!("how to reach {name}? --peer-address or --peer-start").into());
        }
    }
    Ok(systems)
}

/// Millstream on these CPUs. What it may cache is bounded, so that a backlog can be larger.
pub fn millstream(options: &Options, work: &Path, cpus: &str) -> Result<System, Fault> {
    let program = match &options.millstream {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("millstream"),
    };
    if !program.exists() {
        return Err(format!(
            "{}: not there; build it (cargo build --release) or name it (--millstream)",
            program.display()
        )
        .into());
    }
    let is_first = cpus == options.broker_cpus;
    let name = match is_first {
        true => "millstream (flushed)".to_owned(),
        false => format!("millstream on CPUs {cpus}"),
    };
    let dir = work.join(if is_first {
        "millstream"
    } else {
        "millstream-more"
    });
    let port = free_port()?;
    let cached = options.backlog_gib * (1u64 << 29) as f64;
    let sets = [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", dir.join("data").display()),
        "message.max.bytes=10485760".to_owned(),
        format!("tail.memory.bytes={cached:.0}"),
    ];
    let mut words = vec![program.display().to_string()];
    words.extend(["--cores".to_owned(), cpus.to_owned()]);
    for set in &sets {
        words.extend(["--set".to_owned(), set.clone()]);
    }
    Ok(System::new(&name, port, dir, Start::on(cpus, words)))
}

/// A sink on the first of the broker's CPUs, whose topics have so many partitions.
pub fn sink(options: &Options, work: &Path, partitions: i32) -> Result<System, Fault> {
    let cpu = cpu_list(&options.broker_cpus)?
        .at(0)
        .ok_or("no CPU for the sink")?;
    let port = free_port()?;
    let program = std::env::current_exe()?.display().to_string();
    let words = format!("sink --listen 127.0.0.1:{port} --cpu {cpu} --partitions {partitions}");
    let mut all = vec![program];
    all.extend(words.split(' ').map(str::to_owned));
    let start = Start::on(&cpu.to_string(), all);
    let mut system = System::new("a sink", port, work.join("sink"), start);
    system.keeps_nothing = true;
    Ok(system)
}

fn kafka_node(jars: &Path, class: &str, options: &Options, work: &Path) -> Result<System, Fault> {
    if class != "flushed" && class != "unflushed" {
        return Err(format!("--classes {class}: flushed or unflushed").into());
    }
    let (port, controller_port) = (free_port()?, free_port()?);
    let dir = work.join(format!("kafka-{class}"));
    std::fs::create_dir_all(&dir)?;
    let properties = dir.join("server.properties");
    let text = kafka::properties(port, controller_port, &dir, class == "flushed");
    std::fs::write(&properties, &text)?;
    let start = Start::Ours {
        cpus: options.broker_cpus.clone(),
        words: kafka::command(jars, &properties),
        kafka: Some((jars.to_owned(), properties)),
    };
    let mut system = System::new(
        &format!("kafka {} ({class})", options.kafka_version),
        port,
        dir,
        start,
    );
    system.configuration += &text;
    Ok(system)
}

fn shell(name: &str, command: &str, options: &Options, work: &Path) -> Result<System, Fault> {
    let (port, dir) = (free_port()?, work.join("peer"));
    let script = format!("export PORT={port} DIR='{}'; exec {command}", dir.display());
    let words = vec!["sh".to_owned(), "-c".to_owned(), script];
    let start = Start::on(&options.broker_cpus, words);
    Ok(System::new(name, port, dir, start))
}

fn outside(name: &str, address: &str, pid: Option<u32>) -> System {
    let mut system = System::new(name, 0, PathBuf::new(), Start::Outside);
    system.address = address.to_owned();
    system.outside_pid = pid;
    system
}

fn free_port() -> Result<u16, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl System {
    fn new(name: &str, port: u16, dir: PathBuf, start: Start) -> System {
        let configuration = match &start {
            Start::Ours { cpus, words, .. } => format!("taskset -c {cpus} {}\n", words.join(" ")),
            Start::Outside => "started by somebody else\n".to_owned(),
        };
        System {
            name: name.to_owned(),
            address: format!("127.0.0.1:{port}"),
            keeps_nothing: false,
            start,
            dir,
            configuration,
            child: None,
            outside_pid: None,
            results: SystemResult::default(),
        }
    }

    /// Whether we start it.
    pub fn is_ours(&self) -> bool {
        matches!(self.start, Start::Ours { .. })
    }

    /// Where its data is, if it is ours.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.is_ours().then(|| self.dir.join("data"))
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id).or(self.outside_pid)
    }

    /// What was found about it beside the workloads.
    pub fn results(&mut self) -> &mut SystemResult {
        &mut self.results
    }

    /// For the report.
    pub fn describe(&self) -> SystemResult {
        SystemResult {
            name: self.name.clone(),
            configuration: self.configuration.clone(),
            ..self.results.clone()
        }
    }

    /// Starts it, on the data it has; the time until it answers.
    pub fn start(&mut self) -> Result<Duration, Fault> {
        let Start::Ours { cpus, words, kafka } = &self.start else {
            return Ok(Duration::ZERO);
        };
        std::fs::create_dir_all(&self.dir)?;
        if let Some((jars, properties)) = kafka.as_ref().filter(|_| !self.dir.join("data").exists())
        {
            kafka::format(jars, properties)?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))?;
        let mut command = child::command(cpus, words)?;
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.name))?;
        self.child = Some(child);
        self.wait_until_it_answers(began)?;
        Ok(began.elapsed())
    }

    fn wait_until_it_answers(&mut self, began: Instant) -> Result<(), Fault> {
        while !cluster::answers(&self.address) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
            if ended.is_some() || began.elapsed() > READY_MAX {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(10)..].join("\n");
                return Err(format!("{} does not answer ({ended:?}):\n{last}", self.name).into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// SIGTERM, and SIGKILL if that does not do.
    pub fn stop(&mut self) {
        let Some(child) = &self.child else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // Gone already, perhaps.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let end = Instant::now() + STOP_MAX;
        while let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) if Instant::now() < end => std::thread::sleep(LOOK * 10),
                _ => self.kill(),
            }
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already, perhaps.
            let _ = child.kill();
            let _ = child.wait();
        }
        // The port is free once the kernel has given the process's sockets up.
        let end = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(&self.address).is_ok() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }

    /// Stops it and removes its data.
    pub fn clear(&mut self) -> Result<(), Fault> {
        self.stop();
        let data = self.dir.join("data");
        if data.exists() {
            std::fs::remove_dir_all(data)?;
        }
        Ok(())
    }

    /// Deletes a topic, as well as that goes.
    pub fn delete_topic(&self, topic: &str) {
        if self.keeps_nothing {
            return;
        }
        if let Err(fault) = cluster::delete_topic(&self.address, topic) {
            eprintln!("{}: deleting {topic}: {fault}", self.name);
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop();
    }
}
