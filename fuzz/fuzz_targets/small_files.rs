//! `cargo +nightly fuzz run --features libfuzzer small_files`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (millstream_fuzz::target("small_files").run)(bytes));
