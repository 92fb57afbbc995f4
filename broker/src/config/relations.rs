//! What values mean together, and what a whole number may not be although its type allows it
//! (`AbstractKafkaConfig.validateValues`).

use super::error::ConfigError;
use super::sources::Settings;
use crate::knobs::layers::Layers;
use crate::knobs::value::Value;

/// Checks the static settings as a whole.
pub(super) fn check(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    for (name, text) in settings.overrides() {
        let knob = crate::knobs::find(crate::knobs::Scope::Broker, &name);
        let value = knob.and_then(|knob| crate::knobs::value::parse(knob, &text).ok());
        if let Some(value) = value {
            check_one(&name, &value)
                .map_err(|what| settings.error(&name, what, "correct the value"))?;
        }
    }
    check_roles(settings, layers)?;
    check_voters(settings, layers)?;
    check_bounds(settings, layers)?;
    if layers
        .text("authorizer.class.name")
        .is_some_and(|name| !name.is_empty())
    {
        let advice = "remove it and keep the port away from whom you do not trust";
        let what = "no authorizer is built yet: everyone would be let in";
        return Err(settings.error("authorizer.class.name", what, advice));
    }
    Ok(())
}

/// Checks one value of a broker setting, at start or as a dynamic change. The error says what is wrong.
pub(crate) fn check_one(name: &str, value: &Value) -> Result<(), String> {
    match (name, value) {
        (
            "log.retention.ms" | "log.retention.minutes" | "log.retention.hours",
            Value::Whole(number),
        ) => {
            let good = *number == -1 || *number >= 1;
            good.then_some(())
                .ok_or_else(|| format!("{name} must be unlimited (-1) or, equal or greater than 1"))
        }
        ("log.roll.ms", Value::Whole(number)) if *number < 1 => {
            Err(format!("{name} must be greater than or equal to 1"))
        }
        (
            "log.roll.jitter.ms" | "log.flush.interval.ms" | "log.flush.scheduler.interval.ms",
            Value::Whole(number),
        ) if *number < 0 => Err(format!("{name} must be greater than or equal to 0")),
        ("default.replication.factor", Value::Whole(number)) if *number < 1 => {
            Err(format!("{name} must be greater than or equal to 1"))
        }
        ("max.connections.per.ip.overrides", Value::Text(text)) => overrides_per_ip(text).map(drop),
        _ => Ok(()),
    }
}

/// `host:count` pairs of `max.connections.per.ip.overrides`.
pub(crate) fn overrides_per_ip(text: &str) -> Result<Vec<(String, usize)>, String> {
    let pair = |item: &String| {
        let (host, count) = item.rsplit_once(':')?;
        let host = host.trim().trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), count.trim().parse().ok()?)).filter(|(host, _)| !host.is_empty())
    };
    let wrong = |item: &String| {
        format!(
            "Error parsing configuration property 'max.connections.per.ip.overrides': {item} is not host:count"
        )
    };
    let items = crate::knobs::value::split_list(text);
    items
        .iter()
        .map(|item| pair(item).ok_or_else(|| wrong(item)))
        .collect()
}

fn check_roles(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    let roles = layers.list("process.roles");
    if roles.iter().any(|role| role == "broker") {
        return Ok(());
    }
    let what = "a node without the broker role is not built yet";
    Err(settings.error("process.roles", what, "use broker,controller"))
}

/// The voters of the metadata quorum: this node, and no other until clusters are built.
fn check_voters(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    const VOTERS: &str = "controller.quorum.voters";
    let node = match settings.get("node.id").or(settings.get("broker.id")) {
        Some(setting) => setting.value.clone(),
        None => layers.int("node.id").to_string(),
    };
    for voter in layers.list(VOTERS) {
        let parts = voter
            .split_once('@')
            .and_then(|(id, address)| Some((id, address.rsplit_once(':')?)));
        let good = parts
            .filter(|(id, (_, port))| id.parse::<u32>().is_ok() && port.parse::<u16>().is_ok());
        let Some((id, _)) = good else {
            let advice = "write id@host:port, as 1@localhost:9093";
            return Err(settings.error(VOTERS, format!("{voter:?} is not a voter"), advice));
        };
        if id != node {
            let what = format!(
                "node {id} is not this node, which is {node}; clusters of several nodes are not built yet"
            );
            return Err(settings.error(VOTERS, what, "name this node alone, or leave it out"));
        }
    }
    Ok(())
}

/// Names of which the first may not exceed the second.
const ORDERED: &[(&str, &str)] = &[
    (
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
    ),
    ("journal.file.bytes", "journal.device.max.bytes"),
];

/// `group.<kind>.min.<what>` ≤ `group.<kind>.<what>` ≤ `group.<kind>.max.<what>`.
const BOUNDED: &[&str] = &[
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "assignment.interval.ms",
    "record.lock.duration.ms",
    "delivery.count.limit",
    "partition.max.record.locks",
];

fn check_bounds(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    let in_order = |less: &str, more: &str| {
        let number = |name: &str| match layers.value(name) {
            Some(Value::Whole(number)) => Some(number),
            _ => None,
        };
        let wrong = matches!((number(less), number(more)), (Some(less), Some(more)) if less > more);
        let blame = if settings.get(more).is_some() {
            more
        } else {
            less
        };
        let what = format!("{more} must be greater than or equal to {less}");
        if wrong {
            Err(settings.error(blame, what, "change one of the two"))
        } else {
            Ok(())
        }
    };
    for (less, more) in ORDERED {
        in_order(less, more)?;
    }
    for kind in ["consumer", "share", "streams"] {
        for what in BOUNDED {
            let name = format!("group.{kind}.{what}");
            in_order(&format!("group.{kind}.min.{what}"), &name)?;
            in_order(&name, &format!("group.{kind}.max.{what}"))?;
        }
    }
    Ok(())
}
