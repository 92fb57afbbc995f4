//! Open descriptors within a bound, least recently used closed first.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::rc::Rc;

use millstream_ring::{File, Open, Ring};

use super::Access;
use crate::dir::lacks_descriptors;

pub(super) struct Cache {
    descriptors_max: usize,
    direct: Cell<bool>,
    open: RefCell<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    by_path: HashMap<Rc<Path>, PerPath>,
    /// Last use → which one. Uses are numbered, so the first is the one to close.
    by_use: BTreeMap<u64, (Rc<Path>, Access)>,
    uses: u64,
    /// How often something was forgotten: an open that was under way then may have found the old file.
    forgotten: u64,
}

/// The same file may be open both ways while a segment is being rolled.
#[derive(Default)]
struct PerPath {
    buffered: Option<(File, u64)>,
    direct: Option<(File, u64)>,
}

impl PerPath {
    fn slot(&mut self, access: Access) -> &mut Option<(File, u64)> {
        match access {
            Access::Buffered => &mut self.buffered,
            Access::Direct => &mut self.direct,
        }
    }
}

impl Cache {
    pub(super) fn new(descriptors_max: usize) -> Cache {
        assert!(descriptors_max > 0);
        Cache {
            descriptors_max,
            direct: Cell::new(true),
            open: RefCell::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.borrow().by_use.len()
    }

    pub(super) fn without_direct(&self) {
        self.direct.set(false);
    }

    pub(super) async fn get(&self, ring: &Ring, path: &Path, access: Access) -> io::Result<File> {
        let access = if self.direct.get() {
            access
        } else {
            Access::Buffered
        };
        let forgotten = self.open.borrow().forgotten;
        if let Some(file) = self.open.borrow_mut().touch(path, access) {
            return Ok(file);
        }
        let how = Open {
            read: true,
            write: true,
            direct: access == Access::Direct,
            // The kernel would keep megabytes of reads in flight, which flushes wait for; what is read next is known here.
            random: access == Access::Buffered,
            ..Open::default()
        };
        let file = match File::open(ring, path, how).await {
            // Those that nobody uses just now go first.
            Err(error) if lacks_descriptors(&error) && self.close_all() => {
                File::open(ring, path, how).await?
            }
            file => file?,
        };
        let mut open = self.open.borrow_mut();
        if open.forgotten != forgotten {
            return Ok(file);
        }
        // Somebody else may have opened it meanwhile: one of the two is enough.
        if let Some(first) = open.touch(path, access) {
            return Ok(first);
        }
        if open.by_use.len() >= self.descriptors_max {
            open.close_oldest();
        }
        open.insert(path, access, file.clone());
        assert!(open.by_use.len() <= self.descriptors_max);
        Ok(file)
    }

    /// Those in use are closed when their users are done. True if there were any.
    pub(super) fn close_all(&self) -> bool {
        let mut open = self.open.borrow_mut();
        let any = !open.by_use.is_empty();
        open.by_path.clear();
        open.by_use.clear();
        any
    }

    pub(super) fn forget(&self, which: impl Fn(&Path) -> bool) {
        let mut open = self.open.borrow_mut();
        open.forgotten += 1;
        let OpenFiles {
            by_path, by_use, ..
        } = &mut *open;
        by_path.retain(|path, files| {
            let keep = !which(path);
            if !keep {
                for (_, used) in [files.buffered.take(), files.direct.take()]
                    .into_iter()
                    .flatten()
                {
                    by_use.remove(&used);
                }
            }
            keep
        });
    }
}

impl OpenFiles {
    fn touch(&mut self, path: &Path, access: Access) -> Option<File> {
        let (file, used) = self.by_path.get_mut(path)?.slot(access).as_mut()?;
        let key = self.by_use.remove(used)?;
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(file.clone())
    }

    fn insert(&mut self, path: &Path, access: Access, file: File) {
        let path: Rc<Path> = Rc::from(path);
        self.uses += 1;
        let slot = self.by_path.entry(Rc::clone(&path)).or_default();
        *slot.slot(access) = Some((file, self.uses));
        self.by_use.insert(self.uses, (path, access));
    }

    fn close_oldest(&mut self) {
        let Some((_, (path, access))) = self.by_use.pop_first() else {
            return;
        };
        let Some(files) = self.by_path.get_mut(&path) else {
            return;
        };
        *files.slot(access) = None;
        if files.buffered.is_none() && files.direct.is_none() {
            self.by_path.remove(&path);
        }
    }
}
