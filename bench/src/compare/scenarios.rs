//! The workloads: command lines of this program, without what every run adds (address, topic, time, CPUs).

use serde::{Deserialize, Serialize};

use crate::Fault;

/// The figure that a workload is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    MbPerSecond,
    RequestsPerSecond,
    P50Ms,
    P99Ms,
    /// All parts' bytes for a CPU second of the broker.
    GbPerCpuSecond,
}

impl Metric {
    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::MbPerSecond => "MB/s",
            Metric::RequestsPerSecond => "requests/s",
            Metric::P50Ms => "ms p50",
            Metric::P99Ms => "ms p99",
            Metric::GbPerCpuSecond => "GB per CPU s",
        }
    }

    /// Whether less is better.
    pub fn is_latency(self) -> bool {
        matches!(self, Metric::P50Ms | Metric::P99Ms)
    }
}

/// One workload.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// What must be there before.
    pub prepare: Option<Prepare>,
    pub command: &'static str,
    pub metric: Metric,
    /// Runs at this share of the rate that the peer reached in W3.
    pub follows: Option<f64>,
    /// Topics that the command makes.
    pub topics: usize,
}

/// Load before a run, not measured.
#[derive(Clone, Copy)]
pub struct Prepare {
    pub command: &'static str,
    pub seconds: f64,
}

const LARGE: &str = "produce --batch-size 1048576 --topic-config max.message.bytes=2000000 --partitions 4 --connections 4";

/// All kinds of requests that are measured, for compilers that learn from what runs.
pub const WARM_UP: [&str; 2] = [
    "end-to-end --batch-size 1100 --connections 32 --partitions 16",
    LARGE,
];

const SCENARIO: Scenario = Scenario {
    name: "",
    what: "",
    prepare: None,
    command: "",
    metric: Metric::RequestsPerSecond,
    follows: None,
    topics: 1,
};

const SCENARIOS: [Scenario; 11] = [
    Scenario {
        name: "W1",
        what: "produce 1 MiB batches, 1 connection, 5 in flight",
        command: "produce --batch-size 1048576 --topic-config max.message.bytes=2000000",
        metric: Metric::MbPerSecond,
        ..SCENARIO
    },
    Scenario {
        name: "W1x4",
        what: "produce 1 MiB batches, 4 connections, 5 in flight, 4 partitions",
        command: LARGE,
        metric: Metric::MbPerSecond,
        ..SCENARIO
    },
    Scenario {
        name: "W2",
        what: "produce 64 KiB batches, 16 connections, 5 in flight, 16 partitions",
        command: "produce --batch-size 65536 --connections 16 --partitions 16",
        metric: Metric::MbPerSecond,
        ..SCENARIO
    },
    Scenario {
        name: "W3",
        what: "produce 1 KiB requests, 64 connections, 5 in flight, 16 partitions",
        command: "produce --batch-size 1100 --connections 64 --partitions 16",
        ..SCENARIO
    },
    Scenario {
        name: "W4",
        what: "produce 200 bytes, 4,000 connections, 1 in flight, 100 partitions",
        command: "swarm --batch-size 300 --record-size 200 --connections 4000 --partitions 100",
        ..SCENARIO
    },
    Scenario {
        name: "W5",
        what: "produce 1 KiB over 2,000 partitions, 64 connections",
        command: "produce --batch-size 1100 --connections 64 --partitions 2000",
        ..SCENARIO
    },
    Scenario {
        name: "W6",
        what: "produce 1 KiB, 1 connection, 1 in flight",
        command: "produce --batch-size 1100 --in-flight 1",
        metric: Metric::P50Ms,
        ..SCENARIO
    },
    Scenario {
        name: "W7",
        what: "end to end at half of the peer's rate in W3, 16 partitions",
        command: "end-to-end --batch-size 1100 --connections 64 --partitions 16 --readers 4",
        metric: Metric::P99Ms,
        follows: Some(0.5),
        ..SCENARIO
    },
    Scenario {
        name: "W8",
        what: "fetch what was written just before, 4 connections, 1 MiB answers",
        prepare: Some(Prepare {
            command: LARGE,
            seconds: 2.0,
        }),
        command: "fetch --connections 4 --partitions 4",
        metric: Metric::MbPerSecond,
        ..SCENARIO
    },
    Scenario {
        name: "W9",
        what: "end to end at half of the peer's rate in W3 while another group reads from offset 0",
        prepare: Some(Prepare {
            command: "produce --batch-size 65536 --connections 16 --partitions 16",
            seconds: 5.0,
        }),
        command: "end-to-end --batch-size 1100 --connections 64 --partitions 16 --readers 4 --catch-up 1",
        metric: Metric::P99Ms,
        follows: Some(0.5),
        ..SCENARIO
    },
    Scenario {
        name: "W10",
        what: "20 groups at the tail of one topic, at half of the peer's rate in W3",
        command: "end-to-end --batch-size 16384 --connections 4 --partitions 16 --groups 20 --commit-interval-ms 1000",
        metric: Metric::GbPerCpuSecond,
        follows: Some(0.5),
        ..SCENARIO
    },
];

/// Measured apart, since they start and stop the systems.
pub const LIFECYCLE: [(&str, &str); 2] = [
    ("W12", "start without data; restart after kill -9"),
    ("W13", "memory after start, and for each idle connection"),
];

/// One line for each.
pub fn list() -> String {
    let load = SCENARIOS
        .iter()
        .map(|scenario| (scenario.name, scenario.what));
    load.chain(LIFECYCLE)
        .map(|(name, what)| format!("{name:<6}{what}\n"))
        .collect()
}

/// Those with these names, in the order of the table.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Fault> {
    for name in names {
        let known = SCENARIOS.iter().map(|scenario| scenario.name);
        if !known
            .chain(LIFECYCLE.map(|(name, _)| name))
            .any(|known| known == name)
        {
            return Err(format!("no workload {name:?}; there are\n{}", list()).into());
        }
    }
    let wanted = |scenario: &&Scenario| names.iter().any(|name| name == scenario.name);
    Ok(SCENARIOS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_line_can_be_read() {
        let mut lines: Vec<String> = WARM_UP.iter().map(|line| (*line).to_owned()).collect();
        for scenario in &SCENARIOS {
            lines.push(match scenario.follows {
                Some(_) => format!("{} --rate 1000", scenario.command),
                None => scenario.command.to_owned(),
            });
            lines.extend(scenario.prepare.map(|prepare| prepare.command.to_owned()));
        }
        for line in lines {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert!(crate::parse(&words).is_ok(), "{line}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let fault = chosen(&["W99".into()]).err().unwrap().to_string();
        assert!(fault.contains("W1 ") && fault.contains("W13"), "{fault}");
        assert_eq!(
            chosen(&["W3".into(), "W1".into(), "W12".into()])
                .unwrap()
                .len(),
            2
        );
    }
}
