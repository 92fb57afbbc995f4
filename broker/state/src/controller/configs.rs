//! Configs by resource: what is set, and nothing about what it means.
//!
//! Keys and values are validated before (the broker's knob table knows types and ranges); here stands what only the
//! metadata can say: whether the resource exists, and which of the changes change anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::image::{ConfigMap, Image};
use super::record::Record;
use super::topics::invalid_name;
use super::{Refusal, Reply};

/// Bytes of keys and values that one resource may have.
pub const RESOURCE_BYTES_MAX: usize = 1 << 20;
/// Resources with configs. Kafka has no such limit; groups and client metrics need not exist to have configs, so theirs
/// would grow without end.
pub const RESOURCES_MAX: usize = 1_000_000;

/// What a config belongs to (Kafka: `ConfigResource.Type`; the numbers are those of the wire).
#[repr(i8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// Named by the topic.
    Topic = 2,
    /// Named by node.id; the empty name is the default of all brokers.
    Broker = 4,
    /// A subscription of client metrics (KIP-714), by its name.
    ClientMetrics = 16,
    /// A group, by group.id.
    Group = 32,
}

impl ResourceType {
    /// The type with this number, `None` for one that holds no stored configs (broker loggers) or does not exist.
    pub fn from_code(code: i8) -> Option<ResourceType> {
        [
            ResourceType::Topic,
            ResourceType::Broker,
            ResourceType::ClientMetrics,
            ResourceType::Group,
        ]
        .into_iter()
        .find(|resource_type| *resource_type as i8 == code)
    }
}

/// A thing with configs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// What it is.
    pub resource_type: ResourceType,
    /// Which one.
    pub name: String,
}

impl Resource {
    /// The resource of this type and name.
    pub fn new(resource_type: ResourceType, name: impl Into<String>) -> Resource {
        Resource {
            resource_type,
            name: name.into(),
        }
    }
}

/// What to do with the configs of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whose configs.
    pub resource: Resource,
    /// AlterConfigs: keys that are not named lose their value. IncrementalAlterConfigs: they keep it.
    pub replace: bool,
    /// Key and new value; `None` deletes, which is no error where nothing is set.
    pub entries: Vec<(String, Option<String>)>,
}

/// One row of the answer to [`Command::AlterConfigs`](super::Command::AlterConfigs), in the order asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredConfig {
    /// Whose configs.
    pub resource: Resource,
    /// Resources succeed or fail each for itself.
    pub result: Result<(), Refusal>,
}

pub(super) fn alter(
    image: &Image,
    changes: &[ConfigChange],
    validate_only: bool,
) -> (Vec<Record>, Reply) {
    let mut records = Vec::new();
    let mut reply = Vec::with_capacity(changes.len());
    let mut counts: BTreeMap<&Resource, usize> = BTreeMap::new();
    changes
        .iter()
        .for_each(|change| *counts.entry(&change.resource).or_default() += 1);
    for change in changes {
        // A resource named twice: Kafka refuses all of its rows.
        let twice = counts[&change.resource] > 1;
        let result = match twice {
            true => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "Each resource must appear at most once.",
            )),
            false => check(image, &change.resource).and_then(|()| difference(image, change)),
        };
        let result = result.map(|record| records.extend(record.filter(|_| !validate_only)));
        reply.push(AlteredConfig {
            resource: change.resource.clone(),
            result,
        });
    }
    (records, Reply::AlteredConfigs(reply))
}

/// Whether the resource can have configs (Kafka: `QuorumController.ConfigResourceExistenceChecker`).
fn check(image: &Image, resource: &Resource) -> Result<(), Refusal> {
    let name = resource.name.as_str();
    match resource.resource_type {
        ResourceType::Topic => match invalid_name(name) {
            Some(reason) => Err(Refusal::new(ErrorCode::InvalidTopicException, reason)),
            None if image.topic(name).is_none() => Err(Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            )),
            None => Ok(()),
        },
        ResourceType::Broker if name.is_empty() => Ok(()),
        ResourceType::Broker => match name.parse::<i32>() {
            Err(_) => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                format!("Invalid broker name {name}"),
            )),
            Ok(id) if image.broker(id).is_none() => Err(Refusal::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("No node with id {id} found."),
            )),
            Ok(_) => Ok(()),
        },
        ResourceType::ClientMetrics if name.is_empty() => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Subscription name can't be empty",
        )),
        ResourceType::Group if name.is_empty() => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Default group resources are not allowed.",
        )),
        ResourceType::ClientMetrics | ResourceType::Group => Ok(()),
    }
}

/// The record that makes the change, `None` where it changes nothing. The last word about a key counts.
fn difference(image: &Image, change: &ConfigChange) -> Result<Option<Record>, Refusal> {
    let none = Arc::new(ConfigMap::new());
    let known = image.configs.get(&change.resource);
    let now = known.unwrap_or(&none);
    let mut wanted = if change.replace {
        ConfigMap::new()
    } else {
        (**now).clone()
    };
    for (key, value) in &change.entries {
        match value {
            Some(value) => wanted.insert(key.clone(), value.clone()),
            None => wanted.remove(key),
        };
    }
    let bytes: usize = wanted
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > RESOURCE_BYTES_MAX {
        let message = format!(
            "The configs of one resource may have {RESOURCE_BYTES_MAX} bytes, not {bytes}."
        );
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    if known.is_none() && !wanted.is_empty() && image.configs.size() >= RESOURCES_MAX {
        let message = format!("A cluster has configs for at most {RESOURCES_MAX} resources.");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    let gone = now
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .map(|key| (key.clone(), None));
    let set = wanted
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(*value));
    let entries: Vec<_> = gone
        .chain(set.map(|(key, value)| (key.clone(), Some(value.clone()))))
        .collect();
    Ok((!entries.is_empty()).then(|| Record::Config {
        resource: change.resource.clone(),
        entries,
    }))
}

pub(super) fn replay(image: &mut Image, resource: &Resource, entries: &[(String, Option<String>)]) {
    let mut map = image
        .configs
        .get(resource)
        .map(|map| (**map).clone())
        .unwrap_or_default();
    for (key, value) in entries {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
    if map.is_empty() {
        image.configs.remove_mut(resource);
    } else {
        image.configs.insert_mut(resource.clone(), Arc::new(map));
    }
    assert!(
        image
            .configs
            .get(resource)
            .is_none_or(|map| !map.is_empty()),
        "a resource without configs has no row"
    );
}
