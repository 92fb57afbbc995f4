//! Every target, for half a minute each: `MILLSTREAM_FUZZ_SECONDS` (30), `MILLSTREAM_SEED`.
//!
//! A failure prints the input that caused it; `MILLSTREAM_FUZZ_INPUT=hex` runs only that one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use millstream_fuzz::mutate::{Random, mutated};
use millstream_fuzz::target;

/// A single input that takes longer is a hang, on the slowest machine.
const ONE_MAX: Duration = Duration::from_secs(30);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn fuzz(name: &str) {
    let target = target(name);
    if let Ok(input) = std::env::var("MILLSTREAM_FUZZ_INPUT") {
        return (target.run)(&unhex(&input));
    }
    let run = |bytes: &[u8]| {
        let begun = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
            eprintln!("{name}: MILLSTREAM_FUZZ_INPUT={}", hex(bytes));
            resume_unwind(panic);
        }
        let took = begun.elapsed();
        assert!(
            took < ONE_MAX,
            "{took:?}: MILLSTREAM_FUZZ_INPUT={}",
            hex(bytes)
        );
    };
    let seconds = number("MILLSTREAM_FUZZ_SECONDS").unwrap_or(30);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let seed = number("MILLSTREAM_SEED").unwrap_or(clock.map_or(1, |now| now.as_nanos() as u64));
    eprintln!("{name}: MILLSTREAM_SEED={seed}");
    let seeds = (target.seeds)();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0u64;
    for seed in &seeds {
        if Instant::now() >= end {
            break;
        }
        run(seed);
        count += 1;
    }
    let mut random = Random::new(seed);
    while Instant::now() < end {
        run(&mutated(&seeds, &mut random));
        count += 1;
    }
    println!(
        "{name}: {count} inputs in {seconds} s, {} seeds",
        seeds.len()
    );
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })*

        #[test]
        fn none_is_missing() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = millstream_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here.as_slice(), all);
        }
    };
}

targets! {
    requests messages batches codecs journal small_files directories metadata groups config
}
