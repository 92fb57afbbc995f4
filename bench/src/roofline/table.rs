//! A roofline as text.

use std::fmt::Write as _;

use super::disk::Disk;
use super::memory::Memory;
use super::{Latency, Rate, Roofline};

/// One line for each figure.
pub fn text(roofline: &Roofline) -> String {
    let mut text = String::new();
    for disk in &roofline.disks {
        disk_lines(&mut text, disk);
    }
    let network = &roofline.network;
    heading(&mut text, &format!("network to {}", network.to));
    let lines = &mut text;
    rate(
        lines,
        "1 MiB x 5, one connection",
        "MB/s",
        network.mb_per_second,
    );
    latency(lines, "64 bytes there and back", network.round_trip);
    memory_lines(lines, &roofline.memory);
    text
}

fn disk_lines(text: &mut String, disk: &Disk) {
    let how = match disk.direct {
        true => "O_DIRECT",
        false => "no direct I/O here",
    };
    heading(text, &format!("disk {} ({how})", disk.dir.display()));
    for (name, unit, value) in [
        (
            "write 1 MiB x 5, new blocks",
            "MB/s",
            disk.write_new_mb_per_second,
        ),
        (
            "write 1 MiB x 5, written blocks",
            "MB/s",
            disk.write_again_mb_per_second,
        ),
        ("read 1 MiB x 5", "MB/s", disk.read_mb_per_second),
        (
            "write 1 MiB x 5, flushed",
            "MB/s",
            disk.flushed_1m_mb_per_second,
        ),
        (
            "write 64 KiB x 80, flushed",
            "MB/s",
            disk.flushed_64k_mb_per_second,
        ),
        ("write 4 KiB x 64", "/s", disk.writes_4k_per_second),
    ] {
        rate(text, name, unit, value);
    }
    latency(text, "flush after 4 KiB", disk.flush_alone);
    latency(text, "flush under 1 MiB writes", disk.flush_under_writes);
    latency(
        text,
        "flush after 4 KiB, 1 MiB read x 1",
        disk.flush_under_one_read,
    );
    latency(
        text,
        "flush after 4 KiB, 1 MiB read x 5",
        disk.flush_under_reads,
    );
}

fn memory_lines(text: &mut String, memory: &Memory) {
    heading(text, "one core");
    rate(
        text,
        "copy 1 MiB",
        "GB/s",
        memory.copy_in_cache_gb_per_second,
    );
    rate(
        text,
        "copy 256 MiB",
        "GB/s",
        memory.copy_in_memory_gb_per_second,
    );
    rate(
        text,
        "CRC-32C of 1 MiB",
        "GB/s",
        memory.crc32c_gb_per_second,
    );
    for (name, hop) in [
        ("to a core that spins", memory.hop_spinning),
        ("to a core that sleeps in its ring", memory.hop_mailbox),
    ] {
        match hop {
            Some(hop) => latency(text, name, hop),
            None => line(text, name, "one CPU only"),
        }
    }
}

fn heading(text: &mut String, name: &str) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "{name}");
}

fn rate(text: &mut String, name: &str, unit: &str, rate: Rate) {
    let digits = usize::from(rate.median < 100.0);
    let shown = format!(
        "{:.digits$} {unit}  ({:.digits$} to {:.digits$})",
        rate.median, rate.min, rate.max
    );
    line(text, name, &shown);
}

fn latency(text: &mut String, name: &str, latency: Latency) {
    let shown = format!(
        "p50 {:.1} µs  p99 {:.1}  p99.9 {:.1}  max {:.1}",
        latency.p50_us, latency.p99_us, latency.p99_9_us, latency.max_us
    );
    line(text, name, &shown);
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<34} {value}");
}
