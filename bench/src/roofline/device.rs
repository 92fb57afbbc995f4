//! A device under one kind of load, counted like a broker's: what a comparison puts beside its systems.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_ring::{CoreOptions, Ring};

use super::disk::Area;
use super::in_flight::{Commit, Work};
use crate::Fault;
use crate::report::{self, Counts, Measured, Outcome, Process, Tally};

/// What is done, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes of so many bytes, whole blocks up to 1 MiB. Each counts when a flush that began after it is through;
    /// flushes follow each other.
    Flushed { bytes: usize, to: Blocks },
    /// Reads of 1 MiB.
    Read,
}

/// What is written to. Those that were never written are slower: the file system notes each as written, and a host may have
/// to find room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// As a log does. Once all of the file is written, it begins again at its start.
    New,
    /// As a journal does that goes round.
    Written,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The file. Where it is to be new it is removed at once and given back at the end, otherwise it stays, and the first run
    /// writes it before it measures.
    pub path: &'a Path,
    /// Its size, at least a few MiB.
    pub file_bytes: u64,
    pub kind: Kind,
    pub in_flight: usize,
    pub warm_up: Duration,
    pub duration: Duration,
    pub cpu: Option<usize>,
}

/// Runs it on a thread of its own.
pub fn outcome(load: Load<'_>) -> Result<Outcome, Fault> {
    let dir = load.path.parent().ok_or("a file without a directory")?;
    let core = CoreOptions {
        cpu: load.cpu,
        name: "device".into(),
        scratch_dirs: vec![dir.to_owned()],
        ..CoreOptions::default()
    };
    let (path, before) = (load.path.to_owned(), Process::read(std::process::id())?);
    let began = Instant::now();
    let thread = millstream_ring::start(core, move |ring| async move {
        let is_there = path.exists();
        let (area, _) = Area::open(&ring, &path, load.file_bytes).await?;
        if matches!(
            load.kind,
            Kind::Flushed {
                to: Blocks::New,
                ..
            }
        ) {
            std::fs::remove_file(&path)?;
        } else if !is_there {
            area.first_pass(&ring).await?;
        }
        measure(
            &ring,
            area,
            load.kind,
            load.in_flight,
            load.warm_up,
            load.duration,
        )
        .await
    })?;
    let counts: Result<Counts, Fault> = thread.join().map_err(|_| "the device thread panicked")?;
    let (name, title) = match load.kind {
        Kind::Flushed { bytes, to } => (
            "write and flush",
            format!(
                "device: flushed writes of {bytes} bytes to {} blocks, {} in flight",
                match to {
                    Blocks::New => "new",
                    Blocks::Written => "written",
                },
                load.in_flight
            ),
        ),
        Kind::Read => (
            "read",
            format!("device: reads of 1 MiB, {} in flight", load.in_flight),
        ),
    };
    let measured = Measured {
        parts: vec![(name, counts?)],
        window: load.duration.as_secs_f64(),
        elapsed: began.elapsed(),
        connecting: Duration::ZERO,
        connections: 0,
        broker_before: None,
        broker: None,
        own: Process::read(std::process::id())?.since(before),
    };
    Ok(report::outcome(&title, &measured))
}

async fn measure(
    ring: &Ring,
    area: Rc<Area>,
    kind: Kind,
    in_flight: usize,
    warm_up: Duration,
    duration: Duration,
) -> Result<Counts, Fault> {
    let tally = Rc::new(Tally::new(false, Arc::default()));
    let commit = Rc::new(Commit::default());
    let counted = tally.clone();
    let work = Work::start(ring, in_flight, move || {
        let (area, tally, commit) = (area.clone(), counted.clone(), commit.clone());
        async move {
            let began = Instant::now();
            let moved = match kind {
                Kind::Flushed { bytes, .. } => {
                    let written = area.write_one(bytes).await?;
                    commit.flush(area.file()).await?;
                    written
                }
                Kind::Read => area.read_one().await?,
            };
            let bytes = usize::try_from(moved).unwrap_or(usize::MAX);
            tally.done(began, Instant::now(), bytes, 0);
            Ok(moved)
        }
    });
    ring.sleep(warm_up).await;
    tally.begin();
    ring.sleep(duration).await;
    tally.end();
    work.finish(ring).await?;
    Ok(tally.take())
}
