//! Memory for I/O: unique [`Buffer`]s, shared immutable [`Bytes`], append-only [`Block`]s.
//!
//! Buffers return to a small free list of the thread that drops them. The list is last-in-first-out and bounded, because a
//! receive buffer is only fast while it is still in the cache: rotating 16 x 1 MiB gave 10.9 GB/s, 128 x 1 MiB gave 5.7.
//! Blocks, of which there are more than any cache holds, are pieces of their thread's [`arena`](crate::arena).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::arena::Piece;

/// The unit of direct I/O, and the alignment of every allocation of at least this size, in bytes.
pub const BLOCK: usize = 4096;

/// Memory one thread keeps for reuse, in bytes. More than the cache holds is not worth keeping.
const FREE_BYTES_MAX: usize = 16 << 20;

/// Free lists: four size classes for each doubling from [`BLOCK`] to [`FREE_BYTES_MAX`].
const CLASSES: usize = 64;

const _: () = assert!(class_of(FREE_BYTES_MAX) < CLASSES);

/// Unique bytes: filled by the kernel or by [`Buffer::extend_from_slice`], up to a fixed capacity.
///
/// The memory between `len` and `capacity` is never readable, so it needs no zeroing. Aligned to
/// [`BLOCK`] when the capacity is at least that.
pub struct Buffer {
    memory: Memory,
    len: usize,
}

impl Buffer {
    /// An empty buffer with room for at least `bytes`. It may have up to a quarter more.
    pub fn with_capacity(bytes: usize) -> Buffer {
        Buffer {
            memory: Memory::take(bytes),
            len: 0,
        }
    }

    /// Bytes filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that fit in all.
    pub fn capacity(&self) -> usize {
        self.memory.capacity
    }

    /// True when nothing is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.memory.capacity - self.len
    }

    /// Empties the buffer and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Shortens to `len` bytes; no effect when it is shorter already.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends a copy of `bytes`. Asserts that they fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.remaining(),
            "a buffer never grows past its capacity"
        );
        // SAFETY: the range [len, len + bytes.len()) is inside our own allocation (asserted), and `bytes`
        // cannot overlap it: we are borrowed mutably.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.end_ptr(), bytes.len());
        }
        self.len += bytes.len();
    }

    /// Shortens, or lengthens with zeros. Asserts that `len` fits.
    pub fn resize_zeroed(&mut self, len: usize) {
        assert!(
            len <= self.capacity(),
            "a buffer never grows past its capacity"
        );
        if len > self.len {
            // SAFETY: [self.len, len) is inside our own allocation (asserted).
            unsafe { std::ptr::write_bytes(self.end_ptr(), 0, len - self.len) };
        }
        self.len = len;
    }

    /// Drops `bytes` at the front and moves the rest there. Asserts that there are so many.
    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.len, "cannot consume more than there is");
        let rest = self.len - bytes;
        if bytes > 0 && rest > 0 {
            self.copy_within(bytes.., 0);
        }
        self.len = rest;
    }

    /// The filled bytes, shared and immutable from now on. No copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from(self)
    }

    /// Where the kernel writes next.
    pub(crate) fn end_ptr(&mut self) -> *mut u8 {
        // SAFETY: len <= capacity, so this is at most one past the end of the allocation.
        unsafe { self.memory.ptr.as_ptr().add(self.len) }
    }

    /// The start of the memory.
    pub(crate) fn start_ptr(&mut self) -> *mut u8 {
        self.memory.ptr.as_ptr()
    }

    /// Takes over `bytes` that the kernel wrote at [`Buffer::end_ptr`].
    ///
    /// # Safety
    /// The kernel must have written exactly these bytes there.
    pub(crate) unsafe fn filled(&mut self, bytes: usize) {
        assert!(
            bytes <= self.remaining(),
            "the kernel wrote more than it was offered"
        );
        self.len += bytes;
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of our own allocation were written.
        unsafe { std::slice::from_raw_parts(self.memory.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref; we are borrowed mutably and nobody else knows the allocation.
        unsafe { std::slice::from_raw_parts_mut(self.memory.ptr.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len, self.capacity())
    }
}

/// Shared immutable bytes: a range of a reference-counted allocation. A clone costs one atomic count.
#[derive(Clone)]
pub struct Bytes {
    ptr: NonNull<u8>,
    len: usize,
    /// Keeps what `ptr` points to alive; `None` for statics.
    owner: Option<Arc<Owner>>,
}

// SAFETY: the bytes of a `Bytes` are never written while it exists (see `Block`), and the owner is
// only dropped through an `Arc`, whose payload is Send + Sync.
unsafe impl Send for Bytes {}
// SAFETY: as for Send.
unsafe impl Sync for Bytes {}

/// What keeps the bytes alive. Never read through: only the ranges in `Bytes` are.
enum Owner {
    Memory(#[expect(dead_code, reason = "held for its drop")] Memory),
    Piece(#[expect(dead_code, reason = "held for its drop")] Piece),
    Vec(#[expect(dead_code, reason = "held for its drop")] Vec<u8>),
}

impl Bytes {
    /// No bytes at all, no allocation.
    pub fn new() -> Bytes {
        Bytes::from_static(&[])
    }

    /// Static bytes, no allocation.
    pub fn from_static(bytes: &'static [u8]) -> Bytes {
        Bytes {
            ptr: NonNull::from(bytes).cast(),
            len: bytes.len(),
            owner: None,
        }
    }

    /// A part of these bytes, sharing the memory. Asserts that the range is inside.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a slice stays inside its bytes"
        );
        // SAFETY: start <= len (asserted), so the pointer stays inside the same allocation.
        let ptr = unsafe { self.ptr.add(range.start) };
        Bytes {
            ptr,
            len: range.end - range.start,
            owner: self.owner.clone(),
        }
    }
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes::new()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        let (ptr, len) = (NonNull::from(&bytes[..]).cast(), bytes.len());
        Bytes {
            ptr,
            len,
            owner: Some(Arc::new(Owner::Vec(bytes))),
        }
    }
}

impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Bytes {
        if buffer.is_empty() {
            return Bytes::new();
        }
        let (ptr, len) = (buffer.memory.ptr, buffer.len);
        Bytes {
            ptr,
            len,
            owner: Some(Arc::new(Owner::Memory(buffer.memory))),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the owner keeps these bytes alive, they were written, and nobody writes them again.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len)
    }
}

/// Append-only memory whose front is readable while its back is still written.
///
/// One writer, any number of [`Block::view`]s in any thread. Bytes once appended never change, and
/// bytes not yet appended are in no view: that is what makes sending the tail of a log without a copy
/// sound. Aligned to [`BLOCK`].
pub struct Block {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
    owner: Arc<Owner>,
}

// SAFETY: the one writer may move between threads; views only read what was written before they were
// made, and handing a view to another thread orders those writes before its reads.
unsafe impl Send for Block {}

impl Block {
    /// Empty memory for at least `capacity` bytes, rounded up to a power of two of [`BLOCK`]s. Asserts that it is 2 MiB at most.
    ///
    /// Nothing is zeroed here: what was never appended is never seen, and [`Block::seal`] zeroes the
    /// few bytes it adds.
    pub fn new(capacity: usize) -> Block {
        let piece = Piece::take(capacity);
        Block {
            ptr: piece.at(),
            len: 0,
            capacity: piece.capacity(),
            owner: Arc::new(Owner::Piece(piece)),
        }
    }

    /// Bytes appended.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True before the first append.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.capacity - self.len
    }

    /// Appends a copy of `bytes`. Asserts that they fit.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.remaining(), "a block never grows");
        // SAFETY: the target is inside the allocation (asserted) and behind every view; `bytes` may be
        // a view of this very block, which ends before the target.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.ptr.as_ptr().add(self.len),
                bytes.len(),
            );
        }
        self.len += bytes.len();
    }

    /// Appends zeros until `len` bytes are there; no effect when there are more. Asserts that it fits.
    pub fn append_zeros_to(&mut self, len: usize) {
        assert!(len <= self.capacity, "a block never grows");
        if len > self.len {
            // SAFETY: [self.len, len) is inside the allocation (asserted) and behind every view.
            unsafe { std::ptr::write_bytes(self.ptr.as_ptr().add(self.len), 0, len - self.len) };
            self.len = len;
        }
    }

    /// Everything appended so far, for a look that needs no share in it.
    pub fn filled(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of our own allocation were written, and no one writes them again.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// An immutable view of bytes already appended. Asserts that they are.
    pub fn view(&self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a view holds only what was appended"
        );
        // SAFETY: start <= len <= capacity (asserted).
        let ptr = unsafe { self.ptr.add(range.start) };
        Bytes {
            ptr,
            len: range.end - range.start,
            owner: Some(self.owner.clone()),
        }
    }

    /// Ends the appends: a view of everything, filled up with zeros to whole [`BLOCK`]s.
    pub fn seal(mut self) -> Bytes {
        self.append_zeros_to(self.len.next_multiple_of(BLOCK));
        self.view(0..self.len)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} of {} bytes)", self.len, self.capacity)
    }
}

/// One allocation of a size class, given back to the dropping thread's free list.
struct Memory {
    ptr: NonNull<u8>,
    capacity: usize,
}

// SAFETY: plain memory with one owner; the free lists are per thread.
unsafe impl Send for Memory {}
// SAFETY: has no shared operations.
unsafe impl Sync for Memory {}

impl Memory {
    fn take(bytes: usize) -> Memory {
        if bytes == 0 {
            return Memory {
                ptr: NonNull::dangling(),
                capacity: 0,
            };
        }
        let capacity = class_size(bytes);
        let reused = if is_pooled(capacity) {
            FREE.try_with(|free| free.borrow_mut().take(capacity))
                .ok()
                .flatten()
        } else {
            None
        };
        let ptr = reused.unwrap_or_else(|| allocate(capacity));
        Memory { ptr, capacity }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.capacity == 0 {
            return;
        }
        let (ptr, capacity) = (self.ptr, self.capacity);
        // While a thread ends its list may be gone already: then the memory goes back to the system.
        let kept = is_pooled(capacity)
            && FREE
                .try_with(|free| free.borrow_mut().give(ptr, capacity))
                .is_ok();
        if !kept {
            release(ptr, capacity);
        }
    }
}

thread_local! {
    static FREE: RefCell<FreeLists> = const { RefCell::new(FreeLists::new()) };
}

/// What a thread keeps for reuse, by size class, newest last.
struct FreeLists {
    lists: [Vec<NonNull<u8>>; CLASSES],
    bytes: usize,
    /// The class that is evicted from next, so that classes out of use cannot fill the list for good.
    victim: usize,
}

impl FreeLists {
    const fn new() -> FreeLists {
        FreeLists {
            lists: [const { Vec::new() }; CLASSES],
            bytes: 0,
            victim: 0,
        }
    }

    fn take(&mut self, capacity: usize) -> Option<NonNull<u8>> {
        let ptr = self.lists[class_of(capacity)].pop()?;
        self.bytes -= capacity;
        Some(ptr)
    }

    fn give(&mut self, ptr: NonNull<u8>, capacity: usize) {
        while self.bytes + capacity > FREE_BYTES_MAX {
            self.evict();
        }
        self.bytes += capacity;
        self.lists[class_of(capacity)].push(ptr);
    }

    /// Releases the coldest allocation of the next class that has one.
    fn evict(&mut self) {
        loop {
            self.victim = (self.victim + 1) % CLASSES;
            let list = &mut self.lists[self.victim];
            if !list.is_empty() {
                let capacity = size_of_class(self.victim);
                release(list.swap_remove(0), capacity);
                self.bytes -= capacity;
                return;
            }
        }
    }
}

impl Drop for FreeLists {
    fn drop(&mut self) {
        for (class, list) in self.lists.iter_mut().enumerate() {
            for ptr in list.drain(..) {
                release(ptr, size_of_class(class));
            }
        }
    }
}

/// Small allocations are the allocator's business, very large ones are not worth keeping.
fn is_pooled(capacity: usize) -> bool {
    (BLOCK..=FREE_BYTES_MAX).contains(&capacity)
}

/// Rounds up to a size class: 64-byte steps below [`BLOCK`], quarters of a power of two above.
const fn class_size(bytes: usize) -> usize {
    if bytes <= BLOCK - 64 {
        bytes.next_multiple_of(64)
    } else {
        bytes.next_multiple_of(step(bytes))
    }
}

/// The free list of a size class.
const fn class_of(capacity: usize) -> usize {
    let log = capacity.ilog2();
    (log - BLOCK.ilog2()) as usize * 4 + (capacity - (1 << log)) / step(capacity)
}

/// The size of a free list's allocations: the inverse of [`class_of`].
const fn size_of_class(class: usize) -> usize {
    let base = BLOCK << (class / 4);
    base + (class % 4) * step(base)
}

const fn step(bytes: usize) -> usize {
    let quarter = (1usize << bytes.ilog2()) / 4;
    if quarter > BLOCK { quarter } else { BLOCK }
}

fn layout(capacity: usize) -> Layout {
    let align = if capacity >= BLOCK { BLOCK } else { 64 };
    Layout::from_size_align(capacity, align).expect("a size class fits the address space")
}

fn allocate(capacity: usize) -> NonNull<u8> {
    let layout = layout(capacity);
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

fn release(ptr: NonNull<u8>, capacity: usize) {
    // SAFETY: came from `allocate` with the same capacity and is released once, by its one owner.
    unsafe { dealloc(ptr.as_ptr(), layout(capacity)) }
}

#[cfg(test)]
mod tests;
