use std::time::Duration;

use super::*;
use crate::report::{self, Counts, Measured, Process};

fn process(cpu_seconds: f64) -> Process {
    Process {
        cpu_seconds,
        resident_bytes: 1 << 20,
        resident_peak_bytes: 1 << 20,
    }
}

/// A run of one second whose parts did so many requests of 1 MB, each in so many milliseconds.
fn run(parts: &[(&'static str, u64, u64)], cpu_seconds: f64) -> Run {
    let parts = parts.iter().map(|(name, requests, ms)| {
        let mut counts = Counts::new();
        counts.requests = *requests;
        counts.bytes = *requests * 1_000_000;
        counts.latency_ns.record(*ms * 1_000_000).unwrap();
        (*name, counts)
    });
    let measured = Measured {
        parts: parts.collect(),
        window: 1.0,
        elapsed: Duration::from_secs(1),
        connecting: Duration::ZERO,
        connections: 1,
        broker_before: None,
        broker: Some(process(cpu_seconds)),
        own: process(0.0),
    };
    Run::Done(Box::new(report::outcome("t", &measured)))
}

fn row(system: &str, role: Role, runs: Vec<Run>, alone: Vec<Run>) -> Row {
    Row {
        system: system.into(),
        role,
        metric: Metric::MbPerSecond,
        runs,
        alone,
    }
}

fn workload(metric: Metric, rows: Vec<Row>) -> WorkloadResult {
    WorkloadResult {
        name: "W0".into(),
        what: String::new(),
        command: String::new(),
        metric,
        rows,
    }
}

#[test]
fn a_summary_is_median_least_and_most() {
    let summary = Summary::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!((summary.median, summary.min, summary.max), (2.5, 1.0, 4.0));
    assert_eq!(Summary::of(Vec::new()), None);
}

#[test]
fn a_share_is_of_the_same_round() {
    let produce = |requests| run(&[("produce", requests, 3)], 1.0);
    let result = workload(
        Metric::RequestsPerSecond,
        vec![
            row("ours", Role::System, vec![produce(50), produce(90)], vec![]),
            row(
                "theirs",
                Role::System,
                vec![produce(10), produce(9)],
                vec![],
            ),
            row(
                "a sink",
                Role::Ceiling,
                vec![
                    run(&[("produce", 100, 2)], 1.0),
                    run(&[("produce", 100, 2)], 1.0),
                ],
                vec![],
            ),
        ],
    );
    assert_eq!(result.ratios(1), [5.0, 10.0]);
    assert_eq!(
        result.notes(&result.rows[0], None),
        ["70 % of a sink", "1.50x its p99"]
    );
}

#[test]
fn a_disturbed_writer_is_compared_with_itself() {
    let disturbed = [("end-to-end", 9, 9), ("produce", 9, 6), ("catch-up", 40, 1)];
    let result = workload(
        Metric::WriterP99Ms,
        vec![
            row(
                "ours",
                Role::System,
                vec![run(&disturbed, 1.0)],
                vec![run(&[("end-to-end", 9, 5), ("produce", 9, 4)], 1.0)],
            ),
            row(
                "the device",
                Role::Ceiling,
                vec![run(&[("read", 50, 1)], 1.0)],
                vec![],
            ),
        ],
    );
    let notes = result.notes(&result.rows[0], None).join(", ");
    assert!(
        notes.contains("reader 40.0 MB/s, 80 % of the device"),
        "{notes}"
    );
    assert!(
        notes.contains("1.50x its p99 without the reader"),
        "{notes}"
    );
    let p99 = result.rows[0].runs[0].value(Metric::WriterP99Ms).unwrap();
    assert!((p99 - 6.0).abs() < 0.1, "{p99}");
    // Everything but the writer's part leaves the broker: 49 MB in one CPU second.
    let egress = result.rows[0].runs[0].value(Metric::EgressGbPerCpuSecond);
    assert_eq!(egress, Some(0.049));
}

#[test]
fn more_cores_are_told_by_their_cpu() {
    let result = workload(
        Metric::CpuUsPerRequest,
        vec![
            row(
                "one",
                Role::System,
                vec![run(&[("produce", 100, 1)], 0.5)],
                vec![],
            ),
            row(
                "two",
                Role::MoreCores,
                vec![run(&[("produce", 100, 1)], 0.6)],
                vec![],
            ),
        ],
    );
    let notes = result.notes(&result.rows[1], None);
    assert_eq!(
        notes,
        ["+20 % CPU a request against one core", "1.00x its rate"]
    );
}

#[test]
fn a_part_that_did_nothing_is_named() {
    let comparison = Comparison {
        workloads: vec![workload(
            Metric::P99Ms,
            vec![row(
                "ours",
                Role::System,
                vec![run(&[("end-to-end", 5, 1), ("catch-up", 0, 1)], 1.0)],
                vec![],
            )],
        )],
        ..Comparison::default()
    };
    let problems = comparison.problems();
    assert!(
        !comparison.is_clean() && problems.len() == 1,
        "{problems:?}"
    );
    assert!(
        problems[0].starts_with("W0 on ours, round 1: catch-up: ")
            && problems[0].contains("--duration"),
        "{problems:?}"
    );
}
