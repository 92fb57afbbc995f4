//! What joins the open unit.

use std::rc::Rc;

use super::units::Touch;
use super::{ControlTicket, Ticket};
use crate::journal::entry::LogKey;
use crate::log::{Log, LogState};
use crate::store::core_dir::CoreDir;

impl CoreDir {
    /// Books `[from, end of the tail)` of a log for the next entry.
    pub(crate) fn touch(
        &self,
        log: &Log,
        state: &mut LogState,
        from: u64,
        end_offset: i64,
    ) -> Ticket {
        let to = state.tail.end();
        let bytes = (to - from) as usize;
        let mut commit = self.commit.borrow_mut();
        let unit = commit.room_for(bytes);
        let number = unit.number;
        let when_written = state.config.flush_messages > 1;
        unit.when_written |= when_written;
        let segment = state.active().info.base_offset;
        let (in_unit, index) = state.touch;
        match unit
            .touches
            .get_mut(index)
            .filter(|t| in_unit == number && t.segment == segment)
        {
            Some(touch) => {
                assert_eq!(touch.range.end, from, "a log's appends follow each other");
                touch.range.end = to;
                touch.end_offset = end_offset;
                touch.batches += 1;
            }
            None => {
                let log = log
                    .me
                    .upgrade()
                    .expect("a log that is appended to is alive");
                state.touch = (number, unit.touches.len());
                unit.touches.push(Touch {
                    log,
                    segment,
                    range: from..to,
                    end_offset,
                    batches: 1,
                });
            }
        }
        if end_offset - log.flushed_end_offset.get() >= state.config.flush_messages {
            commit.flush_soon(number);
        } else {
            commit.flush_within(self.ring.now(), state.config.flush_ms);
        }
        drop(commit);
        self.pin(bytes);
        self.work.notify();
        Ticket {
            dir: self.index as u32,
            unit: number,
            when_written,
        }
    }

    /// Whatever was appended so far is flushed as soon as it is written.
    pub(crate) fn flush_soon(&self) {
        let mut commit = self.commit.borrow_mut();
        let newest = commit.newest();
        commit.flush_soon(newest);
        drop(commit);
        self.work.notify();
    }

    /// Puts an encoded control item into the next entry.
    pub(crate) fn control(
        &self,
        item: &[u8],
        noted: Option<Rc<Log>>,
        dropped: Option<LogKey>,
    ) -> ControlTicket {
        let mut commit = self.commit.borrow_mut();
        commit.controls += 1;
        let ticket = commit.controls;
        let unit = commit.room_for(item.len());
        unit.controls.items.extend_from_slice(item);
        unit.controls.count += 1;
        unit.controls.last = ticket;
        unit.controls.noted.extend(noted);
        unit.controls.drops.extend(dropped);
        let number = unit.number;
        commit.flush_soon(number);
        drop(commit);
        self.work.notify();
        ControlTicket(ticket)
    }
}
