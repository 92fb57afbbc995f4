//! The rounds: each workload on each system in turn, and beside them what could be reached at best.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::Options;
use super::page_cache::Evicting;
use super::results::{Comparison, Role, Row, Run, WorkloadResult};
use super::scenarios::{Amount, Beside, CALIBRATION, Metric, Prepare, Scenario, WARM_UP};
use super::system::{self, System};
use crate::Fault;
use crate::load::cpu_list;
use crate::report::Outcome;
use crate::roofline::device::{self, Blocks, Kind};

/// Files of deleted topics go in the background; the next run shall not pay for them.
const DELETE_PAUSE: Duration = Duration::from_millis(1500);
/// Load until a topic holds what it shall goes in pieces so long at first and at most, so that what is to be less than a cache
/// does not become more,
const PREPARE_SECONDS: (f64, f64) = (0.1, 0.4);
/// and so many at most.
const PREPARE_MAX: usize = 450;
/// The files of the device alone, in the directory of the comparison.
const DEVICE_FILE: &str = "device";
const NEW_FILE: &str = "device-new";
/// Of the topic that every system has for the calibration.
const CALIBRATION_TOPIC: &str = "calibration";

/// Load on a system that becomes faster by running: a peer compiles its code, each of them touches its memory for the first time.
pub fn warm_up(system: &System, options: &Options) -> Result<(), Fault> {
    eprintln!(
        "{}: {} s of load to warm it up",
        system.name, options.warm_up_seconds
    );
    for (at, load) in WARM_UP.iter().enumerate() {
        let topic = format!("warm-up-{at}");
        let seconds = options.warm_up_seconds / WARM_UP.len() as f64;
        Invocation::new(system, options, &topic, seconds, 0.0).run(load)?;
        system.delete_topic(&topic);
    }
    Ok(())
}

/// Runs all workloads. What fails is a result, too.
pub fn measure(
    options: &Options,
    work: &Path,
    scenarios: &[&Scenario],
    systems: &[System],
    comparison: &mut Comparison,
) {
    let mut half_rate = None;
    for scenario in scenarios {
        let rate = scenario.half_rate.then(|| {
            let known = half_rate.get_or_insert_with(|| calibrate(options, systems));
            known.as_ref().copied().map_err(|fault| fault.to_string())
        });
        let rounds = Rounds {
            options,
            work,
            scenario,
            rate,
        };
        comparison.workloads.push(rounds.run(systems));
    }
    // Those of our own go with their data.
    let kept = scenarios.iter().filter(|scenario| scenario.keeps_topic);
    for scenario in kept {
        for system in systems.iter().filter(|system| !system.is_ours()) {
            system.delete_topic(&scenario.name.to_lowercase());
        }
    }
}

/// Half of the records a second that the first peer takes and delivers at most.
fn calibrate(options: &Options, systems: &[System]) -> Result<f64, Fault> {
    let peer = systems.get(1).ok_or("no peer to take half of its rate")?;
    eprint!("the rate of {} at most: ", peer.name);
    let seconds = options.duration;
    let invocation = Invocation::new(peer, options, CALIBRATION_TOPIC, seconds, options.warm_up);
    let outcome = invocation.run(CALIBRATION);
    peer.delete_topic(CALIBRATION_TOPIC);
    std::thread::sleep(DELETE_PAUSE);
    let produced = match outcome {
        Ok(outcome) => outcome
            .part("produce")
            .map_or(0.0, |part| part.records_per_second),
        Err(fault) => return Err(format!("the rate of {}: {fault}", peer.name).into()),
    };
    eprintln!("{produced:.0} records/s");
    match produced > 0.0 {
        true => Ok(produced / 2.0),
        false => Err(format!(
            "{} took no records, so there is no half of its rate",
            peer.name
        )
        .into()),
    }
}

/// One workload.
struct Rounds<'a> {
    options: &'a Options,
    work: &'a Path,
    scenario: &'a Scenario,
    /// Records a second, where the workload has a rate; or why there is none.
    rate: Option<Result<f64, String>>,
}

impl Rounds<'_> {
    fn run(&self, systems: &[System]) -> WorkloadResult {
        let scenario = self.scenario;
        let takes_part = |at: usize| at == 0 || scenario.beside != Beside::MoreCores;
        let taking: Vec<&System> = (systems.iter().enumerate())
            .filter_map(|(at, system)| takes_part(at).then_some(system))
            .collect();
        let row = |name: &str, role: Role| Row {
            system: name.to_owned(),
            role,
            metric: match scenario.beside {
                Beside::DeviceRead if role == Role::Ceiling => Metric::MbPerSecond,
                _ => scenario.metric,
            },
            runs: Vec::new(),
            alone: Vec::new(),
        };
        let rows = taking.iter().map(|system| row(&system.name, Role::System));
        let mut rows: Vec<Row> = rows.collect();
        let mut companion = self.companion();
        if let Some((name, role)) = companion.label() {
            rows.push(row(&name, role));
        }
        for round in 0..self.options.rounds {
            for (system, row) in taking.iter().zip(&mut rows) {
                let (alone, run) = self.one(system, round);
                self.tell(round, row, &run);
                row.alone.extend(alone);
                row.runs.push(run);
            }
            if let (Some(run), Some(row)) = (self.beside(&mut companion, round), rows.last_mut()) {
                self.tell(round, row, &run);
                row.runs.push(run);
            }
        }
        WorkloadResult {
            name: scenario.name.into(),
            what: scenario.what.into(),
            command: self.shown(),
            metric: scenario.metric,
            rows,
        }
    }

    fn tell(&self, round: usize, row: &Row, run: &Run) {
        let (name, metric) = (self.scenario.name, row.metric);
        eprintln!(
            "{name} round {} {}: {}",
            round + 1,
            row.system,
            run.short(metric)
        );
    }

    fn with_rate(&self, command: &str) -> Result<String, Fault> {
        match &self.rate {
            None => Ok(command.to_owned()),
            Some(Ok(rate)) => Ok(format!("{command} --rate {rate:.0}")),
            Some(Err(fault)) => Err(fault.clone().into()),
        }
    }

    /// For the report: what to type to repeat it.
    fn shown(&self) -> String {
        let Options {
            duration, warm_up, ..
        } = self.options;
        let line = |command: &str| match self.with_rate(command) {
            Ok(command) => {
                format!("millstream-bench {command} --duration {duration} --warm-up {warm_up}")
            }
            Err(fault) => fault.to_string(),
        };
        let mut text = String::new();
        if let Some(Prepare { command, amount }) = self.scenario.prepare {
            let mib = self.bytes(amount) >> 20;
            text += &format!("millstream-bench {command}   # until {mib} MiB are there\n");
        }
        let alone = self
            .scenario
            .alone
            .map(|command| line(command) + "   # alone\n");
        text += &alone.unwrap_or_default();
        text + &line(self.scenario.command)
    }

    fn bytes(&self, amount: Amount) -> u64 {
        match amount {
            Amount::Bytes(bytes) => bytes,
            Amount::Backlog => (self.options.backlog_gib * (1u64 << 30) as f64) as u64,
        }
    }

    fn topic(&self, round: usize) -> String {
        let name = self.scenario.name.to_lowercase();
        match self.scenario.keeps_topic {
            true => name,
            false => format!("{name}-{round}"),
        }
    }

    /// One run, and the one without what disturbs before it.
    fn one(&self, system: &System, round: usize) -> (Option<Run>, Run) {
        let topic = self.topic(round);
        let options = self.options;
        let invocation =
            Invocation::new(system, options, &topic, options.duration, options.warm_up);
        let is_filled = self.scenario.keeps_topic && round > 0;
        let prepare = self.scenario.prepare.filter(|_| !is_filled);
        let prepared = prepare.map_or(Ok(()), |prepare| {
            fill(invocation, prepare.command, self.bytes(prepare.amount))
        });
        let run = |command: &str| {
            let command = self.with_rate(command)?;
            write_back(self.work)?;
            invocation.run(&command)
        };
        let (alone, outcome) = match prepared {
            Err(fault) => (None, Err(fault)),
            Ok(()) => {
                let alone = self.scenario.alone.map(&run).map(recorded);
                // A backlog of twice the cache must not come out of one that the page cache has room for.
                let evicting = (self.scenario.beside == Beside::DeviceRead)
                    .then(|| Evicting::start(system.data_dir(), &topic));
                let outcome = run(self.scenario.command);
                drop(evicting);
                (alone, outcome)
            }
        };
        if !self.scenario.keeps_topic {
            system.delete_topic(&topic);
            std::thread::sleep(DELETE_PAUSE);
        }
        (alone, recorded(outcome))
    }

    fn companion(&self) -> Companion {
        let options = self.options;
        let brokers = match self.scenario.beside {
            Beside::Nothing => return Companion::Nobody,
            Beside::DeviceFlushed {
                bytes,
                in_flight,
                to,
            } => return Companion::Device(Kind::Flushed { bytes, to }, in_flight),
            Beside::DeviceRead => return Companion::Device(Kind::Read, 5),
            Beside::Sink { partitions } => {
                (system::sink(options, self.work, partitions), Role::Ceiling)
            }
            Beside::MoreCores => (
                system::millstream(options, self.work, &options.more_broker_cpus),
                Role::MoreCores,
            ),
        };
        let (system, role) = brokers;
        match system {
            Ok(mut system) => match system.start() {
                Ok(_) => Companion::Broker(Box::new(system), role),
                Err(fault) => Companion::Broken(system.name.clone(), role, fault.to_string()),
            },
            Err(fault) => Companion::Broken("beside".into(), role, fault.to_string()),
        }
    }

    fn beside(&self, companion: &mut Companion, round: usize) -> Option<Run> {
        let options = self.options;
        match companion {
            Companion::Nobody => None,
            Companion::Broken(_, _, fault) => Some(Run::Failed(fault.clone())),
            Companion::Broker(system, _) => Some(self.one(system, round).1),
            Companion::Device(kind, in_flight) => {
                let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
                let cpus = cpu_list(&options.broker_cpus).unwrap_or_default();
                let warm_up = options.warm_up.min(1.0);
                let is_new = matches!(
                    kind,
                    Kind::Flushed {
                        to: Blocks::New,
                        ..
                    }
                );
                let (name, times) = match is_new {
                    true => (NEW_FILE, 2.0 * (warm_up + options.duration)),
                    false => (DEVICE_FILE, 1.0),
                };
                let load = device::Load {
                    path: &self.work.join(name),
                    file_bytes: ((options.device_mib << 20) as f64 * times.max(1.0)) as u64,
                    kind: *kind,
                    in_flight: *in_flight,
                    warm_up: seconds(warm_up),
                    duration: seconds(options.duration),
                    cpu: cpus.at(0),
                };
                let outcome = write_back(self.work).and_then(|()| device::outcome(load));
                if is_new {
                    std::thread::sleep(DELETE_PAUSE);
                }
                Some(recorded(outcome))
            }
        }
    }
}

/// What ran before has left nothing in the page cache that is written beside what comes now. `work` is a directory on the disk.
pub fn write_back(work: &Path) -> Result<(), Fault> {
    let synced = File::open(work).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
    synced.map_err(|error| format!("syncfs {}: {error}", work.display()).into())
}

/// What runs beside the systems.
enum Companion {
    Nobody,
    Device(Kind, usize),
    /// Ends with the workload.
    Broker(Box<System>, Role),
    /// It did not start: its name, and why.
    Broken(String, Role, String),
}

impl Companion {
    fn label(&self) -> Option<(String, Role)> {
        match self {
            Companion::Nobody => None,
            Companion::Device(kind, _) => {
                let what = match kind {
                    Kind::Flushed { to, .. } => match to {
                        Blocks::New => "the device, new blocks flushed",
                        Blocks::Written => "the device, written blocks flushed",
                    },
                    Kind::Read => "the device, read",
                };
                Some((what.into(), Role::Ceiling))
            }
            Companion::Broker(system, role) => Some((system.name.clone(), *role)),
            Companion::Broken(name, role, _) => Some((name.clone(), *role)),
        }
    }
}

fn recorded(outcome: Result<Outcome, Fault>) -> Run {
    match outcome {
        Ok(outcome) => Run::Done(Box::new(outcome)),
        Err(fault) => Run::Failed(fault.to_string()),
    }
}

/// Produces until so many bytes are acknowledged.
fn fill(invocation: Invocation<'_>, command: &str, bytes: u64) -> Result<(), Fault> {
    let (shortest, longest) = PREPARE_SECONDS;
    let mut piece = Invocation {
        duration: shortest,
        warm_up: 0.0,
        ..invocation
    };
    let mut acknowledged = 0;
    for _ in 0..PREPARE_MAX {
        let outcome = piece.run(command)?;
        if !outcome.is_clean() {
            return Err(format!("filling the topic: {}", outcome.problems().join("; ")).into());
        }
        acknowledged += outcome.first.bytes;
        if acknowledged >= bytes {
            return Ok(());
        }
        let left = (bytes - acknowledged) as f64 / outcome.first.bytes.max(1) as f64;
        piece.duration = (piece.duration * left).clamp(shortest, longest);
    }
    let (got, wanted) = (acknowledged >> 20, bytes >> 20);
    Err(format!(
        "only {got} of {wanted} MiB were taken in {:.0} s: --backlog-gib says how much",
        PREPARE_MAX as f64 * longest
    )
    .into())
}

/// A load command on a system.
#[derive(Clone, Copy)]
struct Invocation<'a> {
    system: &'a System,
    options: &'a Options,
    topic: &'a str,
    duration: f64,
    warm_up: f64,
}

impl<'a> Invocation<'a> {
    fn new(
        system: &'a System,
        options: &'a Options,
        topic: &'a str,
        duration: f64,
        warm_up: f64,
    ) -> Self {
        Invocation {
            system,
            options,
            topic,
            duration,
            warm_up,
        }
    }

    fn run(&self, command: &str) -> Result<Outcome, Fault> {
        let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let mut add = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        add("--bootstrap", &self.system.address);
        add("--topic", self.topic);
        add("--topic-config", "file.delete.delay.ms=500");
        add("--cpus", &self.options.load_cpus);
        add("--duration", &self.duration.to_string());
        add("--warm-up", &self.warm_up.to_string());
        if let Some(pid) = self.system.pid() {
            add("--pid", &pid.to_string());
        }
        crate::outcome_of(&words)
    }
}

/// About how long it all takes, for the impatient.
pub fn minutes(options: &Options, scenarios: &[&Scenario], systems: usize) -> f64 {
    let run = options.duration + options.warm_up + DELETE_PAUSE.as_secs_f64() + 1.0;
    let runs = scenarios.iter().map(|scenario| {
        let beside = usize::from(scenario.beside != Beside::Nothing);
        let alone = if scenario.alone.is_some() { systems } else { 0 };
        (systems + beside + alone) as f64
    });
    let rounds = runs.sum::<f64>() * options.rounds as f64 * run;
    (rounds + options.warm_up_seconds * systems as f64) / 60.0
}
