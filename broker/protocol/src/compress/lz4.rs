//! The lz4 frame format, read without its checksums.
//!
//! Blocks are decoded by `lz4_flex` straight into the result. Its own frame reader would allocate two or three times the
//! block size that a frame claims (4 MiB and more) before the first byte is decoded. Layout: lz4's `lz4_Frame_format.md`;
//! Kafka's reader is `Lz4BlockInputStream`.

use std::io::Write;

use lz4_flex::block::decompress_into_with_dict;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::{Codec, DecompressError, malformed};

const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
/// How far back a linked block may refer.
const WINDOW: usize = 64 * 1024;
/// One byte of a match length stands for at most 255 bytes; a block of n bytes cannot unpack to more.
const RATIO_MAX: usize = 255;

pub fn compress(input: &[u8]) -> Vec<u8> {
    // As Kafka's writer: other settings are legal, but Kafka refuses linked blocks.
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input).expect("a Vec takes every write");
    encoder.finish().expect("a Vec takes every write")
}

/// What of a frame's descriptor matters for reading.
struct Descriptor {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    block_max: usize,
}

pub fn decompress(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let mut rest = input;
    while !rest.is_empty() {
        let frame = descriptor(&mut rest)?;
        let start = out.len();
        loop {
            let word = u32::from_le_bytes(take::<4>(&mut rest)?);
            if word == 0 {
                break;
            }
            let stored = word >> 31 == 1;
            let length = usize::try_from(word & 0x7fff_ffff).unwrap_or(usize::MAX);
            if length > frame.block_max {
                return Err(malformed(Codec::Lz4, "block larger than the frame allows"));
            }
            let block = rest
                .get(..length)
                .ok_or_else(|| malformed(Codec::Lz4, "block cut short"))?;
            rest = &rest[length..];
            if frame.block_checksums {
                take::<4>(&mut rest)?;
            }
            if stored {
                append_stored(block, max, out)?;
            } else {
                let window = if frame.linked {
                    out.len().saturating_sub(WINDOW).max(start)
                } else {
                    out.len()
                };
                append_packed(block, frame.block_max, window, max, out)?;
            }
        }
        if frame.content_checksum {
            take::<4>(&mut rest)?;
        }
    }
    Ok(())
}

fn append_stored(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    if block.len() > max - out.len() {
        return Err(DecompressError::TooLarge { max });
    }
    out.extend_from_slice(block);
    Ok(())
}

/// Unpacks a block behind `out`; it may refer to what stands from `window` on.
fn append_packed(
    block: &[u8],
    block_max: usize,
    window: usize,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let start = out.len();
    let room = block_max.min(block.len().saturating_mul(RATIO_MAX));
    let allowed = max - start;
    out.resize(start + room.min(allowed), 0);
    let (before, target) = out.split_at_mut(start);
    match decompress_into_with_dict(block, target, &before[window..]) {
        Ok(size) => {
            out.truncate(start + size);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room > allowed => {
            Err(DecompressError::TooLarge { max })
        }
        Err(error) => Err(malformed(Codec::Lz4, error)),
    }
}

fn descriptor(rest: &mut &[u8]) -> Result<Descriptor, DecompressError> {
    if take::<4>(rest)? != MAGIC {
        return Err(malformed(Codec::Lz4, "no frame magic"));
    }
    let [flags, block] = take::<2>(rest)?;
    if flags >> 6 != 1 {
        return Err(malformed(Codec::Lz4, "unknown frame version"));
    }
    if flags & 0b1 != 0 {
        return Err(malformed(Codec::Lz4, "needs a dictionary"));
    }
    if flags & 0b1000 != 0 {
        take::<8>(rest)?; // content size: a hint that nobody has to believe
    }
    take::<1>(rest)?; // checksum of the descriptor; old clients computed it wrongly
    let block_max = match block >> 4 & 0b111 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(malformed(Codec::Lz4, "unknown block size")),
    };
    Ok(Descriptor {
        linked: flags & 0b10_0000 == 0,
        block_checksums: flags & 0b1_0000 != 0,
        content_checksum: flags & 0b100 != 0,
        block_max,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecompressError> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or_else(|| malformed(Codec::Lz4, "frame cut short"))?;
    *rest = tail;
    Ok(*head)
}
