//! Every message in every version: written bytes are read back the same; and bytes that were cut or changed are an
//! error or a message, never a panic, and never cost more memory than their own length allows.
//!
//! `HOSTILE_SEED` and `HOSTILE_ROUNDS` choose the random changes.

mod support;

use std::alloc::System;

use millstream_protocol::{frame, header};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Fill, all, sample, title};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A byte on the wire can be a whole array in memory, 24 bytes; a struct of empty ones, with tagged fields that are not
/// even sent, up to 50 bytes for each; and a vector that grows past its first reservation is copied, which counts again.
const MEMORY_PER_BYTE: usize = 64;
/// The smallest vectors have room for four elements.
const MEMORY_BASE: usize = 4_096;

const FILLS: [Fill; 4] = [
    Fill {
        elements: 2,
        nulls: false,
        unknown_tags: false,
        empty: false,
    },
    Fill {
        elements: 1,
        nulls: true,
        unknown_tags: false,
        empty: false,
    },
    Fill {
        elements: 0,
        nulls: false,
        unknown_tags: false,
        empty: false,
    },
    Fill {
        elements: 3,
        nulls: false,
        unknown_tags: false,
        empty: false,
    },
];

#[test]
fn all_messages_in_all_versions() {
    // One test function: the allocator counts for the whole process.
    round_trips();
    unknown_tags_are_skipped();
    trailing_bytes_are_refused();
    every_cut_is_an_error();
    random_changes_are_survived();
    floods_of_small_elements_are_cheap();
    versions_outside_are_refused();
    random_headers_are_survived();
}

fn round_trips() {
    for message in all() {
        for version in message.versions() {
            for fill in FILLS {
                let bytes = sample(&message.definition, version, fill);
                let rewritten = (message.rewrite)(&bytes, version).unwrap_or_else(|error| {
                    panic!("{}: {error}: {bytes:x?}", title(&message, version))
                });
                assert_eq!(rewritten, Ok(bytes), "{}", title(&message, version));
            }
        }
    }
}

fn unknown_tags_are_skipped() {
    for message in all() {
        for version in message
            .versions()
            .filter(|version| message.flexible(*version))
        {
            let known = Fill {
                elements: 2,
                nulls: false,
                unknown_tags: false,
                empty: false,
            };
            let with_unknown = sample(
                &message.definition,
                version,
                Fill {
                    unknown_tags: true,
                    ..known
                },
            );
            let without = sample(&message.definition, version, known);
            assert_ne!(with_unknown, without);
            assert_eq!(
                (message.rewrite)(&with_unknown, version),
                Ok(Ok(without)),
                "{}",
                title(&message, version)
            );
        }
    }
}

fn trailing_bytes_are_refused() {
    for message in all() {
        for version in message.versions() {
            let mut bytes = sample(&message.definition, version, FILLS[0]);
            bytes.push(0);
            assert!(
                (message.read)(&bytes, version).is_err(),
                "{}",
                title(&message, version)
            );
        }
    }
}

fn every_cut_is_an_error() {
    for message in all() {
        for version in message.versions() {
            let bytes = sample(&message.definition, version, FILLS[0]);
            for len in 0..bytes.len() {
                let what = || {
                    format!(
                        "{} cut to {len} of {}",
                        title(&message, version),
                        bytes.len()
                    )
                };
                assert!(
                    read_within_bounds(message.read, &bytes[..len], version, what).is_err(),
                    "{}",
                    what()
                );
            }
        }
    }
}

fn random_changes_are_survived() {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let seed: u64 = number("HOSTILE_SEED", 1);
    let rounds: u64 = number("HOSTILE_ROUNDS", 150);
    for (index, message) in all().into_iter().enumerate() {
        for version in message.versions() {
            let mut random = Random::new(seed ^ (index as u64) << 32 ^ (version as u64) << 48);
            for round in 0..rounds {
                let mut bytes = sample(
                    &message.definition,
                    version,
                    FILLS[round as usize % FILLS.len()],
                );
                for _ in 0..1 + random.below(4) {
                    change(&mut bytes, &mut random);
                }
                let what = || {
                    format!(
                        "{} seed {seed} round {round}: {bytes:x?}",
                        title(&message, version)
                    )
                };
                let _ = read_within_bounds(message.read, &bytes, version, what);
            }
        }
    }
}

fn floods_of_small_elements_are_cheap() {
    for message in all() {
        for version in message.versions() {
            let flood = Fill {
                elements: 5_000,
                nulls: false,
                unknown_tags: false,
                empty: true,
            };
            let bytes = sample(&message.definition, version, flood);
            let what = || format!("{} flooded", title(&message, version));
            read_within_bounds(message.read, &bytes, version, what)
                .expect("a flood is still a message");
        }
    }
}

fn versions_outside_are_refused() {
    for message in all() {
        for version in [
            *message.versions().start() - 1,
            *message.versions().end() + 1,
            i16::MIN,
            i16::MAX,
        ] {
            assert!((message.read)(&[], version).is_err());
            assert!((message.write_default)(version).is_err());
        }
        for version in message.versions() {
            assert!(
                (message.write_default)(version).is_ok(),
                "{}",
                title(&message, version)
            );
        }
    }
}

fn random_headers_are_survived() {
    let mut random = Random::new(number("HOSTILE_SEED", 1) ^ 0x4ead);
    for _ in 0..20_000 {
        let mut frame: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
        // Half of them name an API, so that what follows is looked at.
        if let (Some(start), true) = (frame.first_chunk_mut::<4>(), random.below(2) == 0) {
            *start = [0, random.below(76) as u8, 0, random.below(14) as u8];
        }
        let what = || format!("{frame:x?}");
        let _ = read_within_bounds(|bytes, _| header::read(bytes).map(drop), &frame, 0, what);
        let _ = frame::length(*frame.first_chunk().unwrap_or(&[0xff; 4]), 1_000);
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Reads, and holds all that was allocated meanwhile (not only what was held at once) against the length of the input.
fn read_within_bounds<E>(
    read: fn(&[u8], i16) -> Result<(), E>,
    bytes: &[u8],
    version: i16,
    what: impl Fn() -> String,
) -> Result<(), E> {
    let region = Region::new(ALLOCATOR);
    let result = read(bytes, version);
    let allocated = region.change().bytes_allocated;
    let allowed = MEMORY_BASE + MEMORY_PER_BYTE * bytes.len();
    assert!(
        allocated <= allowed,
        "{allocated} bytes allocated for {}: {}",
        bytes.len(),
        what()
    );
    result
}

/// One change that a broken or evil client might make.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return bytes.push(random.next() as u8);
    }
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.next() as u8),
        // A large length, classic or compact.
        4 => {
            let lengths: [&[u8]; 4] = [
                &[0x7f, 0xff, 0xff, 0xff],
                &[0, 0x0f, 0x42, 0x40],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0x7f, 0xff],
            ];
            for (to, from) in bytes[at..].iter_mut().zip(lengths[random.below(4)]) {
                *to = *from;
            }
        }
        _ => {
            let piece = bytes[at..].to_vec();
            bytes.extend(piece);
        }
    }
}

/// xorshift64*: small, seeded, good enough to pick bytes.
struct Random(u64);

impl Random {
    /// Zero would stay zero.
    fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}
