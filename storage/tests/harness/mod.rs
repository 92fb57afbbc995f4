//! A store beside a plain model of it: one `Vec` of batches per log.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use millstream_protocol::batch::{BatchBuilder, BatchHeader, Batches};
use millstream_protocol::compress::Codec;
use millstream_ring::Ring;
use millstream_storage::{Log, LogConfig, LogId, Stopped, StorageOptions, Store, open};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const TOPIC: &str = "model-topic";

/// Options small enough that a few megabytes go round everything.
pub fn options(dir: &Path) -> StorageOptions {
    let mut options = StorageOptions::new(vec![dir.to_owned()]);
    options.cluster_id = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    options.journal_file_bytes = 4 << 20;
    options.tail_bytes = 8 << 20;
    options.descriptors_max = 64;
    options
}

pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

pub fn log_id(n: i32) -> LogId {
    LogId {
        topic_id: [7; 16],
        partition: n,
    }
}

/// Ends the process when `test` has not ended long after it should have: a hang is a failure, not a job that is cut off.
/// Says where it was, if it tells.
pub fn watched<T>(name: &'static str, test: impl FnOnce() -> T) -> T {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(240);
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs");
            std::process::abort();
        }
    });
    let value = test();
    drop(done);
    watchdog.join().expect("the watchdog ends");
    value
}

/// Seed from the environment, or fresh; printed, so that a failure can be repeated.
pub fn seed(name: &str) -> u64 {
    let seed = std::env::var("MILLSTREAM_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(rand::random);
    println!("{name}: MILLSTREAM_SEED={seed}");
    seed
}

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A produced batch of about `bytes` bytes.
pub fn batch(rng: &mut ChaCha8Rng, bytes: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None, timestamp);
    let records = rng.random_range(1..=3);
    for n in 0..records {
        let mut value = vec![0; bytes / records as usize];
        rng.fill_bytes(&mut value);
        builder.push(timestamp + n, None, Some(&value), &[]);
    }
    builder.finish(0)
}

/// Opens the directory with one core and gives it authority.
pub async fn start(ring: &Ring, options: StorageOptions) -> Store {
    let opened = open(ring, options).await.expect("opens");
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let mut stores = Vec::new();
    for seed in seeds {
        stores.push(Store::start(ring, seed).await.expect("starts"));
    }
    finish.run(ring).await.expect("finishes");
    stores.remove(0)
}

pub async fn stop(ring: &Ring, store: &Store) {
    let stopped = store.stop().await.expect("stops");
    Stopped::finish(vec![stopped], ring)
        .await
        .expect("marks clean");
}

/// Appends and returns the stored bytes, stamped.
pub fn append(log: &Log, bytes: &[u8], epoch: i32) -> (millstream_storage::Appended, Stored) {
    let header = BatchHeader::read(bytes).expect("a batch");
    let appended = log.append(bytes, header, epoch).expect("appends");
    let mut stored = bytes.to_vec();
    let mut stamped = header;
    stamped.base_offset = appended.base_offset;
    stamped.partition_leader_epoch = epoch;
    let mut head = [0; 61];
    stamped.write(&mut head);
    stored[..61].copy_from_slice(&head);
    let next = appended.last_offset + 1;
    (
        appended,
        Stored {
            base: appended.base_offset,
            next,
            bytes: stored,
        },
    )
}

#[derive(Clone)]
pub struct Stored {
    pub base: i64,
    pub next: i64,
    pub bytes: Vec<u8>,
}

/// What a log must contain.
#[derive(Clone, Default)]
pub struct ModelLog {
    pub batches: Vec<Stored>,
    pub start: i64,
    /// Acknowledged up to here: a crash may drop what lies above, nothing below.
    pub acked: i64,
}

impl ModelLog {
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |b| b.next)
    }

    /// After a crash: what was recovered is a prefix of what was appended, and has all that was acknowledged.
    pub fn cut_to(&mut self, end: i64) {
        assert!(
            end >= self.acked,
            "acknowledged up to {}, recovered up to {end}",
            self.acked
        );
        self.batches.retain(|b| b.next <= end);
        assert_eq!(
            self.end().max(self.start),
            end.max(self.start),
            "recovered at a batch's end"
        );
        self.acked = end;
    }
}

/// Everything from the log start to the flushed end, batch by batch, against the model.
pub async fn verify(log: &Rc<Log>, model: &ModelLog, read_bytes: usize) {
    assert_eq!(
        log.log_start_offset(),
        model.start,
        "log start of {:?}",
        log.id()
    );
    let mut at = model.start;
    let end = log.flushed_end_offset();
    let mut expected = model
        .batches
        .iter()
        .filter(|b| b.next > model.start && b.base < end);
    while at < end {
        let read = log.read(at, read_bytes, end, true).await.expect("reads");
        assert!(read.bytes > 0, "nothing at {at} of {end} in {:?}", log.id());
        let bytes = read
            .parts
            .iter()
            .map(|part| &part[..])
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(bytes.len(), read.bytes);
        for batch in Batches::new(&bytes) {
            let (header, raw) = batch.expect("whole batches only");
            let stored = expected.next().expect("no more than was appended");
            assert_eq!(header.base_offset, stored.base, "in order");
            let differ = raw.iter().zip(&stored.bytes).position(|(a, b)| a != b);
            assert_eq!(
                differ,
                None,
                "the batch at {} of {} bytes, read from {at}: {:?} instead of {:?}",
                stored.base,
                raw.len(),
                differ.map(|d| &raw[d..raw.len().min(d + 20)]),
                differ.map(|d| &stored.bytes[d..stored.bytes.len().min(d + 20)])
            );
            assert_eq!(
                raw.len(),
                stored.bytes.len(),
                "length of the batch at {}",
                stored.base
            );
            at = header.next_offset();
        }
    }
    assert!(expected.next().is_none(), "everything up to the end {end}");
}

/// All files of a directory, copied.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

pub fn temp() -> tempfile::TempDir {
    // Why a directory went offline stands in the log only.
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    // Not in /tmp: that may be a tmpfs, where there is no direct I/O.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut dir = tempfile::tempdir_in(target).expect("a temporary directory");
    // For a look at what a failure left.
    dir.disable_cleanup(std::env::var_os("MILLSTREAM_KEEP").is_some());
    dir
}
