//! A directory's device: one file, written and read with O_DIRECT through the ring.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use millstream_ring::{BLOCK, Buffer, Bytes, CoreOptions, File, Open, Ring, fs};
use serde::{Deserialize, Serialize};

use super::in_flight::{Commit, Work};
use super::{Latency, Rate, SLICES, latencies};
use crate::Fault;
use crate::produce::payload::noise;

const MIB: usize = 1 << 20;
const SMALL: usize = 64 << 10;
/// One connection with five requests in flight, the default of Kafka's producer.
const DEPTH_LARGE: usize = 5;
/// Sixteen such connections.
const DEPTH_SMALL: usize = 80;
const DEPTH_BLOCKS: usize = 64;
/// Kept free beside the file.
const RESERVE: u64 = 1 << 30;
const FILE_NAME: &str = "roofline.tmp";

/// What a device does. MB are 10⁶ bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    pub dir: PathBuf,
    /// Whether the file system really does direct I/O (statx STATX_DIOALIGN).
    pub direct: bool,
    /// 1 MiB writes, 5 in flight, into blocks that were allocated and never written.
    pub write_new_mb_per_second: Rate,
    /// The same over blocks that were written before.
    pub write_again_mb_per_second: Rate,
    /// 1 MiB reads, 5 in flight.
    pub read_mb_per_second: Rate,
    /// 1 MiB writes, 5 in flight; each counts when a flush that began after it is through, flushes follow each other.
    pub flushed_1m_mb_per_second: Rate,
    /// The same with 64 KiB and 80 in flight.
    pub flushed_64k_mb_per_second: Rate,
    /// 4 KiB writes over written blocks, 64 in flight, without flush.
    pub writes_4k_per_second: Rate,
    /// fdatasync after a single 4 KiB write.
    pub flush_alone: Latency,
    /// fdatasync with four 1 MiB writes in flight.
    pub flush_under_writes: Latency,
    /// fdatasync after a single 4 KiB write, with one 1 MiB read in flight all the time.
    pub flush_under_one_read: Latency,
    /// The same with five.
    pub flush_under_reads: Latency,
}

/// Measures `dir` on a thread of its own. The file has no name by then, so that it goes with this process.
pub fn measure(
    dir: &Path,
    file_bytes: u64,
    duration: Duration,
    cpu: Option<usize>,
) -> Result<Disk, Fault> {
    let space = fs::free_space(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let bytes = file_bytes.min(space.available.saturating_sub(RESERVE)) / MIB as u64 * MIB as u64;
    if bytes < 16 * MIB as u64 {
        return Err(format!("{}: not enough free space to measure", dir.display()).into());
    }
    let core = CoreOptions {
        cpu,
        name: "roofline".into(),
        scratch_dirs: vec![dir.to_owned()],
        ..CoreOptions::default()
    };
    let dir = dir.to_owned();
    let thread = millstream_ring::start(core, move |ring| async move {
        on_core(&ring, dir, bytes, duration).await
    })?;
    thread.join().map_err(|_| "the measuring thread panicked")?
}

async fn on_core(ring: &Ring, dir: PathBuf, bytes: u64, duration: Duration) -> Result<Disk, Fault> {
    let path = dir.join(FILE_NAME);
    // One that was left behind has written blocks.
    let _ = std::fs::remove_file(&path);
    let (area, direct) = Area::open(ring, &path, bytes).await?;
    std::fs::remove_file(&path)?;
    let write_new_mb_per_second = area.first_pass(ring).await?;
    Ok(Disk {
        dir,
        direct,
        write_new_mb_per_second,
        write_again_mb_per_second: area.write(ring, duration, MIB, DEPTH_LARGE, MB).await?,
        read_mb_per_second: area.read(ring, duration).await?,
        flushed_1m_mb_per_second: area.flushed(ring, duration, MIB, DEPTH_LARGE).await?,
        flushed_64k_mb_per_second: area.flushed(ring, duration, SMALL, DEPTH_SMALL).await?,
        writes_4k_per_second: area
            .write(ring, duration, BLOCK, DEPTH_BLOCKS, BLOCK as f64)
            .await?,
        flush_alone: area.flush_alone(duration).await?,
        flush_under_writes: area.flush_under_writes(ring, duration).await?,
        flush_under_one_read: area.flush_under_reads(ring, duration, 1).await?,
        flush_under_reads: area.flush_under_reads(ring, duration, DEPTH_LARGE).await?,
    })
}

/// Bytes of a megabyte, the unit of most rates.
const MB: f64 = 1e6;

/// Bytes no device can shrink.
fn filled(len: usize) -> Bytes {
    let mut buffer = Buffer::with_capacity(len);
    buffer.extend_from_slice(&noise(len));
    buffer.freeze()
}

/// The file, used from its start to its end and again.
pub struct Area {
    file: File,
    bytes: u64,
    next: Cell<u64>,
    content: Bytes,
}

impl Area {
    /// The file at `path`, created and allocated where it is not there, and whether it is read and written directly.
    pub async fn open(ring: &Ring, path: &Path, bytes: u64) -> Result<(Rc<Area>, bool), Fault> {
        let dir = path.parent().ok_or("a file without a directory")?;
        let direct = fs::direct_io(ring, dir).await?.is_some();
        let how = Open {
            read: true,
            write: true,
            create: true,
            direct,
            ..Open::default()
        };
        let file = File::open(ring, path, how).await?;
        file.allocate(0, bytes).await?;
        file.sync_all().await?;
        let area = Area {
            file,
            bytes,
            next: Cell::new(0),
            content: filled(MIB),
        };
        Ok((Rc::new(area), direct))
    }

    /// The file, to be flushed.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn take(&self, len: usize) -> u64 {
        let at = self.next.get();
        let at = if at + len as u64 > self.bytes { 0 } else { at };
        self.next.set(at + len as u64);
        at
    }

    /// Writes `len` bytes, at most 1 MiB, at the next place.
    pub async fn write_one(&self, len: usize) -> io::Result<u64> {
        let at = self.take(len);
        self.file
            .write_at(vec![self.content.slice(0..len)], at)
            .await?;
        Ok(len as u64)
    }

    /// Reads 1 MiB at the next place; how many bytes came.
    pub async fn read_one(&self) -> io::Result<u64> {
        let at = self.take(MIB);
        Ok(self.file.read_at(at, MIB).await?.len() as u64)
    }

    /// Once over the whole file, in as many slices: only the first pass meets unwritten blocks.
    pub async fn first_pass(self: &Rc<Self>, ring: &Ring) -> Result<Rate, Fault> {
        let mut slices = Vec::new();
        let slice = self.bytes / u64::from(SLICES);
        for _ in 0..SLICES {
            let (left, began) = (Cell::new(slice / MIB as u64), Instant::now());
            let left = Rc::new(left);
            let area = self.clone();
            let counted = left.clone();
            let work = Work::start(ring, DEPTH_LARGE, move || {
                let area = area.clone();
                let go_on = counted.get() > 0;
                counted.set(counted.get().saturating_sub(1));
                async move {
                    match go_on {
                        true => area.write_one(MIB).await,
                        false => Ok(0),
                    }
                }
            });
            while left.get() > 0 && work.live.get() > 0 {
                ring.sleep(Duration::from_millis(1)).await;
            }
            let bytes = work.finish(ring).await?;
            slices.push(bytes as f64 / began.elapsed().as_secs_f64() / MB);
        }
        self.file.sync_data().await?;
        Ok(Rate::of(slices))
    }

    /// Writes of `len` bytes, in units of `unit` bytes a second.
    async fn write(
        self: &Rc<Self>,
        ring: &Ring,
        duration: Duration,
        len: usize,
        depth: usize,
        unit: f64,
    ) -> Result<Rate, Fault> {
        let area = self.clone();
        let one = move || {
            let area = area.clone();
            async move { area.write_one(len).await }
        };
        Work::start(ring, depth, one)
            .rate(ring, duration, unit)
            .await
    }

    async fn read(self: &Rc<Self>, ring: &Ring, duration: Duration) -> Result<Rate, Fault> {
        self.reading(ring, DEPTH_LARGE)
            .rate(ring, duration, MB)
            .await
    }

    /// So many reads at a time, until it is told to end.
    fn reading(self: &Rc<Self>, ring: &Ring, depth: usize) -> Work {
        let area = self.clone();
        Work::start(ring, depth, move || {
            let area = area.clone();
            async move { area.read_one().await }
        })
    }

    /// Writes that count when they are flushed, in groups, as a broker commits.
    async fn flushed(
        self: &Rc<Self>,
        ring: &Ring,
        duration: Duration,
        len: usize,
        depth: usize,
    ) -> Result<Rate, Fault> {
        let commit = Rc::new(Commit::default());
        let area = self.clone();
        let one = move || {
            let (area, commit) = (area.clone(), commit.clone());
            async move {
                let written = area.write_one(len).await?;
                commit.flush(&area.file).await?;
                Ok(written)
            }
        };
        Work::start(ring, depth, one).rate(ring, duration, MB).await
    }

    async fn flush_alone(&self, duration: Duration) -> Result<Latency, Fault> {
        let mut latencies = latencies();
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.write_one(BLOCK).await?;
            latencies.saturating_record(self.timed_flush().await?);
        }
        Ok(Latency::of(&latencies))
    }

    async fn flush_under_writes(
        self: &Rc<Self>,
        ring: &Ring,
        duration: Duration,
    ) -> Result<Latency, Fault> {
        let area = self.clone();
        let work = Work::start(ring, DEPTH_LARGE - 1, move || {
            let area = area.clone();
            async move { area.write_one(MIB).await }
        });
        let mut latencies = latencies();
        let end = Instant::now() + duration;
        while Instant::now() < end {
            latencies.saturating_record(self.timed_flush().await?);
        }
        work.finish(ring).await?;
        Ok(Latency::of(&latencies))
    }

    async fn flush_under_reads(
        self: &Rc<Self>,
        ring: &Ring,
        duration: Duration,
        depth: usize,
    ) -> Result<Latency, Fault> {
        let work = self.reading(ring, depth);
        let latency = self.flush_alone(duration).await?;
        work.finish(ring).await?;
        Ok(latency)
    }

    async fn timed_flush(&self) -> io::Result<u64> {
        let began = Instant::now();
        self.file.sync_data().await?;
        Ok(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
