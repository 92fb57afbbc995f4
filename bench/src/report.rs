//! What was counted, and how it is shown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::Fault;
use crate::cluster::error_name;

/// Percentiles that are reported.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
/// An hour; longer counts as an hour.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// Three digits: 0.1 %.
const PRECISION: u8 = 3;
/// `/proc/PID/stat` counts in hundredths of a second on every Linux (USER_HZ).
const TICK_MS: u64 = 10;

/// What one thread saw while it measured.
pub struct Counts {
    requests: u64,
    bytes: u64,
    records: u64,
    errors: BTreeMap<i16, u64>,
    lost: BTreeMap<String, u64>,
    latency_ns: Histogram<u64>,
}

impl Counts {
    pub fn new() -> Counts {
        Counts {
            requests: 0,
            bytes: 0,
            records: 0,
            errors: BTreeMap::new(),
            lost: BTreeMap::new(),
            latency_ns: Histogram::new_with_bounds(1, LATENCY_MAX_NS, PRECISION)
                .expect("bounds and precision are legal"),
        }
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.records += other.records;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        for (fault, count) in &other.lost {
            *self.lost.entry(fault.clone()).or_default() += count;
        }
        self.latency_ns
            .add(&other.latency_ns)
            .expect("both have the same bounds");
    }
}

/// One thread's counters. They count between [`Tally::begin`] and [`Tally::end`] only, lost connections always.
pub struct Tally {
    measuring: Cell<bool>,
    counts: RefCell<Counts>,
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            measuring: Cell::new(false),
            counts: RefCell::new(Counts::new()),
        }
    }

    /// The warm-up is over.
    pub fn begin(&self) {
        self.measuring.set(true);
    }

    /// The time is over; answers to what is still in flight do not count.
    pub fn end(&self) {
        self.measuring.set(false);
    }

    /// What was counted.
    pub fn take(&self) -> Counts {
        self.counts.replace(Counts::new())
    }

    /// A request was answered without error; `bytes` of batches.
    pub fn done(&self, sent: Instant, received: Instant, bytes: usize, records: u64) {
        if !self.measuring.get() {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        counts.requests += 1;
        counts.bytes += bytes as u64;
        counts.records += records;
        let latency = u64::try_from(received.duration_since(sent).as_nanos()).unwrap_or(u64::MAX);
        counts.latency_ns.saturating_record(latency.max(1));
    }

    /// A request was answered with an error.
    pub fn failed(&self, code: i16) {
        if self.measuring.get() {
            *self.counts.borrow_mut().errors.entry(code).or_default() += 1;
        }
    }

    /// A connection ended early.
    pub fn lost(&self, fault: &Fault) {
        *self
            .counts
            .borrow_mut()
            .lost
            .entry(fault.to_string())
            .or_default() += 1;
    }
}

/// CPU time and memory of a process, from `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    cpu: Duration,
    resident: u64,
    resident_peak: u64,
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
            line.trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or(0)
                << 10
        };
        let (resident, resident_peak) = (kilobytes("VmRSS:"), kilobytes("VmHWM:"));
        Ok(Process {
            cpu: Duration::from_millis(ticks * TICK_MS),
            resident,
            resident_peak,
        })
    }

    /// The CPU time since `before`; memory as it is now.
    pub fn since(self, before: Process) -> Process {
        Process {
            cpu: self.cpu.saturating_sub(before.cpu),
            ..self
        }
    }
}

/// The result of a run.
pub struct Measured {
    pub counts: Counts,
    /// Seconds that every thread counted.
    pub window: f64,
    /// Time between the two looks at the processes; a little more than `window`.
    pub elapsed: Duration,
    pub broker: Option<Process>,
    pub own: Process,
}

/// Prints the result, writes it to `json`, and returns whether something was done and nothing went wrong.
pub fn publish(title: &str, measured: &Measured, json: Option<&Path>) -> Result<bool, Fault> {
    print(title, measured);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&to_json(title, measured))?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let Counts {
        requests,
        errors,
        lost,
        ..
    } = &measured.counts;
    Ok(*requests > 0 && errors.is_empty() && lost.is_empty())
}

fn print(title: &str, measured: &Measured) {
    let Measured {
        counts,
        window,
        elapsed,
        ..
    } = measured;
    println!("{title}");
    println!(
        "{:.1} s: {:.1} MB/s, {:.0} requests/s, {:.0} records/s",
        window,
        counts.bytes as f64 / window / 1e6,
        counts.requests as f64 / window,
        counts.records as f64 / window
    );
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let mut line = String::from("latency ms:");
    for (name, percentile) in PERCENTILES {
        line += &format!(
            " {name} {:.3}",
            milliseconds(counts.latency_ns.value_at_percentile(percentile))
        );
    }
    println!("{line} max {:.3}", milliseconds(counts.latency_ns.max()));
    for (code, count) in &counts.errors {
        println!("error {}: {count}", error_name(*code));
    }
    for (fault, count) in &counts.lost {
        println!("{count} connections lost: {fault}");
    }
    if counts.errors.is_empty() && counts.lost.is_empty() {
        println!("no errors");
    }
    println!(
        "TCP congestion control {} (bbr halves the throughput of loopback)",
        congestion_control()
    );
    let mut processes = vec![("load", measured.own)];
    processes.extend(measured.broker.map(|broker| ("broker", broker)));
    for (name, process) in processes {
        println!(
            "{name}: CPU {:.2} s ({:.0} %), resident {:.1} MiB, peak {:.1} MiB",
            process.cpu.as_secs_f64(),
            100.0 * process.cpu.as_secs_f64() / elapsed.as_secs_f64(),
            process.resident as f64 / f64::from(1 << 20),
            process.resident_peak as f64 / f64::from(1 << 20),
        );
    }
}

/// The system's default, which every connection of a run has.
fn congestion_control() -> String {
    let read = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    read.map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

fn to_json(title: &str, measured: &Measured) -> serde_json::Value {
    let Measured {
        counts,
        window,
        elapsed,
        ..
    } = measured;
    let mut latency = serde_json::Map::new();
    for (name, percentile) in PERCENTILES {
        latency.insert(
            name.into(),
            json!(counts.latency_ns.value_at_percentile(percentile)),
        );
    }
    latency.insert("max".into(), json!(counts.latency_ns.max()));
    let process = |process: Process| {
        json!({
            "cpu_seconds": process.cpu.as_secs_f64(),
            "resident_bytes": process.resident,
            "resident_peak_bytes": process.resident_peak,
        })
    };
    let errors: BTreeMap<String, u64> = counts
        .errors
        .iter()
        .map(|(code, count)| (error_name(*code), *count))
        .collect();
    json!({
        "title": title,
        "seconds": window,
        "requests": counts.requests,
        "records": counts.records,
        "bytes": counts.bytes,
        "mb_per_second": counts.bytes as f64 / window / 1e6,
        "requests_per_second": counts.requests as f64 / window,
        "records_per_second": counts.records as f64 / window,
        "latency_ns": latency,
        "errors": errors,
        "connections_lost": counts.lost,
        "congestion_control": congestion_control(),
        "process_seconds": elapsed.as_secs_f64(),
        "load": process(measured.own),
        "broker": measured.broker.map(process),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_between_begin_and_end() {
        let tally = Tally::new();
        let sent = Instant::now();
        let received = sent + Duration::from_millis(2);
        tally.done(sent, received, 10, 1);
        tally.failed(6);
        tally.begin();
        tally.done(sent, received, 10, 1);
        tally.failed(6);
        tally.end();
        tally.done(sent, received, 10, 1);
        let mut counts = tally.take();
        counts.add(&tally.take());
        assert_eq!((counts.requests, counts.bytes, counts.records), (1, 10, 1));
        assert_eq!(counts.errors.get(&6), Some(&1));
        let median = counts.latency_ns.value_at_percentile(50.0);
        assert!(median.abs_diff(2_000_000) <= 2_000, "{median}");
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read(std::process::id()).unwrap();
        assert!(process.resident > 0);
        assert!(process.resident_peak >= process.resident);
    }
}
