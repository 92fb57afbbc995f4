//! Signals as something a task waits for (signalfd(2)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::{opcode, types};

use crate::op::{Fd, Held, OnDrop, Op, Thing};
use crate::ring::Ring;

/// Blocks `signals` in this thread and in all that it starts from now on. Call it first thing in `main`:
/// a signal is delivered to any thread that does not block it, and then [`Ring::signal`] never sees it.
///
/// # Errors
/// A number that is no signal.
pub fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals)?;
    // SAFETY: the set lives through the call; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

impl Ring {
    /// Waits for one of `signals`, and returns its number. They must be blocked: see [`block_signals`].
    ///
    /// # Errors
    /// A number that is no signal, or the limits of open files.
    pub async fn signal(&self, signals: &[i32]) -> io::Result<i32> {
        let set = signal_set(signals)?;
        // SAFETY: the set lives through the call.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just created, ours alone.
        let fd: Fd = Rc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        loop {
            // A poll rather than a read: a read would block one of the few worker threads on old kernels.
            let entry =
                opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), libc::POLLIN as u32).build();
            // SAFETY: the entry points to nothing.
            unsafe { Op::start(self, entry, Held::new(&fd, Thing::Nothing), OnDrop::Cancel) }
                .await
                .result?;
            // SAFETY: signalfd_siginfo is plain data.
            let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: `info` has room for the `size` bytes asked for.
            let read = unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) };
            if read == size as isize {
                return Ok(info.ssi_signo as i32);
            }
            // Another waiter took it: wait again.
        }
    }
}

fn signal_set(signals: &[i32]) -> io::Result<libc::sigset_t> {
    // SAFETY: sigset_t is plain data, and sigemptyset makes it valid in any case.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in signals {
        // SAFETY: the set is ours; a bad number is an error, not undefined.
        if unsafe { libc::sigaddset(&mut set, *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}
