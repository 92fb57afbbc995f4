//! The levels at which a broker setting can be set, and how they are resolved.
//!
//! Precedence, strongest first: dynamic for this broker, dynamic for all brokers, static (file, environment
//! and flags), default. A topic's or group's own values stand above all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::value::{self, Value};
use super::{Knob, Scope};

/// Settings of one resource at one level, by name.
pub type Overrides = BTreeMap<String, String>;

/// Where a value comes from; the number is DescribeConfigs' `config_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own.
    DynamicTopic = 1,
    /// Dynamic, for this broker.
    DynamicBroker = 2,
    /// Dynamic, for all brokers.
    DynamicDefaultBroker = 3,
    /// File, environment or flag.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
    /// The client metrics subscription's own.
    ClientMetrics = 7,
    /// The group's own.
    Group = 8,
}

/// All levels of the broker's settings. Cheap to clone: a shard keeps one and replaces it when the metadata
/// image brings new dynamic values.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Dynamic values for this broker.
    pub broker: Arc<Overrides>,
    /// Dynamic values for all brokers (the resource with an empty name).
    pub cluster: Arc<Overrides>,
    /// Static values: [`crate::config::Config::fixed`].
    pub fixed: Arc<Overrides>,
}

impl Layers {
    /// Only static values, as at start before the metadata is read.
    pub fn fixed(fixed: Arc<Overrides>) -> Layers {
        Layers {
            fixed,
            ..Layers::default()
        }
    }

    /// What each level says about exactly this name, strongest first, without the default.
    pub fn set<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, Source)> {
        let levels = [
            (self.broker.get(name), Source::DynamicBroker),
            (self.cluster.get(name), Source::DynamicDefaultBroker),
            (self.fixed.get(name), Source::StaticBroker),
        ];
        levels
            .into_iter()
            .filter_map(|(text, source)| text.map(|text| (text.as_str(), source)))
    }

    /// The effective value of a broker setting, after its weaker names (`log.retention.minutes` for
    /// `log.retention.ms`) have been asked too. `None` where it is null.
    pub fn value(&self, name: &str) -> Option<Value> {
        super::chain(name)
            .into_iter()
            // The names above the asked one do not concern it: log.retention.hours is its own value.
            .skip_while(|weaker| *weaker != name)
            .find_map(|weaker| {
                self.value_of_one(weaker)
                    .map(|value| convert(value, weaker, name))
            })
    }

    /// The value of one name alone. A stored value that does not parse, left by another version, is passed over:
    /// the broker must start.
    fn value_of_one(&self, name: &str) -> Option<Value> {
        let knob = super::find(Scope::Broker, name)?;
        let set = self
            .set(name)
            .find_map(|(text, _)| value::parse(knob, text).ok());
        set.or_else(|| default_of(knob))
    }

    /// A boolean broker setting.
    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(flag)) => flag,
            other => {
                panic!("the table says that {name} is a boolean and never null, not {other:?}")
            }
        }
    }

    /// A broker setting of type long, or an int or short where its full range is wanted as one type.
    pub fn long(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Whole(number)) => number,
            other => {
                panic!("the table says that {name} is a whole number and never null, not {other:?}")
            }
        }
    }

    /// A broker setting of type int or short.
    pub fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("the type of the knob has been checked")
    }

    /// A broker setting that counts or measures; negative numbers, Kafka's "no limit", become the greatest.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name)).unwrap_or(usize::MAX)
    }

    /// A broker setting of type list; null is empty.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items,
            None => Vec::new(),
            other => panic!("the table says that {name} is a list, not {other:?}"),
        }
    }

    /// A broker setting of type string; `None` where it is null.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            None => None,
            other => panic!("the table says that {name} is a text, not {other:?}"),
        }
    }

    /// The effective value of a topic or group setting. `own` holds the resource's own values.
    pub fn resource_value(&self, knob: &Knob, own: &Overrides) -> Option<Value> {
        let set = own
            .get(knob.name)
            .and_then(|text| value::parse(knob, text).ok());
        let inherited = || knob.broker_synonym.and_then(|synonym| self.value(synonym));
        set.or_else(inherited).or_else(|| default_of(knob))
    }
}

/// The default of a knob. The table's tests parse every one of them, so none is lost here.
fn default_of(knob: &Knob) -> Option<Value> {
    knob.default.and_then(|text| value::parse(knob, text).ok())
}

/// From the unit of a weaker name to that of the asked one; negative means "never" in every unit.
fn convert(value: Value, from: &str, to: &str) -> Value {
    let unit_ms = |name: &str| match name.rsplit('.').next() {
        Some("hours") => 3_600_000,
        Some("minutes") => 60_000,
        _ => 1,
    };
    match value {
        Value::Whole(number) if number < 0 && from != to => Value::Whole(-1),
        Value::Whole(number) => Value::Whole(number.saturating_mul(unit_ms(from) / unit_ms(to))),
        other => other,
    }
}
