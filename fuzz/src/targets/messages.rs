//! Every message there is, requests, responses and records: the first two bytes choose it and its version.

use std::sync::OnceLock;

use super::Target;
use support::{AnyMessage, Fill, all, sample};

/// The list of all messages, and bytes made from their declarations: shared with the protocol's own tests.
#[path = "../../../broker/protocol/tests/support/mod.rs"]
pub mod support;

pub const TARGET: Target = Target {
    name: "messages",
    seeds,
    run,
};

fn messages() -> &'static [AnyMessage] {
    static MESSAGES: OnceLock<Vec<AnyMessage>> = OnceLock::new();
    MESSAGES.get_or_init(all)
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, message) in messages().iter().enumerate() {
        for version in message.versions() {
            for (nulls, unknown_tags) in [(false, true), (true, false)] {
                let fill = Fill {
                    nulls,
                    unknown_tags,
                    ..Fill::FULL
                };
                let mut bytes = vec![index as u8, version as u8];
                bytes.extend(sample(&message.definition, version, fill));
                seeds.push(bytes);
            }
        }
    }
    seeds
}

fn run(bytes: &[u8]) {
    let [index, version, body @ ..] = bytes else {
        return;
    };
    let message = &messages()[usize::from(*index) % messages().len()];
    check(message, body, i16::from(*version as i8));
}

/// What is read can be written, and is the same when it is read again.
pub fn check(message: &AnyMessage, body: &[u8], version: i16) {
    let Ok(Ok(written)) = (message.rewrite)(body, version) else {
        return;
    };
    let again = (message.rewrite)(&written, version);
    assert_eq!(
        again,
        Ok(Ok(written)),
        "{} v{version} does not survive",
        message.name()
    );
}
