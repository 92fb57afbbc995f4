//! What CreateTopics, AlterConfigs and IncrementalAlterConfigs may set.
//!
//! Each function takes the resource's present values and gives back all of its values after the change, or
//! refuses with Kafka's words. Nothing is stored here, so `validateOnly` is to ignore the result.

use std::collections::BTreeSet;

use super::layers::{Layers, Overrides};
use super::value::{self, Value};
use super::{Knob, Live, Scope, Type};

/// Why a change is refused: the kind selects the error code, the text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// INVALID_CONFIG.
    #[error("{0}")]
    InvalidConfig(String),
    /// INVALID_REQUEST.
    #[error("{0}")]
    InvalidRequest(String),
}

/// The resource that is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic by name; whether it exists is the caller's question.
    Topic(&'a str),
    /// This broker.
    Broker,
    /// All brokers: the broker resource with an empty name.
    AllBrokers,
    /// A group by id.
    Group(&'a str),
    /// A client metrics subscription by name.
    ClientMetrics(&'a str),
}

/// The operations of IncrementalAlterConfigs (KIP-339), by their number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Operation {
    /// The value becomes this one.
    Set = 0,
    /// The value becomes the default.
    Delete = 1,
    /// These elements are added to a list.
    Append = 2,
    /// These elements are taken out of a list.
    Subtract = 3,
}

impl Operation {
    /// From its number; `None` for an unknown one, which is an INVALID_REQUEST.
    pub fn from_code(code: i8) -> Option<Operation> {
        let all = [
            Operation::Set,
            Operation::Delete,
            Operation::Append,
            Operation::Subtract,
        ];
        all.into_iter().find(|operation| *operation as i8 == code)
    }

    fn name(self) -> &'static str {
        match self {
            Operation::Set => "SET",
            Operation::Delete => "DELETE",
            Operation::Append => "APPEND",
            Operation::Subtract => "SUBTRACT",
        }
    }
}

/// One step of an incremental change.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Name of the setting.
    pub name: &'a str,
    /// What to do with it.
    pub operation: Operation,
    /// With which value; only DELETE may leave it null.
    pub value: Option<&'a str>,
}

/// IncrementalAlterConfigs for one resource: the values after `steps` were applied to `present`.
pub fn incremental(
    resource: Resource<'_>,
    layers: &Layers,
    present: &Overrides,
    steps: &[Step<'_>],
) -> Result<Overrides, Refusal> {
    check_resource(resource)?;
    check_names(steps.iter().map(|step| step.name))?;
    let null = |step: &&Step<'_>| step.value.is_none() && step.operation != Operation::Delete;
    check_no_nulls(steps.iter().filter(null).map(|step| step.name))?;
    let mut after = present.clone();
    for step in steps {
        apply(resource, &mut after, step)?;
    }
    let touched: Vec<&str> = steps
        .iter()
        .filter(|step| step.operation != Operation::Delete)
        .map(|step| step.name)
        .collect();
    check(resource, layers, &after, &touched)?;
    Ok(after)
}

/// AlterConfigs for one resource: `values` replace everything it had.
pub fn replace(
    resource: Resource<'_>,
    layers: &Layers,
    values: &[(&str, Option<&str>)],
) -> Result<Overrides, Refusal> {
    check_resource(resource)?;
    check_names(values.iter().map(|(name, _)| *name))?;
    check_no_nulls(
        values
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| *name),
    )?;
    let after = collect(values);
    let touched: Vec<&str> = after.keys().map(String::as_str).collect();
    check(resource, layers, &after, &touched)?;
    Ok(after)
}

/// The configs of a topic that CreateTopics is to create.
pub fn new_topic(layers: &Layers, values: &[(&str, Option<&str>)]) -> Result<Overrides, Refusal> {
    let nulls: Vec<&str> = values
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !nulls.is_empty() {
        let text = format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        );
        return Err(Refusal::InvalidConfig(text));
    }
    let after = collect(values);
    check_topic(layers, &after)?;
    Ok(after)
}

fn collect(values: &[(&str, Option<&str>)]) -> Overrides {
    values
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())))
        .collect()
}

fn check_resource(resource: Resource<'_>) -> Result<(), Refusal> {
    let refused = match resource {
        Resource::Topic("") => "Default topic resources are not allowed.",
        Resource::Group("") => "Default group resources are not allowed.",
        Resource::ClientMetrics("") => "Subscription name can't be empty",
        _ => return Ok(()),
    };
    Err(Refusal::InvalidRequest(refused.to_owned()))
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Refusal::InvalidRequest(
                "Error due to duplicate config keys".to_owned(),
            ));
        }
    }
    Ok(())
}

fn check_no_nulls<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Refusal::InvalidRequest(format!(
        "Null value not supported for : {}",
        names.join(",")
    )))
}

fn scope_of(resource: Resource<'_>) -> Scope {
    match resource {
        Resource::Topic(_) => Scope::Topic,
        Resource::Broker | Resource::AllBrokers => Scope::Broker,
        Resource::Group(_) => Scope::Group,
        Resource::ClientMetrics(_) => Scope::ClientMetrics,
    }
}

fn apply(resource: Resource<'_>, values: &mut Overrides, step: &Step<'_>) -> Result<(), Refusal> {
    let given = step.value.unwrap_or_default();
    match step.operation {
        Operation::Set => values.insert(step.name.to_owned(), given.to_owned()),
        Operation::Delete => values.remove(step.name),
        Operation::Append | Operation::Subtract => {
            let knob =
                super::find(scope_of(resource), step.name).filter(|knob| knob.kind == Type::List);
            let knob = knob.ok_or_else(|| {
                let (operation, name) = (step.operation.name(), step.name);
                let text = format!("Can't {operation} to key {name} because its type is not LIST.");
                Refusal::InvalidConfig(text)
            })?;
            let present = values.get(step.name).map(String::as_str).or(knob.default);
            let changed = change_list(present.unwrap_or_default(), step.operation, given);
            values.insert(step.name.to_owned(), changed)
        }
    };
    Ok(())
}

/// Elements are compared without the blanks around them, which Kafka forgets: after a SET of "compact, delete"
/// it cannot subtract delete.
fn change_list(present: &str, operation: Operation, given: &str) -> String {
    let mut items = value::split_list(present);
    for item in value::split_list(given) {
        match operation {
            Operation::Subtract => items.retain(|kept| *kept != item),
            _ if items.contains(&item) => (),
            _ => items.push(item),
        }
    }
    items.join(",")
}

fn check(
    resource: Resource<'_>,
    layers: &Layers,
    after: &Overrides,
    touched: &[&str],
) -> Result<(), Refusal> {
    match resource {
        Resource::Topic(_) => check_topic(layers, after),
        Resource::Group(_) => check_group(layers, after),
        Resource::ClientMetrics(_) => check_client_metrics(after),
        Resource::Broker => check_broker(layers, after, touched, true),
        Resource::AllBrokers => check_broker(layers, after, touched, false),
    }
}

fn invalid(error: impl ToString) -> Refusal {
    Refusal::InvalidConfig(error.to_string())
}

/// Names first, then values, then what two values mean together (`LogConfig.validate`).
fn check_topic(layers: &Layers, after: &Overrides) -> Result<(), Refusal> {
    let row = |name: &String| super::find(Scope::Topic, name);
    if let Some(name) = after.keys().find(|name| row(name).is_none()) {
        return Err(invalid(format!("Unknown topic config name: {name}")));
    }
    for (knob, text) in after
        .iter()
        .filter_map(|(name, text)| Some((row(name)?, text)))
    {
        value::parse(knob, text).map_err(invalid)?;
    }
    if own_or_inherited(layers, after, "remote.storage.enable") == Some(Value::Boolean(true)) {
        let text = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with \
                    remote log storage.";
        return Err(invalid(text));
    }
    let number = |name: &str| match own_or_inherited(layers, after, name) {
        Some(Value::Whole(number)) => Some(number),
        _ => None,
    };
    match (
        number("min.compaction.lag.ms"),
        number("max.compaction.lag.ms"),
    ) {
        (Some(least), Some(most)) if least > most => Err(invalid(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        ))),
        _ => Ok(()),
    }
}

fn own_or_inherited(layers: &Layers, own: &Overrides, name: &str) -> Option<Value> {
    layers.resource_value(super::find(Scope::Topic, name)?, own)
}

/// Values lie between the broker's `group.<type>.min.…` and `.max.…`, and a session outlasts a heartbeat
/// (`GroupConfig.validate`).
fn check_group(layers: &Layers, after: &Overrides) -> Result<(), Refusal> {
    for (name, text) in after {
        let knob = super::find(Scope::Group, name);
        let knob = knob.ok_or_else(|| invalid(format!("Unknown group config name: {name}")))?;
        let value = value::parse(knob, text).map_err(invalid)?;
        let (kind, rest) = name.split_once('.').unwrap_or((name, ""));
        let short = rest.strip_prefix("num.").unwrap_or(rest);
        let number = |bound: &str| match (layers.value(bound), &value) {
            (Some(Value::Whole(bound)), Value::Whole(value)) => Some((*value, bound)),
            _ => None,
        };
        let (least, most) = (
            format!("group.{kind}.min.{short}"),
            format!("group.{kind}.max.{short}"),
        );
        if number(&least).is_some_and(|(value, bound)| value < bound) {
            return Err(invalid(format!(
                "{name} must be greater than or equal to {least}"
            )));
        }
        if number(&most).is_some_and(|(value, bound)| value > bound) {
            return Err(invalid(format!(
                "{name} must be less than or equal to {most}"
            )));
        }
    }
    let number = |name: &str| match layers.resource_value(super::find(Scope::Group, name)?, after) {
        Some(Value::Whole(number)) => Some(number),
        _ => None,
    };
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) = (
            format!("{kind}.session.timeout.ms"),
            format!("{kind}.heartbeat.interval.ms"),
        );
        if number(&session) <= number(&heartbeat) {
            return Err(invalid(format!(
                "{session} must be greater than {heartbeat}"
            )));
        }
    }
    Ok(())
}

/// `ClientMetricsConfigs.validateProperties`.
fn check_client_metrics(after: &Overrides) -> Result<(), Refusal> {
    for (name, text) in after {
        let knob = super::find(Scope::ClientMetrics, name).ok_or_else(|| {
            Refusal::InvalidRequest(format!("Unknown client metrics configuration: {name}"))
        })?;
        let parsed = value::parse(knob, text);
        match (name.as_str(), parsed) {
            ("interval.ms", Err(_)) => {
                let text = text.trim();
                let words = "interval must be between 100 and 3600000 (1 hour)";
                return Err(Refusal::InvalidRequest(format!(
                    "Invalid value {text} for interval.ms, {words}"
                )));
            }
            ("match", Ok(Value::List(patterns))) => check_patterns(&patterns)?,
            (_, parsed) => drop(parsed.map_err(invalid)?),
        }
    }
    Ok(())
}

fn check_patterns(patterns: &[String]) -> Result<(), Refusal> {
    const ATTRIBUTES: &[&str] = &[
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    let good = |pattern: &str| match pattern.split_once('=') {
        Some((attribute, pattern)) => {
            ATTRIBUTES.contains(&attribute.trim()) && !pattern.trim().is_empty()
        }
        None => false,
    };
    match patterns.iter().find(|pattern| !good(pattern)) {
        Some(pattern) => Err(invalid(format!(
            "Illegal client matching pattern: {pattern}"
        ))),
        None => Ok(()),
    }
}

/// `DynamicBrokerConfig.validate`. Unlike Kafka, which stores every unknown name for plug-ins that might want it,
/// an unknown name is refused: there are no plug-ins, so it can only be a mistake.
fn check_broker(
    layers: &Layers,
    after: &Overrides,
    touched: &[&str],
    one: bool,
) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::InvalidRequest(text));
    let row = |name: &str| super::recognise(name);
    if let Some(name) = touched.iter().find(|name| row(name).is_none()) {
        return refuse(match super::nearest(name) {
            Some(nearest) => format!("Unknown broker config name: {name}; did you mean {nearest}?"),
            None => format!("Unknown broker config name: {name}"),
        });
    }
    let those = |wrong: &dyn Fn(&str, &Knob) -> bool| {
        let wrong: Vec<&str> = touched
            .iter()
            .copied()
            .filter(|name| row(name).is_some_and(|knob| wrong(name, knob)))
            .collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    };
    if let Some(names) = those(&|_, knob| knob.live == Live::Restart) {
        return refuse(format!(
            "Cannot update these configs dynamically: [{names}]"
        ));
    }
    if let Some(names) =
        those(&|name, knob| name.starts_with("ssl.") && knob.live == Live::PerBroker)
    {
        return refuse(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{names}]"
        ));
    }
    if !one
        && let Some(names) = those(&|name, knob| knob.live == Live::PerBroker || name != knob.name)
    {
        return refuse(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{names}]"
        ));
    }
    for (name, knob) in touched.iter().filter_map(|name| Some((*name, row(name)?))) {
        let text = after.get(name).map(String::as_str).unwrap_or_default();
        let value =
            value::parse(knob, text).map_err(|error| Refusal::InvalidRequest(error.to_string()))?;
        check_broker_value(layers, name, &value, one).or_else(refuse)?;
    }
    Ok(())
}

/// Threads may be doubled or halved in one step (`DynamicThreadPool.validateReconfiguration`).
const THREADS: &[&str] = &[
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

fn check_broker_value(layers: &Layers, name: &str, value: &Value, one: bool) -> Result<(), String> {
    match value {
        Value::Whole(wanted) if THREADS.contains(&name) && one => {
            let Some(Value::Whole(present)) = layers.value(name) else {
                return Ok(());
            };
            let refused =
                format!("Dynamic thread count update validation failed for {name}={wanted}");
            if *wanted < present / 2 {
                return Err(format!(
                    "{refused}, value should be at least half the current value {present}"
                ));
            }
            if *wanted > present.saturating_mul(2) {
                let words = "value should not be greater than double the current value";
                return Err(format!("{refused}, {words} {present}"));
            }
            Ok(())
        }
        Value::List(dirs) if name == "cordoned.log.dirs" => {
            let known = |name: &str| match layers.value(name) {
                Some(Value::List(dirs)) => Some(dirs),
                _ => None,
            };
            let known = known("log.dirs")
                .or_else(|| known("log.dir"))
                .unwrap_or_default();
            let missing: Vec<&str> = dirs
                .iter()
                .filter(|dir| *dir != "*" && !known.contains(dir))
                .map(String::as_str)
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            let missing = missing.join(", ");
            Err(format!(
                "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {missing}"
            ))
        }
        value => crate::config::relations::check_one(name, value),
    }
}
