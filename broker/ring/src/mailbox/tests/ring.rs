//! What stands in for ring, driver and kernel: one task a core, and turns as in [`crate::driver`].

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};

use super::super::{Bell, Mailbox, MeshEnd};

/// The completions of one ring: bells that were rung.
struct Completions {
    any: loom::sync::atomic::AtomicBool,
    rung: Mutex<Vec<u16>>,
    came: Condvar,
}

pub(super) struct Kernel(Vec<Completions>);

impl Kernel {
    pub fn new(rings: usize) -> Arc<Kernel> {
        let completions = || Completions {
            any: loom::sync::atomic::AtomicBool::new(false),
            rung: Mutex::new(Vec::new()),
            came: Condvar::new(),
        };
        Arc::new(Kernel((0..rings).map(|_| completions()).collect()))
    }

    fn post(&self, fd: RawFd, bell: u16) {
        let completions = &self.0[fd as usize];
        completions.rung.lock().unwrap().push(bell);
        completions.any.store(true, Ordering::Release);
        completions.came.notify_one();
    }

    /// What has come; with `sleeps`, once something has.
    fn collect(&self, fd: RawFd, sleeps: bool) -> Vec<u16> {
        let completions = &self.0[fd as usize];
        if !sleeps && !completions.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut rung = completions.rung.lock().unwrap();
        while sleeps && rung.is_empty() {
            rung = completions.came.wait(rung).unwrap();
        }
        completions.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *rung)
    }
}

/// The ring of one core. Public as the real one is.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

struct Inner {
    kernel: Arc<Kernel>,
    fd: RawFd,
    bells: RefCell<Vec<Option<Rc<Bell>>>>,
    /// Bells to be rung with the next turn.
    queued: RefCell<Vec<(RawFd, u16)>>,
}

impl Ring {
    pub fn raw_fd(&self) -> RawFd {
        self.0.fd
    }

    pub(crate) fn add_bell(&self, bell: Rc<Bell>) -> usize {
        let mut bells = self.0.bells.borrow_mut();
        bells.push(Some(bell));
        bells.len() - 1
    }

    pub fn remove_bell(&self, bell: usize) {
        self.0.bells.borrow_mut()[bell] = None;
    }

    pub fn ring_bell(&self, fd: RawFd, bell: u16) {
        self.0.queued.borrow_mut().push((fd, bell));
    }

    fn bells(&self) -> Vec<Rc<Bell>> {
        self.0.bells.borrow().iter().flatten().cloned().collect()
    }

    /// One turn; says whether it may have woken somebody.
    fn turn(&self, nap: bool) -> bool {
        let sleeps = nap && self.bells().iter().all(|bell| bell.may_sleep());
        for (fd, bell) in self.0.queued.take() {
            self.0.kernel.post(fd, bell);
        }
        let rung = self.0.kernel.collect(self.0.fd, sleeps);
        let mut any = !rung.is_empty();
        for bell in rung {
            let bell = self.0.bells.borrow()[usize::from(bell)].clone();
            if let Some(bell) = bell {
                bell.wake();
            }
        }
        if nap {
            self.bells().iter().for_each(|bell| bell.awake());
        }
        for bell in self.bells() {
            if bell.take_mail() {
                bell.wake();
                any = true;
            }
        }
        any
    }
}

/// Whether a core's task was woken: of this core alone, and so no part of the model.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One core from its first turn to its last.
pub(super) fn run(
    kernel: Arc<Kernel>,
    fd: RawFd,
    end: MeshEnd<u8>,
    main: impl AsyncFn(Mailbox<u8>),
) {
    let ring = Ring(Rc::new(Inner {
        kernel,
        fd,
        bells: RefCell::default(),
        queued: RefCell::default(),
    }));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    let mailbox = end.join(&ring);
    let mut main = pin!(main(mailbox));
    let mut nap = false;
    loop {
        let any = ring.turn(nap);
        let runs = woken.0.swap(false, Ordering::Relaxed);
        if runs && let Poll::Ready(()) = main.as_mut().poll(&mut cx) {
            break;
        }
        nap = !any && !runs;
    }
    // Bells rung last.
    ring.turn(false);
}
