//! `compare`: the same load on Millstream and on a peer, in turn, and a report that anyone can repeat.
//!
//! All systems run during the whole comparison, on the same cores with their data on the same disk, and get each
//! workload in turn, round after round (A B C A B C …): what changes on a shared machine meets all of them. A peer on a
//! JVM gets load before the first round, until its compilers have done their work. Every workload is a command line of
//! this program; the report shows it. Topics are new for each run and deleted after it, unless that costs more than the
//! load. In the same rounds runs what bounds the result: a sink, or the device alone.

mod chart;
mod html;
mod kafka;
mod lifecycle;
mod machine;
mod markdown;
mod measure;
mod page_cache;
mod results;
mod scenarios;
mod system;

use std::path::PathBuf;

use crate::Fault;
use crate::load::cpu_list;
use crate::roofline::{self, Roofline};
use crate::scratch::Scratch;
use results::Comparison;
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
    /// Cores of the second Millstream in W11.
    #[arg(long, default_value = "0,1")]
    more_broker_cpus: String,
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
        default_value = "W1,W1x4,W2,W3,W4,W5,W6,W7,W8,W8x1,W9,W10,W11,W12,W13"
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
    /// Seconds of load on each broker before the first round.
    #[arg(long, default_value_t = 60.0)]
    warm_up_seconds: f64,
    /// Log that a group reads from its start in W9, per system. Millstream may keep half of it in memory.
    #[arg(long, default_value_t = 2.0, value_name = "GIB")]
    backlog_gib: f64,
    /// Size of the file on which the device alone is measured; twice that for each second where its blocks are to be new.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    device_mib: u64,
    /// Partitions for start and restart (W12).
    #[arg(long, default_value_t = 10_000)]
    restart_partitions: u32,
    /// Idle connections (W13).
    #[arg(long, default_value_t = 1000)]
    idle_connections: usize,
    /// JSON of `roofline` on this machine, of which results are also given as a share. Without it, it is measured first.
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
    /// Seconds of each of its measurements, where it is measured.
    #[arg(long, default_value_t = 4.0)]
    roofline_seconds: f64,
    /// The report.
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    report: PathBuf,
    /// The figures as a table in Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
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
    // Declared before the brokers, so that it goes after them.
    let work = Scratch::new(&options.data, "compare")?;
    let mut systems = system::systems(options, work.path())?;
    eprintln!(
        "about {:.0} minutes, and start and restart after that",
        measure::minutes(options, &scenarios, systems.len())
    );
    let mut comparison = Comparison {
        machine: machine::describe(&options.data),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        ..Comparison::default()
    };
    if !scenarios.is_empty() {
        comparison.roofline = Some(roofline_of(options)?);
        for system in &mut systems {
            eprintln!("{}: starting", system.name);
            system.start()?;
            measure::warm_up(system, options)?;
        }
        measure::measure(options, work.path(), &scenarios, &systems, &mut comparison);
    }
    systems.iter_mut().for_each(System::stop);
    lifecycle::measure(options, work.path(), &mut systems, &mut comparison);
    comparison.systems = systems.iter().map(System::describe).collect();
    publish(options, &comparison)
}

/// What the machine can do: as it was measured before, or now, while no broker runs yet.
fn roofline_of(options: &Options) -> Result<Roofline, Fault> {
    if let Some(path) = &options.roofline {
        return Roofline::read(path);
    }
    let mut cpus = cpu_list(&options.broker_cpus)?;
    cpus.0.truncate(1);
    cpus.0.extend(cpu_list(&options.load_cpus)?.at(0));
    let bytes = options.device_mib << 20;
    roofline::of(&options.data, bytes, cpus, options.roofline_seconds)
}

/// Prints and writes the report, and says what of it does not count; whether all does.
fn publish(options: &Options, comparison: &Comparison) -> Result<bool, Fault> {
    print!("{}", results::text(comparison));
    write(&options.report, &html::page(comparison)?)?;
    println!("report: {}", options.report.display());
    if let Some(path) = &options.markdown {
        write(path, &markdown::table(comparison))?;
    }
    if let Some(path) = &options.json {
        write(path, &serde_json::to_string_pretty(comparison)?)?;
    }
    for problem in comparison.problems() {
        eprintln!("millstream-bench: {problem}");
    }
    Ok(comparison.is_clean())
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
