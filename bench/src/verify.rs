//! `verify`: numbered records in, the same numbers out: none missing that was acknowledged, none twice, none out of order.
//!
//! For each partition one idempotent producer and one reader, which go on through restarts of the broker: a producer
//! sends again what was not acknowledged, with the same sequence numbers. When the time is over, every partition is
//! read a second time from its start, so that what was read once and lost by a later restart is found, too. Nothing
//! but this run writes to the topic, so the offset of every record is known before it is read.

mod checker;
mod producer;
mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Fault;
use crate::cluster::{self, TopicOptions};
use checker::{Checker, Violation};

/// Violations that are printed for a partition.
const SHOWN_MAX: usize = 20;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Any broker of the cluster.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    bootstrap: String,
    /// Topic that nobody else writes to; a new name if not given.
    #[arg(long)]
    topic: Option<String>,
    /// Partitions, each with a producer and a reader of its own.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Configuration of the topic; may be repeated.
    #[arg(long = "topic-config", value_name = "KEY=VALUE")]
    configs: Vec<String>,
    /// Seconds to produce.
    #[arg(long, default_value_t = 30.0)]
    duration: f64,
    /// Records a second over all partitions.
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// Bytes of a record's value, at least 16.
    #[arg(long, default_value_t = 200)]
    record_size: usize,
    /// Records of a batch.
    #[arg(long, default_value_t = 20)]
    batch_records: u32,
    /// Requests in flight for each partition.
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// Seconds to wait for a broker that does not answer, and for the last records.
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
}

/// What the threads of one partition share.
pub struct Course {
    bootstrap: String,
    topic: String,
    partition: i32,
    run: u64,
    record_size: usize,
    batch_records: u32,
    in_flight: usize,
    /// Time between two batches.
    interval: Duration,
    patience: Duration,
    /// No new records.
    stop: AtomicBool,
    /// Numbers below this are acknowledged.
    acknowledged: AtomicU64,
    /// The producer has ended, so `acknowledged` is final.
    settled: AtomicBool,
    /// Connections that had to be made again.
    reconnects: AtomicU64,
}

/// Runs the command; whether all that was acknowledged is there, once and in order.
pub fn run(options: &Options) -> Result<bool, Fault> {
    if options.record_size < checker::MARK || options.batch_records == 0 || options.rate <= 0.0 {
        return Err(
            "--record-size of at least 16, --batch-records and --rate above 0 are needed".into(),
        );
    }
    if !(1..=5).contains(&options.in_flight) {
        return Err("--in-flight must be 1 to 5, as for any idempotent producer".into());
    }
    let run = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let topic = options
        .topic
        .clone()
        .unwrap_or_else(|| format!("verify-{run}"));
    let targets = cluster::prepare(&TopicOptions {
        bootstrap: options.bootstrap.clone(),
        topic: topic.clone(),
        topics: 1,
        partitions: options.partitions,
        configs: options.configs.clone(),
    })?;
    let batches_per_second = options.rate / f64::from(options.batch_records) / targets.len() as f64;
    let courses: Vec<Arc<Course>> = targets
        .iter()
        .map(|target| {
            Ok(Arc::new(Course {
                bootstrap: options.bootstrap.clone(),
                topic: topic.clone(),
                partition: target.partition,
                run,
                record_size: options.record_size,
                batch_records: options.batch_records,
                in_flight: options.in_flight,
                interval: Duration::try_from_secs_f64(1.0 / batches_per_second)?,
                patience: Duration::try_from_secs_f64(options.patience)?,
                stop: AtomicBool::new(false),
                acknowledged: AtomicU64::new(0),
                settled: AtomicBool::new(false),
                reconnects: AtomicU64::new(0),
            }))
        })
        .collect::<Result<_, Fault>>()?;
    println!(
        "verify {}: topic {topic}, {} partitions, {} records/s for {} s",
        options.bootstrap,
        courses.len(),
        options.rate,
        options.duration
    );
    let verdicts = follow(&courses, Duration::try_from_secs_f64(options.duration)?)?;
    Ok(judge(&courses, &verdicts))
}

/// What became of one partition.
struct Verdict {
    produced: Result<(), Fault>,
    read: Result<Checker, Fault>,
    read_again: Result<Checker, Fault>,
}

fn follow(courses: &[Arc<Course>], duration: Duration) -> Result<Vec<Verdict>, Fault> {
    let mut threads = Vec::new();
    for course in courses {
        let start = reader::end_offset(course)?;
        let (producing, reading) = (course.clone(), course.clone());
        let producer = std::thread::spawn(move || {
            let produced = producer::run(&producing, start);
            producing.settled.store(true, Ordering::Release);
            produced
        });
        let reader = std::thread::spawn(move || reader::run(&reading, start));
        threads.push((start, producer, reader));
    }
    let end = Instant::now() + duration;
    while Instant::now() < end
        && !courses
            .iter()
            .all(|course| course.settled.load(Ordering::Acquire))
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    for course in courses {
        course.stop.store(true, Ordering::Release);
    }
    let mut verdicts = Vec::new();
    for (course, (start, producer, reader)) in courses.iter().zip(threads) {
        verdicts.push(Verdict {
            produced: producer.join().map_err(|_| "a producer panicked")?,
            read: reader.join().map_err(|_| "a reader panicked")?,
            read_again: reader::run(course, start),
        });
    }
    Ok(verdicts)
}

/// Prints what was found; whether nothing was wrong.
fn judge(courses: &[Arc<Course>], verdicts: &[Verdict]) -> bool {
    let (mut clean, mut acknowledged, mut reconnects) = (true, 0, 0);
    for (course, verdict) in courses.iter().zip(verdicts) {
        let wrong = |what: &str| println!("partition {}: {what}", course.partition);
        acknowledged += course.acknowledged.load(Ordering::Acquire);
        reconnects += course.reconnects.load(Ordering::Acquire);
        if let Err(fault) = &verdict.produced {
            wrong(&format!("producing ended: {fault}"));
            clean = false;
        }
        for (when, read) in [("read", &verdict.read), ("read again", &verdict.read_again)] {
            match read {
                Ok(checker) if checker.violations().is_empty() => {}
                Ok(checker) => {
                    clean = false;
                    show(checker.violations(), |what| {
                        wrong(&format!("{when}: {what}"))
                    });
                }
                Err(fault) => {
                    clean = false;
                    wrong(&format!("{when}: reading ended: {fault}"));
                }
            }
        }
    }
    println!("{acknowledged} records acknowledged, {reconnects} reconnections");
    println!(
        "{}",
        if clean {
            "all there, once, in order"
        } else {
            "VIOLATED"
        }
    );
    clean && acknowledged > 0
}

fn show(violations: &[Violation], mut line: impl FnMut(&str)) {
    for violation in violations.iter().take(SHOWN_MAX) {
        line(&violation.to_string());
    }
    if violations.len() > SHOWN_MAX {
        line(&format!("and {} more", violations.len() - SHOWN_MAX));
    }
}
