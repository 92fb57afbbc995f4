//! Counters of one thread, and their sum.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::Fault;

/// An hour; longer counts as an hour.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// Three digits: 0.1 %.
const PRECISION: u8 = 3;

/// What one thread saw while it measured.
#[derive(Clone)]
pub struct Counts {
    pub requests: u64,
    pub bytes: u64,
    pub records: u64,
    pub errors: BTreeMap<i16, u64>,
    pub lost: BTreeMap<String, u64>,
    /// Requests of an open loop that were due and never left.
    pub behind: u64,
    pub latency_ns: Histogram<u64>,
}

impl Counts {
    pub fn new() -> Counts {
        Counts {
            requests: 0,
            bytes: 0,
            records: 0,
            errors: BTreeMap::new(),
            lost: BTreeMap::new(),
            behind: 0,
            latency_ns: Histogram::new_with_bounds(1, LATENCY_MAX_NS, PRECISION)
                .expect("bounds and precision are legal"),
        }
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.records += other.records;
        self.behind += other.behind;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        for (fault, count) in &other.lost {
            *self.lost.entry(fault.clone()).or_default() += count;
        }
        self.latency_ns
            .add(&other.latency_ns)
            .expect("both have the same bounds");
    }
}

/// What one thread has done so far, for the progress line. Written by that thread alone.
#[derive(Default)]
pub struct Live {
    pub requests: AtomicU64,
    pub bytes: AtomicU64,
    pub errors: AtomicU64,
}

/// Without the cost of an atomic addition: there is one writer.
fn grow(counter: &AtomicU64, by: u64) {
    let value = counter.load(Ordering::Relaxed);
    counter.store(value + by, Ordering::Relaxed);
}

/// One thread's counters. They count what falls between [`Tally::begin`] and [`Tally::end`]; lost connections always.
///
/// In a closed loop an answer counts by when it came, in an open loop a request by when it should have left: there the
/// answers that come late, after the end, are the ones that matter.
pub struct Tally {
    open: bool,
    began: Cell<Option<Instant>>,
    ended: Cell<Option<Instant>>,
    counts: RefCell<Counts>,
    live: Arc<Live>,
}

impl Tally {
    pub fn new(open: bool, live: Arc<Live>) -> Tally {
        Tally {
            open,
            began: Cell::new(None),
            ended: Cell::new(None),
            counts: RefCell::new(Counts::new()),
            live,
        }
    }

    /// The warm-up is over.
    pub fn begin(&self) {
        self.began.set(Some(Instant::now()));
    }

    /// The time is over.
    pub fn end(&self) {
        self.ended.set(Some(Instant::now()));
    }

    /// What was counted.
    pub fn take(&self) -> Counts {
        self.counts.replace(Counts::new())
    }

    /// A request that left (or should have) at `sent` was answered without error; `bytes` of batches.
    pub fn done(&self, sent: Instant, received: Instant, bytes: usize, records: u64) {
        grow(&self.live.requests, 1);
        grow(&self.live.bytes, bytes as u64);
        if !self.counts_at(if self.open { sent } else { received }) {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        counts.requests += 1;
        counts.bytes += bytes as u64;
        counts.records += records;
        let latency = u64::try_from(received.saturating_duration_since(sent).as_nanos());
        let latency = latency.unwrap_or(u64::MAX).max(1);
        counts.latency_ns.saturating_record(latency);
    }

    /// A request was answered with an error.
    pub fn failed(&self, code: i16) {
        grow(&self.live.errors, 1);
        if self.counts_at(Instant::now()) {
            *self.counts.borrow_mut().errors.entry(code).or_default() += 1;
        }
    }

    /// Requests of an open loop that were due at the end and had not left.
    pub fn behind(&self, requests: u64) {
        self.counts.borrow_mut().behind += requests;
    }

    /// A connection ended early.
    pub fn lost(&self, fault: &Fault) {
        grow(&self.live.errors, 1);
        let mut counts = self.counts.borrow_mut();
        *counts.lost.entry(fault.to_string()).or_default() += 1;
    }

    fn counts_at(&self, at: Instant) -> bool {
        let began = self.began.get().is_some_and(|began| at >= began);
        began && self.ended.get().is_none_or(|ended| at < ended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_closed_loop_counts_answers_that_come_in_time() {
        let tally = Tally::new(false, Arc::default());
        let sent = Instant::now();
        tally.done(sent, Instant::now(), 10, 1);
        tally.failed(6);
        tally.begin();
        tally.done(sent, sent + Duration::from_millis(2), 10, 1);
        std::thread::sleep(Duration::from_millis(3));
        tally.failed(6);
        tally.done(sent, sent + Duration::from_millis(2), 10, 1);
        tally.end();
        tally.done(sent, Instant::now(), 10, 1);
        tally.failed(6);
        let mut counts = tally.take();
        counts.add(&tally.take());
        assert_eq!((counts.requests, counts.bytes, counts.records), (2, 20, 2));
        assert_eq!(counts.errors.get(&6), Some(&1));
        let median = counts.latency_ns.value_at_percentile(50.0);
        assert!(median.abs_diff(2_000_000) <= 2_000, "{median}");
    }

    #[test]
    fn an_open_loop_counts_what_should_have_left_in_time() {
        let tally = Tally::new(true, Arc::default());
        let early = Instant::now();
        tally.begin();
        let in_time = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        tally.end();
        let late = Instant::now();
        // All answered after the end.
        for sent in [early - Duration::from_millis(1), in_time, late] {
            tally.done(sent, late + Duration::from_secs(1), 10, 1);
        }
        assert_eq!(tally.take().requests, 1);
    }
}
