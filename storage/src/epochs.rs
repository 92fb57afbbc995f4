//! Leader epoch → first offset: which leader wrote which part of a log.
//!
//! Kafka's `LeaderEpochFileCache`, as a pure structure: who changes it writes it to `leader-epoch-checkpoint`
//! (see [`crate::checkpoint`]). Followers and consumers use its answers to find where two histories part.

use crate::checkpoint::{CheckpointError, parse_lines};

/// "No such epoch" and "no such offset" in OffsetForLeaderEpoch answers.
const UNDEFINED: (i32, i64) = (-1, -1);

/// One leader's reign: it wrote from `start_offset` on, until the next entry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch, never negative.
    pub epoch: i32,
    /// The first offset written in it, never negative.
    pub start_offset: i64,
}

/// The epochs of one log. Both columns rise strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<EpochEntry>,
}

impl Epochs {
    /// Notes that `epoch` begins at `start_offset`. Later entries that contradict it go: the log was truncated
    /// or nothing was written in them. True if anything changed and the file must be written.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        assert!(epoch >= 0, "leader epoch {epoch} assigned");
        assert!(
            start_offset >= 0,
            "leader epoch {epoch} assigned to offset {start_offset}"
        );
        if let Some(last) = self.latest()
            && last.epoch == epoch
            && last.start_offset <= start_offset
        {
            return false;
        }
        while let Some(last) = self.latest()
            && (last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochEntry {
            epoch,
            start_offset,
        });
        true
    }

    /// The newest epoch that has records.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The largest epoch ≤ `epoch` and where it ended, as OffsetForLeaderEpoch answers it; (-1, -1) if unknown.
    ///
    /// The newest epoch ends at `log_end_offset`. For an epoch older than all that is known the answer is that
    /// epoch with the first known start: its records are gone, and the log goes on from there.
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> (i32, i64) {
        if epoch == UNDEFINED.0 {
            return UNDEFINED;
        }
        if self.latest().is_some_and(|last| last.epoch == epoch) {
            return (epoch, log_end_offset);
        }
        let higher = self.entries.partition_point(|e| e.epoch <= epoch);
        let Some(next) = self.entries.get(higher) else {
            return UNDEFINED;
        };
        let floor = higher.checked_sub(1).and_then(|i| self.entries.get(i));
        (floor.map_or(epoch, |e| e.epoch), next.start_offset)
    }

    /// The epoch in which `offset` was written; None before the first entry.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|e| e.start_offset <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// Forgets epochs that begin at or above `end_offset`: the log was cut there. True if anything changed.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let keep = self
            .entries
            .partition_point(|e| e.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Forgets epochs that ended at or below `log_start_offset`; the one it falls into begins there from now on.
    /// True if anything changed.
    pub fn truncate_from_start(&mut self, log_start_offset: i64) -> bool {
        let below = self
            .entries
            .partition_point(|e| e.start_offset <= log_start_offset);
        let Some(last_below) = below.checked_sub(1) else {
            return false;
        };
        let changed = last_below > 0 || self.entries[last_below].start_offset != log_start_offset;
        self.entries.drain(..last_below);
        self.entries[0].start_offset = log_start_offset;
        changed
    }

    /// The bytes of `leader-epoch-checkpoint`.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            text.push_str(&format!("{} {}\n", entry.epoch, entry.start_offset));
        }
        text.into_bytes()
    }

    /// Reads `leader-epoch-checkpoint`. Entries out of order contradict each other: that file is corrupt.
    pub fn parse(bytes: &[u8]) -> Result<Epochs, CheckpointError> {
        let mut epochs = Epochs::default();
        for (number, line) in parse_lines(bytes)? {
            let entry = parse_entry(line).ok_or(CheckpointError::Line { number })?;
            if epochs.latest().is_some_and(|last| {
                last.epoch >= entry.epoch || last.start_offset >= entry.start_offset
            }) {
                return Err(CheckpointError::Order { number });
            }
            epochs.entries.push(entry);
        }
        Ok(epochs)
    }
}

/// `<epoch> <start offset>`
fn parse_entry(line: &str) -> Option<EpochEntry> {
    let (epoch, start_offset) = line.split_once(' ')?;
    let entry = EpochEntry {
        epoch: epoch.parse().ok()?,
        start_offset: start_offset.parse().ok()?,
    };
    (entry.epoch >= 0 && entry.start_offset >= 0).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(epoch, offset) in entries {
            assert!(epochs.assign(epoch, offset));
        }
        epochs
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        let pair = |e: &EpochEntry| (e.epoch, e.start_offset);
        epochs.entries().iter().map(pair).collect()
    }

    #[test]
    fn the_same_epoch_again_changes_nothing() {
        let mut e = epochs(&[(0, 0), (2, 10)]);
        assert!(!e.assign(2, 10));
        assert!(!e.assign(2, 15));
        assert_eq!(pairs(&e), [(0, 0), (2, 10)]);
    }

    #[test]
    fn a_new_entry_removes_those_it_contradicts() {
        let mut e = epochs(&[(0, 0), (2, 10), (4, 20)]);
        assert!(e.assign(5, 10)); // 2 and 4 wrote nothing that is left
        assert_eq!(pairs(&e), [(0, 0), (5, 10)]);
        assert!(e.assign(3, 12)); // an older epoch after a newer one
        assert_eq!(pairs(&e), [(0, 0), (3, 12)]);
        assert!(e.assign(3, 11)); // the same epoch, earlier
        assert_eq!(pairs(&e), [(0, 0), (3, 11)]);
    }

    #[test]
    fn end_offsets_are_kafkas() {
        let e = epochs(&[(2, 5), (4, 20), (7, 33)]);
        assert_eq!(e.end_offset_for(-1, 50), (-1, -1));
        assert_eq!(e.end_offset_for(0, 50), (0, 5)); // before all that is known
        assert_eq!(e.end_offset_for(2, 50), (2, 20));
        assert_eq!(e.end_offset_for(3, 50), (2, 20)); // nothing was written in 3
        assert_eq!(e.end_offset_for(6, 50), (4, 33));
        assert_eq!(e.end_offset_for(7, 50), (7, 50)); // the newest ends at the log's end
        assert_eq!(e.end_offset_for(8, 50), (-1, -1));
        assert_eq!(Epochs::default().end_offset_for(0, 50), (-1, -1));
    }

    #[test]
    fn an_offset_belongs_to_the_last_epoch_that_begins_at_or_below_it() {
        let e = epochs(&[(2, 5), (4, 20)]);
        assert_eq!(e.epoch_at(4), None);
        assert_eq!(e.epoch_at(5), Some(2));
        assert_eq!(e.epoch_at(19), Some(2));
        assert_eq!(e.epoch_at(20), Some(4));
        assert_eq!(e.epoch_at(i64::MAX), Some(4));
    }

    #[test]
    fn cut_at_the_end() {
        let mut e = epochs(&[(2, 5), (4, 20), (7, 33)]);
        assert!(!e.truncate_from_end(34));
        assert!(e.truncate_from_end(20));
        assert_eq!(pairs(&e), [(2, 5)]);
        assert!(e.truncate_from_end(0));
        assert_eq!(e.latest(), None);
    }

    #[test]
    fn cut_at_the_start_moves_the_epoch_it_falls_into() {
        let mut e = epochs(&[(2, 5), (4, 20), (7, 33)]);
        assert!(!e.truncate_from_start(4));
        assert!(!e.truncate_from_start(5));
        assert!(e.truncate_from_start(25));
        assert_eq!(pairs(&e), [(4, 25), (7, 33)]);
        assert!(e.truncate_from_start(33));
        assert_eq!(pairs(&e), [(7, 33)]);
    }

    #[test]
    fn encoding_round_trips_and_matches_kafkas_file() {
        let e = epochs(&[(0, 0), (3, 17)]);
        assert_eq!(e.encode(), b"0\n2\n0 0\n3 17\n");
        assert_eq!(Epochs::parse(&e.encode()).unwrap(), e);
        let kafkas = include_bytes!(
            "../tests/fixtures/kafka-4.3.1/clean/payments-0/leader-epoch-checkpoint"
        );
        assert_eq!(Epochs::parse(kafkas).unwrap().encode(), kafkas);
    }

    #[test]
    fn corrupt_files_are_refused() {
        for text in [
            "0\n2\n0 0\n",      // fewer lines than counted
            "0\n1\n0 0\n1 5\n", // more
            "1\n0\n",           // another version
            "0\n1\n0\n",        // half a line
            "0\n1\n-1 0\n",     // negative
            "0\n1\n0 -7\n",
            "0\n2\n0 5\n1 5\n",      // offsets do not rise
            "0\n2\n1 0\n1 5\n",      // epochs do not rise
            "0\n1\n99999999999 0\n", // too large
            "0\n4000000000\n",       // a count nothing backs
        ] {
            assert!(Epochs::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
