//! The one table of knobs.
//!
//! One row per setting: name, type, default, valid values, live or restart, whether it is obeyed, and a
//! sentence. The parser of `server.properties`, the checks behind CreateTopics and AlterConfigs, the rows
//! of DescribeConfigs and the reference in `tuning.md` all come from these rows and from nothing else.
//!
//! Names, types, defaults and ranges are those of Kafka 4.3 (`kafka.server.KafkaConfig`, `LogConfig`,
//! `GroupConfig`, `ClientMetricsConfigs`). What differs on purpose stands in [`DIFFERENCES`].

mod group;
mod groups;
mod log;
mod network;
mod node;
mod own;
mod quotas;
mod replication;
mod security;
mod share;
mod tiering;
mod topic;
mod transactions;

pub mod alter;
pub mod describe;
pub mod layers;
pub mod reference;
pub mod value;

use std::collections::HashMap;
use std::sync::OnceLock;

/// What a setting belongs to: the resource types of DescribeConfigs that hold settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One topic; dynamic, weaker levels come from broker settings.
    Topic,
    /// The broker: file, environment, flags, and dynamic values for one broker or for all.
    Broker,
    /// One group; dynamic, weaker levels come from broker settings.
    Group,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics,
}

/// Kafka's `ConfigDef.Type`; the number is what DescribeConfigs answers from version 3 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Type {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits, signed.
    Int = 3,
    /// 16 bits, signed.
    Short = 4,
    /// 64 bits, signed.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// Text that is never shown again.
    Password = 9,
}

/// Which values a knob takes, beyond its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    /// Every value of the type.
    Any,
    /// At least this much.
    AtLeast(i64),
    /// From the first to the second, both included.
    Between(i64, i64),
    /// From the first to the second, or exactly the third.
    BetweenOr(i64, i64, i64),
    /// One of these texts; for a list, each of its elements.
    OneOf(&'static [&'static str]),
    /// One of these texts in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// Text that is not empty.
    NonEmpty,
    /// `*` or a list of `partition:broker`.
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` with an ISO 8601 duration.
    OffsetReset,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// At the next start: fixed by file, environment or flag.
    Restart,
    /// At once, for one broker.
    PerBroker,
    /// At once, for one broker or for all.
    Cluster,
}

/// What the setting does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It controls what its sentence says.
    Obeyed,
    /// Stored, checked and shown; what it controls is not built yet.
    Later,
    /// Accepted so that existing files work; it controls something that does not exist here.
    Nothing,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Kafka's name, or ours for what only exists here.
    pub name: &'static str,
    /// The resource it belongs to.
    pub scope: Scope,
    /// Type of its values.
    pub kind: Type,
    /// Value when nothing sets it, as text; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Values it takes.
    pub valid: Valid,
    /// When a change takes effect.
    pub live: Live,
    /// What it does here.
    pub usage: Use,
    /// Shown only when it is set, and left out of the reference: Kafka's internal settings.
    pub hidden: bool,
    /// For topics and groups: the broker setting that supplies the weaker levels.
    pub broker_synonym: Option<&'static str>,
    /// Meaning in a sentence.
    pub sentence: &'static str,
}

impl Knob {
    /// True for values that are never shown, only set.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Type::Password
    }
}

/// The themes of the table, in the order of the reference.
pub const THEMES: &[(&str, &[Knob])] = &[
    ("Topics", topic::TOPIC),
    ("Millstream's own", own::OWN),
    ("Listeners, connections and requests", network::NETWORK),
    ("Topics, logs and retention (broker)", log::LOG),
    ("Consumer groups and committed offsets", groups::GROUPS),
    ("Identity, roles and the metadata quorum", node::NODE),
    ("Replication", replication::REPLICATION),
    ("Transactions", transactions::TRANSACTIONS),
    ("Share groups", share::SHARE),
    ("Security", security::SECURITY),
    ("Quotas, metrics and providers", quotas::QUOTAS),
    ("Tiered storage", tiering::TIERING),
    ("Groups (resource GROUP)", group::GROUP),
    (
        "Client metrics (resource CLIENT_METRICS)",
        group::CLIENT_METRICS,
    ),
];

/// Defaults that differ from Kafka's on purpose: name, Kafka's default, why.
pub const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "flush.messages",
        "9223372036854775807",
        "an acknowledged record is on the device",
    ),
    (
        "log.flush.interval.messages",
        "9223372036854775807",
        "an acknowledged record is on the device",
    ),
    (
        "group.initial.rebalance.delay.ms",
        "3000",
        "a first poll comes at once, as with Kafka's container images",
    ),
    (
        "listeners",
        "PLAINTEXT://:9092",
        "nothing is opened to the network unless asked for",
    ),
    (
        "log.dir",
        "/tmp/kafka-logs",
        "data does not belong into a directory that is emptied at boot",
    ),
    ("node.id", "required", "one command starts a broker"),
    ("process.roles", "required", "one command starts a broker"),
    (
        "controller.listener.names",
        "required",
        "one command starts a broker",
    ),
];

/// Settings that fall back on each other, strongest first, each chain in the units of its names
/// (`DynamicBrokerConfig.brokerConfigSynonyms`).
const CHAINS: &[&[&str]] = &[
    &[
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Knob> {
    THEMES.iter().flat_map(|(_, rows)| rows.iter())
}

/// All rows of one scope.
pub fn of(scope: Scope) -> impl Iterator<Item = &'static Knob> {
    all().filter(move |knob| knob.scope == scope)
}

/// The row with exactly this name.
pub fn find(scope: Scope, name: &str) -> Option<&'static Knob> {
    static INDEX: OnceLock<HashMap<(Scope, &'static str), &'static Knob>> = OnceLock::new();
    let index = INDEX.get_or_init(|| all().map(|knob| ((knob.scope, knob.name), knob)).collect());
    index.get(&(scope, name)).copied()
}

/// Broker names that a broker setting falls back on, itself among them, strongest first.
pub fn chain(name: &str) -> Vec<&str> {
    match CHAINS.iter().find(|chain| chain.contains(&name)) {
        Some(chain) => chain.to_vec(),
        None => vec![name],
    }
}

/// The row behind a broker name as files and environments spell it, and the name in full: exact names, and
/// `listener.name.<listener>.[<mechanism>.]<name>`, which overrides a setting for one listener.
pub fn recognise(name: &str) -> Option<&'static Knob> {
    if let Some(knob) = find(Scope::Broker, name) {
        return Some(knob);
    }
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let mechanism = || {
        rest.split_once('.')
            .and_then(|(_, rest)| find(Scope::Broker, rest))
    };
    find(Scope::Broker, rest).or_else(mechanism)
}

/// Prefixes below which Kafka's plug-ins keep settings of their own. They mean nothing here, but files have them.
const PLUGIN_PREFIXES: &[&str] = &[
    "config.providers.",
    "metrics.context.",
    "rlmm.config.",
    "rsm.config.",
];

/// True for a setting of one of Kafka's plug-ins.
pub fn is_plugin_setting(name: &str) -> bool {
    PLUGIN_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The known broker name nearest to a wrong one, if any is near enough to be what was meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let score = |knob: &'static Knob| (strsim::jaro_winkler(name, knob.name), knob.name);
    let broker = of(Scope::Broker).filter(|knob| !knob.hidden).map(score);
    let (similarity, nearest) = broker.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (similarity > 0.8).then_some(nearest)
}

/// Declares rows, one a line: `"name" Type "default" valid live use "sentence";` for brokers, and with
/// the broker synonym in second place (`_` for none) for topics and groups, which are always live.
macro_rules! rows {
    (broker: $($name:literal $kind:ident $default:tt $valid:tt $live:ident $usage:ident $sentence:literal;)*) => {
        &[$(Knob {
            name: $name,
            scope: Scope::Broker,
            kind: Type::$kind,
            default: $crate::knobs::text!($default),
            valid: $crate::knobs::valid!($valid),
            live: $crate::knobs::live!($live),
            usage: $crate::knobs::usage!($usage),
            hidden: $crate::knobs::hidden!($usage),
            broker_synonym: None,
            sentence: $sentence,
        }),*]
    };
    ($scope:ident from: $($name:literal $synonym:tt $kind:ident $default:tt $valid:tt $usage:ident $sentence:literal;)*) => {
        &[$(Knob {
            name: $name,
            scope: $crate::knobs::scope!($scope),
            kind: Type::$kind,
            default: $crate::knobs::text!($default),
            valid: $crate::knobs::valid!($valid),
            live: Live::Cluster,
            usage: $crate::knobs::usage!($usage),
            hidden: $crate::knobs::hidden!($usage),
            broker_synonym: $crate::knobs::text!($synonym),
            sentence: $sentence,
        }),*]
    };
}
#[rustfmt::skip]
macro_rules! scope {
    (topic) => { Scope::Topic };
    (group) => { Scope::Group };
    (client_metrics) => { Scope::ClientMetrics };
}
#[rustfmt::skip]
macro_rules! text {
    (null) => { None };
    (_) => { None };
    ($text:literal) => { Some($text) };
}
#[rustfmt::skip]
macro_rules! valid {
    (_) => { Valid::Any };
    ([$least:literal ..]) => { Valid::AtLeast($least) };
    ([$least:literal .. $most:literal]) => { Valid::Between($least, $most) };
    ([$least:literal .. $most:literal or $other:literal]) => { Valid::BetweenOr($least, $most, $other) };
    ({$($text:literal)*}) => { Valid::OneOf(&[$($text),*]) };
    ((any case $($text:literal)*)) => { Valid::OneOfAnyCase(&[$($text),*]) };
    (nonempty) => { Valid::NonEmpty };
    (throttled) => { Valid::ThrottledReplicas };
    (offset_reset) => { Valid::OffsetReset };
}
#[rustfmt::skip]
macro_rules! live {
    (restart) => { Live::Restart };
    (broker) => { Live::PerBroker };
    (cluster) => { Live::Cluster };
}
// `unlisted`: Kafka has no definition of it, so it is shown only when set; `hidden`: internal to Kafka.
#[rustfmt::skip]
macro_rules! usage {
    (obeyed) => { Use::Obeyed };
    (later) => { Use::Later };
    (unlisted) => { Use::Later };
    (nothing) => { Use::Nothing };
    (hidden) => { Use::Nothing };
}
#[rustfmt::skip]
macro_rules! hidden {
    (unlisted) => { true };
    (hidden) => { true };
    ($other:ident) => { false };
}
use {hidden, live, rows, scope, text, usage, valid};

#[cfg(test)]
mod tests;
