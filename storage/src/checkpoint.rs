//! Kafka's small text files, replaced atomically: version `0`, a count, one entry per line.
//!
//! `recovery-point-`, `log-start-` and `replication-offset-checkpoint` stand in the data directory,
//! `leader-epoch-checkpoint` in each partition (Kafka's `CheckpointFile`). An empty file counts as no entries:
//! Kafka itself leaves these at zero bytes until it first has something to say.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use millstream_ring::{Ring, fs};

use crate::dir::PartitionName;
use crate::epochs::Epochs;

/// The name of the file that [`read_epochs`] reads.
pub const EPOCHS: &str = "leader-epoch-checkpoint";

/// What is wrong with a checkpoint file.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file was read but makes no sense.
    #[error("{}: {cause}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        cause: Box<CheckpointError>,
    },
    /// Bytes that are not text.
    #[error("not a text file")]
    NotText,
    /// A version that nobody knows.
    #[error("version {found:?} where 0 is expected")]
    Version {
        /// The first line.
        found: String,
    },
    /// The second line is not the number of lines after it.
    #[error("{counted} entries where line 2 says {declared:?}")]
    Count {
        /// Line 2.
        declared: String,
        /// Lines after it.
        counted: usize,
    },
    /// One line is not an entry.
    #[error("line {number} is not a valid entry")]
    Line {
        /// Counted from 1.
        number: usize,
    },
    /// One line contradicts the one before it.
    #[error("line {number} is out of order")]
    Order {
        /// Counted from 1.
        number: usize,
    },
}

/// The files of a data directory that hold one offset per partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetFile {
    /// Up to where each log was flushed; above it an unclean Kafka directory must be verified.
    RecoveryPoint,
    /// Where each log starts, if that is above its first segment's base offset.
    LogStart,
    /// High watermarks.
    Replication,
}

impl OffsetFile {
    /// The file's name, as Kafka has it.
    pub fn name(self) -> &'static str {
        match self {
            OffsetFile::RecoveryPoint => "recovery-point-offset-checkpoint",
            OffsetFile::LogStart => "log-start-offset-checkpoint",
            OffsetFile::Replication => "replication-offset-checkpoint",
        }
    }
}

/// One line of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    /// Which partition.
    pub name: PartitionName,
    /// Its offset, never negative.
    pub offset: i64,
}

/// Reads one of a data directory's offset files; a missing one has no entries.
pub async fn read_offsets(
    ring: &Ring,
    dir: &Path,
    file: OffsetFile,
) -> Result<HashMap<PartitionName, i64>, CheckpointError> {
    let path = dir.join(file.name());
    let rows = match read(ring, &path).await? {
        Some(bytes) => parse_offsets(&bytes).map_err(|cause| corrupt(path, cause))?,
        None => Vec::new(),
    };
    Ok(rows.into_iter().map(|row| (row.name, row.offset)).collect())
}

/// Replaces one of a data directory's offset files, durably.
pub async fn write_offsets(
    ring: &Ring,
    dir: &Path,
    file: OffsetFile,
    rows: &[PartitionOffset],
) -> io::Result<()> {
    fs::write_durably(ring, &dir.join(file.name()), &encode_offsets(rows)).await
}

/// Reads a partition's leader epochs; a missing file has none.
pub async fn read_epochs(ring: &Ring, partition_dir: &Path) -> Result<Epochs, CheckpointError> {
    let path = partition_dir.join(EPOCHS);
    match read(ring, &path).await? {
        Some(bytes) => Epochs::parse(&bytes).map_err(|cause| corrupt(path, cause)),
        None => Ok(Epochs::default()),
    }
}

/// Replaces a partition's leader epochs, durably.
pub async fn write_epochs(ring: &Ring, partition_dir: &Path, epochs: &Epochs) -> io::Result<()> {
    fs::write_durably(ring, &partition_dir.join(EPOCHS), &epochs.encode()).await
}

/// The entries of an offset file: `<topic> <partition> <offset>` each.
pub fn parse_offsets(bytes: &[u8]) -> Result<Vec<PartitionOffset>, CheckpointError> {
    parse_lines(bytes)?
        .into_iter()
        .map(|(number, line)| parse_row(line).ok_or(CheckpointError::Line { number }))
        .collect()
}

/// The bytes of an offset file.
pub fn encode_offsets(rows: &[PartitionOffset]) -> Vec<u8> {
    let mut text = format!("0\n{}\n", rows.len());
    for PartitionOffset { name, offset } in rows {
        text.push_str(&format!("{} {} {offset}\n", name.topic, name.partition));
    }
    text.into_bytes()
}

/// The entry lines of a checkpoint file with their numbers in the file, after version and count were checked.
pub(crate) fn parse_lines(bytes: &[u8]) -> Result<Vec<(usize, &str)>, CheckpointError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| CheckpointError::NotText)?;
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version != "0" {
        let found = version.chars().take(40).collect();
        return Err(CheckpointError::Version { found });
    }
    let declared = lines.next().unwrap_or_default();
    let entries: Vec<_> = lines.enumerate().map(|(i, line)| (i + 3, line)).collect();
    // Every line ends in a newline: a cut in the middle of the last number would go unnoticed otherwise.
    if declared.parse() != Ok(entries.len()) || !text.ends_with('\n') {
        return Err(CheckpointError::Count {
            declared: declared.chars().take(40).collect(),
            counted: entries.len(),
        });
    }
    Ok(entries)
}

fn parse_row(line: &str) -> Option<PartitionOffset> {
    let mut words = line.split(' ');
    let topic = words.next().filter(|topic| !topic.is_empty())?;
    let partition: i32 = words.next()?.parse().ok()?;
    let offset: i64 = words.next()?.parse().ok()?;
    (words.next().is_none() && partition >= 0 && offset >= 0).then(|| PartitionOffset {
        name: PartitionName {
            topic: topic.to_owned(),
            partition,
        },
        offset,
    })
}

async fn read(ring: &Ring, path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    match fs::read(ring, path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(CheckpointError::Io {
            path: path.to_owned(),
            cause,
        }),
    }
}

fn corrupt(path: PathBuf, cause: CheckpointError) -> CheckpointError {
    CheckpointError::Corrupt {
        path,
        cause: Box::new(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: &[u8] =
        include_bytes!("../tests/fixtures/kafka-4.3.1/clean/recovery-point-offset-checkpoint");

    #[test]
    fn kafkas_file_is_read_and_written_the_same() {
        let rows = parse_offsets(KAFKAS).unwrap();
        assert!(
            rows.iter()
                .any(|r| r.name.topic == "payments" && r.offset == 49)
        );
        assert_eq!(encode_offsets(&rows), KAFKAS);
    }

    #[test]
    fn no_bytes_are_no_entries() {
        assert_eq!(parse_offsets(b"").unwrap(), []);
        assert_eq!(parse_offsets(b"0\n0\n").unwrap(), []);
    }

    #[test]
    fn every_truncation_is_noticed() {
        for len in 1..KAFKAS.len() {
            assert!(parse_offsets(&KAFKAS[..len]).is_err(), "cut to {len} bytes");
        }
    }

    #[test]
    fn every_flipped_bit_is_read_without_panic() {
        let mut refused = 0;
        for bit in 0..KAFKAS.len() * 8 {
            let mut bytes = KAFKAS.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(parse_offsets(&bytes).is_err());
        }
        // A digit can become another digit, a letter another letter: the format has no checksum.
        assert!(refused > KAFKAS.len() * 2, "{refused} refused");
    }

    #[test]
    fn corrupt_lines_are_refused() {
        for line in [
            "a 0",
            "a 0 0 0",
            "a -1 0",
            "a 0 -1",
            " 0 0",
            "a 0 x",
            "a 99999999999 0",
            "",
        ] {
            let text = format!("0\n1\n{line}\n");
            assert!(parse_offsets(text.as_bytes()).is_err(), "{line:?}");
        }
        assert!(parse_offsets(b"0\n99999999999999999999\n").is_err());
        assert!(parse_offsets(b"\xff\n0\n").is_err());
    }
}
