//! W12 and W13: start, restart after kill -9, memory. Only for systems that we start; one at a time, the others stopped.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::header;
use millstream_protocol::message::Records;
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

use super::measure::write_back;
use super::system::System;
use super::{Comparison, Options};
use crate::Fault;
use crate::cluster::{self, TopicOptions};
use crate::produce::request::VERSION as PRODUCE_VERSION;
use crate::report::Process;

const TOPIC: &str = "lifecycle";
/// Kafka's controller does no more than 10,000 changes for one request, and a partition is one or two.
const TOPIC_PARTITIONS_MAX: u32 = 1000;
/// Load until every partition has records, where the measurement's own duration did not do.
const FILL_SECONDS: f64 = 30.0;
/// How long all partitions may take to be there.
const RESTART_MAX: Duration = Duration::from_secs(300);
/// How long a restarted broker may refuse a record.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts each system without data, fills it, kills it and starts it again. A system that fails has its fault in the
/// report.
pub fn measure(
    options: &Options,
    work: &Path,
    systems: &mut [System],
    comparison: &mut Comparison,
) {
    let wanted = |name: &str| options.workloads.iter().any(|workload| workload == name);
    let (restart, memory) = (wanted("W12"), wanted("W13"));
    if !restart && !memory {
        return;
    }
    comparison.restart_partitions = options.restart_partitions;
    for system in systems.iter_mut().filter(|system| system.is_ours()) {
        eprintln!("{}: start, memory, restart", system.name);
        let fault = one(system, options, work, restart, memory).err();
        system.results().fault = fault.map(|fault| fault.to_string());
        system.stop();
    }
}

fn one(
    system: &mut System,
    options: &Options,
    work: &Path,
    with_restart: bool,
    with_memory: bool,
) -> Result<(), Fault> {
    system.clear()?;
    write_back(work)?;
    let started = system.start()?;
    system.results().start_seconds = Some(started.as_secs_f64());
    let process = system.pid().map(Process::read).transpose()?;
    system.results().resident_after_start_bytes = process.map(|process| process.resident_bytes);
    if with_memory {
        let idle = idle_connections(system, options)?;
        system.results().bytes_per_idle_connection = idle;
    }
    if with_restart {
        let seconds = restart(system, options)?;
        system.results().restart_seconds = Some(seconds);
    }
    Ok(())
}

fn idle_connections(system: &System, options: &Options) -> Result<Option<f64>, Fault> {
    let pid = system.pid().ok_or("it has no process")?;
    let line = format!(
        "swarm --bootstrap {} --topic idle --connections {} --active 0 --duration 1 --warm-up 1 --pid {pid} --cpus {}",
        system.address, options.idle_connections, options.load_cpus
    );
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Ok(crate::outcome_of(&words)?.broker_bytes_per_connection)
}

/// Seconds from the start after a kill -9 until all partitions have leaders that answer and a batch is acknowledged.
fn restart(system: &mut System, options: &Options) -> Result<f64, Fault> {
    let count = options.restart_partitions.max(1);
    let topics = count.div_ceil(TOPIC_PARTITIONS_MAX);
    let topics = TopicOptions {
        bootstrap: system.address.clone(),
        topic: TOPIC.into(),
        topics: usize::try_from(topics)?,
        partitions: i32::try_from(count.div_ceil(topics))?,
        configs: Vec::new(),
    };
    let targets = cluster::prepare_within(&topics, RESTART_MAX)?;
    let produce = |seconds: f64| {
        let line = format!(
            "produce --bootstrap {} --topic {TOPIC} --topics {} --batch-size 1100 --connections 16 --duration {seconds} --warm-up 0 --cpus {}",
            topics.bootstrap, topics.topics, options.load_cpus
        );
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        crate::outcome_of(&words)
    };
    // Partitions are served in turn, so that every one has records once there were as many requests, and some for
    // connections that are ahead of others.
    let enough = 2 * targets.len() as u64;
    if produce(options.duration)?.first.requests < enough {
        produce(FILL_SECONDS)?;
    }
    system.kill();
    let began = Instant::now();
    system.start()?;
    let targets = cluster::prepare_within(&topics, RESTART_MAX)?;
    let last = targets.last().ok_or("a topic without partitions")?;
    produce_one(&topics.bootstrap, &last.topic)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Produces one record to the topic's last partition, as often as it takes until it is acknowledged.
fn produce_one(bootstrap: &str, topic: &str) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_produce_one(bootstrap, topic) {
            Err(fault) if Instant::now() > deadline => return Err(fault),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}

fn try_produce_one(bootstrap: &str, topic: &str) -> Result<(), Fault> {
    let targets = cluster::leaders_now(bootstrap, topic)?;
    let target = targets.last().ok_or("a topic without partitions")?;
    let mut broker = cluster::connect(&target.leader.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = i64::try_from(now)?;
    let mut batch = BatchBuilder::new(Codec::None, now);
    batch.push(now, None, Some(b"one"), &[]);
    let batch = batch.finish(0);
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: target.partition,
                records: Records::Borrowed(&batch),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let (api, version) = (ApiKey::Produce, PRODUCE_VERSION);
    let frame = cluster::call(&mut broker, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    let response = ProduceResponse::read(&mut body, version)?;
    let topic = response.responses.first();
    let partition = topic.and_then(|topic| topic.partition_responses.first());
    match partition.ok_or("an empty answer")?.error_code {
        0 => Ok(()),
        code => Err(cluster::error_name(code).into()),
    }
}
