//! Records from before Kafka 0.11, which must not be taken for a torn tail and cut.

use std::io;

use millstream_ring::File;

/// Offset and size stand before a message; its checksum covers what follows the checksum.
const SIZE_END: usize = 12;
const MAGIC_AT: usize = 16;
/// Checksum, magic, attributes, key and value lengths of the oldest format.
const MESSAGE_BYTES_MIN: u64 = 14;
/// A message is checked as a whole. Larger ones are taken at their word.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// The magic, 0 or 1, of the message at the start of a file of `bytes` bytes; `start` is what was read of it. Only an intact
/// checksum proves that it is one: what a power cut leaves can look like anything.
pub(super) async fn detect(file: &File, bytes: u64, start: &[u8]) -> io::Result<Option<i8>> {
    let (Some(size), Some(&magic)) = (start.get(8..SIZE_END), start.get(MAGIC_AT)) else {
        return Ok(None);
    };
    let size = size
        .iter()
        .fold(0, |size, byte| size << 8 | u64::from(*byte));
    let fits = size >= MESSAGE_BYTES_MIN && size <= bytes - SIZE_END as u64;
    if magic > 1 || !fits {
        return Ok(None);
    }
    if size <= MESSAGE_BYTES_MAX {
        let message = file.read_at(SIZE_END as u64, size as usize).await?;
        let intact = message
            .split_first_chunk::<4>()
            .is_some_and(|(stored, covered)| crc32(covered) == u32::from_be_bytes(*stored));
        if !intact {
            return Ok(None);
        }
    }
    Ok(Some(magic as i8))
}

/// The old checksum, not today's CRC-32C: bit by bit, for one message of a file that is then refused.
fn crc32(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        let shift = |crc: u32, _| (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320);
        (0..8).fold(crc ^ u32::from(*byte), shift)
    };
    !bytes.iter().fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!(super::crc32(b"123456789"), 0xCBF4_3926);
    }
}
