//! `roofline`: what this machine can do, whatever the software. About a minute.
//!
//! Everything goes through the broker's own ring, so that the figures are what a broker could reach that had nothing
//! else to do. Rates are medians of [`SLICES`] slices of each measurement, with the slowest and the fastest: a shared
//! disk varies, and one number would hide it.

pub mod device;
mod disk;
mod in_flight;
mod memory;
mod network;
pub mod table;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::load::CpuList;

/// Parts of a measurement that are rated on their own.
const SLICES: u32 = 5;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Data directory, one for each device; may be repeated. A file is written there and removed.
    #[arg(long = "dir", value_name = "DIR", default_value = ".")]
    dirs: Vec<PathBuf>,
    /// Bytes of that file.
    #[arg(long, default_value_t = 1 << 30)]
    file_bytes: u64,
    /// Seconds of each measurement; there are ten for a directory, two for the network and five for the CPU.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// CPUs: the first measures disk and memory, the first two the network and the hop. Without it nothing is pinned.
    #[arg(long, value_parser = crate::load::cpu_list)]
    cpus: Option<CpuList>,
    /// Address of this machine to listen on and connect to.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    network: SocketAddr,
    /// Measures the network to this address, where another machine runs `roofline --network-serve`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    network_peer: Option<SocketAddr>,
    /// Only answers another machine's `--network-peer` at the address of --network.
    #[arg(long)]
    network_serve: bool,
    /// Writes the result to this file as JSON, too: what --roofline of the other commands reads.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Roofline {
    pub disks: Vec<disk::Disk>,
    pub network: network::Network,
    pub memory: memory::Memory,
}

impl Roofline {
    /// As `--json` wrote it.
    pub fn read(path: &Path) -> Result<Roofline, Fault> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&text)
            .map_err(|error| format!("{} is no roofline: {error}", path.display()))?)
    }

    /// MB/s that all disks together write and flush at a depth and cadence like a broker's: the higher of the two that
    /// were measured, as whoever is compared may choose.
    pub fn flushed_mb_per_second(&self) -> f64 {
        let best = |disk: &disk::Disk| {
            let (large, small) = (
                disk.flushed_1m_mb_per_second.median,
                disk.flushed_64k_mb_per_second.median,
            );
            large.max(small)
        };
        self.disks.iter().map(best).sum()
    }

    /// MB/s that all disks together write to blocks they never wrote before, as every log does.
    pub fn new_blocks_mb_per_second(&self) -> f64 {
        let of = |disk: &disk::Disk| disk.write_new_mb_per_second.median;
        self.disks.iter().map(of).sum()
    }

    /// MB/s over one connection.
    pub fn network_mb_per_second(&self) -> f64 {
        self.network.mb_per_second.median
    }
}

/// A rate: median, slowest and fastest slice.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rate {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Rate {
    /// Of one value for each slice. Panics without any.
    fn of(mut slices: Vec<f64>) -> Rate {
        slices.sort_by(f64::total_cmp);
        Rate {
            median: slices[slices.len() / 2],
            min: slices[0],
            max: slices[slices.len() - 1],
        }
    }
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub max_us: f64,
}

/// For nanoseconds up to a minute. Fixed bounds: one that resizes itself would saturate where it stands.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("legal bounds and digits")
}

impl Latency {
    fn of(nanoseconds: &Histogram<u64>) -> Latency {
        let at = |percentile| nanoseconds.value_at_percentile(percentile) as f64 / 1e3;
        Latency {
            p50_us: at(50.0),
            p99_us: at(99.0),
            p99_9_us: at(99.9),
            max_us: nanoseconds.max() as f64 / 1e3,
        }
    }
}

/// Runs the command.
pub fn run(options: &Options) -> Result<bool, Fault> {
    let cpus = options.cpus.clone().unwrap_or_default();
    if options.network_serve {
        network::serve_only(options.network, cpus.at(0))?;
        return Ok(true);
    }
    let roofline = measure(options, &cpus)?;
    print!("{}", table::text(&roofline));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&roofline)?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(true)
}

/// Of one directory's device and of loopback, on these CPUs; so many seconds each measurement.
pub fn of(dir: &Path, file_bytes: u64, cpus: CpuList, seconds: f64) -> Result<Roofline, Fault> {
    let options = Options {
        dirs: vec![dir.to_owned()],
        file_bytes,
        seconds,
        cpus: None,
        network: (Ipv4Addr::LOCALHOST, 0).into(),
        network_peer: None,
        network_serve: false,
        json: None,
    };
    measure(&options, &cpus)
}

fn measure(options: &Options, cpus: &CpuList) -> Result<Roofline, Fault> {
    let duration = Duration::try_from_secs_f64(options.seconds)?;
    let mut disks = Vec::new();
    for dir in &options.dirs {
        eprintln!("disk {} …", dir.display());
        disks.push(disk::measure(
            dir,
            options.file_bytes,
            duration,
            cpus.at(0),
        )?);
    }
    eprintln!("network …");
    let network = network::measure(options.network, options.network_peer, duration, cpus)?;
    eprintln!("memory, checksum, hop between cores …");
    let memory = memory::measure(duration, cpus)?;
    Ok(Roofline {
        disks,
        network,
        memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_microseconds() {
        let mut latencies = latencies();
        latencies.saturating_record(150_000);
        let shown = Latency::of(&latencies);
        assert!((149.0..151.0).contains(&shown.p50_us), "{shown:?}");
        assert!((149.0..151.0).contains(&shown.max_us), "{shown:?}");
    }

    #[test]
    fn a_rate_is_the_median_slice() {
        let rate = Rate::of(vec![5.0, 1.0, 3.0, 2.0, 9.0]);
        assert_eq!((rate.median, rate.min, rate.max), (3.0, 1.0, 9.0));
    }
}
