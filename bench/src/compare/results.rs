//! Results of a comparison: medians, ratios, and a table of them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::scenarios::Metric;
use crate::produce;
use crate::report::{MIB, Outcome, Part};
use crate::roofline::Roofline;

/// All of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Comparison {
    pub machine: Vec<(String, String)>,
    pub command: String,
    pub roofline: Option<Roofline>,
    /// Millstream first.
    pub systems: Vec<SystemResult>,
    pub workloads: Vec<WorkloadResult>,
    pub restart_partitions: u32,
}

/// One broker.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct SystemResult {
    pub name: String,
    pub configuration: String,
    pub start_seconds: Option<f64>,
    pub restart_seconds: Option<f64>,
    pub resident_after_start_bytes: Option<u64>,
    pub bytes_per_idle_connection: Option<f64>,
    /// What went wrong in start, restart or the measurement of memory.
    pub fault: Option<String>,
}

impl SystemResult {
    /// Resident memory after start in MiB.
    pub fn resident_after_start_mib(&self) -> Option<f64> {
        Some(self.resident_after_start_bytes? as f64 / MIB)
    }

    /// Memory of an idle connection in KiB.
    pub fn kib_per_idle_connection(&self) -> Option<f64> {
        Some(self.bytes_per_idle_connection? / 1024.0)
    }

    /// Whether anything of start, restart and memory was measured, or tried.
    pub fn has_lifecycle(&self) -> bool {
        self.start_seconds.is_some() || self.fault.is_some()
    }
}

/// One workload on all systems.
#[derive(Clone, Serialize, Deserialize)]
pub struct WorkloadResult {
    pub name: String,
    pub what: String,
    pub command: String,
    pub metric: Metric,
    /// Millstream first, what ran beside last.
    pub rows: Vec<Row>,
}

/// What a row of a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// One of the systems that are compared.
    System,
    /// A sink, or the device alone: what could be reached at best.
    Ceiling,
    /// Millstream on more cores.
    MoreCores,
}

/// One system's runs of a workload.
#[derive(Clone, Serialize, Deserialize)]
pub struct Row {
    pub system: String,
    pub role: Role,
    /// Its figure: the workload's, unless what runs beside has no such thing.
    pub metric: Metric,
    /// By round.
    pub runs: Vec<Run>,
    /// The same without what disturbs, just before each, where the workload has that.
    pub alone: Vec<Run>,
}

/// One run.
#[derive(Clone, Serialize, Deserialize)]
pub enum Run {
    Done(Box<Outcome>),
    Failed(String),
}

/// Of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    /// `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Summary> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Summary {
            median: f64::midpoint(low, high),
            min,
            max,
        })
    }
}

impl Run {
    /// The run's result, if it has one.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Run::Done(outcome) => Some(outcome),
            Run::Failed(_) => None,
        }
    }

    /// Its result if nothing went wrong in it: a figure with errors is no figure.
    fn clean(&self) -> Option<&Outcome> {
        self.outcome().filter(|outcome| outcome.is_clean())
    }

    /// Its figure; a run with errors, or without answers, has none.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let outcome = self.clean()?;
        let first = &outcome.first;
        match metric {
            Metric::MbPerSecond => Some(first.mb_per_second),
            Metric::RequestsPerSecond => Some(first.requests_per_second),
            Metric::P50Ms => Some(first.latency_ns.p50 as f64 / 1e6),
            Metric::P99Ms => Some(first.latency_ns.p99 as f64 / 1e6),
            Metric::WriterP99Ms => Some(outcome.part(produce::PART)?.latency_ns.p99 as f64 / 1e6),
            Metric::EgressGbPerCpuSecond => {
                let read = outcome.parts().filter(|part| part.part != produce::PART);
                let gb = read.map(|part| part.bytes).sum::<u64>() as f64 / 1e9;
                let cpu = outcome.broker?.cpu_seconds;
                (cpu > 0.0).then(|| gb / cpu)
            }
            Metric::CpuUsPerRequest => outcome.broker_cpu_us_per_request,
        }
    }

    /// What went wrong, a line each; a rate that was not kept is among it, though the figure counts.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Run::Failed(fault) => vec![fault.clone()],
            Run::Done(outcome) => outcome.problems(),
        }
    }

    /// One line.
    pub fn short(&self, metric: Metric) -> String {
        match self {
            Run::Failed(fault) => format!("FAILED: {fault}"),
            Run::Done(outcome) => match self.value(metric) {
                Some(value) => format!("{} {}", number(value), metric.unit()),
                None if outcome.is_clean() => {
                    "no figure without its process id (--peer-pid)".into()
                }
                None => format!("no figure: {}", outcome.problems().join("; ")),
            },
        }
    }
}

impl Row {
    /// Of its runs without errors.
    pub fn summary(&self) -> Option<Summary> {
        let runs = self.runs.iter();
        Summary::of(runs.filter_map(|run| run.value(self.metric)).collect())
    }

    /// Median of something that only some runs have.
    pub fn median(&self, of: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
        let runs = self.runs.iter().filter_map(Run::clean);
        Summary::of(runs.filter_map(of).collect()).map(|summary| summary.median)
    }

    /// The median over the rounds of something of this row's run over something of another's.
    fn over(
        &self,
        other: &[Run],
        own: impl Fn(&Outcome) -> Option<f64>,
        others: impl Fn(&Outcome) -> Option<f64>,
    ) -> Option<f64> {
        let rounds = self.runs.iter().zip(other);
        let ratios = rounds.filter_map(|(run, beside)| {
            let of = others(beside.clean()?).filter(|of| *of > 0.0)?;
            Some(own(run.clean()?)? / of)
        });
        Summary::of(ratios.collect()).map(|summary| summary.median)
    }

    /// The run whose figure is the median.
    pub fn middle(&self) -> Option<&Outcome> {
        let runs = self.runs.iter();
        let mut runs: Vec<(f64, &Run)> = runs
            .filter_map(|run| Some((run.value(self.metric)?, run)))
            .collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        runs.get(runs.len() / 2)?.1.outcome()
    }
}

fn p99(part: &Part) -> f64 {
    part.latency_ns.p99 as f64
}

/// What it wrote against the disks; what it did not write, against the network.
fn of_roofline(row: &Row, roofline: &Roofline) -> Option<String> {
    let first = |outcome: &Outcome| outcome.shares(roofline).first().copied();
    let of = first(row.middle()?)?.1;
    let percent = row.median(|outcome| Some(first(outcome)?.0))?;
    Some(format!("{percent:.1} % of the roofline ({of})"))
}

impl WorkloadResult {
    /// How many times better the first system was than that row, round by round.
    pub fn ratios(&self, row: usize) -> Vec<f64> {
        let (Some(ours), Some(theirs)) = (self.rows.first(), self.rows.get(row)) else {
            return Vec::new();
        };
        let rounds = ours.runs.iter().zip(&theirs.runs);
        rounds
            .filter_map(|(own, other)| {
                let (own, other) = (own.value(self.metric)?, other.value(self.metric)?);
                Some(match self.metric.less_is_better() {
                    true => other / own,
                    false => own / other,
                })
            })
            .collect()
    }

    /// What ran beside the systems, if anything did.
    pub fn beside(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role != Role::System)
    }

    /// What a row is beside what could be reached, or beside itself undisturbed, each round against its own; and of the
    /// machine's roofline.
    pub fn notes(&self, row: &Row, roofline: Option<&Roofline>) -> Vec<String> {
        let mut notes = Vec::new();
        if row.role == Role::MoreCores {
            let cpu = |outcome: &Outcome| outcome.broker_cpu_us_per_request;
            let one = self.rows.first().map_or(&[][..], |row| &row.runs);
            let grown = row.over(one, cpu, cpu);
            notes.extend(grown.map(|over| {
                format!(
                    "{:+.0} % CPU a request against one core",
                    100.0 * (over - 1.0)
                )
            }));
            let rate = |outcome: &Outcome| Some(outcome.first.requests_per_second);
            notes.extend(
                row.over(one, rate, rate)
                    .map(|over| format!("{over:.2}x its rate")),
            );
        }
        if row.role != Role::System {
            return notes;
        }
        if let Some(ceiling) = self.beside().filter(|beside| beside.role == Role::Ceiling) {
            notes.extend(self.share(row, ceiling));
        }
        let writer = |outcome: &Outcome| outcome.part(produce::PART).map(p99);
        let grown = row.over(&row.alone, writer, writer);
        notes.extend(grown.map(|over| format!("{over:.2}x its p99 without the reader")));
        notes.extend(roofline.and_then(|roofline| of_roofline(row, roofline)));
        notes
    }

    fn share(&self, row: &Row, ceiling: &Row) -> Vec<String> {
        let name = &ceiling.system;
        let mb = |outcome: &Outcome| Some(outcome.first.mb_per_second);
        let requests = |outcome: &Outcome| Some(outcome.first.requests_per_second);
        let slow = |outcome: &Outcome| Some(p99(&outcome.first));
        let percent = |over: Option<f64>, what: &str| {
            over.map(|over| format!("{:.0} % of {what}", 100.0 * over))
        };
        let runs = &ceiling.runs;
        let notes = match self.metric {
            Metric::MbPerSecond => vec![percent(row.over(runs, mb, mb), name)],
            Metric::RequestsPerSecond => {
                let slower = row.over(runs, slow, slow);
                vec![
                    percent(row.over(runs, requests, requests), name),
                    slower.map(|over| format!("{over:.2}x its p99")),
                ]
            }
            Metric::P50Ms => {
                let middle = |outcome: &Outcome| Some(outcome.first.latency_ns.p50 as f64);
                let over = row.over(runs, middle, middle);
                vec![over.map(|over| format!("{over:.2}x the p50 of {name}"))]
            }
            Metric::WriterP99Ms => {
                let reader = |outcome: &Outcome| Some(outcome.part("catch-up")?.mb_per_second);
                let over = row.over(runs, reader, mb);
                vec![
                    row.median(reader)
                        .map(|mb| format!("reader {} MB/s", number(mb))),
                    percent(over, name),
                ]
            }
            _ => Vec::new(),
        };
        notes.into_iter().flatten().collect()
    }
}

impl Comparison {
    /// What went wrong, a line each: where, what, and what to do about it. Empty if every figure counts.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for workload in &self.workloads {
            for row in &workload.rows {
                for (what, runs) in [("", &row.runs), (", alone", &row.alone)] {
                    for (round, run) in runs.iter().enumerate() {
                        let of_run = run.problems().into_iter().map(|problem| {
                            let (name, system) = (&workload.name, &row.system);
                            format!("{name} on {system}{what}, round {}: {problem}", round + 1)
                        });
                        problems.extend(of_run);
                    }
                }
            }
        }
        for system in &self.systems {
            let fault = system.fault.iter();
            problems.extend(fault.map(|fault| format!("{}: {fault}", system.name)));
        }
        problems
    }

    /// Whether every run ended well.
    pub fn is_clean(&self) -> bool {
        let rows = self.workloads.iter().flat_map(|workload| &workload.rows);
        let mut runs = rows.flat_map(|row| row.runs.iter().chain(&row.alone));
        runs.all(|run| run.clean().is_some())
            && self.systems.iter().all(|system| system.fault.is_none())
    }
}

/// With as many digits as mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The same of something that may be missing.
pub fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), number)
}

/// A table for the terminal.
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    for workload in &comparison.workloads {
        let _ = writeln!(text, "{} {}", workload.name, workload.what);
        for (at, row) in workload.rows.iter().enumerate() {
            let figure = match row.summary() {
                Some(Summary { median, min, max }) => format!(
                    "{} {} ({} to {})",
                    number(median),
                    row.metric.unit(),
                    number(min),
                    number(max)
                ),
                None => "no result".into(),
            };
            let is_peer = at > 0 && row.role == Role::System;
            let ratios = Summary::of(workload.ratios(at)).filter(|_| is_peer);
            let ratio = ratios.map_or_else(String::new, |ratio| {
                format!(
                    "  millstream {}x ({} to {})",
                    number(ratio.median),
                    number(ratio.min),
                    number(ratio.max)
                )
            });
            let notes = workload.notes(row, comparison.roofline.as_ref()).join(", ");
            let notes = if notes.is_empty() {
                notes
            } else {
                format!("  [{notes}]")
            };
            let _ = writeln!(text, "  {:<30} {figure}{ratio}{notes}", row.system);
        }
    }
    let measured = comparison.systems.iter();
    for system in measured.filter(|system| system.has_lifecycle()) {
        let _ = writeln!(
            text,
            "{}: start {} s, restart with {} partitions {} s, memory {} MiB, {} KiB an idle connection",
            system.name,
            cell(system.start_seconds),
            comparison.restart_partitions,
            cell(system.restart_seconds),
            cell(system.resident_after_start_mib()),
            cell(system.kib_per_idle_connection()),
        );
    }
    text
}

#[cfg(test)]
mod tests;
