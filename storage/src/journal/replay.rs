//! The bounded walk over one core's journal files at start: which entries count, in order.
//!
//! Pure: files come in as bytes. A journal ends at the first gap or break in its chain. Writes are
//! pipelined, so later entries may be on the device while an earlier one is not: those were never
//! acknowledged and are dropped with it. What may not happen is that an entry is missing of which a later
//! one says that it was flushed; that is damage, and start says so instead of losing acknowledged records.

use super::entry::{Chain, EntryHeader, read_entry};

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub file: usize,
    pub at: usize,
    pub header: EntryHeader,
}

/// The entries that count, in order, and the last mark up to which all of them were flushed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    pub entries: Vec<Located>,
    /// Direct writes of entries up to this sequence need no check.
    pub flushed: u64,
}

/// A journal whose middle is missing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// Entries up to `flushed` were on the device, but the chain ends at `end`.
    #[error("entry {end} of the journal is missing although entries up to {flushed} were flushed")]
    Gap { end: u64, flushed: u64 },
    /// No file holds the entry from which replay must start.
    #[error("the journal begins at entry {start} but is needed from {needed}")]
    Start { start: u64, needed: u64 },
}

/// Walks the files (in any order) that belong to `chain`.
///
/// A file that is being reused begins with newer entries or, if its first write was torn, with none; the
/// chain is therefore tried from each file's first entry, oldest first, and the candidate that reaches
/// furthest among those that begin no later than the entries themselves ask for is the journal.
pub(crate) fn walk(files: &[impl AsRef<[u8]>], chain: Chain) -> Result<Walk, Broken> {
    let mut firsts: Vec<(u64, usize)> = files
        .iter()
        .enumerate()
        .filter_map(|(file, bytes)| {
            let (header, _) = read_entry(bytes.as_ref())?;
            (header.chain == chain).then_some((header.sequence, file))
        })
        .collect();
    firsts.sort_unstable();
    let mut best = Walk::default();
    let mut needed_best = 0;
    let mut flushed_max = 0;
    let mut orphan = None;
    for index in 0..firsts.len() {
        let entries = follow(files, &firsts[index..], chain);
        flushed_max = entries
            .iter()
            .map(|e| e.header.flushed)
            .max()
            .unwrap_or(0)
            .max(flushed_max);
        let start = firsts[index].0;
        let needed = entries
            .iter()
            .map(|e| e.header.replay_from)
            .max()
            .unwrap_or(0);
        if needed < start {
            orphan = orphan.or(Some((start, needed)));
            continue;
        }
        let end = entries.last().map_or(0, |e| e.header.sequence);
        if best.entries.last().is_none_or(|b| b.header.sequence < end) {
            best = Walk {
                flushed: 0,
                entries,
            };
            needed_best = needed;
        }
    }
    let end = best.entries.last().map_or(0, |e| e.header.sequence);
    if best.entries.is_empty()
        && let Some((start, needed)) = orphan
    {
        return Err(Broken::Start { start, needed });
    }
    if flushed_max > end {
        return Err(Broken::Gap {
            end: end + 1,
            flushed: flushed_max,
        });
    }
    best.entries.retain(|e| e.header.sequence >= needed_best);
    best.flushed = flushed_max;
    Ok(best)
}

/// Follows the chain through `files` from the first of `order`, until it breaks.
fn follow(files: &[impl AsRef<[u8]>], order: &[(u64, usize)], chain: Chain) -> Vec<Located> {
    let mut entries: Vec<Located> = Vec::new();
    for &(first, file) in order {
        if entries
            .last()
            .is_some_and(|last| last.header.sequence + 1 != first)
        {
            break;
        }
        let bytes = files[file].as_ref();
        let mut at = 0;
        while let Some((header, _)) = bytes.get(at..).and_then(read_entry) {
            let joins = entries.last().is_none_or(|last| {
                header.sequence == last.header.sequence + 1
                    && header.previous_crc == last.header.crc
            });
            if header.chain != chain || !joins {
                break;
            }
            entries.push(Located { file, at, header });
            at += header.disk_bytes() as usize;
        }
    }
    entries
}

#[cfg(test)]
#[path = "replay/tests.rs"]
mod tests;
