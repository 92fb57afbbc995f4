//! Kafka's 16-byte identifiers (topics, directories, clusters) and their textual form.

use std::fmt;
use std::str::FromStr;

/// URL-safe base64 (RFC 4648 §5), as `org.apache.kafka.common.Uuid` prints it.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 128 bits in digits of 6 bits, without padding.
const TEXT_LEN: usize = 22;

/// 16 bytes, big endian on the wire; shown as 22 characters of URL-safe base64.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The id that means "none" wherever the protocol has no null for it.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl From<[u8; 16]> for Uuid {
    fn from(bytes: [u8; 16]) -> Self {
        Uuid(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0u8; TEXT_LEN];
        for (place, out) in text.iter_mut().enumerate() {
            // The last digit holds the 2 bits left over, in its upper end.
            let shift = 122 - 6 * place as i32;
            let digit = if shift >= 0 {
                bits >> shift
            } else {
                bits << -shift
            };
            *out = ALPHABET[(digit & 63) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 22 characters of URL-safe base64 (two `=` of padding are tolerated, as Kafka does).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a base64 uuid of 22 characters")]
pub struct InvalidUuid;

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let text = text.strip_suffix("==").unwrap_or(text).as_bytes();
        if text.len() != TEXT_LEN {
            return Err(InvalidUuid);
        }
        let mut bits = 0u128;
        for (place, character) in text.iter().enumerate() {
            let digit = ALPHABET
                .iter()
                .position(|a| a == character)
                .ok_or(InvalidUuid)? as u128;
            let shift = 122 - 6 * place as i32;
            bits |= if shift >= 0 {
                digit << shift
            } else {
                digit >> -shift
            };
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_reads_what_kafka_shows() {
        // As printed by org.apache.kafka.common.Uuid.
        let any = Uuid(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210u128.to_be_bytes());
        assert_eq!(any.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        let metadata = Uuid(1u128.to_be_bytes());
        assert_eq!(metadata.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        for id in [
            Uuid::ZERO,
            any,
            metadata,
            Uuid(*b"0123456789abcdef"),
            Uuid([0xfb; 16]),
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse(), Ok(metadata));
    }

    #[test]
    fn refuses_other_text() {
        for text in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text}");
        }
    }
}
