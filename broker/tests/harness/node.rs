//! A broker process that is started, stopped, limited and looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::wire::Wire;
use super::{Process, broker_command, free_port, runtime};

/// A broker and its directory, running or not.
pub struct Node {
    pub dir: tempfile::TempDir,
    pub port: u16,
    pub sets: Vec<String>,
    /// Further arguments, as `--cores 0`.
    pub arguments: Vec<String>,
    /// `cgroup.procs` of a group that it starts in.
    pub within: Option<PathBuf>,
    process: Option<Process>,
}

impl Node {
    /// Not running yet.
    pub fn new(sets: &[&str]) -> Node {
        Node {
            dir: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            sets: sets.iter().map(|set| (*set).to_owned()).collect(),
            arguments: Vec::new(),
            within: None,
            process: None,
        }
    }

    pub fn started(sets: &[&str]) -> Node {
        let mut node = Node::new(sets);
        node.start();
        node
    }

    pub fn command(&self) -> Command {
        let mut command = broker_command(self.port, self.dir.path(), &self.sets);
        command.args(&self.arguments).current_dir(self.dir.path());
        command
    }

    pub fn start(&mut self) {
        let mut command = self.command();
        if let Some(group) = &self.within {
            let broker = command;
            command = Command::new("sh");
            command
                .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
                .arg(group);
            command.arg(broker.get_program()).args(broker.get_args());
        }
        self.process = Some(Process::start(command, self.dir.path(), self.port));
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// SIGTERM and the end: the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.process().stop()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.port)
    }

    /// All that was written to both streams.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Bytes of resident memory.
    pub fn resident(&mut self) -> usize {
        self.memory("VmRSS:")
    }

    /// The most bytes of memory that were ever resident.
    pub fn resident_peak(&mut self) -> usize {
        self.memory("VmHWM:")
    }

    /// A row of proc_pid_status(5), in bytes.
    fn memory(&mut self, row: &str) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(row));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("a process has memory")
            .parse::<usize>()
            .expect("a number")
            << 10
    }

    /// Open descriptors.
    pub fn descriptors(&mut self) -> usize {
        let path = format!("/proc/{}/fd", self.process().pid());
        fs::read_dir(path).expect("the process runs").count()
    }

    /// CPU time used so far, in clock ticks (1/100 s).
    pub fn cpu_ticks(&mut self) -> u64 {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("the name stands in brackets");
        let fields: Vec<&str> = fields.split(' ').collect();
        // utime and stime, fields 14 and 15 of proc_pid_stat(5), the first two of which are cut off.
        [fields[11], fields[12]]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }

    fn proc(&mut self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process().pid());
        fs::read_to_string(path).expect("the process runs")
    }
}

/// Runs a broker that does not start: one line on stderr that has all of `words`, and exit code 2.
#[track_caller]
pub fn refused(mut command: Command, words: &[&str]) -> Output {
    let output = runtime::finish(&mut command);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("millstream: "))
        .collect();
    assert_eq!(complaints.len(), 1, "one line says it:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
    for word in words {
        assert!(complaints[0].contains(word), "{word:?} is not in:\n{text}");
    }
    output
}

/// Every file and directory below `dir`, with length and checksum.
pub fn listing(dir: &Path) -> BTreeMap<PathBuf, (usize, u64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).expect("a directory that can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.insert(path.clone(), (0, 0));
                left.push(path);
                continue;
            }
            let bytes = fs::read(&path).expect("a file that can be read");
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            found.insert(path, (bytes.len(), hasher.finish()));
        }
    }
    found
}

/// A copy of a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("a directory that can be read") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("entries have names"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => {
                fs::copy(&path, &target).expect("a file can be copied");
            }
        }
    }
}
