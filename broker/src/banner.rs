//! What a start says.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::config::{Config, Listener};

/// Version, listeners, data, cores, durability, and one line to try.
pub(crate) fn print(config: &Config, cores: &[usize]) {
    say(&text(config, cores));
}

/// Writes to stdout. Whoever started the broker may have closed it: that is no reason to end.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn text(config: &Config, cores: &[usize]) -> String {
    let listeners: Vec<String> = config
        .listeners
        .iter()
        .map(|listener| {
            let bound: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
            format!(
                "{}://{} (as {})",
                listener.name,
                bound.join(","),
                advertised(listener)
            )
        })
        .collect();
    let directories: Vec<String> = config
        .log_dirs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
    let durability = match config.is_flushed_class() {
        true => "an acknowledged record is flushed to the device",
        false => {
            "WEAKER by log.flush.interval.messages: an acknowledged record is written, and flushed to the device later"
        }
    };
    let mut text = format!("millstream {} is ready\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<11} {value}");
    };
    line("listeners", &listeners.join("  "));
    if !config.controller_listeners.is_empty() {
        line(
            "not opened",
            &format!(
                "{}: one node needs no controller listener",
                config.controller_listeners.join(", ")
            ),
        );
    }
    if let Some(address) = config.metrics_listener {
        line("metrics", &format!("http://{address}/metrics"));
    }
    line("data", &directories.join(", "));
    line("cores", &cores.join(","));
    line("durability", durability);
    if let Some(first) = config.listeners.first() {
        line(
            "try",
            &format!(
                "kafka-topics.sh --bootstrap-server {} --create --topic hello",
                advertised(first)
            ),
        );
    }
    text
}

/// As it is written on a command line: an IPv6 address has brackets.
fn advertised(listener: &Listener) -> String {
    let (host, port) = (&listener.advertised_host, listener.advertised_port);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
