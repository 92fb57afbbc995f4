//! Threads, their connections and the clock of a run.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use millstream_ring::{CoreOptions, Ring, Socket, start};

use crate::cluster::Target;
use crate::report::{Counts, Measured, Process, Tally};
use crate::{Fault, fetch, produce};

/// How long answers may take once the time is over.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

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
    pub json: Option<std::path::PathBuf>,
}

/// CPUs by number.
#[derive(Clone, Debug)]
pub struct CpuList(Vec<usize>);

fn cpu_list(text: &str) -> Result<CpuList, String> {
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
    Produce(Arc<produce::Plan>),
    Fetch(Arc<fetch::Plan>),
}

/// A connection to be opened and the partitions that it serves.
#[derive(Clone, Debug)]
struct Lane {
    leader: SocketAddr,
    targets: Vec<Target>,
}

/// Spreads partitions over connections: each to its leader, each connection its share in turn; if there are more
/// connections than partitions, several share one.
fn lanes(targets: &[Target], connections: usize) -> Vec<Lane> {
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
            });
        }
    }
    lanes
}

/// Runs the load and returns what was measured between warm-up and end.
pub fn run(
    options: &LoadOptions,
    targets: &[Target],
    workload: &Workload,
) -> Result<Measured, Fault> {
    if options.connections == 0 {
        return Err("--connections must be at least 1".into());
    }
    let cpus: Vec<Option<usize>> = match &options.cpus {
        Some(CpuList(cpus)) => cpus.iter().copied().map(Some).collect(),
        None => vec![None],
    };
    let lanes = lanes(targets, options.connections);
    let threads = cpus.len().min(lanes.len());
    // Nobody starts before all are connected; the clock of all starts then.
    let barrier = Arc::new(Barrier::new(threads + 1));
    let mut running = Vec::new();
    for (at, cpu) in cpus.into_iter().take(threads).enumerate() {
        let job = Job {
            lanes: lanes.iter().skip(at).step_by(threads).cloned().collect(),
            workload: workload.clone(),
            warm_up: Duration::try_from_secs_f64(options.warm_up)?,
            duration: Duration::try_from_secs_f64(options.duration)?,
            barrier: barrier.clone(),
        };
        let core = CoreOptions {
            cpu,
            name: format!("load-{at}"),
            scratch_dirs: vec![std::env::temp_dir()],
            ..CoreOptions::default()
        };
        running.push(start(core, move |ring| job.run(ring))?);
    }
    barrier.wait();
    std::thread::sleep(Duration::try_from_secs_f64(options.warm_up)?);
    let (broker, own) = (
        options.pid.map(Process::read).transpose()?,
        Process::read(std::process::id())?,
    );
    let began = Instant::now();
    std::thread::sleep(Duration::try_from_secs_f64(options.duration)?);
    let elapsed = began.elapsed();
    // A broker that died under the load is worth a report, too.
    let broker = broker.and_then(|before| Some(Process::read(options.pid?).ok()?.since(before)));
    let own = Process::read(std::process::id())?.since(own);
    let mut counts = Counts::new();
    for thread in running {
        let one = thread.join().map_err(|_| "a load thread panicked")?;
        counts.add(&one?);
    }
    Ok(Measured {
        counts,
        window: options.duration,
        elapsed,
        broker,
        own,
    })
}

/// One thread's part.
struct Job {
    lanes: Vec<Lane>,
    workload: Workload,
    warm_up: Duration,
    duration: Duration,
    barrier: Arc<Barrier>,
}

impl Job {
    async fn run(self, ring: Ring) -> Result<Counts, Fault> {
        let mut sockets = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            match Socket::connect(&ring, lane.leader).await {
                Ok(socket) => sockets.push(socket),
                Err(error) => {
                    self.barrier.wait();
                    return Err(format!("{}: {error}", lane.leader).into());
                }
            }
        }
        let tally = Rc::new(Tally::new());
        let stop = Rc::new(Stop::default());
        let live = Rc::new(Cell::new(sockets.len()));
        // Blocks this thread, which has nothing to do before the others are connected.
        self.barrier.wait();
        for (socket, lane) in sockets.into_iter().zip(self.lanes) {
            let (workload, tally, stop, live) = (
                self.workload.clone(),
                tally.clone(),
                stop.clone(),
                live.clone(),
            );
            let inner = ring.clone();
            ring.spawn(async move {
                let ended = match workload {
                    Workload::Produce(plan) => {
                        produce::drive(&inner, socket, &plan, &lane.targets, &tally, &stop).await
                    }
                    Workload::Fetch(plan) => {
                        fetch::drive(&inner, socket, &plan, &lane.targets, &tally, &stop).await
                    }
                };
                if let Err(fault) = ended {
                    tally.lost(&fault);
                }
                live.set(live.get() - 1);
            });
        }
        ring.sleep(self.warm_up).await;
        tally.begin();
        ring.sleep(self.duration).await;
        tally.end();
        stop.stop();
        let patience = Instant::now() + DRAIN_PATIENCE;
        while live.get() > 0 && Instant::now() < patience {
            ring.sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..live.get() {
            tally.lost(
                &format!("no answer within {} s of the end", DRAIN_PATIENCE.as_secs()).into(),
            );
        }
        Ok(tally.take())
    }
}

/// Tells the connections of one thread that the time is over.
#[derive(Default)]
pub struct Stop {
    stopped: Cell<bool>,
    windows: std::cell::RefCell<Vec<Rc<crate::connection::Window>>>,
}

impl Stop {
    /// This window is to be stopped, too.
    pub fn watch(&self, window: &Rc<crate::connection::Window>) {
        self.windows.borrow_mut().push(window.clone());
    }

    /// Whether the time is over.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    fn stop(&self) {
        self.stopped.set(true);
        for window in self.windows.borrow().iter() {
            window.stop();
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
            let lanes = lanes(&targets(partitions), connections);
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
