//! Many lives of a process on one disk: each works until its journals have gone round several times and ends at any moment,
//! by a kill, a power cut or a clean stop; the next one has another number of cores, and finds what was acknowledged.
//!
//! Where `power_cut.rs` looks into every moment of short lives, here the lives are long and there are many of them.
//! `MILLSTREAM_DISKS` says how many disks are lived on. A failure prints `MILLSTREAM_SEED`, which repeats that disk alone.

#[path = "power_cut/model.rs"]
mod model;
#[path = "power_cut/workload.rs"]
mod workload;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millstream_ring::Ring;
use millstream_ring::sim::{self, Controls, Disk, Options};
use millstream_storage::LogConfig;
use model::{Stores, config, cut_to, options, verify};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use workload::{Shared, Workload, listen};

const DIRS: [&str; 2] = ["/one", "/two"];
const DISK_BYTES: u64 = 8 << 30;
/// Disks of the test command.
const DISKS: u64 = 60;
const LIVES: u64 = 8;
const CORES: usize = 3;
/// Tasks that work at the same time, each on logs of its own.
const TASKS: i32 = 3;
const LOGS_OF_TASK: i32 = 2;
/// A life that is not cut short in its start lasts so long at most.
const LIFE_MS_MAX: u64 = 1500;

#[test]
fn what_is_acknowledged_outlives_every_end() {
    let only = environment("MILLSTREAM_SEED");
    if let Some(seed) = only {
        // Why a directory went offline stands in the log only.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        return one_disk(seed);
    }
    let first: u64 = rand::random::<u32>().into();
    let end = first + environment("MILLSTREAM_DISKS").unwrap_or(DISKS);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let result = std::panic::catch_unwind(|| one_disk(seed));
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    assert!(!failed.into_inner(), "see above");
}

fn environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok();
    value.and_then(|value| value.parse().ok())
}

/// Where the test stands; printed when it fails there.
struct Position {
    seed: u64,
    life: u64,
}

impl Drop for Position {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("MILLSTREAM_SEED={}, in life {}", self.seed, self.life);
        }
    }
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The process is killed: what was on its way still comes to the device.
    Kill,
    PowerCut,
    CleanStop,
}

fn one_disk(seed: u64) {
    let mut disk = Disk::new(DISK_BYTES);
    for dir in DIRS {
        disk.create_dir_all(Path::new(dir)).expect("an empty disk");
    }
    let model: Shared = Rc::default();
    let topics = Rc::new(RefCell::new(0));
    for life in 0..LIVES {
        let _position = Position { seed, life };
        let (model, topics) = (model.clone(), topics.clone());
        let rng = ChaCha8Rng::seed_from_u64(seed ^ (life << 48));
        let options = Options::new(seed ^ (life << 32), disk);
        let outcome = sim::run(options, move |ring, controls| {
            live(ring, controls, model, topics, rng)
        });
        disk = match outcome.value {
            Ok(Some(disk)) => disk,
            Ok(None) => outcome.disk,
            Err(end) => panic!("it hangs: {end:?} after {:?}", outcome.took),
        };
    }
}

/// One life. Answers the disk that it leaves when it does not end by itself.
async fn live(
    ring: Ring,
    controls: Controls,
    model: Shared,
    topics: Rc<RefCell<u32>>,
    mut rng: ChaCha8Rng,
) -> Option<Disk> {
    let end = match rng.random_range(0..4) {
        0 => End::Kill,
        1 | 2 => End::PowerCut,
        _ => End::CleanStop,
    };
    // Now and then not even the start is completed.
    let time = match rng.random_range(0..8) {
        0 if end != End::CleanStop => Duration::from_micros(rng.random_range(0..60_000)),
        _ => Duration::from_millis(rng.random_range(20..LIFE_MS_MAX)),
    };
    let seed = rng.random();
    let stopped = Rc::new(Cell::new(false));
    let life = Life {
        ring: ring.clone(),
        model,
        topics,
        rng,
        time: (end == End::CleanStop).then_some(time),
    };
    let done = stopped.clone();
    ring.spawn(async move {
        life.run().await;
        done.set(true);
    });
    match end {
        End::Kill => {
            ring.sleep(time).await;
            Some(controls.power_cut().killed())
        }
        End::PowerCut => {
            ring.sleep(time).await;
            Some(controls.power_cut().disk(seed))
        }
        End::CleanStop => {
            while !stopped.get() {
                ring.sleep(Duration::from_millis(1)).await;
            }
            None
        }
    }
}

struct Life {
    ring: Ring,
    model: Shared,
    topics: Rc<RefCell<u32>>,
    rng: ChaCha8Rng,
    /// It stops by itself after so long.
    time: Option<Duration>,
}

impl Life {
    async fn run(mut self) {
        let (cores, first) = (
            self.rng.random_range(1..=CORES),
            self.rng.random_range(0..CORES),
        );
        let mut options = options(&DIRS);
        options.journal_files = self.rng.random_range(3..=4);
        let stores = Rc::new(Stores::start(&self.ring, options, cores, first).await);
        let expected = self.model.borrow().clone();
        let found = verify(stores.all(), &expected).await;
        cut_to(&mut self.model.borrow_mut(), &found);
        listen(&stores, &self.model);
        let (ending, working) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(TASKS)));
        for task in 0..TASKS {
            let mut workload = self.workload(&stores, task);
            workload.adopt();
            let (ending, working) = (ending.clone(), working.clone());
            self.ring.spawn(async move {
                while !ending.get() {
                    workload.step().await;
                }
                working.set(working.get() - 1);
            });
        }
        let Some(time) = self.time else {
            return std::future::pending().await;
        };
        self.ring.sleep(time).await;
        ending.set(true);
        while working.get() > 0 {
            self.ring.sleep(Duration::from_millis(1)).await;
        }
        stores.stop(&self.ring).await;
        let mut model = self.model.borrow_mut();
        model.values_mut().for_each(|log| log.acked = log.end());
    }

    fn workload(&mut self, stores: &Rc<Stores>, task: i32) -> Workload {
        let first = task * LOGS_OF_TASK;
        Workload {
            ring: self.ring.clone(),
            stores: stores.clone(),
            model: self.model.clone(),
            rng: ChaCha8Rng::from_rng(&mut self.rng),
            topics: self.topics.clone(),
            logs: first..first + LOGS_OF_TASK,
            dirs: DIRS.len(),
            config: LogConfig {
                segment_bytes: 768 << 10,
                ..config()
            },
            classes: BTreeMap::new(),
            large: 650_000,
        }
    }
}
