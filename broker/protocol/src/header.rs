//! What stands in front of a body: request header v1 or v2, response header v0 or v1.
//!
//! The header's version follows from the API and its version: v2 and v1 (with tagged fields) from the API's first
//! flexible version on. Two exceptions: the client id keeps its classic form even in v2, and the response to
//! ApiVersions always has header v0, since the client does not know yet what the broker speaks (KIP-511).

use crate::api::{self, ApiKey, ApiRow};
use crate::message::Str;
use crate::wire::{DecodeError, Reader, Writer};

/// The header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Which API; one that is served.
    pub api_key: i16,
    /// Version of the body; served, too, except perhaps for ApiVersions.
    pub api_version: i16,
    /// To be given back with the response.
    pub correlation_id: i32,
    /// Name that the client gave itself; for logs, metrics and quotas.
    pub client_id: Option<Str<'a>>,
}

/// Why a frame has no header that can be served. Kafka closes the connection without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The API is not served.
    #[error("api key {0} is not served")]
    UnknownApi(i16),
    /// The API is served, but not in this version.
    #[error("{api:?} version {version} is not served")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
    /// The bytes are no header.
    #[error("malformed header: {0}")]
    Malformed(#[from] DecodeError),
}

/// Splits a request frame (without its length) into header and body.
///
/// ApiVersions passes in every version: whoever sees one that is not [`ApiRow::serves`]d must not read the body but
/// answer with version 0 and UNSUPPORTED_VERSION.
pub fn read(frame: &[u8]) -> Result<(RequestHeader<'_>, Reader<'_>), HeaderError> {
    let mut r = Reader::new(frame);
    let api_key = r.i16()?;
    let api_version = r.i16()?;
    let correlation_id = r.i32()?;
    let row = api::row(api_key).ok_or(HeaderError::UnknownApi(api_key))?;
    if !row.serves(api_version) && row.key != ApiKey::ApiVersions {
        return Err(HeaderError::UnsupportedVersion {
            api: row.key,
            version: api_version,
        });
    }
    let client_id = r.string(false)?;
    if row.is_flexible(api_version) {
        r.skip_tags()?;
    }
    Ok((
        RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        },
        r,
    ))
}

/// Writes a request's header, as a client does.
pub fn write(w: &mut Writer, header: &RequestHeader<'_>, row: &ApiRow) {
    w.i16(header.api_key);
    w.i16(header.api_version);
    w.i32(header.correlation_id);
    w.string(false, header.client_id.as_deref());
    if row.is_flexible(header.api_version) {
        w.uvarint(0);
    }
}

/// Writes the header of the response to a request of this API and version.
pub fn write_response_header(w: &mut Writer, row: &ApiRow, version: i16, correlation_id: i32) {
    w.i32(correlation_id);
    if has_response_tags(row, version) {
        w.uvarint(0);
    }
}

/// Splits a response frame (without its length) into correlation id and body, as a client does.
pub fn read_response<'a>(
    frame: &'a [u8],
    row: &ApiRow,
    version: i16,
) -> Result<(i32, Reader<'a>), DecodeError> {
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    if has_response_tags(row, version) {
        r.skip_tags()?;
    }
    Ok((correlation_id, r))
}

fn has_response_tags(row: &ApiRow, version: i16) -> bool {
    row.is_flexible(version) && row.key != ApiKey::ApiVersions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(header: &RequestHeader<'_>) -> Vec<u8> {
        let mut w = Writer::new();
        write(&mut w, header, api::row(header.api_key).unwrap());
        w.finish().unwrap().bytes
    }

    fn header(api: ApiKey, api_version: i16) -> RequestHeader<'static> {
        RequestHeader {
            api_key: api as i16,
            api_version,
            correlation_id: 77,
            client_id: Some("me".into()),
        }
    }

    #[test]
    fn reads_what_it_writes_in_both_versions() {
        for (api, version, len) in [
            (ApiKey::Metadata, 8, 12),
            (ApiKey::Metadata, 9, 13),
            (ApiKey::OffsetDelete, 0, 12),
        ] {
            let header = header(api, version);
            let mut frame = written(&header);
            assert_eq!(frame.len(), len, "{api:?} v{version}");
            frame.extend(b"body");
            let (read_back, body) = read(&frame).unwrap();
            assert_eq!(read_back, header);
            assert_eq!(body.rest(), b"body");
        }
    }

    #[test]
    fn unknown_tags_and_null_client_are_read() {
        let frame = [
            0, 3, 0, 12, 0, 0, 0, 9, 0xff, 0xff, 1, 5, 2, 0xaa, 0xbb, b'x',
        ];
        let (header, body) = read(&frame).unwrap();
        assert_eq!((header.correlation_id, header.client_id), (9, None));
        assert_eq!(body.rest(), b"x");
    }

    #[test]
    fn only_api_versions_passes_in_unknown_versions() {
        let (later, _) = read(&written(&header(ApiKey::ApiVersions, 99)))
            .map(|(h, r)| (h.api_version, r.remaining()))
            .unwrap();
        assert_eq!(later, 99);
        assert_eq!(
            read(&written(&header(ApiKey::Metadata, 99))),
            Err(HeaderError::UnsupportedVersion {
                api: ApiKey::Metadata,
                version: 99
            })
        );
        // Advertised from 0 on, served from 3 on.
        assert!(matches!(
            read(&written(&header(ApiKey::Produce, 2))),
            Err(HeaderError::UnsupportedVersion { .. })
        ));
        assert_eq!(
            read(&[0x7f, 0, 0, 0, 0, 0, 0, 0]),
            Err(HeaderError::UnknownApi(0x7f00))
        );
    }

    #[test]
    fn every_cut_of_a_header_is_an_error() {
        let frame = written(&header(ApiKey::Fetch, 13));
        for len in 0..frame.len() {
            assert!(
                matches!(read(&frame[..len]), Err(HeaderError::Malformed(_))),
                "{len}"
            );
        }
    }

    #[test]
    fn response_to_api_versions_has_no_tags() {
        for (api, version, len) in [
            (ApiKey::ApiVersions, 4, 4),
            (ApiKey::Metadata, 9, 5),
            (ApiKey::Metadata, 8, 4),
        ] {
            let row = api::row(api as i16).unwrap();
            let mut w = Writer::new();
            write_response_header(&mut w, row, version, 5);
            let bytes = w.finish().unwrap().bytes;
            assert_eq!(bytes.len(), len);
            let (correlation_id, rest) = read_response(&bytes, row, version).unwrap();
            assert_eq!((correlation_id, rest.remaining()), (5, 0));
        }
    }
}
