//! Threads, their connections and the clock of a run.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use millstream_ring::{CoreOptions, CoreThread, Ring, Socket, start};

use crate::cluster::{ProducerId, Target};
use crate::connection::Window;
use crate::produce::transactions::{self, Transactional};
use crate::progress::Progress;
use crate::report::{Counts, Live, Measured, Process, Tally};
use crate::{Fault, end_to_end, fetch, produce, swarm};

/// How long answers may take once the time is over.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether a thread has ended before it was connected.
const LOOK: Duration = Duration::from_millis(100);

/// What every kind of load has.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadOptions {
    /// Connections, spread over the threads and the partitions.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds of load before measuring.
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// CPUs, one thread pinned to each: 1 or 2-5,7. Without it one thread that is not pinned.
    #[arg(long, value_parser = cpu_list)]
    pub cpus: Option<CpuList>,
    /// Process id of the broker: its CPU time and memory are reported.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Writes the result to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the latencies to this file as a table of HdrHistogram's tools.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// JSON of `roofline`: the result is also given as a share of it.
    #[arg(long, value_name = "FILE")]
    pub roofline: Option<PathBuf>,
    /// JSON of the same run against a `sink`: the result is also given as a share of it.
    #[arg(long, value_name = "FILE")]
    pub ceiling: Option<PathBuf>,
}

/// CPUs by number; empty: not pinned.
#[derive(Clone, Debug, Default)]
pub struct CpuList(pub Vec<usize>);

impl CpuList {
    /// The CPU of the n-th thread; the last one serves all further.
    pub fn at(&self, thread: usize) -> Option<usize> {
        self.0.get(thread).or(self.0.last()).copied()
    }
}

/// Reads 1 or 2-5,7.
pub fn cpu_list(text: &str) -> Result<CpuList, String> {
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| format!("{text:?} is no CPU number"))
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
            None => cpus.push(number(part)?),
        }
    }
    Ok(CpuList(cpus))
}

/// What goes over a connection.
#[derive(Clone)]
pub enum Workload {
    /// Batches.
    Produce(Arc<produce::Plan>),
    /// Reads as fast as it goes.
    Fetch(Arc<fetch::Plan>),
    /// Reads what producers of the same run send.
    Read(Arc<end_to_end::Plan>),
    /// Introduces itself and stays.
    Idle,
}

impl Workload {
    /// Whether a request counts by when it should have left.
    fn is_open(&self) -> bool {
        match self {
            Workload::Produce(plan) => plan.is_open(),
            Workload::Fetch(plan) => plan.is_open(),
            Workload::Read(_) => true,
            Workload::Idle => false,
        }
    }
}

/// A connection to be opened and the partitions that it serves.
#[derive(Clone)]
pub struct Lane {
    pub leader: SocketAddr,
    pub targets: Vec<Target>,
    pub workload: Workload,
    /// Which part of the result it counts for.
    pub role: usize,
    /// Its number among `of` connections like it.
    pub at: usize,
    pub of: usize,
    /// Who it is, if it is an idempotent producer.
    pub producer: Option<ProducerId>,
    /// And if it is a transactional one.
    pub transactional: Option<Transactional>,
}

/// Spreads partitions over connections: each to its leader, each connection its share in turn; if there are more
/// connections than partitions, several share one.
pub fn lanes(targets: &[Target], connections: usize, workload: &Workload) -> Vec<Lane> {
    let mut leaders: Vec<SocketAddr> = targets.iter().map(|target| target.leader).collect();
    leaders.sort_unstable();
    leaders.dedup();
    let mut lanes = Vec::with_capacity(connections);
    for (at, leader) in leaders.iter().enumerate() {
        let led: Vec<&Target> = targets
            .iter()
            .filter(|target| target.leader == *leader)
            .collect();
        // Connections at, at + leaders, at + 2 leaders, … go to this one.
        let count = (at..connections).step_by(leaders.len()).count();
        for lane in 0..count {
            let share = led
                .iter()
                .skip(lane % led.len())
                .step_by(count)
                .map(|target| (*target).clone());
            lanes.push(Lane {
                leader: *leader,
                targets: share.collect(),
                workload: workload.clone(),
                role: 0,
                at: lanes.len(),
                of: connections,
                producer: None,
                transactional: None,
            });
        }
    }
    lanes
}

/// Runs the load and returns what was measured between warm-up and end, for each of `roles`.
pub fn run(
    options: &LoadOptions,
    lanes: Vec<Lane>,
    roles: &[&'static str],
) -> Result<Measured, Fault> {
    if lanes.is_empty() {
        return Err("--connections must be at least 1".into());
    }
    let cpus: Vec<Option<usize>> = match &options.cpus {
        Some(CpuList(cpus)) => cpus.iter().copied().map(Some).collect(),
        None => vec![None],
    };
    let threads = cpus.len().min(lanes.len());
    // Nobody starts before all are connected; the clock of all starts then.
    let (ready, connected) = mpsc::channel();
    let mut starters = Vec::new();
    let broker_before = options.pid.map(Process::read).transpose()?;
    let connecting = Instant::now();
    let mut progress = Progress::new();
    let mut running = Vec::new();
    for (at, cpu) in cpus.into_iter().take(threads).enumerate() {
        let (starter, go) = mpsc::channel();
        starters.push(starter);
        let job = Job {
            lanes: lanes.iter().skip(at).step_by(threads).cloned().collect(),
            roles: roles.len(),
            warm_up: Duration::try_from_secs_f64(options.warm_up)?,
            duration: Duration::try_from_secs_f64(options.duration)?,
            ready: ready.clone(),
            go,
            live: progress.thread(),
        };
        let core = CoreOptions {
            cpu,
            name: format!("load-{at}"),
            scratch_dirs: vec![std::env::temp_dir()],
            ..CoreOptions::default()
        };
        running.push(start(core, move |ring| job.run(ring))?);
    }
    drop(ready);
    if !all_connected(&connected, &running) {
        drop(starters);
        return Err(first_fault(running));
    }
    let connecting = connecting.elapsed();
    for starter in starters {
        // A thread that is gone by now is found when it is joined.
        let _ = starter.send(());
    }
    progress.wait("warm-up", Duration::try_from_secs_f64(options.warm_up)?);
    let (broker, own) = (
        options.pid.map(Process::read).transpose()?,
        Process::read(std::process::id())?,
    );
    let began = Instant::now();
    progress.wait("measuring", Duration::try_from_secs_f64(options.duration)?);
    let elapsed = began.elapsed();
    // A broker that died under the load is worth a report, too.
    let broker = broker.and_then(|before| Some(Process::read(options.pid?).ok()?.since(before)));
    let own = Process::read(std::process::id())?.since(own);
    let mut parts: Vec<_> = roles.iter().map(|role| (*role, Counts::new())).collect();
    for thread in running {
        let one = thread.join().map_err(|_| "a load thread panicked")?;
        for (sum, counts) in parts.iter_mut().zip(one?) {
            sum.1.add(&counts);
        }
    }
    Ok(Measured {
        parts,
        window: options.duration,
        elapsed,
        connecting,
        connections: lanes.len(),
        broker_before,
        broker,
        own,
    })
}

/// Waits for all threads. `false`: one has ended before it was connected, by an error or a panic.
fn all_connected<T>(connected: &Receiver<()>, running: &[CoreThread<T>]) -> bool {
    let mut waiting = running.len();
    while waiting > 0 {
        match connected.recv_timeout(LOOK) {
            Ok(()) => waiting -= 1,
            Err(RecvTimeoutError::Timeout) if !running.iter().any(CoreThread::is_finished) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Why the load did not start. Threads that were ready end with the drop of their starters: that is not the reason.
fn first_fault<T>(running: Vec<CoreThread<Result<T, Fault>>>) -> Fault {
    let ended = running.into_iter().map(CoreThread::join);
    let mut fault: Fault = "the load did not start".into();
    for outcome in ended {
        match outcome {
            Err(_) => return "a load thread panicked".into(),
            Ok(Err(cause)) if !cause.is::<mpsc::RecvError>() => return cause,
            Ok(Err(cause)) => fault = cause,
            Ok(Ok(_)) => {}
        }
    }
    fault
}

/// One thread's part.
struct Job {
    lanes: Vec<Lane>,
    roles: usize,
    warm_up: Duration,
    duration: Duration,
    ready: Sender<()>,
    go: Receiver<()>,
    live: Arc<Live>,
}

impl Job {
    async fn run(self, ring: Ring) -> Result<Vec<Counts>, Fault> {
        let sockets = self.connect(&ring).await?;
        self.ready.send(())?;
        // Blocks this thread, which has nothing to do before the others are connected.
        self.go.recv()?;
        let tallies: Vec<Rc<Tally>> = (0..self.roles)
            .map(|role| {
                let mut lanes = self.lanes.iter().filter(|lane| lane.role == role);
                let open = lanes.any(|lane| lane.workload.is_open());
                Rc::new(Tally::new(open, self.live.clone()))
            })
            .collect();
        let stop = Rc::new(Stop::default());
        let live = Rc::new(Cell::new(sockets.len()));
        for (socket, lane) in sockets.into_iter().zip(self.lanes) {
            let tally = tallies[lane.role].clone();
            let who = lane.transactional.as_ref();
            let committed = who.map(|who| tallies[who.role].clone());
            let (inner, stop, live) = (ring.clone(), stop.clone(), live.clone());
            ring.spawn(async move {
                let driven = match committed {
                    Some(committed) => {
                        let tallies = [&tally, &committed];
                        transactions::drive(&inner, socket, &lane, tallies, &stop).await
                    }
                    None => drive(&inner, socket, &lane, &tally, &stop).await,
                };
                if let Err(fault) = driven {
                    tally.lost(&fault);
                }
                live.set(live.get() - 1);
            });
        }
        ring.sleep(self.warm_up).await;
        tallies.iter().for_each(|tally| tally.begin());
        ring.sleep(self.duration).await;
        tallies.iter().for_each(|tally| tally.end());
        stop.stop();
        let patience = Instant::now() + DRAIN_PATIENCE;
        while live.get() > 0 && Instant::now() < patience {
            ring.sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..live.get() {
            let seconds = DRAIN_PATIENCE.as_secs();
            tallies[0].lost(&format!("no answer within {seconds} s of the end").into());
        }
        Ok(tallies.iter().map(|tally| tally.take()).collect())
    }

    async fn connect(&self, ring: &Ring) -> Result<Vec<Socket>, Fault> {
        let mut sockets = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let connected = Socket::connect(ring, lane.leader).await;
            sockets.push(connected.map_err(|error| {
                format!(
                    "{}: {error}, after {} connections",
                    lane.leader,
                    sockets.len()
                )
            })?);
        }
        Ok(sockets)
    }
}

/// What a connection does until `stop`.
async fn drive(
    ring: &Ring,
    socket: Socket,
    lane: &Lane,
    tally: &Rc<Tally>,
    stop: &Stop,
) -> Result<(), Fault> {
    match &lane.workload {
        Workload::Produce(plan) => produce::drive(ring, socket, plan, lane, tally, stop).await,
        Workload::Fetch(plan) => fetch::drive(ring, socket, plan, lane, tally, stop).await,
        Workload::Read(plan) => end_to_end::read(ring, socket, plan, lane, tally, stop).await,
        Workload::Idle => swarm::stay(socket, tally, stop).await,
    }
}

/// Tells the connections of one thread that the time is over.
#[derive(Default)]
pub struct Stop {
    stopped: Cell<bool>,
    watched: RefCell<Vec<(Rc<Window>, Socket)>>,
}

impl Stop {
    /// This window is to be stopped, too, and its connection closed if nothing is in flight: its sender may be asleep.
    pub fn watch(&self, window: &Rc<Window>, socket: &Socket) {
        let watched = (window.clone(), socket.clone());
        self.watched.borrow_mut().push(watched);
    }

    /// Whether the time is over.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    fn stop(&self) {
        self.stopped.set(true);
        for (window, socket) in self.watched.borrow().iter() {
            window.stop();
            if window.in_flight() == 0 {
                socket.shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(count: i32) -> Vec<Target> {
        (0..count)
            .map(|partition| Target {
                topic: "t".into(),
                partition,
                leader: ([127, 0, 0, 1], 9092 + (partition % 2) as u16).into(),
            })
            .collect()
    }

    #[test]
    fn every_partition_is_served_and_by_a_connection_to_its_leader() {
        for (partitions, connections) in [(2, 2), (16, 64), (64, 16), (7, 3), (2000, 64)] {
            let lanes = lanes(&targets(partitions), connections, &Workload::Idle);
            assert_eq!(lanes.len(), connections);
            let mut served: Vec<i32> = Vec::new();
            for lane in &lanes {
                assert!(!lane.targets.is_empty());
                assert!(
                    lane.targets
                        .iter()
                        .all(|target| target.leader == lane.leader)
                );
                served.extend(lane.targets.iter().map(|target| target.partition));
            }
            served.sort_unstable();
            served.dedup();
            assert_eq!(
                served,
                (0..partitions).collect::<Vec<_>>(),
                "{partitions} over {connections}"
            );
        }
    }

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpu_list("0,2-4").unwrap().0, [0, 2, 3, 4]);
        assert!(cpu_list("1-x").is_err());
    }
}
