//! Alone in its process, whose memory it measures.

use millstream_ring::MemoryKeeper;

const SMALL: usize = 500;
const COUNT: usize = 400_000;
const MIB: usize = 1 << 20;

/// Bytes of resident memory (proc_pid_statm(5)).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a process has memory");
    let pages = statm.split(' ').nth(1).expect("the second field");
    pages.parse::<usize>().expect("a number") * 4096
}

/// In an arena of its own, as each core has one, one block in a thousand lives on.
#[test]
fn what_is_free_below_what_is_used_goes_back() {
    let mut free = MemoryKeeper::default();
    free.give_back();
    let before = resident();
    let kept = std::thread::spawn(|| {
        let blocks: Vec<Box<[u8]>> = (0..COUNT).map(|_| vec![1; SMALL].into()).collect();
        let blocks = blocks.into_iter().enumerate();
        let kept: Vec<Box<[u8]>> = blocks
            .filter(|(number, _)| number % 1000 == 999)
            .map(|(_, block)| block)
            .collect();
        kept
    });
    let kept = kept.join().expect("it only allocates");
    let left = resident().saturating_sub(before);
    assert!(
        left > 100 * MIB,
        "gone by itself: {} MiB are left",
        left / MIB
    );
    assert!(free.give_back(), "that was much");
    let left = resident().saturating_sub(before);
    assert!(left < 32 * MIB, "{} MiB are left", left / MIB);
    assert!(!free.give_back(), "nothing has become free since");
    assert_eq!(kept.len(), COUNT / 1000);
}
