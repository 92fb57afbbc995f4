//! Scrubbing beside the work: slowly, and not at all while there is much to do.

use std::io;
use std::time::Duration;

use millstream_ring::Ring;

use super::{Scrubbed, open_past_cache};
use crate::error::ReadError;
use crate::log::Log;
use crate::segment::survey::{Bounds, Damage, InFile, Stretch, Survey};

/// Read before it is seen whether that was too fast.
const STEP_BYTES: u64 = 256 << 10;
/// Looked again so often whether the core has less to do, and at most so many times: a core that is never idle is scrubbed too.
const BUSY_WAIT: Duration = Duration::from_millis(20);
const BUSY_WAITS_MAX: usize = 50;

/// How fast.
struct Pace<'a> {
    ring: &'a Ring,
    bytes_per_second: u64,
    began: Duration,
    read: u64,
}

impl Pace<'_> {
    /// Waits until so much may have been read.
    async fn reached(&mut self, read: u64) {
        self.read += read;
        let due = self.read as f64 / self.bytes_per_second.max(1) as f64;
        let passed = self.ring.now().saturating_sub(self.began);
        let wait = Duration::from_secs_f64(due).saturating_sub(passed);
        if !wait.is_zero() {
            self.ring.sleep(wait).await;
        }
    }
}

impl Log {
    /// Reads the sealed segments of this log from the device and checks every batch, at no more than `bytes_per_second`. What is
    /// damaged is reported, remembered, and answered to its readers as [`ReadError::Corrupt`].
    ///
    /// # Errors
    /// A segment cannot be read.
    pub async fn scrub(&self, bytes_per_second: u64) -> Result<Scrubbed, ReadError> {
        let ring = self.dir.ring.clone();
        let mut pace = Pace {
            ring: &ring,
            bytes_per_second,
            began: ring.now(),
            read: 0,
        };
        let mut done = Scrubbed::default();
        let mut next = i64::MIN;
        while let Some((base, bounds)) = self.sealed_from(next) {
            next = base + 1;
            let bytes = bounds.bytes;
            match self.scrub_segment(base, bounds, &mut pace).await {
                Ok(damages) => {
                    done.segments += 1;
                    done.bytes += bytes;
                    done.findings += damages.len() as u64;
                    if !damages.is_empty() {
                        self.remember_damage(base, damages);
                    }
                }
                // Retention was faster.
                Err(_)
                    if self
                        .sealed_from(base)
                        .is_none_or(|(there, _)| there != base) => {}
                Err(source) => {
                    return Err(ReadError::Io {
                        base_offset: base,
                        source,
                    });
                }
            }
        }
        Ok(done)
    }

    /// The first closed segment at or above a base offset.
    fn sealed_from(&self, from: i64) -> Option<(i64, Bounds)> {
        if self.deleted.get() || self.dir.is_offline() {
            return None;
        }
        let state = self.state.borrow();
        let mut segments = state.segments.iter();
        let found =
            segments.find(|s| s.closed && s.info.bytes > 0 && s.info.base_offset >= from)?;
        let info = &found.info;
        let bounds = Bounds {
            bytes: info.bytes,
            offsets: info.base_offset..info.end_offset,
        };
        Some((info.base_offset, bounds))
    }

    async fn scrub_segment(
        &self,
        base: i64,
        bounds: Bounds,
        pace: &mut Pace<'_>,
    ) -> io::Result<Vec<Damage>> {
        let epochs = self.state.borrow().epochs.clone();
        // A descriptor of its own: those of the cache go through the page cache.
        let (file, access) = open_past_cache(&self.dir.ring, &self.segment_path(base)).await?;
        let mut survey = Survey::new(InFile { file, access }, bounds, &epochs);
        let mut damages = Vec::new();
        let mut paused_at = 0;
        while let Some(stretch) = survey.next().await? {
            if let Stretch::Damage(damage) = stretch {
                damages.push(damage);
            }
            let step = survey.position() - paused_at;
            if step >= STEP_BYTES {
                paused_at = survey.position();
                pace.reached(step).await;
                self.give_way().await;
            }
        }
        pace.reached(survey.position() - paused_at).await;
        Ok(damages)
    }

    /// Waits while writes are on their way.
    async fn give_way(&self) {
        for _ in 0..BUSY_WAITS_MAX {
            if !self.dir.is_writing() {
                return;
            }
            self.dir.ring.sleep(BUSY_WAIT).await;
        }
    }
}
