//! Load for a Kafka broker, and what it measured: Millstream's or any other.
//!
//! One thread for each CPU given, the broker's own ring under it, requests built before the clock starts.
//!
//! | where | what |
//! |---|---|
//! | `produce`, `fetch`, `end_to_end`, `swarm` | what goes over the connections, a command each |
//! | `workload` | workloads of the OpenMessaging Benchmark as runs of `end_to_end` |
//! | `load`, `progress` | threads, connections and the clock of a run; its progress line |
//! | `connection`, `pace`, `link` | one connection: closed loop, open loop, one request at a time |
//! | `cluster` | where to send; topics and producer ids |
//! | `report` | counters, histograms, results |
//! | `verify` | nothing acknowledged is lost, doubled or moved |
//! | `compare` | Millstream and a peer in turn, with a report |
//! | `sink` | a broker that keeps nothing: the ceiling of load and network |
//! | `roofline` | what the machine itself can do |
//! | `child`, `scratch` | brokers and data that do not outlive this process |
#![forbid(unsafe_code)]

mod child;
mod clock;
mod cluster;
mod compare;
mod connection;
mod end_to_end;
mod fetch;
mod link;
mod load;
mod pace;
mod produce;
mod progress;
mod report;
mod roofline;
mod scratch;
mod sink;
mod swarm;
mod verify;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whatever ends a run; shown to the user as one line.
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(
    name = "millstream-bench",
    version,
    about = "Load generator for Kafka brokers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Produce prebuilt batches, as fast as the broker acknowledges them or at a rate.
    Produce(Box<produce::Options>),
    /// Fetch topics again and again, or wait at their end.
    Fetch(Box<fetch::Options>),
    /// Produce and read: the time from the intended sending of a record to its receipt.
    EndToEnd(Box<end_to_end::Options>),
    /// Thousands of connections, idle or slow.
    Swarm(Box<swarm::Options>),
    /// Numbered records, checked for loss, duplicates and order, through restarts of the broker.
    Verify(verify::Options),
    /// The same load on Millstream and a peer, in turn, and a report.
    Compare(Box<compare::Options>),
    /// A workload of the OpenMessaging Benchmark, from its YAML as it is.
    Workload(workload::Options),
    /// A broker that answers and keeps nothing: the ceiling of load generator and network.
    Sink(sink::Options),
    /// What this machine can do: disk, network, memory. About a minute.
    Roofline(roofline::Options),
    /// Becomes another program, which ends with whoever started this.
    #[command(hide = true)]
    Child(child::Options),
    /// Removes a directory when standard input ends.
    #[command(hide = true)]
    Sweep(scratch::Options),
}

/// Reads a command line without the program's name.
fn parse(words: &[String]) -> Result<Command, Fault> {
    let program = std::iter::once("millstream-bench");
    let words = program.chain(words.iter().map(String::as_str));
    Ok(Cli::try_parse_from(words)?.command)
}

/// Runs the load of a command line, and returns its result instead of printing it.
fn outcome_of(words: &[String]) -> Result<report::Outcome, Fault> {
    match parse(words)? {
        Command::Produce(options) => produce::outcome(&options),
        Command::Fetch(options) => fetch::outcome(&options),
        Command::EndToEnd(options) => end_to_end::outcome(&options),
        Command::Swarm(options) => swarm::outcome(&options),
        _ => Err("that command is no load".into()),
    }
}

/// Thousands of connections are as many descriptors: the soft limit is raised to the hard one.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // What remains too little is told by the connection that fails.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn main() -> ExitCode {
    raise_descriptor_limit();
    let outcome = match Cli::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Produce(options) => produce::run(&options),
        Command::Fetch(options) => fetch::run(&options),
        Command::EndToEnd(options) => end_to_end::run(&options),
        Command::Swarm(options) => swarm::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Workload(options) => workload::run(&options),
        Command::Sink(options) => sink::run(&options),
        Command::Roofline(options) => roofline::run(&options),
        Command::Child(options) => child::run(&options),
        Command::Sweep(options) => scratch::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("millstream-bench: {fault}");
            ExitCode::from(2)
        }
    }
}
