//! Results of a comparison: medians, ratios, and a table of them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::scenarios::Metric;
use crate::report::Outcome;
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
    pub restart_partitions: i32,
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
}

/// One workload on all systems.
#[derive(Clone, Serialize, Deserialize)]
pub struct WorkloadResult {
    pub name: String,
    pub what: String,
    pub command: String,
    pub metric: Metric,
    /// By system, then by round.
    pub runs: Vec<Vec<Run>>,
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

    /// Its figure; a run with errors, or without answers, has none.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let outcome = self.outcome().filter(|outcome| outcome.is_clean())?;
        let first = &outcome.first;
        match metric {
            Metric::MbPerSecond => Some(first.mb_per_second),
            Metric::RequestsPerSecond => Some(first.requests_per_second),
            Metric::P50Ms => Some(first.latency_ns.p50 as f64 / 1e6),
            Metric::P99Ms => Some(first.latency_ns.p99 as f64 / 1e6),
            Metric::GbPerCpuSecond => outcome
                .broker_cpu_seconds_per_gb
                .filter(|cpu| *cpu > 0.0)
                .map(|cpu| 1.0 / cpu),
        }
    }

    /// One line.
    pub fn short(&self, metric: Metric) -> String {
        match self {
            Run::Failed(fault) => format!("FAILED: {fault}"),
            Run::Done(outcome) => {
                let value = self
                    .value(metric)
                    .map_or_else(|| "no figure".into(), number);
                let clean = if outcome.is_clean() {
                    ""
                } else {
                    ", with ERRORS"
                };
                format!("{value} {}{clean}", metric.unit())
            }
        }
    }
}

impl WorkloadResult {
    /// Of a system's runs.
    pub fn summary(&self, system: usize, metric: Metric) -> Option<Summary> {
        let runs = self.runs.get(system)?.iter();
        Summary::of(runs.filter_map(|run| run.value(metric)).collect())
    }

    /// How many times better the first system was than `peer`, round by round.
    pub fn ratios(&self, peer: usize) -> Vec<f64> {
        let (Some(ours), Some(theirs)) = (self.runs.first(), self.runs.get(peer)) else {
            return Vec::new();
        };
        let rounds = ours.iter().zip(theirs);
        rounds
            .filter_map(|(own, other)| {
                let (own, other) = (own.value(self.metric)?, other.value(self.metric)?);
                Some(match self.metric.is_latency() {
                    true => other / own,
                    false => own / other,
                })
            })
            .collect()
    }

    /// Median of something that only some runs have.
    pub fn median(&self, system: usize, of: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
        let runs = self.runs.get(system)?.iter().filter_map(Run::outcome);
        Summary::of(runs.filter_map(of).collect()).map(|summary| summary.median)
    }
}

impl Comparison {
    /// Whether every run ended well.
    pub fn is_clean(&self) -> bool {
        let runs = self
            .workloads
            .iter()
            .flat_map(|workload| workload.runs.iter().flatten());
        runs.into_iter()
            .all(|run| run.outcome().is_some_and(Outcome::is_clean))
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

/// A table for the terminal.
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for workload in &comparison.workloads {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "{} {}", workload.name, workload.what);
        for (at, system) in comparison.systems.iter().enumerate() {
            let figure = match workload.summary(at, workload.metric) {
                Some(Summary { median, min, max }) => format!(
                    "{} {} ({} to {})",
                    number(median),
                    workload.metric.unit(),
                    number(min),
                    number(max)
                ),
                None => "no result".into(),
            };
            let ratios = Summary::of(workload.ratios(at)).filter(|_| at > 0);
            let ratio = ratios.map_or_else(String::new, |ratio| {
                format!(
                    "  millstream {}x ({} to {})",
                    number(ratio.median),
                    number(ratio.min),
                    number(ratio.max)
                )
            });
            let _ = writeln!(text, "  {:<26} {figure}{ratio}", system.name);
        }
    }
    for system in &comparison.systems {
        let seconds = |value: Option<f64>| value.map_or_else(|| "–".into(), number);
        let mib = system
            .resident_after_start_bytes
            .map(|bytes| bytes as f64 / f64::from(1 << 20));
        let kib = system.bytes_per_idle_connection.map(|bytes| bytes / 1024.0);
        let _ = writeln!(
            text,
            "{}: start {} s, restart with {} partitions {} s, memory {} MiB, {} KiB an idle connection",
            system.name,
            seconds(system.start_seconds),
            comparison.restart_partitions,
            seconds(system.restart_seconds),
            seconds(mib),
            seconds(kib),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_median_least_and_most() {
        let summary = Summary::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.5, 1.0, 4.0));
        assert_eq!(Summary::of(Vec::new()), None);
    }
}
