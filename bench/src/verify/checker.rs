//! What a reader of numbered records finds wrong. Pure.

use std::collections::BTreeMap;
use std::fmt;

use millstream_protocol::batch::{BatchBuilder, Batches, records, verify_crc};
use millstream_protocol::compress::Codec;

use crate::Fault;

/// Bytes at the front of every value: the run's number, then the record's.
pub const MARK: usize = 16;
/// Violations that are kept; more only say the same.
const KEPT_MAX: usize = 10_000;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Records `from` to `to` (inclusive) were acknowledged or stood before others, and are not there.
    Missing { from: u64, to: u64 },
    /// A record was there before.
    Duplicate { number: u64, offset: i64 },
    /// A record came after later ones.
    OutOfOrder { number: u64, offset: i64 },
    /// A record stands at another offset than the acknowledgements before it imply.
    Moved {
        number: u64,
        offset: i64,
        expected: i64,
    },
    /// A record that this run has not written.
    Foreign { offset: i64 },
    /// A batch whose checksum does not hold.
    Damaged { offset: i64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Missing { from, to } => {
                write!(
                    out,
                    "records {from} to {to} are MISSING ({})",
                    to - from + 1
                )
            }
            Violation::Duplicate { number, offset } => {
                write!(
                    out,
                    "record {number} is there TWICE, again at offset {offset}"
                )
            }
            Violation::OutOfOrder { number, offset } => {
                write!(out, "record {number} is OUT OF ORDER, at offset {offset}")
            }
            Violation::Moved {
                number,
                offset,
                expected,
            } => {
                write!(
                    out,
                    "record {number} is at offset {offset} instead of {expected}"
                )
            }
            Violation::Foreign { offset } => {
                write!(out, "the record at offset {offset} is not of this run")
            }
            Violation::Damaged { offset } => {
                write!(out, "the batch at offset {offset} is DAMAGED")
            }
        }
    }
}

/// A batch of `count` records from number `first` on, as `producer` (id, epoch, sequence) sends it.
pub fn batch(
    run: u64,
    first: u64,
    count: u32,
    record_size: usize,
    now: i64,
    producer: (i64, i16, i32),
) -> Vec<u8> {
    let mut value = vec![b'.'; record_size];
    let mut builder =
        BatchBuilder::new(Codec::None, now).producer(producer.0, producer.1, producer.2);
    value[..8].copy_from_slice(&run.to_be_bytes());
    for number in first..first + u64::from(count) {
        value[8..MARK].copy_from_slice(&number.to_be_bytes());
        builder.push(now, None, Some(&value), &[]);
    }
    builder.finish(0)
}

/// Follows one partition.
#[derive(Debug)]
pub struct Checker {
    run: u64,
    /// Offset of record 0.
    start: i64,
    /// Numbers below this have come or are missing.
    next: u64,
    /// First to last of each gap that is still open.
    missing: BTreeMap<u64, u64>,
    violations: Vec<Violation>,
    scratch: Vec<u8>,
}

impl Checker {
    /// `start`: where the partition ended before the run.
    pub fn new(run: u64, start: i64) -> Checker {
        Checker {
            run,
            start,
            next: 0,
            missing: BTreeMap::new(),
            violations: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Numbers below this have been seen, or passed over.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// What was wrong so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Takes what a Fetch brought; the offset to go on from, if anything whole was there.
    pub fn take(&mut self, bytes: &[u8], from: i64) -> Result<Option<i64>, Fault> {
        let mut reached = None;
        for batch in Batches::new(bytes) {
            let (header, batch) = batch?;
            reached = Some(header.next_offset());
            if !verify_crc(batch) {
                self.violate(Violation::Damaged {
                    offset: header.base_offset,
                });
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            for record in records(batch, &mut scratch, batch.len())? {
                let record = record?;
                // A batch comes whole, also when only its end was asked for.
                if record.offset >= from {
                    self.record(record.offset, record.value);
                }
            }
            self.scratch = scratch;
        }
        Ok(reached)
    }

    fn record(&mut self, offset: i64, value: Option<&[u8]>) {
        let mark = value.and_then(|value| value.first_chunk::<MARK>());
        let (run, number) = mark.map_or((None, 0), |mark| {
            let half = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&mark[at..at + 8]);
                u64::from_be_bytes(bytes)
            };
            (Some(half(0)), half(8))
        });
        if run != Some(self.run) {
            self.violate(Violation::Foreign { offset });
            return;
        }
        if number < self.next {
            self.late(number, offset);
            return;
        }
        if number > self.next {
            self.missing.insert(self.next, number - 1);
        }
        self.next = number + 1;
        let expected = i64::try_from(number).map_or(i64::MAX, |number| self.start + number);
        if offset != expected {
            self.violate(Violation::Moved {
                number,
                offset,
                expected,
            });
        }
    }

    /// A number below others that have come: it fills a gap, too late, or is there twice.
    fn late(&mut self, number: u64, offset: i64) {
        let gap = self.missing.range(..=number).next_back();
        match gap.map(|(first, last)| (*first, *last)) {
            Some((first, last)) if number <= last => {
                self.missing.remove(&first);
                if first < number {
                    self.missing.insert(first, number - 1);
                }
                if number < last {
                    self.missing.insert(number + 1, last);
                }
                self.violate(Violation::OutOfOrder { number, offset });
            }
            _ => self.violate(Violation::Duplicate { number, offset }),
        }
    }

    /// No more comes: numbers below `acknowledged` that have not come are missing, and so are all gaps.
    pub fn finish(mut self, acknowledged: u64) -> Checker {
        if self.next < acknowledged {
            self.missing.insert(self.next, acknowledged - 1);
        }
        for (from, to) in std::mem::take(&mut self.missing) {
            self.violate(Violation::Missing { from, to });
        }
        self
    }

    fn violate(&mut self, violation: Violation) {
        if self.violations.len() < KEPT_MAX {
            self.violations.push(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u64 = 77;

    /// Batches at their offsets, from (first number, count) each.
    fn log(start: i64, batches: &[(u64, u32)]) -> Vec<u8> {
        let mut offset = start;
        let mut bytes = Vec::new();
        for (first, count) in batches {
            let mut batch = batch(RUN, *first, *count, 20, 0, (1, 0, 0));
            batch[..8].copy_from_slice(&offset.to_be_bytes());
            offset += i64::from(*count);
            bytes.extend(batch);
        }
        bytes
    }

    fn check(batches: &[(u64, u32)], acknowledged: u64) -> Vec<Violation> {
        let mut checker = Checker::new(RUN, 5);
        checker.take(&log(5, batches), 5).unwrap();
        checker.finish(acknowledged).violations().to_vec()
    }

    #[test]
    fn everything_once_and_in_order_is_fine() {
        assert_eq!(check(&[(0, 3), (3, 4)], 7), []);
        // What was not acknowledged may be there or not.
        assert_eq!(check(&[(0, 3), (3, 4)], 3), []);
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        use Violation::{Duplicate, Missing, Moved, OutOfOrder};
        assert_eq!(check(&[(0, 3)], 7), [Missing { from: 3, to: 6 }]);
        assert_eq!(check(&[], 2), [Missing { from: 0, to: 1 }]);
        let moved = Moved {
            number: 4,
            offset: 8,
            expected: 9,
        };
        assert_eq!(
            check(&[(0, 3), (4, 1)], 5),
            [moved.clone(), Missing { from: 3, to: 3 }]
        );
        let late = OutOfOrder {
            number: 3,
            offset: 9,
        };
        assert_eq!(check(&[(0, 3), (4, 1), (3, 1)], 5), [moved, late]);
        let again = |number, offset| Duplicate { number, offset };
        assert_eq!(check(&[(0, 2), (0, 2)], 2), [again(0, 7), again(1, 8)]);
    }

    #[test]
    fn foreign_and_damaged_batches_are_named() {
        let mut bytes = log(5, &[(0, 2), (2, 2)]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut checker = Checker::new(RUN, 5);
        assert_eq!(checker.take(&bytes, 5).unwrap(), Some(9));
        assert_eq!(checker.violations(), [Violation::Damaged { offset: 7 }]);
        let mut checker = Checker::new(RUN + 1, 5);
        checker.take(&log(5, &[(0, 1)]), 5).unwrap();
        assert_eq!(checker.violations(), [Violation::Foreign { offset: 5 }]);
    }

    #[test]
    fn a_batch_read_from_its_middle_is_no_duplicate() {
        let bytes = log(5, &[(0, 4)]);
        let mut checker = Checker::new(RUN, 5);
        checker.take(&bytes, 5).unwrap();
        checker.take(&bytes, 9).unwrap();
        assert_eq!(checker.finish(4).violations(), []);
    }
}
