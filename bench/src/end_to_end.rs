//! `end-to-end`: from the moment a record should have been sent to the moment a reader has it.
//!
//! Producers stamp the first record of each batch with the run's number and the intended sending time; readers, in the
//! same process and so on the same clock, look for it. A *group* is a set of readers that together get every record
//! once; each reader asks for all its partitions in one Fetch. Groups do not join at the coordinator; with
//! --commit-interval-ms their readers commit offsets as consumers without group management do. Where producers are
//! transactional, readers see what is committed.

mod reader;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Fault;
use crate::cluster::{self, KeyType};
use crate::load::{self, Lane, Workload};
use crate::produce;
use crate::report::{self, Outcome};
pub use reader::read;

/// Roles of a run, in the order of the result's parts; behind them transactions, where there are any.
const ROLES: [&str; 3] = ["end-to-end", produce::PART, "catch-up"];
/// Fetch's isolation levels (KIP-98).
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;
const ROLE_READ: usize = 0;
const ROLE_PRODUCE: usize = 1;
const ROLE_CATCH_UP: usize = 2;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub produce: produce::Options,
    /// Groups of readers at the tail; each gets every record.
    #[arg(long, default_value_t = 1)]
    pub groups: usize,
    /// Readers of each group, between which the partitions are divided.
    #[arg(long, default_value_t = 1)]
    pub readers: usize,
    /// Further readers that read all partitions from offset 0, again and again: their throughput is a part of its own.
    #[arg(long, default_value_t = 0)]
    pub catch_up: usize,
    /// Each reader commits its offsets so often; 0 for never.
    #[arg(long, default_value_t = 0)]
    pub commit_interval_ms: u64,
    /// Most bytes of one answer.
    #[arg(long, default_value_t = 50 << 20)]
    pub fetch_max_bytes: i32,
    /// Most bytes of one partition in one answer.
    #[arg(long, default_value_t = 1 << 20)]
    pub partition_max_bytes: i32,
    /// Least bytes of one answer, before --max-wait-ms is over.
    #[arg(long, default_value_t = 1)]
    pub min_bytes: i32,
    /// How long the broker may wait for --min-bytes.
    #[arg(long, default_value_t = 500)]
    pub max_wait_ms: i32,
}

/// Where and how often a group's readers commit.
#[derive(Clone, Copy, Debug)]
struct Commits {
    coordinator: SocketAddr,
    interval: Duration,
}

/// What the readers of one group share.
pub struct Plan {
    /// Number of the run in the stamps.
    run: u64,
    group: String,
    /// From offset 0 again and again, instead of at the tail.
    catch_up: bool,
    commits: Option<Commits>,
    fetch_max_bytes: i32,
    partition_max_bytes: i32,
    min_bytes: i32,
    max_wait_ms: i32,
    /// Committed records only, where producers are transactional.
    isolation_level: i8,
}

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    report::publish(&outcome(options)?, &options.produce.load)
}

/// Runs the load.
pub fn outcome(options: &Options) -> Result<Outcome, Fault> {
    if options.groups == 0 || options.readers == 0 {
        return Err("--groups and --readers must be at least 1".into());
    }
    if options.produce.payload.codec != millstream_protocol::compress::Codec::None {
        return Err("end-to-end stamps records in place: --codec none only".into());
    }
    let run = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let targets = produce::targets(&options.produce)?;
    let producers = options.produce.load.connections;
    let plan = Arc::new(produce::Plan::new(&options.produce, producers, Some(run))?);
    let mut roles = ROLES[..if options.catch_up > 0 { 3 } else { 2 }].to_vec();
    let mut lanes = produce::lanes(&options.produce, &targets, &plan, roles.len())?;
    if options.produce.is_transactional() {
        roles.push(produce::transactions::PART);
    }
    for lane in &mut lanes {
        lane.role = ROLE_PRODUCE;
    }
    let bootstrap = &options.produce.topics.bootstrap;
    let mut read = |group: String, catch_up: bool, role: usize, readers: usize| {
        let commits = match options.commit_interval_ms {
            0 => None,
            interval => Some(Commits {
                coordinator: cluster::coordinator(bootstrap, &group, KeyType::Group)?,
                interval: Duration::from_millis(interval),
            }),
        };
        let plan = Plan {
            run,
            group,
            catch_up,
            commits,
            fetch_max_bytes: options.fetch_max_bytes,
            partition_max_bytes: options.partition_max_bytes,
            min_bytes: options.min_bytes,
            max_wait_ms: options.max_wait_ms,
            isolation_level: match options.produce.is_transactional() {
                true => READ_COMMITTED,
                false => READ_UNCOMMITTED,
            },
        };
        // More readers than partitions would read twice.
        let readers = readers.min(targets.len());
        let read = load::lanes(&targets, readers, &Workload::Read(Arc::new(plan)));
        lanes.extend(read.into_iter().map(|lane| Lane { role, ..lane }));
        Ok::<(), Fault>(())
    };
    for group in 0..options.groups {
        let name = format!("bench-{run}-{group}");
        read(name, false, ROLE_READ, options.readers)?;
    }
    for reader in 0..options.catch_up {
        let name = format!("bench-{run}-catch-up-{reader}");
        read(name, true, ROLE_CATCH_UP, 1)?;
    }
    let measured = load::run(&options.produce.load, lanes, &roles)?;
    let title = format!(
        "end-to-end {}: {} partitions, {producers} producing connections, {} groups of {} readers, {} catching up, batches of {} bytes, {}",
        options.produce.topics.bootstrap,
        targets.len(),
        options.groups,
        options.readers,
        options.catch_up,
        plan.batch_len(),
        match options.produce.pace.rate {
            Some(rate) => format!("open loop of {rate} records/s"),
            None => "closed loop".into(),
        },
    );
    Ok(report::outcome(&title, &measured))
}
