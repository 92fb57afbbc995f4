//! The ring of pre-written files: where the next entry goes, and when a file may be used again.
//!
//! A file is free again when nothing needs its entries: everything in it was settled, the table knows
//! what it said about logs, and an entry that says so (`replay_from`) is itself on the device.

pub(crate) mod entry;
pub(crate) mod replay;
pub(crate) mod writer;

use std::path::{Path, PathBuf};

const PREFIX: &str = ".millstream-journal-";

/// What identifies a journal file in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JournalFileName {
    pub generation: u64,
    pub core: u32,
    pub number: u32,
}

impl JournalFileName {
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!(
            "{PREFIX}{}-{}-{}",
            self.generation, self.core, self.number
        ))
    }

    pub fn parse(name: &str) -> Option<JournalFileName> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let generation = parts.next()?.parse().ok()?;
        let core = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(JournalFileName {
            generation,
            core,
            number,
        })
    }
}
