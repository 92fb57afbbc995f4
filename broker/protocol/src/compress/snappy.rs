//! Snappy as Kafka's clients speak it: the stream format of xerial's snappy-java, which is not Snappy's own framing.
//!
//! A header of 16 bytes (magic, version, lowest compatible version), then blocks, each a big-endian length and that many
//! bytes in Snappy's block format. snappy-java also reads bytes without the header as one bare block, and some clients
//! send that, so both are read here.

use snap::raw::{Decoder, Encoder, decompress_len};

use super::{Codec, DecompressError, malformed};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER: usize = 16;
/// snappy-java's default, which the Java client uses.
const BLOCK: usize = 32 * 1024;
/// The densest element of the format copies 64 bytes and takes three; a claim above this ratio is a lie.
const RATIO_MAX: usize = 22;

pub fn compress(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + input.len() / 2);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = Encoder::new();
    for block in input.chunks(BLOCK) {
        let packed = encoder
            .compress_vec(block)
            .expect("a block is far below Snappy's limit of 4 GiB");
        let length =
            u32::try_from(packed.len()).expect("a block of 32 KiB packs to less than 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

pub fn decompress(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    if !input.starts_with(MAGIC) {
        return block(input, max, out);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // Streams may be joined: a header can stand wherever a block could.
        if rest.starts_with(MAGIC) {
            rest = rest
                .get(HEADER..)
                .ok_or_else(|| malformed(Codec::Snappy, "header cut short"))?;
            continue;
        }
        let (length, after) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| malformed(Codec::Snappy, "block length cut short"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let packed = after
            .get(..length)
            .ok_or_else(|| malformed(Codec::Snappy, "block cut short"))?;
        block(packed, max, out)?;
        rest = &after[length..];
    }
    Ok(())
}

/// Appends one block in Snappy's own format.
fn block(packed: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let length = decompress_len(packed).map_err(|error| malformed(Codec::Snappy, error))?;
    if length > packed.len().saturating_mul(RATIO_MAX) {
        return Err(malformed(Codec::Snappy, "length does not fit the block"));
    }
    let start = out.len();
    let end = start.saturating_add(length);
    if end > max {
        return Err(DecompressError::TooLarge { max });
    }
    out.resize(end, 0);
    let size = Decoder::new()
        .decompress(packed, &mut out[start..])
        .map_err(|error| malformed(Codec::Snappy, error))?;
    out.truncate(start + size);
    Ok(())
}
