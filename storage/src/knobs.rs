//! What a user can turn: the process's storage options and a log's configuration.

use std::path::PathBuf;
use std::time::Duration;

/// Block of the journal and of segments: nothing smaller is written to the device.
pub(crate) const BLOCK: u64 = millstream_ring::BLOCK as u64;

/// Writes of one journal and its segments that may be on their way at once.
pub(crate) const WRITES_IN_FLIGHT_MAX: usize = 12;

/// A log with fewer bytes waiting than this goes through the journal alone. Below it, a write of its own
/// (about 6 µs of CPU and an inode update) costs more than copying the bytes into the common entry.
pub(crate) const DIRECT_BYTES_MIN: u64 = 64 * 1024;

/// Batches that share one journal entry. Small enough that the first flush of a burst starts early.
pub(crate) const UNIT_BYTES_MAX: usize = 1 << 20;

/// While something is being flushed, what waits goes out as one entry when it is as much as this, or afterwards. A write of so
/// much takes hardly longer than one of a block, but each has the device told and the core interrupted, which costs more than
/// all else of a lone append.
pub(crate) const GATHER_BYTES_MAX: usize = 64 * 1024;

/// What a settling pass should find of a log: with less, the creation, writing and flushing of its file outweigh the bytes.
pub(crate) const SETTLE_BYTES_MIN: u64 = 256 * 1024;

/// What an entry of the journal carries beside a batch, at most.
pub(crate) const ENTRY_OVERHEAD: usize = 64 << 10;

/// Largest block of tail memory; the smallest is one page.
pub(crate) const TAIL_BLOCK_BYTES_MAX: usize = 1 << 20;

/// Headers a restart may have to replay for producer state before a snapshot is taken: 1 MiB of them.
pub(crate) const SNAPSHOT_AFTER_BATCHES: u64 = (1 << 20) / 61;

/// Options of the whole process.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// Data directories, one per device (`log.dirs`).
    pub dirs: Vec<PathBuf>,
    /// `node.id`.
    pub node_id: i32,
    /// Cluster id written where all directories are new (22 characters).
    pub cluster_id: String,
    /// Stores that will be started; shares journals and tail memory out.
    pub cores: usize,
    /// Bytes of one journal file, less where many cores share `journal_bytes_max`, more where `batch_bytes` needs it.
    pub journal_file_bytes: u64,
    /// A batch of this size fits every journal: a file takes two.
    pub batch_bytes: usize,
    /// Journal files per core and directory (at least 3), to begin with.
    pub journal_files: usize,
    /// `journal.device.max.bytes`: all journals of a directory together. Up to this a journal grows while it holds little
    /// of many logs: settling these one by one is dear, and the more of each there is, the rarer.
    pub journal_bytes_max: u64,
    /// Memory for the newest bytes of logs, per core.
    pub tail_bytes: usize,
    /// Open segment files per core.
    pub descriptors_max: usize,
    /// How long to wait for the writes of a killed predecessor.
    pub lock_wait: Duration,
    /// `log.dir.reserve.bytes`: free space below which appends are refused. `None` for 1 GiB or 1 % of the file
    /// system, whichever is more, within a tenth of it.
    pub reserve_bytes: Option<u64>,
    /// Bytes between index entries, for indexes rebuilt while adopting a directory.
    pub index_interval_bytes: u32,
}

impl StorageOptions {
    /// Defaults for `dirs` with one core.
    pub fn new(dirs: Vec<PathBuf>) -> StorageOptions {
        StorageOptions {
            dirs,
            node_id: 1,
            cluster_id: String::new(),
            cores: 1,
            journal_file_bytes: 64 << 20,
            batch_bytes: 1 << 20,
            journal_files: 4,
            journal_bytes_max: 1 << 30,
            tail_bytes: 256 << 20,
            descriptors_max: 1024,
            lock_wait: Duration::from_secs(10),
            reserve_bytes: None,
            index_interval_bytes: 4096,
        }
    }
}

/// Configuration of one log, in Kafka's words and with Kafka's defaults. `-1` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most this is taken off `segment_ms`.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `retention.bytes`.
    pub retention_bytes: i64,
    /// `retention.ms`.
    pub retention_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: u64,
    /// `cleanup.policy` contains `compact`: then nothing is deleted by time or size until compaction exists.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `flush.messages`; 1 is the flushed class: appends are acknowledged when they are on the device. Above, when they
    /// are written, and this many may wait for a flush.
    pub flush_messages: i64,
    /// `flush.ms`: how long they may.
    pub flush_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_bytes: -1,
            retention_ms: 7 * 24 * 3600 * 1000,
            file_delete_delay_ms: 60_000,
            compact: false,
            delete: true,
            flush_messages: 1,
            flush_ms: i64::MAX,
        }
    }
}
