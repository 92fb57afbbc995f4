//! The `millstream` command.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use millstream::broker::{self, RunError};
use millstream::cli::{Arguments, Command};
use millstream::knobs;
use tracing_subscriber::EnvFilter;

/// A configuration or a data directory that cannot be used, and everything else that keeps the broker from starting.
const REFUSED: u8 = 2;
/// A scrub has found something.
const DAMAGED: u8 = 1;
/// The broker ran, and its stop was not clean.
const UNCLEAN: u8 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    match &arguments.command {
        Some(Command::Knobs) => {
            // Into `head`, say: whoever reads may have read enough.
            let _closed = std::io::stdout().write_all(knobs::reference::markdown().as_bytes());
            ExitCode::SUCCESS
        }
        Some(Command::Recover { dir }) => end(broker::recover(dir)),
        Some(Command::Scrub { dirs }) => scrub(&arguments, dirs.clone()),
        None => serve(&arguments),
    }
}

fn serve(arguments: &Arguments) -> ExitCode {
    let config = match arguments.config() {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return ExitCode::from(REFUSED);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    end(broker::run(config))
}

fn scrub(arguments: &Arguments, mut dirs: Vec<PathBuf>) -> ExitCode {
    if dirs.is_empty() {
        match arguments.config() {
            Ok(config) => dirs = config.log_dirs,
            Err(error) => {
                complain(&error);
                return ExitCode::from(REFUSED);
            }
        }
    }
    match broker::scrub(dirs) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(DAMAGED),
        Err(error) => end(Err(error)),
    }
}

fn end(outcome: Result<(), RunError>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    complain(&error);
    ExitCode::from(match error {
        RunError::Start(_) => REFUSED,
        RunError::Stop(_) | RunError::Offline => UNCLEAN,
    })
}

/// One line on stderr, if that is still open.
fn complain(error: &dyn std::fmt::Display) {
    let _closed = writeln!(std::io::stderr(), "millstream: {error}");
}

/// `MILLSTREAM_LOG` chooses what is logged, in the syntax of tracing's `EnvFilter`; `info` without it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("MILLSTREAM_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,glommio=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // It would panic where stderr is a pipe that nobody reads any more.
        .log_internal_errors(false)
        .init();
}
