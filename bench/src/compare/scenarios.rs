//! The workloads: command lines of this program, without what every run adds (address, topic, time, CPUs).

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::roofline::device::Blocks;

/// The figure that a workload is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    MbPerSecond,
    RequestsPerSecond,
    P50Ms,
    P99Ms,
    /// Of the part that produces, where the first part is another.
    WriterP99Ms,
    /// Bytes that left the broker for a CPU second of it.
    EgressGbPerCpuSecond,
    CpuUsPerRequest,
}

impl Metric {
    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::MbPerSecond => "MB/s",
            Metric::RequestsPerSecond => "requests/s",
            Metric::P50Ms => "ms p50",
            Metric::P99Ms => "ms p99",
            Metric::WriterP99Ms => "ms p99 of the writer",
            Metric::EgressGbPerCpuSecond => "GB out per CPU s",
            Metric::CpuUsPerRequest => "CPU µs a request",
        }
    }

    /// Whether less is better.
    pub fn less_is_better(self) -> bool {
        use Metric::{CpuUsPerRequest, P50Ms, P99Ms, WriterP99Ms};
        matches!(self, P50Ms | P99Ms | WriterP99Ms | CpuUsPerRequest)
    }
}

/// What runs in the same rounds as the systems, to be measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// A broker that keeps nothing, on the broker's CPUs: the ceiling of load generator and network.
    Sink {
        partitions: i32,
    },
    /// The device alone: writes of so many bytes, each flushed before it counts, so many at a time.
    DeviceFlushed {
        bytes: usize,
        in_flight: usize,
        to: Blocks,
    },
    /// The device alone: reads of 1 MiB, five at a time.
    DeviceRead,
    /// A second Millstream, on more CPUs. Peers do not take part.
    MoreCores,
}

/// One workload.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// What must be in the topic before.
    pub prepare: Option<Prepare>,
    pub command: &'static str,
    /// The same without what may disturb it; runs just before each run.
    pub alone: Option<&'static str>,
    pub metric: Metric,
    /// Runs at half of the rate that the first peer reaches in [`CALIBRATION`].
    pub half_rate: bool,
    pub beside: Beside,
    /// One topic for all rounds instead of a new one for each: where creating and deleting it costs more than the load.
    pub keeps_topic: bool,
}

/// Load before a run, not measured: until so much is acknowledged.
#[derive(Clone, Copy)]
pub struct Prepare {
    pub command: &'static str,
    pub amount: Amount,
}

/// How much.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Bytes(u64),
    /// `--backlog-gib`: twice what the brokers may cache of it.
    Backlog,
}

const LARGE: &str = "produce --batch-size 1048576 --topic-config max.message.bytes=2000000 --partitions 4 --connections 4";

/// All kinds of requests that are measured, for compilers that learn from what runs.
pub const WARM_UP: [&str; 2] = [
    "end-to-end --batch-size 1100 --connections 32 --partitions 16",
    LARGE,
];

/// As fast as it goes: half of what the first peer produces here is the rate of those that run at half rate.
pub const CALIBRATION: &str =
    "end-to-end --batch-size 1100 --connections 64 --partitions 16 --readers 4";

const SCENARIO: Scenario = Scenario {
    name: "",
    what: "",
    prepare: None,
    command: "",
    alone: None,
    metric: Metric::RequestsPerSecond,
    half_rate: false,
    beside: Beside::Nothing,
    keeps_topic: false,
};

/// Less than any cache: what is fetched just after it was written comes from memory.
const CACHED: Prepare = Prepare {
    command: LARGE,
    amount: Amount::Bytes(384 << 20),
};
const MIB: usize = 1 << 20;

const SCENARIOS: [Scenario; 13] = [
    Scenario {
        name: "W1",
        what: "produce 1 MiB batches, 1 connection, 5 in flight",
        command: "produce --batch-size 1048576 --topic-config max.message.bytes=2000000",
        metric: Metric::MbPerSecond,
        beside: Beside::DeviceFlushed {
            bytes: MIB,
            in_flight: 5,
            to: Blocks::New,
        },
        ..SCENARIO
    },
    Scenario {
        name: "W1x4",
        what: "produce 1 MiB batches, 4 connections, 5 in flight, 4 partitions",
        command: LARGE,
        metric: Metric::MbPerSecond,
        beside: Beside::DeviceFlushed {
            bytes: MIB,
            in_flight: 20,
            to: Blocks::New,
        },
        ..SCENARIO
    },
    Scenario {
        name: "W2",
        what: "produce 64 KiB batches, 16 connections, 5 in flight, 16 partitions",
        command: "produce --batch-size 65536 --connections 16 --partitions 16",
        metric: Metric::MbPerSecond,
        beside: Beside::DeviceFlushed {
            bytes: 64 << 10,
            in_flight: 80,
            to: Blocks::New,
        },
        ..SCENARIO
    },
    Scenario {
        name: "W3",
        what: "produce 1 KiB requests, 64 connections, 5 in flight, 16 partitions",
        command: "produce --batch-size 1100 --connections 64 --partitions 16",
        beside: Beside::Sink { partitions: 16 },
        ..SCENARIO
    },
    Scenario {
        name: "W4",
        what: "produce 200 bytes, 4,000 connections, 1 in flight, 100 partitions",
        command: "swarm --batch-size 300 --record-size 200 --connections 4000 --partitions 100",
        beside: Beside::Sink { partitions: 100 },
        ..SCENARIO
    },
    Scenario {
        name: "W5",
        what: "produce 1 KiB over 2,000 partitions, 64 connections; one topic in all rounds",
        command: "produce --batch-size 1100 --connections 64 --partitions 2000",
        beside: Beside::Sink { partitions: 2000 },
        keeps_topic: true,
        ..SCENARIO
    },
    Scenario {
        name: "W6",
        what: "produce 1 KiB, 1 connection, 1 in flight",
        command: "produce --batch-size 1100 --in-flight 1",
        metric: Metric::P50Ms,
        beside: Beside::DeviceFlushed {
            bytes: 4096,
            in_flight: 1,
            to: Blocks::Written,
        },
        ..SCENARIO
    },
    Scenario {
        name: "W7",
        what: "end to end at half of the peer's maximum rate, 16 partitions",
        command: CALIBRATION,
        metric: Metric::P99Ms,
        half_rate: true,
        ..SCENARIO
    },
    Scenario {
        name: "W8",
        what: "fetch what was written just before, 4 connections, 1 MiB answers",
        prepare: Some(CACHED),
        command: "fetch --connections 4 --partitions 4",
        metric: Metric::MbPerSecond,
        ..SCENARIO
    },
    Scenario {
        name: "W8x1",
        what: "fetch what was written just before, 1 connection, 1 MiB answers",
        prepare: Some(CACHED),
        command: "fetch --connections 1 --partitions 4",
        metric: Metric::MbPerSecond,
        ..SCENARIO
    },
    Scenario {
        name: "W9",
        what: "one writer at half of the peer's maximum rate, its readers at the tail, while another group reads a log of twice the cache from offset 0",
        prepare: Some(Prepare {
            command: "produce --batch-size 65536 --connections 16 --partitions 16",
            amount: Amount::Backlog,
        }),
        command: "end-to-end --batch-size 16384 --partitions 16 --readers 4 --catch-up 1",
        alone: Some("end-to-end --batch-size 16384 --partitions 16 --readers 4"),
        metric: Metric::WriterP99Ms,
        half_rate: true,
        beside: Beside::DeviceRead,
        keeps_topic: true,
    },
    Scenario {
        name: "W10",
        what: "20 groups at the tail of one topic, written at half of the peer's maximum rate; offsets committed every second",
        command: "end-to-end --batch-size 16384 --connections 4 --partitions 16 --groups 20 --commit-interval-ms 1000",
        metric: Metric::EgressGbPerCpuSecond,
        half_rate: true,
        ..SCENARIO
    },
    Scenario {
        name: "W11",
        what: "W3 on one broker core and on more, by clients that do not know about cores",
        command: "produce --batch-size 1100 --connections 64 --partitions 16",
        metric: Metric::CpuUsPerRequest,
        beside: Beside::MoreCores,
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
            for command in scenario.alone.iter().chain([&scenario.command]) {
                lines.push(match scenario.half_rate {
                    true => format!("{command} --rate 1000"),
                    false => (*command).to_owned(),
                });
            }
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
