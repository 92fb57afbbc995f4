//! Load for a Kafka broker, and what it measured: Millstream's or any other.
//!
//! One thread for each CPU given, the broker's own ring under it, requests built before the clock starts. Closed loop:
//! every connection keeps so many requests in flight and sends the next when an answer comes. `load` starts and stops
//! the threads, `connection` paces one socket, `produce` and `fetch` say what goes over it, `cluster` asks where, and
//! `report` prints.
#![forbid(unsafe_code)]

mod cluster;
mod connection;
mod fetch;
mod load;
mod produce;
mod report;
mod sink;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Produce prebuilt batches as fast as the broker acknowledges them.
    Produce(produce::Options),
    /// Fetch topics again and again, or wait at their end.
    Fetch(fetch::Options),
    /// A broker that answers and keeps nothing: the ceiling of load generator and network.
    Sink(sink::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Produce(options) => produce::run(&options),
        Command::Fetch(options) => fetch::run(&options),
        Command::Sink(options) => sink::run(&options),
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
