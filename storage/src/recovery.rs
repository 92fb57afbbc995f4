//! Start: which data directories, whose, and what table and journals say about each log.
//!
//! Nothing here depends on how many cores there were or will be: the tables and journals of all cores of
//! the former generation are read first, then the logs are divided anew. Nothing of the former generation is
//! changed or deleted before the new one is complete on the device and `meta.properties` names it, so a start
//! that is interrupted anywhere is repeated from the same state.

mod journal;
mod replay;
mod run;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_ring::{Ring, fs};

use crate::LogId;
use crate::checkpoint::PartitionOffset;
use crate::dir::{self, DataDir, DirEntryKind, Found, Mark, PartitionName};
use crate::error::OpenError;
use crate::files::Files;
use crate::journal::JournalFileName;
use crate::journal::entry::LogKey;
use crate::knobs::StorageOptions;
use crate::log::adopt::{AdoptedLog, adopt};
use crate::table::{CLOSED, READY, Row, TableName};

pub(crate) use replay::{Recovered, directory_tag};
pub(crate) use run::{Run, Runs};

/// Descriptors that renaming and deleting leftovers may hold.
const CLEANING_DESCRIPTORS: usize = 16;

/// The identity of the data directories.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Cluster id, 22 characters.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// One id per directory, in the order of the options.
    pub directory_ids: Vec<[u8; 16]>,
    /// The former process stopped cleanly, or there was none.
    pub clean: bool,
    /// At least one directory was read as Kafka's.
    pub adopted: bool,
}

/// One log as found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSummary {
    /// Topic name.
    pub topic: String,
    /// Topic id and partition.
    pub id: LogId,
    /// Index of the data directory.
    pub dir: usize,
    /// First offset.
    pub log_start_offset: i64,
    /// Next offset.
    pub log_end_offset: i64,
    /// Latest leader epoch in the log, 0 if it has none.
    pub leader_epoch: i32,
    /// Found in a directory without our journal.
    pub adopted: bool,
}

/// The directories are locked and read; nothing is served yet.
pub struct Opened {
    options: StorageOptions,
    identity: Identity,
    dirs: Vec<OpenDir>,
    logs: Vec<(LogSummary, Recovered)>,
    generation: u64,
}

struct OpenDir {
    data: Arc<DataDir>,
    direct: bool,
    dropped: Vec<(PartitionName, LogId)>,
}

/// What one core's store starts from.
pub struct StoreSeed {
    pub(crate) core: u32,
    pub(crate) cores: u32,
    pub(crate) options: StorageOptions,
    pub(crate) generation: u64,
    pub(crate) authority: Arc<AtomicBool>,
    pub(crate) dirs: Vec<SeedDir>,
}

pub(crate) struct SeedDir {
    pub data: Arc<DataDir>,
    pub direct: bool,
    pub logs: Vec<Recovered>,
}

/// The switch to the new generation, once all stores have started.
pub struct Finish {
    generation: u64,
    cores: u32,
    authority: Arc<AtomicBool>,
    dirs: Vec<OpenDir>,
    strays: Vec<(usize, PartitionName)>,
}

/// The last step of a clean stop, once all stores have stopped.
pub struct Stopped {
    pub(crate) generation: u64,
    pub(crate) dirs: Vec<Arc<DataDir>>,
    /// For each directory the ends and log starts of this store's logs.
    pub(crate) offsets: Vec<Vec<(PartitionOffset, Option<PartitionOffset>)>>,
}

/// Where a directory's logs come from.
enum Source {
    Ours(u64),
    Scan { clean: bool },
}

/// The data directories, locked and not changed yet: what other files in them say can be relied on from now on.
pub struct Locked {
    found: Vec<Found>,
}

/// Locks the data directories of `options`, waiting for the lock as long as they say, and reads whose they are.
pub async fn lock(ring: &Ring, options: &StorageOptions) -> Result<Locked, OpenError> {
    check(options)?;
    let mut found = Vec::new();
    for path in &options.dirs {
        found.push(dir::inspect(ring, path, options.lock_wait).await?);
    }
    Ok(Locked { found })
}

/// Locks and reads all data directories.
pub async fn open(ring: &Ring, options: StorageOptions) -> Result<Opened, OpenError> {
    open_locked(ring, lock(ring, &options).await?, options).await
}

/// [`open`] for directories that [`lock`] has locked with the same options.
pub async fn open_locked(
    ring: &Ring,
    locked: Locked,
    options: StorageOptions,
) -> Result<Opened, OpenError> {
    let found = locked.found;
    let cluster_id = dir::agree(&found, options.node_id, &options.cluster_id)?;
    let clean = found.iter().all(|f| f.generation().is_none());
    let mut logs: BTreeMap<LogId, (LogSummary, Recovered)> = BTreeMap::new();
    let (mut dirs, mut adopted_any, mut generation_max) = (Vec::new(), false, 1);
    let mut read = Vec::new();
    for (index, f) in found.iter().enumerate() {
        let (former, recovered, dropped, adopted) = read_dir(ring, f, &options).await?;
        adopted_any |= adopted && f.written_by_kafka();
        generation_max = generation_max.max(former);
        read.push((former, dropped));
        for r in recovered {
            keep_newest(&mut logs, summary(&r, index, adopted), r);
        }
    }
    // Only now, when all of it was readable, something is changed.
    for (f, (former, dropped)) in found.into_iter().zip(read) {
        let direct = fs::direct_io(ring, &f.path).await;
        let direct = direct
            .map_err(|e| OpenError::io("look at", &f.path, e))?
            .is_some();
        if !direct {
            tracing::warn!(
                "{}: no direct I/O there; writing through the page cache",
                f.path.display()
            );
        }
        let data = dir::claim(ring, f, options.node_id, &cluster_id, former).await?;
        if let Some(bytes) = options.reserve_bytes {
            data.set_reserve(bytes);
        }
        dirs.push(OpenDir {
            data,
            direct,
            dropped,
        });
    }
    let mut logs: Vec<_> = logs.into_values().collect();
    logs.sort_by(|(a, _), (b, _)| (&a.topic, a.id.partition).cmp(&(&b.topic, b.id.partition)));
    // A log that was dropped and created again lives: its directory is the new life's.
    let live: HashSet<&LogId> = logs.iter().map(|(summary, _)| &summary.id).collect();
    for dir in &mut dirs {
        dir.dropped.retain(|(_, id)| !live.contains(id));
    }
    let directory_ids = dirs.iter().map(|d| d.data.directory_id()).collect();
    let identity = Identity {
        cluster_id,
        node_id: options.node_id,
        directory_ids,
        clean,
        adopted: adopted_any,
    };
    Ok(Opened {
        options,
        identity,
        dirs,
        logs,
        generation: generation_max + 1,
    })
}

fn check(options: &StorageOptions) -> Result<(), OpenError> {
    let wrong = |text: &str| Err(OpenError::Options(text.to_owned()));
    if options.dirs.is_empty() {
        return wrong("no data directory is configured (log.dirs)");
    }
    if options.journal_files < 3 {
        return wrong("a journal needs at least 3 files");
    }
    if options.journal_file_bytes < 4 << 20 || !options.journal_file_bytes.is_multiple_of(1 << 20) {
        return wrong("a journal file has at least 4 MiB and whole MiB");
    }
    if options.tail_bytes < 1 << 20 {
        return wrong("tail memory is at least 1 MiB per core");
    }
    Ok(())
}

/// What table and journals say of the logs of a directory of ours; `None`: it is Kafka's, or new.
pub(crate) async fn read_logs(
    ring: &Ring,
    found: &Found,
) -> Result<Option<Vec<Recovered>>, OpenError> {
    let Source::Ours(generation) = source(ring, found).await? else {
        return Ok(None);
    };
    let (logs, _) = read_ours(ring, found, generation).await?;
    Ok(Some(logs))
}

type DirLogs = (u64, Vec<Recovered>, Vec<(PartitionName, LogId)>, bool);

/// The former generation, its logs, those it dropped, and whether they were found by a scan.
async fn read_dir(
    ring: &Ring,
    found: &Found,
    options: &StorageOptions,
) -> Result<DirLogs, OpenError> {
    match source(ring, found).await? {
        Source::Ours(generation) => {
            let (logs, dropped) = read_ours(ring, found, generation).await?;
            Ok((generation, logs, dropped, false))
        }
        Source::Scan { clean } => {
            let generation = found.generation().unwrap_or(1);
            if found.is_new() {
                return Ok((generation, Vec::new(), Vec::new(), false));
            }
            let adopted = adopt(ring, &found.path, clean, options.index_interval_bytes).await?;
            for name in &adopted.ignored {
                tracing::warn!(
                    "{}: {name} is no partition and left alone",
                    found.path.display()
                );
            }
            let mut topic_ids = HashMap::new();
            let logs = adopted
                .logs
                .into_iter()
                .map(|log| from_adopted(log, &mut topic_ids))
                .collect();
            Ok((generation, logs, Vec::new(), true))
        }
    }
}

async fn source(ring: &Ring, found: &Found) -> Result<Source, OpenError> {
    let Some(generation) = found.generation().or(found.clean_generation()) else {
        return Ok(Source::Scan { clean: found.clean });
    };
    let name = TableName {
        generation,
        core: 0,
    };
    let table = name.path(&found.path);
    let exists = fs::exists(ring, &table).await;
    Ok(
        match exists.map_err(|e| OpenError::io("look at", table, e))? {
            true => Source::Ours(generation),
            false => Source::Scan { clean: found.clean },
        },
    )
}

async fn read_ours(
    ring: &Ring,
    found: &Found,
    generation: u64,
) -> Result<(Vec<Recovered>, Vec<(PartitionName, LogId)>), OpenError> {
    let meta = found.meta.as_ref();
    let directory = meta.and_then(|m| m.directory_id).unwrap_or_default();
    let journals = found.generation().is_some();
    replay::read(ring, &found.path, generation, directory, journals).await
}

/// A partition of Kafka's, all of it in its segments.
fn from_adopted(log: AdoptedLog, topic_ids: &mut HashMap<String, [u8; 16]>) -> Recovered {
    for repair in &log.repairs {
        tracing::info!("{}: {repair}", log.name);
    }
    let known = log.topic_id;
    let topic_id = *topic_ids
        .entry(log.name.topic.clone())
        .or_insert_with(|| known.unwrap_or_else(dir::new_uuid));
    let active = log.segments.last().expect("a log has a segment");
    let settled = (active.base_offset, active.bytes);
    let mut flags = vec![READY | CLOSED; log.segments.len()];
    *flags.last_mut().expect("as many as segments") = READY;
    Recovered {
        row: Row {
            key: LogKey {
                id: LogId {
                    topic_id,
                    partition: log.name.partition,
                },
                instance: 0,
            },
            topic: log.name.topic,
            log_start_offset: log.log_start_offset,
            log_end_offset: log.log_end_offset,
            settled,
            materialized: true,
            segments_from: i64::MIN,
            segments: log.segments,
            flags,
            epochs: log.epochs,
        },
        runs: Runs::default(),
        without_topic_id: known.is_none(),
        clean: true,
    }
}

fn summary(recovered: &Recovered, dir: usize, adopted: bool) -> LogSummary {
    LogSummary {
        topic: recovered.row.topic.clone(),
        id: recovered.row.key.id,
        dir,
        log_start_offset: recovered.row.log_start_offset,
        log_end_offset: recovered.row.log_end_offset,
        leader_epoch: recovered
            .row
            .epochs
            .latest()
            .map_or(0, |latest| latest.epoch),
        adopted,
    }
}

/// The highest instance of a log wins; a copy in another directory is an earlier life of it.
fn keep_newest(
    logs: &mut BTreeMap<LogId, (LogSummary, Recovered)>,
    summary: LogSummary,
    recovered: Recovered,
) {
    let newer = logs
        .get(&summary.id)
        .is_none_or(|(_, r)| r.row.key.instance < recovered.row.key.instance);
    if newer {
        logs.insert(summary.id, (summary, recovered));
    }
}

impl Opened {
    /// Whose directories these are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Every log found, by topic and partition.
    pub fn logs(&self) -> impl Iterator<Item = &LogSummary> {
        self.logs.iter().map(|(summary, _)| summary)
    }

    /// Gives each log to the core that `place` names; one without a core becomes `-stray` and is kept on disk.
    pub fn divide(
        self,
        cores: usize,
        mut place: impl FnMut(&LogSummary) -> Option<usize>,
    ) -> (Vec<StoreSeed>, Finish) {
        assert!(cores > 0, "there is at least one core");
        let authority = Arc::new(AtomicBool::new(false));
        let mut seeds: Vec<StoreSeed> = (0..cores as u32)
            .map(|core| StoreSeed {
                core,
                cores: cores as u32,
                options: StorageOptions {
                    cores,
                    ..self.options.clone()
                },
                generation: self.generation,
                authority: authority.clone(),
                dirs: self
                    .dirs
                    .iter()
                    .map(|d| SeedDir {
                        data: d.data.clone(),
                        direct: d.direct,
                        logs: Vec::new(),
                    })
                    .collect(),
            })
            .collect();
        let mut strays = Vec::new();
        for (summary, recovered) in self.logs {
            match place(&summary) {
                Some(core) => {
                    assert!(core < cores, "there is no core {core}");
                    seeds[core].dirs[summary.dir].logs.push(recovered);
                }
                None => strays.push((
                    summary.dir,
                    PartitionName {
                        topic: summary.topic,
                        partition: summary.id.partition,
                    },
                )),
            }
        }
        let finish = Finish {
            generation: self.generation,
            cores: cores as u32,
            authority,
            dirs: self.dirs,
            strays,
        };
        (seeds, finish)
    }
}

impl Finish {
    /// Gives the new generation authority, durably; from then on the stores write. Leftovers go in the background.
    pub async fn run(self, ring: &Ring) -> Result<(), OpenError> {
        for dir in &self.dirs {
            dir.data.set_generation(ring, self.generation).await?;
        }
        // Before anything else may create a partition of the same name.
        let files = Files::new(ring, CLEANING_DESCRIPTORS);
        for (dir, name) in &self.strays {
            let data = &self.dirs[*dir].data;
            let path = data.partition_path(name);
            if fs::exists(ring, &path)
                .await
                .map_err(|e| OpenError::io("look at", &path, e))?
            {
                let marked = files.mark_partition(data, name, Mark::Stray).await;
                let marked = marked.map_err(|e| OpenError::io("rename", &path, e))?;
                tracing::warn!(
                    "{} belongs to no known topic; kept as {}",
                    path.display(),
                    marked.display()
                );
            }
        }
        for dir in &self.dirs {
            finish_drops(ring, &files, dir).await?;
        }
        self.authority.store(true, Ordering::Release);
        let (generation, cores) = (self.generation, self.cores);
        let paths: Vec<PathBuf> = self.dirs.iter().map(|d| d.data.path().to_owned()).collect();
        let cleaning = ring.clone();
        ring.spawn_background(async move {
            for path in paths {
                if let Err(cause) =
                    remove_leftovers(&cleaning, &files, &path, generation, cores).await
                {
                    tracing::warn!(
                        "{}: cannot remove files of the former start: {cause}",
                        path.display()
                    );
                }
            }
        });
        Ok(())
    }
}

/// Directories of logs that were dropped just before the process ended.
async fn finish_drops(ring: &Ring, files: &Files, dir: &OpenDir) -> Result<(), OpenError> {
    for (name, id) in &dir.dropped {
        let path = dir.data.partition_path(name);
        let metadata = path.join(dir::PARTITION_METADATA);
        let Ok(bytes) = fs::read(ring, &metadata).await else {
            continue;
        };
        if dir::parse_partition_metadata(&bytes).ok() == Some(id.topic_id) {
            let marked = files.mark_partition(&dir.data, name, Mark::Delete).await;
            marked.map_err(|e| OpenError::io("rename", &path, e))?;
        }
    }
    Ok(())
}

async fn remove_leftovers(
    ring: &Ring,
    files: &Files,
    dir: &Path,
    generation: u64,
    cores: u32,
) -> std::io::Result<()> {
    for entry in fs::list(dir)? {
        let Some(name) = entry.name.to_str() else {
            continue;
        };
        let journal = JournalFileName::parse(name).map(|n| (n.generation, n.core));
        let ours = journal.or_else(|| TableName::parse(name).map(|n| (n.generation, n.core)));
        match ours {
            Some((g, core)) if g != generation || core >= cores => {
                fs::unlink(ring, &dir.join(name)).await?
            }
            Some(_) => {}
            None if entry.is_dir && matches!(dir::classify(name), DirEntryKind::Delete) => {
                files.unlink_later(dir.join(name), Duration::ZERO);
            }
            None => {}
        }
    }
    Ok(())
}
