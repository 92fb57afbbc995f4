//! Submission and completion queue of one ring, and the table of operations in flight.
//!
//! Entries are gathered here and enter the kernel together, once a turn (see [`crate::driver`]).
//! Everything runs inside one short borrow and wakes nobody: wakers and finished operations are
//! listed, and the driver deals with them after the borrow.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::Waker;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;

use crate::idle::IdleBuffers;
use crate::op::{Gather, Held, OnDrop, Slot, State, close_result};

/// Completions whose user data is at least this belong to no slot.
const SPECIAL: u64 = 1 << 62;
/// Completions nobody waits for (cancellations; those that succeed are not even posted).
const IGNORED: u64 = SPECIAL;
/// `BELL + n`: another core rang bell `n` of ours.
const BELL: u64 = SPECIAL | 1 << 61;
/// A bell of ours that could not be delivered; the low bits say which: descriptor << 16 | bell.
const BELL_FAILED: u64 = SPECIAL | 1 << 60;

/// Descriptors the ring itself keeps open (see [`crate::DirLock`]).
const KEPT_FDS_MAX: u32 = 64;
/// Workers of the kernel for operations that block: files, and everything else. More than all that is flushed at a time in
/// the background, or a journal's flush stands behind the fsyncs of settling and of new partitions. The block layer merges
/// flushes that wait together.
const WORKERS_MAX: [u32; 2] = [48, 2];
/// Gather lists kept for reuse.
const GATHERS_KEPT: usize = 256;
/// A gather list longer than this is not kept.
const GATHER_KEPT_PARTS: usize = 256;

/// The kernel's side of a ring, made before glommio starts so that a refusal is an error, not a panic.
pub(crate) struct Setup {
    uring: IoUring,
    idle: IdleBuffers,
}

impl Setup {
    /// Builds the ring in the calling thread, which alone may use it. `cpu` binds the kernel's workers.
    pub(crate) fn new(entries: u32, cpu: Option<usize>) -> io::Result<Setup> {
        let uring = build(entries)?;
        let submitter = uring.submitter();
        submitter.register_iowq_max_workers(&mut WORKERS_MAX.clone())?;
        if let Some(cpu) = cpu {
            // SAFETY: cpu_set_t is plain data and all zeros is the empty set.
            let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: CPU_SET bounds-checks against the size of the set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
            submitter.register_iowq_aff(&set)?;
        }
        submitter.register_files_sparse(KEPT_FDS_MAX)?;
        let idle = IdleBuffers::register(&submitter)?;
        Ok(Setup { uring, idle })
    }

    pub(crate) fn into_queues(self) -> Queues {
        Queues {
            uring: self.uring,
            slots: Slab::with_capacity(256),
            backlog: VecDeque::new(),
            idle: self.idle,
            gathers: Vec::new(),
            kept_fds: 0,
            news: News::default(),
        }
    }
}

/// The best flags this kernel has. SINGLE_ISSUER + DEFER_TASKRUN is worth +47 % on small frames;
/// TASKRUN_FLAG tells whether completions wait in the kernel, so that sleeping is never a gamble.
pub(crate) fn build(entries: u32) -> io::Result<IoUring> {
    let entries = entries.clamp(64, 8192).next_power_of_two();
    let builder = || {
        let mut builder = IoUring::builder();
        // Idle receives outnumber entries, and all may complete at once: a wide completion queue.
        builder
            .setup_submit_all()
            .setup_cqsize(entries * 8)
            .setup_taskrun_flag();
        builder
    };
    let deferred = builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(entries);
    match deferred {
        // Linux before 6.1 knows neither flag.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            builder().setup_coop_taskrun().build(entries)
        }
        other => other,
    }
}

/// Everything a turn touches.
pub(crate) struct Queues {
    uring: IoUring,
    pub slots: Slab<Slot>,
    /// Entries that found the submission queue full, oldest first. Never dropped.
    backlog: VecDeque<squeue::Entry>,
    idle: IdleBuffers,
    #[expect(clippy::vec_box, reason = "operations own them at a fixed address")]
    gathers: Vec<Box<Gather>>,
    kept_fds: u32,
    /// What the last turn brought; the driver takes it.
    pub news: News,
}

/// What completions brought, listed for after the borrow. The lists are kept for their memory.
#[derive(Default)]
pub(crate) struct News {
    /// Tasks whose operations are done.
    pub woken: Vec<Waker>,
    /// Resources of operations whose futures were dropped.
    pub finished: Vec<Held>,
    /// Bells that other cores rang.
    pub rung: Vec<usize>,
}

impl Queues {
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Operations the kernel has not answered yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.slots
            .iter()
            .filter(|(_, slot)| !matches!(slot.state, State::Done { .. }))
            .count()
    }

    /// Takes an operation back, if it still waits.
    pub(crate) fn cancel(&mut self, key: usize) {
        let cancel = opcode::AsyncCancel::new(key as u64).build();
        self.push(cancel.user_data(IGNORED).flags(squeue::Flags::SKIP_SUCCESS));
    }

    /// Rings bell `bell` of the ring behind `fd`.
    pub(crate) fn ring_bell(&mut self, fd: RawFd, bell: u16) {
        self.push(bell_entry(fd, bell));
    }

    pub(crate) fn take_gather(&mut self) -> Box<Gather> {
        self.gathers
            .pop()
            .unwrap_or_else(|| Box::new(Gather::new()))
    }

    pub(crate) fn give_gather(&mut self, mut gather: Box<Gather>) {
        gather.iovecs.clear();
        if self.gathers.len() < GATHERS_KEPT && gather.iovecs.capacity() <= GATHER_KEPT_PARTS {
            self.gathers.push(gather);
        }
    }

    pub(crate) fn keep_open(&mut self, fd: RawFd) -> io::Result<()> {
        if self.kept_fds == KEPT_FDS_MAX {
            return Err(io::Error::other(format!(
                "a ring keeps at most {KEPT_FDS_MAX} lock files"
            )));
        }
        self.uring
            .submitter()
            .register_files_update(self.kept_fds, &[fd])?;
        self.kept_fds += 1;
        Ok(())
    }

    /// Queues an entry. A full queue is flushed; if the kernel takes nothing the entry waits its turn.
    pub(crate) fn push(&mut self, entry: squeue::Entry) {
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            if self.backlog.is_empty() {
                // An error here is met again, and answered, by the next turn.
                let _ = self.uring.submit();
                if self.try_push(&entry) {
                    return;
                }
            }
            self.backlog.push_back(entry);
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: entries come from `Op::start`, whose callers keep what they point to in the slot, or
        // point to nothing (cancellations, bells).
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }

    /// Submits what is queued, collects completions and says how many. Without any it sleeps in the
    /// kernel, at most for `nap`, until one comes.
    pub(crate) fn turn(&mut self, nap: Duration) -> usize {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                break;
            }
        }
        let (queued, asked) = {
            let sq = self.uring.submission();
            (sq.len(), sq.taskrun() || sq.cq_overflow())
        };
        // With a backlog the kernel is short of memory, or works on something that takes several turns.
        let nap = if self.backlog.is_empty() {
            nap
        } else {
            Duration::ZERO
        };
        if queued > 0 || asked || !nap.is_zero() {
            self.enter(queued, nap);
        }
        self.collect()
    }

    /// One enter: submits `queued` entries, runs the kernel's deferred work, and waits at most for `nap`.
    fn enter(&mut self, queued: usize, nap: Duration) {
        const GETEVENTS: u32 = 1; // IORING_ENTER_GETEVENTS, io_uring_enter(2)
        let submitter = self.uring.submitter();
        let entered = if nap.is_zero() {
            // SAFETY: no argument is passed, and the entries are sound (see `try_push`).
            unsafe { submitter.enter::<libc::sigset_t>(queued as u32, 0, GETEVENTS, None) }
        } else {
            let nap = types::Timespec::from(nap);
            submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&nap))
        };
        if let Err(e) = entered {
            match e.raw_os_error() {
                // Nothing came, or nothing was taken: what was queued is still queued and the next turn tries again.
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {}
                _ => panic!("io_uring_enter: {e}"),
            }
        }
    }

    /// Moves completions into slots and lists whom to wake.
    fn collect(&mut self) -> usize {
        let mut completions = 0;
        let mut undelivered = Vec::new();
        for entry in self.uring.completion() {
            completions += 1;
            let user_data = entry.user_data();
            if user_data < SPECIAL {
                complete(&mut self.slots, &mut self.idle, &mut self.news, &entry);
            } else if user_data & BELL == BELL {
                self.news.rung.push((user_data & !BELL) as usize);
            } else if user_data & BELL_FAILED == BELL_FAILED && is_transient(-entry.result()) {
                undelivered.push(user_data & !BELL_FAILED);
            }
        }
        for bell in undelivered {
            self.push(bell_entry((bell >> 16) as RawFd, bell as u16));
        }
        if completions > 0 {
            self.idle.publish();
        }
        completions
    }
}

/// Ends one operation.
fn complete(
    slots: &mut Slab<Slot>,
    idle: &mut IdleBuffers,
    news: &mut News,
    entry: &cqueue::Entry,
) {
    let key = entry.user_data() as usize;
    let result = entry.result();
    let slot = slots
        .get_mut(key)
        .expect("a slot is freed by its completion only");
    if let Some(id) = cqueue::buffer_select(entry.flags()) {
        slot.held.thing = crate::op::Thing::Buffer(idle.take(id, result.max(0) as usize));
    }
    match std::mem::replace(&mut slot.state, State::Done { result }) {
        State::Waiting(waker) => news.woken.push(waker),
        State::Started => {}
        State::Orphaned => {
            let slot = slots.remove(key);
            if slot.on_drop == OnDrop::Close {
                close_result(result);
            }
            news.finished.push(slot.held);
        }
        State::Done { .. } => unreachable!("one completion ends a slot"),
    }
}

fn is_transient(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINTR | libc::EAGAIN | libc::ENOMEM | libc::EOVERFLOW
    )
}

fn bell_entry(fd: RawFd, bell: u16) -> squeue::Entry {
    let which = (fd as u64) << 16 | u64::from(bell);
    opcode::MsgRingData::new(types::Fd(fd), 0, BELL | u64::from(bell), None)
        .build()
        .user_data(BELL_FAILED | which)
        .flags(squeue::Flags::SKIP_SUCCESS)
}

impl Drop for Queues {
    /// The kernel may still write into buffers of operations it has not answered (a core that panicked,
    /// or ran out of patience): that memory is given up rather than reused.
    fn drop(&mut self) {
        for slot in self.slots.drain() {
            if !matches!(slot.state, State::Done { .. }) {
                std::mem::forget(slot.held);
                self.idle.leak();
            }
        }
    }
}
