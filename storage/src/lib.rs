//! Journal, logs, segments, recovery: records are on the device before they are acknowledged.
//!
//! Files are Kafka's own, and after a clean stop Kafka's tools read them. What differs is how bytes get
//! there: appends of all logs of a core go into one journal, a ring of pre-written files, in whole blocks;
//! large ones go straight into their segments beside it. Later, in long runs, *settling* moves what only the
//! journal holds into the segments. The design and its measurements are in the project's design notes.
//!
//! # What is promised
//!
//! - Order: a log's batches become readable and durable in the order they were appended.
//! - Durability: when a [`Ticket`] is durable, the append survives any crash of process, kernel or power.
//! - Recovery drops only what was never acknowledged, and says so if anything else is missing.
//! - A torn write can never touch an acknowledged byte: no block of a journal or segment is rewritten
//!   while it alone holds acknowledged bytes.
//! - A failed write or flush takes its data directory offline; nothing of it is acknowledged after that.
//!
//! # Map
//!
//! | module | |
//! |---|---|
//! | [`Store`] (`store`) | one core's door: logs, tickets, back-pressure, stop |
//! | `commit` | units out, flush the completed prefix, wake |
//! | `journal` | entries, the ring of files, the walk at start |
//! | `settle` | journal-only bytes into their segments |
//! | `table` | what start-up knows without opening a partition |
//! | [`Log`] (`log`) | append, read and read ahead, retention, lookups; `log::adopt` for Kafka's directories |
//! | `tail` | newest bytes in memory |
//! | `segment`, `epochs`, `snapshot`, `checkpoint` | Kafka's file formats |
//! | `files`, `dir` | descriptors and metadata operations; identity, lock, clean stop, failure |
//! | [`open`] (`recovery`) | start |
//! | [`scrub`] | sealed segments held against their checksums, offline and in the background |
//!
//! Everything here belongs to one core and is `!Send`, except [`StoreSeed`], [`Finish`] and [`Stopped`].
//!
//! Deliberately absent: compaction and tiering (their own features), truncation (it comes with followers), recycled
//! segments.

#![forbid(unsafe_code)]

#[cfg(feature = "benchmarks")]
#[doc(hidden)]
pub mod benchmarks;
mod checkpoint;
mod commit;
mod dir;
mod epochs;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod knobs;
mod log;
mod recovery;
mod scrub;
mod segment;
mod settle;
mod snapshot;
mod store;
mod table;
mod tail;

pub use commit::Ticket;
pub use dir::DirError;
pub use error::{AppendError, Offline, OpenError, ReadError, StoreError};
pub use knobs::{LogConfig, StorageOptions};
pub use log::adopt::AdoptError;
pub use log::{Appended, Log, ProducerRecovery, ReadResult, TimestampOffset};
pub use recovery::{
    Finish, Identity, Locked, LogSummary, Opened, Stopped, StoreSeed, lock, open, open_locked,
};
pub use scrub::{Finding, Problem, Scrubbed, Scrubbing, scrub};
pub use segment::SegmentError;
pub use segment::aborted::AbortedTxn;
pub use segment::survey::{Damage, Flaw};
pub use snapshot::ProducerEntry;
pub use store::{DirCounts, DirStatus, Held, Store};

/// A log's identity: topic id and partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    /// The topic's UUID.
    pub topic_id: [u8; 16],
    /// Partition number.
    pub partition: i32,
}
