//! Buffers that the kernel picks from when an idle connection receives: ten thousand quiet connections
//! then hold no receive memory at all.
//!
//! A picked buffer is handed to the receiver as it is, without a copy, and a fresh one takes its place.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{Submitter, types};

use crate::buffer::{BLOCK, Buffer};

/// The group id of these buffers in the ring.
pub(crate) const GROUP: u16 = 0;
/// The size of each, in bytes: the most one idle receive returns.
pub(crate) const IDLE_BUFFER: usize = 16 << 10;
/// How many the kernel holds. When a turn needs more, the receives that found none are tried again.
const COUNT: u16 = 128;

const _: () = assert!(COUNT.is_power_of_two());
const _: () = assert!(COUNT as usize * size_of::<types::BufRingEntry>() <= BLOCK);

/// The ring's provided buffers (io_uring_register_buf_ring(3)).
pub(crate) struct IdleBuffers {
    /// The table shared with the kernel: one aligned block.
    table: Buffer,
    buffers: Vec<Buffer>,
    tail: u16,
}

impl IdleBuffers {
    pub(crate) fn register(submitter: &Submitter<'_>) -> io::Result<IdleBuffers> {
        let mut table = Buffer::with_capacity(BLOCK);
        table.resize_zeroed(BLOCK);
        let buffers = (0..COUNT)
            .map(|_| Buffer::with_capacity(IDLE_BUFFER))
            .collect();
        let address = table.start_ptr() as u64;
        // SAFETY: the table is aligned to a page, zeroed, large enough for COUNT entries (asserted above)
        // and lives as long as the ring: see `leak` for the one case where the kernel could outlive it.
        unsafe { submitter.register_buf_ring_with_flags(address, COUNT, GROUP, 0)? };
        let mut idle = IdleBuffers {
            table,
            buffers,
            tail: 0,
        };
        for id in 0..COUNT {
            idle.offer(id);
        }
        idle.publish();
        Ok(idle)
    }

    /// The buffer that the kernel picked and filled with `len` bytes; a fresh one is offered instead.
    pub(crate) fn take(&mut self, id: u16, len: usize) -> Buffer {
        let slot = &mut self.buffers[usize::from(id)];
        let mut picked = std::mem::replace(slot, Buffer::with_capacity(IDLE_BUFFER));
        // SAFETY: the completion says that the kernel wrote `len` bytes at the start of this buffer.
        unsafe { picked.filled(len) };
        self.offer(id);
        picked
    }

    /// Makes offered buffers known to the kernel.
    pub(crate) fn publish(&mut self) {
        let table = self.table.start_ptr() as *const types::BufRingEntry;
        // SAFETY: `table` is the registered table; its tail is a u16 that the kernel only reads.
        let tail = unsafe { &*types::BufRingEntry::tail(table).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Gives the memory up: the kernel may still write into it.
    pub(crate) fn leak(&mut self) {
        std::mem::take(&mut self.buffers)
            .into_iter()
            .for_each(std::mem::forget);
        std::mem::forget(std::mem::replace(&mut self.table, Buffer::with_capacity(0)));
    }

    fn offer(&mut self, id: u16) {
        let address = self.buffers[usize::from(id)].start_ptr() as u64;
        let at = usize::from(self.tail & (COUNT - 1));
        // SAFETY: `at` is inside the table; entries past the published tail belong to us.
        let entry = unsafe { &mut *(self.table.start_ptr() as *mut types::BufRingEntry).add(at) };
        entry.set_addr(address);
        entry.set_len(IDLE_BUFFER as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }
}
