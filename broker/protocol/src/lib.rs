//! Kafka's wire protocol and record batches: bytes to structs and back, without I/O.
//!
//! # Map
//!
//! | for | see |
//! |---|---|
//! | the length in front of each request and response | [`frame`] |
//! | the headers behind it | [`header`] |
//! | which APIs and versions are served | [`api`] |
//! | a body | its file in [`messages`], declared with the macro of [`message`] |
//! | integers, strings, arrays, tagged fields | [`wire`] |
//! | error codes | [`error`] |
//! | record batches: check, iterate, build | [`batch`] |
//! | compression | [`compress`] |
//!
//! # What is decoded, what stays borrowed
//!
//! A message that was read borrows its strings and bytes from the frame. Records are never touched by reading a message;
//! in a response they need not even be copied: [`message::Records::Gap`] leaves a gap in the written bytes
//! ([`wire::Gap`]) for the sender to fill from wherever the records are.
//!
//! # What holds
//!
//! - Bytes of a peer lead to a message or to an error, never to a panic.
//! - Reading allocates in proportion to the bytes that are there, whatever lengths they announce.
//! - Every message that is read and written again in the same version has the same bytes, unless it had unknown tagged
//!   fields, tagged fields with default values, or text that was not UTF-8.
//! - A message that cannot be written in a version is refused by [`wire::Writer::finish`], never sent in part.
//!
//! Deliberately absent: sockets, a client, generated code, versions that no Kafka 4 serves.

#![forbid(unsafe_code)]

pub mod api;
pub mod batch;
pub mod compress;
pub mod error;
pub mod frame;
pub mod header;
pub mod message;
pub mod messages;
pub mod uuid;
pub mod wire;
