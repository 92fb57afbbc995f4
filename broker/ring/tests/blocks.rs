//! Alone in its process, whose memory it measures.

use std::time::Duration;

use millstream_ring::{Block, MemoryKeeper};

const MIB: usize = 1 << 20;

/// Bytes that `field` of proc_pid_smaps_rollup(5) tells.
fn memory(field: &str) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").expect("a process has memory");
    let line = smaps.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        << 10
}

fn filled(mib: usize) -> Vec<Block> {
    let sevens = vec![7; MIB];
    let one = || {
        let mut block = Block::new(MIB);
        block.append(&sevens);
        block
    };
    (0..mib).map(|_| one()).collect()
}

#[test]
fn what_blocks_leave_is_kept_for_those_that_come_and_goes_when_none_do() {
    let mut keeper = MemoryKeeper::default();
    keeper.give_back();
    let before = memory("Rss:");
    let resident = || memory("Rss:").saturating_sub(before) / MIB;
    let blocks = filled(100);
    // Joins pages where the kernel has huge ones, which changes nothing here.
    keeper.keep_for(Duration::from_millis(300));
    assert!(
        blocks
            .iter()
            .all(|block| block.filled().iter().all(|byte| *byte == 7))
    );
    assert!(resident() >= 100);
    drop(blocks);
    keeper.give_back();
    keeper.give_back();
    drop(filled(60));
    keeper.give_back();
    assert!(resident() >= 100, "it is kept: {} MiB are left", resident());
    keeper.give_back();
    assert!(
        resident() < 80,
        "40 MiB were not wanted: {} are left",
        resident()
    );
    for _ in 0..3 {
        keeper.give_back();
    }
    assert!(
        resident() < 20,
        "nothing is wanted: {} MiB are left",
        resident()
    );
}
