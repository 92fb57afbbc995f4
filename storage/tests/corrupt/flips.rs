//! Single bits flipped anywhere, and each of those that no checksum covers.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::image::{Found, Image, Left, Seen, batches, image, started_twice};

/// Flips in the test command.
const FLIPS: u64 = 250;
/// Base offset, length, leader epoch and magic of a batch stand outside of its checksum.
const NOT_COVERED: Range<u64> = 0..17;
/// The newest batches of a segment, which its index does not have yet.
const NEWEST: usize = 4;

/// All files, those of one log's directory as one kind of its own.
fn files(image: &Image) -> Vec<(PathBuf, u64)> {
    let mut files = image.files("/data/");
    files.retain(|(path, _)| !path.ends_with(".lock"));
    files
}

/// What a flip in this file may lead to.
fn judge(image: &Image, path: &Path, at: u64, found: &Found) {
    let name = path.file_name().expect("a file").to_string_lossy();
    let own = name.starts_with(".millstream") || name == "meta.properties";
    let found = match found {
        Ok(found) => found,
        Err(line) => {
            assert!(own, "refused: {line}");
            // Of a journal the first file stands for all.
            let (name, _) = name.rsplit_once('-').unwrap_or((&name, ""));
            assert!(line.contains(name), "the line names the file: {line}");
            return;
        }
    };
    let in_log = image.log_of(path);
    // An entry that no later one says was flushed cannot be told from one that was on its way.
    let noted = &image.acks[..image.acks.len() - 1];
    let last = noted.last().and_then(|ack| ack.journals.get(path));
    let open_end = last.is_some_and(|end| at >= *end);
    for (n, (model, seen)) in image.logs.iter().zip(found).enumerate() {
        let seen = seen.as_ref().expect("the log is there");
        let name = &model.topic;
        if !open_end {
            assert_eq!((seen.start, seen.end), (0, model.acked), "{name}");
        }
        let Some(damage) = seen.damaged.first() else {
            continue;
        };
        assert_eq!(in_log, Some(n), "{name}: {damage:?}");
        assert_eq!(seen.damaged.len(), 1, "{name}: {:?}", seen.damaged);
        let mut batches = model.batches.iter();
        let first = batches.find(|batch| batch.header.base_offset == damage.start);
        let one_batch = first.is_some_and(|batch| batch.next() == damage.end);
        assert!(one_batch, "{name}: {damage:?} is not one batch");
    }
}

/// Starts on a disk with one bit flipped, and judges. What it came to is counted.
struct Flips {
    image: Image,
    refused: u64,
    told: u64,
}

impl Flips {
    fn of(left: Left) -> Flips {
        Flips {
            image: image(left),
            refused: 0,
            told: 0,
        }
    }

    fn flip(&mut self, seed: u64, path: &Path, at: u64, bit: u8) {
        let mut disk = self.image.disk.clone();
        let byte = disk.read(path).expect("a file")[at as usize];
        disk.damage_at(path, at, &[byte ^ 1 << bit])
            .expect("the file is there");
        let _said = Said(format!(
            "MILLSTREAM_SEED={seed} MILLSTREAM_FLIPS=1: {:?} {path:?} bit {bit} of byte {at}",
            self.image.left
        ));
        let found = started_twice(&self.image, disk, seed);
        judge(&self.image, path, at, &found);
        match &found {
            Ok(found) => {
                let damaged = |seen: &Seen| !seen.damaged.is_empty();
                self.told += u64::from(found.iter().flatten().any(damaged));
            }
            Err(_) => self.refused += 1,
        }
    }

    fn say(&self, flips: u64) {
        let (left, told, refused) = (self.image.left, self.told, self.refused);
        println!("{left:?}: {flips} flips, {told} told to readers, {refused} starts refused");
    }
}

fn first_seed() -> u64 {
    let seed = std::env::var("MILLSTREAM_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| rand::random::<u32>().into())
}

fn flip_many(left: Left) {
    let wanted = std::env::var("MILLSTREAM_FLIPS").ok();
    let wanted = wanted.and_then(|n| n.parse().ok()).unwrap_or(FLIPS);
    let first = first_seed();
    let mut flips = Flips::of(left);
    let files = files(&flips.image);
    for seed in first..first + wanted {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (path, written) = &files[rng.random_range(0..files.len())];
        let (at, bit) = (rng.random_range(0..*written), rng.random_range(0..8));
        flips.flip(seed, path, at, bit);
    }
    flips.say(wanted);
}

/// Of one of the newest batches of a log.
fn flip_all_not_covered(left: Left) {
    let seed = first_seed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut flips = Flips::of(left);
    let log = &flips.image.logs[rng.random_range(0..flips.image.logs.len())];
    let files = flips.image.files(&format!("/{}-0/", log.topic));
    let segments = files.into_iter().map(|(path, _)| path);
    let segments = segments.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let newest = segments.max().expect("it has a segment");
    let stand = batches(&flips.image.disk.read(&newest).expect("a file"));
    let which = stand.len() - 1 - rng.random_range(0..NEWEST.min(stand.len()));
    let (position, _) = stand[which];
    for at in NOT_COVERED {
        for bit in 0..8 {
            flips.flip(seed, &newest, position + at, bit);
        }
    }
    flips.say(NOT_COVERED.end * 8);
}

/// Of the base offset of each segment's last batch, which then stands above all that the segment has.
fn raise_last_batches(left: Left) {
    let mut flips = Flips::of(left);
    let mut flipped = 0;
    for (path, _) in files(&flips.image) {
        if path.extension().is_none_or(|kind| kind != "log") {
            continue;
        }
        let stand = batches(&flips.image.disk.read(&path).expect("a file"));
        let Some(&(position, _)) = stand.last() else {
            continue;
        };
        for (byte, bit) in [(7, 7), (6, 0), (1, 6)] {
            flips.flip(1, &path, position + byte, bit);
            flipped += 1;
        }
    }
    assert!(flipped > 0, "there are segments");
    flips.say(flipped);
}

/// Printed when the test fails here.
pub struct Said(pub String);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

#[test]
fn bits_flip_while_a_killed_process_is_down() {
    flip_many(Left::Killed);
}

#[test]
fn bits_flip_after_a_clean_stop() {
    flip_many(Left::Stopped);
}

#[test]
fn bits_that_no_checksum_covers_flip_while_a_killed_process_is_down() {
    flip_all_not_covered(Left::Killed);
}

#[test]
fn bits_that_no_checksum_covers_flip_after_a_clean_stop() {
    flip_all_not_covered(Left::Stopped);
}

/// Where all before it was in order, it was believed, and nothing was answered instead of what is wrong.
#[test]
fn the_last_batch_of_a_segment_stands_too_high() {
    raise_last_batches(Left::Stopped);
    raise_last_batches(Left::Killed);
}
