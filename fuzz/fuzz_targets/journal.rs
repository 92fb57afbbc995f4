//! `cargo +nightly fuzz run --features libfuzzer journal`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("journal").run)(bytes));
