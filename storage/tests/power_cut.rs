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
use millstream_storage::{Stopped, StorageOptions, Store, open};
use model::{Found, Model, verify};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use workload::{Shared, Workload};

const DIR: &str = "/data";
const DISK_BYTES: u64 = 8 << 30;
/// Cuts of the test command.
const CUTS: u64 = 20_000;
/// Lives of a process on one disk: a start, work, and a clean stop or a power cut.
const SESSIONS: u64 = 6;
const STEPS: usize = 30;

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

fn options() -> StorageOptions {
    let mut options = StorageOptions::new(vec![DIR.into()]);
    options.cluster_id = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    options.journal_file_bytes = 4 << 20;
    options.journal_files = 3;
    options.tail_bytes = 3 << 20;
    options.descriptors_max = 64;
    options.reserve_bytes = Some(0);
    options
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
    disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
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
    topics: Rc<RefCell<u8>>,
    started: Rc<Cell<bool>>,
    mut rng: ChaCha8Rng,
) -> Option<Disk> {
    let store = Rc::new(start(&ring).await);
    let expected = model.borrow().clone();
    let found = verify(&store, &expected).await;
    model.borrow_mut().retain(|n, _| found.contains_key(n));
    for (n, log) in model.borrow_mut().iter_mut() {
        log.cut_to(&found[n]);
    }
    started.set(true);
    let clean = rng.random_ratio(1, 3);
    let seed = rng.random();
    let mut workload = Workload {
        ring: ring.clone(),
        store: store.clone(),
        model,
        rng,
        topics,
    };
    workload.listen();
    for _ in 0..STEPS {
        workload.step().await;
    }
    if !clean {
        return Some(controls.power_cut().disk(seed));
    }
    let stopped = store.stop().await.expect("stops");
    Stopped::finish(vec![stopped], &ring)
        .await
        .expect("is marked clean");
    let mut model = workload.model.borrow_mut();
    model.values_mut().for_each(|log| log.acked = log.end());
    None
}

async fn start(ring: &Ring) -> Store {
    let opened = open(ring, options()).await.expect("opens");
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let seed = seeds.into_iter().next().expect("one core");
    let store = Store::start(ring, seed).await.expect("starts");
    finish.run(ring).await.expect("has authority");
    store
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
        let model = self.model.borrow().clone();
        let (found, again) = recovered(cut.disk(seed), &model, seed);
        if !self.started.get() {
            assert_eq!(found, self.before, "a recovery that was cut short");
        }
        let model = after(model, &found);
        let second = recovered(again, &model, seed + 1).0;
        assert_eq!(second, found, "a second recovery");
    }
}

/// What the logs must contain once they were found like this.
fn after(mut model: Model, found: &BTreeMap<i32, Found>) -> Model {
    model.retain(|n, _| found.contains_key(n));
    for (n, log) in &mut model {
        log.cut_to(&found[n]);
    }
    model
}

/// After a clean stop Kafka's files alone, without our table, tell the same.
fn scanned(disk: Disk, model: &Model, seed: u64) {
    let model = model.clone();
    let outcome = sim::run(Options::new(seed, disk), move |ring, _| async move {
        for entry in fs::list(Path::new(DIR)).expect("lists") {
            let name = entry.name.to_string_lossy().into_owned();
            if name.starts_with(".millstream-table") {
                let path = Path::new(DIR).join(name);
                fs::unlink(&ring, &path).await.expect("removes");
            }
        }
        let opened = open(&ring, options()).await.expect("opens");
        assert!(opened.logs().all(|log| log.adopted), "read as Kafka's");
        let (seeds, _finish) = opened.divide(1, |_| Some(0));
        let seed = seeds.into_iter().next().expect("one core");
        let store = Store::start(&ring, seed).await.expect("starts");
        verify(&store, &model).await;
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
        let store = start(&ring).await;
        let found = verify(&store, &model).await;
        (found, controls.power_cut().disk(again_seed))
    });
    match outcome.value {
        Ok((found, last)) => (found, again.take().unwrap_or(last)),
        Err(end) => panic!("the start hangs: {end:?} after {:?}", outcome.took),
    }
}
