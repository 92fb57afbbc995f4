//! One data directory: whose it is, who may write there, how it was left, and when it has failed or is full.
//!
//! ```text
//! <dir>/
//!   .lock                     held while in use; conflicts with Kafka's
//!   .kafka_cleanshutdown      last thing written by a clean stop, removed durably before the first write
//!   meta.properties           identity; while in use its version is one that Kafka refuses
//!   *-offset-checkpoint       one offset per partition (see checkpoint.rs)
//!   <topic>-<partition>/      20-digit files, leader-epoch-checkpoint, partition.metadata
//! ```
//!
//! The order at start: [`inspect`] every directory (changes nothing in it), [`agree`] on one identity, [`claim`].

mod meta;
mod names;
mod space;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millstream_ring::{DirLock, File, Open, Ring, fs};

pub use meta::{
    Id, MetaError, MetaProperties, MetaState, encode_partition_metadata, new_uuid,
    parse_partition_metadata,
};
pub(crate) use names::parse_stem;
pub use names::{
    DirEntryKind, FileKind, Mark, PartitionName, classify, file_name, marked_name, parse_file_name,
};
use space::SpaceGauge;

/// Whose directory it is.
pub const META_PROPERTIES: &str = "meta.properties";
/// Present: nothing was written since a clean stop.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Held by whoever uses the directory.
pub const LOCK: &str = ".lock";
/// Which topic a partition directory belongs to.
pub const PARTITION_METADATA: &str = "partition.metadata";

const PROBE: &str = ".millstream-write-test";
/// So long a lock is waited for without a word.
const SILENT_WAIT: Duration = Duration::from_secs(1);

/// Why a data directory cannot be used: what, where, what to do, in one line.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It does not exist and cannot be created, or is no directory.
    #[error("data directory {} cannot be created: {cause}; create it or choose another log.dirs", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// This process may not write there.
    #[error("data directory {} is not writable: {cause}; give this user write access or choose another log.dirs", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process, ours or Kafka's, uses it.
    #[error("data directory {} is in use by another process (it holds {}/{LOCK}); stop that one or choose another log.dirs", path.display(), path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Its `meta.properties` makes no sense.
    #[error("{}/{META_PROPERTIES} is corrupt: {cause}; restore it, or take the directory out of log.dirs", path.display())]
    Meta {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        cause: MetaError,
    },
    /// It belongs to another node.
    #[error("data directory {} belongs to node {found} by its meta.properties, but node.id is {expected}; set node.id={found} or choose another log.dirs", path.display())]
    NodeId {
        /// The directory.
        path: PathBuf,
        /// The node in it.
        found: i32,
        /// The configured node.
        expected: i32,
    },
    /// Two directories belong to different clusters.
    #[error("data directory {} belongs to cluster {found} by its meta.properties, but {} to {expected}; take one of them out of log.dirs", path.display(), other.display())]
    ClusterId {
        /// The directory.
        path: PathBuf,
        /// The cluster in it.
        found: String,
        /// The directory it disagrees with.
        other: PathBuf,
        /// The cluster in that one.
        expected: String,
    },
    /// One directory is a copy of another.
    #[error("data directories {} and {} have the same directory.id; one is a copy, take it out of log.dirs", path.display(), other.display())]
    Copy {
        /// The one.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// It failed while in use and must not be declared clean.
    #[error("data directory {} is offline: {reason}", path.display())]
    Offline {
        /// The directory.
        path: PathBuf,
        /// The first failure.
        reason: String,
    },
    /// The system refused something else.
    #[error("{} {}: {cause}", doing, path.display())]
    Io {
        /// In words, for example "reading".
        doing: &'static str,
        /// Of what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A directory that is locked and was looked at, before anything in it was changed.
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is; None for a new one.
    pub meta: Option<MetaProperties>,
    /// Nothing was written since a clean stop, whatever `meta.state` says: a start may have been interrupted.
    pub clean: bool,
    clean_generation: Option<u64>,
    lock: DirLock,
}

impl Found {
    /// The journals that have authority here; None for a new directory and one that was left clean or by Kafka.
    pub fn generation(&self) -> Option<u64> {
        match self.meta.as_ref()?.state {
            MetaState::Running { generation } if !self.clean => Some(generation),
            _ => None,
        }
    }

    /// The generation that was in use at our own clean stop, if nobody else used the directory since.
    pub fn clean_generation(&self) -> Option<u64> {
        self.clean_generation
    }

    /// No identity yet.
    pub fn is_new(&self) -> bool {
        self.meta.is_none()
    }

    /// Kafka used it last: there are partitions that none of our tables knows.
    pub fn written_by_kafka(&self) -> bool {
        let kafkas = |meta: &MetaProperties| meta.state == MetaState::Kafka;
        self.meta.as_ref().is_some_and(kafkas) && self.clean_generation.is_none()
    }
}

/// Creates the directory if it is missing, locks it, sees that it is writable and reads whose it is. A predecessor
/// that was killed may still have writes on their way to the disk: its lock is waited for, up to `wait`.
pub async fn inspect(ring: &Ring, path: &Path, wait: Duration) -> Result<Found, DirError> {
    create_all(ring, path)
        .await
        .map_err(|cause| DirError::Create {
            path: path.to_owned(),
            cause,
        })?;
    let lock = match acquire(&path.join(LOCK), wait) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            return Err(DirError::Locked {
                path: path.to_owned(),
            });
        }
        Err(cause) => {
            return Err(DirError::NotWritable {
                path: path.to_owned(),
                cause,
            });
        }
    };
    probe_writable(ring, path).await?;
    let meta = match read_if_there(ring, &path.join(META_PROPERTIES)).await? {
        Some(bytes) => Some(
            MetaProperties::parse(&bytes).map_err(|cause| DirError::Meta {
                path: path.to_owned(),
                cause,
            })?,
        ),
        None => None,
    };
    let clean_file = read_if_there(ring, &path.join(CLEAN_SHUTDOWN)).await?;
    Ok(Found {
        path: path.to_owned(),
        meta,
        clean: clean_file.is_some(),
        clean_generation: clean_file.and_then(|bytes| parse_clean_generation(&bytes)),
        lock,
    })
}

/// Says so when it takes long: nobody should sit before a silent start.
fn acquire(path: &Path, wait: Duration) -> io::Result<Option<DirLock>> {
    let silent = wait.min(SILENT_WAIT);
    let lock = DirLock::acquire(path, silent)?;
    if lock.is_some() || silent == wait {
        return Ok(lock);
    }
    tracing::warn!(
        "{}: the last writes of a process that has ended are still on their way; waiting up to {} s for them",
        path.display(),
        wait.as_secs()
    );
    DirLock::acquire(path, wait - silent)
}

/// The cluster that all directories belong to; `cluster_id` if all are new. Otherwise the line that says who disagrees.
pub fn agree(found: &[Found], node_id: i32, cluster_id: &str) -> Result<String, DirError> {
    let mut known: Vec<(&Found, &MetaProperties)> = Vec::new();
    for dir in found {
        let Some(meta) = &dir.meta else { continue };
        if meta.node_id != node_id {
            return Err(DirError::NodeId {
                path: dir.path.clone(),
                found: meta.node_id,
                expected: node_id,
            });
        }
        for (other, its) in &known {
            if its.cluster_id != meta.cluster_id {
                return Err(DirError::ClusterId {
                    path: dir.path.clone(),
                    found: meta.cluster_id.clone(),
                    other: other.path.clone(),
                    expected: its.cluster_id.clone(),
                });
            }
            if its.directory_id.is_some() && its.directory_id == meta.directory_id {
                return Err(DirError::Copy {
                    path: dir.path.clone(),
                    other: other.path.clone(),
                });
            }
        }
        known.push((dir, meta));
    }
    let agreed = known.first().map(|(_, meta)| meta.cluster_id.as_str());
    Ok(agreed.unwrap_or(cluster_id).to_owned())
}

/// Takes the directory into use. First `meta.properties` is made one that Kafka refuses and that names `generation`, then
/// the clean mark is removed, both durably. Interrupted in between, the directory still counts as clean.
pub async fn claim(
    ring: &Ring,
    found: Found,
    node_id: i32,
    cluster_id: &str,
    generation: u64,
) -> Result<Arc<DataDir>, DirError> {
    let directory_id = found.meta.and_then(|meta| meta.directory_id);
    let dir = DataDir {
        meta: MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id,
            directory_id: Some(directory_id.unwrap_or_else(new_uuid)),
            state: MetaState::Kafka,
        },
        failure: OnceLock::new(),
        space: SpaceGauge::default(),
        lock: found.lock,
        path: found.path,
    };
    dir.set_generation(ring, generation).await?;
    let removed = fs::unlink(ring, &dir.path.join(CLEAN_SHUTDOWN)).await;
    if let Err(cause) = removed
        && cause.kind() != io::ErrorKind::NotFound
    {
        return Err(dir.io("removing the clean mark of", cause));
    }
    // Of those that partitions come and go in; a hint, which only some file systems know.
    let _not_known = fs::spread_directories(&dir.path);
    dir.sync(ring).await?;
    dir.check_space()
        .map_err(|cause| dir.io("looking at the space of", cause))?;
    Ok(Arc::new(dir))
}

/// A data directory in use. Shared by all cores; each one's writes stand under the same lock.
pub struct DataDir {
    path: PathBuf,
    meta: MetaProperties,
    failure: OnceLock<String>,
    space: SpaceGauge,
    lock: DirLock,
}

impl DataDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity clients see in DescribeLogDirs and the controller assigns to.
    pub fn directory_id(&self) -> Id {
        self.meta
            .directory_id
            .expect("given to every directory by claim")
    }

    /// The directory of a partition.
    pub fn partition_path(&self, name: &PartitionName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Ties the lock to a core's ring, before that core's first write: should the process be killed, the kernel lets go of
    /// the lock only after the ring's last write.
    pub fn register(&self, ring: &Ring) -> io::Result<()> {
        self.lock.register(ring)
    }

    /// Names the journals that have authority from now on, durably: the moment at which new ones replace old ones.
    pub async fn set_generation(&self, ring: &Ring, generation: u64) -> Result<(), DirError> {
        self.check_online()?;
        let running = MetaProperties {
            state: MetaState::Running { generation },
            ..self.meta.clone()
        };
        self.replace(ring, META_PROPERTIES, &running.encode()).await
    }

    /// The last step of a clean stop, after all else is on the disk: the directory is marked clean and Kafka's again. In this
    /// order: with the mark it counts as clean already, without either it would have to be scanned.
    /// `generation` goes into the mark, so that the next start knows whether anybody else was here in between.
    pub async fn finish_clean(&self, ring: &Ring, generation: u64) -> Result<(), DirError> {
        self.check_online()?;
        assert_eq!(self.meta.state, MetaState::Kafka);
        let mark =
            format!("{{\"version\":0,\"brokerEpoch\":-1,\"{CLEAN_GENERATION}\":{generation}}}");
        self.replace(ring, CLEAN_SHUTDOWN, mark.as_bytes()).await?;
        self.replace(ring, META_PROPERTIES, &self.meta.encode())
            .await
    }

    /// Takes the directory offline, for every core and for good. The first cause stays; it is logged once.
    pub fn fail(&self, cause: &io::Error, doing: &str) {
        let mut first = false;
        self.failure.get_or_init(|| {
            first = true;
            format!("{doing}: {cause}")
        });
        if first {
            let path = self.path.display();
            tracing::error!("data directory {path} is offline after {doing}: {cause}");
        }
    }

    /// Why it is offline; None while it is not.
    pub fn offline(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Looks at the file system: a system call, for a background task once a second.
    pub fn check_space(&self) -> io::Result<fs::Space> {
        self.space.check(&self.path)
    }

    /// Total and available bytes at the last look.
    pub fn space(&self) -> (u64, u64) {
        self.space.last()
    }

    /// Bytes that were available above the reserve at the last look.
    pub fn room(&self) -> u64 {
        self.space.room()
    }

    /// Sets `log.dir.reserve.bytes`. Unset it is 1 GiB or 1 % of the file system, whichever is more, within a tenth of it.
    pub fn set_reserve(&self, bytes: u64) {
        self.space.set_reserve(bytes);
    }

    fn check_online(&self) -> Result<(), DirError> {
        match self.offline() {
            None => Ok(()),
            Some(reason) => Err(DirError::Offline {
                path: self.path.clone(),
                reason: reason.to_owned(),
            }),
        }
    }

    async fn replace(&self, ring: &Ring, name: &str, bytes: &[u8]) -> Result<(), DirError> {
        let path = self.path.join(name);
        fs::write_durably(ring, &path, bytes)
            .await
            .map_err(|cause| DirError::Io {
                doing: "writing",
                path,
                cause,
            })
    }

    async fn sync(&self, ring: &Ring) -> Result<(), DirError> {
        let done = fs::sync_dir(ring, &self.path).await;
        done.map_err(|cause| self.io("syncing", cause))
    }

    fn io(&self, doing: &'static str, cause: io::Error) -> DirError {
        DirError::Io {
            doing,
            path: self.path.clone(),
            cause,
        }
    }
}

/// Whether a failed read or write means that the disk can no longer be trusted. Not so a full disk or quota, a lack of
/// memory or descriptors, an interruption. A failed *flush* always does: the kernel may have dropped the pages.
pub fn takes_directory_offline(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, WouldBlock};
    let passing = matches!(error.kind(), Interrupted | OutOfMemory | WouldBlock);
    !(passing || is_full(error) || lacks_descriptors(error))
}

/// The device or a quota is full, or a file as large as it may be.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull)
}

/// This process, or the system, has no descriptor left: EMFILE and ENFILE, which have no kind of their own.
pub fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Our field in the clean mark. Kafka asks only whether the file is there, and removes it when it starts.
const CLEAN_GENERATION: &str = "millstreamGeneration";

/// The generation in a clean mark of ours. It is written by us alone, in one form: no need for a JSON reader.
fn parse_clean_generation(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, value) = text.split_once(CLEAN_GENERATION)?;
    value.strip_prefix("\":")?.strip_suffix('}')?.parse().ok()
}

async fn read_if_there(ring: &Ring, path: &Path) -> Result<Option<Vec<u8>>, DirError> {
    match fs::read(ring, path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(DirError::Io {
            doing: "reading",
            path: path.to_owned(),
            cause,
        }),
    }
}

/// A permission bit says little (root, read-only mounts, quotas): only a file that was created proves it.
async fn probe_writable(ring: &Ring, path: &Path) -> Result<(), DirError> {
    let probe = path.join(PROBE);
    let how = Open {
        write: true,
        create: true,
        ..Open::default()
    };
    let tried = match File::open(ring, &probe, how).await {
        Ok(_) => fs::unlink(ring, &probe).await,
        Err(cause) => Err(cause),
    };
    tried.map_err(|cause| DirError::NotWritable {
        path: path.to_owned(),
        cause,
    })
}

/// The directory and its missing parents, each one durable in its own parent.
async fn create_all(ring: &Ring, path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        let there = ancestor.as_os_str().is_empty() || fs::exists(ring, ancestor).await?;
        if there {
            break;
        }
        missing.push(ancestor);
    }
    for dir in missing.into_iter().rev() {
        fs::create_dir(ring, dir).await?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::sync_dir(ring, parent.unwrap_or(Path::new("."))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
