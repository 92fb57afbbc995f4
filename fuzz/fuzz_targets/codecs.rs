//! `cargo +nightly fuzz run --features libfuzzer codecs`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("codecs").run)(bytes));
