//! The targets, one file each.

mod batches;
mod codecs;
mod config;
mod directories;
mod groups;
mod journal;
mod messages;
mod metadata;
mod requests;
mod small_files;

/// One decoder, or a family of them.
pub struct Target {
    /// As on the command line.
    pub name: &'static str,
    /// What to begin with: recorded, or written by our own code.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes any bytes; panics where a promise is broken.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    requests::TARGET,
    messages::TARGET,
    batches::TARGET,
    codecs::TARGET,
    journal::TARGET,
    small_files::TARGET,
    directories::TARGET,
    metadata::TARGET,
    groups::TARGET,
    config::TARGET,
];

/// The target of this name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target {name}"))
}
