//! What a core counts for whoever watches the broker: plain numbers of its own, which only the exposition's thread reads besides.
//!
//! Counts rise where things happen, at the price of a load and a store in memory that no other core writes. What stands
//! elsewhere already (memory, partitions, directories) is copied here once a second, and only where somebody can ask for it.

pub(crate) mod exposition;
pub(crate) mod server;

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use millstream_protocol::api::ApiKey;
use millstream_protocol::error::ErrorCode;
use millstream_storage::Scrubbed;

use crate::shard::Shard;

/// How old a copied figure may be.
const COPY: Duration = Duration::from_secs(1);
/// API keys below this are counted; Kafka has 93.
const APIS: usize = 128;
/// Error codes below this are counted; Kafka's end at 133.
const CODES: usize = 192;
/// Where a batch that was verified says how many records it has.
const RECORD_COUNT: Range<usize> = 57..61;

/// A number that one core writes.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    /// Not atomic as a whole, and need not be: nobody else writes.
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Numbers by a small index.
#[derive(Debug)]
pub(crate) struct Numbers<const N: usize>([Number; N]);

impl<const N: usize> Default for Numbers<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Number::default()))
    }
}

impl<const N: usize> Numbers<N> {
    fn add(&self, index: i16) {
        if let Some(number) = usize::try_from(index).ok().and_then(|at| self.0.get(at)) {
            number.add(1);
        }
    }

    /// Those that are not zero, with their index.
    fn counted(&self) -> impl Iterator<Item = (i16, u64)> {
        let all = (0..).zip(self.0.iter().map(Number::get));
        all.filter(|(_, count)| *count > 0)
    }
}

/// One core's numbers. Aligned, so that no two cores write to the same cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CoreMetrics {
    // counted where it happens
    pub(crate) connections_accepted: Number,
    /// Open now.
    pub(crate) connections: Number,
    /// Left for the core of their data.
    pub(crate) connections_moved: Number,
    pub(crate) received_bytes: Number,
    pub(crate) sent_bytes: Number,
    requests: Numbers<APIS>,
    produce_errors: Numbers<CODES>,
    fetch_errors: Numbers<CODES>,
    produced_batches: Number,
    produced_records: Number,
    produced_bytes: Number,
    fetched_bytes: Number,
    scrub_passes: Number,
    scrubbed_segments: Number,
    scrubbed_bytes: Number,
    scrub_findings: Number,
    // copied once a second
    requests_memory: Number,
    requests_memory_max: Number,
    replies_memory: Number,
    replies_memory_max: Number,
    tail_memory: Number,
    tail_memory_max: Number,
    unsettled_bytes: Number,
    partitions: Number,
    partitions_offline: Number,
    /// One for each data directory.
    directories: Vec<DirMetrics>,
}

/// A core's part of a data directory.
#[derive(Debug, Default)]
struct DirMetrics {
    journal_bytes: Number,
    flushes: Number,
    direct_bytes: Number,
    settled_bytes: Number,
    read_bytes: Number,
    offline: Number,
    total_bytes: Number,
    usable_bytes: Number,
}

impl CoreMetrics {
    pub(crate) fn new(directories: usize) -> Self {
        Self {
            directories: (0..directories).map(|_| DirMetrics::default()).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn request(&self, api: ApiKey) {
        self.requests.add(api as i16);
    }

    /// A batch of a producer is in its log, or was there already.
    pub(crate) fn produced(&self, batch: &[u8]) {
        self.produced_batches.add(1);
        self.produced_bytes.add(batch.len() as u64);
        let records = batch
            .get(RECORD_COUNT)
            .and_then(|count| count.try_into().ok());
        self.produced_records
            .add(u64::from(records.map_or(0, u32::from_be_bytes)));
    }

    /// What a partition was answered in a Produce.
    pub(crate) fn produce_refused(&self, code: ErrorCode) {
        self.produce_errors.add(code.code());
    }

    /// What a partition was answered in a Fetch.
    pub(crate) fn fetched(&self, code: ErrorCode, bytes: usize) {
        self.fetched_bytes.add(bytes as u64);
        if code.is_error() {
            self.fetch_errors.add(code.code());
        }
    }

    pub(crate) fn scrubbed(&self, done: &Scrubbed) {
        self.scrubbed_segments.add(done.segments);
        self.scrubbed_bytes.add(done.bytes);
        self.scrub_findings.add(done.findings);
    }

    pub(crate) fn scrub_passed(&self) {
        self.scrub_passes.add(1);
    }
}

/// Copies what is counted elsewhere, until the broker stops.
pub(crate) async fn copy(shard: Rc<Shard>) {
    if shard.config.metrics_listener.is_none() {
        return;
    }
    while !shard.stopping.get() {
        copy_once(&shard);
        shard.ring.sleep(COPY).await;
    }
}

fn copy_once(shard: &Shard) {
    let metrics = shard.metrics();
    let (memory, held) = (&shard.memory, shard.store.held());
    for (number, value) in [
        (&metrics.requests_memory, memory.requests.used()),
        (&metrics.requests_memory_max, memory.requests.max()),
        (&metrics.replies_memory, memory.replies.used()),
        (&metrics.replies_memory_max, memory.replies.max()),
        (&metrics.tail_memory, held.tail),
        (&metrics.tail_memory_max, held.tail_max),
        (&metrics.unsettled_bytes, held.pinned),
    ] {
        number.set(value as u64);
    }
    let (mut partitions, mut offline) = (0, 0);
    for (status, metrics) in shard.store.dirs().iter().zip(&metrics.directories) {
        partitions += status.logs as u64;
        if status.offline.is_some() {
            offline += status.logs as u64;
        }
        metrics.journal_bytes.set(status.counts.journal_bytes);
        metrics.flushes.set(status.counts.flushes);
        metrics.direct_bytes.set(status.counts.direct_bytes);
        metrics.settled_bytes.set(status.counts.settled_bytes);
        metrics.read_bytes.set(status.counts.read_bytes);
        metrics.offline.set(u64::from(status.offline.is_some()));
        metrics.total_bytes.set(status.total);
        metrics.usable_bytes.set(status.usable);
    }
    metrics.partitions.set(partitions);
    metrics.partitions_offline.set(offline);
}
