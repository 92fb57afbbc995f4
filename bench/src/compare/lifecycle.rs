//! W12 and W13: start, restart after kill -9, memory. Only for systems that we start; one at a time, the others stopped.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::header;
use millstream_protocol::message::Records;
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

use super::system::System;
use super::{Comparison, Options};
use crate::Fault;
use crate::cluster::{self, TopicOptions};
use crate::produce::request::VERSION as PRODUCE_VERSION;
use crate::report::Process;

const TOPIC: &str = "lifecycle";
/// How long a restarted broker may refuse a record.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts each system without data, fills it, kills it and starts it again.
pub fn measure(
    options: &Options,
    systems: &mut [System],
    comparison: &mut Comparison,
) -> Result<(), Fault> {
    let wanted = |name: &str| options.workloads.iter().any(|workload| workload == name);
    if !wanted("W12") && !wanted("W13") {
        return Ok(());
    }
    comparison.restart_partitions = options.restart_partitions;
    for system in systems.iter_mut().filter(|system| system.is_ours()) {
        eprintln!("{}: start, memory, restart", system.name);
        system.clear()?;
        let started = system.start()?;
        let resident = system
            .pid()
            .map(Process::read)
            .transpose()?
            .map(|process| process.resident_bytes);
        let idle = match wanted("W13") {
            true => Some(idle_connections(system, options)?),
            false => None,
        };
        let restarted = match wanted("W12") {
            true => Some(restart(system, options)?),
            false => None,
        };
        system.stop();
        let results = system.results();
        results.start_seconds = Some(started.as_secs_f64());
        results.resident_after_start_bytes = resident;
        results.bytes_per_idle_connection = idle.flatten();
        results.restart_seconds = restarted;
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

/// Seconds from the start after a kill -9 until all partitions have leaders and a batch is acknowledged.
fn restart(system: &mut System, options: &Options) -> Result<f64, Fault> {
    let topics = |partitions| TopicOptions {
        bootstrap: system.address.clone(),
        topic: TOPIC.into(),
        topics: 1,
        partitions,
        configs: Vec::new(),
    };
    let topics = topics(options.restart_partitions);
    cluster::prepare(&topics)?;
    let produce = |seconds: f64| {
        let line = format!(
            "produce --bootstrap {} --topic {TOPIC} --batch-size 1100 --connections 16 --duration {seconds} --warm-up 0 --cpus {}",
            topics.bootstrap, options.load_cpus
        );
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        crate::outcome_of(&words)
    };
    // Every partition has records: they are served in turn.
    produce(options.duration)?;
    system.kill();
    let began = Instant::now();
    system.start()?;
    cluster::prepare(&topics)?;
    produce_one(&topics.bootstrap, TOPIC)?;
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
