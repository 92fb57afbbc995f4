//! A simulated disk and core, for tests: everything above the ring runs on them unchanged.
//!
//! [`run`] is [`crate::block_on`] on one simulated core: it gives a [`Ring`](crate::Ring) whose files, names, locks and
//! timers are simulated. Everything that happens follows from the seed, so a run can be repeated exactly.
//!
//! # What is simulated
//!
//! - *Time.* A clock that jumps to the next event when no task can run; a run that waits for nothing any more has
//!   ended as [`End::Idle`], and one that goes on for ever as [`End::TimeLimit`]: a hang is a result.
//! - *Completions* come in random order, each operation after a random time, some after a very long one.
//! - *Durability.* A write changes what the program sees; it becomes durable by a sync of that file that *started* after the
//!   write had completed. That goes for the length and extents of a file too. A name (create, rename, unlink) becomes
//!   durable by a sync of its directory alone, each independent of the others; a rename is atomic.
//! - *Power cuts* ([`Cut`]): each operation on its way has happened or not; of what is not durable, each change is there,
//!   lost, or torn at any 512 byte sectors, independently of the order they were made in.
//! - *Faults* ([`Fault`]): reads, writes, syncs and changes of names that fail. A failed sync loses what it should have made
//!   durable, and reports that once, as Linux does.
//! - *Space*: counted in pages; a full disk says ENOSPC to whoever wants more.
//! - *Rot*: [`Disk::damage`].
//! - *Direct I/O* refuses what is not aligned.
//!
//! # What is not
//!
//! Several cores at once, the network, memory pressure, short reads and writes, a read that sees half of a write on its
//! way, hard and symbolic links, permissions. Listing a directory, the length of an open file, free space and locks answer at once.

mod content;
mod crash;
mod cut;
mod disk;
mod executor;
mod fault;
pub(crate) mod file;
pub(crate) mod op;
pub(crate) mod world;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

pub use cut::{Cut, OnCut, Stage};
pub use disk::Disk;
pub use fault::{Fault, Kind};
use world::{Entered, World};

use crate::ring::Ring;

/// 2026-01-01 00:00 UTC.
const WALL_MS: i64 = 1_767_225_600_000;
/// Far longer than anything may wait for anything.
const LIMIT: Duration = Duration::from_secs(3600);

/// How to run.
pub struct Options {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// The disk at the start.
    pub disk: Disk,
    /// The wall clock at the start, in Unix milliseconds.
    pub wall_ms: i64,
    /// The simulated time after which the run is given up.
    pub limit: Duration,
    /// Called at each moment at which a power cut would leave something new.
    pub on_cut: Option<OnCut>,
}

impl Options {
    /// A run on `disk`, without cuts.
    pub fn new(seed: u64, disk: Disk) -> Options {
        Options {
            seed,
            disk,
            wall_ms: WALL_MS,
            limit: LIMIT,
            on_cut: None,
        }
    }
}

/// Why a run ended before its main task did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Everybody waits, and nothing is on its way.
    Idle,
    /// The clock went past the limit.
    TimeLimit,
}

/// A finished run.
pub struct Outcome<T> {
    /// What the main task returned, or why it did not.
    pub value: Result<T, End>,
    /// The disk as a killed process leaves it: with everything it has written.
    pub disk: Disk,
    /// Simulated time it took.
    pub took: Duration,
    /// Syncs of files of which a sync had failed before: there should be none.
    pub syncs_after_failure: u64,
}

/// The hands of a test on a running simulation.
#[derive(Clone)]
pub struct Controls(Rc<World>);

impl Controls {
    /// Lets an operation fail.
    pub fn fail(&self, fault: Fault) {
        self.0.add_fault(fault);
    }

    /// Changes the disk while the program runs.
    pub fn disk<T>(&self, change: impl FnOnce(&mut Disk) -> T) -> T {
        change(&mut self.0.disk.borrow_mut())
    }

    /// This moment, as one at which the power fails.
    pub fn power_cut(&self) -> Cut {
        self.0.moment(Stage::Done, String::new())
    }

    /// See [`Outcome::syncs_after_failure`].
    pub fn syncs_after_failure(&self) -> u64 {
        self.0.syncs_after_failure()
    }
}

/// Runs `main` on a simulated core to its end, or until nothing can happen any more. Other tasks are dropped then.
pub fn run<F, Fut, T>(options: Options, main: F) -> Outcome<T>
where
    F: FnOnce(Ring, Controls) -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    let limit = options.limit;
    let world = Rc::new(World::new(options));
    let entered = Entered::new(&world);
    let value: Rc<RefCell<Option<T>>> = Rc::default();
    let place = value.clone();
    let main = main(Ring::simulated(world.clone()), Controls(world.clone()));
    world.spawn(false, async move {
        let done = main.await;
        *place.borrow_mut() = Some(done);
    });
    let end = world.run_until(|| value.borrow().is_some(), limit);
    drop(entered);
    let value = value.borrow_mut().take();
    let disk = world.disk.borrow().clone().settled();
    Outcome {
        value: value.ok_or(end.unwrap_or(End::Idle)),
        disk,
        took: world.now(),
        syncs_after_failure: world.syncs_after_failure(),
    }
}
