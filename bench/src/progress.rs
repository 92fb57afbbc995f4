//! The line that says how a run goes, where stderr is a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::Live;

const LOOK: Duration = Duration::from_millis(500);

/// Counters of all threads, and the line.
pub struct Progress {
    threads: Vec<Arc<Live>>,
    bar: ProgressBar,
}

impl Progress {
    pub fn new() -> Progress {
        let bar = ProgressBar::new(1);
        // The default style, where the template is not understood.
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
            bar.set_style(style);
        }
        Progress {
            threads: Vec::new(),
            bar,
        }
    }

    /// The counters of one more thread.
    pub fn thread(&mut self) -> Arc<Live> {
        let live = Arc::new(Live::default());
        self.threads.push(live.clone());
        live
    }

    /// Sleeps so long, and shows what goes on.
    pub fn wait(&self, phase: &'static str, duration: Duration) {
        self.bar.set_prefix(phase);
        self.bar.set_length(
            u64::try_from(duration.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
        );
        let began = Instant::now();
        let mut before = self.sums();
        loop {
            let left = duration.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            let pause = left.min(LOOK);
            std::thread::sleep(pause);
            let now = self.sums();
            let rate = |at: usize| (now[at] - before[at]) as f64 / pause.as_secs_f64();
            self.bar
                .set_position(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            self.bar.set_message(format!(
                "{:.0} requests/s, {:.1} MB/s, {} errors",
                rate(0),
                rate(1) / 1e6,
                now[2]
            ));
            before = now;
        }
    }

    fn sums(&self) -> [u64; 3] {
        let sum = |counter: fn(&Live) -> &AtomicU64| {
            let threads = self.threads.iter();
            threads
                .map(|live| counter(live).load(Ordering::Relaxed))
                .sum()
        };
        [
            sum(|live| &live.requests),
            sum(|live| &live.bytes),
            sum(|live| &live.errors),
        ]
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
