//! The frame around every request and response: an INT32 that says how many bytes follow.

use crate::wire::{EncodeError, Encoded, Writer};

/// Bytes of the length in front.
pub const PREFIX: usize = 4;

/// A length that no frame can have; Kafka closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Below zero.
    #[error("frame length {0} is negative")]
    Negative(i32),
    /// Above what the broker takes (`socket.request.max.bytes`).
    #[error("frame of {len} bytes is longer than {max}")]
    TooLong {
        /// Announced length.
        len: usize,
        /// Longest that is taken.
        max: usize,
    },
}

/// How many bytes follow the prefix, at most `max`.
pub fn length(prefix: [u8; PREFIX], max: usize) -> Result<usize, FrameError> {
    let announced = i32::from_be_bytes(prefix);
    match usize::try_from(announced) {
        Err(_) => Err(FrameError::Negative(announced)),
        Ok(len) if len > max => Err(FrameError::TooLong { len, max }),
        Ok(len) => Ok(len),
    }
}

/// A writer that already holds room for the prefix; [`close`] fills it in.
pub fn open(capacity: usize) -> Writer {
    let mut w = Writer::with_capacity(PREFIX + capacity);
    w.i32(0);
    w
}

/// Ends a frame that [`open`] began. The length counts the gaps, too.
pub fn close(mut w: Writer) -> Result<Encoded, EncodeError> {
    let len = w.wire_len() - PREFIX;
    match i32::try_from(len) {
        Ok(len) => w.patch_i32(0, len),
        Err(_) => w.fail(EncodeError::TooLong(len)),
    }
    w.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_gaps_and_not_itself() {
        let mut w = open(16);
        w.i16(7);
        w.gap(false, 1000);
        w.i8(1);
        let frame = close(w).unwrap();
        let (prefix, _) = frame.bytes.split_first_chunk().unwrap();
        assert_eq!(length(*prefix, 2000), Ok(2 + 4 + 1000 + 1));
        assert_eq!(frame.gaps.len(), 1);
        assert_eq!(frame.gaps[0].position, PREFIX + 2 + 4);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        assert_eq!(length([0xff; 4], 100), Err(FrameError::Negative(-1)));
        assert_eq!(
            length([0, 0, 0, 101], 100),
            Err(FrameError::TooLong { len: 101, max: 100 })
        );
        assert_eq!(length([0, 0, 0, 100], 100), Ok(100));
    }
}
