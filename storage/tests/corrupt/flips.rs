//! Single bits flipped anywhere.

use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::image::{Found, Image, Left, image, started_twice};

/// Flips in the test command.
const FLIPS: u64 = 250;

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

fn flip_many(left: Left) {
    let wanted = std::env::var("MILLSTREAM_FLIPS").ok();
    let wanted = wanted.and_then(|n| n.parse().ok()).unwrap_or(FLIPS);
    let seed = std::env::var("MILLSTREAM_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::random::<u32>().into());
    let image = image(left);
    let files = files(&image);
    let (mut refused, mut told) = (0, 0);
    for n in 0..wanted {
        let seed = seed + n;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (path, written) = &files[rng.random_range(0..files.len())];
        let (at, bit) = (rng.random_range(0..*written), rng.random_range(0..8));
        let mut disk = image.disk.clone();
        let byte = disk.read(path).expect("a file")[at as usize];
        disk.damage_at(path, at, &[byte ^ 1 << bit])
            .expect("the file is there");
        let _said = Said(format!(
            "MILLSTREAM_SEED={seed} MILLSTREAM_FLIPS=1: {left:?} {path:?} bit {bit} of byte {at} of {written}"
        ));
        let found = started_twice(&image, disk, seed);
        judge(&image, path, at, &found);
        match &found {
            Ok(found) => {
                let damaged = |seen: &crate::image::Seen| !seen.damaged.is_empty();
                told += u64::from(found.iter().flatten().any(damaged));
            }
            Err(_) => refused += 1,
        }
    }
    println!("{left:?}: {wanted} flips, {told} told to readers, {refused} starts refused");
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

#[test]
fn bits_flip_while_a_killed_process_is_down() {
    flip_many(Left::Killed);
}

#[test]
fn bits_flip_after_a_clean_stop() {
    flip_many(Left::Stopped);
}
