//! A directory that is removed however this process ends, SIGKILL included.
//!
//! Another process of this program, `sweep`, in a process group of its own, holds the other end of a pipe and removes
//! the directory when the pipe ends: the kernel closes it with the last process that could write to it. The ordinary
//! end takes the same way, so that there is only one. Only who kills that process, too, keeps the directory.

use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fault;

/// How long brokers that are being killed may write to it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// What to remove when standard input ends.
    dir: PathBuf,
}

/// A new directory and the process that will remove it.
pub struct Scratch {
    dir: PathBuf,
    sweeper: Child,
}

impl Scratch {
    /// `parent/NAME-PID`, which must not be there.
    pub fn new(parent: &Path, name: &str) -> Result<Scratch, Fault> {
        let dir = parent.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let dir = std::fs::canonicalize(dir)?;
        let sweeper = Command::new(std::env::current_exe()?)
            .arg("sweep")
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Whoever interrupts this process from a terminal does not mean that one.
            .process_group(0)
            .spawn()?;
        Ok(Scratch { dir, sweeper })
    }

    /// Its path, without links.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        // It says itself what it could not remove.
        let _ = self.sweeper.wait();
    }
}

/// Waits for the end of standard input, then removes the directory.
pub fn run(options: &Options) -> Result<bool, Fault> {
    let mut input = std::io::stdin().lock();
    let mut buffer = [0; 64];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() != ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match std::fs::remove_dir_all(&options.dir) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound && !options.dir.exists() => {
                return Ok(true);
            }
            // Somebody who is about to end has created one more file.
            Err(_) if Instant::now() < end => std::thread::sleep(LOOK),
            Err(error) => {
                return Err(format!("{} was not removed: {error}", options.dir.display()).into());
            }
        }
    }
}
