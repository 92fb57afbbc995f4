//! Requests of real clients and the responses of a real Kafka 4.3.1, recorded between them: kafka-clients 4.3.1 (`java`),
//! librdkafka 2, kafka-python 3 and kafkajs 2. Each must be read, and written again with the same bytes.
//!
//! `golden/frames.txt` has one frame a line: direction, API, version, client, and the frame without its length in hex.
//! Nothing in it was made by hand; only the data directory's path was replaced by another of the same length.

mod support;

use std::collections::BTreeSet;

use millstream_protocol::api::{self, ApiRow};
use millstream_protocol::header;
use millstream_protocol::message::definition::Kind;
use millstream_protocol::wire::Writer;
use support::{AnyMessage, all};

const FRAMES: &str = include_str!("golden/frames.txt");

struct Recorded {
    title: String,
    is_request: bool,
    row: &'static ApiRow,
    version: i16,
    frame: Vec<u8>,
}

fn recorded() -> impl Iterator<Item = Recorded> {
    FRAMES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [direction, api, version, _client, hex] = words[..] else {
                panic!("five words: {line}")
            };
            let row = api::served()
                .iter()
                .find(|row| row.name == api)
                .unwrap_or_else(|| panic!("{api} is not served"));
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            Recorded {
                title: words[..4].join(" "),
                is_request: direction == "request",
                row,
                version: version.parse().expect("a version"),
                frame: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        })
}

#[test]
fn requests_are_read_and_written_alike() {
    let messages = all();
    for recorded in recorded().filter(|recorded| recorded.is_request) {
        let (header, body) =
            header::read(&recorded.frame).unwrap_or_else(|e| panic!("{}: {e}", recorded.title));
        assert_eq!(
            (header.api_key, header.api_version),
            (recorded.row.key as i16, recorded.version)
        );
        let mut w = Writer::new();
        header::write(&mut w, &header, recorded.row);
        let message = find(&messages, Kind::Request(header.api_key));
        w.raw(&rewritten(message, body.rest(), &recorded));
        assert_eq!(
            w.finish().expect("a header can be written").bytes,
            recorded.frame,
            "{}",
            recorded.title
        );
    }
}

#[test]
fn responses_are_read_and_written_alike() {
    let messages = all();
    for recorded in recorded().filter(|recorded| !recorded.is_request) {
        let Recorded {
            row,
            version,
            ref frame,
            ..
        } = recorded;
        let (correlation_id, body) =
            header::read_response(frame, row, version).expect("a response header");
        let mut w = Writer::new();
        header::write_response_header(&mut w, row, version, correlation_id);
        let message = find(&messages, Kind::Response(row.key as i16));
        w.raw(&rewritten(message, body.rest(), &recorded));
        assert_eq!(
            w.finish().expect("a header can be written").bytes,
            recorded.frame,
            "{}",
            recorded.title
        );
    }
}

#[test]
fn every_api_was_recorded() {
    for is_request in [true, false] {
        let seen: BTreeSet<_> = recorded()
            .filter(|r| r.is_request == is_request)
            .map(|r| r.row.name)
            .collect();
        let missing: Vec<_> = api::served()
            .iter()
            .map(|row| row.name)
            .filter(|name| !seen.contains(name))
            .collect();
        assert!(missing.is_empty(), "no frame of {missing:?}");
    }
}

fn find(messages: &[AnyMessage], kind: Kind) -> &AnyMessage {
    messages
        .iter()
        .find(|message| message.definition.kind == kind)
        .expect("every API has its messages")
}

fn rewritten(message: &AnyMessage, body: &[u8], recorded: &Recorded) -> Vec<u8> {
    (message.rewrite)(body, recorded.version)
        .unwrap_or_else(|error| panic!("{}: {error}", recorded.title))
        .unwrap_or_else(|error| panic!("{}: {error}", recorded.title))
}
