//! A program that is pinned and does not outlive this one, however this one ends.
//!
//! Linux kills a child when the thread that started it ends, if the child has asked for that (prctl(2),
//! PR_SET_PDEATHSIG), and the request holds through execve(2). So this program starts itself, as `child`, asks, pins
//! itself, and becomes the other program: a SIGKILL of ours leaves no broker behind. It does not reach what that program
//! starts in turn.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Fault;
use crate::load::{CpuList, cpu_list};

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Process id of whoever starts it.
    #[arg(long)]
    parent: i32,
    /// CPUs of the program.
    #[arg(long, value_parser = cpu_list)]
    cpus: CpuList,
    /// The program and its words.
    #[arg(last = true, required = true)]
    words: Vec<String>,
}

/// The command that runs `words` on these CPUs, and ends with the thread that spawns it.
pub fn command(cpus: &str, words: &[String]) -> Result<Command, Fault> {
    let mut command = Command::new(std::env::current_exe()?);
    let parent = getpid().as_raw_nonzero().to_string();
    command.args(["child", "--parent", &parent, "--cpus", cpus, "--"]);
    command.args(words);
    Ok(command)
}

/// Becomes the program; returns only where that failed.
pub fn run(options: &Options) -> Result<bool, Fault> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Between fork and here it may have ended without the kernel knowing of our wish.
    if getppid() != Pid::from_raw(options.parent) {
        return Err("whoever started this has ended".into());
    }
    let mut cpus = CpuSet::new();
    for cpu in &options.cpus.0 {
        if *cpu >= CpuSet::MAX_CPU {
            return Err(format!("no CPU {cpu}").into());
        }
        cpus.set(*cpu);
    }
    sched_setaffinity(None, &cpus)
        .map_err(|error| format!("CPUs {:?}: {error}", options.cpus.0))?;
    let (program, words) = options.words.split_first().ok_or("no program")?;
    let error = Command::new(program).args(words).exec();
    Err(format!("{program}: {error}").into())
}
