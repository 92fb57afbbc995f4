//! Operations that fail, as asked for by a test.

use std::io;
use std::path::Path;

/// What kind of operation a [`Fault`] strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Reads of file content.
    Read,
    /// Writes of file content.
    Write,
    /// fsync and fdatasync of a file.
    Sync,
    /// fsync of a directory.
    SyncDir,
    /// Everything that creates, renames, removes, cuts or allocates.
    Metadata,
}

/// An operation that fails.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which operations count.
    pub kind: Kind,
    /// Only those on paths that contain this; all paths contain the empty text.
    pub path: String,
    /// So many of them succeed before the first that fails.
    pub after: u64,
    /// So many fail; then the disk is well again.
    pub times: u64,
    /// With this errno.
    pub errno: i32,
}

/// The faults of a disk that are still to come.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub fn strike(&mut self, kind: Kind, path: &Path) -> Option<io::Error> {
        let path = path.to_string_lossy();
        for fault in &mut self.0 {
            if fault.kind != kind || fault.times == 0 || !path.contains(&fault.path) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            return Some(io::Error::from_raw_os_error(fault.errno));
        }
        None
    }
}
