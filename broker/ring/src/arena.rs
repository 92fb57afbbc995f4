//! Memory of [`Block`](crate::Block)s: pieces of many sizes, much of it, always wanted again.
//!
//! Each thread has an arena. It takes address space in spans, splits it in halves down to one block, and joins halves again
//! when both are free (buddies).
//!
//! Memory touched for the first time costs page faults, which in a virtual machine whose host has to find each page are dearer
//! than all else that is done with the bytes. So free memory is kept: only what nobody wanted during the last looks of a
//! [`MemoryKeeper`](crate::MemoryKeeper) goes back, in whole chunks. Where a thread's memory grows, the keeper touches
//! chunks before they are wanted. And it joins their pages to huge ones later, a few at a time: a device takes 1 MiB of them
//! as one piece, and copies look up fewer addresses. Huge pages from the start would be cleared 2 MiB at a time, by
//! whoever touches them first (so they are where `transparent_hugepage/enabled` says `always`).
//!
//! A piece may be dropped in any thread and returns to the arena it came from: readers on other cores hold views.

mod rest;

use std::alloc::{Layout, handle_alloc_error};
use std::collections::BTreeSet;
use std::io;
use std::num::NonZero;
use std::ops::Bound;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use self::rest::Rest;
use crate::buffer::BLOCK;

/// Largest piece, in bytes, and the unit that goes back to the system: a huge page of x86-64.
const CHUNK: usize = 2 << 20;
/// Address space taken at once, in bytes: few mappings, however much memory there is.
const SPAN: usize = 64 << 20;
/// Sizes of pieces: blocks, doubled up to a chunk.
const ORDERS: usize = (CHUNK / BLOCK).ilog2() as usize + 1;
/// Looks during which memory must not have been wanted until it goes back.
const LOOKS: usize = 3;
/// Of what an arena uses, so large a part is made ready when it grows, within [`READY_MAX`] bytes.
const READY_PART: usize = 8;
const READY_MAX: usize = 32 << 20;
/// All arenas whose thread or memory is still there.
static ARENAS: Mutex<Vec<Weak<Arena>>> = Mutex::new(Vec::new());

/// Who makes memory ready, if somebody does.
static KEEPER: Mutex<Option<Thread>> = Mutex::new(None);

thread_local! {
    static OF_THREAD: Arc<Arena> = Arena::new();
}

/// Gives back what no arena's thread has wanted between the last [`LOOKS`] calls and one more, this one included.
pub(crate) fn give_back() {
    all().iter().for_each(|arena| arena.give_back());
}

/// Bytes that all arenas hold, be they in use or kept.
pub(crate) fn held() -> usize {
    all().iter().map(|arena| arena.lock().held()).sum()
}

/// Until `time` has passed, makes memory ready before it is wanted, and goes once over what has small pages.
pub(crate) fn keep_for(time: Duration) {
    *unpoisoned(&KEEPER) = Some(thread::current());
    let end = Instant::now() + time;
    let (mut joined, mut rest) = (None, Some(Rest::after(Duration::ZERO)));
    while Instant::now() < end {
        let arenas = all();
        let made = arenas.iter().filter(|arena| arena.make_ready()).count();
        if rest.as_mut().is_some_and(Rest::is_over) {
            let begin = Instant::now();
            joined = join_next(joined);
            rest = joined.map(|_| Rest::after(begin.elapsed()));
        }
        if made == 0 {
            let next = rest.as_ref().map_or(end, Rest::next_look).min(end);
            thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
    }
}

/// Joins the pages of the first chunk behind `last`, if there is one. Where the kernel cannot, for it has its hands on one of them
/// or no huge page, the chunk stays as it is until another time.
fn join_next(last: Option<NonNull<u8>>) -> Option<NonNull<u8>> {
    let arenas = all();
    let chunks = arenas.iter().filter_map(|arena| {
        let chunk = arena.lock().small_behind(last)?;
        Some((chunk, arena))
    });
    let (chunk, arena) = chunks.min_by_key(|(chunk, _)| *chunk)?;
    if join(chunk) {
        arena.lock().small.remove(&chunk);
    }
    Some(chunk)
}

fn all() -> Vec<Arc<Arena>> {
    let mut arenas = unpoisoned(&ARENAS);
    arenas.retain(|arena| arena.strong_count() > 0);
    arenas.iter().filter_map(Weak::upgrade).collect()
}

/// Memory of a power of two of [`BLOCK`]s, aligned to its size.
pub(crate) struct Piece {
    at: NonNull<u8>,
    order: usize,
    arena: Arc<Arena>,
}

// SAFETY: plain memory with one owner; the arena it returns to is shared behind a lock.
unsafe impl Send for Piece {}
// SAFETY: has no shared operations.
unsafe impl Sync for Piece {}

impl Piece {
    /// At least `bytes` of the thread's arena. Asserts that a chunk has so many.
    pub fn take(bytes: usize) -> Piece {
        // A thread that ends, and has no arena any more, makes one for this piece.
        let of_thread = OF_THREAD.try_with(Arc::clone);
        let arena = of_thread.unwrap_or_else(|_| Arena::new());
        let order = order_of(bytes);
        let at = arena.take(order);
        Piece { at, order, arena }
    }

    pub fn at(&self) -> NonNull<u8> {
        self.at
    }

    pub fn capacity(&self) -> usize {
        BLOCK << self.order
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.arena.lock().give(self.at, self.order);
    }
}

fn order_of(bytes: usize) -> usize {
    assert!(bytes <= CHUNK, "a piece is part of a chunk");
    bytes.div_ceil(BLOCK).next_power_of_two().ilog2() as usize
}

struct Arena {
    pieces: Mutex<Pieces>,
}

impl Arena {
    fn new() -> Arc<Arena> {
        let arena = Arc::new(Arena {
            pieces: Mutex::new(Pieces::default()),
        });
        unpoisoned(&ARENAS).push(Arc::downgrade(&arena));
        arena
    }

    fn lock(&self) -> MutexGuard<'_, Pieces> {
        unpoisoned(&self.pieces)
    }

    fn take(&self, order: usize) -> NonNull<u8> {
        let (at, grew) = self.lock().take(order);
        if grew && let Some(keeper) = &*unpoisoned(&KEEPER) {
            keeper.unpark();
        }
        at
    }

    // The lock is not held while the kernel works for the keeper.

    /// Touches a chunk, if one should be ready that is not; whether it did.
    fn make_ready(&self) -> bool {
        let chunk = self.lock().take_to_make_ready();
        if let Some(chunk) = chunk {
            touch(chunk);
            self.lock().insert_ready(chunk);
        }
        chunk.is_some()
    }

    fn give_back(&self) {
        let surplus = self.lock().look();
        for _ in 0..surplus {
            let Some(chunk) = self.lock().take_last_chunk() else {
                return;
            };
            discard(chunk);
            self.lock().insert_cold(chunk);
        }
    }
}

/// What is free.
#[derive(Default)]
struct Pieces {
    /// By order, the lowest first, so that the highest chunks become free as a whole.
    free: [BTreeSet<NonNull<u8>>; ORDERS],
    /// Chunks made ready, which nobody had yet.
    ready: BTreeSet<NonNull<u8>>,
    /// Of both.
    free_bytes: usize,
    /// Chunks that have no memory: never touched, or given back.
    cold: BTreeSet<NonNull<u8>>,
    /// Chunks whose memory is in pages of [`BLOCK`] bytes.
    small: BTreeSet<NonNull<u8>>,
    spans: Vec<NonNull<u8>>,
    /// More chunks are used since enough of them were ready.
    grows: bool,
    /// The fewest whole chunks that were free in each of the times between the last looks, the newest first.
    least: [usize; LOOKS],
}

// SAFETY: addresses of memory that belongs to this arena alone, wherever it is used.
unsafe impl Send for Pieces {}

impl Pieces {
    /// A piece, and whether that took a chunk that nobody had before.
    fn take(&mut self, order: usize) -> (NonNull<u8>, bool) {
        let fitting = (order..ORDERS).find(|larger| !self.free[*larger].is_empty());
        let (at, mut from) = match fitting {
            Some(larger) => {
                self.free_bytes -= BLOCK << larger;
                let at = self.free[larger].pop_first();
                (at.expect("it is not empty"), larger)
            }
            None => (self.take_chunk(), ORDERS - 1),
        };
        self.grows |= fitting.is_none();
        while from > order {
            from -= 1;
            self.insert(buddy(at, from), from);
        }
        self.least[0] = self.least[0].min(self.whole());
        (at, fitting.is_none())
    }

    fn give(&mut self, mut at: NonNull<u8>, mut order: usize) {
        while order < ORDERS - 1 && self.free[order].remove(&buddy(at, order)) {
            self.free_bytes -= BLOCK << order;
            at = at.min(buddy(at, order));
            order += 1;
        }
        self.insert(at, order);
    }

    fn insert(&mut self, at: NonNull<u8>, order: usize) {
        assert!(self.free[order].insert(at), "memory is given once");
        self.free_bytes += BLOCK << order;
    }

    fn take_chunk(&mut self) -> NonNull<u8> {
        match self.ready.pop_first() {
            Some(chunk) => {
                self.free_bytes -= CHUNK;
                chunk
            }
            None => self.take_cold(),
        }
    }

    fn take_cold(&mut self) -> NonNull<u8> {
        if self.cold.is_empty() {
            let span = map_span();
            self.spans.push(span);
            // SAFETY: all of them lie in the span.
            let chunks = (0..SPAN / CHUNK).map(|n| unsafe { span.add(n * CHUNK) });
            self.cold.extend(chunks);
        }
        let chunk = self.pop_cold();
        chunk.expect("a span has chunks")
    }

    fn pop_cold(&mut self) -> Option<NonNull<u8>> {
        let chunk = self.cold.pop_first()?;
        self.small.insert(chunk);
        Some(chunk)
    }

    fn small_behind(&self, last: Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.small.range((behind, Bound::Unbounded)).next().copied()
    }

    fn insert_cold(&mut self, chunk: NonNull<u8>) {
        self.small.remove(&chunk);
        self.cold.insert(chunk);
    }

    /// A chunk without memory, if one should be ready that is not. No address space is taken for what nobody wants yet.
    fn take_to_make_ready(&mut self) -> Option<NonNull<u8>> {
        let used = self.held() - self.free_bytes;
        let wanted = (used / READY_PART).min(READY_MAX) / CHUNK;
        self.grows &= self.ready.len() < wanted;
        let chunk = self.grows.then(|| self.pop_cold()).flatten();
        self.grows &= chunk.is_some();
        chunk
    }

    fn insert_ready(&mut self, chunk: NonNull<u8>) {
        self.ready.insert(chunk);
        self.free_bytes += CHUNK;
    }

    /// A whole chunk that is free and has memory: one that nobody had, or the highest.
    fn take_last_chunk(&mut self) -> Option<NonNull<u8>> {
        let unused = self.ready.pop_last();
        let chunk = unused.or_else(|| self.free[ORDERS - 1].pop_last())?;
        self.free_bytes -= CHUNK;
        self.least[0] = self.least[0].min(self.whole());
        Some(chunk)
    }

    /// Chunks that are free as a whole and have memory.
    fn whole(&self) -> usize {
        self.free[ORDERS - 1].len() + self.ready.len()
    }

    /// Chunks that were free all the time during the last looks. Another time begins.
    fn look(&mut self) -> usize {
        let least = self.least.into_iter().min().unwrap_or(0);
        self.least.rotate_right(1);
        self.least[0] = self.whole();
        least
    }

    fn held(&self) -> usize {
        self.spans.len() * SPAN - self.cold.len() * CHUNK
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        assert!(
            (self.whole() + self.cold.len()) * CHUNK == self.spans.len() * SPAN,
            "an arena ends after its pieces"
        );
        self.spans.drain(..).for_each(unmap_span);
    }
}

/// The other half of what both were split from.
fn buddy(at: NonNull<u8>, order: usize) -> NonNull<u8> {
    at.map_addr(|addr| {
        let other = NonZero::new(addr.get() ^ (BLOCK << order));
        other.expect("nothing lies at address 0")
    })
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Address space without memory yet, aligned to a chunk (mmap(2)).
#[cfg(not(miri))]
fn map_span() -> NonNull<u8> {
    let length = SPAN + CHUNK;
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: a new mapping, wherever the kernel has room for it.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        handle_alloc_error(span_layout());
    }
    let mapped: *mut u8 = mapped.cast();
    let before = mapped.align_offset(CHUNK);
    // SAFETY: `before` is less than a chunk, so that a span follows it in what was mapped.
    let span = unsafe { mapped.add(before) };
    for (at, length) in [(mapped, before), (span.wrapping_add(SPAN), CHUNK - before)] {
        if length > 0 {
            // SAFETY: what lies around the span in the mapping just made, which nobody knows of.
            let unmapped = unsafe { libc::munmap(at.cast(), length) };
            assert!(unmapped == 0, "a mapping can be cut at its pages");
        }
    }
    NonNull::new(span).expect("the kernel maps nothing at address 0")
}

#[cfg(not(miri))]
fn unmap_span(span: NonNull<u8>) {
    // SAFETY: came from `map_span`, once, and none of it is in use.
    let unmapped = unsafe { libc::munmap(span.as_ptr().cast(), SPAN) };
    assert!(unmapped == 0, "a span is a mapping");
}

/// Has the kernel find memory for a chunk (madvise(2)). Where it cannot, the chunk finds it when it is used.
#[cfg(not(miri))]
fn touch(chunk: NonNull<u8>) {
    // SAFETY: a whole chunk that is nobody's; populating changes no byte.
    unsafe { libc::madvise(chunk.as_ptr().cast(), CHUNK, libc::MADV_POPULATE_WRITE) };
}

/// Has the kernel join a chunk's pages to a huge one (madvise(2)); false where it cannot at this moment, true also where it never
/// will, or the chunk has no memory.
#[cfg(not(miri))]
fn join(chunk: NonNull<u8>) -> bool {
    /// Since Linux 6.1; libc knows it for some targets only.
    const MADV_COLLAPSE: libc::c_int = 25;
    // SAFETY: a whole chunk, mapped as long as its arena is; joining changes no byte.
    let done = unsafe { libc::madvise(chunk.as_ptr().cast(), CHUNK, MADV_COLLAPSE) };
    done == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// The kernel takes the memory of a free chunk; its address space stays (madvise(2)).
#[cfg(not(miri))]
fn discard(chunk: NonNull<u8>) {
    // SAFETY: a whole chunk that is nobody's; it reads as zeros afterwards, and nobody reads what was not written.
    let done = unsafe { libc::madvise(chunk.as_ptr().cast(), CHUNK, libc::MADV_DONTNEED) };
    assert!(done == 0, "a chunk is part of a mapping of ours");
}

fn span_layout() -> Layout {
    Layout::from_size_align(SPAN, CHUNK).expect("a span fits the address space")
}

/// Miri has no kernel to map memory.
#[cfg(miri)]
fn map_span() -> NonNull<u8> {
    // SAFETY: the size is not zero.
    let span = NonNull::new(unsafe { std::alloc::alloc(span_layout()) });
    span.unwrap_or_else(|| handle_alloc_error(span_layout()))
}

#[cfg(miri)]
fn unmap_span(span: NonNull<u8>) {
    // SAFETY: came from `map_span`, once, and none of it is in use.
    unsafe { std::alloc::dealloc(span.as_ptr(), span_layout()) }
}

#[cfg(miri)]
fn touch(_: NonNull<u8>) {}

#[cfg(miri)]
fn join(_: NonNull<u8>) -> bool {
    true
}

#[cfg(miri)]
fn discard(_: NonNull<u8>) {}

#[cfg(test)]
#[path = "arena/tests.rs"]
mod tests;
