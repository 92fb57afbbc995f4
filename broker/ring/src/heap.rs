//! Memory that the allocator keeps for later, given back to the system.
//!
//! glibc gives back by itself only what lies at the end of an arena. A million groups that came and went leave their pages
//! resident for good where anything that lives on was allocated behind them: 150 MiB of 200.

/// Less is not worth the page faults of its next use, in bytes.
const WORTH_IT: usize = 32 << 20;

/// What of the allocator's free memory was given back already, and not used since.
#[derive(Debug, Default)]
pub struct FreeMemory {
    returned: usize,
}

impl FreeMemory {
    /// Gives all free pages back, in all arenas, if at least 32 MiB have become free since that was done last; whether it did.
    ///
    /// It takes each arena's lock for as long as it walks the arena's free blocks (malloc_trim(3)): some milliseconds for
    /// each hundred MiB of small ones. Call it now and then, from a thread that nobody waits for.
    pub fn give_back(&mut self) -> bool {
        let free = free_bytes();
        self.returned = self.returned.min(free);
        if free - self.returned < WORTH_IT {
            return false;
        }
        trim();
        self.returned = free_bytes();
        true
    }
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
