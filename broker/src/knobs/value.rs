//! Text to typed value, with Kafka's rules and Kafka's words (`ConfigDef.parseType`, `ConfigDef.Range`,
//! `ConfigDef.ValidString`, `ThrottledReplicaListValidator`).

use std::fmt;

use super::{Knob, Type, Valid};

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of type boolean.
    Boolean(bool),
    /// Of type int, short or long; the range of the type has been checked.
    Whole(i64),
    /// Of type double.
    Double(f64),
    /// Of type list.
    List(Vec<String>),
    /// Of type string, class or password.
    Text(String),
}

/// Why a value was refused; displays as Kafka words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid value {value} for configuration {name}: {reason}")]
pub struct Invalid {
    /// The value as it was given; for a sensitive knob `[hidden]`.
    pub value: String,
    /// Name of the setting.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Parses and checks one value.
pub fn parse(knob: &Knob, text: &str) -> Result<Value, Invalid> {
    let trimmed = text.trim();
    let value = of_type(knob.kind, trimmed);
    let checked = value.and_then(|value| check(knob, &value).map(|()| value));
    checked.map_err(|reason| Invalid {
        value: shown(knob, text),
        name: knob.name.to_owned(),
        reason,
    })
}

/// The value in the form in which DescribeConfigs shows it (`ConfigDef.convertToString`).
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Whole(value) => value.fmt(f),
            // Debug keeps ".0", as Java does.
            Value::Double(value) => write!(f, "{value:?}"),
            Value::List(items) => f.write_str(&items.join(",")),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// Splits a list as Kafka does: commas with blanks around them; nothing at all is an empty list.
pub fn split_list(text: &str) -> Vec<String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed
        .split(',')
        .map(|item| item.trim().to_owned())
        .collect()
}

/// How a refused value stands in the message.
fn shown(knob: &Knob, text: &str) -> String {
    if knob.is_sensitive() {
        return "[hidden]".to_owned();
    }
    match knob.valid {
        // Kafka's message carries the parsed list.
        Valid::ThrottledReplicas => format!("[{}]", split_list(text).join(", ")),
        // And here the first element that is wrong.
        Valid::OneOf(allowed) if knob.kind == Type::List => split_list(text)
            .into_iter()
            .find(|item| !allowed.contains(&item.as_str()))
            .unwrap_or_else(|| text.to_owned()),
        _ => text.to_owned(),
    }
}

fn of_type(kind: Type, text: &str) -> Result<Value, String> {
    let whole = |name: &str, least: i64, most: i64| match text.parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(Value::Whole(value)),
        _ => Err(format!("Not a number of type {name}")),
    };
    match kind {
        Type::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Type::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Type::Boolean => Err("Expected value to be either true or false".to_owned()),
        Type::Int => whole("INT", i32::MIN.into(), i32::MAX.into()),
        Type::Short => whole("SHORT", i16::MIN.into(), i16::MAX.into()),
        Type::Long => whole("LONG", i64::MIN, i64::MAX),
        Type::Double => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Double(value)),
            _ => Err("Not a number of type DOUBLE".to_owned()),
        },
        Type::List => Ok(Value::List(split_list(text))),
        Type::String | Type::Class | Type::Password => Ok(Value::Text(text.to_owned())),
    }
}

fn check(knob: &Knob, value: &Value) -> Result<(), String> {
    match (knob.valid, value) {
        (Valid::AtLeast(least), _) => at_least(value, least),
        (Valid::Between(least, most), _) => {
            at_least(value, least).and_then(|()| at_most(value, most))
        }
        (Valid::BetweenOr(least, most, other), Value::Whole(number)) => {
            if *number == other || (least..=most).contains(number) {
                Ok(())
            } else {
                Err(format!(
                    "Value must be between {least} and {most} or equal to {other}"
                ))
            }
        }
        (Valid::OneOf(allowed), _) => {
            one_of(value, allowed, |a, b| a == b, "String must be one of")
        }
        (Valid::OneOfAnyCase(allowed), _) => {
            let words = "String must be one of (case insensitive)";
            one_of(value, allowed, str::eq_ignore_ascii_case, words)
        }
        (Valid::NonEmpty, Value::Text(text)) if text.is_empty() => {
            Err("String must be non-empty".to_owned())
        }
        (Valid::ThrottledReplicas, Value::List(items)) => throttled_replicas(knob.name, items),
        (Valid::OffsetReset, Value::Text(text)) => offset_reset(knob.name, text),
        _ => Ok(()),
    }
}

fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Whole(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        _ => None,
    }
}

fn at_least(value: &Value, least: i64) -> Result<(), String> {
    match as_double(value) {
        Some(number) if number < least as f64 => Err(format!("Value must be at least {least}")),
        _ => Ok(()),
    }
}

fn at_most(value: &Value, most: i64) -> Result<(), String> {
    match as_double(value) {
        Some(number) if number > most as f64 => Err(format!("Value must be no more than {most}")),
        _ => Ok(()),
    }
}

fn one_of(
    value: &Value,
    allowed: &[&str],
    same: fn(&str, &str) -> bool,
    words: &str,
) -> Result<(), String> {
    let fits = |text: &String| allowed.iter().any(|allowed| same(text, allowed));
    let good = match value {
        Value::List(items) => items.iter().all(fits),
        Value::Text(text) => fits(text),
        _ => true,
    };
    if good {
        return Ok(());
    }
    Err(format!("{words}: {}", allowed.join(", ")))
}

fn throttled_replicas(name: &str, items: &[String]) -> Result<(), String> {
    let pair = |item: &String| {
        let number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        matches!(item.split_once(':'), Some((partition, broker)) if number(partition) && number(broker))
    };
    if items == ["*"] || items.iter().all(pair) {
        return Ok(());
    }
    Err(format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    ))
}

fn offset_reset(name: &str, text: &str) -> Result<(), String> {
    let duration = |text: &str| {
        let body = text.strip_prefix('P').unwrap_or_default();
        let known = |c: char| c.is_ascii_digit() || "DTHMS.".contains(c);
        body.ends_with(['D', 'H', 'M', 'S']) && body.chars().all(known)
    };
    let by_duration = text.strip_prefix("by_duration:").is_some_and(duration);
    if text == "latest" || text == "earliest" || by_duration {
        return Ok(());
    }
    Err(format!(
        "Invalid value `{text}` for configuration {name}. The value must be either 'earliest', 'latest' \
         or of the format 'by_duration:<PnDTnHnMn.nS>'."
    ))
}
