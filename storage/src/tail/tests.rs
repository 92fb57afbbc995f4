use super::*;

fn bytes(views: Vec<Bytes>) -> Vec<u8> {
    views.iter().flat_map(|v| v.to_vec()).collect()
}

#[test]
fn views_give_back_what_was_appended_across_chunks() {
    let mut tail = Tail::new(0);
    let mut all = Vec::new();
    for n in 0..200u32 {
        let part: Vec<u8> = (0..n * 17).map(|i| (i ^ n) as u8).collect();
        tail.append([&part[..part.len() / 3], &part[part.len() / 3..]]);
        all.extend_from_slice(&part);
    }
    assert_eq!(tail.end(), all.len() as u64);
    for (from, to) in [(0, all.len()), (4095, 4097), (1, 2), (100_000, 300_000)] {
        assert_eq!(bytes(tail.views(from as u64..to as u64)), all[from..to]);
    }
    let mut some = [0; 61];
    assert!(tail.copy(8190, &mut some));
    assert_eq!(some, all[8190..8251]);
    assert!(!tail.copy(all.len() as u64 - 60, &mut some));
}

#[test]
fn a_continued_log_keeps_the_alignment_of_its_blocks() {
    let mut tail = Tail::new(10_000);
    tail.append([&[5; 3000], &[]]);
    assert_eq!(tail.start(), 10_000);
    assert_eq!(tail.missing_prefix(), Some(8192..10_000));
    assert_eq!(bytes(tail.views(10_000..13_000)), [5; 3000]);
    let prefix = Bytes::from(vec![9; 4096]);
    let block = tail.padded_block(8192, 12_288, Some(&prefix));
    assert_eq!(block[..1808], [9; 1808]);
    assert_eq!(block[1808..], [5; 2288]);
    let last = tail.padded_block(12_288, 13_000, None);
    assert_eq!(last[..712], [5; 712]);
    assert_eq!(last[712..], [0; 3384]);
}

#[test]
fn eviction_moves_the_start_and_nothing_else() {
    let mut tail = Tail::new(0);
    tail.append([&vec![1; 4096], &[]]);
    tail.append([&vec![2; 5000], &[]]);
    assert_eq!(tail.first_chunk_end(), Some(4096));
    assert_eq!(tail.evict_first(), 4096);
    assert_eq!(tail.start(), 4096);
    assert_eq!(bytes(tail.views(4096..9096)), [2; 5000]);
    assert!(tail.clear() > 0);
    assert_eq!((tail.start(), tail.end()), (9096, 9096));
    tail.append([&[3; 10], &[]]);
    assert_eq!(bytes(tail.views(9096..9106)), [3; 10]);
}

#[test]
fn a_segment_ends_with_zeros_up_to_the_block() {
    let mut tail = Tail::new(0);
    tail.append([&[1; 100], &[]]);
    assert_eq!(tail.pad(), 4096);
    tail.append([&[2; 100], &[]]);
    assert_eq!(bytes(tail.views(99..101)), [1, 0]);
    assert_eq!(bytes(tail.views(4096..4196)), [2; 100]);
    let mut idle = Tail::new(4100);
    assert_eq!(idle.pad(), 8192);
    assert_eq!((idle.start(), idle.end()), (8192, 8192));
}

#[test]
fn of_any_tail_only_a_part_is_not_filled_yet() {
    let mut tail = Tail::new(0);
    let mut taken = Taken::default();
    for _ in 0..20_000 {
        let more = tail.append([&[1; 61], &[2; 200]]);
        taken.blocks += more.blocks;
        taken.bytes += more.bytes;
        let filled = tail.end() as usize;
        assert!(taken.bytes <= filled + filled / 2 + BLOCK as usize);
    }
    assert_eq!(tail.memory(), taken);
    let large = tail.append([&vec![3; 5 << 20], &[]]);
    assert!(large.blocks >= 4 && large.bytes >= 4 << 20);
}
