//! How full a data directory's file system is, and what is kept in reserve.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millstream_ring::fs;

const GIB: u64 = 1 << 30;
/// "Not set": the default follows the size of the file system.
const UNSET: u64 = u64::MAX;

/// What `log.dir.reserve.bytes` is when it is not set: 1 GiB or 1 % of the file system, whichever is more, but never more than
/// a tenth of it, or a small disk could not be used at all.
pub fn default_reserve(total: u64) -> u64 {
    GIB.max(total / 100).min(total / 10)
}

/// The figures of the last look. Plain atomics: they are read on every produce by every core and hang on nothing.
pub(super) struct SpaceGauge {
    total: AtomicU64,
    available: AtomicU64,
    reserve: AtomicU64,
}

impl Default for SpaceGauge {
    fn default() -> Self {
        SpaceGauge {
            total: AtomicU64::new(0),
            available: AtomicU64::new(u64::MAX),
            reserve: AtomicU64::new(UNSET),
        }
    }
}

impl SpaceGauge {
    pub(super) fn check(&self, path: &Path) -> io::Result<fs::Space> {
        let space = fs::free_space(path)?;
        self.note(space.total, space.available);
        Ok(space)
    }

    pub(super) fn note(&self, total: u64, available: u64) {
        self.total.store(total, Relaxed);
        self.available.store(available, Relaxed);
    }

    pub(super) fn last(&self) -> (u64, u64) {
        (self.total.load(Relaxed), self.available.load(Relaxed))
    }

    pub(super) fn set_reserve(&self, bytes: u64) {
        // One byte less than "unset" is as unreachable.
        self.reserve.store(bytes.min(UNSET - 1), Relaxed);
    }

    /// What is available above the reserve.
    pub(super) fn room(&self) -> u64 {
        let (total, available) = self.last();
        let reserve = match self.reserve.load(Relaxed) {
            UNSET => default_reserve(total),
            // A reserve as large as the disk would refuse everything for ever.
            bytes => bytes.min(total),
        };
        available.saturating_sub(reserve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_gib_or_a_percent_within_a_tenth() {
        assert_eq!(default_reserve(50 * GIB), GIB);
        assert_eq!(default_reserve(1000 * GIB), 10 * GIB);
        assert_eq!(default_reserve(GIB), GIB / 10);
        assert_eq!(default_reserve(0), 0);
    }

    #[test]
    fn room_is_what_lies_above_the_reserve() {
        let gauge = SpaceGauge::default();
        assert!(gauge.room() > 0, "unknown is not full");
        gauge.note(100 * GIB, GIB + 1);
        assert_eq!(gauge.room(), 1);
        gauge.note(100 * GIB, GIB / 2);
        assert_eq!(gauge.room(), 0);
        gauge.set_reserve(0);
        assert_eq!(gauge.room(), GIB / 2);
    }
}
