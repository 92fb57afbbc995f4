//! A roofline as text.

use std::fmt::Write as _;

use super::{Latency, Rate, Roofline};

/// One line for each figure.
pub fn text(roofline: &Roofline) -> String {
    let mut text = String::new();
    for disk in &roofline.disks {
        let how = if disk.direct {
            "O_DIRECT"
        } else {
            "no direct I/O here"
        };
        heading(&mut text, &format!("disk {} ({how})", disk.dir.display()));
        rate(
            &mut text,
            "write 1 MiB x 5, new blocks",
            "MB/s",
            disk.write_new_mb_per_second,
        );
        rate(
            &mut text,
            "write 1 MiB x 5, written blocks",
            "MB/s",
            disk.write_again_mb_per_second,
        );
        rate(&mut text, "read 1 MiB x 5", "MB/s", disk.read_mb_per_second);
        rate(
            &mut text,
            "write 1 MiB x 5, flushed",
            "MB/s",
            disk.flushed_1m_mb_per_second,
        );
        rate(
            &mut text,
            "write 64 KiB x 80, flushed",
            "MB/s",
            disk.flushed_64k_mb_per_second,
        );
        rate(
            &mut text,
            "write 4 KiB x 64",
            "/s",
            disk.writes_4k_per_second,
        );
        latency(&mut text, "flush after 4 KiB", disk.flush_alone);
        latency(
            &mut text,
            "flush under 1 MiB writes",
            disk.flush_under_writes,
        );
    }
    heading(&mut text, &format!("network to {}", roofline.network.to));
    rate(
        &mut text,
        "1 MiB x 5, one connection",
        "MB/s",
        roofline.network.mb_per_second,
    );
    latency(
        &mut text,
        "64 bytes there and back",
        roofline.network.round_trip,
    );
    heading(&mut text, "one core");
    let memory = &roofline.memory;
    rate(
        &mut text,
        "copy 1 MiB",
        "GB/s",
        memory.copy_in_cache_gb_per_second,
    );
    rate(
        &mut text,
        "copy 256 MiB",
        "GB/s",
        memory.copy_in_memory_gb_per_second,
    );
    rate(
        &mut text,
        "CRC-32C of 1 MiB",
        "GB/s",
        memory.crc32c_gb_per_second,
    );
    for (name, hop) in [
        ("to a core that spins", memory.hop_spinning),
        ("to a core that sleeps in its ring", memory.hop_mailbox),
    ] {
        match hop {
            Some(hop) => latency(&mut text, name, hop),
            None => line(&mut text, name, "one CPU only"),
        }
    }
    text
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
