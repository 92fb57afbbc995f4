//! Files and names of the simulated disk, as the ring offers them.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::content::{Data, SECTOR};
use super::op::{Handle, Reply, Request};
use super::world::World;
use crate::buffer::{BLOCK, Buffer, Bytes};
use crate::file::Open;
use crate::fs::{Entry, Space};

/// An open file of the simulated disk.
#[derive(Clone)]
pub(crate) struct SimFile(Rc<Handle>);

impl SimFile {
    pub async fn open(world: &Rc<World>, path: &Path, how: Open) -> io::Result<SimFile> {
        let path = path.to_owned();
        let request = Request::Open {
            path: path.clone(),
            how,
        };
        let reply = world.submit(request).await?;
        let Reply::Opened(inode) = reply else {
            unreachable!("an open brings a file")
        };
        Ok(SimFile(Rc::new(Handle {
            world: world.clone(),
            inode,
            path,
            direct: how.direct,
        })))
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub fn len(&self) -> u64 {
        self.0.world.disk.borrow().len(self.0.inode)
    }

    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Buffer> {
        self.check_aligned(offset, len)?;
        let request = Request::Read {
            file: self.0.clone(),
            offset,
            len,
        };
        match self.0.world.submit(request).await? {
            Reply::Bytes(bytes) => Ok(bytes),
            _ => unreachable!("a read brings bytes"),
        }
    }

    pub async fn write_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.check_aligned(offset, part.len())?;
            if self.0.direct && !(part.as_ptr() as usize).is_multiple_of(SECTOR) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            bytes.extend_from_slice(part);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let request = Request::Write {
            file: self.0.clone(),
            offset,
            data: Data::new(offset, &bytes),
        };
        self.0.world.submit(request).await.map(drop)
    }

    /// Writes and flushes what it wrote, and no other write.
    pub async fn write_durably_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()> {
        let asked = self.0.world.now();
        self.write_at(parts, offset).await?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.sync_range(offset..offset + len as u64, asked).await
    }

    pub async fn sync(&self) -> io::Result<()> {
        self.sync_range(0..u64::MAX, self.0.world.now()).await
    }

    async fn sync_range(&self, range: Range<u64>, asked: Duration) -> io::Result<()> {
        let request = Request::Sync {
            file: self.0.clone(),
            upto: self.0.world.next_change(),
            range,
            asked,
        };
        self.0.world.submit(request).await.map(drop)
    }

    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        let request = Request::SetLen {
            file: self.0.clone(),
            len,
        };
        self.0.world.submit(request).await.map(drop)
    }

    pub async fn allocate(&self, offset: u64, len: u64, keep_len: bool) -> io::Result<()> {
        let request = Request::Allocate {
            file: self.0.clone(),
            offset,
            len,
            keep_len,
        };
        self.0.world.submit(request).await.map(drop)
    }

    fn check_aligned(&self, offset: u64, len: usize) -> io::Result<()> {
        let whole = offset.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK);
        if self.0.direct && !whole {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }
}

impl World {
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.submit(Request::Rename { from, to }).await.map(drop)
    }

    pub async fn unlink(&self, path: &Path) -> io::Result<()> {
        self.submit(Request::Unlink(path.to_owned()))
            .await
            .map(drop)
    }

    pub async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.submit(Request::RemoveDir(path.to_owned()))
            .await
            .map(drop)
    }

    pub async fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.submit(Request::CreateDir(path.to_owned()))
            .await
            .map(drop)
    }

    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let request = Request::SyncDir {
            path: path.to_owned(),
            upto: self.next_change(),
        };
        self.submit(request).await.map(drop)
    }

    pub async fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.len(path).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub async fn len(&self, path: &Path) -> io::Result<u64> {
        match self.submit(Request::Stat(path.to_owned())).await? {
            Reply::Len(len) => Ok(len),
            _ => unreachable!("a stat brings a length"),
        }
    }

    pub fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let entries = self.disk.borrow().list(path)?.into_iter();
        Ok(entries
            .map(|(name, is_dir)| Entry { name, is_dir })
            .collect())
    }

    pub fn size_and_modified(&self, path: &Path) -> io::Result<(u64, i64)> {
        self.disk.borrow().stat(path)
    }

    pub fn free_space(&self) -> Space {
        let (total, available) = self.disk.borrow().space();
        Space { total, available }
    }
}
