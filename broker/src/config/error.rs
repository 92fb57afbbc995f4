//! What was wrong, where, and what to do: one line.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the properties file, counted from 1; 0 is the whole file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A `--set`, `--cores` or `--memory`.
    Flag(String),
    /// Nowhere: a default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, 0) => write!(f, "{}", path.display()),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Default => f.write_str("configuration"),
        }
    }
}

/// A configuration that cannot be used; the process ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {what}; {advice}")]
pub struct ConfigError {
    /// What is wrong.
    pub what: String,
    /// Where it was set.
    pub origin: Origin,
    /// What to do about it.
    pub advice: String,
}
