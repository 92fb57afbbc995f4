//! Whole request frames: header, then the body of whatever API and version it names.

use std::sync::OnceLock;

use millstream_protocol::header;
use millstream_protocol::message::definition::Kind;

use super::Target;
use super::messages::support::{AnyMessage, Fill, all, sample};

pub const TARGET: Target = Target {
    name: "requests",
    seeds,
    run,
};

/// Requests of Java, librdkafka, kafka-python and kafkajs, and the responses of a real Kafka, one a line in hex.
const FRAMES: &str = include_str!("../../../broker/protocol/tests/golden/frames.txt");

/// The frames that real clients sent.
pub fn recorded() -> impl Iterator<Item = Vec<u8>> {
    FRAMES.lines().filter_map(|line| {
        let hex = line.strip_prefix("request ")?.split(' ').nth(3)?;
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok();
        (0..hex.len()).step_by(2).map(byte).collect()
    })
}

/// Recorded ones, and one made from the declaration of every API and version.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = recorded().collect();
    for message in requests() {
        let Kind::Request(key) = message.definition.kind else {
            continue;
        };
        for version in message.versions() {
            let mut frame = key.to_be_bytes().to_vec();
            frame.extend(version.to_be_bytes());
            frame.extend([0, 0, 0, 1, 0, 1, b'c']);
            // ApiVersions has a header of its own kind: read as one byte too many there, which is a seed as well.
            if message.flexible(version) {
                frame.push(0);
            }
            frame.extend(sample(&message.definition, version, Fill::FULL));
            seeds.push(frame);
        }
    }
    seeds
}

fn requests() -> &'static [AnyMessage] {
    static REQUESTS: OnceLock<Vec<AnyMessage>> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let mut requests = all();
        requests.retain(|message| matches!(message.definition.kind, Kind::Request(_)));
        requests
    })
}

fn run(frame: &[u8]) {
    let Ok((header, body)) = header::read(frame) else {
        return;
    };
    let asked = |message: &&AnyMessage| matches!(message.definition.kind, Kind::Request(key) if key == header.api_key);
    let message = requests().iter().find(asked);
    let message = message.expect("the header names an API we serve");
    super::messages::check(message, body.rest(), header.api_version);
}
