//! Files that Kafka, or we, had not finished with when the process ended.

use std::io;
use std::path::Path;

use millstream_protocol::batch::BatchHeader;
use millstream_ring::{File, Open, Ring, fs};

use crate::dir::{FileKind, parse_file_name, parse_stem};
use crate::files::{Access, DELETED};
use crate::segment::{HeaderScan, SegmentError};

/// Output of the compactor, incomplete.
const CLEANED: &str = ".cleaned";
/// Output of the compactor, complete and about to replace the segments it was made from.
const SWAP: &str = ".swap";
/// Contents of a small file on their way.
const TEMPORARY: &str = ".tmp";

/// Removes temporary files and completes interrupted swaps; says what it did beyond plain removal. Interrupted itself, it does
/// the rest the next time: a swap file keeps its suffix until all that it replaces is gone.
pub(super) async fn clear(ring: &Ring, dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::list(dir)? {
        names.extend(entry.name.into_string().ok().filter(|_| !entry.is_dir));
    }
    let (finished, swaps): (Vec<_>, Vec<_>) = names
        .iter()
        .filter(|name| is_leftover(name))
        .partition(|name| !name.ends_with(SWAP));
    // Kafka splits a segment in two by way of `.cleaned` and `.swap`: while there is one of the former, the latter from its
    // offset on are incomplete too.
    let cleaned = finished.iter().filter(|name| name.ends_with(CLEANED));
    let incomplete_from = cleaned
        .filter_map(|name| stem(name))
        .min()
        .unwrap_or(i64::MAX);
    let (incomplete, swaps): (Vec<_>, Vec<_>) = swaps
        .into_iter()
        .partition(|name| stem(name) >= Some(incomplete_from));
    // `.swap` before `.cleaned`: without the latter the former would look complete.
    let (cleaned, others): (Vec<_>, Vec<_>) =
        finished.into_iter().partition(|n| n.ends_with(CLEANED));
    for name in incomplete.into_iter().chain(cleaned).chain(others) {
        fs::unlink(ring, &dir.join(name)).await?;
    }
    if swaps.is_empty() {
        return Ok(Vec::new());
    }
    let (from, to) = range(ring, dir, &swaps).await?;
    for name in &names {
        let replaced = matches!(parse_file_name(name), Some((offset, kind)) if kind != FileKind::Snapshot && (from..to).contains(&offset));
        if replaced {
            fs::unlink(ring, &dir.join(name)).await?;
        }
    }
    fs::sync_dir(ring, dir).await?;
    let mut done = Vec::new();
    for name in swaps {
        let live = name.trim_end_matches(SWAP);
        fs::rename(ring, &dir.join(name), &dir.join(live)).await?;
        done.push(format!("{live} put in place of what it was compacted from"));
    }
    fs::sync_dir(ring, dir).await?;
    Ok(done)
}

/// The offsets that the swapped segments cover.
async fn range(ring: &Ring, dir: &Path, swaps: &[&String]) -> io::Result<(i64, i64)> {
    let (mut from, mut to) = (i64::MAX, i64::MIN);
    for name in swaps {
        let Some((base, FileKind::Log)) = parse_file_name(name.trim_end_matches(SWAP)) else {
            continue;
        };
        let how = Open {
            read: true,
            ..Open::default()
        };
        let file = File::open(ring, &dir.join(name), how).await?;
        let bytes = file.len().await?;
        let mut scan = HeaderScan::new(file, Access::Buffered, 0, bytes);
        let mut end = base;
        loop {
            match scan.next().await {
                Ok(Some((_, header))) => end = BatchHeader::next_offset(&header),
                Err(SegmentError::Io(error)) => return Err(error),
                // A complete file does not end early. If it does, less is replaced: more is kept.
                Ok(None) | Err(_) => break,
            }
        }
        from = from.min(base);
        to = to.max(end);
    }
    Ok((from, to))
}

/// By its suffix, and named after a segment or a small file being replaced: nobody else's files are touched.
fn is_leftover(name: &str) -> bool {
    let of_segment = [DELETED, CLEANED, SWAP]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    name.ends_with(TEMPORARY) || (of_segment && stem(name).is_some())
}

fn stem(name: &str) -> Option<i64> {
    parse_stem(name.get(..20)?)
}
