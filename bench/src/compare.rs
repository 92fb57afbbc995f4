//! `compare`: the same load on Millstream and on a peer, in turn, and a report that anyone can repeat.
//!
//! All systems run during the whole comparison, on the same cores with their data on the same disk, and get each
//! workload in turn, round after round (A B C A B C …): what changes on a shared machine meets all of them. A peer on a
//! JVM gets load before the first round, until its compilers have done their work. Every workload is a command line of
//! this program; the report shows it. Topics are new for each run and deleted after it.

mod chart;
mod html;
mod kafka;
mod lifecycle;
mod machine;
mod results;
mod scenarios;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use crate::Fault;
use crate::load::cpu_list;
use crate::report::Outcome;
use results::{Comparison, Run, WorkloadResult};
use scenarios::{Metric, Scenario};
use system::System;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Name of the peer: `kafka` is fetched and started; anything else needs --peer-start or --peer-address.
    #[arg(long, default_value = "kafka")]
    peer: String,
    /// A peer that runs already, any that speaks Kafka's protocol. It is neither started nor stopped.
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: Option<String>,
    /// Process id of a peer that runs already, on this machine.
    #[arg(long)]
    peer_pid: Option<u32>,
    /// Shell command that runs a peer in the foreground on 127.0.0.1:$PORT with its data in $DIR.
    #[arg(long, value_name = "COMMAND")]
    peer_start: Option<String>,
    /// Kafka's distribution, or a directory of its jars. Without it Maven fetches --kafka-version from Maven Central.
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
    /// Version of Kafka to fetch.
    #[arg(long, default_value = "4.3.1")]
    kafka_version: String,
    /// Kafka's classes of durability to compare with: `unflushed` (its default), `flushed` (each batch), or both.
    #[arg(long, default_value = "unflushed,flushed", value_delimiter = ',')]
    classes: Vec<String>,
    /// The broker's binary; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    millstream: Option<PathBuf>,
    /// Core of Millstream and CPUs of the peers.
    #[arg(long, default_value = "0")]
    broker_cpus: String,
    /// CPUs of the load.
    #[arg(long, default_value = "1")]
    load_cpus: String,
    /// Directory on the disk to compare on. Data goes into a new directory there, which is removed.
    #[arg(long, default_value = ".", value_name = "DIR")]
    data: PathBuf,
    /// Workloads, by name; `list` shows them.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "W1,W1x4,W2,W3,W4,W5,W6,W7,W8,W9,W10,W12,W13"
    )]
    workloads: Vec<String>,
    /// How often each workload runs on each system.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 8.0)]
    duration: f64,
    /// Seconds of load before each measurement.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds of load on each peer before the first round.
    #[arg(long, default_value_t = 60.0)]
    warm_up_seconds: f64,
    /// Partitions for start and restart (W12).
    #[arg(long, default_value_t = 1000)]
    restart_partitions: i32,
    /// Idle connections (W13).
    #[arg(long, default_value_t = 1000)]
    idle_connections: usize,
    /// JSON of `roofline` on this machine: results are also given as a share of it.
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
    /// The report.
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    report: PathBuf,
    /// All results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command; whether every run was without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    if options.workloads.iter().any(|name| name == "list") {
        print!("{}", scenarios::list());
        return Ok(true);
    }
    cpu_list(&options.load_cpus)?;
    let scenarios = scenarios::chosen(&options.workloads)?;
    let work = WorkDir::new(&options.data)?;
    let mut systems = system::systems(options, &work.0)?;
    let mut comparison = Comparison {
        machine: machine::describe(&options.data),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        roofline: options
            .roofline
            .as_deref()
            .map(crate::roofline::Roofline::read)
            .transpose()?,
        ..Comparison::default()
    };
    for system in &mut systems {
        eprintln!("{}: starting", system.name);
        system.start()?;
        if system.needs_warm_up {
            warm_up(system, options)?;
        }
    }
    measure(options, &scenarios, &systems, &mut comparison)?;
    for system in &mut systems {
        system.stop();
    }
    lifecycle::measure(options, &mut systems, &mut comparison)?;
    comparison.systems = systems.iter().map(System::describe).collect();
    print!("{}", results::text(&comparison));
    write(&options.report, &html::page(&comparison)?)?;
    println!("report: {}", options.report.display());
    if let Some(path) = &options.json {
        write(path, &serde_json::to_string_pretty(&comparison)?)?;
    }
    Ok(comparison.is_clean())
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn warm_up(system: &System, options: &Options) -> Result<(), Fault> {
    let half = options.warm_up_seconds / 2.0;
    eprintln!(
        "{}: {} s of load to warm it up",
        system.name, options.warm_up_seconds
    );
    for (at, load) in scenarios::WARM_UP.iter().enumerate() {
        let topic = format!("warm-up-{at}");
        let run = Invocation {
            system,
            options,
            topic: &topic,
            duration: half,
            warm_up: 0.0,
        };
        run.run(load)?;
        system.delete_topic(&topic);
    }
    Ok(())
}

fn measure(
    options: &Options,
    scenarios: &[&Scenario],
    systems: &[System],
    comparison: &mut Comparison,
) -> Result<(), Fault> {
    for scenario in scenarios {
        let command = match scenario.follows {
            None => scenario.command.to_owned(),
            Some(share) => {
                let rate = share * peer_rate(comparison, systems);
                format!("{} --rate {rate:.0}", scenario.command)
            }
        };
        let mut result = WorkloadResult {
            name: scenario.name.into(),
            what: scenario.what.into(),
            command: format!(
                "millstream-bench {command} --duration {} --warm-up {}",
                options.duration, options.warm_up
            ),
            metric: scenario.metric,
            runs: systems.iter().map(|_| Vec::new()).collect(),
        };
        for round in 0..options.rounds {
            for (at, system) in systems.iter().enumerate() {
                eprint!("{} round {} {}: ", scenario.name, round + 1, system.name);
                let run = one(options, scenario, &command, system, round);
                eprintln!("{}", run.short(scenario.metric));
                result.runs[at].push(run);
            }
        }
        comparison.workloads.push(result);
    }
    Ok(())
}

/// One run; what failed is a result, too.
fn one(
    options: &Options,
    scenario: &Scenario,
    command: &str,
    system: &System,
    round: usize,
) -> Run {
    let topic = format!("{}-{round}", scenario.name.to_lowercase());
    let invocation = Invocation {
        system,
        options,
        topic: &topic,
        duration: options.duration,
        warm_up: options.warm_up,
    };
    let prepared = scenario.prepare.map_or(Ok(()), |prepare| {
        let prepare = Invocation {
            duration: prepare.seconds,
            warm_up: 0.0,
            ..invocation
        }
        .run(prepare.command);
        prepare.map(|_| ())
    });
    let outcome = prepared.and_then(|()| invocation.run(command));
    for number in 0..scenario.topics.max(1) {
        match scenario.topics {
            0 | 1 => system.delete_topic(&topic),
            _ => system.delete_topic(&format!("{topic}-{number}")),
        }
    }
    // Files of deleted topics go in the background; the next run shall not pay for them.
    std::thread::sleep(DELETE_PAUSE);
    match outcome {
        Ok(outcome) => Run::Done(Box::new(outcome)),
        Err(fault) => Run::Failed(fault.to_string()),
    }
}

const DELETE_PAUSE: Duration = Duration::from_millis(1500);

/// Records a second that the first peer took in W3, or a modest rate where that was not measured.
fn peer_rate(comparison: &Comparison, systems: &[System]) -> f64 {
    const MODEST: f64 = 20_000.0;
    let w3 = comparison
        .workloads
        .iter()
        .find(|result| result.name == "W3");
    let peer = systems.len().min(2) - 1;
    let median = w3.and_then(|result| result.summary(peer, Metric::RequestsPerSecond));
    median.map_or(MODEST, |summary| summary.median)
}

/// A load command on a system.
#[derive(Clone, Copy)]
struct Invocation<'a> {
    system: &'a System,
    options: &'a Options,
    topic: &'a str,
    duration: f64,
    warm_up: f64,
}

impl Invocation<'_> {
    fn run(&self, command: &str) -> Result<Outcome, Fault> {
        let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let mut add = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        add("--bootstrap", &self.system.address);
        add("--topic", self.topic);
        add("--topic-config", "file.delete.delay.ms=500");
        add("--cpus", &self.options.load_cpus);
        add("--duration", &self.duration.to_string());
        add("--warm-up", &self.warm_up.to_string());
        if let Some(pid) = self.system.pid() {
            add("--pid", &pid.to_string());
        }
        crate::outcome_of(&words)
    }
}

/// A new directory that is removed with all it holds.
struct WorkDir(PathBuf);

impl WorkDir {
    fn new(parent: &std::path::Path) -> Result<WorkDir, Fault> {
        let dir = parent.join(format!("compare-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(WorkDir(std::fs::canonicalize(dir)?))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} was not removed: {error}", self.0.display());
        }
    }
}
