//! The lock of a data directory.

use std::fs::{File, OpenOptions, TryLockError};
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
///
/// Beside it stands a flock(2) on the same file, which ends with the process: it tells a holder that lives from writes of
/// one that does not.
#[derive(Debug)]
pub struct DirLock(Held);

#[derive(Debug)]
enum Held {
    Files {
        written_under: File,
        #[expect(dead_code, reason = "held, and let go when it is dropped")]
        alive: File,
    },
    #[cfg(feature = "simulation")]
    Sim(
        #[expect(dead_code, reason = "held, and let go when it is dropped")]
        crate::sim::world::Lock,
    ),
}

impl DirLock {
    /// Takes the lock on `path`, which is created if need be. Blocks the thread for at most `wait`, which the last writes
    /// of a killed process may need. `None`: somebody else holds it; one that lives is not waited for.
    ///
    /// # Errors
    /// The file cannot be opened or locked at all.
    pub fn acquire(path: &Path, wait: Duration) -> io::Result<Option<DirLock>> {
        #[cfg(feature = "simulation")]
        if let Some(world) = crate::sim::world::current() {
            let lock = crate::sim::world::Lock::acquire(&world, path.to_owned())?;
            return Ok(lock.map(|lock| DirLock(Held::Sim(lock))));
        }
        let (written_under, alive) = (open(path)?, open(path)?);
        match alive.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        let deadline = Instant::now() + wait;
        loop {
            match try_lock(&written_under)? {
                Outcome::Ours => {
                    let held = Held::Files {
                        written_under,
                        alive,
                    };
                    return Ok(Some(DirLock(held)));
                }
                Outcome::Process => return Ok(None),
                Outcome::Descriptor if Instant::now() >= deadline => return Ok(None),
                Outcome::Descriptor => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Ties the lock to `ring`: from now on it is held until this lock is dropped *and* the ring is gone.
    /// Every ring that writes below the lock needs it.
    ///
    /// # Errors
    /// The ring holds its limit of locks already, or the kernel refuses.
    pub fn register(&self, ring: &Ring) -> io::Result<()> {
        match &self.0 {
            Held::Files { written_under, .. } => ring.keep_open(written_under.as_raw_fd()),
            #[cfg(feature = "simulation")]
            Held::Sim(_) => Ok(()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Whose a lock is.
enum Outcome {
    Ours,
    /// A process that lives holds it, as Kafka does.
    Process,
    /// An open file description does, perhaps of a ring whose process is gone.
    Descriptor,
}

fn try_lock(file: &File) -> io::Result<Outcome> {
    // SAFETY: flock is plain data; zeros are: from the start, to the end, and the pid that OFD locks ask for.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: a plain system call on an open descriptor; the lock is only read.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
        return Ok(Outcome::Ours);
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
        return Err(error);
    }
    // SAFETY: as above; the kernel writes the lock that is in the way into ours, with the pid of a process or -1.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match lock.l_pid > 0 {
        true => Outcome::Process,
        false => Outcome::Descriptor,
    })
}
