use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_ring::{Open, Ring, block_on};

use super::index::{BatchSpan, rebuild};
use super::*;

/// A copy of a partition that Kafka wrote, and its segments.
fn partition(name: &str, bases: &[i64], end: i64) -> (tempfile::TempDir, Vec<SegmentInfo>) {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/kafka-4.3.1/clean")
        .join(name);
    let mut segments = Vec::new();
    for (i, &base) in bases.iter().enumerate() {
        for kind in [FileKind::Log, FileKind::Index, FileKind::TimeIndex] {
            let file = file_name(base, kind);
            std::fs::copy(from.join(&file), dir.path().join(&file)).unwrap();
        }
        let log = std::fs::read(dir.path().join(file_name(base, FileKind::Log))).unwrap();
        let largest = batches(&log).map(|(_, h)| h.max_timestamp).max().unwrap();
        segments.push(SegmentInfo {
            base_offset: base,
            end_offset: bases.get(i + 1).copied().unwrap_or(end),
            bytes: log.len() as u64,
            largest_timestamp: largest,
            largest_timestamp_offset: -1,
            first_timestamp: None,
            modified_ms: 0,
        });
    }
    (dir, segments)
}

fn batches(log: &[u8]) -> impl Iterator<Item = (u64, BatchHeader)> {
    let mut at = 0;
    batch::Batches::new(log).map(move |item| {
        let (header, bytes) = item.unwrap();
        at += bytes.len() as u64;
        (at - bytes.len() as u64, header)
    })
}

#[test]
fn every_offset_and_timestamp_is_found_as_by_a_linear_scan() {
    for (name, bases, end) in [("plain-0", [0, 17, 28], 30), ("codecs-0", [0, 16, 72], 120)] {
        let (dir, segments) = partition(name, &bases, end);
        let path = dir.path().to_owned();
        block_on(async move |ring: Ring| {
            let files = Files::new(&ring, 4);
            for info in &segments {
                let log =
                    std::fs::read(path.join(file_name(info.base_offset, FileKind::Log))).unwrap();
                let all: Vec<_> = batches(&log).collect();
                for offset in info.base_offset - 2..info.end_offset + 2 {
                    let expected = all.iter().find(|(_, h)| h.last_offset() >= offset).copied();
                    let found = find_offset(&files, &path, info, offset).await.unwrap();
                    let found = found.map(|f| (f.position, f.sure));
                    assert_eq!(found, expected.map(|f| (f.0, true)), "offset {offset}");
                }
                for stamp in all
                    .iter()
                    .flat_map(|(_, h)| [h.max_timestamp - 1, h.max_timestamp, h.max_timestamp + 1])
                {
                    for from in [info.base_offset, info.base_offset + 3] {
                        let wanted = |(_, h): &&(u64, BatchHeader)| {
                            h.max_timestamp >= stamp && h.last_offset() >= from
                        };
                        let expected = all.iter().find(wanted).map(|f| f.1);
                        let found = find_timestamp(&files, &path, info, stamp, from)
                            .await
                            .unwrap();
                        // Within that batch: a record before it has neither the time nor the offset.
                        let right = match (found, expected) {
                            (Some(offset), Some(header)) => {
                                let first = header.base_offset.max(from);
                                (first..=header.last_offset()).contains(&offset)
                            }
                            (found, expected) => found.is_none() && expected.is_none(),
                        };
                        assert!(right, "timestamp {stamp} from {from}: {found:?}");
                    }
                }
            }
        });
    }
}

#[test]
fn a_wrong_or_missing_index_only_costs_time() {
    let (dir, segments) = partition("plain-0", &[0, 17], 28);
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 4);
        let info = &segments[0];
        let index = path.join(file_name(0, FileKind::Index));
        let good = std::fs::read(&index).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&index, bytes).unwrap();
            for offset in 0..17 {
                let found = find_offset(&files, &path, info, offset)
                    .await
                    .unwrap()
                    .unwrap()
                    .header;
                assert!(
                    (found.base_offset..=found.last_offset()).contains(&offset),
                    "bit {bit}, offset {offset}"
                );
            }
        }
        std::fs::remove_file(&index).unwrap();
        files.forget(&index);
        assert_eq!(
            find_offset(&files, &path, info, 9)
                .await
                .unwrap()
                .unwrap()
                .header
                .base_offset,
            9
        );
    });
}

#[test]
fn long_indexes_are_searched_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 4);
        let span = |i: u32| BatchSpan {
            position: i * 100,
            bytes: 100,
            last_offset: i64::from(i),
            max_timestamp: 1000 + i64::from(i),
        };
        let (offsets, times) = rebuild(0, 0, (0..5000).map(span));
        std::fs::write(path.join(file_name(0, FileKind::Index)), offsets.encode()).unwrap();
        std::fs::write(path.join(file_name(0, FileKind::TimeIndex)), times.encode()).unwrap();
        let info = SegmentInfo {
            base_offset: 0,
            end_offset: 5000,
            bytes: 500_000,
            largest_timestamp: 5999,
            largest_timestamp_offset: 4999,
            first_timestamp: None,
            modified_ms: 0,
        };
        for offset in (0..5000).step_by(37).chain([1, 2, 4999, 9000]) {
            let found = indexed(&files, &path, &info, offset).await.unwrap();
            let before = offsets.entries().iter().rfind(|e| e.offset <= offset);
            assert_eq!(
                found,
                before.copied().filter(|e| e.position > 0),
                "offset {offset}"
            );
            let found = indexed_time(&files, &path, &info, 1000 + offset)
                .await
                .unwrap();
            // Timestamps rise with the offsets, and an entry stands for every one of both but the first.
            let before = offsets.entries().iter().rfind(|e| e.offset < offset);
            let found = found.map(|e| e.offset);
            assert_eq!(found, before.map(|e| e.offset), "time of {offset}");
        }
    });
}

#[test]
fn both_doors_give_the_same_bytes_and_nothing_beyond_the_end() {
    let (dir, _) = partition("plain-0", &[0], 17);
    let path = dir.path().join(file_name(0, FileKind::Log));
    let mut bytes = std::fs::read(&path).unwrap();
    let batches_end = bytes.len() as u64;
    bytes.resize(3 * BLOCK, 0); // a segment that is still written
    std::fs::write(&path, &bytes).unwrap();
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 4);
        for access in [Access::Buffered, Access::Direct] {
            let file = files.get(&path, access).await.unwrap();
            for (from, len, end) in [
                (0, 61, 5000),
                (100, 4096, 9000),
                (4000, 200, 9000),
                (4095, 2, 4096),
                (8000, 9000, 12_288),
                (50, 10, 50),
                (60, 10, 50),
            ] {
                let read = read_range(&file, access, from, len, end).await.unwrap();
                let to = (from + len as u64).min(end).max(from) as usize;
                assert_eq!(
                    &read[..],
                    &bytes[from as usize..to],
                    "{access:?} {from} {len} {end}"
                );
            }
            let mut scan = HeaderScan::new(file.clone(), access, 0, batches_end);
            let mut seen = 0;
            while let Some((_, header)) = scan.next().await.unwrap() {
                assert_eq!(header.base_offset, seen);
                seen = header.next_offset();
            }
            assert_eq!(seen, 17);
            // An end inside of a batch, or behind the last one, is not passed over in silence.
            for end in [batches_end - 1, batches_end + 40, batches_end + 400] {
                let mut scan = HeaderScan::new(file.clone(), access, 0, end);
                let error = loop {
                    match scan.next().await {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("no error up to {end}"),
                        Err(error) => break error,
                    }
                };
                assert!(
                    matches!(
                        error,
                        SegmentError::Torn { .. } | SegmentError::Corrupt { .. }
                    ),
                    "{error}"
                );
            }
        }
        let file = files.get(&path, Access::Direct).await.unwrap();
        let beyond = read_range(&file, Access::Direct, 12_000, 5000, 20_000).await;
        assert!(
            matches!(beyond, Err(SegmentError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof)
        );
    });
}

#[test]
fn a_file_that_ends_inside_a_block_is_read_directly_too() {
    let (dir, segments) = partition("plain-0", &[0], 17);
    let path = dir.path().join(file_name(0, FileKind::Log));
    let bytes = std::fs::read(&path).unwrap();
    let end = segments[0].bytes;
    assert!(!end.is_multiple_of(BLOCK as u64));
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 4);
        let file = files.get(&path, Access::Direct).await.unwrap();
        let read = read_range(&file, Access::Direct, 61, 1 << 20, end).await;
        assert_eq!(&read.unwrap()[..], &bytes[61..]);
        let found = scan_to_offset(&file, Access::Direct, 0, end, 16).await;
        assert_eq!(found.unwrap().unwrap().1.base_offset, 16);
    });
}

#[test]
fn batches_longer_than_the_window_are_hopped_over() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("log");
    let mut bytes = Vec::new();
    let mut positions = Vec::new();
    for (i, size) in [100, 200_000, 61, 70_000, 65_536, 300]
        .into_iter()
        .enumerate()
    {
        let mut batch = vec![7; size.max(batch::HEADER)];
        let header = BatchHeader {
            base_offset: i as i64,
            batch_length: batch.len() as i32 - 12,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 1,
        };
        header.write(batch.first_chunk_mut().unwrap());
        positions.push(bytes.len() as u64);
        bytes.extend(batch);
    }
    std::fs::write(&path, &bytes).unwrap();
    block_on(async move |ring: Ring| {
        let how = Open {
            read: true,
            ..Open::default()
        };
        let file = File::open(&ring, &path, how).await.unwrap();
        for offset in 0..6 {
            let found = scan_to_offset(&file, Access::Buffered, 0, bytes.len() as u64, offset)
                .await
                .unwrap();
            assert_eq!(found.unwrap().0, positions[offset as usize]);
        }
        assert!(
            scan_to_offset(&file, Access::Buffered, 0, bytes.len() as u64, 6)
                .await
                .unwrap()
                .is_none()
        );
        ring.sleep(Duration::ZERO).await;
    });
}

async fn scan_to_offset(
    file: &File,
    access: Access,
    from: u64,
    end: u64,
    offset: i64,
) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
    let mut scan = HeaderScan::new(file.clone(), access, from, end);
    while let Some((position, header)) = scan.next().await? {
        if header.last_offset() >= offset {
            return Ok(Some((position, header)));
        }
    }
    Ok(None)
}
