//! `cargo +nightly fuzz run --features libfuzzer groups`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("groups").run)(bytes));
