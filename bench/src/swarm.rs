//! `swarm`: thousands of connections, each with little to do or nothing.
//!
//! --connections of them are there; --active produce, one request in flight each, as fast as answers come or at --rate
//! together; the others introduce themselves and stay silent. What they cost the broker is its growth in memory over
//! the number of connections (--pid).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use millstream_protocol::api::ApiKey;
use millstream_protocol::messages::api_versions::ApiVersionsRequest;
use millstream_ring::Socket;

use crate::Fault;
use crate::cluster;
use crate::connection::Window;
use crate::link::Link;
use crate::load::{self, Lane, Stop, Workload};
use crate::produce::{self, transactions};
use crate::report::{self, Outcome, Tally};

/// The part of connections that do nothing.
pub const IDLE: &str = "idle";
const ROLES: [&str; 3] = [produce::PART, IDLE, transactions::PART];
const API_VERSIONS_VERSION: i16 = 0;
/// Enough for the answer.
const ANSWER: usize = 4 << 10;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub produce: produce::Options,
    /// How many of the connections produce; all, if not given.
    #[arg(long)]
    pub active: Option<usize>,
}

/// Runs the command; whether it went without errors.
pub fn run(options: &Options) -> Result<bool, Fault> {
    let outcome = outcome(options)?;
    let clean = report::publish(&outcome, &options.produce.load)?;
    println!(
        "{} connections in {:.2} s",
        outcome.connections, outcome.connecting_seconds
    );
    if let Some(bytes) = outcome.broker_bytes_per_connection {
        println!("broker: {:.1} KiB of memory for each", bytes / 1024.0);
    }
    Ok(clean)
}

/// Runs the load.
pub fn outcome(options: &Options) -> Result<Outcome, Fault> {
    let mut producing = options.produce.clone();
    let all = producing.load.connections;
    let active = options.active.unwrap_or(all).min(all);
    producing.in_flight = 1;
    producing.load.connections = active;
    let targets = produce::targets(&producing)?;
    let mut lanes = Vec::new();
    if active > 0 {
        let plan = Arc::new(produce::Plan::new(&producing, active, None)?);
        let role = usize::from(all > active) + 1;
        lanes = produce::lanes(&producing, &targets, &plan, role)?;
    }
    let idle = load::lanes(&targets, all - active, &Workload::Idle);
    let role = usize::from(active > 0);
    lanes.extend(idle.into_iter().map(|lane| Lane { role, ..lane }));
    let there = [
        active > 0,
        all > active,
        active > 0 && producing.is_transactional(),
    ];
    let roles = ROLES.into_iter().zip(there);
    let roles: Vec<&str> = roles
        .filter_map(|(role, is_there)| is_there.then_some(role))
        .collect();
    let measured = load::run(&producing.load, lanes, &roles)?;
    let title = format!(
        "swarm {}: {all} connections, {active} producing one request at a time, {} partitions",
        producing.topics.bootstrap,
        targets.len()
    );
    Ok(report::outcome(&title, &measured))
}

/// Asks for the versions, as every client does first, and stays until `stop`.
pub async fn stay(socket: Socket, tally: &Rc<Tally>, stop: &Stop) -> Result<(), Fault> {
    let began = Instant::now();
    let request = cluster::request(
        ApiKey::ApiVersions,
        API_VERSIONS_VERSION,
        &ApiVersionsRequest::default(),
    )?;
    let mut link = Link::new(socket.clone(), ANSWER);
    let answer = link.call(request.bytes).await?;
    tally.done(began, Instant::now(), answer.len(), 0);
    drop(link);
    let window = Rc::new(Window::new(1));
    stop.watch(&window, &socket);
    // Nothing may come; when it ends before the time, the broker has ended it.
    let ended = socket.recv_idle().await;
    match window.is_stopped() {
        true => Ok(()),
        false => match ended {
            Ok(_) => Err("the broker closed an idle connection".into()),
            Err(error) => Err(error.into()),
        },
    }
}
