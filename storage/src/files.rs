//! One core's files: descriptors within a bound, and the slow work on names done ahead of need and made durable.
//!
//! Whoever gets `Ok` from creating, growing, cutting or renaming may rely on it after a power cut: the file *and* its
//! directories were fsynced (fdatasync is not enough for sizes and names). Only index entries are written without:
//! they follow from the batches.

mod cache;
mod dir_sync;
mod reaper;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{BLOCK, Bytes, File, Open, Ring, fs};

use crate::dir::{
    self, DataDir, FileKind, Id, Mark, PARTITION_METADATA, PartitionName, file_name,
    lacks_descriptors, marked_name,
};
use crate::segment::index::Unwritten;
use cache::Cache;
use dir_sync::DirSync;
use reaper::Reaper;

/// A log's first extent. Idle logs have none.
const EXTENT_MIN: u64 = 1 << 20;
/// Extents double up to this: long runs on the disk for busy logs, little waste for others.
const EXTENT_MAX: u64 = 64 << 20;
/// Renamed files are told apart from live ones by it, here as in Kafka.
pub(crate) const DELETED: &str = ".deleted";

/// Through which door a file is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache: indexes, and what is looked up in rolled, cut segments.
    Buffered,
    /// O_DIRECT, whole blocks: segments that may still be written, and what consumers read of any.
    Direct,
}

/// fsync. Whatever its error is called, it is never one that passes: the kernel has dropped what it could not write, and
/// a second try would succeed without it.
pub(crate) async fn flush(file: &File) -> io::Result<()> {
    let fatal = |cause: io::Error| io::Error::other(format!("flush: {cause}"));
    file.sync_all().await.map_err(fatal)
}

/// The files of one core in one data directory.
#[derive(Clone)]
pub struct Files {
    shared: Rc<Shared>,
}

struct Shared {
    ring: Ring,
    cache: Cache,
    reaper: Reaper,
    /// Of the data directory itself.
    dir_sync: DirSync,
    /// Nothing is flushed any more.
    closed: Cell<bool>,
}

impl Files {
    /// At most `descriptors_max` files stay open between uses; those in use come on top.
    pub fn new(ring: &Ring, descriptors_max: usize) -> Files {
        Files {
            shared: Rc::new(Shared {
                ring: ring.clone(),
                cache: Cache::new(descriptors_max),
                reaper: Reaper::default(),
                dir_sync: DirSync::default(),
                closed: Cell::new(false),
            }),
        }
    }

    /// Files open at the moment, those only held by somebody else not counted.
    #[cfg(test)]
    pub fn open_count(&self) -> usize {
        self.shared.cache.len()
    }

    /// Says that the file system has no direct I/O: everything goes through the page cache then.
    pub fn without_direct(&self) {
        self.shared.cache.without_direct();
    }

    /// The file at `path`, opened for reading and writing unless it is open already. It must exist.
    pub async fn get(&self, path: &Path, access: Access) -> io::Result<File> {
        self.shared.cache.get(&self.shared.ring, path, access).await
    }

    /// [`flush`] of one of these files.
    pub async fn flush(&self, file: &File) -> io::Result<()> {
        self.flushed_by(flush(file)).await
    }

    /// A flush of one of these files or directories. After one that failed, and after [`Files::close`], none begins: it could
    /// be of the same file, and say that all is well.
    pub async fn flushed_by(&self, sync: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        self.check_open()?;
        sync.await.inspect_err(|cause| {
            // For want of a descriptor the directory was not opened, so nothing was flushed and nothing lost.
            if !lacks_descriptors(cause) {
                self.close();
            }
        })
    }

    fn check_open(&self) -> io::Result<()> {
        if self.shared.closed.get() {
            return Err(io::Error::other("flush: the data directory is offline"));
        }
        Ok(())
    }

    /// A flush of the names in a directory.
    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.flushed_by(fs::sync_dir(&self.shared.ring, path)).await
    }

    /// The directory is offline: nothing is flushed any more.
    pub fn close(&self) {
        self.shared.closed.set(true);
    }

    /// Closes all that nobody uses just now: somebody lacks descriptors.
    pub fn close_idle(&self) {
        self.shared.cache.close_all();
    }

    /// Closes a file between uses: before it is renamed or removed, or another one would be found under its name.
    pub fn forget(&self, path: &Path) {
        self.shared.cache.forget(|open| open == path);
    }

    /// Closes all files under a directory, for the same reason.
    pub fn forget_under(&self, dir: &Path) {
        self.shared.cache.forget(|open| open.starts_with(dir));
    }

    /// Creates a partition's directory with `partition.metadata` and an empty first segment. Whatever of it is there already
    /// stays, unless it belongs to another topic id: that is `AlreadyExists`.
    pub async fn create_partition(
        &self,
        dir: &DataDir,
        name: &PartitionName,
        topic_id: Id,
    ) -> io::Result<PathBuf> {
        let ring = &self.shared.ring;
        let path = dir.partition_path(name);
        ignore(
            io::ErrorKind::AlreadyExists,
            fs::create_dir(ring, &path).await,
        )?;
        let metadata = path.join(PARTITION_METADATA);
        match fs::read(ring, &metadata).await {
            Ok(bytes) => {
                if dir::parse_partition_metadata(&bytes).ok() != Some(topic_id) {
                    let message = format!("{} belongs to another topic id", path.display());
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
                }
                self.create_segment(&path, 0).await?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_empty(&path.join(file_name(0, FileKind::Log)))
                    .await?;
                // Syncs the directory, and with it the name of the segment.
                let bytes = dir::encode_partition_metadata(&topic_id);
                // Another task may be about to make the same partition: after a failure it must not.
                self.check_open()?;
                let written = fs::write_durably(ring, &metadata, &bytes).await;
                written.inspect_err(|cause| {
                    // A log that is deleted meanwhile has no directory any more.
                    let is_gone = cause.kind() == io::ErrorKind::NotFound;
                    if !is_gone && dir::takes_directory_offline(cause) {
                        self.close();
                    }
                })?;
            }
            Err(error) => return Err(error),
        }
        self.sync_data_dir(dir).await?;
        Ok(path)
    }

    /// Creates an empty segment, or leaves the one that is there.
    pub async fn create_segment(&self, dir: &Path, base_offset: i64) -> io::Result<()> {
        self.create_empty(&dir.join(file_name(base_offset, FileKind::Log)))
            .await?;
        self.sync_dir(dir).await
    }

    /// Gives a file of `allocated` bytes blocks for at least `needed`, in an extent as large as what it has, within
    /// `at_most`. Returns how many bytes it has now.
    pub async fn grow(
        &self,
        path: &Path,
        allocated: u64,
        needed: u64,
        at_most: u64,
    ) -> io::Result<u64> {
        assert!(needed > allocated, "{needed} bytes are there already");
        let target = grown(allocated, needed, at_most);
        let file = self.get(path, Access::Direct).await?;
        match file.allocate(allocated, target - allocated).await {
            Ok(()) => {}
            // Some file systems cannot reserve blocks: their files grow with the writes.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                file.set_len(target).await?
            }
            Err(error) => return Err(error),
        }
        self.flush(&file).await?;
        Ok(target)
    }

    /// Cuts a file to `len` bytes.
    pub async fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = self.get(path, Access::Buffered).await?;
        file.set_len(len).await?;
        self.flush(&file).await
    }

    /// Writes index entries at their places. Not synced, and the file may be longer from before a crash: it counts only as
    /// far as somebody remembers that it was synced, and as a whole after [`Files::finish_index`].
    pub async fn write_index(
        &self,
        dir: &Path,
        base_offset: i64,
        entries: &Unwritten,
    ) -> io::Result<()> {
        self.put_index(dir, base_offset, entries, false).await
    }

    /// Writes the last entries, cuts both files behind them and makes them durable.
    pub async fn finish_index(
        &self,
        dir: &Path,
        base_offset: i64,
        entries: &Unwritten,
    ) -> io::Result<()> {
        self.put_index(dir, base_offset, entries, true).await?;
        self.sync_dir(dir).await
    }

    /// Renames all files of these segments, and the producer snapshots taken at their base offsets, to `.deleted`. Returns
    /// their new paths, for [`Files::unlink_later`].
    pub async fn mark_segments_deleted(
        &self,
        dir: &Path,
        bases: &[i64],
    ) -> io::Result<Vec<PathBuf>> {
        let mut renamed = Vec::new();
        for &base_offset in bases {
            for kind in FileKind::ALL {
                let path = dir.join(file_name(base_offset, kind));
                let mut marked = path.clone().into_os_string();
                marked.push(DELETED);
                let marked = PathBuf::from(marked);
                self.forget(&path);
                match fs::rename(&self.shared.ring, &path, &marked).await {
                    Ok(()) => renamed.push(marked),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.sync_dir(dir).await?;
        Ok(renamed)
    }

    /// Renames a partition's directory for removal, or because nobody knows it. Returns its new path.
    pub async fn mark_partition(
        &self,
        dir: &DataDir,
        name: &PartitionName,
        mark: Mark,
    ) -> io::Result<PathBuf> {
        let path = dir.partition_path(name);
        let marked = dir.path().join(marked_name(name, dir::new_uuid(), mark));
        self.forget_under(&path);
        fs::rename(&self.shared.ring, &path, &marked).await?;
        self.sync_data_dir(dir).await?;
        Ok(marked)
    }

    async fn sync_data_dir(&self, dir: &DataDir) -> io::Result<()> {
        let sync = || self.sync_dir(dir.path());
        self.shared.dir_sync.run(sync).await
    }

    /// Removes a file, or a directory with all in it, some time after `after`: one name at a time, slowly. What a stop leaves
    /// undone is found by its name at the next start.
    pub fn unlink_later(&self, path: PathBuf, after: Duration) {
        self.forget_under(&path);
        let shared = &self.shared;
        let due = shared.ring.now() + after;
        if shared.reaper.add(due, path) {
            let this = Rc::clone(shared);
            let run = async move { this.reaper.run(&this.ring).await };
            shared.ring.spawn_background(run);
        }
    }

    /// Removes a directory with all in it, at once: where not even a new name finds space, this makes some.
    pub async fn remove_now(&self, path: &Path) -> io::Result<()> {
        self.forget_under(path);
        reaper::remove(&self.shared.ring, path).await
    }

    async fn create_empty(&self, path: &Path) -> io::Result<()> {
        let how = Open {
            write: true,
            create: true,
            ..Open::default()
        };
        self.flush(&File::open(&self.shared.ring, path, how).await?)
            .await
    }

    async fn put_index(
        &self,
        dir: &Path,
        base_offset: i64,
        entries: &Unwritten,
        last: bool,
    ) -> io::Result<()> {
        for (kind, at, bytes) in [
            (FileKind::Index, entries.offset_at, &entries.offsets),
            (FileKind::TimeIndex, entries.time_at, &entries.times),
        ] {
            if bytes.is_empty() && !last {
                continue;
            }
            let path = dir.join(file_name(base_offset, kind));
            let file = match self.get(&path, Access::Buffered).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.create_empty(&path).await?;
                    self.get(&path, Access::Buffered).await?
                }
                file => file?,
            };
            if !bytes.is_empty() {
                file.write_at(vec![Bytes::from(bytes.clone())], at).await?;
            }
            if last {
                file.set_len(at + bytes.len() as u64).await?;
                self.flush(&file).await?;
            }
        }
        Ok(())
    }
}

/// The size to grow to: as much again, in whole blocks, within what the segment may have; never less than needed.
fn grown(allocated: u64, needed: u64, at_most: u64) -> u64 {
    let doubled = allocated + allocated.clamp(EXTENT_MIN, EXTENT_MAX);
    doubled
        .min(at_most)
        .max(needed)
        .next_multiple_of(BLOCK as u64)
}

fn ignore(kind: io::ErrorKind, result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| {
        if error.kind() == kind {
            Ok(())
        } else {
            Err(error)
        }
    })
}

#[cfg(test)]
mod tests;
