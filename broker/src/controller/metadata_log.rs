//! The metadata log on disk: a snapshot, and the entries since.
//!
//! Both are sequences of the controller's own entries (length, checksum, position, records). An entry counts once it is
//! flushed. A snapshot replaces the log atomically: it is written beside, renamed, and only then is the log emptied; a
//! crash in between leaves entries the snapshot already holds, and they are passed over. Entries follow one another without
//! padding: the file is written through the page cache and flushed, for it is small and rarely written.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

use millstream_ring::{File, Open, Ring, fs};
use millstream_state::controller::{Entry, Position, State, log};

/// Kafka ignores plain files in a data directory.
const LOG: &str = ".millstream-metadata-log";
const SNAPSHOT: &str = ".millstream-metadata-snapshot";
/// The log is replaced by a snapshot when it is larger than this and than the last snapshot.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// Space set aside behind the last entry; the second half of it is for deletions, by which a full device gets space again.
const AHEAD_BYTES: u64 = 64 << 10;

/// The open log.
pub(crate) struct MetadataLog {
    ring: Ring,
    directory: PathBuf,
    file: File,
    end: Cell<u64>,
    /// Space is set aside up to here.
    reserved: Cell<u64>,
    /// Index of the last entry that is durable.
    flushed: Cell<i64>,
    snapshot_bytes: Cell<u64>,
    /// After a failed write the end of the file is unknown: nothing is written any more.
    failed: Cell<bool>,
}

/// The metadata cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The bytes are damaged where a crash cannot have damaged them.
    #[error("{path}: {cause}; nothing was changed, restore the file from a copy")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong and where.
        cause: log::LogError,
    },
}

impl MetadataLog {
    /// Whether a data directory has metadata. It has a log from the first start on.
    pub(crate) fn is_in(directory: &Path) -> bool {
        [LOG, SNAPSHOT]
            .iter()
            .any(|name| directory.join(name).exists())
    }

    /// Reads snapshot and log of a data directory; writes nothing.
    pub(crate) async fn read(
        ring: &Ring,
        directory: &Path,
    ) -> Result<(State, Found), MetadataError> {
        let path = directory.join(SNAPSHOT);
        let snapshot = read_file(ring, &path).await?;
        let mut state = match snapshot.is_empty() {
            true => State::new(),
            false => log::decode_snapshot(&snapshot)
                .map_err(|cause| MetadataError::Corrupt { path, cause })?,
        };
        let path = directory.join(LOG);
        let bytes = read_file(ring, &path).await?;
        let mut entries = log::decode_log(&bytes, state.position());
        while let Some(entry) = entries.next() {
            let corrupt = |cause| MetadataError::Corrupt {
                path: path.clone(),
                cause,
            };
            let entry = entry.map_err(corrupt)?;
            let replayed = state.replay_read(&entry);
            replayed.map_err(|cause| {
                let at = entries.end();
                corrupt(log::LogError::Payload { at, cause })
            })?;
        }
        let end = entries.end() as u64;
        let torn = end < bytes.len() as u64;
        Ok((
            state,
            Found {
                end,
                torn,
                snapshot_bytes: snapshot.len() as u64,
            },
        ))
    }

    /// Opens the log for writing behind what was read.
    pub(crate) async fn open(
        ring: &Ring,
        directory: &Path,
        position: Position,
        found: Found,
    ) -> Result<Self, MetadataError> {
        let path = directory.join(LOG);
        let failed = |cause| MetadataError::Io {
            path: path.clone(),
            cause,
        };
        let how = Open {
            read: true,
            write: true,
            create: true,
            ..Open::default()
        };
        let file = File::open(ring, &path, how).await.map_err(failed)?;
        if found.torn {
            file.set_len(found.end).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        fs::sync_dir(ring, directory).await.map_err(failed)?;
        let log = Self {
            ring: ring.clone(),
            directory: directory.to_owned(),
            file,
            end: Cell::new(found.end),
            reserved: Cell::new(0),
            flushed: Cell::new(position.index),
            snapshot_bytes: Cell::new(found.snapshot_bytes),
            failed: Cell::new(false),
        };
        log.has_room().await;
        Ok(log)
    }

    /// Whether there is space for more than deletions; sets some aside ahead of need.
    pub(crate) async fn has_room(&self) -> bool {
        let end = self.end.get();
        if self.reserved.get() >= end + AHEAD_BYTES / 2 {
            return true;
        }
        match self.file.reserve(end, AHEAD_BYTES).await {
            Ok(()) => {
                self.reserved.set(end + AHEAD_BYTES);
                true
            }
            // Not every file system can; the write itself will tell then.
            Err(cause) => cause.kind() != io::ErrorKind::StorageFull,
        }
    }

    /// Writes and flushes one entry.
    pub(crate) async fn append(&self, entry: &Entry) -> io::Result<()> {
        if self.failed.get() {
            return Err(io::Error::other("an earlier write failed"));
        }
        // Until this is through, a crash or an error leaves an end that only a restart can tell.
        self.failed.set(true);
        let mut bytes = Vec::new();
        log::encode_entry(entry, self.flushed.get(), &mut bytes);
        let len = bytes.len() as u64;
        let written = self.file.write_at(vec![bytes.into()], self.end.get()).await;
        if let Err(cause) = written {
            if cause.kind() == io::ErrorKind::StorageFull {
                self.take_back().await?;
            }
            return Err(cause);
        }
        self.file.sync_data().await?;
        self.end.set(self.end.get() + len);
        self.flushed.set(entry.position.index);
        self.failed.set(false);
        Ok(())
    }

    /// A full disk passes: what was written of the entry is cut off, and the log goes on when there is space.
    async fn take_back(&self) -> io::Result<()> {
        self.reserved.set(0);
        self.file.set_len(self.end.get()).await?;
        self.file.sync_all().await?;
        self.failed.set(false);
        Ok(())
    }

    pub(crate) fn wants_snapshot(&self) -> bool {
        self.end.get() > LOG_BYTES_MAX.max(self.snapshot_bytes.get())
    }

    /// Replaces the log by a snapshot of the state that its entries led to, encoded.
    pub(crate) async fn snapshot(&self, bytes: Vec<u8>) -> io::Result<()> {
        fs::write_durably(&self.ring, &self.directory.join(SNAPSHOT), &bytes).await?;
        self.snapshot_bytes.set(bytes.len() as u64);
        // An entry written over old ones that come back after a crash would look like damage.
        self.failed.set(true);
        self.file.set_len(0).await?;
        self.file.sync_all().await?;
        self.end.set(0);
        self.reserved.set(0);
        self.failed.set(false);
        self.has_room().await;
        Ok(())
    }
}

/// What [`MetadataLog::read`] saw.
pub(crate) struct Found {
    end: u64,
    torn: bool,
    snapshot_bytes: u64,
}

async fn read_file(ring: &Ring, path: &Path) -> Result<Vec<u8>, MetadataError> {
    match fs::read(ring, path).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(MetadataError::Io {
            path: path.to_owned(),
            cause,
        }),
    }
}
