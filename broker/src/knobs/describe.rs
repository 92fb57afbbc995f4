//! The rows of DescribeConfigs, as `kafka.server.ConfigHelper` makes them.

use super::layers::{Layers, Overrides, Source};
use super::value::Value;
use super::{Knob, Live, Scope, Type};

/// One setting of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Name of the setting.
    pub name: String,
    /// Effective value; null also for every sensitive one.
    pub value: Option<String>,
    /// True where AlterConfigs would refuse a change.
    pub read_only: bool,
    /// Where the value comes from.
    pub source: Source,
    /// True for passwords, and for names nobody knows.
    pub is_sensitive: bool,
    /// Type from version 3 on; 0 for names nobody knows.
    pub config_type: i8,
    /// What each level says, strongest first. Send it only when it was asked for.
    pub synonyms: Vec<Synonym>,
    /// Meaning. Send it only when it was asked for.
    pub documentation: Option<&'static str>,
}

/// What one level says about a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The name at that level.
    pub name: String,
    /// The value at that level, null for sensitive ones.
    pub value: Option<String>,
    /// The level.
    pub source: Source,
}

/// The settings of a topic whose own values are `own`. `keys`: only these names, `None` for all.
pub fn topic(layers: &Layers, own: &Overrides, keys: Option<&[&str]>) -> Vec<Described> {
    resource(Scope::Topic, Source::DynamicTopic, layers, own, keys)
}

/// The settings of a group.
pub fn group(layers: &Layers, own: &Overrides, keys: Option<&[&str]>) -> Vec<Described> {
    resource(Scope::Group, Source::Group, layers, own, keys)
}

/// The settings of a client metrics subscription.
pub fn client_metrics(layers: &Layers, own: &Overrides, keys: Option<&[&str]>) -> Vec<Described> {
    resource(
        Scope::ClientMetrics,
        Source::ClientMetrics,
        layers,
        own,
        keys,
    )
}

/// The settings of this broker: all that are not hidden, and all that anybody set.
pub fn broker(layers: &Layers, keys: Option<&[&str]>) -> Vec<Described> {
    let set = [&layers.broker, &layers.cluster, &layers.fixed];
    let mut names: Vec<&str> = set
        .into_iter()
        .flat_map(|level| level.keys())
        .map(String::as_str)
        .collect();
    names.extend(
        super::of(Scope::Broker)
            .filter(|knob| !knob.hidden)
            .map(|knob| knob.name),
    );
    names.sort_unstable();
    names.dedup();
    let wanted = names.into_iter().filter(|name| is_wanted(keys, name));
    wanted
        .map(|name| broker_row(layers, name, |_| true))
        .collect()
}

/// The dynamic settings for all brokers (the broker resource with an empty name): only those that are set.
pub fn cluster_default(layers: &Layers, keys: Option<&[&str]>) -> Vec<Described> {
    let wanted = layers.cluster.keys().filter(|name| is_wanted(keys, name));
    let only = |source: Source| source == Source::DynamicDefaultBroker;
    let row = |name: &String| Described {
        // Values for one broker are stronger, but are not what was asked for.
        value: visible(
            super::recognise(name),
            layers.cluster.get(name).map(String::as_str),
        ),
        ..broker_row(layers, name, only)
    };
    wanted.map(row).collect()
}

fn is_wanted(keys: Option<&[&str]>, name: &str) -> bool {
    keys.is_none_or(|keys| keys.contains(&name))
}

fn resource(
    scope: Scope,
    own_source: Source,
    layers: &Layers,
    own: &Overrides,
    keys: Option<&[&str]>,
) -> Vec<Described> {
    let shown = |knob: &&Knob| !knob.hidden || own.contains_key(knob.name);
    let wanted = super::of(scope)
        .filter(shown)
        .filter(|knob| is_wanted(keys, knob.name));
    wanted
        .map(|knob| resource_row(knob, own_source, layers, own))
        .collect()
}

fn resource_row(
    knob: &'static Knob,
    own_source: Source,
    layers: &Layers,
    own: &Overrides,
) -> Described {
    let value = layers
        .resource_value(knob, own)
        .as_ref()
        .map(Value::to_string);
    let mut synonyms = Vec::new();
    if own.contains_key(knob.name) {
        synonyms.push(Synonym {
            name: knob.name.to_owned(),
            value: value.clone(),
            source: own_source,
        });
    }
    match (knob.broker_synonym, knob.scope) {
        (Some(name), _) => synonyms.extend(broker_synonyms(layers, name)),
        // Kafka names groups' own defaults as their weakest synonym, topics' not.
        (None, Scope::Group) => synonyms.extend(default_synonym(knob)),
        (None, _) => (),
    }
    Described {
        name: knob.name.to_owned(),
        value,
        read_only: false,
        source: synonyms
            .first()
            .map_or(Source::Default, |strongest| strongest.source),
        is_sensitive: false,
        config_type: knob.kind as i8,
        synonyms,
        documentation: Some(knob.sentence),
    }
}

fn broker_row(layers: &Layers, name: &str, counts: impl Fn(Source) -> bool) -> Described {
    let knob = super::recognise(name);
    let mut synonyms = broker_synonyms(layers, name);
    synonyms.retain(|synonym| counts(synonym.source));
    let effective = match super::find(Scope::Broker, name) {
        // The row shows the name's own value: log.retention.ms stays null while only hours are set.
        Some(knob) => own_value(layers, knob),
        None => layers.set(name).next().map(|(text, _)| text.to_owned()),
    };
    // Kafka calls every name outside its list of dynamic ones read-only, listener names included.
    let live = super::find(Scope::Broker, name).is_some_and(|knob| knob.live != Live::Restart);
    Described {
        name: name.to_owned(),
        value: visible(knob, effective.as_deref()),
        read_only: !live,
        source: synonyms
            .first()
            .map_or(Source::Default, |strongest| strongest.source),
        is_sensitive: knob.is_none_or(Knob::is_sensitive),
        config_type: knob.map_or(0, |knob| knob.kind as i8),
        synonyms,
        documentation: knob.map(|knob| knob.sentence),
    }
}

/// The strongest value of exactly this name.
fn own_value(layers: &Layers, knob: &Knob) -> Option<String> {
    let parsed = |text: &str| {
        super::value::parse(knob, text)
            .ok()
            .map(|value| value.to_string())
    };
    let set = layers.set(knob.name).find_map(|(text, _)| parsed(text));
    set.or_else(|| knob.default.map(str::to_owned))
}

fn visible(knob: Option<&Knob>, value: Option<&str>) -> Option<String> {
    let hidden = knob.is_none_or(|knob| knob.kind == Type::Password);
    value.filter(|_| !hidden).map(str::to_owned)
}

/// What each level says about a broker setting and the names it falls back on, level by level. What stands before
/// the first mention of the name itself is left out, as Kafka does (`configSynonyms`): a topic's `retention.ms` that
/// comes from `log.retention.hours` is shown as a default without synonyms.
fn broker_synonyms(layers: &Layers, name: &str) -> Vec<Synonym> {
    let chain = super::chain(name);
    let levels = [
        (&layers.broker, Source::DynamicBroker),
        (&layers.cluster, Source::DynamicDefaultBroker),
        (&layers.fixed, Source::StaticBroker),
    ];
    let mut synonyms = Vec::new();
    for (level, source) in levels {
        for name in &chain {
            if let Some(text) = level.get(*name) {
                let value = visible(super::recognise(name), Some(text));
                synonyms.push(Synonym {
                    name: (*name).to_owned(),
                    value,
                    source,
                });
            }
        }
    }
    synonyms.extend(
        chain
            .iter()
            .filter_map(|name| super::find(Scope::Broker, name))
            .filter_map(default_synonym),
    );
    synonyms
        .into_iter()
        .skip_while(|synonym| synonym.name != name)
        .collect()
}

fn default_synonym(knob: &Knob) -> Option<Synonym> {
    // Exists only as a dynamic value: it has no default that a broker would use.
    let default = knob.default.filter(|_| !knob.hidden)?;
    Some(Synonym {
        name: knob.name.to_owned(),
        value: Some(default.to_owned()),
        source: Source::Default,
    })
}
