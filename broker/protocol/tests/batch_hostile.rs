//! Changed and invented bytes: an error or a defined end, never a panic, never memory beyond what the bound allows.
//!
//! One test only: the allocator counts for the whole process.

use std::alloc::System;

use millstream_protocol::batch::{
    BatchBuilder, BatchHeader, Batches, ProduceRules, recode, records, verify_produced,
};
use millstream_protocol::compress::{Codec, compress, decompress};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a codec's own state may take: windows and tables, independent of the input.
const CODEC_STATE: usize = 256 << 10;
const DECOMPRESSED_MAX: usize = 64 << 10;

/// Runs `work` and returns the bytes it allocated in all, whether freed again or not.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    (
        result,
        change.bytes_allocated + usize::try_from(change.bytes_reallocated.max(0)).unwrap_or(0),
    )
}

fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec, 0);
    for index in 0..20u8 {
        builder.push(
            i64::from(index),
            Some(&[index; 3]),
            Some(&[index; 100]),
            &[],
        );
    }
    builder.finish(0)
}

/// Everything that reads a batch from outside.
fn read_in_every_way(bytes: &[u8]) {
    let rules = ProduceRules {
        deep: true,
        compacted: true,
        decompressed_max: DECOMPRESSED_MAX,
        ..ProduceRules::default()
    };
    if let Ok(header) = verify_produced(bytes, &rules) {
        assert_eq!(header.total_len(), bytes.len());
    }
    let mut position = 0;
    for (header, batch) in Batches::new(bytes).map_while(Result::ok) {
        position += batch.len();
        assert!(position <= bytes.len());
        let (mut scratch, mut count) = (Vec::new(), 0);
        if let Ok(all) = records(batch, &mut scratch, DECOMPRESSED_MAX) {
            for record in all.map_while(Result::ok) {
                count += 1;
                record.headers.for_each(drop);
            }
        }
        assert!(count <= header.record_count);
    }
}

/// The CRC is made right again, else nearly every mutation ends there.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(covered) = bytes.get(21..) {
        let crc = crc32c::crc32c(covered).to_be_bytes();
        bytes[17..21].copy_from_slice(&crc);
    }
    bytes
}

fn mutations_are_harmless() {
    // Three readers, each with a result of at most twice its bound, and their codecs' state.
    let bound = 3 * (2 * DECOMPRESSED_MAX + CODEC_STATE);
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let strategy = (
        0u8..5,
        prop::collection::vec(change, 1..6),
        any::<bool>(),
        prop::option::of(any::<prop::sample::Index>()),
    );
    TestRunner::new(Config::with_cases(4000))
        .run(&strategy, |(codec, changes, reseal, cut)| {
            let mut bytes = batch(Codec::from_id(codec).unwrap());
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            let bytes = if reseal { resealed(bytes) } else { bytes };
            let ((), spent) = allocated(|| read_in_every_way(&bytes));
            prop_assert!(spent <= bound, "{spent} bytes allocated");
            Ok(())
        })
        .unwrap();
}

fn noise_is_harmless() {
    TestRunner::new(Config::with_cases(2000))
        .run(
            &(0u8..5, prop::collection::vec(any::<u8>(), 0..300)),
            |(codec, noise)| {
                read_in_every_way(&noise);
                let mut behind_header = batch(Codec::from_id(codec).unwrap())[..61].to_vec();
                behind_header.extend_from_slice(&noise);
                let length = (behind_header.len() - 12) as i32;
                behind_header[8..12].copy_from_slice(&length.to_be_bytes());
                read_in_every_way(&resealed(behind_header));
                let (_, spent) = allocated(|| {
                    decompress(Codec::from_id(codec).unwrap(), &noise, DECOMPRESSED_MAX).is_ok()
                });
                prop_assert!(
                    spent <= 2 * DECOMPRESSED_MAX + CODEC_STATE,
                    "{spent} bytes allocated"
                );
                Ok(())
            },
        )
        .unwrap();
}

/// 64 MiB of zeros in a few kilobytes, or less.
fn bombs_stay_small() {
    let zeros = vec![0u8; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, None, &zeros);
        let (result, spent) = allocated(|| decompress(codec, &bomb, DECOMPRESSED_MAX));
        assert!(
            matches!(
                result,
                Err(millstream_protocol::compress::DecompressError::TooLarge { .. })
            ),
            "{codec:?}"
        );
        assert!(
            spent <= 4 * DECOMPRESSED_MAX + CODEC_STATE,
            "{codec:?}: {spent} bytes allocated"
        );

        let mut builder = BatchBuilder::new(codec, 0);
        builder.push(0, Some(b"k"), Some(&zeros), &[]);
        let bytes = builder.finish(0);
        let rules = ProduceRules {
            max_message_bytes: bytes.len(),
            decompressed_max: DECOMPRESSED_MAX,
            ..ProduceRules::default()
        };
        let (header, spent) =
            allocated(|| verify_produced(&bytes, &rules).expect("closed, it is only bytes"));
        assert_eq!(spent, 0, "{codec:?}: accepting a batch allocates nothing");
        let (result, spent) =
            allocated(|| recode(&bytes, &header, Codec::None, None, &rules).map(drop));
        assert!(result.is_err());
        assert!(
            spent <= 4 * DECOMPRESSED_MAX + CODEC_STATE,
            "{codec:?}: {spent} bytes allocated"
        );
    }
}

/// The largest numbers in every place where a length or count stands.
fn claims_are_not_believed() {
    let mut bytes = batch(Codec::None);
    for (place, width) in [(8, 4), (23, 4), (57, 4)] {
        let mut wrong = bytes.clone();
        wrong[place..place + width].copy_from_slice(&i32::MAX.to_be_bytes());
        let wrong = resealed(wrong);
        let ((), spent) = allocated(|| read_in_every_way(&wrong));
        assert_eq!(spent, 0);
    }
    let (_, spent) =
        allocated(|| verify_produced(&bytes, &ProduceRules::default()).expect("a plain batch"));
    assert_eq!(spent, 0, "the produce path allocates nothing");
    bytes.truncate(61);
    assert!(
        BatchHeader::read(&bytes).is_ok(),
        "a header may be read before its records are there"
    );
    // Snappy: a block that claims 4 GiB. lz4: a frame of 4 MiB blocks. zstd: a frame that claims a window of 128 MiB.
    for (codec, claim) in [
        (Codec::Snappy, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
        (
            Codec::Lz4,
            vec![
                0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 4, 0, 0, 0, 0x1f, 0, 1, 0,
            ],
        ),
        (
            Codec::Zstd,
            vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00],
        ),
    ] {
        let (result, spent) = allocated(|| decompress(codec, &claim, usize::MAX));
        assert!(result.is_err() || codec == Codec::Zstd, "{codec:?}");
        assert!(spent <= CODEC_STATE, "{codec:?}: {spent} bytes allocated");
    }
}

#[test]
fn hostile_batches_cost_no_more_than_their_bound() {
    claims_are_not_believed();
    bombs_stay_small();
    noise_is_harmless();
    mutations_are_harmless();
}
