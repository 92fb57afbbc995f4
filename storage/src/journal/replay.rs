//! The bounded walk over one core's journal files at start: which entries count, in order.
//!
//! Pure: files come in as bytes, in pieces, and of most entries only the header: it says which entries are needed, and only
//! those are read. A journal ends at the first gap or break in its chain, or entry that is not whole. Writes are pipelined, so later entries may be on the device while an earlier one is not: those were never
//! acknowledged and are dropped with it. What may not happen is that an entry is missing of which a later
//! one says that it was flushed; that is damage, and start says so instead of losing acknowledged records.

use super::entry::{Chain, ENTRY_HEADER, EntryHeader, read_header};

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

impl Walk {
    /// Those that were flushed and must be whole, and those that were on their way when the process ended: a few units.
    pub fn sure_and_unsure(&self) -> (&[Located], &[Located]) {
        let flushed = |e: &Located| e.header.sequence <= self.flushed;
        self.entries.split_at(self.entries.partition_point(flushed))
    }

    /// What is wrong when this entry, which was flushed, is not whole.
    pub fn lacks(&self, entry: &Located) -> Broken {
        Broken::Gap {
            end: entry.header.sequence,
            flushed: self.flushed,
        }
    }
}

/// Leaves out an entry that is not whole, and what follows it in its file, before another [`walk`]. Returns how far these say
/// that all was flushed: see there.
pub(crate) fn leave_out(files: &mut [Vec<Located>], torn: &Located) -> u64 {
    let entries = &mut files[torn.file];
    let before = entries.partition_point(|e| e.at < torn.at);
    let out = entries.drain(before..);
    out.map(|e| e.header.flushed).max().unwrap_or(0)
}

/// The entries of one file by their headers, from its first on, as far as each joins the one before. What the file holds is
/// given piece by piece: it need not be in memory.
pub(crate) struct Scan {
    chain: Chain,
    file: usize,
    len: usize,
    entries: Vec<Located>,
    at: usize,
}

impl Scan {
    /// Of the file with index `file`, which has `len` bytes.
    pub fn new(file: usize, len: usize, chain: Chain) -> Scan {
        Scan {
            chain,
            file,
            len,
            entries: Vec::new(),
            at: 0,
        }
    }

    /// Where the bytes begin that are needed next.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Takes bytes of the file from [`Self::at`] on. Returns whether there may be another entry, behind them.
    pub fn take(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let left = self.len.saturating_sub(self.at);
            if bytes.len() < ENTRY_HEADER {
                return left >= ENTRY_HEADER;
            }
            let Some(header) = read_header(bytes) else {
                return false;
            };
            let is_next = header.chain == self.chain && joins(self.entries.last(), &header);
            if !is_next || header.bytes() > left as u64 {
                return false;
            }
            let (file, at) = (self.file, self.at);
            self.entries.push(Located { file, at, header });
            let len = header.disk_bytes() as usize;
            self.at += len;
            bytes = bytes.get(len..).unwrap_or_default();
        }
    }

    pub fn finish(self) -> Vec<Located> {
        self.entries
    }
}

fn joins(last: Option<&Located>, header: &EntryHeader) -> bool {
    last.is_none_or(|last| {
        Some(header.sequence) == last.header.sequence.checked_add(1)
            && header.previous_crc == last.header.crc
    })
}

/// [`walk`] over files that are in memory.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn walk_bytes(files: &[impl AsRef<[u8]>], chain: Chain) -> Result<Walk, Broken> {
    let scanned = files.iter().enumerate().map(|(file, bytes)| {
        let bytes = bytes.as_ref();
        let mut scan = Scan::new(file, bytes.len(), chain);
        scan.take(bytes);
        scan.finish()
    });
    let mut scanned: Vec<_> = scanned.collect();
    let is_whole = |e: &&Located| {
        let bytes = files[e.file].as_ref().get(e.at..);
        bytes.and_then(super::entry::read_entry).is_some()
    };
    let mut beyond = 0;
    loop {
        let found = walk(&scanned, beyond)?;
        let (sure, unsure) = found.sure_and_unsure();
        if let Some(torn) = sure.iter().find(|e| !is_whole(e)) {
            return Err(found.lacks(torn));
        }
        match unsure.iter().find(|e| !is_whole(e)) {
            Some(torn) => beyond = beyond.max(leave_out(&mut scanned, torn)),
            None => return Ok(found),
        }
    }
}

/// Finds the journal among the entries of its files, which come in any order.
///
/// A file that is being reused begins with newer entries or, if its first write was torn, with none; the
/// chain is therefore tried from each file's first entry, oldest first, and the candidate that reaches
/// furthest among those that begin no later than the entries themselves ask for is the journal. `beyond`: how far all was
/// flushed as entries say that joined none of these.
pub(crate) fn walk(files: &[Vec<Located>], beyond: u64) -> Result<Walk, Broken> {
    let mut firsts: Vec<(u64, usize)> = files
        .iter()
        .enumerate()
        .filter_map(|(file, entries)| Some((entries.first()?.header.sequence, file)))
        .collect();
    firsts.sort_unstable();
    let mut best = Walk::default();
    let mut needed_best = 0;
    let mut flushed_max = beyond;
    let mut orphan = None;
    for index in 0..firsts.len() {
        let entries = follow(files, &firsts[index..]);
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
            end: end.saturating_add(1),
            flushed: flushed_max,
        });
    }
    best.entries.retain(|e| e.header.sequence >= needed_best);
    best.flushed = flushed_max;
    Ok(best)
}

/// Follows the chain through `files` from the first of `order`, until it breaks.
fn follow(files: &[Vec<Located>], order: &[(u64, usize)]) -> Vec<Located> {
    let mut entries: Vec<Located> = Vec::new();
    for &(_, file) in order {
        let next = &files[file];
        if next
            .first()
            .is_none_or(|first| !joins(entries.last(), &first.header))
        {
            break;
        }
        entries.extend_from_slice(next);
    }
    entries
}

#[cfg(test)]
#[path = "replay/tests.rs"]
mod tests;
