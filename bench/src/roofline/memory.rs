//! What one core does with bytes, and how long a word takes to another core.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream_ring::{CoreOptions, mesh};
use serde::{Deserialize, Serialize};

use super::{Latency, Rate, SLICES, latencies};
use crate::Fault;
use crate::load::CpuList;

/// A batch: what is copied and checked again and again stays in the cache.
const IN_CACHE: usize = 1 << 20;
/// Beyond any cache.
const IN_MEMORY: usize = 256 << 20;
const MAILBOX: usize = 16;
/// How long a word may take through the memory before we take the other core for stopped.
const HOPS_CHECKED: u64 = 1 << 12;

/// What a core does. GB are 10⁹ bytes, counted once where they are read and written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Copies of 1 MiB.
    pub copy_in_cache_gb_per_second: Rate,
    /// Copies of 256 MiB.
    pub copy_in_memory_gb_per_second: Rate,
    /// CRC-32C of 1 MiB.
    pub crc32c_gb_per_second: Rate,
    /// A cache line to another core that spins on it, half of there and back. Absent with one CPU.
    pub hop_spinning: Option<Latency>,
    /// A message to a core that sleeps in its ring, half of there and back. Absent with one CPU.
    pub hop_mailbox: Option<Latency>,
}

/// Measures on the first CPU and, for the hop, the second.
pub fn measure(duration: Duration, cpus: &CpuList) -> Result<Memory, Fault> {
    let pinned = cpus.at(0);
    let bytes = std::thread::spawn(move || {
        pin(pinned);
        bytes(duration)
    });
    let (copy_in_cache_gb_per_second, copy_in_memory_gb_per_second, crc32c_gb_per_second) =
        bytes.join().map_err(|_| "the measuring thread panicked")?;
    let alone = std::thread::available_parallelism()?.get() < 2
        || (cpus.at(0).is_some() && cpus.at(0) == cpus.at(1));
    let (hop_spinning, hop_mailbox) = match alone {
        true => (None, None),
        false => (
            Some(spinning(duration, cpus)?),
            Some(mailbox(duration, cpus)?),
        ),
    };
    Ok(Memory {
        copy_in_cache_gb_per_second,
        copy_in_memory_gb_per_second,
        crc32c_gb_per_second,
        hop_spinning,
        hop_mailbox,
    })
}

fn pin(cpu: Option<usize>) {
    if let Some(id) = cpu {
        // Refused for a CPU the process may not use: then it runs where it may.
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
}

fn bytes(duration: Duration) -> (Rate, Rate, Rate) {
    let source = crate::produce::payload::noise(IN_MEMORY);
    let mut target = vec![0u8; IN_MEMORY];
    let cache = rate(duration, IN_CACHE, || {
        black_box(&mut target[..IN_CACHE]).copy_from_slice(black_box(&source[..IN_CACHE]));
    });
    let memory = rate(duration, IN_MEMORY, || {
        black_box(&mut target[..]).copy_from_slice(black_box(&source));
    });
    let crc = rate(duration, IN_CACHE, || {
        black_box(crc32c::crc32c(black_box(&source[..IN_CACHE])));
    });
    (cache, memory, crc)
}

fn rate(duration: Duration, bytes: usize, mut one: impl FnMut()) -> Rate {
    let slices = (0..SLICES).map(|_| {
        let (began, mut rounds) = (Instant::now(), 0u32);
        while began.elapsed() < duration / SLICES {
            one();
            rounds += 1;
        }
        f64::from(rounds) * bytes as f64 / 1e9 / began.elapsed().as_secs_f64()
    });
    Rate::of(slices.collect())
}

/// Two threads, one cache line: each waits for the other's number.
fn spinning(duration: Duration, cpus: &CpuList) -> Result<Latency, Fault> {
    const END: u64 = u64::MAX;
    let line = Arc::new(AtomicU64::new(0));
    let (theirs, cpu) = (line.clone(), cpus.at(1));
    let other = std::thread::spawn(move || {
        pin(cpu);
        loop {
            match theirs.load(Ordering::Acquire) {
                END => return,
                // Odd numbers are for us.
                number if number % 2 == 1 => theirs.store(number + 1, Ordering::Release),
                _ => spin_loop(),
            }
        }
    });
    let cpu = cpus.at(0);
    let own = std::thread::spawn(move || {
        pin(cpu);
        let mut latencies = latencies();
        let (end, mut number) = (Instant::now() + duration, 0);
        while number % HOPS_CHECKED != 0 || Instant::now() < end {
            let began = Instant::now();
            line.store(number + 1, Ordering::Release);
            while line.load(Ordering::Acquire) != number + 2 {
                spin_loop();
            }
            number += 2;
            latencies.saturating_record(half(began));
        }
        line.store(END, Ordering::Release);
        Latency::of(&latencies)
    });
    let latency = own.join().map_err(|_| "the measuring thread panicked")?;
    other.join().map_err(|_| "the other thread panicked")?;
    Ok(latency)
}

/// Two cores with their rings: what a request for another core's partition pays, twice.
fn mailbox(duration: Duration, cpus: &CpuList) -> Result<Latency, Fault> {
    let mut ends = mesh::<bool>(2, MAILBOX).into_iter();
    let (first, second) = (ends.next().ok_or("no mesh")?, ends.next().ok_or("no mesh")?);
    let core = |at: usize| CoreOptions {
        cpu: cpus.at(at),
        name: format!("hop-{at}"),
        scratch_dirs: vec![std::env::temp_dir()],
        ..CoreOptions::default()
    };
    let other = millstream_ring::start(core(1), move |ring| async move {
        let mailbox = second.join(&ring);
        // `false` ends it; answered like any other, so that both ends live until it has arrived.
        loop {
            let (from, message) = mailbox.recv().await;
            mailbox.send(from, message).await;
            if !message {
                return;
            }
        }
    })?;
    let own = millstream_ring::start(core(0), move |ring| async move {
        let mailbox = first.join(&ring);
        let mut latencies = latencies();
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let began = Instant::now();
            mailbox.send(1, true).await;
            mailbox.recv().await;
            latencies.saturating_record(half(began));
        }
        mailbox.send(1, false).await;
        mailbox.recv().await;
        Latency::of(&latencies)
    })?;
    let latency = own.join().map_err(|_| "the measuring core panicked")?;
    other.join().map_err(|_| "the other core panicked")?;
    Ok(latency)
}

fn half(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos() / 2).unwrap_or(u64::MAX)
}
