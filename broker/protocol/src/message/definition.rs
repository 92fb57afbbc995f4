//! A message's declaration as data: the same facts as Kafka's `common/message/*.json`, for the `message!` macro, and
//! for tests and tools that want to look at them.

/// A range of versions in Kafka's notation: `"3+"`, `"0-12"`, `"1"` or `"none"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// First version.
    pub min: i16,
    /// Last version; `i16::MAX` if open. Less than `min` for none.
    pub max: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Versions = Versions { min: 0, max: -1 };

    /// Reads Kafka's notation. For use in constants: anything else stops the compiler.
    pub const fn parse(text: &str) -> Versions {
        let text = text.as_bytes();
        if let b"none" = text {
            return Self::NONE;
        }
        let (min, mut at) = number(text, 0);
        if at == text.len() {
            return Versions { min, max: min };
        }
        if text[at] == b'+' && at + 1 == text.len() {
            return Versions { min, max: i16::MAX };
        }
        assert!(text[at] == b'-', "versions are written 3+, 0-12, 1 or none");
        let max;
        (max, at) = number(text, at + 1);
        assert!(
            at == text.len() && max >= min,
            "versions are written 3+, 0-12, 1 or none"
        );
        Versions { min, max }
    }

    /// Whether `version` lies in the range.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether the range holds no version.
    pub const fn is_empty(self) -> bool {
        self.max < self.min
    }
}

/// The number at `at` and where it ends.
const fn number(text: &[u8], mut at: usize) -> (i16, usize) {
    let start = at;
    let mut value = 0;
    while at < text.len() && text[at].is_ascii_digit() {
        value = value * 10 + (text[at] - b'0') as i16;
        at += 1;
    }
    assert!(at > start, "versions are written 3+, 0-12, 1 or none");
    (value, at)
}

/// The value of a field that is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// 0, false, the empty string or array, the zero uuid, a struct of such defaults; null for records.
    Empty,
    /// A number; 1 for a true bool.
    Number(i64),
    /// Null.
    Null,
}

/// All that is declared about a field besides its name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Versions that have the field.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Versions in which it is a tagged field.
    pub tagged: Versions,
    /// Its tag in those.
    pub tag: Option<u32>,
    /// Whether a value may be dropped silently where the version lacks the field.
    pub ignorable: bool,
    /// Its value where it is not sent.
    pub preset: Preset,
}

/// Starts the declaration of a field which exists in these versions.
pub const fn versions(text: &str) -> Spec {
    Spec {
        versions: Versions::parse(text),
        nullable: Versions::NONE,
        tagged: Versions::NONE,
        tag: None,
        ignorable: false,
        preset: Preset::Empty,
    }
}

impl Spec {
    /// May be null in these versions.
    pub const fn nullable(mut self, text: &str) -> Self {
        self.nullable = Versions::parse(text);
        self
    }

    /// Is a tagged field in these versions.
    pub const fn tag(mut self, tag: u32, text: &str) -> Self {
        self.tag = Some(tag);
        self.tagged = Versions::parse(text);
        self
    }

    /// May be dropped where the version lacks it.
    pub const fn ignorable(mut self) -> Self {
        self.ignorable = true;
        self
    }

    /// Has this number as default; 1 for a bool that is true by default.
    pub const fn default(mut self, number: i64) -> Self {
        self.preset = Preset::Number(number);
        self
    }

    /// Is null by default.
    pub const fn default_null(mut self) -> Self {
        self.preset = Preset::Null;
        self
    }

    /// Whether the field stands in line with its neighbours in this version.
    pub const fn in_line(&self, version: i16) -> bool {
        self.versions.contains(version) && !self.tagged.contains(version)
    }

    /// Whether the field is a tagged one in this version.
    pub const fn is_tagged(&self, version: i16) -> bool {
        self.versions.contains(version) && self.tagged.contains(version)
    }

    /// Whether `tag` is this field in this version.
    pub const fn has_tag(&self, tag: u32, version: i16) -> bool {
        match self.tag {
            Some(own) => own == tag && self.is_tagged(version),
            None => false,
        }
    }
}

/// What a field holds, apart from nullability.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // named as in Kafka's definitions
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Array(&'static Type),
    Struct(&'static StructDefinition),
}

/// One field of a struct.
#[derive(Clone, Copy, Debug)]
pub struct FieldDefinition {
    /// Name in snake case; a `r#` in front where Rust needs it.
    pub name: &'static str,
    /// Versions, default and so on.
    pub spec: Spec,
    /// What it holds.
    pub ty: Type,
}

/// A message's body or a struct nested in it.
#[derive(Clone, Copy, Debug)]
pub struct StructDefinition {
    /// Kafka's name.
    pub name: &'static str,
    /// In the order in which they are sent.
    pub fields: &'static [FieldDefinition],
}

/// What kind of message this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Client to broker; the number is the API key.
    Request(i16),
    /// Broker to client; the number is the API key.
    Response(i16),
    /// Key of a record in `__consumer_offsets`; the number is the record type.
    Key(i16),
    /// Value of such a record; the number is the record type.
    Value(i16),
}

/// A whole message.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Request, response or record.
    pub kind: Kind,
    /// Versions that can be read and written here.
    pub versions: Versions,
    /// Versions with compact lengths and tagged fields.
    pub flexible: Versions,
    /// Name and fields.
    pub body: &'static StructDefinition,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_kafka_writes_them() {
        assert_eq!(
            Versions::parse("3+"),
            Versions {
                min: 3,
                max: i16::MAX
            }
        );
        assert_eq!(Versions::parse("0-12"), Versions { min: 0, max: 12 });
        assert_eq!(Versions::parse("1"), Versions { min: 1, max: 1 });
        assert!(Versions::parse("none").is_empty());
        assert!(!Versions::NONE.contains(0));
    }
}
