//! The result of a run: printed for people, written for machines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counts, MIB, Process, congestion_control, hgrm};
use crate::Fault;
use crate::cluster::error_name;
use crate::load::LoadOptions;
use crate::produce;
use crate::roofline::Roofline;
use crate::swarm;

/// A rate counts as kept while no more than one in so many requests was due at the end and had not left: some always are.
const BEHIND_SHARE: u64 = 100;

/// What the threads brought home.
pub struct Measured {
    /// By role, with its name.
    pub parts: Vec<(&'static str, Counts)>,
    /// Seconds that every thread counted.
    pub window: f64,
    /// Time between the two looks at the processes; a little more than `window`.
    pub elapsed: Duration,
    /// Time until all connections were there.
    pub connecting: Duration,
    pub connections: usize,
    /// Before the first connection.
    pub broker_before: Option<Process>,
    pub broker: Option<Process>,
    pub own: Process,
}

/// A run's result. The first part stands at the top, so that a plain `produce` or `fetch` reads plainly.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub title: String,
    #[serde(flatten)]
    pub first: Part,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Part>,
    pub congestion_control: String,
    pub connections: usize,
    pub connecting_seconds: f64,
    /// What the CPU times below refer to.
    pub process_seconds: f64,
    pub load: Process,
    pub broker: Option<Process>,
    /// Broker's CPU seconds for 10⁹ bytes of all parts together.
    pub broker_cpu_seconds_per_gb: Option<f64>,
    /// Broker's CPU microseconds for a request of any part.
    pub broker_cpu_us_per_request: Option<f64>,
    /// Growth of the broker's memory during the run, over the number of connections.
    pub broker_bytes_per_connection: Option<f64>,
}

/// One kind of load in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub part: String,
    pub seconds: f64,
    pub requests: u64,
    pub records: u64,
    pub bytes: u64,
    pub mb_per_second: f64,
    pub requests_per_second: f64,
    pub records_per_second: f64,
    pub latency_ns: LatencyNs,
    pub errors: BTreeMap<String, u64>,
    pub connections_lost: BTreeMap<String, u64>,
    /// Requests of an open loop that were due at the end and had not left: the broker does not keep up with the rate.
    pub requests_behind: u64,
    /// The whole histogram as a table of HdrHistogram's tools.
    #[serde(default)]
    pub hgrm: String,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LatencyNs {
    pub p50: u64,
    pub p75: u64,
    pub p90: u64,
    pub p99: u64,
    #[serde(rename = "p99.9")]
    pub p99_9: u64,
    #[serde(rename = "p99.99")]
    pub p99_99: u64,
    pub max: u64,
}

impl Part {
    fn new(name: &str, counts: &Counts, window: f64) -> Part {
        let at = |percentile| counts.latency_ns.value_at_percentile(percentile);
        let errors = counts.errors.iter();
        Part {
            part: name.into(),
            seconds: window,
            requests: counts.requests,
            records: counts.records,
            bytes: counts.bytes,
            mb_per_second: counts.bytes as f64 / window / 1e6,
            requests_per_second: counts.requests as f64 / window,
            records_per_second: counts.records as f64 / window,
            latency_ns: LatencyNs {
                p50: at(50.0),
                p75: at(75.0),
                p90: at(90.0),
                p99: at(99.0),
                p99_9: at(99.9),
                p99_99: at(99.99),
                max: counts.latency_ns.max(),
            },
            errors: errors.map(|(code, n)| (error_name(*code), *n)).collect(),
            connections_lost: counts.lost.clone(),
            requests_behind: counts.behind,
            hgrm: hgrm::text(&counts.latency_ns),
        }
    }

    /// It did something, unless it is there to be idle, and nothing went wrong.
    fn is_clean(&self) -> bool {
        let did = self.requests > 0 || self.part == swarm::IDLE;
        did && self.errors.is_empty() && self.connections_lost.is_empty()
    }

    /// What went wrong, a line each.
    fn problems(&self) -> Vec<String> {
        let part = &self.part;
        let errors = self.errors.iter();
        let mut problems: Vec<String> = errors
            .map(|(code, count)| format!("{part}: error {code}: {count}"))
            .collect();
        let lost = self.connections_lost.iter();
        problems.extend(
            lost.map(|(fault, count)| format!("{part}: {count} connections lost: {fault}")),
        );
        if problems.is_empty() && !self.is_clean() {
            problems.push(format!(
                "{part}: nothing was answered in {} s: give it more --duration or --warm-up, or look into the broker's log",
                self.seconds
            ));
        }
        if self.requests_behind.saturating_mul(BEHIND_SHARE) > self.requests {
            problems.push(format!(
                "{part}: not kept up: {} requests were due at the end and had not left",
                self.requests_behind
            ));
        }
        problems
    }

    fn print(&self) {
        println!(
            "{}: {:.1} s: {:.1} MB/s, {:.0} requests/s, {:.0} records/s",
            self.part,
            self.seconds,
            self.mb_per_second,
            self.requests_per_second,
            self.records_per_second
        );
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let latency = &self.latency_ns;
        println!(
            "  latency ms: p50 {:.3} p75 {:.3} p90 {:.3} p99 {:.3} p99.9 {:.3} p99.99 {:.3} max {:.3}",
            ms(latency.p50),
            ms(latency.p75),
            ms(latency.p90),
            ms(latency.p99),
            ms(latency.p99_9),
            ms(latency.p99_99),
            ms(latency.max)
        );
        for problem in self.problems() {
            println!("  {problem}");
        }
        if self.is_clean() {
            println!("  no errors");
        }
    }
}

impl Outcome {
    /// All parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The part of this name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts().find(|part| part.part == name)
    }

    /// Whether every part did something, unless it is there to be idle, and nothing went wrong.
    pub fn is_clean(&self) -> bool {
        self.parts().all(Part::is_clean)
    }

    /// What went wrong, a line each. A rate that was not kept is told, too; the run is clean with it.
    pub fn problems(&self) -> Vec<String> {
        self.parts().flat_map(Part::problems).collect()
    }

    /// As `--json` wrote it.
    pub fn read(path: &Path) -> Result<Outcome, Fault> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&text)
            .map_err(|error| format!("{} is no result: {error}", path.display()))?)
    }

    fn print(&self) {
        println!("{}", self.title);
        self.parts().for_each(Part::print);
        let mut processes = vec![("load", self.load)];
        processes.extend(self.broker.map(|broker| ("broker", broker)));
        for (name, process) in processes {
            println!(
                "{name}: CPU {:.2} s ({:.0} %), resident {:.1} MiB, peak {:.1} MiB",
                process.cpu_seconds,
                100.0 * process.cpu_seconds / self.process_seconds,
                process.resident_mib(),
                process.resident_peak_bytes as f64 / MIB,
            );
        }
        if let (Some(gb), Some(request)) = (
            self.broker_cpu_seconds_per_gb,
            self.broker_cpu_us_per_request,
        ) {
            println!("broker: {gb:.3} CPU seconds/GB, {request:.2} CPU µs/request");
        }
        println!(
            "TCP congestion control {} (bbr halves the throughput of loopback)",
            self.congestion_control
        );
    }

    /// What it is of the machine's roofline: percent, and of what. What was produced against the disks, and all of it
    /// against one connection.
    pub fn shares(&self, roofline: &Roofline) -> Vec<(f64, &'static str)> {
        let percent = |mb: f64, of: f64| 100.0 * mb / of;
        let written = self.part(produce::PART).map(|part| {
            let share = percent(part.mb_per_second, roofline.flushed_mb_per_second());
            (share, "the disks' flushed writes")
        });
        let moved = self.parts().map(|part| part.mb_per_second).sum();
        let sent = percent(moved, roofline.network_mb_per_second());
        written
            .into_iter()
            .chain([(sent, "one connection's throughput")])
            .collect()
    }

    fn print_shares(&self, load: &LoadOptions) -> Result<(), Fault> {
        let first = &self.first;
        match &load.roofline {
            Some(path) => {
                let shares = self.shares(&Roofline::read(path)?);
                let shares = shares
                    .iter()
                    .map(|(percent, of)| format!("{percent:.1} % of {of}"));
                let shares: Vec<String> = shares.collect();
                println!("of the roofline: {}", shares.join(", "));
            }
            None => {
                println!("of the roofline: unknown (`roofline --json FILE`, then --roofline FILE)")
            }
        }
        if let Some(path) = &load.ceiling {
            let ceiling = Outcome::read(path)?;
            println!(
                "of the ceiling: {:.0} % of its requests/s, {:.2}x its p99 ({})",
                100.0 * first.requests_per_second / ceiling.first.requests_per_second,
                first.latency_ns.p99 as f64 / ceiling.first.latency_ns.p99.max(1) as f64,
                ceiling.title
            );
        }
        Ok(())
    }
}

/// Puts a result together.
pub fn outcome(title: &str, measured: &Measured) -> Outcome {
    let parts = measured.parts.iter();
    let mut parts: Vec<Part> = parts
        .map(|(name, counts)| Part::new(name, counts, measured.window))
        .collect();
    let others = parts.split_off(1.min(parts.len()));
    let first = parts
        .pop()
        .unwrap_or_else(|| Part::new("", &Counts::new(), measured.window));
    let (mut bytes, mut requests) = (first.bytes, first.requests);
    for part in &others {
        (bytes, requests) = (bytes + part.bytes, requests + part.requests);
    }
    let per = |unit: f64| {
        measured
            .broker
            .filter(|_| unit > 0.0)
            .map(|broker| broker.cpu_seconds / unit)
    };
    let grown = measured
        .broker
        .zip(measured.broker_before)
        .map(|(after, before)| {
            after.resident_bytes.saturating_sub(before.resident_bytes) as f64
                / measured.connections.max(1) as f64
        });
    Outcome {
        title: title.into(),
        first,
        others,
        congestion_control: congestion_control(),
        connections: measured.connections,
        connecting_seconds: measured.connecting.as_secs_f64(),
        process_seconds: measured.elapsed.as_secs_f64(),
        load: measured.own,
        broker: measured.broker,
        broker_cpu_seconds_per_gb: per(bytes as f64 / 1e9),
        broker_cpu_us_per_request: per(requests as f64 / 1e6),
        broker_bytes_per_connection: grown,
    }
}

/// Prints the result, writes the files asked for, and returns whether something was done and nothing went wrong.
pub fn publish(outcome: &Outcome, load: &LoadOptions) -> Result<bool, Fault> {
    outcome.print();
    outcome.print_shares(load)?;
    if let Some(path) = &load.json {
        write(path, &(serde_json::to_string_pretty(outcome)? + "\n"))?;
    }
    if let Some(path) = &load.hgrm {
        write(path, &outcome.first.hgrm)?;
        for part in &outcome.others {
            write(
                &path.with_extension(format!("{}.hgrm", part.part)),
                &part.hgrm,
            )?;
        }
    }
    Ok(outcome.is_clean())
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
