//! The one thing the coordinator reads from members' opaque metadata: the topics of `consumer` subscriptions, so that
//! it knows which offsets are still wanted.
//!
//! Every version of `ConsumerProtocolSubscription` starts with version 0's fields (KIP-62 and later keep to that), so
//! only those are read.

use std::collections::BTreeSet;

use millstream_protocol::wire::{DecodeError, Reader};

/// Adds the subscribed topics in `metadata` to `topics`.
pub(super) fn read_topics(
    metadata: &[u8],
    topics: &mut BTreeSet<String>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16()?;
    if version < 0 {
        return Err(DecodeError::UnsupportedVersion(version));
    }
    let count = reader.array(false, 2)?.ok_or(DecodeError::UnexpectedNull)?;
    for _ in 0..count {
        let topic = reader.string(false)?.ok_or(DecodeError::UnexpectedNull)?;
        topics.insert(topic.into_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_any_version() {
        for version in 0..=3u8 {
            let bytes = [
                &[0, version, 0, 0, 0, 2, 0, 1, b'b', 0, 1, b'a'][..],
                &[0xff; 4],
                &[0; 7],
            ]
            .concat();
            let mut topics = BTreeSet::new();
            read_topics(&bytes, &mut topics).unwrap();
            assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        }
    }

    #[test]
    fn hostile_metadata_is_an_error() {
        for bytes in [
            &[][..],
            &[0],
            &[0xff, 0xff, 0, 0, 0, 0],
            &[0, 0, 0x7f, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0, 0, 1, 0, 9],
        ] {
            assert!(
                read_topics(bytes, &mut BTreeSet::new()).is_err(),
                "{bytes:?}"
            );
        }
    }
}
