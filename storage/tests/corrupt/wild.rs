//! Directories in which something stands that nobody wrote: fields that no checksum covers, numbers in text files, names of
//! files, indexes, whole files gone. What is right then cannot always be told; but a start works or refuses in one line, every
//! batch that is read is whole, what is appended can be read, and the next start finds the same log.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use millstream_protocol::batch::{Batches, verify_crc};
use millstream_ring::sim::{self, Disk, Options};
use millstream_ring::{Ring, fs};
use millstream_storage::{AppendError, Log, ReadError, ReadResult, Stopped, Store};
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::image::{DIR, Image, Left, batches, image, start};
use crate::model::{ModelLog, batch};

/// Directories in the test command, for each way in which they were left.
const DIRECTORIES: u64 = 40;
/// Reads of one log: an end that is wrong may lie far away.
const READS_MAX: usize = 2000;

/// What was done to a directory.
#[derive(Debug)]
enum Wrong {
    /// These bytes stand at this place of the file.
    Bytes(PathBuf, u64, Vec<u8>),
    /// All of the file.
    Content(PathBuf, Vec<u8>),
    /// A file that was not there.
    New(PathBuf, Vec<u8>),
    Longer(PathBuf, u64),
    Gone(PathBuf),
}

impl Wrong {
    fn random(image: &Image, rng: &mut ChaCha8Rng) -> Wrong {
        let kind = |suffix: &str| -> Vec<PathBuf> {
            let files = image.files(suffix).into_iter().map(|(path, _)| path);
            files.filter(|path| path.starts_with(DIR)).collect()
        };
        let (logs, all) = (kind(".log"), kind("/log"));
        let log = logs.choose(rng).expect("there are segments").clone();
        let dir = log.parent().expect("of a partition").to_owned();
        match rng.random_range(0..8) {
            0 | 1 => header_field(image, log, rng),
            2 => offsets_of_partitions(rng),
            3 => {
                let entries = [(0, 0), (extreme(rng) as i32 & i32::MAX, extreme(rng))];
                let text = text(
                    entries
                        .iter()
                        .map(|(epoch, start)| format!("{epoch} {start}")),
                );
                Wrong::Content(dir.join("leader-epoch-checkpoint"), text)
            }
            4 => new_file(&dir, rng),
            5 => {
                let suffix = [".index", ".timeindex", ".snapshot"]
                    .choose(rng)
                    .expect("some");
                let files = kind(suffix);
                let path = files.choose(rng).unwrap_or(&log).clone();
                let mut bytes = vec![0; rng.random_range(0..9) * 12];
                rng.fill_bytes(&mut bytes);
                // Small numbers are the more likely ones to be believed.
                bytes.iter_mut().step_by(4).for_each(|high| *high &= 1);
                Wrong::Content(path, bytes)
            }
            6 => Wrong::Longer(log, rng.random_range(1..200_000)),
            _ => {
                // Of ours a segment is as good as its directory: without it that goes offline.
                let kafkas = matches!(image.left, Left::Kafkas | Left::KafkasKilled);
                let may_go = |path: &&PathBuf| kafkas || path.extension() != log.extension();
                let files: Vec<&PathBuf> = all.iter().filter(may_go).collect();
                Wrong::Gone((*files.choose(rng).expect("there are files")).clone())
            }
        }
    }

    async fn happens(&self, ring: &Ring) {
        let written = match self {
            Wrong::Bytes(path, at, with) => {
                let mut bytes = fs::read(ring, path).await.unwrap_or_default();
                let at = usize::try_from(*at).expect("in a file");
                // Something else may have shortened it.
                for (byte, with) in bytes.iter_mut().skip(at).zip(with) {
                    *byte = *with;
                }
                fs::write_durably(ring, path, &bytes).await
            }
            Wrong::Content(path, bytes) | Wrong::New(path, bytes) => {
                fs::write_durably(ring, path, bytes).await
            }
            Wrong::Longer(path, by) => {
                let mut bytes = fs::read(ring, path).await.unwrap_or_default();
                bytes.resize(bytes.len() + *by as usize, 0);
                fs::write_durably(ring, path, &bytes).await
            }
            Wrong::Gone(path) => match fs::unlink(ring, path).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        written.expect("the disk is well");
    }
}

/// Numbers at which something ends.
fn extreme(rng: &mut ChaCha8Rng) -> i64 {
    let near = [0, 1, 60, 1 << 31, 1 << 32, 1 << 62, i64::MAX];
    let by = rng.random_range(0..3);
    near.choose(rng).expect("some").saturating_sub(by).max(0)
}

/// A field of a batch's header that its checksum does not cover, and now and then one that it does.
fn header_field(image: &Image, path: PathBuf, rng: &mut ChaCha8Rng) -> Wrong {
    let bytes = image.disk.read(&path).expect("a file");
    let stand = batches(&bytes);
    let Some((position, _)) = stand.choose(rng) else {
        return Wrong::Gone(path);
    };
    match rng.random_range(0..4) {
        0 => Wrong::Bytes(path, *position, extreme(rng).to_be_bytes().to_vec()),
        1 => {
            let epoch = extreme(rng) as i32;
            Wrong::Bytes(path, position + 12, epoch.to_be_bytes().to_vec())
        }
        _ => {
            let at = position + rng.random_range(0..27);
            let flipped = bytes[at as usize] ^ 1 << rng.random_range(0..8);
            Wrong::Bytes(path, at, vec![flipped])
        }
    }
}

fn offsets_of_partitions(rng: &mut ChaCha8Rng) -> Wrong {
    let names = [
        "log-start-offset-checkpoint",
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ];
    let name = names.choose(rng).expect("some");
    let rows = (0..rng.random_range(0..3)).map(|n| format!("log{n} 0 {}", extreme(rng)));
    Wrong::Content(Path::new(DIR).join(name), text(rows))
}

fn text(rows: impl Iterator<Item = String>) -> Vec<u8> {
    let rows: Vec<String> = rows.collect();
    format!("0\n{}\n{}\n", rows.len(), rows.join("\n"))
        .replace("\n\n", "\n")
        .into_bytes()
}

/// A file of a name that may belong to a segment, with a batch, nothing or garbage in it.
fn new_file(dir: &Path, rng: &mut ChaCha8Rng) -> Wrong {
    let suffixes = [
        ".log",
        ".log",
        ".index",
        ".timeindex",
        ".txnindex",
        ".snapshot",
        ".log.swap",
        ".index.swap",
        ".log.cleaned",
        ".log.deleted",
    ];
    let suffix = suffixes.choose(rng).expect("some");
    let stem = match rng.random_range(0..4) {
        0 => "99999999999999999999".to_owned(),
        _ => format!("{:020}", extreme(rng)),
    };
    let mut bytes = Vec::new();
    match rng.random_range(0..3) {
        0 => {}
        1 => {
            bytes.resize(rng.random_range(1..4) * 34, 0);
            rng.fill_bytes(&mut bytes);
        }
        _ => {
            let mut model = ModelLog::new(String::new(), crate::image::id(0));
            bytes = batch(rng, &mut model, 1000);
            bytes[..8].copy_from_slice(&extreme(rng).to_be_bytes());
        }
    }
    Wrong::New(dir.join(format!("{stem}{suffix}")), bytes)
}

/// Start and end of each log, by topic; or why the start refused.
type Ends = Result<Vec<(String, i64, i64)>, String>;

fn lived(disk: Disk, seed: u64, wrongs: Vec<Wrong>) -> (Ends, Ends, Disk) {
    let outcome = sim::run(Options::new(seed, disk), move |ring, _| async move {
        for wrong in &wrongs {
            wrong.happens(&ring).await;
        }
        let store = match start(&ring).await {
            Ok(store) => store,
            Err(line) => {
                assert!(!line.contains('\n'), "one line: {line}");
                return (Err(line.clone()), Err(line));
            }
        };
        let found = ends(&store);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for log in store.logs() {
            all_is_whole(&log, &mut rng).await;
            goes_on(&store, &log, &mut rng).await;
        }
        ring.sleep(std::time::Duration::from_secs(1)).await;
        let left = ends(&store);
        let stopped = store.stop().await.expect("stops");
        let marked = Stopped::finish(vec![stopped], &ring).await;
        marked.expect("is marked clean");
        (Ok(found), Ok(left))
    });
    let (found, left) = outcome.value.expect("no hang");
    (found, left, outcome.disk)
}

fn ends(store: &Store) -> Vec<(String, i64, i64)> {
    let logs = store.logs();
    let ends = logs.map(|log| {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        (log.topic().to_owned(), start, end)
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort();
    ends
}

/// Whatever is read of a log is whole batches that go on, or said to be damaged.
async fn all_is_whole(log: &Rc<Log>, rng: &mut ChaCha8Rng) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let mut at = start;
    for _ in 0..READS_MAX {
        if at >= end {
            break;
        }
        at = match log.read(at, 100 << 10, end, true).await {
            Ok(read) if read.bytes == 0 => break,
            Ok(read) => whole(&joined(&read), at),
            Err(ReadError::Corrupt { damage, .. }) => {
                assert!(!damage.to_string().is_empty() && damage.offsets.end > at);
                damage.offsets.end
            }
            // A file that is not there.
            Err(_) => break,
        };
    }
    for _ in 0..3 {
        let time = rng.random_range(0..end.clamp(1, 300));
        let _ = log.offset_for_timestamp(time, end).await;
    }
    let _ = log.offset_for_timestamp(extreme(rng), end).await;
    let _ = log.max_timestamp().await;
    let _ = log.aborted_transactions(start, end).await;
    let _ = log.producer_recovery().await;
    let _ = log.scrub(1 << 40).await;
    let _ = log.retain(1_000_000).await;
}

fn joined(read: &ReadResult) -> Vec<u8> {
    read.parts
        .iter()
        .map(|part| &part[..])
        .collect::<Vec<_>>()
        .concat()
}

/// The offset after these batches.
fn whole(bytes: &[u8], from: i64) -> i64 {
    let mut at = from;
    for batch in Batches::new(bytes) {
        let (header, raw) = batch.expect("whole batches only");
        assert!(verify_crc(raw), "{header:?}");
        assert!(
            header.last_offset() >= at,
            "{header:?} goes back behind {at}"
        );
        at = header.next_offset();
    }
    assert!(at > from, "no whole batch at {from}");
    at
}

/// What is appended can be read; where offsets have come to their end it is refused.
async fn goes_on(store: &Store, log: &Rc<Log>, rng: &mut ChaCha8Rng) {
    let mut model = ModelLog::new(String::new(), log.id());
    let end = log.log_end_offset();
    let bytes = batch(rng, &mut model, 20_000);
    let header = Batches::new(&bytes)
        .next()
        .expect("one")
        .expect("a batch")
        .0;
    let epoch = log.latest_epoch().max(0);
    let appended = match log.append(&bytes, header, epoch) {
        Ok(appended) => appended,
        Err(error) => {
            assert_eq!(error, AppendError::OutOfOffsets);
            assert!(
                end.checked_add(i64::from(header.last_offset_delta) + 1)
                    .is_none()
            );
            return;
        }
    };
    store.wait(appended.ticket).await.expect("flushed");
    let read = log.read(end, 1, i64::MAX, true).await.expect("reads");
    assert_eq!(joined(&read)[61..], bytes[61..], "reads its own write");
    let deleted = log.delete_records(appended.last_offset).await;
    assert_eq!(deleted.expect("deletes"), appended.last_offset);
}

fn wild(left: Left) {
    let wanted = std::env::var("MILLSTREAM_WILD").ok();
    let wanted = wanted.and_then(|n| n.parse().ok()).unwrap_or(DIRECTORIES);
    let seed = std::env::var("MILLSTREAM_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::random::<u32>().into());
    let image = image(left);
    let mut refused = 0;
    for n in 0..wanted {
        let seed = seed + n;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let wrongs: Vec<Wrong> = (0..rng.random_range(1..4))
            .map(|_| Wrong::random(&image, &mut rng))
            .collect();
        let what = format!("MILLSTREAM_SEED={seed} MILLSTREAM_WILD=1: {left:?} {wrongs:?}");
        let _said = crate::flips::Said(what);
        let (first, left, disk) = lived(image.disk.clone(), seed, wrongs);
        if first.is_err() {
            refused += 1;
            continue;
        }
        let (second, _, _) = lived(disk, seed + 1, Vec::new());
        assert_eq!(second, left, "a second start finds what the first has left");
    }
    println!("{left:?}: {wanted} directories, {refused} starts refused");
}

#[test]
fn of_a_killed_process() {
    wild(Left::Killed);
}

#[test]
fn after_a_clean_stop() {
    wild(Left::Stopped);
}

#[test]
fn of_kafka() {
    wild(Left::Kafkas);
}

#[test]
fn of_a_killed_kafka() {
    wild(Left::KafkasKilled);
}
