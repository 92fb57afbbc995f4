//! Data directories to be damaged, what must be in them, and what a start makes of one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use millstream_protocol::batch::{BatchHeader, Batches};
use millstream_ring::sim::{self, Controls, Disk, Options};
use millstream_ring::{Ring, fs};
use millstream_storage::{Log, LogConfig, LogId, ReadError, Stopped, StorageOptions, Store, open};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::model::{self, Life, ModelLog, append, batch};

pub const DIR: &str = "/data";
/// Small batches, batches as large as a block or two, batches that go straight into their segments.
const SIZES: [Range<usize>; 3] = [200..1500, 3000..9000, 30_000..90_000];

/// How much stands in an image.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Appended to each log before the acknowledgements are noted one by one.
    rounds: usize,
    noted: usize,
}

/// Several segments of each kind of batch.
pub const WHOLE: Extent = Extent {
    rounds: 70,
    noted: 60,
};
/// What can be read a million times: a log of 64 KiB in some ten batches. The last batch is a small one of another log: its
/// entry says that all before it was flushed.
pub const SMALL: Extent = Extent {
    rounds: 8,
    noted: 21,
};

/// How a data directory was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// The process was killed.
    Killed,
    /// Stopped cleanly.
    Stopped,
    /// Stopped cleanly; our own files removed, so that it is read as Kafka's.
    Kafkas,
    /// The same, without the mark of a clean stop and without recovery points.
    KafkasKilled,
}

/// A data directory and what must be in it.
pub struct Image {
    pub left: Left,
    pub disk: Disk,
    pub logs: Vec<ModelLog>,
    /// In order: which log was acknowledged up to where, and where the written part of each journal file ended then.
    pub acks: Vec<Ack>,
}

pub struct Ack {
    pub log: usize,
    pub end: i64,
    pub journals: BTreeMap<PathBuf, u64>,
}

/// What a start found in one log.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    pub start: i64,
    pub end: i64,
    /// What readers were told is damaged.
    pub damaged: Vec<Range<i64>>,
    pub producers: BTreeMap<i64, i32>,
}

/// What a start found, or the line with which it refused.
pub type Found = Result<Vec<Option<Seen>>, String>;

pub fn options() -> StorageOptions {
    StorageOptions {
        tail_bytes: 2 << 20,
        ..model::options(&[DIR])
    }
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 512 << 10,
        index_interval_bytes: 512,
        ..LogConfig::default()
    }
}

pub fn id(n: usize) -> LogId {
    LogId {
        topic_id: [n as u8 + 1; 16],
        partition: 0,
    }
}

pub fn image(left: Left) -> Image {
    image_of(left, WHOLE)
}

pub fn image_of(left: Left, extent: Extent) -> Image {
    let mut disk = Disk::new(1 << 30);
    disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
    let logs: Rc<RefCell<Vec<ModelLog>>> = Rc::default();
    let (shared, acks) = (logs.clone(), Rc::new(RefCell::new(Vec::new())));
    let noted = acks.clone();
    let outcome = sim::run(Options::new(1, disk), move |ring, controls| async move {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let store = start(&ring).await.expect("an empty directory opens");
        for n in 0..SIZES.len() {
            let topic = format!("log{n}");
            store
                .create_log(&topic, id(n), 0, 0, config())
                .await
                .expect("creates");
            let mut model = ModelLog::new(topic, id(n));
            model.life = Life::Live;
            shared.borrow_mut().push(model);
        }
        for round in 0..extent.rounds * SIZES.len() {
            append_one(&store, &shared, round % SIZES.len(), &mut rng).await;
        }
        ring.sleep(std::time::Duration::from_secs(5)).await;
        for round in 0..extent.noted {
            let log = [0, 1, 0, 2][round % 4];
            append_one(&store, &shared, log, &mut rng).await;
            let end = shared.borrow()[log].acked;
            let journals = journal_ends(&controls);
            noted.borrow_mut().push(Ack { log, end, journals });
        }
        if left != Left::Killed {
            let stopped = store.stop().await.expect("stops");
            let marked = Stopped::finish(vec![stopped], &ring).await;
            marked.expect("is marked clean");
        }
        if matches!(left, Left::Kafkas | Left::KafkasKilled) {
            forget_ours(&ring, left).await;
        }
    });
    outcome.value.expect("no hang");
    Image {
        left,
        disk: outcome.disk,
        logs: logs.take(),
        acks: acks.take(),
    }
}

async fn append_one(
    store: &Store,
    logs: &Rc<RefCell<Vec<ModelLog>>>,
    n: usize,
    rng: &mut ChaCha8Rng,
) {
    let log = store.log(&id(n)).expect("it was created");
    let bytes = rng.random_range(SIZES[n].clone());
    let bytes = batch(rng, &mut logs.borrow_mut()[n], bytes);
    store.admit(bytes.len()).await;
    let epoch = (log.log_end_offset() / 60) as i32;
    let (ticket, stored) = append(&log, &bytes, epoch);
    logs.borrow_mut()[n].batches.push(stored);
    let entries = logs.clone();
    log.set_snapshot_source(Box::new(move || entries.borrow()[n].snapshot()));
    store.wait(ticket).await.expect("flushed");
    let mut logs = logs.borrow_mut();
    logs[n].acked = logs[n].end();
}

fn journal_ends(controls: &Controls) -> BTreeMap<PathBuf, u64> {
    controls.disk(|disk| {
        let files = disk.files().into_iter().map(|(path, _)| path);
        files
            .filter(|path| path.to_string_lossy().contains("journal"))
            .map(|path| (path.clone(), written(disk, &path)))
            .collect()
    })
}

/// Where the last byte that is no zero ends.
pub fn written(disk: &Disk, path: &Path) -> u64 {
    let bytes = disk.read(path).expect("a file");
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |last| last as u64 + 1)
}

async fn forget_ours(ring: &Ring, left: Left) {
    for entry in fs::list(Path::new(DIR)).expect("lists") {
        let name = entry.name.to_string_lossy().into_owned();
        let mark = [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"];
        let marked = left == Left::KafkasKilled && mark.contains(&&name[..]);
        if name.starts_with(".millstream") || marked {
            let path = Path::new(DIR).join(name);
            fs::unlink(ring, &path).await.expect("removes");
        }
    }
}

pub async fn start(ring: &Ring) -> Result<Store, String> {
    let opened = open(ring, options()).await.map_err(|e| e.to_string())?;
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let seed = seeds.into_iter().next().expect("one core");
    let store = Store::start(ring, seed).await.map_err(|e| e.to_string())?;
    finish.run(ring).await.map_err(|e| e.to_string())?;
    Ok(store)
}

/// Starts on a damaged disk, reads all, and starts again on what that left.
pub fn started_twice(image: &Image, disk: Disk, seed: u64) -> Found {
    let (first, disk) = started(image, disk, seed, false);
    let (second, _) = started(image, disk, seed + 1, true);
    match (&first, &second) {
        (Ok(first), Ok(second)) => assert_eq!(second, first, "a second start"),
        (Err(_), Err(_)) => {}
        _ => panic!("{first:?}, then {second:?}"),
    }
    first
}

/// Starts on a damaged disk and reads all.
pub fn started_once(image: &Image, disk: Disk, seed: u64) -> Found {
    started(image, disk, seed, false).0
}

fn started(image: &Image, disk: Disk, seed: u64, goes_on: bool) -> (Found, Disk) {
    let logs = image.logs.clone();
    let left = image.left;
    let outcome = sim::run(Options::new(seed, disk), move |ring, _| async move {
        let store = start(&ring).await?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut seen = Vec::new();
        for model in &logs {
            // A directory of Kafka's says itself which topic ids it has.
            let log = store.logs().find(|log| log.topic() == model.topic);
            seen.push(match log {
                Some(log) => Some(look(&log, model, left, &mut rng).await),
                None => None,
            });
        }
        if goes_on {
            go_on(&ring, &store, &mut rng).await;
        }
        Ok(seen)
    });
    match outcome.value {
        Ok(found) => (found, outcome.disk),
        Err(end) => panic!("the start hangs: {end:?}"),
    }
}

/// Each log takes another batch, and all stops cleanly.
async fn go_on(ring: &Ring, store: &Store, rng: &mut ChaCha8Rng) {
    for log in store.logs() {
        let mut model = ModelLog::new(String::new(), log.id());
        let end = log.log_end_offset();
        let bytes = batch(rng, &mut model, 20_000);
        let (ticket, stored) = append(&log, &bytes, log.latest_epoch().max(0));
        store.wait(ticket).await.expect("flushed");
        let read = log.read(end, 1, i64::MAX, true).await.expect("reads");
        let read = read
            .parts
            .iter()
            .map(|part| &part[..])
            .collect::<Vec<_>>()
            .concat();
        assert!(
            read == stored.bytes[..],
            "{}: reads its own write",
            log.topic()
        );
    }
    ring.sleep(std::time::Duration::from_secs(1)).await;
    let stopped = store.stop().await.expect("stops");
    let marked = Stopped::finish(vec![stopped], ring).await;
    marked.expect("is marked clean");
}

/// Reads all of a log, from its start and from the middle; every byte given must be the one that was written.
async fn look(log: &Rc<Log>, model: &ModelLog, left: Left, rng: &mut ChaCha8Rng) -> Seen {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let name = &model.topic;
    let ends = model.batches.iter().any(|batch| batch.next() == end);
    assert!(end == 0 || ends, "{name} ends at {end}, inside a batch");
    // Somewhere in the middle, before anything is known of what is damaged: `read` holds it against what was written.
    for _ in 0..2 {
        let _ = read(log, model, rng.random_range(start..end.max(start + 1))).await;
    }
    let mut damaged: Vec<Range<i64>> = Vec::new();
    let mut at = start;
    while at < end {
        match read(log, model, at).await {
            Ok(next) => at = next,
            Err(range) => {
                at = range.end;
                damaged.push(range);
            }
        }
    }
    for _ in 0..3 {
        let at = rng.random_range(start..end.max(start + 1));
        // Where a batch of a segment still being written goes on from the file into memory, the first answer may take in
        // intact ones behind it.
        let strict = left != Left::Killed;
        match read(log, model, at).await {
            Ok(_) => {
                let told = damaged.iter().any(|range| range.contains(&at));
                assert!(!told || !strict, "{name} {at}");
            }
            Err(range) => {
                let told = damaged.contains(&range);
                assert!(told || !strict, "{name} {range:?} at {at}");
            }
        }
        // Timestamps are offsets here.
        let found = log.offset_for_timestamp(at, end).await.expect("looks up");
        let hole = damaged.iter().find(|range| range.contains(&at));
        let expected = hole.map_or(at, |range| range.end);
        let expected = Some(expected).filter(|offset| *offset < end);
        let found = found.map(|f| f.offset);
        let as_told = found == expected || (!strict && hole.is_some());
        assert!(as_told, "{name} time {at}: {found:?} {damaged:?}");
    }
    let recovery = log.producer_recovery().await.expect("producer state");
    let snapshot = recovery.snapshot.iter();
    let producers = snapshot.map(|e| (e.producer_id, e.last_sequence));
    let headers = recovery.headers.iter().filter(|h| h.has_producer_id());
    let headers = headers.map(|h| (h.producer_id, h.last_sequence()));
    let producers: BTreeMap<i64, i32> = producers.chain(headers).collect();
    if damaged.is_empty() && left != Left::KafkasKilled {
        let upto = model.batches.iter().filter(|batch| batch.next() <= end);
        let last = upto.filter(|batch| batch.header.has_producer_id());
        let last: BTreeMap<i64, i32> = last
            .map(|batch| (batch.header.producer_id, batch.header.last_sequence()))
            .collect();
        assert_eq!(producers, last, "{name}: producers");
    }
    Seen {
        start,
        end,
        damaged,
        producers,
    }
}

/// One read; answers where it ended, or what is said to be damaged.
async fn read(log: &Rc<Log>, model: &ModelLog, from: i64) -> Result<i64, Range<i64>> {
    let name = &model.topic;
    let read = match log.read(from, 100 << 10, log.log_end_offset(), true).await {
        Ok(read) => read,
        Err(ReadError::Corrupt { damage, .. }) => {
            assert!(
                damage.offsets.contains(&from),
                "{name}: {damage}, at {from}"
            );
            return Err(damage.offsets);
        }
        Err(error) => panic!("{name}: {error}"),
    };
    assert!(read.bytes > 0, "{name}: nothing at {from}");
    let bytes = read
        .parts
        .iter()
        .map(|part| &part[..])
        .collect::<Vec<_>>()
        .concat();
    let mut at = from;
    for batch in Batches::new(&bytes) {
        let (header, raw) = batch.expect("whole batches only");
        let stored = model
            .batches
            .iter()
            .find(|batch| batch.header.base_offset == header.base_offset);
        let stored = stored.unwrap_or_else(|| panic!("{name}: {header:?} was never written"));
        assert!(
            raw == &stored.bytes[..],
            "{name}: other bytes at {at}: {header:?} instead of {:?}",
            stored.header
        );
        let holds = header.base_offset <= at && at <= header.last_offset();
        assert!(holds, "{name}: {header:?} where {at} was asked for");
        at = header.next_offset();
    }
    assert!(at > from, "{name}: no whole batch at {from}");
    Ok(at)
}

/// Where the batches of a segment stand.
pub fn batches(bytes: &[u8]) -> Vec<(u64, BatchHeader)> {
    let mut at = 0;
    let mut found = Vec::new();
    for batch in Batches::new(bytes).map_while(Result::ok) {
        found.push((at, batch.0));
        at += batch.1.len() as u64;
    }
    found
}

impl Image {
    /// Files of a kind, with the bytes that were written to them.
    pub fn files(&self, part_of_name: &str) -> Vec<(PathBuf, u64)> {
        let files = self.disk.files().into_iter().map(|(path, _)| path);
        files
            .filter(|path| path.to_string_lossy().contains(part_of_name))
            .map(|path| (path.clone(), written(&self.disk, &path)))
            .filter(|(_, written)| *written > 0)
            .collect()
    }

    /// The log whose directory a file lies in.
    pub fn log_of(&self, path: &Path) -> Option<usize> {
        let parent = path.parent()?.file_name()?.to_string_lossy().into_owned();
        self.logs
            .iter()
            .position(|log| format!("{}-0", log.topic) == parent)
    }
}
