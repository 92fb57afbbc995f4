//! What one core has done in a data directory since the start.

use std::cell::Cell;

/// Rising counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DirCounts {
    /// Bytes written to the journal, padding included.
    pub journal_bytes: u64,
    /// Flushes that released appends: one for all that was written until then.
    pub flushes: u64,
    /// Bytes of large appends that went straight to their segments.
    pub direct_bytes: u64,
    /// Bytes that were settled: journalled first, and in their segments now.
    pub settled_bytes: u64,
    /// Bytes of records read from segments, since memory did not have them.
    pub read_bytes: u64,
}

/// Where they are counted.
#[derive(Default)]
pub(crate) struct Counting(Cell<DirCounts>);

impl Counting {
    pub fn get(&self) -> DirCounts {
        self.0.get()
    }

    pub fn change(&self, change: impl FnOnce(&mut DirCounts)) {
        let mut counts = self.0.get();
        change(&mut counts);
        self.0.set(counts);
    }
}
