//! One small enum per operation. Wire codes are chosen by the broker, never here.

use std::io;
use std::path::PathBuf;

use crate::segment::survey::Damage;

/// A data directory failed earlier: nothing of it is served or acknowledged any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data directory is offline")]
pub struct Offline;

/// Why the process cannot start on its data directories. Each prints as one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Locking, identity or permissions of a data directory.
    #[error(transparent)]
    Dir(#[from] crate::dir::DirError),
    /// A directory that has no journal of ours could not be read as Kafka's.
    #[error(transparent)]
    Adopt(#[from] crate::log::adopt::AdoptError),
    /// The operating system refused something.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The log table or a journal contradicts itself: acknowledged bytes would be missing.
    #[error("{path} is damaged: {what}; restore the directory from a copy or a replica")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// An option that cannot work.
    #[error("{0}")]
    Options(String),
}

impl OpenError {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: io::Error,
    ) -> OpenError {
        OpenError::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}

/// Why a change of logs (create, delete, move of the log start, stop) did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory failed, before or during the change.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// A log with this id exists already in this store.
    #[error("the log exists already")]
    Exists,
    /// There is no such log here, or it was deleted meanwhile.
    #[error("there is no such log")]
    Unknown,
    /// The offset lies below the log start or above the flushed end.
    #[error("offset {offset} is outside {start}..={end}")]
    OutOfRange {
        /// Asked for.
        offset: i64,
        /// Log start offset.
        start: i64,
        /// Flushed end offset.
        end: i64,
    },
    /// No data directory has this index.
    #[error("there is no data directory {0}")]
    NoSuchDir(usize),
    /// Neither the device nor the journal has room for it; the same may succeed later.
    #[error("no room on the device")]
    NoSpace,
    /// A file operation failed in a way that does not take the directory offline.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Why a batch was not appended. Nothing of it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The data directory failed.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The log was deleted.
    #[error("the log is deleted")]
    Deleted,
    /// The log has come to the last offset there is.
    #[error("no offset is left")]
    OutOfOffsets,
    /// The disk is full up to its reserve; the same append may succeed later.
    #[error("no room on the device")]
    NoSpace,
    /// The batch is larger than a segment or than half a journal file.
    #[error("batch of {bytes} bytes, at most {max} can be stored")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The largest possible one.
        max: usize,
    },
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log start or above the flushed end.
    #[error("offset {offset} is outside {start}..={end}")]
    OutOfRange {
        /// Asked for.
        offset: i64,
        /// Log start offset.
        start: i64,
        /// Flushed end offset.
        end: i64,
    },
    /// The data directory failed, or the log was deleted.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// A segment could not be read.
    #[error("cannot read segment {base_offset}: {source}")]
    Io {
        /// Which segment.
        base_offset: i64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What stands there is not what was written. Records before and behind it can be read.
    #[error("segment {base_offset}: {damage}")]
    Corrupt {
        /// Which segment.
        base_offset: i64,
        /// Which offsets, and where in the file.
        damage: Damage,
    },
    /// The segment layer's own error.
    #[error(transparent)]
    Segment(#[from] crate::segment::SegmentError),
    /// A producer snapshot could not be looked up.
    #[error("cannot read producer snapshots: {0}")]
    Snapshot(#[source] io::Error),
}
