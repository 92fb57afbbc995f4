//! The lock of a data directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::ring::Ring;

/// Pause between two looks at a lock that is held.
const PAUSE: Duration = Duration::from_millis(5);

/// An open-file-description lock (fcntl(2), F_OFD_SETLK) on a whole file; it conflicts with Kafka's.
///
/// Writes that a killed process had submitted land after it is gone. A lock whose descriptor is
/// [registered](DirLock::register) in the ring that carries them is released only when they are down,
/// because the kernel tears a ring down after its last operation.
#[derive(Debug)]
pub struct DirLock(Held);

#[derive(Debug)]
enum Held {
    File(File),
    #[cfg(feature = "simulation")]
    Sim(
        #[expect(dead_code, reason = "held, and let go when it is dropped")]
        crate::sim::world::Lock,
    ),
}

impl DirLock {
    /// Takes the lock on `path`, which is created if need be. Blocks the thread for at most `wait`, which
    /// a dying predecessor may need. `None`: somebody else holds it still.
    ///
    /// # Errors
    /// The file cannot be opened or locked at all.
    pub fn acquire(path: &Path, wait: Duration) -> io::Result<Option<DirLock>> {
        #[cfg(feature = "simulation")]
        if let Some(world) = crate::sim::world::current() {
            let lock = crate::sim::world::Lock::acquire(&world, path.to_owned())?;
            return Ok(lock.map(|lock| DirLock(Held::Sim(lock))));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let deadline = Instant::now() + wait;
        loop {
            if try_lock(&file)? {
                return Ok(Some(DirLock(Held::File(file))));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ties the lock to `ring`: from now on it is held until this lock is dropped *and* the ring is gone.
    /// Every ring that writes below the lock needs it.
    ///
    /// # Errors
    /// The ring holds its limit of locks already, or the kernel refuses.
    pub fn register(&self, ring: &Ring) -> io::Result<()> {
        match &self.0 {
            Held::File(file) => ring.keep_open(file.as_raw_fd()),
            #[cfg(feature = "simulation")]
            Held::Sim(_) => Ok(()),
        }
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock is plain data; zeros are: from the start, to the end, and the pid that OFD locks ask for.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: a plain system call on an open descriptor; the lock is only read.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}
