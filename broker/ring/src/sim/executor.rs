//! Tasks of one simulated core: one thread, woken in order, background after data most of the time.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// Taken out while it runs.
    work: Option<Work>,
    wake: Arc<TaskWake>,
}

/// Keys of tasks that were woken; a waker may outlive its task and its thread, so this is shared.
#[derive(Default)]
struct Woken {
    data: VecDeque<Arc<TaskWake>>,
    background: VecDeque<Arc<TaskWake>>,
}

struct TaskWake {
    key: usize,
    background: bool,
    queued: AtomicBool,
    woken: Arc<Mutex<Woken>>,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            match self.background {
                true => woken.background.push_back(self.clone()),
                false => woken.data.push_back(self.clone()),
            }
        }
    }
}

/// All tasks and those of them that can run.
#[derive(Default)]
pub(super) struct Tasks {
    all: Slab<Task>,
    woken: Arc<Mutex<Woken>>,
}

/// A task taken out to be polled.
pub(super) struct Running {
    wake: Arc<TaskWake>,
    work: Work,
}

impl Tasks {
    pub fn add(&mut self, background: bool, work: Work) {
        let entry = self.all.vacant_entry();
        let wake = Arc::new(TaskWake {
            key: entry.key(),
            background,
            queued: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        entry.insert(Task {
            work: Some(work),
            wake: wake.clone(),
        });
        wake.wake();
    }

    /// The next task that can run. `background` lets those of the background go first.
    pub fn next(&mut self, background: bool) -> Option<Running> {
        loop {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            let wake = match background {
                true => woken
                    .background
                    .pop_front()
                    .or_else(|| woken.data.pop_front()),
                false => woken
                    .data
                    .pop_front()
                    .or_else(|| woken.background.pop_front()),
            }?;
            drop(woken);
            wake.queued.store(false, Ordering::Release);
            // The key may belong to another task by now.
            let task = self.all.get_mut(wake.key);
            let task = task.filter(|task| Arc::ptr_eq(&task.wake, &wake));
            if let Some(work) = task.and_then(|task| task.work.take()) {
                return Some(Running { wake, work });
            }
        }
    }

    /// Gives a polled task back; `false` when it has ended.
    pub fn put_back(&mut self, running: Running, ended: bool) -> Option<Running> {
        if ended {
            self.all.remove(running.wake.key);
            return Some(running);
        }
        self.all[running.wake.key].work = Some(running.work);
        None
    }

    /// Everything there is, to be dropped without a borrow.
    pub fn take_all(&mut self) -> Vec<Work> {
        let works = self.all.iter_mut().filter_map(|(_, task)| task.work.take());
        let works = works.collect();
        self.all.clear();
        works
    }
}

impl Running {
    /// Polls once: true when it has ended.
    pub fn poll(&mut self) -> bool {
        let waker = Waker::from(self.wake.clone());
        self.work.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(())
    }
}
