//! Our bytes against those of the crate `kafka-protocol`, generated from Kafka's definitions by other hands. It knows
//! Kafka 4.1, so a few later versions are left out.

mod support;

use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use millstream_protocol::message::definition::Kind;
use support::{Fill, all, sample, title};

/// What the other crate makes of a message: its own encoding of what it decoded. `None` if it does not know the version.
fn second_opinion(kind: Kind, bytes: &[u8], version: i16) -> Option<Vec<u8>> {
    let (Kind::Request(key) | Kind::Response(key)) = kind else {
        return None;
    };
    let api = ApiKey::try_from(key)
        .ok()
        .filter(|api| known(*api, version))?;
    let mut written = bytes::BytesMut::new();
    let mut bytes = bytes::Bytes::copy_from_slice(bytes);
    match kind {
        Kind::Request(_) => {
            let message =
                RequestKind::decode(api, &mut bytes, version).expect("our bytes are a request");
            message
                .encode(&mut written, version)
                .expect("what was decoded can be encoded");
        }
        _ => {
            let message =
                ResponseKind::decode(api, &mut bytes, version).expect("our bytes are a response");
            message
                .encode(&mut written, version)
                .expect("what was decoded can be encoded");
        }
    }
    assert!(bytes.is_empty(), "{} bytes left over", bytes.len());
    Some(written.to_vec())
}

/// Whether the other crate has this version. It lists two that were unstable in Kafka 4.1 but does not decode them.
fn known(api: ApiKey, version: i16) -> bool {
    let unstable = matches!(
        (api, version),
        (ApiKey::OffsetCommit | ApiKey::OffsetFetch, 10)
    );
    version <= api.valid_versions().max && !unstable
}

#[test]
fn both_write_the_same_bytes() {
    let mut compared = 0;
    for message in all() {
        for version in message.versions() {
            for (elements, nulls) in [(2, false), (1, true), (0, false)] {
                let bytes = sample(
                    &message.definition,
                    version,
                    Fill {
                        elements,
                        nulls,
                        ..Fill::FULL
                    },
                );
                let Some(theirs) = second_opinion(message.definition.kind, &bytes, version) else {
                    continue;
                };
                let what = title(&message, version);
                assert_eq!(theirs, bytes, "{what}: theirs, ours");
                assert_eq!(
                    (message.rewrite)(&theirs, version),
                    Ok(Ok(theirs)),
                    "{what}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 800, "only {compared} messages were compared");
}
