//! Scrubbing: reading what does not change any more, before somebody needs it.
//!
//! A sealed segment is held against its checksums, its neighbours, the log's epochs, its length in the log table, and its
//! indexes against it. Bytes come from the device, past the page cache, which would say what was written and not what is there.

mod background;
mod index;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_ring::{File, Open, Ring, fs};

use crate::dir::{self, DirEntryKind, FileKind, Found, classify, file_name, parse_file_name};
use crate::epochs::Epochs;
use crate::error::OpenError;
use crate::files::Access;
use crate::recovery::read_logs;
use crate::segment::index::BatchSpan;
use crate::segment::survey::{Bounds, Damage, InFile, Stretch, Survey};
use crate::table::CLOSED;

/// Between two reports of progress.
const REPORT_BYTES: u64 = 64 << 20;

/// Something that is not as it was written.
#[derive(Debug)]
pub struct Finding {
    /// `topic-partition`.
    pub partition: String,
    /// Which file of it.
    pub path: PathBuf,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Problem {
    /// Records that cannot be read.
    Damage(Damage),
    /// More bytes than were written.
    Longer {
        /// Bytes that were written.
        written: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// An index that misleads. It costs time only: it is rebuilt, or passed over.
    Index(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.partition, self.path.display())?;
        match &self.problem {
            Problem::Damage(damage) => damage.fmt(f),
            Problem::Longer { written, found } => {
                write!(f, "{found} bytes where {written} were written")
            }
            Problem::Index(what) => f.write_str(what),
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Segments read.
    pub segments: u64,
    /// Bytes of batches in them.
    pub bytes: u64,
    /// What was found.
    pub findings: u64,
}

/// What happens while a directory is scrubbed.
pub enum Scrubbing<'a> {
    /// So many of all bytes are read.
    Progress {
        /// Read.
        bytes: u64,
        /// Of all sealed segments.
        of: u64,
    },
    /// Something is wrong.
    Finding(&'a Finding),
}

/// A segment that nobody writes to.
struct Sealed<'a> {
    partition: String,
    dir: PathBuf,
    base_offset: i64,
    bounds: Bounds,
    epochs: &'a Epochs,
}

/// Reads all sealed segments of a data directory that no process uses, ours or Kafka's. Changes nothing. After a crash the
/// segments that were still being written are left out: what they must contain is in the journal, and for the start to say.
///
/// # Errors
/// The directory is in use or cannot be read, or its log table or journal is damaged.
pub async fn scrub(
    ring: &Ring,
    path: &Path,
    lock_wait: Duration,
    tell: &mut dyn FnMut(Scrubbing<'_>),
) -> Result<Scrubbed, OpenError> {
    let looked = fs::exists(ring, &path.join(dir::META_PROPERTIES)).await;
    if !looked.map_err(|cause| OpenError::io("look at", path, cause))? {
        let text = format!(
            "{}: no data directory, it has no meta.properties",
            path.display()
        );
        return Err(OpenError::Options(text));
    }
    let found = dir::inspect(ring, path, lock_wait).await?;
    let logs = read_logs(ring, &found).await?;
    let none = Epochs::default();
    let sealed = match &logs {
        Some(logs) => {
            let clean = found.generation().is_none();
            logs.iter()
                .flat_map(|log| sealed_of(path, log, clean))
                .collect()
        }
        None => {
            let sealed = sealed_of_kafka(&found, &none).await;
            sealed.map_err(|cause| OpenError::io("list", path, cause))?
        }
    };
    let of = sealed.iter().map(|sealed| sealed.bounds.bytes).sum();
    let mut done = Scrubbed::default();
    let mut reported = 0;
    for sealed in &sealed {
        let problems = sealed.scrub(ring).await;
        let log = sealed.file(FileKind::Log);
        for (path, problem) in problems.map_err(|cause| OpenError::io("read", &log, cause))? {
            done.findings += 1;
            tell(Scrubbing::Finding(&Finding {
                partition: sealed.partition.clone(),
                path,
                problem,
            }));
        }
        done.segments += 1;
        done.bytes += sealed.bounds.bytes;
        if done.bytes >= reported + REPORT_BYTES {
            reported = done.bytes;
            let bytes = done.bytes;
            tell(Scrubbing::Progress { bytes, of });
        }
    }
    Ok(done)
}

/// The segments of one of our logs that are closed; all where the stop was clean.
fn sealed_of<'a>(data: &Path, log: &'a crate::recovery::Recovered, clean: bool) -> Vec<Sealed<'a>> {
    let row = &log.row;
    let partition = format!("{}-{}", row.topic, row.key.id.partition);
    let closed = row.segments.iter().zip(&row.flags);
    let closed = closed.filter(|(info, flags)| info.bytes > 0 && (clean || **flags & CLOSED != 0));
    closed
        .map(|(info, _)| Sealed {
            dir: data.join(&partition),
            partition: partition.clone(),
            base_offset: info.base_offset,
            bounds: Bounds {
                bytes: info.bytes,
                offsets: info.base_offset..info.end_offset,
            },
            epochs: &row.epochs,
        })
        .collect()
}

/// The segments in a directory that Kafka used last, by their names and lengths. After a crash its newest ones may be torn: they
/// are cut at the next start.
async fn sealed_of_kafka<'a>(found: &Found, none: &'a Epochs) -> io::Result<Vec<Sealed<'a>>> {
    let mut sealed = Vec::new();
    for entry in fs::list(&found.path)? {
        let name = entry.name.to_string_lossy().into_owned();
        let DirEntryKind::Partition(_) = classify(&name) else {
            continue;
        };
        let dir = found.path.join(&name);
        let files = fs::list(&dir)?;
        let parsed = files.iter().filter_map(|file| file.name.to_str());
        let parsed = parsed.filter_map(parse_file_name);
        let logs = parsed.filter(|(_, kind)| *kind == FileKind::Log);
        let mut bases: Vec<i64> = logs.map(|(base, _)| base).collect();
        bases.sort_unstable();
        for (at, &base) in bases.iter().enumerate() {
            let next = bases.get(at + 1).copied();
            if next.is_none() && !found.clean {
                break;
            }
            let path = dir.join(file_name(base, FileKind::Log));
            let (bytes, _) = fs::size_and_modified(&path)?;
            sealed.push(Sealed {
                partition: name.clone(),
                dir: dir.clone(),
                base_offset: base,
                bounds: Bounds {
                    bytes,
                    offsets: base..next.unwrap_or(i64::MAX),
                },
                epochs: none,
            });
        }
    }
    Ok(sealed)
}

impl Sealed<'_> {
    fn file(&self, kind: FileKind) -> PathBuf {
        self.dir.join(file_name(self.base_offset, kind))
    }

    async fn scrub(&self, ring: &Ring) -> io::Result<Vec<(PathBuf, Problem)>> {
        let path = self.file(FileKind::Log);
        let (file, access) = open_past_cache(ring, &path).await?;
        let len = file.len().await?;
        let mut problems = Vec::new();
        if len > self.bounds.bytes {
            let problem = Problem::Longer {
                written: self.bounds.bytes,
                found: len,
            };
            problems.push((path.clone(), problem));
        }
        let mut survey = Survey::new(InFile { file, access }, self.bounds.clone(), self.epochs);
        let (mut spans, mut damages) = (Vec::new(), Vec::new());
        while let Some(stretch) = survey.next().await? {
            match stretch {
                Stretch::Batch(at, header) => spans.push(BatchSpan::new(at, &header)),
                Stretch::Damage(damage) => damages.push(damage),
            }
        }
        let wrong = [
            (
                FileKind::Index,
                index::offsets as fn(&index::Segment<'_>, &[u8]) -> Option<String>,
            ),
            (FileKind::TimeIndex, index::times),
        ];
        let segment = index::Segment {
            base_offset: self.base_offset,
            bounds: &self.bounds,
            spans: &spans,
            damages: &damages,
        };
        for (kind, check) in wrong {
            let path = self.file(kind);
            let problem = match fs::read(ring, &path).await {
                Ok(bytes) => check(&segment, &bytes),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Some("it is missing".to_owned()),
                Err(e) => return Err(e),
            };
            problems.extend(problem.map(|what| (path, Problem::Index(what))));
        }
        let damages = damages.into_iter().map(Problem::Damage);
        problems.extend(damages.map(|problem| (path.clone(), problem)));
        Ok(problems)
    }
}

/// With direct I/O where the file system has it.
pub(crate) async fn open_past_cache(ring: &Ring, path: &Path) -> io::Result<(File, Access)> {
    let how = |direct| Open {
        read: true,
        direct,
        ..Open::default()
    };
    if fs::direct_io(ring, path).await?.is_some()
        && let Ok(file) = File::open(ring, path, how(true)).await
    {
        return Ok((file, Access::Direct));
    }
    Ok((File::open(ring, path, how(false)).await?, Access::Buffered))
}
