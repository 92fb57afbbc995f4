//! What only the former journals held goes into the new one before anything else: one sequential run, the bytes of many
//! logs in one entry.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::core_dir::CoreDir;
use super::event::{Ahead, Local, join_all};
use crate::commit::note_in_file;
use crate::journal::entry::{CARRY_OVERHEAD, EntryBuilder};
use crate::journal::writer::{Journal, JournalFile, Place};
use crate::knobs::UNIT_BYTES_MAX;
use crate::log::Log;

/// Entries that are written at the same time.
const WRITES_AT_ONCE: usize = 8;

/// Writes the logs' dirty bytes into the new journal, and flushes it. What does not fit is settled.
pub(super) async fn carry(dir: &Rc<CoreDir>) -> io::Result<()> {
    let logs: Vec<Rc<Log>> = dir.logs.borrow().values().cloned().collect();
    let mut run = Run::new(dir);
    for log in &logs {
        let Some(range) = log.state.borrow().dirty.front().cloned() else {
            continue;
        };
        if run.is_full() {
            // The last file stays free, for the appends to come.
            dir.settle_log_now(log).await?;
            continue;
        }
        let mut from = range.start;
        while from < range.end {
            let to = range.end.min(from + UNIT_BYTES_MAX as u64);
            run.add(log, from..to).await?;
            from = to;
        }
    }
    run.finish().await
}

/// The new journal's first entries.
struct Run<'a> {
    dir: &'a Rc<CoreDir>,
    /// What the next entry is made of, and how many bytes that is.
    entry: Vec<(Rc<Log>, Range<u64>)>,
    bytes: usize,
    /// On their way.
    writes: Ahead<'a, io::Result<()>>,
    /// Files with entries.
    begun: Vec<Rc<JournalFile>>,
}

impl<'a> Run<'a> {
    fn new(dir: &'a Rc<CoreDir>) -> Self {
        Run {
            dir,
            entry: Vec::new(),
            bytes: 0,
            writes: Ahead::new(),
            begun: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        let files = self.dir.journal.borrow().files();
        files >= self.dir.journal_files_max - 1 && self.begun.len() >= files
    }

    /// Adds bytes of a log, no more than [`UNIT_BYTES_MAX`] and all of one segment.
    async fn add(&mut self, log: &Rc<Log>, range: Range<u64>) -> io::Result<()> {
        let len = (range.end - range.start) as usize + CARRY_OVERHEAD;
        if self.bytes + len > UNIT_BYTES_MAX + CARRY_OVERHEAD {
            self.place().await?;
        }
        self.entry.push((log.clone(), range));
        self.bytes += len;
        Ok(())
    }

    /// Ends the entry.
    async fn place(&mut self) -> io::Result<()> {
        if self.entry.is_empty() {
            return Ok(());
        }
        let logs = std::mem::take(&mut self.entry);
        let mut entry = EntryBuilder::new(std::mem::take(&mut self.bytes));
        for (log, range) in &logs {
            let state = log.state.borrow();
            let segment = state.segment_at(range.start);
            let segment = segment.expect("dirty bytes lie in a segment");
            entry.carry(
                &log.key,
                segment.info.base_offset,
                range.start - segment.start,
                (range.end - range.start) as usize,
                state.tail.slices(range.clone()),
            );
        }
        let place = self.place_entry(entry).await?;
        for (log, range) in &logs {
            note_in_file(log, &mut log.state.borrow_mut(), &place.file, range.end);
        }
        self.write(place).await
    }

    /// Gives an entry its place, in a file more if need be.
    async fn place_entry(&mut self, mut entry: EntryBuilder) -> io::Result<Place> {
        let dir = self.dir;
        loop {
            let placed = dir.journal.borrow_mut().place(entry);
            match placed {
                Ok(place) => {
                    let last = self.begun.last();
                    if last.is_none_or(|last| !Rc::ptr_eq(last, &place.file)) {
                        self.begun.push(place.file.clone());
                    }
                    return Ok(place);
                }
                Err(back) => {
                    entry = back;
                    let (path, chain, bytes) = dir.journal.borrow().parameters();
                    let number = dir.journal.borrow().files() as u32;
                    let direct = dir.direct.get();
                    let file =
                        Journal::create(&dir.ring, &path, chain, number, bytes, direct).await?;
                    dir.journal.borrow_mut().add(file);
                }
            }
        }
    }

    /// Sends it on its way, when not too many are.
    async fn write(&mut self, place: Place) -> io::Result<()> {
        self.writes.push(Box::pin(async move {
            let end = place.offset + place.bytes.len() as u64;
            let parts = vec![place.bytes.freeze()];
            place.file.file.write_at(parts, place.offset).await?;
            // The files are pre-written only as far as a quick start needs, and what goes on with that begins behind this.
            place.file.written_to(end);
            Ok(())
        }));
        match self.writes.len() {
            WRITES_AT_ONCE => self.writes.next().await.unwrap_or(Ok(())),
            _ => Ok(()),
        }
    }

    /// Writes what is left, with a mark behind it, and flushes all.
    async fn finish(mut self) -> io::Result<()> {
        self.place().await?;
        let mark = self.place_entry(EntryBuilder::new(0)).await?;
        let sequence = mark.sequence;
        self.write(mark).await?;
        while let Some(written) = self.writes.next().await {
            written?;
        }
        let flushing = self
            .begun
            .iter()
            .map(|file| Box::pin(file.file.sync_data()) as Local<'_, io::Result<()>>);
        for done in join_all(flushing.collect()).await {
            done?;
        }
        self.dir.journal.borrow_mut().flushed_to(sequence);
        Ok(())
    }
}
