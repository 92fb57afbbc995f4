use std::path::{Path, PathBuf};

use millstream_ring::{Ring, block_on};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::dir::file_name;

/// index.interval.bytes of the topics in the fixtures.
const INTERVAL: u32 = 300;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A copy of a fixture to work on.
fn fixture(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixtures().join(name), dir.path());
    if name == "clean" {
        // As Kafka does when it loads a log: an epoch in which nothing was written is forgotten.
        std::fs::write(
            dir.path().join("empty-0/leader-epoch-checkpoint"),
            b"0\n0\n",
        )
        .unwrap();
        // Of all topics only this one has the default interval; its index is empty either way.
        std::fs::remove_dir_all(dir.path().join("__consumer_offsets-0")).unwrap();
    }
    dir
}

fn run(dir: &Path, clean: bool) -> Result<Adopted, AdoptError> {
    let dir = dir.to_owned();
    block_on(async move |ring: Ring| adopt(&ring, &dir, clean, INTERVAL).await)
}

/// Adopts twice: the second time there must be nothing left to repair, and the same result.
fn adopt_settled(dir: &Path, clean: bool) -> Vec<AdoptedLog> {
    let first = run(dir, clean).unwrap().logs;
    let files = contents(dir);
    let mut second = run(dir, clean).unwrap().logs;
    assert_eq!(changed(&files, dir), NONE, "the second run changed files");
    for (a, b) in first.iter().zip(&mut second) {
        assert_eq!(b.repairs, Vec::<String>::new(), "{}", b.name);
        b.repairs = a.repairs.clone();
        for (a, b) in a.segments.iter().zip(&mut b.segments) {
            b.modified_ms = a.modified_ms;
        }
    }
    assert_eq!(first, second);
    first
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => files.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

/// Which files differ: readable, unlike their bytes.
fn changed(before: &[(PathBuf, Vec<u8>)], dir: &Path) -> Vec<PathBuf> {
    let after = contents(dir);
    let missing = |a: &[(PathBuf, Vec<u8>)], b: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        let other = |file: &&(PathBuf, Vec<u8>)| b.binary_search(file).is_err();
        a.iter()
            .filter(other)
            .map(|(path, _)| path.clone())
            .collect()
    };
    let mut paths = missing(before, &after);
    paths.extend(missing(&after, before));
    paths.dedup();
    paths
}

const NONE: [PathBuf; 0] = [];

fn find<'a>(logs: &'a [AdoptedLog], name: &str) -> &'a AdoptedLog {
    logs.iter()
        .find(|log| log.name.to_string() == name)
        .unwrap()
}

fn bases(log: &AdoptedLog) -> Vec<i64> {
    log.segments.iter().map(|s| s.base_offset).collect()
}

#[test]
fn a_cleanly_stopped_kafka_is_taken_over_unchanged() {
    let dir = fixture("clean");
    copy(
        &fixtures().join("clean/__consumer_offsets-0"),
        &dir.path().join("__consumer_offsets-0"),
    );
    let before = contents(dir.path());
    let logs = adopt_settled(dir.path(), true);
    assert_eq!(changed(&before, dir.path()), NONE);
    assert_eq!(logs.len(), 5);
    assert!(
        logs.iter()
            .all(|log| log.repairs.is_empty() && log.topic_id.is_some())
    );
    for (name, end, segments, snapshot) in [
        ("plain-0", 30, vec![0, 17, 28], Some(30)),
        ("payments-0", 49, vec![0, 18, 36], Some(49)),
        ("codecs-0", 120, vec![0, 16, 72], Some(120)),
        ("empty-0", 0, vec![0], None),
        ("__consumer_offsets-0", 9, vec![0], Some(9)),
    ] {
        let log = find(&logs, name);
        assert_eq!(
            (log.log_start_offset, log.log_end_offset),
            (0, end),
            "{name}"
        );
        assert_eq!(bases(log), segments, "{name}");
        assert_eq!(log.snapshot_offset, snapshot, "{name}");
        assert_eq!(
            log.epochs.latest().map(|e| e.epoch),
            (end > 0).then_some(0),
            "{name}"
        );
    }
}

#[test]
fn verified_from_the_first_byte_it_is_the_same() {
    let dir = fixture("clean");
    let trusted = run(dir.path(), true).unwrap().logs;
    std::fs::remove_file(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    let before = contents(dir.path());
    let verified = adopt_settled(dir.path(), false);
    // Every index is rebuilt on the way: Kafka's own, byte for byte, aborted transactions included.
    assert_eq!(changed(&before, dir.path()), NONE);
    assert_eq!(verified, trusted);
}

#[test]
fn a_killed_kafka_is_verified_and_its_padding_cut() {
    let dir = fixture("dirty");
    let logs = adopt_settled(dir.path(), false);
    let log = find(&logs, "payments-0");
    assert_eq!(log.log_end_offset, 49);
    let clean = fixtures().join("clean/payments-0");
    for name in [
        "00000000000000000036.index",
        "00000000000000000036.timeindex",
        "00000000000000000036.txnindex",
    ] {
        let made = std::fs::read(dir.path().join("payments-0").join(name)).unwrap();
        assert_eq!(made, std::fs::read(clean.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn lost_indexes_come_back() {
    let dir = fixture("clean");
    let before = contents(dir.path());
    let log = dir.path().join("payments-0");
    std::fs::remove_file(log.join("00000000000000000000.index")).unwrap();
    std::fs::write(log.join("00000000000000000018.timeindex"), [7; 24]).unwrap();
    std::fs::write(log.join("00000000000000000018.txnindex"), [7; 33]).unwrap();
    std::fs::write(log.join("00000000000000000036.index"), [0; 480]).unwrap();
    std::fs::write(log.join("00000000000000000099.index"), b"of no segment").unwrap();
    std::fs::write(log.join("leader-epoch-checkpoint"), b"garbage").unwrap();
    let logs = adopt_settled(dir.path(), true);
    assert!(find(&logs, "payments-0").repairs.len() >= 3);
    assert_eq!(changed(&before, dir.path()), NONE);
}

#[test]
fn temporary_files_go_and_swaps_are_completed() {
    let dir = fixture("clean");
    let log = dir.path().join("plain-0");
    std::fs::write(log.join("00000000000000000017.log.deleted"), b"x").unwrap();
    std::fs::write(log.join("leader-epoch-checkpoint.tmp"), b"x").unwrap();
    std::fs::write(log.join("00000000000000000028.log.cleaned"), b"x").unwrap();
    // A split that did not come to its end: dropped. A compaction that did: it replaces 0 and 17.
    std::fs::write(log.join("00000000000000000028.log.swap"), b"x").unwrap();
    let both: Vec<u8> = ["00000000000000000000.log", "00000000000000000017.log"]
        .iter()
        .flat_map(|name| std::fs::read(log.join(name)).unwrap())
        .collect();
    std::fs::write(log.join("00000000000000000000.log.swap"), &both).unwrap();
    let logs = adopt_settled(dir.path(), true);
    let plain = find(&logs, "plain-0");
    assert_eq!(bases(plain), [0, 28]);
    assert_eq!(plain.segments[0].bytes, both.len() as u64);
    assert_eq!(plain.log_end_offset, 30);
    let left: Vec<_> = contents(&log).into_iter().map(|(path, _)| path).collect();
    let suffix = |path: &PathBuf| path.extension().and_then(|e| e.to_str()).map(str::to_owned);
    assert!(left.iter().all(|path| {
        !["deleted", "tmp", "cleaned", "swap"].contains(&suffix(path).unwrap_or_default().as_str())
    }));
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let whole =
        std::fs::read(fixtures().join("dirty/payments-0/00000000000000000036.log")).unwrap();
    let ends: Vec<(usize, i64)> = {
        let mut at = 0;
        let mut ends = vec![(0, 36)];
        for item in millstream_protocol::batch::Batches::new(&whole) {
            let (header, bytes) = item.unwrap();
            at += bytes.len();
            ends.push((at, header.next_offset()));
        }
        ends
    };
    let dir = fixture("dirty");
    let log = dir.path().join("payments-0/00000000000000000036.log");
    for len in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        for tail in [&[][..], &[0; 100], &[0xaa; 100]] {
            let mut bytes = whole[..len].to_vec();
            bytes.extend_from_slice(tail);
            // Zeros may be just what was cut off.
            let same = bytes.iter().zip(&whole).take_while(|(a, b)| a == b).count();
            std::fs::write(&log, bytes).unwrap();
            let logs = run(dir.path(), false).unwrap().logs;
            let (valid, end) = ends.iter().copied().rfind(|(at, _)| *at <= same).unwrap();
            assert_eq!(
                logs[0].log_end_offset,
                end,
                "cut to {len}, then {}",
                tail.len()
            );
            assert_eq!(std::fs::metadata(&log).unwrap().len(), valid as u64);
        }
    }
}

#[test]
fn what_follows_a_torn_segment_goes() {
    let dir = fixture("dirty");
    let log = dir.path().join("payments-0");
    let torn = log.join("00000000000000000018.log");
    let mut bytes = std::fs::read(&torn).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&torn, bytes).unwrap();
    let logs = adopt_settled(dir.path(), false);
    assert_eq!(bases(&logs[0]), [0, 18]);
    assert_eq!(logs[0].log_end_offset, 35);
    assert_eq!(logs[0].repairs.len(), 3, "{:?}", logs[0].repairs); // cut, dropped, snapshot at 36
    assert_eq!(logs[0].snapshot_offset, Some(18));
    assert!(!log.join("00000000000000000036.log").exists());
}

#[test]
fn damage_in_what_was_flushed_is_reported_and_kept() {
    let dir = fixture("clean");
    let path = dir.path().join("payments-0/00000000000000000018.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1; // the body of the first batch
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(
        dir.path().join("payments-0/00000000000000000018.txnindex"),
        b"x",
    )
    .unwrap();
    let logs = run(dir.path(), true).unwrap().logs;
    let log = find(&logs, "payments-0");
    assert_eq!((bases(log), log.log_end_offset), (vec![0, 18, 36], 49));
    assert!(
        log.repairs[0].contains("segment 18 is damaged at 0"),
        "{:?}",
        log.repairs
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn deleted_records_stay_deleted() {
    let dir = fixture("clean");
    std::fs::write(
        dir.path().join("log-start-offset-checkpoint"),
        b"0\n2\nplain 0 20\npayments 0 60\n",
    )
    .unwrap();
    let logs = adopt_settled(dir.path(), true);
    let plain = find(&logs, "plain-0");
    assert_eq!((plain.log_start_offset, plain.log_end_offset), (20, 30));
    assert_eq!(plain.epochs.entries()[0].start_offset, 20);
    // A log that ends before it starts begins anew there.
    let payments = find(&logs, "payments-0");
    assert_eq!(
        (payments.log_start_offset, payments.log_end_offset),
        (60, 60)
    );
    assert_eq!(bases(payments), [60]);
    assert_eq!(payments.snapshot_offset, Some(49));
}

#[test]
fn other_directories_are_left_alone() {
    let dir = fixture("clean");
    let hex = "0123456789abcdef0123456789abcdef";
    for name in [
        format!("gone-0.{hex}-delete"),
        format!("who-0.{hex}-stray"),
        "__cluster_metadata-0".into(),
        "lost+found".into(),
    ] {
        std::fs::create_dir(dir.path().join(&name)).unwrap();
        std::fs::write(
            dir.path().join(&name).join("00000000000000000000.log"),
            b"not for us",
        )
        .unwrap();
    }
    std::fs::write(dir.path().join(".millstream-table-1-0"), b"x").unwrap();
    let backup = dir.path().join("backup-20240101");
    std::fs::create_dir(&backup).unwrap();
    std::fs::write(backup.join("notes"), b"no partition").unwrap();
    let before = contents(dir.path());
    let adopted = run(dir.path(), true).unwrap();
    assert_eq!(adopted.logs.len(), 4);
    assert_eq!(
        adopted.to_delete,
        [dir.path().join(format!("gone-0.{hex}-delete"))]
    );
    assert_eq!(adopted.ignored.len(), 3);
    assert_eq!(changed(&before, dir.path()), NONE);
}

#[test]
fn an_old_message_format_is_named_and_not_cut() {
    let dir = fixture("clean");
    let path = dir.path().join("plain-0/00000000000000000000.log");
    // Offset 0, 23 bytes: checksum, magic 1, attributes, timestamp 1, no key, value "x".
    let mut bytes = vec![
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0xbc, 0x1b, 0x01, 0x17, 1, 0,
    ];
    bytes.extend([
        0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'x',
    ]);
    std::fs::write(&path, &bytes).unwrap();
    for clean in [true, false] {
        std::fs::write(
            dir.path().join("recovery-point-offset-checkpoint"),
            b"0\n0\n",
        )
        .unwrap();
        let error = run(dir.path(), clean).unwrap_err().to_string();
        assert!(error.contains("message format 1"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn indexes_of_a_damaged_segment_that_is_verified_reach_behind_the_damage() {
    let dir = fixture("clean");
    let file = |kind| dir.path().join("payments-0").join(file_name(18, kind));
    let index = std::fs::read(file(FileKind::Index)).unwrap();
    let mut log = std::fs::read(file(FileKind::Log)).unwrap();
    log[100] ^= 1;
    std::fs::write(file(FileKind::Log), log).unwrap();
    // For this it is verified, clean stop or not.
    std::fs::write(file(FileKind::TxnIndex), b"no entry").unwrap();
    let adopted = run(dir.path(), true).unwrap();
    let segment = &find(&adopted.logs, "payments-0").segments[1];
    assert_eq!((segment.base_offset, segment.end_offset), (18, 36));
    assert_eq!(segment.largest_timestamp_offset, 35);
    assert_eq!(std::fs::read(file(FileKind::Index)).unwrap(), index);
    let files = contents(dir.path());
    run(dir.path(), true).unwrap();
    assert_eq!(changed(&files, dir.path()), NONE);
}

#[test]
fn random_damage_never_panics_and_settles() {
    let seed =
        std::env::var("MILLSTREAM_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("MILLSTREAM_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..60 {
        let dir = fixture("clean");
        let files: Vec<_> = contents(dir.path())
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .collect();
        for _ in 0..random.random_range(1..8) {
            let (path, bytes) = &files[random.random_range(0..files.len())];
            let mut bytes = bytes.clone();
            match random.random_range(0..3) {
                0 => bytes.truncate(random.random_range(0..bytes.len())),
                1 => bytes.extend(vec![random.random::<u8>(); random.random_range(1..200)]),
                _ => {
                    let bit = random.random_range(0..bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            std::fs::write(path, bytes).unwrap();
        }
        let clean = random.random();
        if let Ok(adopted) = run(dir.path(), clean) {
            for log in adopted.logs {
                assert!(log.log_start_offset <= log.log_end_offset);
                assert!(log.segments.is_sorted_by_key(|s| s.base_offset));
            }
            let files = contents(dir.path());
            run(dir.path(), clean).unwrap();
            assert_eq!(
                changed(&files, dir.path()),
                NONE,
                "a second run found something to do"
            );
        }
    }
}
