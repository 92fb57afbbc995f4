//! A core's door to the kernel: tasks, time, and the operations in flight.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::TaskQueueHandle;
use io_uring::squeue;
use slab::Slab;

use crate::driver::Round;
use crate::mailbox::Bell;
use crate::op::{Gather, Held, OnDrop, Slot, State, close_result};
use crate::queues::{Queues, Setup};
#[cfg(feature = "simulation")]
use crate::sim::world::World;
use crate::timers::{Sleep, Timers};

/// One core's door to the kernel. Cheap to clone, bound to its thread.
#[derive(Clone)]
pub struct Ring(Backing);

/// What stands behind a ring. The simulation of the tests is a variant, so that no type parameter leaks upward.
#[derive(Clone)]
enum Backing {
    Kernel(Rc<Inner>),
    #[cfg(feature = "simulation")]
    Sim(Rc<World>),
}

pub(crate) struct Inner {
    pub(crate) queues: RefCell<Queues>,
    pub(crate) timers: Timers,
    pub(crate) round: Round,
    /// How often tasks of this core ran: when it stands still, nobody can run.
    pub(crate) polls: Cell<u64>,
    wall_ms: Cell<i64>,
    ending: Cell<bool>,
    /// Every task of this ring by its key, so that the end of the core can cancel them.
    tasks: RefCell<Slab<Option<glommio::Task<()>>>>,
    data_queue: TaskQueueHandle,
    background_queue: TaskQueueHandle,
    pub(crate) bells: RefCell<Slab<Rc<Bell>>>,
}

/// Tasks of the ring itself, started first: the driver and its turning point.
const OWN_TASKS: usize = 2;

impl Ring {
    /// Joins the kernel's side with the running executor and starts the driver.
    pub(crate) fn new(
        setup: Setup,
        data_queue: TaskQueueHandle,
        background_queue: TaskQueueHandle,
    ) -> Ring {
        let ring = Ring(Backing::Kernel(Rc::new(Inner {
            queues: RefCell::new(setup.into_queues()),
            timers: Timers::default(),
            round: Round::default(),
            polls: Cell::new(0),
            wall_ms: Cell::new(0),
            ending: Cell::new(false),
            tasks: RefCell::new(Slab::new()),
            data_queue,
            background_queue,
            bells: RefCell::new(Slab::new()),
        })));
        ring.look_at_clock();
        ring.spawn_uncounted(ring.clone().drive(), data_queue);
        ring.spawn_uncounted(ring.clone().turn_round(), background_queue);
        assert_eq!(
            ring.kernel().tasks.borrow().len(),
            OWN_TASKS,
            "the ring's own tasks have the first keys"
        );
        ring
    }

    /// The kernel's side. A simulated ring has none: it knows files and time, not sockets, signals and other cores.
    pub(crate) fn kernel(&self) -> &Rc<Inner> {
        match &self.0 {
            Backing::Kernel(inner) => inner,
            #[cfg(feature = "simulation")]
            Backing::Sim(_) => panic!("a simulated core has no kernel"),
        }
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn from_world(world: Rc<World>) -> Ring {
        Ring(Backing::Sim(world))
    }

    /// The simulation behind this ring, if it is one.
    #[cfg(feature = "simulation")]
    pub(crate) fn world(&self) -> Option<&Rc<World>> {
        match &self.0 {
            Backing::Kernel(_) => None,
            Backing::Sim(world) => Some(world),
        }
    }

    pub(crate) fn timers(&self) -> &Timers {
        match &self.0 {
            Backing::Kernel(inner) => &inner.timers,
            #[cfg(feature = "simulation")]
            Backing::Sim(world) => &world.timers,
        }
    }

    /// Runs `task` beside the caller, in the queue of the data path. It is dropped when the core ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        #[cfg(feature = "simulation")]
        if let Some(world) = self.world() {
            return world.spawn(false, task);
        }
        self.spawn_into(task, self.kernel().data_queue);
    }

    /// Runs `task` in the queue with few shares: housekeeping that must never hold up data. After each
    /// step of such a task the queues are weighed anew, however many of them could go on.
    pub fn spawn_background(&self, task: impl Future<Output = ()> + 'static) {
        #[cfg(feature = "simulation")]
        if let Some(world) = self.world() {
            return world.spawn(true, task);
        }
        let mut task = Box::pin(task);
        let step_by_step = poll_fn(move |cx| {
            let step = task.as_mut().poll(cx);
            end_turn_of_queue();
            step
        });
        self.spawn_into(step_by_step, self.kernel().background_queue);
    }

    /// Waits for at least `duration`; on a busy core until the tasks before it have had their turn.
    pub async fn sleep(&self, duration: Duration) {
        Sleep::new(self, duration).await;
    }

    /// Waits for `future`, but not much longer than `patience`: then the future is dropped, with what that
    /// means for the operation it waits for, and the answer is `None`.
    pub async fn timeout<F: Future>(&self, patience: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut timer = pin!(Sleep::new(self, patience));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Time since a start that all cores of the process share. Never goes back.
    pub fn now(&self) -> Duration {
        #[cfg(feature = "simulation")]
        if let Some(world) = self.world() {
            return world.now();
        }
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// The wall clock in milliseconds since 1970, as of the present turn. May jump.
    pub fn wall_ms(&self) -> i64 {
        #[cfg(feature = "simulation")]
        if let Some(world) = self.world() {
            return world.wall_ms();
        }
        self.kernel().wall_ms.get()
    }

    /// Looks at the wall clock: once a turn, not once a batch.
    pub(crate) fn look_at_clock(&self) {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.kernel()
            .wall_ms
            .set(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    }

    /// Lets the other tasks that can run go first, those of the other queue too, and I/O with them. Use it in
    /// long computations.
    pub async fn yield_now(&self) {
        #[cfg(feature = "simulation")]
        if let Some(world) = self.world() {
            return world.yield_now().await;
        }
        glommio::executor().yield_task_queue_now().await;
    }

    /// `task`, with each of its polls counted: the driver must not sleep while one of them was. While the
    /// driver waits for its way through both queues, each poll ends its queue's turn: nothing else would,
    /// as long as some task of this queue can run.
    pub(crate) async fn counted<T>(
        self,
        mut task: Pin<Box<impl Future<Output = T> + ?Sized>>,
    ) -> T {
        poll_fn(|cx| {
            let kernel = self.kernel();
            kernel.polls.set(kernel.polls.get().wrapping_add(1));
            let step = task.as_mut().poll(cx);
            if kernel.round.is_on() {
                end_turn_of_queue();
            }
            step
        })
        .await
    }

    fn spawn_into(&self, task: impl Future<Output = ()> + 'static, queue: TaskQueueHandle) {
        if !self.kernel().ending.get() {
            // Boxed: a future that is handed on by value is stored once more at each step, for as long as it lives.
            self.spawn_uncounted(self.clone().counted(Box::pin(task)), queue);
        }
    }

    fn spawn_uncounted(&self, task: impl Future<Output = ()> + 'static, queue: TaskQueueHandle) {
        let key = self.kernel().tasks.borrow_mut().insert(None);
        let inner = Rc::downgrade(self.kernel());
        let task = async move {
            task.await;
            let handle = inner.upgrade().and_then(|inner| {
                let mut tasks = inner.tasks.borrow_mut();
                if tasks.contains(key) {
                    tasks.remove(key)
                } else {
                    None
                }
            });
            // Dropping the handle would cancel the task it stands for, which is this one.
            if let Some(handle) = handle {
                handle.detach();
            }
        };
        let handle = glommio::spawn_local_into(task, queue)
            .expect("both queues live as long as the executor");
        self.kernel().tasks.borrow_mut()[key] = Some(handle);
    }

    // --- operations ---

    /// Puts an operation into the table and its entry into the queue.
    pub(crate) fn queue(&self, entry: squeue::Entry, slot: Slot) -> usize {
        let mut queues = self.kernel().queues.borrow_mut();
        let key = queues.slots.insert(slot);
        queues.push(entry.user_data(key as u64));
        key
    }

    /// The result of an operation, or its waker stored.
    pub(crate) fn poll_slot(&self, key: usize, cx: &mut Context<'_>) -> Poll<(i32, Held)> {
        let mut queues = self.kernel().queues.borrow_mut();
        let slot = &mut queues.slots[key];
        match &mut slot.state {
            State::Done { result } => {
                let result = *result;
                let slot = queues.slots.remove(key);
                Poll::Ready((result, slot.held))
            }
            State::Waiting(waker) if waker.will_wake(cx.waker()) => Poll::Pending,
            State::Waiting(waker) => {
                let old = std::mem::replace(waker, cx.waker().clone());
                // Dropping a waker may drop the task behind it, which ends operations: borrow no longer.
                drop(queues);
                drop(old);
                Poll::Pending
            }
            State::Started => {
                slot.state = State::Waiting(cx.waker().clone());
                Poll::Pending
            }
            State::Orphaned => unreachable!("only a dropped future orphans its slot"),
        }
    }

    /// The future of an operation was dropped: see [`OnDrop`].
    pub(crate) fn abandon(&self, key: usize) {
        let mut queues = self.kernel().queues.borrow_mut();
        let slot = &mut queues.slots[key];
        // A waker may be the last thing that holds its task: drop it after the borrow ends.
        let state = std::mem::replace(&mut slot.state, State::Orphaned);
        let on_drop = slot.on_drop;
        let mut finished = None;
        if let State::Done { result } = state {
            if on_drop == OnDrop::Close {
                close_result(result);
            }
            finished = Some(queues.slots.remove(key));
        } else if on_drop != OnDrop::Finish {
            queues.cancel(key);
        }
        drop(queues);
        drop((finished, state));
    }

    /// An empty gather list.
    pub(crate) fn take_gather(&self) -> Box<Gather> {
        self.kernel().queues.borrow_mut().take_gather()
    }

    /// Gives a gather list back for reuse.
    pub(crate) fn give_gather(&self, gather: Box<Gather>) {
        self.kernel().queues.borrow_mut().give_gather(gather);
    }

    /// Has the ring itself hold `fd` open until the last operation of a killed process is done.
    pub(crate) fn keep_open(&self, fd: RawFd) -> io::Result<()> {
        self.kernel().queues.borrow_mut().keep_open(fd)
    }

    // --- the end ---

    /// Cancels every task and waits until the kernel holds nothing of ours, at most `patience`.
    pub(crate) async fn end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.kernel().ending.set(true);
        self.cancel_tasks(OWN_TASKS..usize::MAX).await;
        // One turn in any case: bells rung last have no operation that waits for them.
        loop {
            self.sleep(Duration::from_millis(1)).await;
            if self.kernel().queues.borrow().in_flight() == 0 || Instant::now() >= deadline {
                break;
            }
        }
        self.cancel_tasks(0..OWN_TASKS).await;
    }

    async fn cancel_tasks(&self, keys: std::ops::Range<usize>) {
        let taken: Vec<_> = {
            let mut tasks = self.kernel().tasks.borrow_mut();
            tasks
                .iter_mut()
                .filter(|(key, _)| keys.contains(key))
                .filter_map(|(_, task)| task.take())
                .collect()
        };
        for task in taken {
            task.cancel().await;
        }
    }
}

/// Bells between cores.
#[cfg_attr(test, expect(dead_code, reason = "mailboxes have a model's in tests"))]
impl Ring {
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.kernel().queues.borrow().raw_fd()
    }

    pub(crate) fn add_bell(&self, bell: Rc<Bell>) -> usize {
        self.kernel().bells.borrow_mut().insert(bell)
    }

    pub(crate) fn remove_bell(&self, bell: usize) {
        let removed = self.kernel().bells.borrow_mut().try_remove(bell);
        drop(removed);
    }

    /// Wakes bell `bell` of the ring behind `fd`.
    pub(crate) fn ring_bell(&self, fd: RawFd, bell: u16) {
        self.kernel().queues.borrow_mut().ring_bell(fd, bell);
    }
}

/// Has glommio choose between the queues before it runs another task.
fn end_turn_of_queue() {
    let executor = glommio::executor();
    // The first poll sets the mark; then the future waits for its task's next turn, which nobody needs here.
    let marking = pin!(executor.yield_task_queue_now());
    let _waits = marking.poll(&mut Context::from_waker(Waker::noop()));
}
