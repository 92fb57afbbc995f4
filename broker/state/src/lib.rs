//! Everything that decides, as pure machines: no I/O, no clock, no randomness, no threads.
//!
//! | machine | what it decides |
//! |---|---|
//! | [`controller`] | cluster metadata: topics, placement, configs, producer ids; records of the metadata log |
//! | [`group`] | group coordination and committed offsets |
//! | [`partition`] | one partition: idempotent producers |
//! | [`incremental_fetch`] | fetch sessions (KIP-227) |
//!
//! The contract of all: time comes in as `i64` milliseconds, random ids and seeds come in as arguments, and the same
//! inputs give the same outputs, whatever the machine. Durable state changes only in `replay`, live and at load alike; a
//! command yields records and a reply, and the reply leaves once the records are durable. Broken invariants are asserts,
//! on in release: a machine that is wrong about itself must stop rather than answer.
//!
//! Deliberately absent: hash maps with random order (results would depend on it), async, and error types for the wire:
//! a refusal is an [`ErrorCode`](millstream_protocol::error::ErrorCode) with Kafka's text.
#![deny(unsafe_code)]

pub mod controller;
pub mod group;
pub mod incremental_fetch;
pub mod partition;
