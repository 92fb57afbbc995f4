//! Every API in every version, asked as a client would and held against real Kafka.
//!
//! `conformance/kafka-4.3.1.txt` holds Kafka's answers. With `MILLSTREAM_PEER=host:port` the same requests go to a Kafka
//! that runs there, freshly formatted, and the answers are compared directly; `MILLSTREAM_RECORD=1` writes them down.

mod harness;

#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "conformance/configs.rs"]
mod configs;
#[path = "conformance/fetch.rs"]
mod fetch;
#[path = "conformance/groups.rs"]
mod groups;
#[path = "conformance/offsets.rs"]
mod offsets;
#[path = "conformance/produce.rs"]
mod produce;
#[path = "conformance/sides.rs"]
mod sides;
#[path = "conformance/topics.rs"]
mod topics;

use std::path::Path;

use sides::Sides;

/// Cases in which Kafka's answer is not ours, and why.
const DELIBERATE: &[(&str, &str)] = &[];

#[test]
fn every_version_of_every_api_answers_as_kafka_does() {
    let broker = harness::Broker::start_with(&["auto.create.topics.enable=true"]);
    let peer = std::env::var("MILLSTREAM_PEER").ok();
    let mut sides = Sides::new(&broker.bootstrap(), peer.as_deref());
    cluster::learn(&mut sides);
    topics::cases(&mut sides);
    cluster::cases(&mut sides);
    produce::cases(&mut sides);
    fetch::cases(&mut sides);
    offsets::cases(&mut sides);
    configs::cases(&mut sides);
    if sides.peer.is_some() {
        // In case the peer fails further on.
        eprintln!("{}", sides.differences(record(), DELIBERATE));
    }
    groups::cases(&mut sides);
    topics::deletions(&mut sides);
    assert_eq!(
        sides.never_asked(),
        Vec::<String>::new(),
        "every served version is asked"
    );
    if sides.peer.is_some() && std::env::var("MILLSTREAM_RECORD").is_ok() {
        sides.write_record(record(), DELIBERATE);
    }
    let differences = sides.differences(record(), DELIBERATE);
    assert!(differences.is_empty(), "{differences}");
}

/// Where Kafka's answers are kept.
fn record() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/conformance/kafka-4.3.1.txt"
    ))
}
