//! `cargo +nightly fuzz run --features libfuzzer requests`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("requests").run)(bytes));
