//! Memory that is kept for later: made ready where it will be wanted, given back to the system where it was not.
//!
//! glibc gives back by itself only what lies at the end of an arena. A million groups that came and went leave their pages
//! resident for good where anything that lives on was allocated behind them: 150 MiB of 200.

use std::time::Duration;

use crate::arena;

/// Less is not worth the page faults of its next use, in bytes.
const WORTH_IT: usize = 16 << 20;

/// Looks after the process's memory, from a thread that nobody waits for.
#[derive(Debug, Default)]
pub struct MemoryKeeper {
    /// The least that was resident since memory was given back last.
    resident: usize,
}

impl MemoryKeeper {
    /// Until `time` has passed, touches memory of [`Block`](crate::Block)s before it is wanted, and joins pages to huge ones. One
    /// thread of a process does.
    pub fn keep_for(&self, time: Duration) {
        arena::keep_for(time);
    }

    /// Gives back what [`Block`](crate::Block)s left that nobody wanted between the last four calls. Of what the allocator has,
    /// gives all free pages back if at least 16 MiB are free and at least as much has become resident since that was done
    /// last; whether it did that. What is free alone does not tell: it counts pages that were given back already.
    ///
    /// It takes each of the allocator's locks for as long as it walks what is free there (malloc_trim(3)): some milliseconds
    /// for each hundred MiB of small pieces. Call it now and then.
    pub fn give_back(&mut self) -> bool {
        arena::give_back();
        let resident = resident_bytes().saturating_sub(arena::held());
        self.resident = self.resident.min(resident);
        if free_bytes() < WORTH_IT || resident - self.resident < WORTH_IT {
            return false;
        }
        trim();
        self.resident = resident_bytes().saturating_sub(arena::held());
        true
    }
}

/// Physical memory that this process has, in bytes (proc_pid_statm(5)); 0 where that cannot be read.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages
        .unwrap_or(0usize)
        .saturating_mul(rustix::param::page_size())
}

/// What was allocated and is free now, in all arenas, be it resident or not (mallinfo(3)).
#[cfg(target_env = "gnu")]
fn free_bytes() -> usize {
    // SAFETY: a plain call that answers numbers.
    unsafe { libc::mallinfo2() }.fordblks
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: a plain call; it touches only what nobody has allocated.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators tell nothing, and give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn free_bytes() -> usize {
    0
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
