//! `cargo +nightly fuzz run --features libfuzzer metadata`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("metadata").run)(bytes));
