//! `cargo +nightly fuzz run --features libfuzzer batches`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("batches").run)(bytes));
