//! What one core's logs may hold in memory, and who waits when it is too much.
//!
//! *Pinned* bytes are not yet in their segments: waiting for an entry, on their way, or in the journal
//! alone. Past the limit new appends wait for settling. The rest of the tails is a cache: past its limit the
//! blocks that were not read lately go first. The limit grows when readers miss what went, up to the maximum.
//!
//! A tail has no holes, so a few pinned bytes hold on to everything behind them, long in its segment or not, and to the
//! rest of their block: megabytes, seen from the journal, that none of the pinned bytes count. So what keeps the oldest
//! blocks is settled when the cache cannot be brought below its limit, and new appends wait when all of the memory is taken.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::event::Event;
use crate::log::Log;
use crate::tail::Taken;

/// What the tails hold before a reader has missed anything. Memory that is used again costs nothing; memory touched for the
/// first time costs page faults: a third of a core second for each GB, in a virtual machine whose host has to find it two.
const TAIL_BYTES_FIRST: usize = 1 << 30;
/// Blocks looked at for eviction for each that is taken: keeps an append's cost bounded.
const EVICTION_TRIES: usize = 8;
/// The cache leaves one in so many bytes of the memory to what pinned bytes hold on to while they are settled.
const HEADROOM_PART: usize = 8;
/// Past the cache's limit by one in so many bytes, blocks are settled for the sake of their memory.
const PRESSING_PART: usize = 16;

pub(crate) struct Budget {
    pinned: Cell<usize>,
    pinned_max: usize,
    tail: Cell<usize>,
    /// What the tails may hold before something is evicted, now and at most.
    tail_now: Cell<usize>,
    cache_max: usize,
    /// What they may hold at all.
    tail_max: usize,
    /// One entry for each block of memory, oldest first.
    blocks: RefCell<VecDeque<Weak<Log>>>,
    waiting: RefCell<VecDeque<Rc<Cell<bool>>>>,
    changed: Event,
}

impl Budget {
    pub fn new(pinned_max: usize, tail_max: usize) -> Budget {
        assert!(pinned_max > 0 && tail_max > 0);
        let cache_max = tail_max - tail_max / HEADROOM_PART;
        Budget {
            pinned: Cell::new(0),
            pinned_max,
            tail: Cell::new(0),
            tail_now: Cell::new(cache_max.min(TAIL_BYTES_FIRST)),
            cache_max,
            tail_max,
            blocks: RefCell::default(),
            waiting: RefCell::default(),
            changed: Event::default(),
        }
    }

    pub fn pin(&self, bytes: usize) {
        self.pinned.set(self.pinned.get() + bytes);
    }

    pub fn unpin(&self, bytes: usize) {
        let pinned = self.pinned.get().checked_sub(bytes);
        self.pinned
            .set(pinned.expect("no more is unpinned than was pinned"));
        if bytes > 0 && !self.waiting.borrow().is_empty() {
            self.changed.notify();
        }
    }

    /// What is held, and what may be.
    pub fn held(&self) -> Held {
        Held {
            pinned: self.pinned.get(),
            pinned_max: self.pinned_max,
            tail: self.tail.get(),
            tail_max: self.tail_max,
        }
    }

    /// Settling should begin, so that nobody has to wait.
    pub fn wants_settling(&self) -> bool {
        // Whoever waits for more than the last third would wait for ever.
        self.pinned.get() > self.pinned_max / 3 * 2 || self.is_waited_for()
    }

    /// Somebody cannot append before something is settled.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// A lone append always has room, however large it is.
    fn has_room(&self, bytes: usize) -> bool {
        let pinned = self.pinned.get();
        pinned == 0 || (pinned + bytes <= self.pinned_max && self.tail_has_room(bytes))
    }

    fn tail_has_room(&self, bytes: usize) -> bool {
        let fits = || self.tail.get() + bytes <= self.tail_max;
        if !fits() {
            self.evict_all();
        }
        fits()
    }

    /// True when `bytes` may be appended now. Fails while somebody waits: nobody is overtaken.
    pub fn try_admit(&self, bytes: usize) -> bool {
        self.forget_gone();
        self.waiting.borrow().is_empty() && self.has_room(bytes)
    }

    /// Returns when `bytes` may be appended, in the order of the calls. `give_up` ends the wait (offline, stop).
    pub async fn admit(&self, bytes: usize, give_up: impl Fn() -> bool) {
        if self.try_admit(bytes) {
            return;
        }
        let place = Place {
            alive: Rc::new(Cell::new(true)),
            budget: self,
        };
        self.waiting.borrow_mut().push_back(place.alive.clone());
        loop {
            let seen = self.changed.count();
            self.forget_gone();
            let first = self
                .waiting
                .borrow()
                .front()
                .is_some_and(|f| Rc::ptr_eq(f, &place.alive));
            if give_up() || (first && self.has_room(bytes)) {
                break;
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Wakes all that wait, to look at `give_up` again.
    pub fn wake(&self) {
        self.changed.notify();
    }

    fn forget_gone(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while waiting.front().is_some_and(|alive| !alive.get()) {
            waiting.pop_front();
        }
    }

    /// Books the memory that `log` took, and makes room if need be.
    pub fn tail_grew(&self, log: &Log, taken: Taken) {
        self.tail.set(self.tail.get() + taken.bytes);
        let blocks = std::iter::repeat_n(&log.me, taken.blocks).cloned();
        self.blocks.borrow_mut().extend(blocks);
        self.evict(EVICTION_TRIES * taken.blocks);
    }

    pub fn tail_shrank(&self, bytes: usize) {
        self.tail.set(self.tail.get().saturating_sub(bytes));
    }

    /// A reader asked for `bytes` that are not in memory any more: the tails may hold that much more from now on.
    pub fn missed(&self, bytes: usize) {
        let more = self.tail_now.get().saturating_add(bytes);
        self.tail_now.set(more.min(self.cache_max));
    }

    /// Evicts as much as the cache is past its limit, if it can. The caller has no log's state borrowed.
    pub fn evict_all(&self) {
        // Twice, since the first look at a log that was read lately only takes note of that.
        let blocks = self.blocks.borrow().len();
        self.evict(2 * blocks);
    }

    fn evict(&self, tries: usize) {
        let limit = self.tail_now.get();
        let pressing = self.tail.get().saturating_sub(limit) > limit / PRESSING_PART;
        for _ in 0..tries {
            if self.tail.get() <= self.tail_now.get() {
                return;
            }
            let Some(candidate) = self.blocks.borrow_mut().pop_front() else {
                return;
            };
            let Some(log) = candidate.upgrade() else {
                continue;
            };
            let freed = if log.read_lately.replace(false) {
                0
            } else {
                log.evict_block(pressing)
            };
            self.tail_shrank(freed);
            if freed == 0 && log.holds_memory() {
                self.blocks.borrow_mut().push_back(candidate);
            }
        }
    }
}

/// What one core's logs hold in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Bytes that are not in their segments yet, and how many of them there may be before appends wait.
    pub pinned: usize,
    /// See `pinned`.
    pub pinned_max: usize,
    /// Memory of the tails, which pinned bytes are a part of, and what there may be of it before appends wait.
    pub tail: usize,
    /// See `tail`.
    pub tail_max: usize,
}

/// A place in the queue of those who wait; given up when its owner goes away.
struct Place<'a> {
    alive: Rc<Cell<bool>>,
    budget: &'a Budget,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.alive.set(false);
        self.budget.forget_gone();
        // The next one may be first now, also where this one was given up in the middle of its wait.
        self.budget.changed.notify();
    }
}
