//! Operations on the simulated disk: what is asked, when it takes effect, what comes back.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::content::Data;
use super::disk::{Disk, InodeId};
use super::fault::Kind;
use super::world::World;
use crate::buffer::Buffer;
use crate::file::Open;

/// One operation. It takes effect, whole, at its completion.
#[derive(Clone)]
pub(crate) enum Request {
    Open {
        path: PathBuf,
        how: Open,
    },
    Read {
        file: Rc<Handle>,
        offset: u64,
        len: usize,
    },
    Write {
        file: Rc<Handle>,
        offset: u64,
        data: Data,
    },
    /// Covers the changes before number `upto`, those that were complete when the sync started; of writes those that touch
    /// `range`. Asked for at `asked`, before what it belongs to was written.
    Sync {
        file: Rc<Handle>,
        upto: u64,
        range: Range<u64>,
        asked: Duration,
    },
    SetLen {
        file: Rc<Handle>,
        len: u64,
    },
    Allocate {
        file: Rc<Handle>,
        offset: u64,
        len: u64,
        keep_len: bool,
    },
    SyncDir {
        path: PathBuf,
        upto: u64,
    },
    CreateDir(PathBuf),
    RemoveDir(PathBuf),
    Unlink(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Stat(PathBuf),
}

/// What an operation brings.
pub(crate) enum Reply {
    Nothing,
    Opened(InodeId),
    Bytes(Buffer),
    Len(u64),
}

/// An open file of the running program.
pub(crate) struct Handle {
    pub world: Rc<World>,
    pub inode: InodeId,
    pub path: PathBuf,
    pub direct: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.world.disk.borrow_mut().close(self.inode);
    }
}

impl Request {
    pub fn kind(&self) -> Kind {
        match self {
            Request::Read { .. } | Request::Stat(_) => Kind::Read,
            Request::Open { .. } if !self.changes() => Kind::Read,
            Request::Write { .. } => Kind::Write,
            Request::Sync { .. } => Kind::Sync,
            Request::SyncDir { .. } => Kind::SyncDir,
            Request::Open { .. }
            | Request::SetLen { .. }
            | Request::Allocate { .. }
            | Request::CreateDir(_)
            | Request::RemoveDir(_)
            | Request::Unlink(_)
            | Request::Rename { .. } => Kind::Metadata,
        }
    }

    /// Whether a power cut during or after it can leave something else than one before it.
    pub fn changes(&self) -> bool {
        match self {
            Request::Open { how, .. } => how.create || how.create_new || how.truncate,
            Request::Read { .. } | Request::Stat(_) => false,
            _ => true,
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Request::Open { path, .. }
            | Request::SyncDir { path, .. }
            | Request::CreateDir(path)
            | Request::RemoveDir(path)
            | Request::Unlink(path)
            | Request::Rename { from: path, .. }
            | Request::Stat(path) => path,
            Request::Read { file, .. }
            | Request::Write { file, .. }
            | Request::Sync { file, .. }
            | Request::SetLen { file, .. }
            | Request::Allocate { file, .. } => &file.path,
        }
    }

    /// In a few words, for messages.
    pub fn describe(&self) -> String {
        let path = self.path().display();
        match self {
            Request::Open { how, .. } if how.create => format!("create {path}"),
            Request::Open { .. } => format!("open {path}"),
            Request::Read { offset, len, .. } => format!("read {path} [{offset}, +{len})"),
            Request::Write { offset, data, .. } => {
                format!("write {path} [{offset}, +{})", data.len())
            }
            Request::Sync { .. } => format!("sync {path}"),
            Request::SetLen { len, .. } => format!("cut {path} to {len}"),
            Request::Allocate { offset, len, .. } => {
                format!("allocate {path} [{offset}, +{len})")
            }
            Request::SyncDir { .. } => format!("sync directory {path}"),
            Request::CreateDir(_) => format!("create directory {path}"),
            Request::RemoveDir(_) => format!("remove directory {path}"),
            Request::Unlink(_) => format!("unlink {path}"),
            Request::Rename { to, .. } => format!("rename {path} to {}", to.display()),
            Request::Stat(_) => format!("stat {path}"),
        }
    }

    /// Takes effect.
    pub fn apply(&self, disk: &mut Disk) -> io::Result<Reply> {
        let done = match self {
            Request::Open { path, how } => return Ok(Reply::Opened(disk.open(path, *how)?)),
            Request::Read { file, offset, len } => {
                let mut buffer = Buffer::with_capacity(*len);
                let content = disk.content(file.inode)?;
                content.read(*offset, *len, |part| buffer.extend_from_slice(part));
                return Ok(Reply::Bytes(buffer));
            }
            Request::Stat(path) => return Ok(Reply::Len(disk.stat(path)?.0)),
            Request::Write { file, offset, data } => disk.write(file.inode, *offset, data.clone()),
            Request::Sync {
                file, upto, range, ..
            } => {
                disk.sync_file(file.inode, *upto, range);
                Ok(())
            }
            Request::SetLen { file, len } => disk.set_len(file.inode, *len),
            Request::Allocate {
                file,
                offset,
                len,
                keep_len,
            } => disk.allocate(file.inode, *offset, *len, *keep_len),
            Request::SyncDir { path, upto } => {
                let dir = disk.lookup(path)?;
                disk.sync_names(dir, *upto);
                Ok(())
            }
            Request::CreateDir(path) => disk.create_dir(path),
            Request::RemoveDir(path) => disk.remove_dir(path),
            Request::Unlink(path) => disk.unlink(path),
            Request::Rename { from, to } => disk.rename(from, to),
        };
        done.map(|()| Reply::Nothing)
    }
}

/// Where the reply of an operation on its way will lie.
#[derive(Default)]
pub(super) struct Answer {
    reply: Option<io::Result<Reply>>,
    waker: Option<Waker>,
}

impl Answer {
    /// Stores the reply; the waker is to be called without a borrow.
    pub fn put(&mut self, reply: io::Result<Reply>) -> Option<Waker> {
        self.reply = Some(reply);
        self.waker.take()
    }
}

/// The future of an operation. Dropping it changes nothing: the operation completes unseen.
pub(crate) struct Pending(pub(super) Rc<RefCell<Answer>>);

impl Future for Pending {
    type Output = io::Result<Reply>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Reply>> {
        let mut answer = self.0.borrow_mut();
        match answer.reply.take() {
            Some(reply) => Poll::Ready(reply),
            None => {
                answer.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
