//! Files: reads, gather writes, syncs, growth.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use io_uring::{opcode, types};

use crate::buffer::{Buffer, Bytes};
use crate::gather::Remaining;
use crate::op::{Fd, Held, OnDrop, Op, Thing};
use crate::path::c_path;
use crate::ring::Ring;
#[cfg(feature = "simulation")]
use crate::sim::file::SimFile;

/// The most one read asks for, in bytes: below the kernel's own limit of 2 GiB and a multiple of a block.
const READ_MAX: usize = 1 << 30;
/// Tries of an operation that the kernel refuses for want of memory, a millisecond apart.
const RETRIES_MAX: u32 = 1000;
/// Pause between those tries.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// How [`File::open`] opens. All false by default; at least one of `read` and `write` is needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    /// Allow reads.
    pub read: bool,
    /// Allow writes.
    pub write: bool,
    /// Create the file when it does not exist.
    pub create: bool,
    /// Create the file, and fail when it exists.
    pub create_new: bool,
    /// Cut an existing file to nothing.
    pub truncate: bool,
    /// O_DIRECT: offsets, lengths and addresses must be whole [`crate::BLOCK`]s.
    pub direct: bool,
    /// POSIX_FADV_RANDOM: the kernel reads nothing but what is asked for into the page cache.
    pub random: bool,
}

/// An open file. Clones share it; it is closed when the last clone and the last operation on it are gone.
///
/// Dropping the future of a write, sync or resize does not take the operation back: it completes unseen.
#[derive(Clone)]
pub struct File {
    backing: Backing,
}

/// What stands behind a file. The simulated disk of the tests is a variant, so that no type parameter leaks upward.
#[derive(Clone)]
enum Backing {
    Kernel(KernelFile),
    #[cfg(feature = "simulation")]
    Sim(SimFile),
}

#[derive(Clone)]
struct KernelFile {
    ring: Ring,
    fd: Fd,
    direct: bool,
}

impl File {
    /// Opens `path`. New files get mode 0644 (less the umask).
    ///
    /// # Errors
    /// Those of openat(2).
    pub async fn open(ring: &Ring, path: &Path, how: Open) -> io::Result<File> {
        #[cfg(feature = "simulation")]
        if let Some(world) = ring.world() {
            let backing = Backing::Sim(SimFile::open(world, path, how).await?);
            return Ok(File { backing });
        }
        let mut flags = libc::O_CLOEXEC;
        flags |= match (how.read, how.write) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            (_, false) => libc::O_RDONLY,
        };
        for (wanted, flag) in [
            (how.create, libc::O_CREAT),
            (how.create_new, libc::O_CREAT | libc::O_EXCL),
            (how.truncate, libc::O_TRUNC),
            (how.direct, libc::O_DIRECT),
        ] {
            if wanted {
                flags |= flag;
            }
        }
        let fd = open_at(ring, path, flags).await?;
        if how.random {
            // Advice: without it all is the same, only slower.
            let _ = rustix::fs::fadvise(&*fd, 0, None, rustix::fs::Advice::Random);
        }
        Ok(File {
            backing: Backing::Kernel(KernelFile {
                ring: ring.clone(),
                fd,
                direct: how.direct,
            }),
        })
    }

    /// Reads `len` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Those of pread(2). Bytes read before an error are lost.
    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Buffer> {
        match &self.backing {
            Backing::Kernel(file) => file.read_at(offset, len).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.read_at(offset, len).await,
        }
    }

    /// Writes all `parts` one after another at `offset`. A short write is continued.
    ///
    /// # Errors
    /// Those of pwritev(2). Any prefix may have been written then.
    pub async fn write_at(&self, parts: Vec<Bytes>, offset: u64) -> io::Result<()> {
        match &self.backing {
            Backing::Kernel(file) => file.write_at(parts, offset, 0).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.write_at(&parts, offset).await,
        }
    }

    /// [`File::write_at`] and [`File::sync_data`] of what it wrote, in one operation (RWF_DSYNC in pwritev2(2)): the kernel
    /// itself goes on from the one to the other, and nobody here has to wake up in between.
    ///
    /// # Errors
    /// Those of both. With O_DIRECT, what passes (EAGAIN, ENOMEM, EINTR) is met with all of it once more, the bytes too.
    /// Through the page cache it may be the error of another write, whose bytes are lost, and is final.
    pub async fn write_durably_at(&self, parts: Vec<Bytes>, offset: u64) -> io::Result<()> {
        match &self.backing {
            Backing::Kernel(file) => file.write_at(parts, offset, libc::RWF_DSYNC).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.write_durably_at(&parts, offset).await,
        }
    }

    /// fdatasync(2): the bytes, and what is needed to find them, are on the device.
    ///
    /// # Errors
    /// EIO and friends. Never try again after an error: the kernel has dropped what it could not write.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(types::FsyncFlags::DATASYNC).await
    }

    /// fsync(2): bytes and metadata of the file are on the device (not its name: see [`crate::fs::sync_dir`]).
    ///
    /// # Errors
    /// As [`File::sync_data`].
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(types::FsyncFlags::empty()).await
    }

    /// Allocates blocks for `len` bytes at `offset`; the file grows to their end when it is shorter.
    ///
    /// # Errors
    /// Those of fallocate(2): ENOSPC, or EOPNOTSUPP where the file system cannot.
    pub async fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        match &self.backing {
            Backing::Kernel(file) => file.fallocate(0, offset, len).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.allocate(offset, len, false).await,
        }
    }

    /// Sets space aside for bytes behind the file's end, which stays where it is. A cut gives it back.
    ///
    /// # Errors
    /// As [`File::allocate`].
    pub async fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        match &self.backing {
            Backing::Kernel(file) => file.fallocate(libc::FALLOC_FL_KEEP_SIZE, offset, len).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.allocate(offset, len, true).await,
        }
    }

    /// Cuts or extends to `len` bytes.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.backing {
            Backing::Kernel(file) => file.set_len(len).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.set_len(len).await,
        }
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub async fn len(&self) -> io::Result<u64> {
        match &self.backing {
            Backing::Kernel(file) => file.len(),
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => Ok(file.len()),
        }
    }

    async fn sync(&self, flags: types::FsyncFlags) -> io::Result<()> {
        match &self.backing {
            Backing::Kernel(file) => file.sync(flags).await,
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => file.sync().await,
        }
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.backing {
            Backing::Kernel(file) => write!(f, "File({})", file.fd.as_raw_fd()),
            #[cfg(feature = "simulation")]
            Backing::Sim(file) => write!(f, "File({})", file.path().display()),
        }
    }
}

impl KernelFile {
    fn target(&self) -> types::Fd {
        types::Fd(self.fd.as_raw_fd())
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Buffer> {
        let mut buffer = Buffer::with_capacity(len);
        let mut retries = Retries::new();
        while buffer.len() < len {
            let ask = (len - buffer.len()).min(READ_MAX);
            let at = offset + buffer.len() as u64;
            let entry = opcode::Read::new(self.target(), buffer.end_ptr(), ask as u32)
                .offset(at)
                .build();
            let held = Held::new(&self.fd, Thing::Buffer(buffer));
            // SAFETY: the entry points into the buffer that the operation owns.
            let done = unsafe { Op::start(&self.ring, entry, held, OnDrop::Finish) }.await;
            let Thing::Buffer(back) = done.held.thing else {
                unreachable!("a read holds its buffer")
            };
            buffer = back;
            match done.result {
                Ok(0) => break,
                Ok(n) => {
                    // SAFETY: the kernel has written n bytes at the end of the buffer.
                    unsafe { buffer.filled(n) };
                    // A direct read that ends inside a sector ended with the file, and asking for the
                    // rest from there would be EINVAL.
                    if self.direct && n % 512 != 0 {
                        break;
                    }
                }
                Err(e) => retries.pause(&self.ring, e).await?,
            }
        }
        Ok(buffer)
    }

    /// `how`: RWF_ flags of pwritev2(2).
    async fn write_at(&self, parts: Vec<Bytes>, offset: u64, how: i32) -> io::Result<()> {
        let mut rest = Remaining::new(parts);
        let mut at = offset;
        let mut retries = Retries::new();
        while !rest.is_empty() {
            let (entry, thing) = if let Some((address, len)) = rest.single() {
                let entry = opcode::Write::new(self.target(), address, len)
                    .offset(at)
                    .rw_flags(how)
                    .build();
                (entry, Thing::Gather(rest.take_parts(), None))
            } else {
                let mut gather = self.ring.take_gather();
                rest.fill(&mut gather.iovecs);
                let count = gather.iovecs.len() as u32;
                let entry = opcode::Writev::new(self.target(), gather.iovecs.as_ptr(), count)
                    .offset(at)
                    .rw_flags(how)
                    .build();
                (entry, Thing::Gather(rest.take_parts(), Some(gather)))
            };
            let held = Held::new(&self.fd, thing);
            // SAFETY: the entry points to parts, or to a gather list of parts, that the operation owns.
            let done = unsafe { Op::start(&self.ring, entry, held, OnDrop::Finish) }.await;
            rest.give_back(&self.ring, done.held.thing);
            match done.result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest.advance(n);
                    at += n as u64;
                    retries = Retries::new();
                }
                Err(e) if how != 0 && !self.direct => return Err(e),
                Err(e) => retries.pause(&self.ring, e).await?,
            }
        }
        Ok(())
    }

    async fn fallocate(&self, mode: i32, offset: u64, len: u64) -> io::Result<()> {
        let entry = || {
            opcode::Fallocate::new(self.target(), len)
                .offset(offset)
                .mode(mode)
                .build()
        };
        self.repeat(entry).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        match self
            .repeat(|| opcode::Ftruncate::new(self.target(), len).build())
            .await
        {
            // Linux before 6.9 has no such operation.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                // SAFETY: a plain system call on an open descriptor.
                let result = unsafe { libc::ftruncate(self.fd.as_raw_fd(), len.cast_signed()) };
                if result == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            }
            other => other,
        }
    }

    fn len(&self) -> io::Result<u64> {
        // SAFETY: stat is plain data and fully written by the call.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // An open file's length is in memory: no reason to go through the ring.
        // SAFETY: a plain system call on an open descriptor; the result lives through it.
        match unsafe { libc::fstat(self.fd.as_raw_fd(), &mut stat) } {
            0 => Ok(stat.st_size.cast_unsigned()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    async fn sync(&self, flags: types::FsyncFlags) -> io::Result<()> {
        let entry = opcode::Fsync::new(self.target()).flags(flags).build();
        // A sync is never repeated: not even EINTR leaves it clear what the first one reported.
        // SAFETY: the entry points to nothing.
        let op = unsafe {
            Op::start(
                &self.ring,
                entry,
                Held::new(&self.fd, Thing::Nothing),
                OnDrop::Finish,
            )
        };
        op.await.result.map(drop)
    }

    /// An operation without memory, until it ends with something else than "try again".
    async fn repeat(&self, entry: impl Fn() -> io_uring::squeue::Entry) -> io::Result<()> {
        let mut retries = Retries::new();
        loop {
            let held = Held::new(&self.fd, Thing::Nothing);
            // SAFETY: the callers' entries point to nothing.
            match unsafe { Op::start(&self.ring, entry(), held, OnDrop::Finish) }
                .await
                .result
            {
                Ok(_) => return Ok(()),
                Err(e) => retries.pause(&self.ring, e).await?,
            }
        }
    }
}

/// Opens through the ring; also for directories.
pub(crate) async fn open_at(ring: &Ring, path: &Path, flags: i32) -> io::Result<Fd> {
    let path = c_path(path)?;
    let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
        .flags(flags)
        .mode(0o644)
        .build();
    let held = Held::without_fd(Thing::Path(path));
    // SAFETY: the entry points to the path that the operation owns.
    let fd = unsafe { Op::start(ring, entry, held, OnDrop::Close) }
        .await
        .result?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(Rc::new(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

/// Patience with EINTR, EAGAIN and ENOMEM; every other error is final.
pub(crate) struct Retries {
    left: u32,
}

impl Retries {
    pub(crate) fn new() -> Retries {
        Retries { left: RETRIES_MAX }
    }

    /// Returns after a pause when the operation is worth another try.
    pub(crate) async fn pause(&mut self, ring: &Ring, error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::EINTR) => ring.yield_now().await,
            Some(libc::EAGAIN | libc::ENOMEM) if self.left > 0 => {
                self.left -= 1;
                ring.sleep(RETRY_PAUSE).await;
            }
            _ => return Err(error),
        }
        Ok(())
    }
}
