//! What whoever reads a log from end to end will ask for next, read before it asks.
//!
//! Where a read ended is remembered: the next one that begins there needs no index. When one did, the bytes behind it are read at
//! once, while those before them travel. What stands below the flushed end of a segment does not change, so they stay true; they
//! are checked when they are given, like all others.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::Log;
use super::read::Window;
use crate::error::ReadError;
use crate::journal::entry::LogKey;
use crate::store::event::Event;

/// More is not read ahead for one reader at a time, in bytes: Kafka's default of `max.partition.fetch.bytes`.
const BYTES_MAX: u64 = 1 << 20;
/// Readers whose places are remembered.
const PLACES_MAX: usize = 1024;

/// Where readers will go on, of all logs of a core.
pub(crate) struct ReadAhead {
    /// Oldest first.
    places: RefCell<VecDeque<Place>>,
    bytes: Cell<usize>,
    bytes_max: usize,
}

/// A place where a read ended, and a batch begins.
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

/// A window on its way.
#[derive(Default)]
struct Reading {
    window: RefCell<Option<Result<Window, ReadError>>>,
    is_there: Event,
}

impl ReadAhead {
    /// Holds no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> ReadAhead {
        ReadAhead {
            places: RefCell::default(),
            bytes: Cell::new(0),
            bytes_max,
        }
    }

    fn put(&self, place: Place) {
        let mut places = self.places.borrow_mut();
        self.bytes.set(self.bytes.get() + place.bytes);
        places.push_back(place);
        while places.len() > PLACES_MAX || self.bytes.get() > self.bytes_max {
            let Some(oldest) = places.pop_front() else {
                break;
            };
            self.bytes.set(self.bytes.get() - oldest.bytes);
        }
    }

    fn take(&self, log: LogKey, offset: i64) -> Option<Place> {
        let mut places = self.places.borrow_mut();
        let at = places
            .iter()
            .position(|place| place.log == log && place.offset == offset)?;
        let place = places.remove(at)?;
        self.bytes.set(self.bytes.get() - place.bytes);
        Some(place)
    }
}

impl Place {
    /// What was read ahead there, if it was, and could be.
    pub async fn window(&self) -> Option<Window> {
        let reading = self.reading.as_ref()?;
        loop {
            let seen = reading.is_there.count();
            if let Some(window) = reading.window.take() {
                return window.ok();
            }
            reading.is_there.changed_since(seen).await;
        }
    }
}

impl Log {
    /// The place where a reader that is at `offset` now stopped before. It is for one reader.
    pub(super) fn place_at(&self, offset: i64) -> Option<Place> {
        self.dir.read_ahead.take(self.key, offset)
    }

    /// A read of up to `wanted` bytes ended before the batch with `offset` at `position`. With `ahead` what follows is read.
    pub(super) fn remember_place(
        &self,
        base: i64,
        position: u64,
        offset: i64,
        wanted: u64,
        ahead: bool,
    ) {
        // What is in memory, or another segment, is found without.
        if !self.is_in_file(base, position, 1) {
            return;
        }
        let len = wanted.min(BYTES_MAX);
        let ahead = ahead && self.is_in_file(base, position, len);
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
        self.dir.read_ahead.put(place);
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
    fn a_place_is_for_one_reader_of_its_log_and_the_oldest_make_room() {
        let ahead = ReadAhead::new(100);
        for at in 0..4 {
            ahead.put(place(7, at, 30));
        }
        assert_eq!(ahead.bytes.get(), 90);
        let key = |partition| place(partition, 0, 0).log;
        assert!(ahead.take(key(7), 0).is_none(), "it was the oldest");
        assert!(ahead.take(key(8), 1).is_none(), "another log");
        assert!(ahead.take(key(7), 1).is_some());
        assert!(ahead.take(key(7), 1).is_none(), "it was taken");
        assert_eq!(ahead.bytes.get(), 60);
        ahead.put(place(7, 9, 101));
        assert_eq!((ahead.bytes.get(), ahead.places.borrow().len()), (0, 0));
        for at in 0..2 * PLACES_MAX as i64 {
            ahead.put(place(7, at, 0));
        }
        assert_eq!(ahead.places.borrow().len(), PLACES_MAX);
    }
}
