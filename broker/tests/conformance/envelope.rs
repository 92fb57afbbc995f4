//! Requests of versions and APIs that are not served.

use millstream_protocol::api::ApiKey;
use millstream_protocol::messages::api_versions::ApiVersionsResponse;
use millstream_protocol::messages::metadata::MetadataResponse;

use crate::transcript::Transcript;

pub fn cases(transcript: &mut Transcript) {
    // The answer has version 0, whatever was asked for, so that every client can read it (KIP-511).
    for version in [5, 9, i16::MAX, -1] {
        let mut peer = transcript.peer.another();
        peer.raw(&frame(ApiKey::ApiVersions as i16, version));
        let mut answer = peer.receive::<ApiVersionsResponse<'static>>(0);
        if let Ok(response) = &mut answer {
            response
                .api_keys
                .retain(|key| key.api_key == ApiKey::ApiVersions as i16);
        }
        transcript.keep(&format!("version {version}"), 0, &answer);
    }
    // Of any other API the connection is closed, and of one that does not exist.
    for (name, key, version) in [
        ("a version too new", ApiKey::Metadata as i16, 99),
        ("a version below 0", ApiKey::Metadata as i16, -1),
        ("an API between brokers", 5, 0),
        ("an API that does not exist", 999, 0),
        ("a negative API", -7, 0),
    ] {
        let mut peer = transcript.peer.another();
        peer.raw(&frame(key, version));
        let answer = peer.receive::<MetadataResponse<'static>>(0);
        transcript.keep(name, 0, &answer);
    }
}

/// A header of version 1, which is the beginning of all later ones: key, version, correlation id 0, client id; no body.
fn frame(key: i16, version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&key.to_be_bytes());
    body.extend_from_slice(&version.to_be_bytes());
    body.extend_from_slice(&0i32.to_be_bytes());
    body.extend_from_slice(&4i16.to_be_bytes());
    body.extend_from_slice(b"conf");
    // No tagged fields, and an empty list where a body is looked for.
    body.extend_from_slice(&[0, 0, 0, 0, 0]);
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}
