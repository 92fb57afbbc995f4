//! The `millstream` command.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use millstream::broker::{self, RunError};
use millstream::cli::{Arguments, Command};
use millstream::knobs;
use tracing_subscriber::EnvFilter;

/// A configuration or a data directory that cannot be used, and everything else that keeps the broker from starting.
const REFUSED: u8 = 2;
/// The broker ran, and its stop was not clean.
const UNCLEAN: u8 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    match &arguments.command {
        Some(Command::Knobs) => {
            print!("{}", knobs::reference::markdown());
            ExitCode::SUCCESS
        }
        Some(Command::Recover { dir }) => end(broker::recover(dir)),
        None => serve(&arguments),
    }
}

fn serve(arguments: &Arguments) -> ExitCode {
    let config = match arguments.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("millstream: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    end(broker::run(config))
}

fn end(outcome: Result<(), RunError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("millstream: {error}");
    ExitCode::from(match error {
        RunError::Start(_) => REFUSED,
        RunError::Stop(_) => UNCLEAN,
    })
}

/// `MILLSTREAM_LOG` chooses what is logged, in the syntax of tracing's `EnvFilter`; `info` without it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| EnvFilter::new("info,glommio=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
