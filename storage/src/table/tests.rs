use super::*;
use crate::LogId;

fn row(instance: u64, from: i64, bases: &[i64]) -> Row {
    let segment = |base: &i64| SegmentInfo {
        base_offset: *base,
        end_offset: base + 10,
        bytes: 4711,
        largest_timestamp: 17,
        largest_timestamp_offset: base + 3,
        first_timestamp: (*base > 0).then_some(5),
        modified_ms: 99,
    };
    let mut epochs = Epochs::default();
    epochs.assign(3, 0);
    epochs.assign(5, 12);
    Row {
        key: LogKey {
            id: LogId {
                topic_id: [4; 16],
                partition: 1,
            },
            instance,
        },
        topic: "orders".to_owned(),
        log_start_offset: 0,
        log_end_offset: 30,
        settled: (20, 4096),
        materialized: true,
        segments_from: from,
        segments: bases.iter().map(segment).collect(),
        flags: vec![READY; bases.len()],
        epochs,
    }
}

fn logs(bytes: &[u8]) -> Vec<Row> {
    let log = |read| match read {
        Read::Log(row) => Some(*row),
        _ => None,
    };
    let (rows, _) = read_rows(bytes);
    rows.into_iter().filter_map(log).collect()
}

#[test]
fn rows_come_back_as_written() {
    let mut bytes = Vec::new();
    let written = row(1, i64::MIN, &[0, 10, 20]);
    written.encode(&mut bytes);
    encode_drop(&written.key, &mut bytes);
    encode_stopped(&mut bytes);
    let rows = bytes.len() as u64;
    let bytes = whole(3, 7, &bytes);
    let (read, end) = read_rows(&bytes);
    assert_eq!((read.len(), end), (4, bytes.len()));
    let head = Head {
        cores: 3,
        rewrites: 7,
        bytes: rows,
    };
    assert!(matches!(read[0], Read::Head(h) if h == head));
    assert!(matches!(&read[1], Read::Log(r) if **r == written));
    assert!(matches!(read[2], Read::Drop(key) if key == written.key));
    assert!(matches!(read[3], Read::Stopped));
}

#[test]
fn a_torn_or_flipped_row_ends_the_table() {
    let mut bytes = Vec::new();
    row(1, i64::MIN, &[0]).encode(&mut bytes);
    let first = bytes.len();
    row(2, i64::MIN, &[0, 10]).encode(&mut bytes);
    for cut in first..bytes.len() {
        assert_eq!(logs(&bytes[..cut]).len(), 1);
    }
    for at in first..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert_eq!(logs(&flipped).len(), 1, "flip at {at}");
    }
}

#[test]
fn a_row_with_an_epoch_that_cannot_be_is_none() {
    let mut whole = Vec::new();
    row(1, i64::MIN, &[0]).encode(&mut whole);
    // The last epoch and where it starts end the row.
    for negative in [
        whole.len() - 12..whole.len() - 8,
        whole.len() - 8..whole.len(),
    ] {
        let mut bytes = whole.clone();
        bytes[negative].fill(0xff);
        let crc = crc32c::crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        assert_eq!(logs(&bytes).len(), 0);
    }
}

#[test]
fn a_later_row_takes_closed_segments_from_the_earlier() {
    let earlier = row(1, i64::MIN, &[0, 10, 20]);
    let mut later = row(1, 20, &[20, 30]);
    later.log_start_offset = 15;
    later.complete_from(&earlier);
    let bases: Vec<i64> = later.segments.iter().map(|s| s.base_offset).collect();
    assert_eq!(bases, [10, 20, 30]);
    assert_eq!(later.flags.len(), 3);
}

#[test]
fn names_are_parsed_back() {
    let name = TableName {
        generation: 12,
        core: 3,
    };
    let path = name.path(Path::new("/d"));
    let file = path.file_name().and_then(|n| n.to_str()).expect("a name");
    assert_eq!(TableName::parse(file), Some(name));
    assert_eq!(TableName::parse(".millstream-table-1-2.tmp"), None);
}
