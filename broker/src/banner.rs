//! What a start says.

use crate::config::Config;

/// Version, listeners, data, cores, durability, and one line to try.
pub(crate) fn print(config: &Config, cores: &[usize]) {
    let listeners: Vec<String> = config
        .listeners
        .iter()
        .map(|listener| {
            let bound: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
            format!("{}://{} (as {}:{})", listener.name, bound.join(","), listener.advertised_host, listener.advertised_port)
        })
        .collect();
    let directories: Vec<String> = config.log_dirs.iter().map(|path| path.display().to_string()).collect();
    let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
    let durability = match config.is_flushed_class() {
        true => "an acknowledged record is flushed to the device",
        false => "WEAKER THAN FLUSHED: log.flush.interval.messages is above 1",
    };
    println!("millstream {} is ready", env!("CARGO_PKG_VERSION"));
    println!("  listeners   {}", listeners.join("  "));
    println!("  data        {}", directories.join(", "));
    println!("  cores       {}", cores.join(","));
    println!("  durability  {durability}");
    if let Some(first) = config.listeners.first() {
        let (host, port) = (&first.advertised_host, first.advertised_port);
        println!("  try         kafka-topics.sh --bootstrap-server {host}:{port} --create --topic hello");
    }
}
