//! The last 64 KiB of each kind of file, torn at every byte: cut off there, zeros from there on, garbage from there on.
//!
//! The test command tears at a few positions of two long files of each kind. `MILLSTREAM_TORN=n` does so at every nth byte of
//! one file of each kind of a smaller directory, with a second start at every eighth of them;
//! `MILLSTREAM_TORN_PART=k/m` takes the kth of m parts of these.

use std::path::{Path, PathBuf};

use millstream_ring::sim::Disk;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::image::{Found, Image, Left, SMALL, WHOLE, image_of, started_once, started_twice};

/// From so far before the end of what was written.
const REACH: u64 = 64 << 10;
/// Positions of each file in the test command.
const SAMPLE: u64 = 6;
/// An entry may go on behind the last byte that is no zero: a record without headers ends with their number, and what stands
/// before it is random.
const ZEROS_AT_END: u64 = 8;
/// Where all bytes are torn at, one in so many positions gets a second start.
const SECOND_START: u64 = 8;

#[derive(Clone, Copy, Debug)]
enum Tear {
    Cut,
    Zeros,
    Garbage,
}

fn torn(disk: &Disk, path: &Path, at: u64, written: u64, tear: Tear, rng: &mut ChaCha8Rng) -> Disk {
    let mut disk = disk.clone();
    let mut rest = vec![0; (written - at) as usize];
    let done = match tear {
        Tear::Cut => disk.damage_len(path, at),
        Tear::Zeros => disk.damage_at(path, at, &rest),
        Tear::Garbage => {
            rng.fill_bytes(&mut rest);
            disk.damage_at(path, at, &rest)
        }
    };
    done.expect("the file is there");
    disk
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Which part of how many.
fn part() -> (u64, u64) {
    let Ok(part) = std::env::var("MILLSTREAM_TORN_PART") else {
        return (0, 1);
    };
    let numbers = part.split_once('/').expect("k/m");
    let [k, m] = [numbers.0, numbers.1].map(|n| n.parse().expect("a number"));
    assert!(k < m, "counted from 0");
    (k, m)
}

/// The files of a kind that are torn, with what was written to them.
fn chosen(image: &Image, kind: &str, every: bool) -> Vec<(PathBuf, u64)> {
    let mut files = image.files(kind);
    assert!(!files.is_empty(), "no {kind}");
    // The longest ones: every byte of a file is like those of others.
    files.sort_by_key(|(_, written)| std::cmp::Reverse(*written));
    if every {
        // Of those that are long enough, the shortest: it has the most batches in what is torn.
        let long = files.iter().filter(|(_, written)| *written >= REACH);
        let last = long.count().saturating_sub(1);
        return vec![files.swap_remove(last)];
    }
    files.truncate(2);
    files
}

/// Tears the newest files of a kind, and lets `judge` say whether what was found may be.
fn tear_all(left: Left, kind: &str, judge: impl Fn(&Image, &Path, u64, &Found)) {
    let every = number("MILLSTREAM_TORN");
    let (part, parts) = part();
    let seed = number("MILLSTREAM_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let image = image_of(left, if every.is_some() { SMALL } else { WHOLE });
    let mut count = 0u64;
    for (path, written) in chosen(&image, kind, every.is_some()) {
        let first = written.saturating_sub(REACH);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let positions: Vec<u64> = match every {
            Some(every) => (first..written)
                .step_by(every as usize)
                .filter(|at| at % parts == part)
                .collect(),
            None => (0..SAMPLE)
                .map(|_| rng.random_range(first..written))
                .chain([first, written - 1])
                .collect(),
        };
        let bytes = image.disk.read(&path).expect("the file is there");
        for at in positions {
            for tear in [Tear::Cut, Tear::Zeros, Tear::Garbage] {
                // Where a zero is already, that is the tear behind it: the batch that ends with it is whole.
                if matches!(tear, Tear::Zeros) && bytes[at as usize] == 0 {
                    continue;
                }
                let what = format!(
                    "MILLSTREAM_SEED={seed}: {left:?} {path:?} {tear:?} at {at} of {written}"
                );
                let disk = torn(&image.disk, &path, at, written, tear, &mut rng);
                let _said = Said(what);
                let once = every.is_some() && !(at / parts).is_multiple_of(SECOND_START);
                let found = match once {
                    true => started_once(&image, disk, seed),
                    false => started_twice(&image, disk, seed),
                };
                judge(&image, &path, at, &found);
                count += 1;
            }
        }
    }
    println!("{left:?} {kind}: {count} tears");
}

/// Printed when the test fails here.
struct Said(String);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

/// All that was acknowledged is there.
fn nothing_is_missing(image: &Image, _: &Path, _: u64, found: &Found) {
    let found = found.as_ref().expect("it starts");
    for (model, seen) in image.logs.iter().zip(found) {
        let seen = seen.as_ref().expect("the log is there");
        assert_eq!((seen.start, seen.end), (0, model.acked), "{}", model.topic);
        assert_eq!(seen.damaged, [], "{}", model.topic);
    }
}

fn base_offset(segment: &Path) -> i64 {
    let stem = segment.file_stem().expect("a segment").to_string_lossy();
    stem.parse().expect("named after its first offset")
}

/// Only batches of this segment that are not whole before the tear are missing, and readers are told so.
fn the_segment_alone(image: &Image, path: &Path, at: u64, found: &Found, cut: bool) {
    let found = found.as_ref().expect("it starts");
    let log = image.log_of(path).expect("a log's file");
    // By what was written: of a segment that is still being written, the file lacks what only the journal has.
    let mut end = 0;
    let mut batches = image.logs[log].batches.iter();
    let first_torn = batches
        .by_ref()
        .skip_while(|batch| batch.header.base_offset < base_offset(path))
        .find(|batch| {
            end += batch.header.total_len() as u64;
            end > at
        })
        .map(|batch| batch.header.base_offset);
    let segments = image.files(".log").into_iter().map(|(path, _)| path);
    let later = segments.filter(|other| other.parent() == path.parent() && *other > *path);
    let next_segment = later.map(|later| base_offset(&later)).min();
    let next_segment = next_segment.unwrap_or(image.logs[log].acked);
    for (n, (model, seen)) in image.logs.iter().zip(found).enumerate() {
        let seen = seen.as_ref().expect("the log is there");
        if n != log {
            assert_eq!((seen.end, seen.damaged.len()), (model.acked, 0));
            continue;
        }
        let first_torn = first_torn.expect("a batch is torn");
        if cut {
            assert_eq!(seen.end, first_torn, "cut behind the last whole batch");
            assert_eq!(seen.damaged, []);
            continue;
        }
        assert_eq!(seen.end, model.acked);
        for range in &seen.damaged {
            assert!(
                first_torn <= range.start && range.end <= next_segment,
                "{range:?} is not in {first_torn}..{next_segment}"
            );
        }
    }
}

/// Everything acknowledged by entries before the tear is there; or the start says that it is not.
fn all_before_it(image: &Image, path: &Path, at: u64, found: &Found) {
    let Ok(found) = found else {
        return;
    };
    for (n, seen) in found.iter().enumerate() {
        let before = |journals: &std::collections::BTreeMap<PathBuf, u64>| {
            journals
                .get(path)
                .is_none_or(|end| end + ZEROS_AT_END <= at)
        };
        let acks = image.acks.iter().filter(|ack| ack.log == n);
        let expected = acks.filter(|ack| before(&ack.journals)).map(|ack| ack.end);
        let expected = expected.max().unwrap_or(0);
        let seen = seen.as_ref().expect("the log is there");
        assert!(seen.end >= expected, "log {n}: {} of {expected}", seen.end);
        assert_eq!(seen.damaged, []);
    }
}

/// Refused with a line that names the file, or nothing is missing.
fn all_or_refused(image: &Image, path: &Path, at: u64, found: &Found) {
    match found {
        Ok(_) => nothing_is_missing(image, path, at, found),
        Err(line) => {
            let name = path.file_name().expect("a file").to_string_lossy();
            assert!(line.contains(&*name), "{line}");
        }
    }
}

#[test]
fn journal() {
    tear_all(Left::Killed, ".millstream-journal", all_before_it);
}

#[test]
fn log_table() {
    tear_all(Left::Killed, ".millstream-table", all_or_refused);
}

#[test]
fn log_table_after_a_clean_stop() {
    tear_all(Left::Stopped, ".millstream-table", all_or_refused);
}

#[test]
fn segment() {
    tear_all(Left::Killed, ".log", |image, path, at, found| {
        the_segment_alone(image, path, at, found, false);
    });
}

#[test]
fn segment_after_a_clean_stop() {
    tear_all(Left::Stopped, ".log", |image, path, at, found| {
        the_segment_alone(image, path, at, found, false);
    });
}

#[test]
fn segment_of_a_killed_kafka() {
    tear_all(Left::KafkasKilled, ".log", |image, path, at, found| {
        the_segment_alone(image, path, at, found, true);
    });
}

#[test]
fn offset_index() {
    tear_all(Left::Killed, ".index", nothing_is_missing);
    tear_all(Left::Stopped, ".index", nothing_is_missing);
    tear_all(Left::Kafkas, ".index", nothing_is_missing);
}

#[test]
fn time_index() {
    tear_all(Left::Killed, ".timeindex", nothing_is_missing);
    tear_all(Left::Stopped, ".timeindex", nothing_is_missing);
    tear_all(Left::Kafkas, ".timeindex", nothing_is_missing);
}

#[test]
fn producer_snapshot() {
    tear_all(Left::Killed, ".snapshot", nothing_is_missing);
    tear_all(Left::Stopped, ".snapshot", nothing_is_missing);
    tear_all(Left::Kafkas, ".snapshot", nothing_is_missing);
}
