//! The power fails at every write, flush and change of a name, and inside each: what was acknowledged is there, in
//! order; nothing is half there; producers are known; and a recovery that is cut short, or repeated, changes nothing.
//!
//! `MILLSTREAM_CUTS` says how many cuts are tried. A failure prints `MILLSTREAM_SEED` and `MILLSTREAM_CUT`; with both
//! set, that cut alone is tried again.

#[path = "power_cut/model.rs"]
mod model;
#[path = "power_cut/workload.rs"]
mod workload;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millstream_ring::sim::{self, Cut, Disk, Options, Stage};
use millstream_ring::{Ring, fs};
use millstream_storage::{Store, open};
use model::{Found, Model, Stores, config, cut_to, options, verify};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use workload::{Shared, Workload, listen};

/// Directories that a life may find its logs in, and put new ones into.
const DIRS: [&str; 2] = ["/one", "/two"];
/// Logs that exist at most.
const LOGS: i32 = 6;
const DISK_BYTES: u64 = 8 << 30;
/// Cuts of the test command.
const CUTS: u64 = 20_000;
/// Lives of a process on one disk: a start, work, and a clean stop or a power cut.
const SESSIONS: u64 = 6;
const STEPS: usize = 30;
/// Cores at most.
const CORES: usize = 3;

#[test]
fn power_fails_at_every_write() {
    let wanted = environment("MILLSTREAM_CUTS").unwrap_or(CUTS);
    let first = environment("MILLSTREAM_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let only = environment("MILLSTREAM_CUT");
    if only.is_some() {
        // Why a directory went offline stands in the log only.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        one_disk(first, only, &AtomicU64::new(0), u64::MAX);
        return;
    }
    let (tried, next, failed) = (
        AtomicU64::new(0),
        AtomicU64::new(first),
        AtomicBool::new(false),
    );
    let work = || {
        while tried.load(Ordering::Relaxed) < wanted && !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let result = std::panic::catch_unwind(|| one_disk(seed, None, &tried, wanted));
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    println!(
        "{} power cuts, from MILLSTREAM_SEED={first} on",
        tried.into_inner()
    );
    assert!(!failed.into_inner(), "see above");
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
}

/// Where the test stands; printed when it fails there.
struct Position {
    seed: u64,
    cut: u64,
    what: String,
}

impl Drop for Position {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Position { seed, cut, what } = self;
            println!("MILLSTREAM_SEED={seed} MILLSTREAM_CUT={cut}: {what}");
        }
    }
}

/// Sessions on one disk; each moment of each is looked into.
fn one_disk(seed: u64, only: Option<u64>, tried: &AtomicU64, wanted: u64) {
    let mut disk = Disk::new(DISK_BYTES);
    for dir in DIRS {
        disk.create_dir_all(Path::new(dir)).expect("an empty disk");
    }
    let model: Shared = Rc::default();
    let topics = Rc::new(RefCell::new(0));
    let cuts = Rc::new(Cell::new(0));
    for session in 0..SESSIONS {
        if tried.load(Ordering::Relaxed) >= wanted {
            return;
        }
        let _position = Position {
            seed,
            cut: cuts.get(),
            what: format!("in session {session} itself"),
        };
        // What recovery finds must be the same however often it is cut short.
        let before = recovered(disk.clone(), &model.borrow(), seed).0;
        let started = Rc::new(Cell::new(false));
        let look = Look {
            seed,
            only,
            model: model.clone(),
            before,
            started: started.clone(),
            cuts: cuts.clone(),
        };
        let mut options = Options::new(seed ^ (session << 32), disk);
        options.on_cut = Some(Box::new(move |cut| look.at(&cut)));
        let (shared, model, topics) = (model.clone(), model.clone(), topics.clone());
        let count = cuts.get();
        let outcome = sim::run(options, move |ring, controls| async move {
            let rng = ChaCha8Rng::seed_from_u64(seed ^ (session << 48));
            live(ring, controls, model, topics, started, rng).await
        });
        disk = match outcome.value {
            Ok(Some(disk)) => disk,
            Ok(None) => {
                scanned(outcome.disk.clone(), &shared.borrow(), seed);
                outcome.disk
            }
            Err(end) => panic!("the work hangs: {end:?} after {:?}", outcome.took),
        };
        tried.fetch_add(cuts.get() - count, Ordering::Relaxed);
    }
}

/// One session. Answers the disk when it ends by a power cut.
async fn live(
    ring: Ring,
    controls: sim::Controls,
    model: Shared,
    topics: Rc<RefCell<u32>>,
    started: Rc<Cell<bool>>,
    mut rng: ChaCha8Rng,
) -> Option<Disk> {
    let stores = Rc::new(start(&ring, &mut rng).await);
    let expected = model.borrow().clone();
    let found = verify(stores.all(), &expected).await;
    cut_to(&mut model.borrow_mut(), &found);
    started.set(true);
    let clean = rng.random_ratio(1, 3);
    let seed = rng.random();
    listen(&stores, &model);
    let mut workload = Workload {
        ring: ring.clone(),
        stores: stores.clone(),
        model,
        rng,
        topics,
        logs: 0..LOGS,
        dirs: DIRS.len(),
        config: config(),
        classes: BTreeMap::new(),
        large: 220_000,
    };
    workload.adopt();
    for _ in 0..STEPS {
        workload.step().await;
    }
    if !clean {
        return Some(controls.power_cut().disk(seed));
    }
    stores.stop(&ring).await;
    let mut model = workload.model.borrow_mut();
    model.values_mut().for_each(|log| log.acked = log.end());
    None
}

/// Each life has a number of cores of its own, and other cores for the logs.
async fn start(ring: &Ring, rng: &mut ChaCha8Rng) -> Stores {
    let (cores, first) = (rng.random_range(1..=CORES), rng.random_range(0..CORES));
    Stores::start(ring, options(&DIRS), cores, first).await
}

/// Looks into power cuts.
struct Look {
    seed: u64,
    only: Option<u64>,
    model: Shared,
    before: BTreeMap<i32, Found>,
    started: Rc<Cell<bool>>,
    cuts: Rc<Cell<u64>>,
}

impl Look {
    fn at(&self, cut: &Cut) {
        let number = self.cuts.get();
        self.cuts.set(number + 1);
        if self.only.is_some_and(|only| only != number) {
            if std::env::var_os("MILLSTREAM_TRACE").is_some() {
                println!("{number}: {:?} {}", cut.stage, cut.what);
            }
            return;
        }
        let stage = match cut.stage {
            Stage::Started => "inside of",
            Stage::Done => "after",
        };
        let _position = Position {
            seed: self.seed,
            cut: number,
            what: format!("{stage} {}", cut.what),
        };
        let seed = self.seed ^ (number << 32);
        let mut model = self.model.borrow().clone();
        let (found, again) = recovered(cut.disk(seed), &model, seed);
        if !self.started.get() {
            assert_eq!(found, self.before, "a recovery that was cut short");
        }
        cut_to(&mut model, &found);
        let second = recovered(again, &model, seed + 1).0;
        assert_eq!(second, found, "a second recovery");
    }
}

/// After a clean stop Kafka's files alone, without our table, tell the same.
fn scanned(disk: Disk, model: &Model, seed: u64) {
    let model = model.clone();
    let outcome = sim::run(Options::new(seed, disk), move |ring, _| async move {
        for dir in DIRS.map(Path::new) {
            for entry in fs::list(dir).expect("lists") {
                let name = entry.name.to_string_lossy().into_owned();
                if name.starts_with(".millstream-table") {
                    fs::unlink(&ring, &dir.join(name)).await.expect("removes");
                }
            }
        }
        let opened = open(&ring, options(&DIRS)).await.expect("opens");
        assert!(opened.logs().all(|log| log.adopted), "read as Kafka's");
        let (seeds, _finish) = opened.divide(1, |_| Some(0));
        let seed = seeds.into_iter().next().expect("one core");
        let store = Store::start(&ring, seed).await.expect("starts");
        verify(&[store], &model).await;
    });
    assert!(outcome.value.is_ok(), "the scan hangs: {:?}", outcome.value);
}

/// Starts on `disk`, and compares. Also answers the disk after a power cut somewhere in that start, or at its end.
fn recovered(disk: Disk, model: &Model, seed: u64) -> (BTreeMap<i32, Found>, Disk) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (at, again_seed) = (rng.random_range(0..80), rng.random());
    let again: Rc<RefCell<Option<Disk>>> = Rc::default();
    let place = again.clone();
    let mut options = Options::new(seed, disk);
    options.on_cut = Some(Box::new(move |cut| {
        if cut.number == at {
            *place.borrow_mut() = Some(cut.disk(again_seed));
        }
    }));
    let model = model.clone();
    let outcome = sim::run(options, move |ring, controls| async move {
        let stores = start(&ring, &mut rng).await;
        let found = verify(stores.all(), &model).await;
        (found, controls.power_cut().disk(again_seed))
    });
    match outcome.value {
        Ok((found, last)) => (found, again.take().unwrap_or(last)),
        Err(end) => panic!("the start hangs: {end:?} after {:?}", outcome.took),
    }
}
