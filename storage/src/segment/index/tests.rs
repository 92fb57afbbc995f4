use super::*;
use proptest::prelude::*;

fn kafkas(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kafka-4.3.1/");
    std::fs::read(format!("{root}{name}")).unwrap()
}

/// The batches of a segment file, read without any help.
fn spans(log: &[u8]) -> Vec<BatchSpan> {
    let field = |at: usize| i64::from_be_bytes(log[at..at + 8].try_into().unwrap());
    let word = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let mut at = 0;
    let mut spans = Vec::new();
    while at < log.len() {
        let bytes = 12 + word(at + 8);
        spans.push(BatchSpan {
            position: at as u32,
            bytes,
            last_offset: field(at) + i64::from(word(at + 23)),
            max_timestamp: field(at + 35),
        });
        at += bytes as usize;
    }
    spans
}

/// A segment that Kafka rolled or closed, with index.interval.bytes=300.
struct Segment {
    base: i64,
    log: Vec<u8>,
    index: Vec<u8>,
    timeindex: Vec<u8>,
}

fn segments() -> Vec<Segment> {
    let segments = [
        ("plain-0", [0, 17, 28]),
        ("payments-0", [0, 18, 36]),
        ("codecs-0", [0, 16, 72]),
    ];
    let read = |dir: &str, base: i64| {
        let file = |suffix: &str| kafkas(&format!("clean/{dir}/{base:020}{suffix}"));
        Segment {
            base,
            log: file(".log"),
            index: file(".index"),
            timeindex: file(".timeindex"),
        }
    };
    let all = segments
        .into_iter()
        .flat_map(|(dir, bases)| bases.map(|base| (dir, base)));
    all.map(|(dir, base)| read(dir, base)).collect()
}

#[test]
fn rebuilt_indexes_are_kafkas_byte_for_byte() {
    for Segment {
        base,
        log,
        index,
        timeindex,
    } in segments()
    {
        let (offsets, times) = rebuild(base, 300, spans(&log));
        assert_eq!(offsets.encode(), index, "offset index of segment {base}");
        assert_eq!(times.encode(), timeindex, "time index of segment {base}");
        let end = spans(&log).last().unwrap().last_offset + 1;
        assert_eq!(
            OffsetIndex::decode(base, &index, log.len() as u64).unwrap(),
            offsets
        );
        assert_eq!(TimeIndex::decode(base, end, &timeindex).unwrap(), times);
    }
}

#[test]
fn kafkas_padding_is_cut() {
    let padded = kafkas("dirty/payments-0/00000000000000000036.index");
    let closed = kafkas("clean/payments-0/00000000000000000036.index");
    assert!(padded.len() > closed.len());
    assert_eq!(
        OffsetIndex::decode(36, &padded, 1394).unwrap().encode(),
        closed
    );
    let padded = kafkas("dirty/payments-0/00000000000000000036.timeindex");
    let closed = kafkas("clean/payments-0/00000000000000000036.timeindex");
    let times = TimeIndex::decode(36, 49, &padded).unwrap();
    assert!(closed.starts_with(&times.encode()));
    assert_eq!(OffsetIndex::decode(0, &[0; 64], 0).unwrap().entries(), []);
}

#[test]
fn truncations_and_flips_never_panic_and_lookups_stay_inside() {
    for Segment {
        base,
        log,
        index,
        timeindex,
    } in segments()
    {
        let end = spans(&log).last().unwrap().last_offset + 1;
        for len in 0..index.len() {
            let cut = OffsetIndex::decode(base, &index[..len], log.len() as u64);
            assert_eq!(cut.is_ok(), len % OFFSET_ENTRY == 0);
        }
        for bit in 0..index.len() * 8 {
            let mut bytes = index.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(offsets) = OffsetIndex::decode(base, &bytes, log.len() as u64) {
                assert!(
                    (base..end).all(|o| (floor_position(&offsets.entries, o) as usize) < log.len())
                );
            }
        }
        for bit in 0..timeindex.len() * 8 {
            let mut bytes = timeindex.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(times) = TimeIndex::decode(base, end, &bytes) {
                assert!(times.last().is_none_or(|e| e.offset < end));
            }
        }
    }
}

#[test]
fn timestamp_zero_at_the_base_offset_is_an_entry() {
    let span = BatchSpan {
        position: 0,
        bytes: 70,
        last_offset: 5,
        max_timestamp: 0,
    };
    let (_, times) = rebuild(5, 4096, [span]);
    assert_eq!(times.encode(), [0; TIME_ENTRY]);
    assert_eq!(TimeIndex::decode(5, 6, &[0; TIME_ENTRY]), Ok(times));
}

#[test]
fn a_full_index_says_so() {
    let mut index = ActiveIndex::new(0, 10);
    let mut batches = 0;
    while !index.is_full(80) {
        index.push(BatchSpan {
            position: batches * 100,
            bytes: 100,
            last_offset: i64::from(batches),
            max_timestamp: 1_000, // never rises: only the offset index grows
        });
        batches += 1;
    }
    assert_eq!(batches, 11, "ten entries, and none for the first batch");
}

/// (bytes, records, timestamp) of batches one after the other.
fn batches() -> impl Strategy<Value = Vec<BatchSpan>> {
    prop::collection::vec((61u32..9000, 1i64..50, -1i64..2000), 0..3000).prop_map(|rows| {
        let (mut position, mut offset) = (0, 100);
        let span = |(bytes, records, max_timestamp)| {
            offset += records;
            position += bytes;
            BatchSpan {
                position: position - bytes,
                bytes,
                last_offset: offset - 1,
                max_timestamp,
            }
        };
        rows.into_iter().map(span).collect()
    })
}

/// Where a scan must begin at the latest.
fn position_of(spans: &[BatchSpan], offset: i64) -> Option<u32> {
    spans
        .iter()
        .find(|s| s.last_offset >= offset)
        .map(|s| s.position)
}

proptest! {
    #[test]
    fn lookups_agree_with_a_scan(spans in batches(), interval in 0u32..20_000, probes in prop::collection::vec(90i64..80_000, 20), stamps in prop::collection::vec(-5i64..2100, 20)) {
        let (offsets, times) = rebuild(100, interval, spans.clone());
        let mut active = ActiveIndex::new(100, interval);
        spans.iter().for_each(|span| active.push(*span));
        for offset in probes {
            if let Some(position) = position_of(&spans, offset) {
                let found = floor_position(&offsets.entries, offset);
                prop_assert!(found <= position);
                prop_assert!(position - found <= interval.saturating_add(9000 * 2));
                prop_assert!(active.position_for(offset) <= position);
            }
        }
        for stamp in stamps {
            if let Some(first) = spans.iter().find(|s| s.max_timestamp >= stamp) {
                prop_assert!(below(&times.entries, stamp).is_none_or(|e| e.offset <= first.last_offset));
                prop_assert!(active.time_before(stamp).map_or(0, |e| e.offset) <= first.last_offset);
            }
        }
        let largest = spans.iter().map(|s| s.max_timestamp).max().filter(|t| *t >= 0);
        prop_assert_eq!(active.rule.largest.map(|e| e.timestamp), largest);
        prop_assert_eq!(times.last().map(|e| e.timestamp), largest);
    }

    #[test]
    fn written_in_pieces_and_resumed_the_files_are_the_same(spans in batches(), interval in 0u32..20_000, stops in prop::collection::vec(0usize..3000, 3)) {
        let (offsets, times) = rebuild(100, interval, spans.clone());
        let (mut index_file, mut time_file) = (Vec::new(), Vec::new());
        let mut active = ActiveIndex::new(100, interval);
        let write = |pieces: Unwritten, index_file: &mut Vec<u8>, time_file: &mut Vec<u8>| {
            assert_eq!(pieces.offset_at, index_file.len() as u64);
            assert_eq!(pieces.time_at, time_file.len() as u64);
            index_file.extend(pieces.offsets);
            time_file.extend(pieces.times);
        };
        for (i, span) in spans.iter().enumerate() {
            if stops.contains(&i) {
                // A restart: only what was written is known, the batches after it come again.
                write(active.take_unwritten(), &mut index_file, &mut time_file);
                let size = u64::from(span.position);
                let o = OffsetIndex::decode(100, &index_file, size.max(1)).unwrap();
                let t = TimeIndex::decode(100, span.last_offset, &time_file).unwrap();
                active = ActiveIndex::resume(interval, &o, &t);
                let from = active.resume_position();
                spans[..i].iter().filter(|s| s.position >= from).for_each(|s| active.push(*s));
            }
            if i % 3 == 1 {
                // A write that failed, and a batch that came meanwhile.
                let taken = active.take_unwritten();
                active.push(*span);
                active.put_back(taken);
            } else {
                active.push(*span);
            }
        }
        let taken = active.finish();
        active.put_back(taken);
        write(active.finish(), &mut index_file, &mut time_file);
        prop_assert_eq!(index_file, offsets.encode());
        prop_assert_eq!(time_file, times.encode());
    }
}
