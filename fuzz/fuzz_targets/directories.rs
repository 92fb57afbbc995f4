//! `cargo +nightly fuzz run --features libfuzzer directories`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("directories").run)(bytes));
