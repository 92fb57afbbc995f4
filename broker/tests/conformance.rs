//! Every API in every version, asked as a client would, and the answers held against those of real Kafka.
//!
//! `conformance/kafka-4.3.1/*.txt` is what Kafka 4.3.1 answered, `conformance/deviations.rs` where ours is another answer on
//! purpose. `MILLSTREAM_TEST_BOOTSTRAP=host:port` asks a broker that runs already, and has nothing in it yet, instead of
//! ours; with `MILLSTREAM_RECORD=1` its answers become the record.

mod harness;

#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "conformance/configs.rs"]
mod configs;
#[path = "conformance/deviations.rs"]
mod deviations;
#[path = "conformance/envelope.rs"]
mod envelope;
#[path = "conformance/fetch.rs"]
mod fetch;
#[path = "conformance/group_offsets.rs"]
mod group_offsets;
#[path = "conformance/groups.rs"]
mod groups;
#[path = "conformance/normalize.rs"]
mod normalize;
#[path = "conformance/offsets.rs"]
mod offsets;
#[path = "conformance/peer.rs"]
mod peer;
#[path = "conformance/produce.rs"]
mod produce;
#[path = "conformance/rebalance.rs"]
mod rebalance;
#[path = "conformance/topics.rs"]
mod topics;
#[path = "conformance/transcript.rs"]
mod transcript;

use std::path::Path;
use std::time::Duration;

use peer::Peer;
use transcript::Transcript;

/// Far above what any answer takes: a busy machine must not fail the test.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kafka gives no answer at all to a few malformed requests; it is idle then, and this is far above what it takes.
const RECORDING_PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn every_version_of_every_api_answers_as_kafka_does() {
    let recording = std::env::var_os("MILLSTREAM_RECORD").is_some();
    // As in the file that Kafka was started with: set, not defaults.
    let broker = harness::Broker::start_with(&["node.id=1", "num.partitions=1"]);
    let patience = if recording {
        RECORDING_PATIENCE
    } else {
        PATIENCE
    };
    let mut transcript = Transcript::new(Peer::new(&broker.bootstrap(), patience));
    cluster::learn(&mut transcript);
    // In this order: later areas use the topics of earlier ones.
    for (area, cases) in [
        ("topics", topics::cases as fn(&mut Transcript)),
        ("cluster", cluster::cases),
        ("produce", produce::cases),
        ("fetch", fetch::cases),
        ("offsets", offsets::cases),
        ("configs", configs::cases),
        ("groups", groups::cases),
        ("rebalance", rebalance::cases),
        ("envelope", envelope::cases),
        ("deletions", topics::deletions),
    ] {
        transcript.begin(area);
        cases(&mut transcript);
    }
    assert_eq!(
        transcript.never_asked(),
        Vec::<String>::new(),
        "every served version is asked"
    );
    if recording {
        transcript.write(record());
        return;
    }
    let differences = transcript.differences(record(), &deviations::all());
    assert!(differences.is_empty(), "{differences}");
}

/// Where Kafka's answers are kept.
fn record() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/conformance/kafka-4.3.1"
    ))
}
