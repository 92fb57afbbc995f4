//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Inputs, Machine};

/// A Kafka broker for Linux servers. Without arguments: on localhost:9092, data in ./millstream-data, on all cores.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Kafka's properties file.
    #[arg(value_name = "server.properties")]
    pub file: Option<PathBuf>,
    /// Sets one key of the properties file; stronger than file and environment. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Cores to run on, as 0,2-7.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Memory to stay within, as 512M or 8G; what the control group or machine has when not given.
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
}

/// What the process does when it does not serve.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a data directory that was not stopped cleanly readable for Kafka and its tools.
    Recover {
        /// The data directory.
        dir: PathBuf,
    },
    /// Reads all sealed segments of data directories that no broker uses, ours or Kafka's, and names what is damaged. Ends with 1
    /// if anything is, with 2 if a directory cannot be read.
    Scrub {
        /// The data directories; those of the environment's configuration when none is given.
        #[arg(value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
    /// Prints the reference of all settings in Markdown.
    Knobs,
}

impl Arguments {
    /// The configuration that these arguments and the environment of this process make.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let inputs = Inputs {
            file: self.file.clone(),
            variables: std::env::vars_os().collect(),
            sets: self.sets.clone(),
            cores: self.cores.clone(),
            memory: self.memory.clone(),
        };
        Config::load(&inputs, &Machine::ask())
    }
}
