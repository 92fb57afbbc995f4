use super::*;
use crate::LogId;
use crate::journal::entry::{
    EntryBuilder, Item, LogKey, encode_drop, encode_log_start, items, read_entry,
};
use crate::knobs::BLOCK;

const CHAIN: Chain = Chain {
    generation: 5,
    core: 1,
    directory: 99,
};
const FILE: usize = 16 * BLOCK as usize;

/// Writes entries into files as the writer does.
struct Files {
    files: Vec<Vec<u8>>,
    current: usize,
    at: usize,
    sequence: u64,
    previous: u32,
    flushed: u64,
    replay_from: u64,
}

impl Files {
    fn new(count: usize) -> Files {
        Files {
            files: vec![vec![0; FILE]; count],
            current: 0,
            at: 0,
            sequence: 1,
            previous: 0,
            flushed: 0,
            replay_from: 1,
        }
    }

    /// An entry of `blocks` blocks; all before it count as flushed if `flush`.
    fn push(&mut self, blocks: usize, flush: bool) {
        if flush {
            self.flushed = self.sequence - 1;
        }
        let payload = blocks * BLOCK as usize - ENTRY_HEADER;
        let mut entry = EntryBuilder::new(payload);
        let key = LogKey {
            id: LogId {
                topic_id: [1; 16],
                partition: 2,
            },
            instance: 3,
        };
        let bytes = vec![self.sequence as u8; payload - 28 - 1 - 8 - 13];
        entry.carry(&key, 0, 0, bytes.len(), [&bytes[..]].into_iter());
        let (bytes, crc) = entry.finish(
            CHAIN,
            self.sequence,
            self.previous,
            self.flushed,
            self.replay_from,
        );
        assert_eq!(bytes.len(), blocks * BLOCK as usize);
        self.files[self.current][self.at..self.at + bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len();
        self.sequence += 1;
        self.previous = crc;
    }

    fn next_file(&mut self, file: usize) {
        self.current = file;
        self.at = 0;
    }
}

fn sequences(walk: &Walk) -> Vec<u64> {
    walk.entries.iter().map(|e| e.header.sequence).collect()
}

#[test]
fn entries_are_found_in_order_across_files() {
    let mut files = Files::new(3);
    files.push(1, true);
    files.push(2, true);
    files.next_file(2);
    files.push(3, true);
    let walk = walk_bytes(&files.files, CHAIN).expect("whole");
    assert_eq!(sequences(&walk), [1, 2, 3]);
    assert_eq!(walk.flushed, 2);
}

#[test]
fn entries_of_another_generation_do_not_count() {
    let mut files = Files::new(1);
    files.push(1, true);
    let other = Chain {
        generation: 6,
        ..CHAIN
    };
    assert_eq!(
        walk_bytes(&files.files, other).expect("empty"),
        Walk::default()
    );
    assert_eq!(
        walk_bytes(&Vec::<Vec<u8>>::new(), CHAIN).expect("empty"),
        Walk::default()
    );
}

#[test]
fn a_cut_anywhere_keeps_the_whole_entries_before_it() {
    let mut files = Files::new(1);
    (0..5).for_each(|n| files.push(1 + n % 3, false));
    for cut in 0..FILE / 512 {
        let mut bytes = files.files[0].clone();
        bytes.truncate(cut * 512);
        let walk = walk_bytes(&[bytes], CHAIN).expect("a torn end is no damage");
        let whole = [1, 3, 6, 7, 9].iter().filter(|end| *end * 8 <= cut).count();
        // An entry's padding may be cut off: its payload counts.
        assert!(
            walk.entries.len() == whole || walk.entries.len() == whole + 1,
            "cut {cut}: {whole}"
        );
    }
}

#[test]
fn a_flipped_bit_ends_the_journal_or_is_damage() {
    let mut files = Files::new(1);
    (0..4).for_each(|_| files.push(1, false));
    for at in (0..4 * BLOCK as usize).step_by(97) {
        let mut bytes = files.files[0].clone();
        bytes[at] ^= 1;
        let walk = walk_bytes(&[bytes], CHAIN).expect("nothing of it was flushed");
        let before = at / BLOCK as usize;
        assert_eq!(
            sequences(&walk),
            (1..=before as u64).collect::<Vec<_>>(),
            "flip at {at}"
        );
    }
}

#[test]
fn a_missing_entry_that_was_flushed_is_damage() {
    let mut files = Files::new(2);
    files.push(1, false);
    files.push(1, false);
    files.next_file(1);
    files.push(1, true);
    files.files[0][BLOCK as usize + 100] ^= 1;
    assert_eq!(
        walk_bytes(&files.files, CHAIN),
        Err(Broken::Gap { end: 2, flushed: 2 })
    );
}

#[test]
fn later_entries_behind_an_unwritten_one_are_dropped() {
    let mut files = Files::new(2);
    files.push(1, false);
    files.push(1, false);
    files.next_file(1);
    files.push(1, false);
    files.files[0][BLOCK as usize..].fill(0);
    let walk = walk_bytes(&files.files, CHAIN).expect("never acknowledged");
    assert_eq!(sequences(&walk), [1]);
}

#[test]
fn a_reused_file_whose_first_write_was_torn_does_not_hide_the_others() {
    let mut files = Files::new(3);
    (0..3).for_each(|_| files.push(1, true));
    files.next_file(1);
    (0..3).for_each(|_| files.push(1, true));
    files.next_file(2);
    files.replay_from = 4;
    (0..3).for_each(|_| files.push(1, true));
    files.flushed = 9;
    // File 0 comes round again; of its first entry, three blocks long, only the second block arrived.
    let before = files.files[0].clone();
    files.next_file(0);
    files.push(3, false);
    let torn = files.files[0][BLOCK as usize..2 * BLOCK as usize].to_vec();
    files.files[0] = before;
    files.files[0][BLOCK as usize..2 * BLOCK as usize].copy_from_slice(&torn);
    let walk = walk_bytes(&files.files, CHAIN).expect("whole");
    assert_eq!(sequences(&walk), [4, 5, 6, 7, 8, 9]);
}

#[test]
fn entries_below_the_replay_mark_are_left_out() {
    let mut files = Files::new(2);
    files.push(1, true);
    files.next_file(1);
    files.push(1, true);
    files.replay_from = 2;
    files.push(1, true);
    let walk = walk_bytes(&files.files, CHAIN).expect("whole");
    assert_eq!(sequences(&walk), [2, 3]);
}

/// Its header is whole, and says that the file before is not needed any more; the entry behind it says so, too.
#[test]
fn a_torn_payload_at_the_start_of_a_file_leaves_what_was_flushed_before() {
    let mut files = Files::new(2);
    files.push(1, true);
    files.push(1, true);
    files.flushed = 2;
    files.next_file(1);
    files.replay_from = 3;
    files.push(2, false);
    files.push(1, false);
    let whole = walk_bytes(&files.files, CHAIN).expect("whole");
    assert_eq!(sequences(&whole), [3, 4]);
    files.files[1][BLOCK as usize + 7] ^= 1;
    let walk = walk_bytes(&files.files, CHAIN).expect("what is torn was not flushed");
    assert_eq!(sequences(&walk), [1, 2]);
}

#[test]
fn what_is_settled_is_not_looked_at() {
    let mut files = Files::new(2);
    files.push(2, true);
    files.next_file(1);
    files.replay_from = 2;
    files.push(1, true);
    files.files[0][BLOCK as usize + 7] ^= 1;
    let walk = walk_bytes(&files.files, CHAIN).expect("nothing is missing");
    assert_eq!(sequences(&walk), [2]);
}

#[test]
fn control_items_come_back_as_written() {
    let key = LogKey {
        id: LogId {
            topic_id: [9; 16],
            partition: 4,
        },
        instance: 77,
    };
    let mut control = Vec::new();
    encode_log_start(&key, 1234, &mut control);
    encode_drop(&key, &mut control);
    let mut entry = EntryBuilder::new(control.len());
    entry.encoded(&control, 2);
    let (bytes, _) = entry.finish(CHAIN, 1, 0, 0, 1);
    let (header, payload) = read_entry(&bytes).expect("an entry");
    let found: Vec<_> = items(&header, payload).collect();
    assert_eq!(
        found,
        [
            Some(Item::LogStart { key, offset: 1234 }),
            Some(Item::Drop { key })
        ]
    );
}
