//! Bytes from outside, against every decoder that meets them.
//!
//! Each target is a function from bytes to nothing: it may refuse them, it must not panic, hang, or take more memory than
//! its input allows, and what it accepts must survive being written and read again. The same functions run in two ways:
//!
//! | how | |
//! |---|---|
//! | `cargo test -p millstream-fuzz` | a mutator of our own ([`mutate`]) for `MILLSTREAM_FUZZ_SECONDS` each, on stable |
//! | `cargo +nightly fuzz run --features libfuzzer NAME` | libFuzzer, guided by coverage, for as long as one likes |
//!
//! Checksums are made right again for half of the inputs ([`reseal`]), else nearly every mutation would end there.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod reseal;
mod targets;

pub use targets::{TARGETS, Target, target};
