//! One run: its clock, its tasks, the operations on their way, and the disk they go to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::future::{Future, poll_fn};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cut::{Cut, OnCut, Stage};
use super::disk::{Disk, InodeId};
use super::executor::Tasks;
use super::fault::{Fault, Faults, Kind};
use super::op::{Answer, Pending, Request};
use super::{End, Options};
use crate::ring::Ring;
use crate::timers::Timers;

/// What computing costs: a task that only yields must not stop the clock.
const POLL_TIME: Duration = Duration::from_micros(1);
/// So long after its failure a sync's caller has surely run, and told the others.
const NEWS_TIME: Duration = Duration::from_millis(1);
/// A task in so many is from the background although data tasks can run.
const BACKGROUND_SHARE: u32 = 8;

pub(crate) struct World {
    pub disk: RefCell<Disk>,
    pub timers: Timers,
    /// Paths of locks that are held. Shared with the locks, which may leave the thread.
    pub locks: Arc<Mutex<HashSet<PathBuf>>>,
    now: Cell<Duration>,
    wall_ms: i64,
    rng: RefCell<ChaCha8Rng>,
    tasks: RefCell<Tasks>,
    flights: RefCell<BTreeMap<(Duration, u64), Flight>>,
    next_flight: Cell<u64>,
    faults: RefCell<Faults>,
    /// Syncs of files of which a sync had failed before: nobody may try that.
    syncs_after_failure: Cell<u64>,
    /// When a sync of a file failed last.
    sync_failures: RefCell<BTreeMap<InodeId, Duration>>,
    on_cut: RefCell<Option<OnCut>>,
    cuts: Cell<u64>,
    ending: Cell<bool>,
}

/// An operation on its way.
struct Flight {
    request: Request,
    answer: Rc<RefCell<Answer>>,
}

impl World {
    pub fn new(options: Options) -> World {
        let mut disk = options.disk;
        disk.now_ms = options.wall_ms;
        World {
            disk: RefCell::new(disk),
            timers: Timers::default(),
            locks: Arc::default(),
            now: Cell::new(Duration::ZERO),
            wall_ms: options.wall_ms,
            rng: RefCell::new(ChaCha8Rng::seed_from_u64(options.seed)),
            tasks: RefCell::default(),
            flights: RefCell::default(),
            next_flight: Cell::new(0),
            faults: RefCell::default(),
            syncs_after_failure: Cell::new(0),
            sync_failures: RefCell::default(),
            on_cut: RefCell::new(options.on_cut),
            cuts: Cell::new(0),
            ending: Cell::new(false),
        }
    }

    // --- what a ring offers ---

    pub fn now(&self) -> Duration {
        self.now.get()
    }

    pub fn wall_ms(&self) -> i64 {
        self.wall_ms + self.now.get().as_millis() as i64
    }

    pub fn spawn(&self, background: bool, task: impl Future<Output = ()> + 'static) {
        if !self.ending.get() {
            self.tasks.borrow_mut().add(background, Box::pin(task));
        }
    }

    /// Lets others go first.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Sends an operation on its way.
    pub fn submit(&self, request: Request) -> Pending {
        let answer = Rc::new(RefCell::new(Answer::default()));
        if self.ending.get() {
            return Pending(answer);
        }
        let changes = request.changes();
        if let Request::Sync { file, asked, .. } = &request
            && let Some(failed) = self.sync_failures.borrow().get(&file.inode)
            && *asked > *failed + NEWS_TIME
        {
            let again = self.syncs_after_failure.get() + 1;
            self.syncs_after_failure.set(again);
        }
        let due = self.now.get() + self.latency(&request);
        let number = self.next_flight.get();
        self.next_flight.set(number + 1);
        let what = self.describe_for_cut(&request);
        let flight = Flight {
            request,
            answer: answer.clone(),
        };
        self.flights.borrow_mut().insert((due, number), flight);
        if changes {
            self.cut(Stage::Started, what);
        }
        Pending(answer)
    }

    /// The number of the next change: a sync that starts now covers all before it.
    pub fn next_change(&self) -> u64 {
        self.disk.borrow().next_change
    }

    // --- what a test controls ---

    pub fn add_fault(&self, fault: Fault) {
        self.faults.borrow_mut().add(fault);
    }

    pub fn syncs_after_failure(&self) -> u64 {
        self.syncs_after_failure.get()
    }

    // --- the run ---

    /// Runs until `done`, at most until `limit`.
    pub fn run_until(self: &Rc<Self>, done: impl Fn() -> bool, limit: Duration) -> Option<End> {
        loop {
            self.complete_due();
            let background = self.rng.borrow_mut().random_ratio(1, BACKGROUND_SHARE);
            let running = self.tasks.borrow_mut().next(background);
            if let Some(mut running) = running {
                self.now.set(self.now.get() + POLL_TIME);
                let ended = running.poll();
                // Dropped without a borrow: destructors may come back here.
                let ended = self.tasks.borrow_mut().put_back(running, ended);
                drop(ended);
                if done() {
                    return None;
                }
            } else if let Some(next) = self.next_event() {
                self.now.set(next.max(self.now.get()));
            } else {
                return Some(End::Idle);
            }
            if self.now.get() > limit {
                return Some(End::TimeLimit);
            }
        }
    }

    fn next_event(&self) -> Option<Duration> {
        let flight = self.flights.borrow().keys().next().map(|(due, _)| *due);
        let timer = self.timers.until_next(self.now());
        let timer = (timer != Duration::MAX).then(|| self.now() + timer);
        flight.into_iter().chain(timer).min()
    }

    fn complete_due(&self) {
        let now = self.now.get();
        loop {
            let flight = {
                let mut flights = self.flights.borrow_mut();
                match flights.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => break,
                }
            };
            self.complete(flight);
        }
        self.timers.wake_due(now);
    }

    fn complete(&self, flight: Flight) {
        let request = &flight.request;
        let fault = self
            .faults
            .borrow_mut()
            .strike(request.kind(), request.path());
        let reply = {
            let mut disk = self.disk.borrow_mut();
            disk.now_ms = self.wall_ms();
            match (fault, request) {
                (None, _) => request.apply(&mut disk),
                (Some(error), Request::Sync { file, .. }) => {
                    disk.lose_pending(file.inode);
                    let mut failures = self.sync_failures.borrow_mut();
                    failures.insert(file.inode, self.now.get());
                    Err(error)
                }
                (Some(error), _) => Err(error),
            }
        };
        if request.changes() {
            let what = self.describe_for_cut(request);
            self.cut(Stage::Done, what);
        }
        let waker = flight.answer.borrow_mut().put(reply);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets the test look at the disk as it would be if the power failed now.
    fn cut(&self, stage: Stage, what: String) {
        let Some(mut on_cut) = self.on_cut.borrow_mut().take() else {
            return;
        };
        let cut = self.moment(stage, what);
        self.cuts.set(cut.number + 1);
        on_cut(cut);
        *self.on_cut.borrow_mut() = Some(on_cut);
    }

    /// This moment, as one at which the power may fail.
    pub fn moment(&self, stage: Stage, what: String) -> Cut {
        let flights = self.flights.borrow();
        let requests = flights.values().map(|flight| flight.request.clone());
        Cut {
            number: self.cuts.get(),
            stage,
            what,
            disk: self.disk.borrow().clone(),
            flying: requests.filter(Request::changes).collect(),
        }
    }

    fn describe_for_cut(&self, request: &Request) -> String {
        match &*self.on_cut.borrow() {
            Some(_) => request.describe(),
            None => String::new(),
        }
    }

    fn latency(&self, request: &Request) -> Duration {
        let mut rng = self.rng.borrow_mut();
        let micros = match request.kind() {
            Kind::Read => rng.random_range(20..200),
            Kind::Write => rng.random_range(20..400),
            Kind::Sync | Kind::SyncDir => rng.random_range(50..2000),
            Kind::Metadata => rng.random_range(10..300),
        };
        // Now and then one takes far longer than all the others.
        let slow = if rng.random_ratio(1, 50) { 30 } else { 1 };
        Duration::from_micros(micros * slow)
    }

    /// Drops every task and operation: they refer to this world, and it to them.
    pub fn end(&self) {
        self.ending.set(true);
        let tasks = self.tasks.borrow_mut().take_all();
        drop(tasks);
        let flights = std::mem::take(&mut *self.flights.borrow_mut());
        drop(flights);
        let on_cut = self.on_cut.borrow_mut().take();
        drop(on_cut);
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<Rc<World>>> = const { RefCell::new(Vec::new()) };
}

/// The world whose tasks this thread runs, for what has no ring at hand.
pub(crate) fn current() -> Option<Rc<World>> {
    CURRENT.with(|current| current.borrow().last().cloned())
}

/// Makes a world the current one for as long as it lives. Runs may be nested: a test looks into a power cut
/// of one run by another.
pub(super) struct Entered(Rc<World>);

impl Entered {
    pub fn new(world: &Rc<World>) -> Entered {
        CURRENT.with(|current| current.borrow_mut().push(world.clone()));
        Entered(world.clone())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // In this order: destructors of tasks may look for their world.
        self.0.end();
        CURRENT.with(|current| current.borrow_mut().pop());
    }
}

/// A lock file's lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    locks: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Lock {
    /// `None`: somebody holds it. Nobody can let go while this thread waits, so it does not.
    pub fn acquire(world: &Rc<World>, path: PathBuf) -> io::Result<Option<Lock>> {
        let how = crate::file::Open {
            read: true,
            write: true,
            create: true,
            ..Default::default()
        };
        let inode = world.disk.borrow_mut().open(&path, how)?;
        world.disk.borrow_mut().close(inode);
        let mut held = world.locks.lock().expect("no holder panics");
        let free = held.insert(path.clone());
        drop(held);
        Ok(free.then(|| Lock {
            path,
            locks: world.locks.clone(),
        }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Ok(mut held) = self.locks.lock() {
            held.remove(&self.path);
        }
    }
}

impl Ring {
    /// The ring of a simulated core.
    pub(super) fn simulated(world: Rc<World>) -> Ring {
        Ring::from_world(world)
    }
}
