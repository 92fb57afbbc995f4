//! The primitive types of Kafka's protocol, read with every length checked against the bytes that are really there.
//!
//! Source: the protocol guide's "Protocol Primitive Types", KIP-482 (compact forms, tagged fields) and
//! `org.apache.kafka.common.protocol.ByteBufferAccessor`. Integers are big endian.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::{Encoded, Gap, Writer};

/// Most elements one array may announce (Kafka 4.4's bound).
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;
/// Most tagged fields one struct may announce (Kafka 4.4's bound).
pub const TAGGED_FIELDS_MAX: u32 = 10_000;
/// Most elements to reserve memory for before the first one was read.
pub const ARRAY_RESERVE_MAX: usize = 1_000;

/// Why bytes are not the message they claim to be. Kafka closes the connection on each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value or an announced length goes past the end.
    #[error("{wanted} bytes wanted, {left} left")]
    Truncated {
        /// Bytes that the value needs (for arrays: at the least).
        wanted: usize,
        /// Bytes that remain.
        left: usize,
    },
    /// A length below -1.
    #[error("length {0} is negative")]
    NegativeLength(i32),
    /// More continuation bytes, or more bits, than the type can hold.
    #[error("variable-length integer is too long")]
    VarintTooLong,
    /// A null where this version of the field has none.
    #[error("null where the protocol allows none")]
    UnexpectedNull,
    /// More than [`ARRAY_ELEMENTS_MAX`].
    #[error("array of {0} elements")]
    ArrayTooLong(usize),
    /// More than [`TAGGED_FIELDS_MAX`].
    #[error("{0} tagged fields")]
    TooManyTaggedFields(u32),
    /// Bytes are left over behind the message, or behind a tagged field within its announced size.
    #[error("{0} bytes left over")]
    TrailingBytes(usize),
    /// The message has no such version here.
    #[error("version {0} is not supported")]
    UnsupportedVersion(i16),
}

/// Why a message cannot be sent as it stands: always a mistake of whoever built it, never of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The field has a value that this version cannot carry, and it is not ignorable (Kafka's UnsupportedVersionException).
    #[error("{message}.{field} cannot be sent in version {version}")]
    Unrepresentable {
        /// Struct that holds the field, Kafka's name.
        message: &'static str,
        /// The field, in snake case.
        field: &'static str,
        /// Version that was to be written.
        version: i16,
    },
    /// A null where this version of a field has none.
    #[error("null where version {0} allows none")]
    UnexpectedNull(i16),
    /// A string or array longer than its length field can say.
    #[error("{0} is too long for its length field")]
    TooLong(usize),
    /// The message has no such version here.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// Kafka's name of the message.
        message: &'static str,
        /// Version that was to be written.
        version: i16,
    },
}

#[cfg(test)]
mod tests;
