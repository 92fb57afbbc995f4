//! The simulated disk: names and files as running programs see them, and as they would be after a power cut.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::content::{Content, Data, PAGE};
use crate::file::Open;

pub(super) type InodeId = u64;

/// A disk with one file system. A clone is a snapshot and cheap; nothing is shared that changes.
#[derive(Clone)]
pub struct Disk {
    pub(super) inodes: BTreeMap<InodeId, Rc<Inode>>,
    /// Changes of names that no sync of their directories has made durable yet, in order.
    pub(super) names: Vec<NameChange>,
    pub(super) next_inode: InodeId,
    /// Orders all changes that are not durable.
    pub(super) next_change: u64,
    capacity: u64,
    used: u64,
    pub(super) now_ms: i64,
}

pub(super) const ROOT: InodeId = 1;

#[derive(Clone)]
pub(super) struct Inode {
    pub node: Node,
    /// Handles of the running program.
    opens: u32,
    /// Names, as the running program sees them.
    links: u32,
    modified_ms: i64,
    /// A sync of this file has failed: what was not durable then never will be, whatever a later one says.
    pub sync_failed: bool,
}

#[derive(Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Clone, Default)]
pub(super) struct FileNode {
    pub cached: Rc<Content>,
    pub durable: Rc<Content>,
    /// Between `durable` and `cached`, in order.
    pub pending: Vec<(u64, Change)>,
}

#[derive(Clone)]
pub(super) enum Change {
    Write {
        offset: u64,
        data: Data,
    },
    Len(u64),
    Allocate {
        offset: u64,
        len: u64,
        keep_len: bool,
    },
}

impl Change {
    fn is_write(&self) -> bool {
        matches!(self, Change::Write { .. })
    }

    /// Writes any of these bytes.
    fn touches(&self, range: &Range<u64>) -> bool {
        match self {
            Change::Write { offset, data } => {
                *offset < range.end && range.start < offset + data.len() as u64
            }
            _ => false,
        }
    }

    pub fn apply(&self, content: &mut Content) {
        match self {
            Change::Write { offset, data } => content.write(*offset, data),
            Change::Len(len) => content.set_len(*len),
            Change::Allocate {
                offset,
                len,
                keep_len,
            } => content.allocate(*offset, *len, *keep_len),
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct DirNode {
    pub cached: BTreeMap<OsString, InodeId>,
    pub durable: BTreeMap<OsString, InodeId>,
}

/// A change of one name, or a rename, which is atomic.
#[derive(Clone)]
pub(super) struct NameChange {
    pub number: u64,
    pub removes: Option<(InodeId, OsString)>,
    pub adds: Option<(InodeId, OsString)>,
    pub inode: InodeId,
}

impl NameChange {
    fn touches(&self, dir: InodeId) -> bool {
        let is = |place: &Option<(InodeId, OsString)>| place.as_ref().is_some_and(|p| p.0 == dir);
        is(&self.removes) || is(&self.adds)
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Disk {
    /// An empty disk of `capacity` bytes.
    pub fn new(capacity: u64) -> Disk {
        let root = Inode::new(Node::Dir(DirNode::default()), 0);
        Disk {
            inodes: [(ROOT, Rc::new(root))].into(),
            names: Vec::new(),
            next_inode: ROOT + 1,
            next_change: 1,
            capacity,
            used: 0,
            now_ms: 0,
        }
    }

    /// Makes the disk larger or smaller; less than what is used means full.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// Bytes there are, and bytes still free.
    pub fn space(&self) -> (u64, u64) {
        let used = self.used * PAGE as u64;
        (self.capacity, self.capacity.saturating_sub(used))
    }

    // --- looking from outside ---

    /// Creates a directory with all its parents, durably.
    ///
    /// # Errors
    /// A component is a file.
    pub fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = PathBuf::from("/");
        for name in components(path) {
            at.push(name);
            match self.create_dir(&at) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            let (parent, _) = self.parent(&at)?;
            let upto = self.next_change;
            self.sync_names(parent, upto);
        }
        Ok(())
    }

    /// Creates a file with this content, durably.
    ///
    /// # Errors
    /// Its directory is not there, or it is.
    pub fn create_file(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        let how = Open {
            create_new: true,
            ..Open::default()
        };
        let id = self.open(path, how)?;
        self.close(id);
        let (parent, _) = self.parent(path)?;
        self.sync_names(parent, self.next_change);
        self.damage(path, content)
    }

    /// Every file with its length, as the running program sees them.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        self.walk(ROOT, &PathBuf::from("/"), &mut found);
        found
    }

    fn walk(&self, dir: InodeId, path: &Path, found: &mut Vec<(PathBuf, u64)>) {
        for (name, id) in &self.dir_node(dir).cached {
            let path = path.join(name);
            match &self.inodes[id].node {
                Node::File(file) => found.push((path, file.cached.len())),
                Node::Dir(_) => self.walk(*id, &path, found),
            }
        }
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// It is not there, or a directory.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.file_node(self.lookup(path)?)?;
        let mut bytes = Vec::with_capacity(file.cached.len() as usize);
        let len = file.cached.len() as usize;
        file.cached.read(0, len, |part| bytes.extend(part));
        Ok(bytes)
    }

    /// Replaces the content of a file on the medium itself: rot, a tear, garbage.
    ///
    /// # Errors
    /// It is not there, or a directory.
    pub fn damage(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        let id = self.lookup(path)?;
        let (now, before) = (self.now_ms, self.file_node(id)?.cached.allocated());
        let file = self.file_mut(id, now)?;
        let mut damaged = Content::default();
        damaged.write(0, &Data::new(0, content));
        file.cached = Rc::new(damaged);
        file.durable = file.cached.clone();
        file.pending.clear();
        let after = file.cached.allocated();
        self.used = self.used + after - before;
        Ok(())
    }

    /// Replaces some bytes of a file on the medium itself, within its length.
    ///
    /// # Errors
    /// It is not there, or a directory.
    pub fn damage_at(&mut self, path: &Path, offset: u64, content: &[u8]) -> io::Result<()> {
        self.on_medium(path, |medium| {
            medium.write(offset, &Data::new(offset, content))
        })
    }

    /// Cuts a file on the medium itself.
    ///
    /// # Errors
    /// It is not there, or a directory.
    pub fn damage_len(&mut self, path: &Path, len: u64) -> io::Result<()> {
        self.on_medium(path, |medium| medium.set_len(len))
    }

    fn on_medium(&mut self, path: &Path, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let id = self.lookup(path)?;
        let (now, before) = (self.now_ms, self.file_node(id)?.cached.allocated());
        let file = self.file_mut(id, now)?;
        change(Rc::make_mut(&mut file.cached));
        file.durable = file.cached.clone();
        file.pending.clear();
        let after = file.cached.allocated();
        self.used = self.used + after - before;
        Ok(())
    }

    // --- names ---

    pub(super) fn lookup(&self, path: &Path) -> io::Result<InodeId> {
        let mut at = ROOT;
        for name in components(path) {
            let Node::Dir(dir) = &self.inodes[&at].node else {
                return Err(errno(libc::ENOTDIR));
            };
            at = *dir.cached.get(name).ok_or_else(|| errno(libc::ENOENT))?;
        }
        Ok(at)
    }

    fn parent<'a>(&self, path: &'a Path) -> io::Result<(InodeId, &'a OsStr)> {
        let name = path.file_name().ok_or_else(|| errno(libc::EINVAL))?;
        let dir = self.lookup(path.parent().ok_or_else(|| errno(libc::EINVAL))?)?;
        match &self.inodes[&dir].node {
            Node::Dir(_) => Ok((dir, name)),
            Node::File(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    /// Opens or creates; the handle is counted until [`Disk::close`].
    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<InodeId> {
        let id = match self.lookup(path) {
            Ok(_) if how.create_new => return Err(errno(libc::EEXIST)),
            Ok(id) => id,
            Err(e) if e.kind() == io::ErrorKind::NotFound && (how.create || how.create_new) => {
                let (dir, name) = self.parent(path)?;
                self.room(1)?;
                self.add(dir, name, Node::File(FileNode::default()))
            }
            Err(e) => return Err(e),
        };
        if matches!(self.inodes[&id].node, Node::Dir(_)) {
            return Err(errno(libc::EISDIR));
        }
        if how.truncate {
            self.set_len(id, 0)?;
        }
        self.inode_mut(id).opens += 1;
        Ok(id)
    }

    pub(super) fn close(&mut self, id: InodeId) {
        self.inode_mut(id).opens -= 1;
        self.release(id);
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.lookup(path).is_ok() {
            return Err(errno(libc::EEXIST));
        }
        let (dir, name) = self.parent(path)?;
        self.room(1)?;
        self.add(dir, name, Node::Dir(DirNode::default()));
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let id = self.lookup(path)?;
        match &self.inodes[&id].node {
            Node::File(_) => self.remove(path, id),
            Node::Dir(_) => Err(errno(libc::EISDIR)),
        }
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.lookup(path)?;
        match &self.inodes[&id].node {
            Node::Dir(dir) if dir.cached.is_empty() => self.remove(path, id),
            Node::Dir(_) => Err(errno(libc::ENOTEMPTY)),
            Node::File(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.lookup(from)?;
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let replaced = self.dir_node(to_dir).cached.get(to_name).copied();
        if replaced == Some(inode) {
            return Ok(());
        }
        if let Some(Node::Dir(dir)) = replaced.map(|id| &self.inodes[&id].node)
            && !dir.cached.is_empty()
        {
            return Err(errno(libc::ENOTEMPTY));
        }
        self.dir_mut(from_dir).cached.remove(from_name);
        self.dir_mut(to_dir).cached.insert(to_name.into(), inode);
        self.log_name(
            Some((from_dir, from_name.into())),
            Some((to_dir, to_name.into())),
            inode,
        );
        if let Some(id) = replaced {
            self.inode_mut(id).links -= 1;
            self.release(id);
        }
        Ok(())
    }

    /// The names in a directory: true for directories.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let Node::Dir(dir) = &self.inodes[&self.lookup(path)?].node else {
            return Err(errno(libc::ENOTDIR));
        };
        let entry = |(name, id): (&OsString, &InodeId)| {
            let is_dir = matches!(self.inodes[id].node, Node::Dir(_));
            (name.clone(), is_dir)
        };
        Ok(dir.cached.iter().map(entry).collect())
    }

    /// Length (0 for a directory) and time of the last change in Unix milliseconds.
    pub(super) fn stat(&self, path: &Path) -> io::Result<(u64, i64)> {
        let inode = &self.inodes[&self.lookup(path)?];
        let len = match &inode.node {
            Node::File(file) => file.cached.len(),
            Node::Dir(_) => 0,
        };
        Ok((len, inode.modified_ms))
    }

    /// Changes of names in `dir` before number `upto` become durable.
    pub(super) fn sync_names(&mut self, dir: InodeId, upto: u64) {
        let names = std::mem::take(&mut self.names);
        let (synced, left): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|change| change.number < upto && change.touches(dir));
        self.names = left;
        for change in &synced {
            self.make_durable(change);
        }
    }

    pub(super) fn make_durable(&mut self, change: &NameChange) {
        if let Some((dir, name)) = &change.removes
            && let Some(Node::Dir(dir)) = self.node_mut(*dir)
            && dir.durable.get(name) == Some(&change.inode)
        {
            dir.durable.remove(name);
        }
        if let Some((dir, name)) = &change.adds
            && let Some(Node::Dir(dir)) = self.node_mut(*dir)
        {
            dir.durable.insert(name.clone(), change.inode);
        }
    }

    // --- files ---

    pub(super) fn len(&self, id: InodeId) -> u64 {
        self.file_node(id).map_or(0, |file| file.cached.len())
    }

    pub(super) fn content(&self, id: InodeId) -> io::Result<&Content> {
        Ok(&self.file_node(id)?.cached)
    }

    pub(super) fn write(&mut self, id: InodeId, offset: u64, data: Data) -> io::Result<()> {
        let len = data.len() as u64;
        self.room(self.file_node(id)?.cached.missing(offset, len))?;
        self.change(id, Change::Write { offset, data })
    }

    pub(super) fn set_len(&mut self, id: InodeId, len: u64) -> io::Result<()> {
        self.change(id, Change::Len(len))
    }

    pub(super) fn allocate(
        &mut self,
        id: InodeId,
        offset: u64,
        len: u64,
        keep_len: bool,
    ) -> io::Result<()> {
        self.room(self.file_node(id)?.cached.missing(offset, len))?;
        let allocate = Change::Allocate {
            offset,
            len,
            keep_len,
        };
        self.change(id, allocate)
    }

    /// Changes of the file before number `upto` become durable, its writes where they touch `range`.
    pub(super) fn sync_file(&mut self, id: InodeId, upto: u64, range: &Range<u64>) {
        let Some(Node::File(file)) = self.node_mut(id) else {
            return;
        };
        let pending = std::mem::take(&mut file.pending);
        // Of length and space, all, and in order with what was written before.
        let shape = pending
            .iter()
            .filter(|(number, change)| *number < upto && !change.is_write());
        let shape = shape.map(|(number, _)| *number).max();
        for (number, change) in pending {
            let covered = shape.is_some_and(|last| number <= last) || change.touches(range);
            if number < upto && covered {
                change.apply(Rc::make_mut(&mut file.durable));
            } else {
                file.pending.push((number, change));
            }
        }
    }

    /// A sync failed: the kernel reports it once, marks the pages clean and forgets what they held.
    pub(super) fn lose_pending(&mut self, id: InodeId) {
        self.inode_mut(id).sync_failed = true;
        if let Some(Node::File(file)) = self.node_mut(id) {
            file.pending.clear();
        }
    }

    fn change(&mut self, id: InodeId, change: Change) -> io::Result<()> {
        let (number, now) = (self.next_change, self.now_ms);
        self.next_change += 1;
        let file = self.file_mut(id, now)?;
        let before = file.cached.allocated();
        change.apply(Rc::make_mut(&mut file.cached));
        let after = file.cached.allocated();
        file.pending.push((number, change));
        self.used = self.used + after - before;
        Ok(())
    }

    // --- inodes ---

    fn add(&mut self, dir: InodeId, name: &OsStr, node: Node) -> InodeId {
        let id = self.next_inode;
        self.next_inode += 1;
        let inode = Inode::new(node, self.now_ms);
        self.inodes.insert(id, Rc::new(inode));
        self.dir_mut(dir).cached.insert(name.into(), id);
        self.log_name(None, Some((dir, name.into())), id);
        id
    }

    fn remove(&mut self, path: &Path, id: InodeId) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        self.dir_mut(dir).cached.remove(name);
        self.log_name(Some((dir, name.into())), None, id);
        self.inode_mut(id).links -= 1;
        self.release(id);
        Ok(())
    }

    /// Space of a file without name and handle is free. The inode stays: a power cut may bring the name back.
    fn release(&mut self, id: InodeId) {
        let inode = &self.inodes[&id];
        if inode.links == 0
            && inode.opens == 0
            && let Node::File(file) = &inode.node
        {
            self.used -= file.cached.allocated();
        }
    }

    fn log_name(
        &mut self,
        removes: Option<(InodeId, OsString)>,
        adds: Option<(InodeId, OsString)>,
        inode: InodeId,
    ) {
        let number = self.next_change;
        self.next_change += 1;
        self.names.push(NameChange {
            number,
            removes,
            adds,
            inode,
        });
    }

    fn room(&self, pages: u64) -> io::Result<()> {
        if pages > 0 && (self.used + pages) * PAGE as u64 > self.capacity {
            return Err(errno(libc::ENOSPC));
        }
        Ok(())
    }

    /// Counts what the inodes hold that can be reached; after a power cut.
    pub(super) fn recount(&mut self) {
        let held = |inode: &Rc<Inode>| match &inode.node {
            Node::File(file) => file.cached.allocated(),
            Node::Dir(_) => 0,
        };
        self.used = self.inodes.values().map(held).sum();
    }

    pub(super) fn dir_node(&self, id: InodeId) -> &DirNode {
        match &self.inodes[&id].node {
            Node::Dir(dir) => dir,
            Node::File(_) => unreachable!("checked by the caller"),
        }
    }

    pub(super) fn file_node(&self, id: InodeId) -> io::Result<&FileNode> {
        match &self.inodes[&id].node {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(errno(libc::EISDIR)),
        }
    }

    fn dir_mut(&mut self, id: InodeId) -> &mut DirNode {
        match &mut self.inode_mut(id).node {
            Node::Dir(dir) => dir,
            Node::File(_) => unreachable!("checked by the caller"),
        }
    }

    fn file_mut(&mut self, id: InodeId, now: i64) -> io::Result<&mut FileNode> {
        let inode = self.inode_mut(id);
        inode.modified_ms = now;
        match &mut inode.node {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(errno(libc::EISDIR)),
        }
    }

    pub(super) fn node_mut(&mut self, id: InodeId) -> Option<&mut Node> {
        Some(&mut Rc::make_mut(self.inodes.get_mut(&id)?).node)
    }

    pub(super) fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        Rc::make_mut(self.inodes.get_mut(&id).expect("inodes stay"))
    }
}

impl Inode {
    fn new(node: Node, modified_ms: i64) -> Inode {
        Inode {
            node,
            opens: 0,
            links: 1,
            modified_ms,
            sync_failed: false,
        }
    }

    /// As a machine that was just switched on finds it.
    pub(super) fn forget_handles(&mut self, links: u32) {
        self.opens = 0;
        self.links = links;
        self.sync_failed = false;
    }
}

fn components(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}
