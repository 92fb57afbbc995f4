//! `cargo +nightly fuzz run --features libfuzzer messages`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("messages").run)(bytes));
