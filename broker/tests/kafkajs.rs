//! kafkajs 2.2.

mod harness;

use harness::{Broker, runtime};

fn walk(step: &str) {
    let broker = Broker::start();
    let mut client = runtime::node("walk.js");
    client.args([&broker.bootstrap(), step]);
    runtime::run(client);
}

/// Every codec it has without native code: records come back as they were sent, at their offsets; offsets by time.
#[test]
fn codecs() {
    walk("codecs");
}

/// Members join, share, leave and take over; commits are resumed; groups are described and deleted.
#[test]
fn groups() {
    walk("groups");
}

/// Topics, partitions, configs, records and the errors of each.
#[test]
fn admin() {
    walk("admin");
}

/// An idempotent producer's records: each once, in order.
#[test]
fn idempotent() {
    walk("idempotent");
}
