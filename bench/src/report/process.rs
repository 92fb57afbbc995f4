//! CPU time and memory of a process, and what else the machine says, from `/proc`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Fault;

/// `/proc/PID/stat` counts in hundredths of a second on every Linux (USER_HZ).
const TICK_MS: u64 = 10;

/// Bytes of a MiB.
pub const MIB: f64 = (1 << 20) as f64;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Process {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub resident_peak_bytes: u64,
}

impl Process {
    /// As it is now. The CPU time is that of all threads, kernel workers of its rings included.
    pub fn read(pid: u32) -> Result<Process, Fault> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // The second field is a name that may contain anything; fields 14 and 15 (proc(5)) are user and system ticks.
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc stat without a name")?;
        let ticks = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>()?;
        let kilobytes = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default();
            let number = line.trim().trim_end_matches(" kB");
            number.parse::<u64>().unwrap_or(0) << 10
        };
        Ok(Process {
            cpu_seconds: Duration::from_millis(ticks * TICK_MS).as_secs_f64(),
            resident_bytes: kilobytes("VmRSS:"),
            resident_peak_bytes: kilobytes("VmHWM:"),
        })
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        self.resident_bytes as f64 / MIB
    }

    /// The CPU time since `before`; memory as it is now.
    pub fn since(self, before: Process) -> Process {
        Process {
            cpu_seconds: (self.cpu_seconds - before.cpu_seconds).max(0.0),
            ..self
        }
    }
}

/// The system's default, which every connection of a run has.
pub fn congestion_control() -> String {
    let read = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    read.map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read(std::process::id()).unwrap();
        assert!(process.resident_bytes > 0);
        assert!(process.resident_peak_bytes >= process.resident_bytes);
    }
}
