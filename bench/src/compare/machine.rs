//! What a comparison ran on, as the kernel tells it.

use std::path::Path;

/// Name and value of what decides results.
pub fn describe(data: &Path) -> Vec<(String, String)> {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        ("CPU", field(&cpu, "model name")),
        ("CPUs of this process", cores.to_string()),
        ("memory", field(&memory, "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("file system", mount(&read("/proc/self/mounts"), data)),
        (
            "TCP congestion control",
            read("/proc/sys/net/ipv4/tcp_congestion_control"),
        ),
        ("load of the last minute", read("/proc/loadavg")),
        ("millstream-bench", env!("CARGO_PKG_VERSION").to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Device, type and options of the deepest mount above `path`.
fn mount(mounts: &str, path: &Path) -> String {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|fields| fields.len() > 3 && path.starts_with(fields[1]));
    let deepest = above.max_by_key(|fields| fields[1].len());
    deepest.map_or_else(
        || "unknown".into(),
        |fields| format!("{} on {}, {}", fields[2], fields[0], fields[3]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\n/dev/b /proc xfs rw,noatime 0 0";
        assert_eq!(
            mount(mounts, Path::new("/proc/self")),
            "xfs on /dev/b, rw,noatime"
        );
        assert_eq!(mount(mounts, Path::new("/")), "ext4 on /dev/a, rw");
    }
}
