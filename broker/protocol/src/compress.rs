//! The five codecs of a record batch, with a bound on what comes out.
//!
//! What a batch of some hundred bytes unpacks to is the sender's choice, so every decoder here takes the largest size it
//! may produce and allocates in step with what it has really decoded, never by a length that the bytes only claim.
//! Corruption in transport is not looked for here: the batch's CRC covers the compressed bytes.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use zstd::zstd_safe;

mod lz4;
mod snappy;

/// How the records of a batch are compressed: bits 0 to 2 of its attributes (`CompressionType` in Kafka).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Codec {
    /// Plain records.
    #[default]
    None = 0,
    /// One or more gzip members.
    Gzip = 1,
    /// Snappy, written in the framing of xerial's snappy-java; the bare block format is read too.
    Snappy = 2,
    /// The lz4 frame format.
    Lz4 = 3,
    /// One or more zstd frames.
    Zstd = 4,
}

impl Codec {
    /// All codecs, in the order of their ids.
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    /// The codec with this id, `None` for 5 and above.
    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(id)).copied()
    }

    /// The id as it stands in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name as in producers' `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of that name. Topics say `uncompressed` where producers say `none`: both are understood.
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Why compressed bytes could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The result would be larger than the caller allows.
    #[error("unpacks to more than {max} bytes")]
    TooLarge {
        /// The caller's bound in bytes.
        max: usize,
    },
    /// Not a stream of this codec, or one that is cut short.
    #[error("not a valid {} stream: {reason}", codec.name())]
    Malformed {
        /// The codec that was tried.
        codec: Codec,
        /// What is wrong, in a few words.
        reason: String,
    },
}

/// Compresses `input` as Kafka's clients do: gzip member, xerial snappy stream, lz4 frame of independent 64 KiB blocks,
/// or zstd frame. `level` is that of gzip (1 to 9) and zstd; `None` is the codec's own default. lz4 has one level here.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => input.to_vec(),
        Codec::Gzip => {
            let level = match level.and_then(|level| u32::try_from(level).ok()) {
                Some(level @ 1..=9) => flate2::Compression::new(level),
                _ => flate2::Compression::default(),
            };
            let mut encoder = GzEncoder::new(Vec::with_capacity(input.len() / 2), level);
            encoder
                .write_all(input)
                .and_then(|()| encoder.finish())
                .expect("a Vec takes every write")
        }
        Codec::Snappy => snappy::compress(input),
        Codec::Lz4 => lz4::compress(input),
        Codec::Zstd => {
            zstd::bulk::compress(input, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
                .expect("a destination of zstd's own bound takes every input")
        }
    }
}

/// Decompresses all of `input`; at most `max` bytes may come out.
pub fn decompress(codec: Codec, input: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress_into(codec, input, max, &mut out)?;
    Ok(out)
}

/// As [`decompress`], replacing the contents of `out`, so that its memory can be used again.
/// Its capacity grows to at most `max` and a factor of two. After an error its contents mean nothing.
pub fn decompress_into(
    codec: Codec,
    input: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    out.clear();
    match codec {
        Codec::None if input.len() > max => Err(DecompressError::TooLarge { max }),
        Codec::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => gunzip(input, max, out),
        Codec::Snappy => snappy::decompress(input, max, out),
        Codec::Lz4 => lz4::decompress(input, max, out),
        Codec::Zstd => unzstd(input, max, out),
    }
}

fn malformed(codec: Codec, reason: impl ToString) -> DecompressError {
    DecompressError::Malformed {
        codec,
        reason: reason.to_string(),
    }
}

fn gunzip(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    // One byte more than allowed tells "exactly full" from "too large".
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(input)
        .take(limit)
        .read_to_end(out)
        .map_err(|error| malformed(Codec::Gzip, error))?;
    if out.len() > max {
        Err(DecompressError::TooLarge { max })
    } else {
        Ok(())
    }
}

/// One call for the whole input with a destination that grows fourfold until it fits. The streaming decoder would first
/// allocate the window that the frame header asks for (128 MiB if it likes); this one needs no memory but the result.
fn unzstd(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let too_small = 0usize
        .wrapping_sub(zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize);
    let mut context = zstd_safe::DCtx::create();
    let mut room = out.capacity().max(input.len().saturating_mul(4)).min(max);
    loop {
        out.clear();
        out.reserve_exact(room);
        match context.decompress(out, input) {
            // The capacity may be larger than asked for.
            Ok(size) if size > max => return Err(DecompressError::TooLarge { max }),
            Ok(_) => return Ok(()),
            Err(code) if code == too_small && room < max => {
                room = room.saturating_mul(4).clamp(64, max)
            }
            Err(code) if code == too_small => return Err(DecompressError::TooLarge { max }),
            Err(code) => return Err(malformed(Codec::Zstd, zstd_safe::get_error_name(code))),
        }
    }
}

#[cfg(test)]
mod tests;
