//! What whoever reads a log from end to end will ask for next, read before it asks.
//!
//! Where a read ended is remembered: the next one that begins there needs no index. When one did, the bytes behind it are read at
//! once, while those before them travel. What stands below the flushed end of a segment does not change, so they stay true; they
//! are checked when they are given, like all others.
//!
//! What was given stays for as long as there is room: readers that begin at the same offset and ask for as much, like groups that
//! read a topic again, find it there. Who finds it is faster than who waits for the device, so they draw level and stay so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::Log;
use super::read::{BEHIND, Window};
use crate::error::ReadError;
use crate::journal::entry::LogKey;
use crate::store::event::Event;

/// More is not read ahead for one reader at a time, in bytes: Kafka's default of `max.partition.fetch.bytes`.
const BYTES_MAX: u64 = (1 << 20) + BEHIND;
/// Readers whose places are remembered.
const PLACES_MAX: usize = 1024;

/// Where readers will go on, of all logs of a core.
pub(crate) struct ReadAhead {
    /// Where nobody went on yet, oldest first.
    ahead: RefCell<VecDeque<Place>>,
    /// Where somebody did, and others may, oldest first. These make room first.
    passed: RefCell<VecDeque<Place>>,
    bytes: Cell<usize>,
    bytes_max: usize,
}

/// A place where a read ended, and a batch begins.
#[derive(Clone)]
pub(super) struct Place {
    log: LogKey,
    /// Of the batch, as it follows from the one before.
    pub offset: i64,
    /// Of its segment.
    pub base: i64,
    /// In its file.
    pub position: u64,
    bytes: usize,
    reading: Option<Rc<Reading>>,
}

/// A window on its way, or there.
#[derive(Default)]
struct Reading {
    window: RefCell<Option<Result<Window, ReadError>>>,
    is_there: Event,
}

impl ReadAhead {
    /// Holds no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> ReadAhead {
        ReadAhead {
            ahead: RefCell::default(),
            passed: RefCell::default(),
            bytes: Cell::new(0),
            bytes_max,
        }
    }

    fn put(&self, place: Place) {
        let (mut ahead, mut passed) = (self.ahead.borrow_mut(), self.passed.borrow_mut());
        self.bytes.set(self.bytes.get() + place.bytes);
        ahead.push_back(place);
        while ahead.len() + passed.len() > PLACES_MAX || self.bytes.get() > self.bytes_max {
            let Some(oldest) = passed.pop_front().or_else(|| ahead.pop_front()) else {
                break;
            };
            self.bytes.set(self.bytes.get() - oldest.bytes);
        }
    }

    /// The place of a reader that goes on at `offset` of `log`.
    fn pass(&self, log: LogKey, offset: i64) -> Option<Place> {
        let (mut ahead, mut passed) = (self.ahead.borrow_mut(), self.passed.borrow_mut());
        let is_it = |place: &Place| place.log == log && place.offset == offset;
        if let Some(place) = ahead.iter().position(is_it).and_then(|at| ahead.remove(at)) {
            passed.push_back(place);
            return passed.back().cloned();
        }
        passed.iter().find(|place| is_it(place)).cloned()
    }

    /// What is at this place is read, or was.
    fn has_read(&self, log: LogKey, offset: i64) -> bool {
        let (ahead, passed) = (self.ahead.borrow(), self.passed.borrow());
        let has_read =
            |place: &Place| place.log == log && place.offset == offset && place.reading.is_some();
        ahead.iter().any(has_read) || passed.iter().any(has_read)
    }
}

impl Place {
    /// What was read ahead there, if it was, and could be.
    pub async fn window(&self) -> Option<Window> {
        let reading = self.reading.as_ref()?;
        loop {
            let seen = reading.is_there.count();
            if let Some(window) = reading.window.borrow().as_ref() {
                return window.as_ref().ok().cloned();
            }
            reading.is_there.changed_since(seen).await;
        }
    }
}

impl Log {
    /// The place where a reader that is at `offset` now stopped before.
    pub(super) fn place_at(&self, offset: i64) -> Option<Place> {
        self.dir.read_ahead.pass(self.key, offset)
    }

    /// A read of up to `wanted` bytes ended before the batch with `offset`, which is at `position` if the segment has it. With
    /// `ahead` what follows is read.
    pub(super) fn remember_place(
        &self,
        base: i64,
        position: u64,
        offset: i64,
        wanted: u64,
        ahead: bool,
    ) {
        let read_ahead = &self.dir.read_ahead;
        let wanted = wanted.min(BYTES_MAX);
        let Some((base, position, len)) = self.in_files(base, position, offset, wanted) else {
            return;
        };
        if read_ahead.has_read(self.key, offset) {
            return;
        }
        let mut place = Place {
            log: self.key,
            offset,
            base,
            position,
            bytes: 0,
            reading: None,
        };
        if let Some(log) = self.me.upgrade().filter(|_| ahead) {
            let reading = Rc::new(Reading::default());
            place.bytes = len as usize;
            place.reading = Some(reading.clone());
            self.dir.spawn(false, async move {
                let window = log.window(base, position, len).await;
                reading.window.replace(Some(window));
                reading.is_there.notify();
            });
        }
        read_ahead.put(place);
    }

    /// Segment, position and bytes of what follows, at most `wanted`, as far as it is on the device and not in memory too, where
    /// it is found at once.
    fn in_files(
        &self,
        base: i64,
        position: u64,
        offset: i64,
        wanted: u64,
    ) -> Option<(i64, u64, u64)> {
        let state = self.state.borrow();
        let segment = state.segment(base)?;
        let (base, position) = match segment.start + position < segment.end() {
            true => (base, position),
            false => (offset, 0),
        };
        let segment = state.segment(base)?;
        let end = segment.end().min(state.flushed).min(state.tail.start());
        let len = end.saturating_sub(segment.start + position).min(wanted);
        (len > 0).then_some((base, position, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogId;

    fn place(partition: i32, offset: i64, bytes: usize) -> Place {
        let id = LogId {
            topic_id: [1; 16],
            partition,
        };
        Place {
            log: LogKey { id, instance: 1 },
            offset,
            base: 0,
            position: 0,
            bytes,
            reading: None,
        }
    }

    #[test]
    fn places_stay_for_others_until_there_is_no_room() {
        let ahead = ReadAhead::new(100);
        for at in 0..3 {
            ahead.put(place(7, at, 30));
        }
        assert_eq!(ahead.bytes.get(), 90);
        let key = |partition| place(partition, 0, 0).log;
        assert!(ahead.pass(key(8), 1).is_none(), "another log");
        assert!(ahead.pass(key(7), 1).is_some());
        assert!(ahead.pass(key(7), 1).is_some(), "it stays for others");
        ahead.put(place(7, 3, 30));
        assert!(ahead.pass(key(7), 1).is_none(), "it made room first");
        assert!(ahead.pass(key(7), 0).is_some(), "an older one is awaited");
        assert_eq!(ahead.bytes.get(), 90);
        ahead.put(place(7, 9, 101));
        let places = || ahead.ahead.borrow().len() + ahead.passed.borrow().len();
        assert_eq!((ahead.bytes.get(), places()), (0, 0));
        for at in 0..2 * PLACES_MAX as i64 {
            ahead.put(place(7, at, 0));
        }
        assert_eq!(places(), PLACES_MAX);
    }

    #[test]
    fn nothing_is_read_twice_for_one_place() {
        let ahead = ReadAhead::new(100);
        let key = place(7, 0, 0).log;
        ahead.put(place(7, 5, 0));
        assert!(!ahead.has_read(key, 5));
        let reading = Some(Rc::new(Reading::default()));
        ahead.put(Place {
            reading,
            ..place(7, 6, 30)
        });
        assert!(ahead.has_read(key, 6));
        assert!(ahead.pass(key, 6).is_some());
        assert!(ahead.has_read(key, 6));
    }
}
