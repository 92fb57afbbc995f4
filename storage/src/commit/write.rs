//! A unit becomes a journal entry and writes.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::File;

use super::cut::Plan;
use super::encode::{DirectWrite, encode};
use super::units::{Flying, Unit};
use crate::dir;
use crate::files::Access;
use crate::journal::entry::EntryBuilder;
use crate::journal::writer::Place;
use crate::log::Log;
use crate::store::core_dir::{CoreDir, Errand};

/// Between two tries to open a file.
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(20);
/// No more than this waits, written, for a flush that nobody needs yet.
const UNFLUSHED_BYTES_MAX: usize = 8 << 20;

impl CoreDir {
    /// Lays the unit into an entry and starts its writes.
    pub(super) fn send(self: &Rc<Self>, unit: Unit) -> Result<(), Box<Unit>> {
        let plans: Vec<Plan> = unit.touches.iter().map(|t| self.plan(t)).collect();
        let payload =
            unit.controls.items.len() + plans.iter().map(|p| p.payload_max).sum::<usize>();
        let mut entry = EntryBuilder::new(payload);
        entry.encoded(&unit.controls.items, unit.controls.count);
        let mut writes = Vec::new();
        for (touch, plan) in unit.touches.iter().zip(&plans) {
            encode(touch, plan, &mut entry, &mut writes);
        }
        let Ok(place) = self.journal.borrow_mut().place(entry) else {
            return Err(Box::new(unit));
        };
        for (touch, plan) in unit.touches.iter().zip(&plans) {
            self.note_cut(unit.number, touch, plan, &place.file);
        }
        self.note_control(&unit, &place.file);
        let bytes = unit.bytes;
        let when_written = unit.when_written;
        let direct = writes
            .iter()
            .map(|w| (w.log.clone(), w.range.clone()))
            .collect();
        // Through the page cache an error of one write may be told to another that is on its way, so there it is one at a time.
        let durably = writes.is_empty()
            && !when_written
            && self.commit.borrow().goes_durably(unit.number)
            && (self.direct.get() || self.commit.borrow().flying.is_empty());
        let flying = Flying {
            number: unit.number,
            sequence: place.sequence,
            writes_left: Rc::new(Cell::new(1 + writes.len())),
            durably,
            when_written,
            journal: place.file.clone(),
            segments: Rc::default(),
            touches: unit.touches,
            controls: unit.controls.last,
            direct,
        };
        self.start_writes(&flying, place, writes);
        let mut commit = self.commit.borrow_mut();
        assert!(flying.number >= commit.sent, "units go out in order");
        commit.sent = flying.number;
        commit.unflushed_bytes += bytes;
        if commit.unflushed_bytes > UNFLUSHED_BYTES_MAX {
            commit.flush_soon(flying.number);
        }
        commit.flying.push_back(flying);
        Ok(())
    }

    fn start_writes(self: &Rc<Self>, flying: &Flying, place: Place, writes: Vec<DirectWrite>) {
        self.commit.borrow_mut().writes += 1 + writes.len();
        let direct = writes
            .iter()
            .map(|write| write.range.end - write.range.start);
        let direct = direct.sum::<u64>();
        self.counts.change(|counts| {
            counts.journal_bytes += place.bytes.len() as u64;
            counts.direct_bytes += direct;
        });
        let (left, durably) = (flying.writes_left.clone(), flying.durably);
        let dir = self.clone();
        self.ring.spawn(async move {
            let Place {
                file,
                offset,
                bytes,
                ..
            } = place;
            file.prepared_to(offset + bytes.len() as u64).await;
            if dir.is_offline() {
                return;
            }
            let parts = vec![bytes.freeze()];
            if !durably {
                let result = file.file.write_at(parts, offset).await;
                return dir.write_done(&left, result, "write to the journal");
            }
            let written = file.file.write_durably_at(parts, offset);
            let result = dir.files.flushed_by(written).await;
            dir.write_done(&left, result, "write and flush to the journal");
            dir.release_durable();
        });
        for write in writes {
            let left = flying.writes_left.clone();
            let segments = flying.segments.clone();
            let dir = self.clone();
            self.ring.spawn(async move {
                let log = write.log.clone();
                let result = match dir.write_blocks(write, &segments).await {
                    // Its files may be gone already, and nobody waits for it.
                    Err(_) if log.deleted.get() => Ok(()),
                    other => other,
                };
                dir.write_done(&left, result, "write to a segment");
            });
        }
    }

    async fn write_blocks(
        &self,
        write: DirectWrite,
        segments: &RefCell<Vec<(u64, i64, File)>>,
    ) -> io::Result<()> {
        let file = self.segment_file(&write.log, write.segment).await?;
        segments
            .borrow_mut()
            .push((write.log.key.instance, write.segment, file.clone()));
        file.write_at(write.parts, write.position).await
    }

    /// For what cannot go back any more: waits for a descriptor as long as there is none.
    pub(super) async fn segment_file(&self, log: &Log, base: i64) -> io::Result<File> {
        loop {
            let path = log.segment_path(base);
            match self.files.get(&path, Access::Direct).await {
                Err(cause) if dir::lacks_descriptors(&cause) && !self.is_offline() => {
                    self.has_to_wait(Errand::Open, &cause);
                    self.ring.sleep(DESCRIPTOR_RETRY).await;
                }
                file => return file,
            }
        }
    }

    fn write_done(&self, left: &Cell<usize>, result: io::Result<()>, doing: &str) {
        self.commit.borrow_mut().writes -= 1;
        left.set(left.get() - 1);
        if let Err(cause) = result {
            // Not even ENOSPC may happen here: journal files are pre-written, segment blocks set aside.
            self.fail(&cause, doing);
        }
        self.work.notify();
    }
}
