//! The bounded walk over one core's journal files at start: which entries count, in order.
//!
//! Pure: files come in as bytes, in pieces. Of the newest file all entries are looked at by their headers, which say from which
//! entry on the journal is needed and how far it was flushed. Files before that are whole: their first header gives their
//! place, and they are read once, from one end to the other. A journal ends at the first gap or break in its chain, or entry that is not whole. Writes are pipelined, so later entries may be on the device while an earlier one is not: those were never
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

/// What is known of a file without having read all of it.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Its entries, as far as each joins the one before.
    pub entries: Vec<Located>,
    /// The first of them is all that is known.
    pub first_only: bool,
}

/// The entries that count, in order, and the last mark up to which all of them were flushed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Files whose entries come before `entries`, in order: each goes on where the one before ends, and all was flushed.
    pub whole: Vec<usize>,
    /// The first entry that is needed of those.
    pub needed: u64,
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

    /// What is wrong when this entry, which was flushed, is missing or not whole.
    pub fn lacks(&self, sequence: u64) -> Broken {
        Broken::Gap {
            end: sequence,
            flushed: self.flushed,
        }
    }
}

/// The file that has to be looked at before a [`walk`], if there is one: the newest, and those before it whose entries may not
/// all have been flushed. `flushed`: how far all was, as the entries say that are known.
pub(crate) fn next_look(files: &[Look], flushed: u64) -> Option<usize> {
    let firsts = in_order(files);
    let unknown = unknown(files, &firsts);
    let is_sure = |&(first, _): &(u64, usize)| first <= flushed.saturating_add(1);
    match firsts.get(unknown) {
        Some(known) if is_sure(known) => None,
        _ => firsts[..unknown].last().map(|&(_, file)| file),
    }
}

/// The files with entries by their first one's sequence.
fn in_order(files: &[Look]) -> Vec<(u64, usize)> {
    let first = |look: &Look| look.entries.first().map(|first| first.header.sequence);
    let files = files.iter().enumerate();
    let mut firsts: Vec<_> = files
        .filter_map(|(file, look)| Some((first(look)?, file)))
        .collect();
    firsts.sort_unstable();
    firsts
}

/// How many of `firsts` come before all files that were looked at.
fn unknown(files: &[Look], firsts: &[(u64, usize)]) -> usize {
    firsts.partition_point(|&(_, file)| files[file].first_only)
}

/// Leaves out an entry that is not whole, and what follows it in its file, before another [`walk`]. Returns how far these say
/// that all was flushed: see there.
pub(crate) fn leave_out(files: &mut [Look], torn: &Located) -> u64 {
    let entries = &mut files[torn.file].entries;
    let before = entries.partition_point(|e| e.at < torn.at);
    let out = entries.drain(before..);
    out.map(|e| e.header.flushed).max().unwrap_or(0)
}

/// The entries of one file by their headers, from its first on, as far as each joins the one before. What the file holds is
/// given piece by piece: it need not be in memory.
pub(crate) struct Scan {
    joint: Joint,
    file: usize,
    len: usize,
    entries: Vec<Located>,
    at: usize,
}

impl Scan {
    /// Of the file with index `file`, which has `len` bytes.
    pub fn new(file: usize, len: usize, chain: Chain) -> Scan {
        Scan {
            joint: Joint::new(chain),
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
            let Some(header) = self.joint.next(bytes, left) else {
                return false;
            };
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

/// Where a chain has arrived: what may come next.
pub(crate) struct Joint {
    chain: Chain,
    last: Option<EntryHeader>,
}

impl Joint {
    pub fn new(chain: Chain) -> Joint {
        Joint { chain, last: None }
    }

    /// The header at the beginning of `bytes`, if it goes on with the chain and its entry fits into what is `left` of its file.
    pub fn next(&mut self, bytes: &[u8], left: usize) -> Option<EntryHeader> {
        let header = read_header(bytes)?;
        let is_next = header.chain == self.chain && joins(self.last.as_ref(), &header);
        if !is_next || header.bytes() > left as u64 {
            return None;
        }
        self.last = Some(header);
        Some(header)
    }

    /// What the next entry would be; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.last.map_or(0, |last| last.sequence.saturating_add(1))
    }

    /// Whether `next` goes on with the chain.
    pub fn reaches(&self, next: &Located) -> bool {
        joins(self.last.as_ref(), &next.header)
    }
}

fn joins(last: Option<&EntryHeader>, header: &EntryHeader) -> bool {
    last.is_none_or(|last| {
        Some(header.sequence) == last.sequence.checked_add(1) && header.previous_crc == last.crc
    })
}

/// A start's way through files that are in memory; all entries that count are given.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn walk_bytes(files: &[impl AsRef<[u8]>], chain: Chain) -> Result<Walk, Broken> {
    let scan = |file: usize| {
        let bytes = files[file].as_ref();
        let mut scan = Scan::new(file, bytes.len(), chain);
        scan.take(bytes);
        scan.finish()
    };
    let first = |file| Look {
        entries: scan(file).into_iter().take(1).collect(),
        first_only: true,
    };
    let mut looks: Vec<Look> = (0..files.len()).map(first).collect();
    let is_whole = |e: &&Located| {
        let bytes = files[e.file].as_ref().get(e.at..);
        bytes.and_then(super::entry::read_entry).is_some()
    };
    let (mut flushed, mut beyond) = (0, 0);
    let mut found = loop {
        while let Some(file) = next_look(&looks, flushed) {
            let entries = scan(file);
            let says = entries.iter().map(|e| e.header.flushed);
            flushed = says.max().unwrap_or(0).max(flushed);
            looks[file] = Look {
                entries,
                first_only: false,
            };
        }
        let found = walk(&looks, beyond)?;
        let (sure, unsure) = found.sure_and_unsure();
        if let Some(torn) = sure.iter().find(|e| !is_whole(e)) {
            return Err(found.lacks(torn.header.sequence));
        }
        match unsure.iter().find(|e| !is_whole(e)) {
            Some(torn) => beyond = beyond.max(leave_out(&mut looks, torn)),
            None => break found,
        }
    };
    let mut joint = Joint::new(chain);
    let mut entries = Vec::new();
    for &file in &found.whole {
        let bytes = files[file].as_ref();
        let mut at = 0;
        while let Some(header) = joint.next(&bytes[at..], bytes.len() - at) {
            entries.push(Located { file, at, header });
            at = (at + header.disk_bytes() as usize).min(bytes.len());
        }
    }
    if let Some(torn) = entries.iter().find(|e| !is_whole(e)) {
        return Err(found.lacks(torn.header.sequence));
    }
    if !found.entries.first().is_none_or(|next| joint.reaches(next)) {
        return Err(found.lacks(joint.sequence()));
    }
    entries.retain(|e| e.header.sequence >= found.needed);
    entries.append(&mut found.entries);
    Ok(Walk {
        entries,
        whole: Vec::new(),
        ..found
    })
}

/// Finds the journal among the entries of its files, which come in any order.
///
/// A file that is being reused begins with newer entries or, if its first write was torn, with none; the
/// chain is therefore tried from each file's first entry, oldest first, and the candidate that reaches
/// furthest among those that begin no later than the entries themselves ask for is the journal. The first candidate may ask for
/// files of which only the first entry is known. `beyond`: how far all was
/// flushed as entries say that joined none of these.
pub(crate) fn walk(files: &[Look], beyond: u64) -> Result<Walk, Broken> {
    let firsts = in_order(files);
    let unknown = unknown(files, &firsts);
    let mut best = Walk::default();
    let mut flushed_max = beyond;
    let mut orphan = None;
    for index in unknown..firsts.len() {
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
        let older = if index == unknown {
            &firsts[..index]
        } else {
            &[]
        };
        let Some(whole) = files_from(older, needed, start) else {
            orphan = orphan.or(Some((start, needed)));
            continue;
        };
        let end = entries.last().map_or(0, |e| e.header.sequence);
        if best.entries.last().is_none_or(|b| b.header.sequence < end) {
            best = Walk {
                whole,
                needed,
                entries,
                flushed: 0,
            };
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
    let needed = best.needed;
    best.entries.retain(|e| e.header.sequence >= needed);
    best.flushed = flushed_max;
    Ok(best)
}

/// Which of the `older` files hold what is needed before `start`; `None` when none does.
fn files_from(older: &[(u64, usize)], needed: u64, start: u64) -> Option<Vec<usize>> {
    if needed >= start {
        return Some(Vec::new());
    }
    let from = older.partition_point(|&(first, _)| first <= needed);
    let from = from.checked_sub(1)?;
    Some(older[from..].iter().map(|&(_, file)| file).collect())
}

/// Follows the chain through `files` from the first of `order`, until it breaks.
fn follow(files: &[Look], order: &[(u64, usize)]) -> Vec<Located> {
    let mut entries: Vec<Located> = Vec::new();
    for &(_, file) in order {
        let next = &files[file].entries;
        let last = entries.last().map(|last| last.header);
        if next
            .first()
            .is_none_or(|first| !joins(last.as_ref(), &first.header))
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
