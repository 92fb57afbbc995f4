//! What a log and a snapshot survive, and what they refuse.

use super::*;
use crate::controller::configs::{Resource, ResourceType};

fn entry(epoch: i32, index: i64) -> Entry {
    let entries = vec![(
        format!("key-{index}"),
        Some("v".repeat(index as usize * 7 + 1)),
    )];
    let resource = Resource::new(ResourceType::Group, format!("group-{index}"));
    Entry {
        position: Position { epoch, index },
        records: vec![Record::Config { resource, entries }],
    }
}

/// `count` entries, each flushed before the next was written, and where each ends.
fn log(count: i64) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for index in 0..count {
        encode_entry(&entry(1, index), index - 1, &mut bytes);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn read(bytes: &[u8]) -> (Result<Vec<Entry>, LogError>, usize) {
    let mut entries = decode_log(bytes, Position::BEFORE_ALL);
    let read = entries.by_ref().collect();
    (read, entries.end())
}

#[test]
fn a_log_cut_anywhere_ends_at_the_last_whole_entry() {
    let (bytes, ends) = log(5);
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (entries, end) = read(&bytes[..cut]);
        let entries = entries.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(
            entries,
            (0..whole as i64)
                .map(|index| entry(1, index))
                .collect::<Vec<_>>(),
            "cut at {cut}"
        );
        assert_eq!(
            end,
            if whole == 0 { 0 } else { ends[whole - 1] },
            "cut at {cut}"
        );
    }
}

/// Every byte of the last 64 KiB with `MILLSTREAM_TORN=1`, every 64th with 64; else every 211th.
#[test]
fn a_log_torn_anywhere_has_the_entries_before_that() {
    const REACH: usize = 64 << 10;
    let every = std::env::var("MILLSTREAM_TORN").ok();
    let every = every.and_then(|every| every.parse().ok()).unwrap_or(211);
    let (bytes, ends) = log(150);
    assert!(bytes.len() > REACH);
    let all: Vec<Entry> = (0..150).map(|index| entry(1, index)).collect();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (bytes.len() - REACH..bytes.len()).step_by(every) {
        let mut garbage = bytes.clone();
        garbage[at..].fill_with(|| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        });
        let mut zeros = bytes.clone();
        zeros[at..].fill(0);
        for (how, torn) in [
            ("cut", &bytes[..at]),
            ("zeros", &zeros),
            ("garbage", &garbage),
        ] {
            // Zeros over zeros tear nothing.
            let same = torn.iter().zip(&bytes).position(|(torn, was)| torn != was);
            let same = same.unwrap_or(torn.len());
            let whole = ends.iter().filter(|end| **end <= same).count();
            let (entries, end) = read(torn);
            let entries = entries.unwrap_or_else(|error| panic!("{how} at {at}: {error}"));
            assert!(entries == all[..whole], "{how} at {at}");
            assert_eq!(end, ends[whole - 1], "{how} at {at}");
            // What is read again after the file was cut there is the same.
            let (again, same) = read(&torn[..end]);
            assert!(again == Ok(entries) && same == end, "{how} at {at}");
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_except_in_the_last_entry() {
    let (bytes, ends) = log(5);
    let last = ends[3];
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let (entries, end) = read(&bytes);
            let damaged = ends.iter().rfind(|end| **end <= at).copied().unwrap_or(0);
            match entries {
                Ok(entries) => {
                    assert!(at >= last, "the flip of byte {at} went unnoticed");
                    assert_eq!((entries.len(), end), (4, last));
                }
                Err(error) => {
                    assert!(
                        at < last,
                        "byte {at} is in an entry that may never have been flushed: {error}"
                    );
                    assert_eq!(error, LogError::Damaged { at: damaged });
                }
            }
        }
    }
}

#[test]
fn one_write_of_several_entries_may_tear_anywhere() {
    let mut bytes = Vec::new();
    let mut starts = Vec::new();
    for index in 0..4 {
        starts.push(bytes.len());
        // Entries 1 to 3 are one write.
        encode_entry(&entry(1, index), index.min(1) - 1, &mut bytes);
    }
    for torn in 1..4 {
        let mut bytes = bytes.clone();
        bytes[starts[torn] + HEADER_BYTES] ^= 0xff;
        let (entries, end) = read(&bytes);
        assert_eq!(
            entries.map(|entries| entries.len()),
            Ok(torn),
            "none of them was acknowledged"
        );
        assert_eq!(end, starts[torn]);
    }
    // The very first write of a log may tear as well.
    let mut bytes = Vec::new();
    encode_entry(&entry(1, 0), -1, &mut bytes);
    let second = bytes.len();
    encode_entry(&entry(1, 1), -1, &mut bytes);
    bytes[second - 1] ^= 1;
    assert_eq!(read(&bytes), (Ok(Vec::new()), 0));
}

#[test]
fn zeros_reach_to_the_next_block() {
    let mut bytes = Vec::new();
    for index in 0..3 {
        encode_entry(&entry(1, index), index - 1, &mut bytes);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
    let (entries, end) = read(&bytes);
    assert_eq!(entries.map(|entries| entries.len()), Ok(3));
    assert!(end > 2 * ALIGNMENT && end < 3 * ALIGNMENT);
    bytes[ALIGNMENT + 40] ^= 1;
    assert_eq!(
        read(&bytes).0,
        Err(LogError::Damaged {
            at: end_of_first(&bytes)
        })
    );
    assert_eq!(read(&vec![0; 3 * ALIGNMENT]), (Ok(Vec::new()), 0));
}

fn end_of_first(bytes: &[u8]) -> usize {
    let frame = read_frame(bytes).expect("the first entry is whole");
    frame.len()
}

#[test]
fn entries_follow_each_other() {
    let mut skipped = Vec::new();
    encode_entry(&entry(1, 0), -1, &mut skipped);
    let at = skipped.len();
    encode_entry(&entry(1, 2), 1, &mut skipped);
    let position = |epoch, index| Position { epoch, index };
    let gap = LogError::OutOfOrder {
        at,
        last: position(1, 0),
        found: position(1, 2),
    };
    assert_eq!(read(&skipped).0, Err(gap));
    let mut back = Vec::new();
    encode_entry(&entry(3, 0), -1, &mut back);
    let at = back.len();
    encode_entry(&entry(2, 1), 0, &mut back);
    let fell = LogError::OutOfOrder {
        at,
        last: position(3, 0),
        found: position(2, 1),
    };
    assert_eq!(read(&back).0, Err(fell));
    // A log that begins too late misses entries.
    let mut late = Vec::new();
    encode_entry(&entry(1, 4), 3, &mut late);
    let missing = LogError::OutOfOrder {
        at: 0,
        last: Position::BEFORE_ALL,
        found: position(1, 4),
    };
    assert_eq!(read(&late).0, Err(missing));
}

#[test]
fn entries_the_snapshot_holds_are_skipped() {
    let (bytes, _) = log(5);
    for snapshot in -1..5 {
        let last = Position {
            epoch: 1,
            index: snapshot,
        };
        let entries: Result<Vec<Entry>, LogError> = decode_log(&bytes, last).collect();
        let expected: Vec<Entry> = (snapshot + 1..5).map(|index| entry(1, index)).collect();
        assert_eq!(entries, Ok(expected), "snapshot at {snapshot}");
    }
    let newer = Position { epoch: 2, index: 3 };
    let found = Position { epoch: 1, index: 4 };
    let last = decode_log(&bytes, newer).last();
    assert!(
        matches!(last, Some(Err(LogError::OutOfOrder { found: f, .. })) if f == found),
        "{last:?}"
    );
}

#[test]
fn a_damaged_first_entry_is_noticed_behind_a_snapshot() {
    let (mut bytes, ends) = log(5);
    bytes[ends[0] - 1] ^= 1;
    let last = Position { epoch: 1, index: 3 };
    let entries: Result<Vec<Entry>, LogError> = decode_log(&bytes, last).collect();
    assert_eq!(entries, Err(LogError::Damaged { at: 0 }));
}

#[test]
fn a_payload_that_is_no_records_is_an_error() {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&8u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&1i32.to_le_bytes());
    bytes.extend_from_slice(&0i64.to_le_bytes());
    bytes.extend_from_slice(&(-1i64).to_le_bytes());
    bytes.extend_from_slice(&[0xff; 8]);
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let error = read(&bytes).0.expect_err("not a FlatBuffer");
    assert!(
        matches!(error, LogError::Payload { at: 0, .. }),
        "{error:?}"
    );
    assert!(!error.to_string().contains('\n'), "one clear line: {error}");
}

#[test]
fn a_snapshot_is_whole_or_refused() {
    let mut state = State::new();
    for index in 0..4 {
        state.replay(&entry(1, index));
    }
    let bytes = encode_snapshot(&state);
    let restored = decode_snapshot(&bytes).expect("whole");
    assert!(restored == state);
    for cut in 0..bytes.len() {
        assert!(decode_snapshot(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert!(decode_snapshot(&bytes).is_err(), "flip at {at}");
    }
    // A log is no snapshot.
    assert!(
        decode_snapshot(&log(3).0).is_err_and(|error| matches!(error, LogError::OutOfOrder { .. }))
    );
    let empty = decode_snapshot(&encode_snapshot(&State::new())).expect("whole");
    assert!(empty == State::new());
}

#[test]
fn a_large_snapshot_has_entries_of_bounded_size() {
    use crate::controller::image::{Home, Partition};
    use millstream_protocol::uuid::Uuid;
    let home = Home {
        core: 3,
        directory: Uuid([5; 16]),
    };
    let one = Partition {
        leader: 1,
        leader_epoch: 2,
        partition_epoch: 3,
        replicas: Box::new([1]),
        isr: Box::new([1]),
        home,
    };
    let mut state = State::new();
    let topic = Topic {
        name: "wide".into(),
        topic_id: Uuid([4; 16]),
        partitions: vec![one; 25_000],
    };
    state.replay(&Entry {
        position: Position { epoch: 1, index: 0 },
        records: vec![Record::Topic(topic)],
    });
    let bytes = encode_snapshot(&state);
    let first = end_of_first(&bytes);
    assert!(
        first < bytes.len() / 2,
        "the topic is cut into several entries"
    );
    assert!(
        first / 10_000 < 128,
        "{} bytes for each partition",
        first / 10_000
    );
    assert!(decode_snapshot(&bytes).expect("whole") == state);
}
