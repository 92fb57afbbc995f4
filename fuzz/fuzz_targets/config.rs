//! `cargo +nightly fuzz run --features libfuzzer config`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("config").run)(bytes));
