//! A data directory without our journal: Kafka's, or ours after its table was lost.
//!
//! Does what Kafka does when it loads logs (`LogLoader`), in its order: temporary files, segments and their indexes,
//! verification from the recovery point on unless the stop was clean, leader epochs, producer snapshots. What it repairs
//! is durable when it returns; interrupted anywhere it starts again, and a second run finds nothing to do.
//!
//! Records are cut only where Kafka cuts them: behind the first batch that is torn in what was never flushed. Damage in
//! what counts as flushed is reported and left as it is.

mod leftovers;
mod old_format;
mod partition;
mod transactions;
mod verify;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use millstream_ring::{Ring, fs};

use crate::checkpoint::{self, CheckpointError, OffsetFile};
use crate::dir::{
    DirEntryKind, FileKind, Id, PARTITION_METADATA, PartitionName, classify, parse_file_name,
};
use crate::epochs::Epochs;
use crate::segment::SegmentInfo;
use partition::Partition;

/// What was found in a data directory.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Every partition, by name.
    pub logs: Vec<AdoptedLog>,
    /// Directories that wait for removal.
    pub to_delete: Vec<PathBuf>,
    /// What was left alone, one line each: strays, half-moved partitions, unknown directories.
    pub ignored: Vec<String>,
}

/// One partition, whole and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedLog {
    /// Whose directory it is.
    pub name: PartitionName,
    /// From `partition.metadata`; None where that is missing.
    pub topic_id: Option<Id>,
    /// Records below are deleted, even where the first segment still has them.
    pub log_start_offset: i64,
    /// The offset of the next record.
    pub log_end_offset: i64,
    /// By base offset, never empty; the last one is the active one.
    pub segments: Vec<SegmentInfo>,
    /// Within the log.
    pub epochs: Epochs,
    /// The newest producer snapshot that can be used.
    pub snapshot_offset: Option<i64>,
    /// What was repaired, one line each.
    pub repairs: Vec<String>,
}

/// Why a directory cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// A partition, or the data directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Records from before Kafka 0.11.
    #[error("{} holds records of message format {magic}, which is not read here; let Kafka 3.x rewrite the topic, or move its directories away", path.display())]
    OldFormat {
        /// The segment.
        path: PathBuf,
        /// 0 or 1.
        magic: i8,
    },
}

/// Takes over every partition of the data directory `dir`. `clean`: nothing was written since a clean stop, so nothing needs
/// to be verified. `index_interval_bytes` is for indexes that must be rebuilt. Kafka's metadata log is not touched.
pub async fn adopt(
    ring: &Ring,
    dir: &Path,
    clean: bool,
    index_interval_bytes: u32,
) -> Result<Adopted, AdoptError> {
    let recovery_points = offsets(ring, dir, OffsetFile::RecoveryPoint).await?;
    let log_starts = offsets(ring, dir, OffsetFile::LogStart).await?;
    let mut adopted = Adopted::default();
    for entry in fs::list(dir).map_err(|cause| io_error(dir, cause))? {
        let path = dir.join(&entry.name);
        let kind = entry.name.to_str().map_or(DirEntryKind::Other, classify);
        if !entry.is_dir {
            continue;
        }
        let name = match kind {
            DirEntryKind::Partition(name) if is_partition(&path)? => name,
            DirEntryKind::Delete => {
                adopted.to_delete.push(path);
                continue;
            }
            DirEntryKind::ClusterMetadata => continue,
            DirEntryKind::Partition(_)
            | DirEntryKind::Stray
            | DirEntryKind::Future(_)
            | DirEntryKind::Other => {
                adopted
                    .ignored
                    .push(format!("{} is left as it is", path.display()));
                continue;
            }
        };
        let partition = Partition {
            ring,
            path: &path,
            index_interval_bytes,
            recovery_point: match clean {
                true => i64::MAX,
                false => recovery_points.get(&name).copied().unwrap_or(0),
            },
            clean,
            log_start_checkpoint: log_starts.get(&name).copied().unwrap_or(0),
            repairs: Vec::new(),
        };
        adopted.logs.push(partition.adopt(name).await?);
    }
    Ok(adopted)
}

/// A directory may be called `backup-20240101` without being a partition, one of 20 million: a partition has a segment, or
/// says whose it is.
fn is_partition(path: &Path) -> Result<bool, AdoptError> {
    let entries = fs::list(path).map_err(|cause| io_error(path, cause))?;
    let mut names = entries.iter().filter_map(|entry| entry.name.to_str());
    Ok(names.any(|name| {
        let is_segment = matches!(parse_file_name(name), Some((_, FileKind::Log)));
        is_segment || name == PARTITION_METADATA
    }))
}

/// A checkpoint that cannot be read counts as empty, as in Kafka: more is verified then.
async fn offsets(
    ring: &Ring,
    dir: &Path,
    file: OffsetFile,
) -> Result<HashMap<PartitionName, i64>, AdoptError> {
    match checkpoint::read_offsets(ring, dir, file).await {
        Err(CheckpointError::Io { path, cause }) => Err(AdoptError::Io { path, cause }),
        Err(error) => {
            tracing::warn!("{error}; it is taken for empty");
            Ok(HashMap::new())
        }
        Ok(offsets) => Ok(offsets),
    }
}

fn io_error(path: &Path, cause: io::Error) -> AdoptError {
    AdoptError::Io {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests;
