//! Scrubbing finds each damaged batch of a sealed segment, names it, and finds nothing where nothing is.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_ring::sim::{self, Disk, Options};
use millstream_storage::{Problem, Scrubbed, Scrubbing, scrub};

use crate::image::{DIR, Image, Left, batches, image, start};

/// A finding, and the offsets that it says cannot be read.
type Line = (String, Option<Range<i64>>);

/// Scrubs a directory that nobody uses; answers what was looked at and each finding's line and damaged offsets.
fn scrubbed(disk: Disk) -> (Scrubbed, Vec<Line>) {
    let outcome = sim::run(Options::new(1, disk), |ring, _| async move {
        let mut found = Vec::new();
        let mut tell = |scrubbing: Scrubbing<'_>| {
            if let Scrubbing::Finding(finding) = scrubbing {
                let offsets = match &finding.problem {
                    Problem::Damage(damage) => Some(damage.offsets.clone()),
                    _ => None,
                };
                found.push((finding.to_string(), offsets));
            }
        };
        let done = scrub(&ring, Path::new(DIR), Duration::ZERO, &mut tell).await;
        (done.expect("it can be read"), found)
    });
    outcome.value.expect("no hang")
}

/// A sealed segment: the first of the log with the largest batches.
fn sealed() -> PathBuf {
    Path::new(DIR).join("log2-0/00000000000000000000.log")
}

fn flipped(image: &Image, path: &Path, at: u64, bit: u8) -> Disk {
    let mut disk = image.disk.clone();
    let byte = disk.read(path).expect("a file")[at as usize];
    disk.damage_at(path, at, &[byte ^ 1 << bit])
        .expect("a file");
    disk
}

#[test]
fn nothing_is_found_where_nothing_is() {
    for left in [
        Left::Killed,
        Left::Stopped,
        Left::Kafkas,
        Left::KafkasKilled,
    ] {
        let image = image(left);
        let (done, found) = scrubbed(image.disk.clone());
        assert_eq!(found, [], "{left:?}");
        assert!(
            done.segments > 5 && done.bytes > 1 << 20,
            "{left:?} {done:?}"
        );
        assert_eq!(done.findings, 0);
    }
}

#[test]
fn each_field_of_a_batch_is_covered() {
    for left in [Left::Killed, Left::Stopped, Left::Kafkas] {
        let image = image(left);
        let path = sealed();
        let whole = batches(&image.disk.read(&path).expect("a file"));
        for (position, header) in [whole[0], whole[3], whole[whole.len() - 1]] {
            // Offset, length, epoch, magic, checksum, attributes, deltas, a record.
            for (at, bit) in [
                (7, 0),
                (6, 5),
                (11, 2),
                (15, 1),
                (16, 0),
                (18, 7),
                (22, 3),
                (90, 4),
            ] {
                // A batch of Kafka's may have any epoch; that of ours is in the log table.
                if at == 15 && left == Left::Kafkas {
                    continue;
                }
                let (_, found) = scrubbed(flipped(&image, &path, position + at, bit));
                let what = format!("{left:?}: bit {bit} of byte {at} of {header:?}: {found:?}");
                let damaged: Vec<_> = found.iter().filter_map(|(_, d)| d.clone()).collect();
                let expected = header.base_offset..header.next_offset();
                assert_eq!(damaged.len(), 1, "{what}");
                assert_eq!(damaged[0], expected, "{what}");
                assert!(
                    found.iter().any(|(line, _)| line.starts_with("log2-0: ")
                        && line.contains(&format!("at byte {position} "))),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn indexes_are_held_against_the_batches() {
    let image = image(Left::Stopped);
    for kind in ["index", "timeindex"] {
        let path = sealed().with_extension(kind);
        let len = image.disk.read(&path).expect("a file").len() as u64;
        for at in 0..len {
            let (_, found) = scrubbed(flipped(&image, &path, at, 1));
            // The last byte of a time entry's offset may lead to another record of the same batch, which is as good.
            if kind == "timeindex" && at % 12 == 11 && found.is_empty() {
                continue;
            }
            assert_eq!(found.len(), 1, "{kind} at {at}: {found:?}");
            assert!(
                found[0].1.is_none() && found[0].0.contains(kind),
                "{found:?}"
            );
        }
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let image = image(Left::Stopped);
    let outcome = sim::run(Options::new(1, image.disk.clone()), |ring, _| async move {
        let _store = start(&ring).await.expect("starts");
        let refused = scrub(&ring, Path::new(DIR), Duration::ZERO, &mut |_| {}).await;
        refused.expect_err("in use").to_string()
    });
    let line = outcome.value.expect("no hang");
    assert!(line.contains("in use by another process"), "{line}");
}

#[test]
fn the_background_scrub_keeps_its_pace_and_tells_readers() {
    const RATE: u64 = 256 << 10;
    let image = image(Left::Killed);
    let path = sealed();
    let (position, header) = batches(&image.disk.read(&path).expect("a file"))[2];
    let disk = flipped(&image, &path, position + 200, 6);
    let outcome = sim::run(Options::new(1, disk), |ring, _| async move {
        let store = start(&ring).await.expect("starts");
        let mut all = Scrubbed::default();
        let began = ring.now();
        for log in store.logs() {
            let done = log.scrub(RATE).await.expect("reads");
            all.segments += done.segments;
            all.bytes += done.bytes;
            all.findings += done.findings;
        }
        let took = ring.now() - began;
        assert_eq!(all.findings, 1, "{all:?}");
        let least = Duration::from_secs_f64(all.bytes as f64 / RATE as f64);
        assert!(took >= least && took < 2 * least, "{took:?} for {all:?}");
        let log = store
            .logs()
            .find(|log| log.topic() == "log2")
            .expect("there");
        for offset in 0..log.log_end_offset() {
            let damaged = (header.base_offset..header.next_offset()).contains(&offset);
            let read = log.read(offset, 1, i64::MAX, true).await;
            assert_eq!(read.is_err(), damaged, "offset {offset}");
        }
    });
    outcome.value.expect("no hang");
}
