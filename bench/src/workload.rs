//! `workload FILE`: a workload of the OpenMessaging Benchmark, from its YAML as it is.
//!
//! Each becomes an `end-to-end` run: producers times topics connections, subscriptions as groups, consumers as their
//! readers. What the file leaves to the benchmark's Kafka driver is as that sets it: acks=all, batches of 128 KiB or
//! what comes in 1 ms. A rate of 0, for which OpenMessaging searches the highest balanced rate, is a closed loop here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::load::LoadOptions;
use crate::report::Outcome;
use crate::{Command, Fault, end_to_end, produce, report};

/// The driver's batch.size and linger.ms.
const BATCH_BYTES: f64 = 131_072.0;
const LINGER_SECONDS: f64 = 0.001;
/// What a record has around its value, at most.
const AROUND_VALUE: f64 = 40.0;
const BATCH_HEADER: f64 = 61.0;
/// Seconds of one piece of a backlog.
const BACKLOG_PIECE: f64 = 2.0;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The workload's YAML.
    file: PathBuf,
    /// Any broker of the cluster.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    bootstrap: String,
    /// First part of the topics' names; a new one if not given.
    #[arg(long)]
    topic: Option<String>,
    /// CPUs of the load, as for the other commands.
    #[arg(long)]
    cpus: Option<String>,
    /// Seconds to measure, instead of the file's minutes.
    #[arg(long)]
    duration: Option<f64>,
    /// Seconds of load before measuring, instead of the file's minutes.
    #[arg(long)]
    warm_up: Option<f64>,
    /// Process id of the broker.
    #[arg(long)]
    pid: Option<u32>,
    /// Writes the result to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the latencies to this file as a table of HdrHistogram's tools.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// JSON of `roofline`: the result is also given as a share of it.
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
}

/// The fields of `io.openmessaging.benchmark.Workload` that mean something here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workload {
    name: String,
    topics: usize,
    partitions_per_topic: i32,
    #[serde(default)]
    key_distributor: KeyDistributor,
    message_size: usize,
    #[serde(default)]
    payload_file: Option<PathBuf>,
    subscriptions_per_topic: usize,
    producers_per_topic: usize,
    consumer_per_subscription: usize,
    producer_rate: f64,
    #[serde(default, rename = "consumerBacklogSizeGB")]
    consumer_backlog_size_gb: f64,
    test_duration_minutes: f64,
    #[serde(default = "one")]
    warmup_duration_minutes: f64,
    /// Whatever else there is.
    #[serde(flatten)]
    others: BTreeMap<String, yaml_serde::Value>,
}

fn one() -> f64 {
    1.0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum KeyDistributor {
    #[default]
    NoKey,
    KeyRoundRobin,
    RandomNano,
}

/// Fields that ask for nothing different here: values are random unless a file is given, and there is no search for a
/// rate.
const WITHOUT_EFFECT: [&str; 9] = [
    "useRandomizedPayloads",
    "randomBytesRatio",
    "randomizedPayloadPoolSize",
    "producerStartRate",
    "acceptableBacklog",
    "producerIncrementRate",
    "producerIncrementSeconds",
    "producerPauseBeforeDrain",
    "producerPauseDuringDrain",
];

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    let text = std::fs::read_to_string(&options.file)
        .map_err(|error| format!("{}: {error}", options.file.display()))?;
    let workload = read(&text).map_err(|error| format!("{}: {error}", options.file.display()))?;
    for name in workload
        .others
        .keys()
        .filter(|name| !WITHOUT_EFFECT.contains(&name.as_str()))
    {
        eprintln!(
            "{}: {name} is not known and has no effect",
            options.file.display()
        );
    }
    let mut end_to_end = end_to_end(&workload, options)?;
    if workload.consumer_backlog_size_gb > 0.0 {
        backlog(&end_to_end.produce, workload.consumer_backlog_size_gb)?;
        // The backlog's readers, beside those that read what is new.
        end_to_end.catch_up = workload.subscriptions_per_topic;
    }
    let outcome = Outcome {
        title: workload.name.clone(),
        ..end_to_end::outcome(&end_to_end)?
    };
    let load = LoadOptions {
        json: options.json.clone(),
        hgrm: options.hgrm.clone(),
        roofline: options.roofline.clone(),
        ..end_to_end.produce.load
    };
    report::publish(&outcome, &load)
}

fn read(text: &str) -> Result<Workload, Fault> {
    let workload: Workload = yaml_serde::from_str(text)?;
    if workload.topics == 0
        || workload.producers_per_topic == 0
        || workload.partitions_per_topic < 1
    {
        return Err("topics, partitionsPerTopic and producersPerTopic must be at least 1".into());
    }
    Ok(workload)
}

/// As a command line of `end-to-end`, so that its defaults are the defaults here.
fn end_to_end(workload: &Workload, options: &Options) -> Result<end_to_end::Options, Fault> {
    let connections = workload.producers_per_topic * workload.topics;
    let readers = workload.consumer_per_subscription.max(1) * workload.topics;
    let topic = options.topic.clone();
    let topic = topic.unwrap_or_else(|| format!("workload-{}", std::process::id()));
    let mut words = vec!["end-to-end".to_owned()];
    let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
    add("--bootstrap", options.bootstrap.clone());
    add("--topic", topic);
    add("--topics", workload.topics.to_string());
    add("--partitions", workload.partitions_per_topic.to_string());
    add("--connections", connections.to_string());
    add(
        "--record-size",
        workload
            .message_size
            .max(produce::payload::STAMP)
            .to_string(),
    );
    add(
        "--batch-size",
        batch_bytes(workload, connections).to_string(),
    );
    add(
        "--groups",
        workload.subscriptions_per_topic.max(1).to_string(),
    );
    add("--readers", readers.to_string());
    let keys = match workload.key_distributor {
        KeyDistributor::NoKey => "none",
        KeyDistributor::KeyRoundRobin => "sequential",
        KeyDistributor::RandomNano => "uniform",
    };
    add("--keys", keys.to_owned());
    if workload.producer_rate > 0.0 {
        add("--rate", workload.producer_rate.to_string());
    }
    let minutes =
        |minutes: f64, instead: Option<f64>| instead.unwrap_or(minutes * 60.0).to_string();
    add(
        "--duration",
        minutes(workload.test_duration_minutes, options.duration),
    );
    add(
        "--warm-up",
        minutes(workload.warmup_duration_minutes, options.warm_up),
    );
    if let Some(cpus) = &options.cpus {
        add("--cpus", cpus.clone());
    }
    if let Some(pid) = options.pid {
        add("--pid", pid.to_string());
    }
    if let Some(file) = workload
        .payload_file
        .as_ref()
        .and_then(|file| payload(file, &options.file))
    {
        add("--payload-file", file.display().to_string());
    }
    match crate::parse(&words)? {
        Command::EndToEnd(options) => Ok(*options),
        _ => Err("not an end-to-end run".into()),
    }
}

/// As many records as a producer gathers before it sends.
fn batch_bytes(workload: &Workload, connections: usize) -> u64 {
    let record = workload.message_size as f64 + AROUND_VALUE;
    if workload.producer_rate == 0.0 {
        return BATCH_BYTES.max(BATCH_HEADER + record) as u64;
    }
    let lingered = (workload.producer_rate / connections as f64 * LINGER_SECONDS).floor();
    let bytes = BATCH_HEADER + lingered.max(1.0) * record;
    bytes.min(BATCH_BYTES.max(BATCH_HEADER + record)) as u64
}

/// The file as named, or beside the workload; `None` with a word where there is none: the benchmark ships its own.
fn payload(file: &Path, workload: &Path) -> Option<PathBuf> {
    let beside = workload.parent().map(|dir| dir.join(file));
    let found = [Some(file.to_owned()), beside]
        .into_iter()
        .flatten()
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("{} is not here: values are random bytes", file.display());
    }
    found
}

/// Writes so many gigabytes, as fast as it goes.
fn backlog(options: &produce::Options, gigabytes: f64) -> Result<(), Fault> {
    let mut piece = options.clone();
    piece.pace.rate = None;
    piece.load.duration = BACKLOG_PIECE;
    piece.load.warm_up = 0.0;
    let mut written = 0.0;
    while written < gigabytes * 1e9 {
        eprintln!("backlog: {:.1} of {gigabytes} GB", written / 1e9);
        let outcome = produce::outcome(&piece)?;
        if !outcome.is_clean() {
            return Err("writing the backlog failed".into());
        }
        written += outcome.first.bytes as f64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    const TEXT: &str = "
name: 2 topics
topics: 2
partitionsPerTopic: 16
keyDistributor: \"KEY_ROUND_ROBIN\"
messageSize: 1024
payloadFile: \"payload/not-there.data\"
subscriptionsPerTopic: 3
consumerPerSubscription: 4
producersPerTopic: 5
producerRate: 50000
consumerBacklogSizeGB: 0
testDurationMinutes: 15
producerStartRate: 10
";

    #[test]
    fn a_workload_is_a_command_line() {
        let workload = read(TEXT).unwrap();
        assert_eq!(
            workload.others.keys().collect::<Vec<_>>(),
            ["producerStartRate"]
        );
        let options = Cli::parse_from(["b", "file.yaml", "--cpus", "1"]).options;
        let run = end_to_end(&workload, &options).unwrap();
        assert_eq!((run.groups, run.readers), (3, 8));
        let produce = run.produce;
        assert_eq!((produce.topics.topics, produce.topics.partitions), (2, 16));
        assert_eq!(
            (produce.load.connections, produce.pace.rate),
            (10, Some(50_000.0))
        );
        assert_eq!((produce.load.duration, produce.load.warm_up), (900.0, 60.0));
        // Each of ten producers has five records in a millisecond.
        assert_eq!(produce.payload.batch_size, 61 + 5 * 1064);
    }

    #[test]
    fn all_that_are_shipped_can_be_read() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        let mut count = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let workload = read(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert!(
                workload.others.is_empty(),
                "{}: {:?}",
                path.display(),
                workload.others
            );
            count += 1;
        }
        assert!(count >= 5);
    }

    #[test]
    fn a_missing_field_is_named() {
        let fault = read("name: x\ntopics: 1\n").err().unwrap().to_string();
        assert!(fault.contains("partitionsPerTopic"), "{fault}");
    }
}
