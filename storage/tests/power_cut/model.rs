//! What the logs must contain after a power cut.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use millstream_protocol::batch::{BatchBuilder, BatchHeader, Batches};
use millstream_protocol::compress::Codec;
use millstream_ring::Ring;
use millstream_storage::{
    Log, LogConfig, LogId, ProducerEntry, ProducerRecovery, Stopped, StorageOptions, Store, Ticket,
    open,
};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;

/// Producers that write; each has a sequence of its own in each log.
pub const PRODUCERS: i64 = 3;

/// One appended batch.
#[derive(Clone)]
pub struct Stored {
    pub header: BatchHeader,
    pub bytes: Rc<[u8]>,
}

impl Stored {
    pub fn next(&self) -> i64 {
        self.header.next_offset()
    }
}

/// Where a log is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Asked for, not answered: it may be there or not.
    Creating,
    Live,
    /// Asked to go, not answered.
    Deleting,
}

/// What one log must contain.
#[derive(Clone)]
pub struct ModelLog {
    pub topic: String,
    pub id: LogId,
    pub life: Life,
    /// All that was appended, whether it was acknowledged or not.
    pub batches: Vec<Stored>,
    /// Acknowledged up to here.
    pub acked: i64,
    /// The log start that was acknowledged, and the highest that was asked for.
    pub start: i64,
    pub start_max: i64,
    /// Acknowledgements still to come.
    pub open: Vec<(Ticket, i64)>,
    /// Next sequence of each producer.
    pub sequences: [i32; PRODUCERS as usize],
}

impl ModelLog {
    pub fn new(topic: String, id: LogId) -> ModelLog {
        ModelLog {
            topic,
            id,
            life: Life::Creating,
            batches: Vec::new(),
            acked: 0,
            start: 0,
            start_max: 0,
            open: Vec::new(),
            sequences: [0; PRODUCERS as usize],
        }
    }

    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, Stored::next)
    }

    /// Whether a log may end here: with a whole batch, or as it began.
    fn may_end(&self, end: i64) -> bool {
        end == 0 || self.batches.iter().any(|batch| batch.next() == end)
    }

    /// The state of the producers after the batches below `end`, the last batch of each.
    fn producers(&self, end: i64) -> BTreeMap<i64, &BatchHeader> {
        let below = self.batches.iter().filter(|batch| batch.next() <= end);
        let headers = below.map(|batch| (batch.header.producer_id, &batch.header));
        headers.filter(|(id, _)| *id >= 0).collect()
    }

    /// What a snapshot of the producers holds now.
    pub fn snapshot(&self) -> Vec<ProducerEntry> {
        let entry = |(producer_id, header): (i64, &BatchHeader)| ProducerEntry {
            producer_id,
            producer_epoch: header.producer_epoch,
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
            coordinator_epoch: -1,
            current_txn_first_offset: -1,
        };
        self.producers(self.end()).into_iter().map(entry).collect()
    }

    /// A power cut happened, and this was found: what is not there never was.
    pub fn cut_to(&mut self, found: &Found) {
        self.life = Life::Live;
        self.batches.retain(|batch| batch.next() <= found.end);
        self.acked = found.end;
        self.start = found.start;
        self.start_max = found.start;
        self.open.clear();
        for id in 0..PRODUCERS {
            let last = self
                .producers(found.end)
                .get(&id)
                .map(|h| h.last_sequence());
            self.sequences[id as usize] = last.map_or(0, |last| last + 1);
        }
    }
}

/// All logs, by the partition's number.
pub type Model = BTreeMap<i32, ModelLog>;

/// What recovery made of one log.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    pub start: i64,
    pub end: i64,
    pub epoch: Option<i32>,
    /// Last sequence and offset of each producer.
    pub producers: BTreeMap<i64, (i16, i32, i64)>,
}

/// A batch of about `bytes` bytes; every second one of an idempotent producer.
pub fn batch(rng: &mut ChaCha8Rng, log: &mut ModelLog, bytes: usize) -> Vec<u8> {
    let timestamp = log.end();
    let mut builder = BatchBuilder::new(Codec::None, timestamp);
    let records = rng.random_range(1..=3);
    let producer = rng.random_range(0..2 * PRODUCERS);
    if producer < PRODUCERS {
        let sequence = &mut log.sequences[producer as usize];
        builder = builder.producer(producer, 0, *sequence);
        *sequence += records;
    }
    for n in 0..records {
        let mut value = vec![0; bytes / records as usize];
        rng.fill_bytes(&mut value);
        builder.push(timestamp + i64::from(n), None, Some(&value), &[]);
    }
    builder.finish(0)
}

/// Appends, and returns what must be read back.
pub fn append(log: &Log, bytes: &[u8], epoch: i32) -> (Ticket, Stored) {
    let mut header = BatchHeader::read(bytes).expect("a batch");
    let appended = log.append(bytes, header, epoch).expect("appends");
    header.base_offset = appended.base_offset;
    header.partition_leader_epoch = epoch;
    let mut head = [0; 61];
    header.write(&mut head);
    let mut stored = bytes.to_vec();
    stored[..61].copy_from_slice(&head);
    let stored = Stored {
        header,
        bytes: stored.into(),
    };
    (appended.ticket, stored)
}

/// Options so small that a few megabytes go round everything.
pub fn options(dirs: &[&str]) -> StorageOptions {
    let mut options = StorageOptions::new(dirs.iter().map(PathBuf::from).collect());
    options.cluster_id = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    options.journal_file_bytes = 4 << 20;
    options.journal_files = 3;
    options.tail_bytes = 3 << 20;
    options.descriptors_max = 64;
    options.reserve_bytes = Some(0);
    options
}

/// The configuration of every log, unless a test says otherwise.
pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 256 << 10,
        file_delete_delay_ms: 5,
        ..LogConfig::default()
    }
}

/// The stores of one process: as many as it has cores, here all on one.
pub struct Stores {
    stores: Vec<Store>,
    first: usize,
}

impl Stores {
    /// Starts as many stores as there are `cores`; the log with number 0 goes to core `first`, the next to the one after it.
    pub async fn start(ring: &Ring, options: StorageOptions, cores: usize, first: usize) -> Stores {
        let opened = open(ring, options).await.expect("opens");
        let place = |topic: &str| {
            let n = topic.trim_start_matches(|c: char| !c.is_ascii_digit());
            core_of(n.parse().unwrap_or(0), cores, first)
        };
        let (seeds, finish) = opened.divide(cores, |log| Some(place(&log.topic)));
        let mut stores = Vec::new();
        for seed in seeds {
            stores.push(Store::start(ring, seed).await.expect("starts"));
        }
        finish.run(ring).await.expect("has authority");
        Stores { stores, first }
    }

    /// The store that has, or gets, the log with number `n`.
    pub fn of(&self, n: i32) -> &Store {
        &self.stores[core_of(n, self.stores.len(), self.first)]
    }

    pub fn log(&self, id: &LogId) -> Option<Rc<Log>> {
        self.stores.iter().find_map(|store| store.log(id))
    }

    /// A clean stop: everything that was appended is there afterwards.
    pub async fn stop(&self, ring: &Ring) {
        let mut stopped = Vec::new();
        for store in &self.stores {
            stopped.push(store.stop().await.expect("stops"));
        }
        let finished = Stopped::finish(stopped, ring).await;
        finished.expect("is marked clean");
    }

    /// Of each core.
    pub fn all(&self) -> &[Store] {
        &self.stores
    }
}

fn core_of(n: i32, cores: usize, first: usize) -> usize {
    (n as usize + first) % cores
}

/// Compares all logs of the recovered stores with the model.
pub async fn verify(stores: &[Store], model: &Model) -> BTreeMap<i32, Found> {
    let mut found = BTreeMap::new();
    for (n, expected) in model {
        match stores.iter().find_map(|store| store.log(&expected.id)) {
            Some(log) => drop(found.insert(*n, verify_log(&log, expected).await)),
            None => assert_ne!(expected.life, Life::Live, "log {n} is gone"),
        }
    }
    let logs: usize = stores.iter().map(|store| store.logs().count()).sum();
    assert_eq!(logs, found.len(), "a log that nobody made");
    found
}

/// What the logs must contain from now on, since they were found like this: what is not there never was.
pub fn cut_to(model: &mut Model, found: &BTreeMap<i32, Found>) {
    model.retain(|n, _| found.contains_key(n));
    for (n, log) in model {
        log.cut_to(&found[n]);
    }
}

async fn verify_log(log: &Rc<Log>, model: &ModelLog) -> Found {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let name = format!("{}-{}", model.topic, model.id.partition);
    assert_eq!(log.topic(), model.topic);
    assert_eq!(
        log.flushed_end_offset(),
        end,
        "{name}: recovered is flushed"
    );
    assert!(
        model.start <= start && start <= model.start_max,
        "{name}: starts at {start}, not in {}..={}",
        model.start,
        model.start_max
    );
    assert!(
        end >= model.acked,
        "{name}: acknowledged up to {}, recovered up to {end}",
        model.acked
    );
    assert!(model.may_end(end), "{name}: ends at {end}, inside a batch");
    verify_bytes(log, model, &name).await;
    let recovery = log.producer_recovery().await.expect("producer state");
    let found = Found {
        start,
        end,
        // Without a record there is none to name an epoch.
        epoch: (start < end).then(|| log.latest_epoch()),
        producers: producers(recovery),
    };
    verify_producers(&found, model, &name);
    let last = model.batches.iter().find(|batch| batch.next() == end);
    let last = last.filter(|_| start < end);
    let last = last.map(|batch| batch.header.partition_leader_epoch);
    assert_eq!(found.epoch, last, "{name}: latest epoch");
    found
}

/// Every batch between start and end, byte by byte.
pub async fn verify_bytes(log: &Rc<Log>, model: &ModelLog, name: &str) {
    let (start, end) = (log.log_start_offset(), log.flushed_end_offset());
    let between = |batch: &&Stored| batch.next() > start && batch.next() <= end;
    let mut expected = model.batches.iter().filter(between);
    let mut at = start;
    while at < end {
        let read = log.read(at, 256 << 10, end, true).await.expect("reads");
        assert!(read.bytes > 0, "{name}: nothing at {at} of {end}");
        let mut bytes = Vec::with_capacity(read.bytes);
        read.parts
            .iter()
            .for_each(|part| bytes.extend_from_slice(part));
        for batch in Batches::new(&bytes) {
            let (header, raw) = batch.expect("whole batches only");
            let stored = expected.next().expect("no more than was appended");
            assert_eq!(header.base_offset, stored.header.base_offset, "{name}");
            assert!(
                raw == &stored.bytes[..],
                "{name}: other bytes at {}",
                header.base_offset
            );
            at = header.next_offset();
        }
    }
    assert!(expected.next().is_none(), "{name}: all up to {end}");
}

fn producers(recovery: ProducerRecovery) -> BTreeMap<i64, (i16, i32, i64)> {
    let snapshot = recovery.snapshot.iter();
    let snapshot = snapshot.map(|e| {
        let state = (e.producer_epoch, e.last_sequence, e.last_offset);
        (e.producer_id, state)
    });
    let headers = recovery.headers.iter().filter(|h| h.has_producer_id());
    let headers = headers.map(|h| {
        let state = (h.producer_epoch, h.last_sequence(), h.last_offset());
        (h.producer_id, state)
    });
    snapshot.chain(headers).collect()
}

/// A producer that has a batch in the log is known by its last one; one whose batches were all deleted may be known.
fn verify_producers(found: &Found, model: &ModelLog, name: &str) {
    let expected = model.producers(found.end);
    for (id, header) in &expected {
        let state = (
            header.producer_epoch,
            header.last_sequence(),
            header.last_offset(),
        );
        let known = found.producers.get(id);
        let deleted = header.last_offset() < found.start;
        assert!(
            known == Some(&state) || (known.is_none() && deleted),
            "{name}: producer {id} is {known:?} and not {state:?}, from {} to {}",
            found.start,
            found.end
        );
    }
    for id in found.producers.keys() {
        assert!(
            expected.contains_key(id),
            "{name}: producer {id} never wrote"
        );
    }
}
