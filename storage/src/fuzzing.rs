//! A doorway for fuzzing: the decoders of what lies on disk, without the rest. No part of the crate's promise.
//!
//! Each takes any bytes and panics only where a promise is broken: what is accepted must be the same when it was written
//! and is read again.

use crate::LogId;
use crate::checkpoint::{self, PartitionOffset};
use crate::dir::{self, MetaProperties, PartitionName, classify, parse_file_name};
use crate::epochs::Epochs;
use crate::journal::entry::{
    Append, Chain, ENTRY_HEADER, EntryBuilder, LogKey, encode_create, encode_drop,
    encode_log_start, items, read_entry,
};
use crate::journal::{JournalFileName, replay};
use crate::segment::aborted::{self, AbortedTxn};
use crate::segment::index::{OffsetIndex, TimeIndex};
use crate::snapshot::{self, ProducerEntry};
use crate::table::{self, Read, TableName};

const CHAIN: Chain = Chain {
    generation: 1,
    core: 0,
    directory: 7,
};
const KEY: LogKey = LogKey {
    id: LogId {
        topic_id: [3; 16],
        partition: 1,
    },
    instance: 2,
};
/// Where an entry's header has its length.
const PAYLOAD_BYTES: std::ops::Range<usize> = 28..32;

/// Journals of three entries with every kind of item, in one file and in two. The first byte: bit 0 makes checksums right
/// again, the rest says where the second file begins, in blocks.
pub fn journal_seeds() -> Vec<Vec<u8>> {
    let mut file = Vec::new();
    let mut previous = 0;
    for sequence in 1..=3u64 {
        let mut entry = EntryBuilder::new(4000);
        let append = Append {
            key: KEY,
            segment: 0,
            from: 0,
            to: 300,
            end_offset: 9,
            headers: &[],
            pieces: Vec::new(),
        };
        entry.append(&append, &[4; 61], 2);
        entry.inline(0, 100, [&[5; 100][..]].into_iter());
        entry.direct(4096, 4096, 99);
        entry.carry(&KEY, 0, 200, 50, [&[6; 50][..]].into_iter());
        for encode in [
            |out: &mut Vec<u8>| encode_create(&KEY, "topic", 5, out),
            |out: &mut Vec<u8>| encode_drop(&KEY, out),
            |out: &mut Vec<u8>| encode_log_start(&KEY, 6, out),
        ] {
            let mut item = Vec::new();
            encode(&mut item);
            entry.encoded(&item, 1);
        }
        let (bytes, crc) = entry.finish(CHAIN, sequence, previous, sequence - 1, 1);
        file.extend_from_slice(&bytes);
        previous = crc;
    }
    (0..8).map(|flags| [&[flags][..], &file].concat()).collect()
}

/// Walks the files and reads the items of all entries that count.
pub fn journal(bytes: &[u8]) {
    let [flags, bytes @ ..] = bytes else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        reseal_journal(&mut bytes);
    }
    let middle = (usize::from(flags >> 1) * 4096).min(bytes.len());
    let (one, two) = bytes.split_at(middle);
    for files in [vec![one, two], vec![two, one]] {
        let Ok(walk) = replay::walk_bytes(&files, CHAIN) else {
            continue;
        };
        let mut last: Option<u64> = None;
        for found in &walk.entries {
            let rest = files[found.file].get(found.at..);
            let (header, payload) = rest.and_then(read_entry).expect("it was found there");
            assert_eq!(header, found.header);
            assert!(last.is_none_or(|last| last + 1 == header.sequence));
            last = Some(header.sequence);
            // A count is only believed as far as the bytes go.
            for item in items(&header, payload).take_while(Option::is_some) {
                drop(item);
            }
        }
    }
}

fn reseal_journal(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + ENTRY_HEADER) {
        let length = head[PAYLOAD_BYTES].try_into().expect("four bytes");
        let end = ENTRY_HEADER.saturating_add(u32::from_le_bytes(length) as usize);
        let Some(entry) = bytes.get_mut(at..at.saturating_add(end)) else {
            return;
        };
        let crc = crc32c::crc32c(&entry[ENTRY_HEADER..]);
        entry[ENTRY_HEADER - 4..ENTRY_HEADER].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&entry[8..ENTRY_HEADER]);
        entry[4..8].copy_from_slice(&crc.to_le_bytes());
        at += end.next_multiple_of(4096);
    }
}

/// One of each kind, behind the byte that chooses it.
pub fn small_file_seeds() -> Vec<Vec<u8>> {
    let producer = ProducerEntry {
        producer_id: 5,
        producer_epoch: 1,
        last_sequence: 9,
        last_offset: 100,
        offset_delta: 3,
        timestamp: 77,
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    };
    let aborted = AbortedTxn {
        producer_id: 5,
        first_offset: 1,
        last_offset: 9,
        last_stable_offset: 4,
    };
    let mut epochs = Epochs::default();
    epochs.assign(1, 0);
    epochs.assign(4, 50);
    let mut rows = Vec::new();
    table::encode_drop(&KEY, &mut rows);
    table::encode_stopped(&mut rows);
    let rows = table::whole(2, 1, &rows);
    let files: [&[u8]; 9] = [
        &snapshot::encode(&[producer; 3]),
        &aborted::encode(&[aborted]),
        b"\0\0\0\x05\0\0\0\x40\0\0\0\x09\0\0\x01\0",
        b"\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0\x06\0\0\0\x04",
        b"0\n2\ntopic 0 5\nother-topic 11 70\n",
        &epochs.encode(),
        b"version=1\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\ncluster.id=x\n",
        &rows,
        b"topic-0.0123456789abcdef0123456789abcdef-delete",
    ];
    (0..)
        .zip(files)
        .map(|(kind, bytes): (u8, _)| [&[kind][..], bytes].concat())
        .collect()
}

/// Reads the bytes as the kind of file that the first of them chooses.
pub fn small_file(bytes: &[u8]) {
    let [kind, bytes @ ..] = bytes else { return };
    match kind % 9 {
        0 => {
            let mut bytes = bytes.to_vec();
            // The checksum of a snapshot covers all behind it (ProducerStateManager).
            if let Some(covered) = bytes.get(6..) {
                let crc = crc32c::crc32c(covered).to_be_bytes();
                bytes[2..6].copy_from_slice(&crc);
            }
            if let Ok(entries) = snapshot::decode(&bytes) {
                assert_eq!(snapshot::decode(&snapshot::encode(&entries)), Ok(entries));
            }
        }
        1 => {
            if let Ok(entries) = aborted::decode(bytes) {
                assert_eq!(aborted::decode(&aborted::encode(&entries)), Ok(entries));
            }
        }
        2 => {
            if let Ok(index) = OffsetIndex::decode(0, bytes, 1 << 20) {
                assert_eq!(OffsetIndex::decode(0, &index.encode(), 1 << 20), Ok(index));
            }
        }
        3 => {
            if let Ok(index) = TimeIndex::decode(0, 1 << 40, bytes) {
                assert_eq!(TimeIndex::decode(0, 1 << 40, &index.encode()), Ok(index));
            }
        }
        4 => {
            if let Ok(rows) = checkpoint::parse_offsets(bytes) {
                let rows: Vec<PartitionOffset> = rows;
                let again = checkpoint::parse_offsets(&checkpoint::encode_offsets(&rows));
                assert!(again.is_ok_and(|again| again == rows));
            }
        }
        5 => {
            if let Ok(epochs) = Epochs::parse(bytes) {
                let again = Epochs::parse(&epochs.encode());
                assert!(again.is_ok_and(|again| again.entries() == epochs.entries()));
            }
        }
        6 => {
            if let Ok(meta) = MetaProperties::parse(bytes) {
                assert!(MetaProperties::parse(&meta.encode()).is_ok_and(|again| again == meta));
            }
            if let Ok(id) = dir::parse_partition_metadata(bytes) {
                let again = dir::parse_partition_metadata(&dir::encode_partition_metadata(&id));
                assert!(again.is_ok_and(|again| again == id));
            }
        }
        7 => rows(bytes),
        _ => names(&String::from_utf8_lossy(bytes)),
    }
}

/// A log table, each row's checksum made right again.
fn rows(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = bytes.get(at + 8..(at + 8).saturating_add(length)) else {
            break;
        };
        let crc = crc32c::crc32c(body).to_le_bytes();
        bytes[at + 4..at + 8].copy_from_slice(&crc);
        at += 8 + length;
    }
    for row in table::read_rows(&bytes).0 {
        if let Read::Log(row) = row {
            let mut again = Vec::new();
            row.encode(&mut again);
            assert!(
                matches!(table::read_rows(&again).0[..], [Read::Log(ref other)] if *other == row)
            );
        }
    }
}

fn names(name: &str) {
    let _ = classify(name);
    let _ = parse_file_name(name);
    let _ = JournalFileName::parse(name);
    let _ = TableName::parse(name);
    if let Some(parsed) = PartitionName::parse(name) {
        assert_eq!(parsed.to_string(), name);
    }
}
