//! Operations in flight, and a group commit over them.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use millstream_ring::{File, Ring};

use super::{Rate, SLICES};
use crate::Fault;

/// As many tasks as operations shall be in flight, each doing one after another.
pub struct Work {
    stop: Rc<Cell<bool>>,
    pub live: Rc<Cell<usize>>,
    bytes: Rc<Cell<u64>>,
    failed: Rc<RefCell<Option<io::Error>>>,
}

impl Work {
    /// `one` does one operation and says how many bytes it moved; 0 ends its task.
    pub fn start<F, Fut>(ring: &Ring, depth: usize, one: F) -> Work
    where
        F: Fn() -> Fut + 'static,
        Fut: Future<Output = io::Result<u64>> + 'static,
    {
        let work = Work {
            stop: Rc::default(),
            live: Rc::new(Cell::new(depth)),
            bytes: Rc::default(),
            failed: Rc::default(),
        };
        let one = Rc::new(one);
        for _ in 0..depth {
            let one = one.clone();
            let (stop, live) = (work.stop.clone(), work.live.clone());
            let (bytes, failed) = (work.bytes.clone(), work.failed.clone());
            ring.spawn(async move {
                while !stop.get() {
                    match one().await {
                        Ok(0) => break,
                        Ok(moved) => bytes.set(bytes.get() + moved),
                        Err(error) => {
                            failed.replace(Some(error));
                            break;
                        }
                    }
                }
                live.set(live.get() - 1);
            });
        }
        work
    }

    /// Rates as many slices, in units of `unit` bytes a second.
    pub async fn rate(self, ring: &Ring, duration: Duration, unit: f64) -> Result<Rate, Fault> {
        let mut slices = Vec::new();
        for _ in 0..SLICES {
            let (before, began) = (self.bytes.get(), Instant::now());
            ring.sleep(duration / SLICES).await;
            let moved = self.bytes.get() - before;
            slices.push(moved as f64 / unit / began.elapsed().as_secs_f64());
        }
        self.finish(ring).await?;
        Ok(Rate::of(slices))
    }

    /// Lets the operations in flight end; the bytes moved in all.
    pub async fn finish(self, ring: &Ring) -> Result<u64, Fault> {
        self.stop.set(true);
        while self.live.get() > 0 {
            ring.sleep(Duration::from_micros(100)).await;
        }
        match self.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(self.bytes.get()),
        }
    }
}

/// Flushes one after another; each covers the writes that were complete when it began.
#[derive(Default)]
pub struct Commit {
    written: Cell<u64>,
    flushed: Cell<u64>,
    flushing: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Commit {
    /// A write is complete: returns once a flush that began after this is through. Whoever finds no flush under way does
    /// the next one, for all who wait by then.
    pub async fn flush(&self, file: &File) -> io::Result<()> {
        self.written.set(self.written.get() + 1);
        let number = self.written.get();
        loop {
            poll_fn(|context| match self.flushing.get() {
                true if self.flushed.get() < number => {
                    self.waiting.borrow_mut().push(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            })
            .await;
            if self.flushed.get() >= number {
                return Ok(());
            }
            self.flushing.set(true);
            let covered = self.written.get();
            let flushed = file.sync_data().await;
            self.flushing.set(false);
            if flushed.is_ok() {
                self.flushed.set(covered);
            }
            // The others see by themselves whether they are covered; if not, the first of them flushes.
            self.waiting.take().into_iter().for_each(Waker::wake);
            flushed?;
        }
    }
}
