//! From file, environment and flags to one validated [`Config`].
//!
//! Precedence, strongest first: `--set`, `--cores` and `--memory`, `KAFKA_CFG_*`, `KAFKA_*`, the properties file, defaults.
//! Everything that can be wrong is found here, before anything is opened or written.

mod broker;
mod cores;
mod environment;
mod error;
mod listeners;
mod properties;
pub(crate) mod relations;
mod sources;
mod topic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use broker::BrokerConfig;
pub use error::{ConfigError, Origin};
pub use listeners::{Listener, Machine};
pub use sources::Inputs;
pub use topic::{CompressionType, TimestampType, TopicConfig};

use crate::knobs::layers::{Layers, Overrides};
use crate::knobs::{self, Scope, Use};
use sources::Settings;

/// What a broker process is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// `node.id`.
    pub node_id: i32,
    /// Cluster id given by the environment (`CLUSTER_ID`, `KAFKA_CLUSTER_ID`, `KAFKA_KRAFT_CLUSTER_ID`): 22
    /// characters of URL-safe base64. It names a new cluster; an existing data directory knows its own.
    pub cluster_id: Option<String>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// The listeners to open, in the order given. Never empty.
    pub listeners: Vec<Listener>,
    /// Names of controller listeners, validated but not opened while a cluster has one node.
    pub controller_listeners: Vec<String>,
    /// Data directories, never empty, as given: relative ones are below the working directory.
    pub log_dirs: Vec<PathBuf>,
    /// `metrics.listener`, with port 0 for one that the kernel chooses; `None`: metrics are not served.
    pub metrics_listener: Option<SocketAddr>,
    /// `--cores`, sorted; `None` for every core the process may use.
    pub cores: Option<Vec<usize>>,
    /// The static level of DescribeConfigs: what file, environment and flags set, by Kafka's name.
    pub fixed: Arc<Overrides>,
    /// Typed broker values while no dynamic ones are known; see [`BrokerConfig::resolve`].
    pub broker: BrokerConfig,
    /// Worth a line at start: unknown variables, settings without effect. One line each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks everything.
    pub fn load(inputs: &Inputs, machine: &Machine) -> Result<Config, ConfigError> {
        let mut settings = sources::gather(inputs)?;
        settings.fill_listeners();
        let fixed = Arc::new(settings.overrides());
        let layers = Layers::fixed(fixed.clone());
        relations::check(&settings, &layers)?;
        let listeners = listeners::resolve(&settings, &layers, machine)?;
        Ok(Config {
            node_id: node_id(&settings, &layers)?,
            cluster_id: settings.cluster_id.clone(),
            rack: layers.text("broker.rack"),
            listeners: listeners.open,
            controller_listeners: listeners.controller,
            log_dirs: log_dirs(&settings, &layers)?,
            metrics_listener: listeners::metrics(&settings, &layers, machine)?,
            cores: cores(&settings, &layers)?,
            broker: BrokerConfig::resolve(&layers),
            warnings: warnings(&settings, &fixed),
            fixed,
        })
    }

    /// All levels with the dynamic values the metadata holds: for this broker, and for all.
    pub fn layers(&self, broker: Overrides, cluster: Overrides) -> Layers {
        Layers {
            broker: Arc::new(broker),
            cluster: Arc::new(cluster),
            fixed: self.fixed.clone(),
        }
    }

    /// True when, as by default, every acknowledged record has been flushed. Start-up names a weaker default.
    pub fn is_flushed_class(&self) -> bool {
        Layers::fixed(self.fixed.clone()).long("log.flush.interval.messages") == 1
    }
}

fn node_id(settings: &Settings, layers: &Layers) -> Result<i32, ConfigError> {
    let id = layers.int("node.id");
    let Some(old) = settings.get("broker.id").map(|_| layers.int("broker.id")) else {
        return Ok(id);
    };
    match settings.get("node.id") {
        Some(_) if old != id => Err(settings.error(
            "broker.id",
            format!("broker.id is {old}, but node.id is {id}"),
            "broker.id is the old name of node.id; leave it out",
        )),
        Some(_) => Ok(id),
        None if old < 0 => {
            Err(settings.error("broker.id", format!("{old} is no node id"), "use 0 or more"))
        }
        None => Ok(old),
    }
}

fn log_dirs(settings: &Settings, layers: &Layers) -> Result<Vec<PathBuf>, ConfigError> {
    let name = if settings.get("log.dirs").is_some() {
        "log.dirs"
    } else {
        "log.dir"
    };
    let dirs = layers.list(name);
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        return Err(settings.error(
            name,
            "no directory, or an empty one between two commas",
            "name at least one directory",
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = dirs
        .iter()
        .find(|dir| !seen.insert(dir.trim_end_matches('/')))
    {
        return Err(settings.error(
            name,
            format!("{twice} stands there twice"),
            "name each directory once",
        ));
    }
    Ok(dirs.into_iter().map(PathBuf::from).collect())
}

fn cores(settings: &Settings, layers: &Layers) -> Result<Option<Vec<usize>>, ConfigError> {
    let Some(text) = layers.text("cores").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let parsed = cores::parse(&text);
    parsed
        .map(Some)
        .map_err(|what| settings.error("cores", what, "write it as 0,2-7"))
}

fn warnings(settings: &Settings, fixed: &Overrides) -> Vec<String> {
    let mut warnings = settings.warnings.clone();
    let with = |usage: Use| {
        let rows = fixed.keys().filter(|name| {
            let knob = knobs::find(Scope::Broker, name).or_else(|| knobs::recognise(name));
            knob.map_or(usage == Use::Nothing, |knob| knob.usage == usage)
        });
        rows.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let (later, nothing) = (with(Use::Later), with(Use::Nothing));
    if !later.is_empty() {
        warnings.push(format!(
            "accepted, but what they control is not built yet: {later}"
        ));
    }
    if !nothing.is_empty() {
        warnings.push(format!("accepted, without meaning here: {nothing}"));
    }
    warnings
}

#[cfg(test)]
mod tests;
