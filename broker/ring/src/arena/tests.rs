use std::collections::BTreeMap;
use std::sync::mpsc;

use super::*;

/// A small generator of numbers: what matters is that sizes and orders mix.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn pieces_are_aligned_and_never_overlap_and_become_whole_again() {
    let arena = Arena::new();
    let mut numbers = Numbers(1);
    // By address: end and order.
    let mut taken: BTreeMap<NonNull<u8>, (usize, usize)> = BTreeMap::new();
    for _ in 0..if cfg!(miri) { 300 } else { 30_000 } {
        if taken.is_empty() || numbers.below(100) < 55 {
            let order = numbers.below(ORDERS);
            let at = arena.take(order);
            let start = at.addr().get();
            let end = start + (BLOCK << order);
            assert!(start.is_multiple_of(BLOCK << order), "aligned to its size");
            let before = taken.range(..=at).next_back();
            assert!(before.is_none_or(|(_, (ends, _))| *ends <= start));
            let after = taken.range(at..).next();
            assert!(after.is_none_or(|(begins, _)| begins.addr().get() >= end));
            taken.insert(at, (end, order));
        } else {
            let nth = numbers.below(taken.len());
            let at = *taken.keys().nth(nth).expect("there are so many");
            let (_, order) = taken.remove(&at).expect("it was taken");
            arena.lock().give(at, order);
        }
        let used: usize = taken.values().map(|(_, order)| BLOCK << order).sum();
        let pieces = arena.lock();
        assert_eq!(pieces.held(), used + pieces.free_bytes);
    }
    for (at, (_, order)) in taken {
        arena.lock().give(at, order);
    }
    let pieces = arena.lock();
    assert_eq!(pieces.free_bytes, pieces.free[ORDERS - 1].len() * CHUNK);
}

#[test]
fn what_nobody_wanted_goes_back_and_what_was_wanted_stays() {
    let arena = Arena::new();
    let take = |count: usize| -> Vec<_> { (0..count).map(|_| arena.take(ORDERS - 1)).collect() };
    let give = |chunks: Vec<_>| {
        chunks
            .into_iter()
            .for_each(|at| arena.lock().give(at, ORDERS - 1));
    };
    let held = || arena.lock().held() / CHUNK;
    give(take(10));
    for look in 0..LOOKS {
        // Seven of the ten are wanted now and then.
        if look == 1 {
            give(take(7));
        }
        arena.give_back();
    }
    assert_eq!(held(), 10, "the first time began before there was any");
    arena.give_back();
    assert_eq!(held(), 7, "three were free all the time");
    give(take(8));
    assert_eq!(held(), 8, "what went back can be used again");
    // Pieces that lie free beside others are no chunks.
    let halves: Vec<_> = (0..16).map(|_| arena.take(ORDERS - 2)).collect();
    let (first, second): (Vec<_>, Vec<_>) = halves
        .into_iter()
        .partition(|at| at.addr().get().is_multiple_of(CHUNK));
    let give_halves = |halves: Vec<_>| {
        halves
            .into_iter()
            .for_each(|at| arena.lock().give(at, ORDERS - 2));
    };
    give_halves(first);
    for _ in 0..=LOOKS {
        give(take(1));
        arena.give_back();
    }
    assert_eq!(held(), 9, "one chunk was wanted again and again");
    give_halves(second);
    (0..=LOOKS).for_each(|_| arena.give_back());
    assert_eq!(held(), 0);
}

#[test]
fn chunks_are_ready_where_memory_grows_and_nowhere_else() {
    let arena = Arena::new();
    let ready = || arena.lock().ready.len();
    let make_ready = || while arena.make_ready() {};
    make_ready();
    assert_eq!(ready(), 0, "nothing is used");
    let mut taken: Vec<_> = (0..24).map(|_| arena.take(ORDERS - 1)).collect();
    make_ready();
    assert_eq!(ready(), 3, "an eighth of what is used");
    taken.push(arena.take(ORDERS - 1));
    assert_eq!(ready(), 2, "what is ready is taken first");
    arena.lock().give(taken[0], ORDERS - 1);
    taken[0] = arena.take(ORDERS - 1);
    assert_eq!(ready(), 2, "and before that what was used");
    (0..=LOOKS).for_each(|_| arena.give_back());
    assert_eq!(ready(), 0, "nobody wanted it");
    make_ready();
    assert_eq!(ready(), 3, "it grew since");
    (0..=LOOKS).for_each(|_| arena.give_back());
    make_ready();
    assert_eq!(ready(), 0, "it did not");
    taken
        .into_iter()
        .for_each(|at| arena.lock().give(at, ORDERS - 1));
}

#[test]
fn pieces_return_from_other_threads_and_outlive_their_own() {
    let (send, receive) = mpsc::channel();
    let owner = std::thread::spawn(move || {
        let pieces: Vec<Piece> = (0..4).map(|_| Piece::take(3 * BLOCK)).collect();
        let arena = Arc::downgrade(&pieces[0].arena);
        send.send(pieces).expect("somebody listens");
        arena
    });
    let mut pieces = receive.recv().expect("somebody sends");
    let arena = owner.join().expect("it only allocates");
    let last = pieces.pop();
    drop(pieces);
    assert!(arena.upgrade().is_some(), "one piece is left");
    drop(last);
    assert!(arena.upgrade().is_none());
}

#[test]
fn a_piece_has_what_was_asked_for() {
    for (bytes, capacity) in [
        (0, BLOCK),
        (1, BLOCK),
        (BLOCK + 1, 2 * BLOCK),
        (100_000, 128 << 10),
        (CHUNK, CHUNK),
    ] {
        assert_eq!(Piece::take(bytes).capacity(), capacity);
    }
}
