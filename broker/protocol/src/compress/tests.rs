use super::*;

fn samples() -> Vec<Vec<u8>> {
    let text = b"the same words again and again, ".repeat(9000);
    let mut noise = vec![0u8; 200_000];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for byte in &mut noise {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    vec![Vec::new(), b"x".to_vec(), text, noise]
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in Codec::ALL {
        for sample in samples() {
            let packed = compress(codec, None, &sample);
            assert!(
                decompress(codec, &packed, sample.len()).unwrap() == sample,
                "{codec:?} {}",
                sample.len()
            );
        }
    }
}

#[test]
fn one_byte_too_many_is_too_large() {
    for codec in Codec::ALL {
        for sample in samples().into_iter().filter(|sample| !sample.is_empty()) {
            let packed = compress(codec, None, &sample);
            let error = decompress(codec, &packed, sample.len() - 1).unwrap_err();
            assert!(
                matches!(error, DecompressError::TooLarge { .. }),
                "{codec:?} {}: {error}",
                sample.len()
            );
        }
    }
}

#[test]
fn a_stream_cut_short_is_an_error() {
    let sample = samples().remove(2);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = compress(codec, None, &sample);
        assert!(
            decompress(codec, &packed[..packed.len() - 1], 1 << 20).is_err(),
            "{codec:?}"
        );
        assert!(
            decompress(codec, &packed[..packed.len() / 2], 1 << 20).is_err(),
            "{codec:?}"
        );
    }
}

#[test]
fn streams_of_several_parts_are_joined() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut packed = compress(codec, None, b"first ");
        packed.extend(compress(codec, None, b"second"));
        assert_eq!(
            decompress(codec, &packed, 100).unwrap(),
            b"first second",
            "{codec:?}"
        );
    }
}

#[test]
fn bare_snappy_is_read() {
    let packed = snap::raw::Encoder::new()
        .compress_vec(b"no xerial header here")
        .unwrap();
    assert_eq!(
        decompress(Codec::Snappy, &packed, 100).unwrap(),
        b"no xerial header here"
    );
}

#[test]
fn linked_lz4_blocks_with_checksums_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let sample = samples().remove(2);
    let info = FrameInfo::new()
        .block_mode(BlockMode::Linked)
        .block_size(BlockSize::Max64KB)
        .block_checksums(true)
        .content_checksum(true)
        .content_size(Some(sample.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&sample).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(decompress(Codec::Lz4, &packed, 1 << 20).unwrap() == sample);
}

#[test]
fn gzip_and_zstd_know_levels() {
    let sample = samples().remove(2);
    for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, 1, 19)] {
        let small = compress(codec, Some(high), &sample);
        assert!(
            small.len() <= compress(codec, Some(low), &sample).len(),
            "{codec:?}"
        );
        assert!(decompress(codec, &small, sample.len()).unwrap() == sample);
    }
}

#[test]
fn names_and_ids_are_kafkas() {
    let names: Vec<_> = Codec::ALL
        .iter()
        .map(|codec| (codec.id(), codec.name()))
        .collect();
    assert_eq!(
        names,
        [
            (0, "none"),
            (1, "gzip"),
            (2, "snappy"),
            (3, "lz4"),
            (4, "zstd")
        ]
    );
    assert_eq!(Codec::from_id(5), None);
    assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    assert_eq!(Codec::from_name("brotli"), None);
}
