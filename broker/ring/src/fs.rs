//! Names and directories: the few operations beside an open file.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use io_uring::{opcode, squeue, types};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::buffer::Bytes;
use crate::file::{File, Open, open_at};
use crate::op::{Held, OnDrop, Op, Thing};
use crate::path::c_path;
use crate::ring::Ring;

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);

/// Renames `from` to `to` and replaces it. Durable only after [`sync_dir`] of both directories.
///
/// # Errors
/// Those of rename(2).
pub async fn rename(ring: &Ring, from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.rename(from, to).await;
    }
    let paths = [c_path(from)?, c_path(to)?];
    let entry = opcode::RenameAt::new(HERE, paths[0].as_ptr(), HERE, paths[1].as_ptr()).build();
    let held = Held::without_fd(Thing::Paths(paths));
    // SAFETY: the entry points to the paths that the operation owns.
    unsafe { Op::start(ring, entry, held, OnDrop::Finish) }
        .await
        .result
        .map(drop)
}

/// Removes a file.
///
/// # Errors
/// Those of unlink(2).
pub async fn unlink(ring: &Ring, path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.unlink(path).await;
    }
    on_path(ring, path, |path| {
        opcode::UnlinkAt::new(HERE, path.as_ptr()).build()
    })
    .await
}

/// Removes an empty directory.
///
/// # Errors
/// Those of rmdir(2).
pub async fn remove_dir(ring: &Ring, path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.remove_dir(path).await;
    }
    on_path(ring, path, |path| {
        opcode::UnlinkAt::new(HERE, path.as_ptr())
            .flags(libc::AT_REMOVEDIR)
            .build()
    })
    .await
}

/// Creates a directory, mode 0755 (less the umask); its parent must exist.
///
/// # Errors
/// Those of mkdir(2).
pub async fn create_dir(ring: &Ring, path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.create_dir(path).await;
    }
    on_path(ring, path, |path| {
        opcode::MkDirAt::new(HERE, path.as_ptr())
            .mode(0o755)
            .build()
    })
    .await
}

/// Makes the names in a directory durable: fsync(2) of the directory.
///
/// # Errors
/// Those of open(2) and fsync(2).
pub async fn sync_dir(ring: &Ring, path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.sync_dir(path).await;
    }
    let fd = open_at(
        ring,
        path,
        libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
    )
    .await?;
    let entry = opcode::Fsync::new(types::Fd(fd.as_raw_fd())).build();
    // SAFETY: the entry points to nothing.
    unsafe { Op::start(ring, entry, Held::new(&fd, Thing::Nothing), OnDrop::Finish) }
        .await
        .result
        .map(drop)
}

/// The whole content of a file.
///
/// # Errors
/// Those of open(2) and read(2).
pub async fn read(ring: &Ring, path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(
        ring,
        path,
        Open {
            read: true,
            ..Open::default()
        },
    )
    .await?;
    let len = usize::try_from(file.len().await?).map_err(|_| io::ErrorKind::OutOfMemory)?;
    Ok(file.read_at(0, len).await?.to_vec())
}

/// Replaces the content of `path` so that after a crash it is the old or the new, never a mixture:
/// a file beside it, fsync, rename, fsync of the directory. One writer at a time.
///
/// # Errors
/// Those of the steps. The old content stays when one of them fails before the rename.
pub async fn write_durably(ring: &Ring, path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let how = Open {
        write: true,
        create: true,
        truncate: true,
        ..Open::default()
    };
    let file = File::open(ring, &beside, how).await?;
    file.write_at(vec![Bytes::from(content.to_vec())], 0)
        .await?;
    file.sync_all().await?;
    drop(file);
    rename(ring, &beside, path).await?;
    sync_dir(ring, parent(path)).await
}

/// True when `path` exists, whatever it is.
///
/// # Errors
/// Those of statx(2) except that nothing is there.
pub async fn exists(ring: &Ring, path: &Path) -> io::Result<bool> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.exists(path).await;
    }
    match stat(ring, path, libc::STATX_TYPE).await {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The length of a file in bytes.
///
/// # Errors
/// Those of statx(2).
pub async fn len(ring: &Ring, path: &Path) -> io::Result<u64> {
    #[cfg(feature = "simulation")]
    if let Some(world) = ring.world() {
        return world.len(path).await;
    }
    Ok(stat(ring, path, libc::STATX_SIZE).await?.stx_size)
}

/// The alignment direct I/O needs on the file `path`, or on files in the directory `path`, in bytes;
/// `None` where there is none to be had (statx(2), STATX_DIOALIGN). Opening with O_DIRECT proves
/// nothing: some file systems accept it and use the page cache.
///
/// # Errors
/// Those of statx(2); for a directory, those of creating a file in it.
pub async fn direct_io(ring: &Ring, path: &Path) -> io::Result<Option<u32>> {
    #[cfg(feature = "simulation")]
    if ring.world().is_some() {
        return Ok(Some(512));
    }
    let mut target = path.to_path_buf();
    let is_dir = (u32::from(stat(ring, path, libc::STATX_TYPE).await?.stx_mode) & libc::S_IFMT)
        == libc::S_IFDIR;
    if is_dir {
        // The kernel tells it of regular files only.
        target.push(format!(".direct-io-{}", std::process::id()));
        File::open(
            ring,
            &target,
            Open {
                write: true,
                create: true,
                ..Open::default()
            },
        )
        .await?;
    }
    let stat = stat(ring, &target, libc::STATX_DIOALIGN).await;
    if is_dir {
        unlink(ring, &target).await?;
    }
    let stat = stat?;
    let align = stat.stx_dio_offset_align.max(stat.stx_dio_mem_align);
    let known = stat.stx_mask & libc::STATX_DIOALIGN != 0 && stat.stx_dio_offset_align != 0;
    Ok(known.then_some(align))
}

/// Space on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The size of the file system.
    pub total: u64,
    /// What this process may still use.
    pub available: u64,
}

/// Space on the file system of `path`. A plain system call: it does not wait for the device.
///
/// # Errors
/// Those of statvfs(3).
pub fn free_space(path: &Path) -> io::Result<Space> {
    #[cfg(feature = "simulation")]
    if let Some(world) = crate::sim::world::current() {
        return Ok(world.free_space());
    }
    let path = c_path(path)?;
    // SAFETY: statvfs is plain data and fully written by the call.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers live through the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space {
        total: bytes(stat.f_blocks),
        available: bytes(stat.f_bavail),
    })
}

/// Has the file system lay the directories made in `path` from now on far from each other: ext4's
/// FS_TOPDIR_FL. A plain system call: it does not wait for the device.
///
/// ext4 otherwise puts them beside their parent, and uses no inode again for one to five minutes after a
/// deletion: a file is made there by looking at all that were deleted one by one.
///
/// # Errors
/// Those of ioctl(2), FS_IOC_SETFLAGS: EOPNOTSUPP, ENOTTY where the file system knows no such thing.
pub fn spread_directories(path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if crate::sim::world::current().is_some() {
        return Ok(());
    }
    let directory = std::fs::File::open(path)?;
    let flags = ioctl_getflags(&directory)?;
    if !flags.contains(IFlags::TOPDIR) {
        ioctl_setflags(&directory, flags | IFlags::TOPDIR)?;
    }
    Ok(())
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last component of its path.
    pub name: OsString,
    /// True for a directory, also behind a symbolic link.
    pub is_dir: bool,
}

/// The names in a directory, sorted. Blocks the thread: for the start only.
///
/// # Errors
/// Those of readdir(3).
pub fn list(path: &Path) -> io::Result<Vec<Entry>> {
    #[cfg(feature = "simulation")]
    if let Some(world) = crate::sim::world::current() {
        return world.list(path);
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_dir = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
        entries.push(Entry {
            name: entry.file_name(),
            is_dir,
        });
    }
    entries.sort();
    Ok(entries)
}

/// Length, and time of the last change in Unix milliseconds. Blocks the thread: for the start only.
///
/// # Errors
/// Those of stat(2).
pub fn size_and_modified(path: &Path) -> io::Result<(u64, i64)> {
    #[cfg(feature = "simulation")]
    if let Some(world) = crate::sim::world::current() {
        return world.size_and_modified(path);
    }
    let metadata = std::fs::metadata(path)?;
    let since = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
    let modified_ms = since.map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    Ok((metadata.len(), modified_ms))
}

/// An operation on one path.
async fn on_path(
    ring: &Ring,
    path: &Path,
    entry: impl Fn(&CString) -> squeue::Entry,
) -> io::Result<()> {
    let path = c_path(path)?;
    let entry = entry(&path);
    // SAFETY: the entry points to the path that the operation owns.
    unsafe {
        Op::start(
            ring,
            entry,
            Held::without_fd(Thing::Path(path)),
            OnDrop::Finish,
        )
    }
    .await
    .result
    .map(drop)
}

async fn stat(ring: &Ring, path: &Path, mask: u32) -> io::Result<Box<libc::statx>> {
    let path = c_path(path)?;
    // SAFETY: statx is plain data.
    let mut stat: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
    let target = (&raw mut *stat).cast::<types::statx>();
    let entry = opcode::Statx::new(HERE, path.as_ptr(), target)
        .mask(mask)
        .build();
    let held = Held::without_fd(Thing::Stat(path, stat));
    // SAFETY: the entry points to the path and to the result that the operation owns.
    let done = unsafe { Op::start(ring, entry, held, OnDrop::Finish) }.await;
    done.result?;
    let Thing::Stat(_, stat) = done.held.thing else {
        unreachable!("a stat holds its result")
    };
    Ok(stat)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
