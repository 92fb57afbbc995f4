//! Scrubbing: reading sealed segments to find what the disk no longer has as it was written, before a consumer does.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use millstream_ring::Ring;
use millstream_storage::{Scrubbed, Scrubbing};

use crate::broker::{RunError, StartError};
use crate::shard::Shard;

/// A start has other things to do.
const FIRST: Duration = Duration::from_secs(600);
/// From the beginning of one pass to that of the next, unless it takes longer.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long `millstream scrub` waits for a directory that somebody uses: a broker that ends now, not one that runs.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Reads this core's sealed segments, slowly, until the broker stops. What is found stands in the log, one line each, and the
/// counts of each pass.
pub(crate) async fn run(shard: Rc<Shard>) {
    let rate = shard.config.broker.log_scrub_bytes_per_second;
    if rate == 0 {
        return;
    }
    shard.ring.sleep(FIRST).await;
    loop {
        let began = shard.ring.now();
        let mut all = Scrubbed::default();
        // Not held across the waits: logs come and go.
        let ids: Vec<_> = shard.store.logs().map(|log| log.id()).collect();
        for id in ids {
            if shard.stopping.get() {
                return;
            }
            let Some(log) = shard.store.log(&id) else {
                continue;
            };
            match log.scrub(rate).await {
                Ok(done) => {
                    shard.metrics().scrubbed(&done);
                    all.segments += done.segments;
                    all.bytes += done.bytes;
                    all.findings += done.findings;
                }
                Err(error) => tracing::error!("{}-{}: scrub: {error}", log.topic(), id.partition),
            }
        }
        shard.metrics().scrub_passed();
        if all.segments > 0 {
            tracing::info!(
                "core {}: scrubbed {} segments, {} bytes: {} damaged",
                shard.index,
                all.segments,
                all.bytes,
                all.findings
            );
        }
        let passed = shard.ring.now().saturating_sub(began);
        shard.ring.sleep(EVERY.saturating_sub(passed)).await;
    }
}

/// Reads directories that no process uses; findings to stdout, progress to stderr.
pub(crate) async fn offline(ring: &Ring, directories: Vec<PathBuf>) -> Result<u64, RunError> {
    let mut findings = 0;
    for directory in directories {
        let path = directory.display();
        let mut said = Instant::now();
        let mut tell = |scrubbing: Scrubbing<'_>| match scrubbing {
            Scrubbing::Finding(finding) => crate::banner::say(&format!("{finding}\n")),
            Scrubbing::Progress { bytes, of } if said.elapsed() >= PROGRESS => {
                said = Instant::now();
                tracing::info!("{path}: {} of {} MiB read", bytes >> 20, of >> 20);
            }
            Scrubbing::Progress { .. } => {}
        };
        let done = millstream_storage::scrub(ring, &directory, LOCK_WAIT, &mut tell).await;
        let done = done.map_err(StartError::from)?;
        findings += done.findings;
        crate::banner::say(&format!(
            "{path}: {} segments, {} bytes: {} findings\n",
            done.segments, done.bytes, done.findings
        ));
    }
    Ok(findings)
}
