//! Gathers what file, environment and flags set, each setting with where it was made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Origin};
use super::{environment, properties};
use crate::knobs::layers::Overrides;
use crate::knobs::{self, value};

/// A properties file above this size is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `server.properties`.
    pub file: Option<PathBuf>,
    /// Environment variables; those without a meaning here are passed over.
    pub variables: Vec<(OsString, OsString)>,
    /// `--set`, each `key=value`.
    pub sets: Vec<String>,
    /// `--cores`.
    pub cores: Option<String>,
    /// `--memory`.
    pub memory: Option<String>,
}

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// All settings that somebody made, by Kafka's name.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    by_name: BTreeMap<String, Setting>,
    pub(super) cluster_id: Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// The strongest setting of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.by_name.get(name)
    }

    /// Name and value of all.
    pub(super) fn overrides(&self) -> Overrides {
        let plain = |(name, setting): (&String, &Setting)| (name.clone(), setting.value.clone());
        self.by_name.iter().map(plain).collect()
    }

    /// An error that points at where `name` was set.
    pub(super) fn error(
        &self,
        name: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> ConfigError {
        let origin = self
            .get(name)
            .map_or(Origin::Default, |setting| setting.origin.clone());
        ConfigError {
            what: format!("{name}: {}", what.into()),
            origin,
            advice: advice.into(),
        }
    }

    /// Without `listeners`, what is advertised says where to listen: as the apache image does it for variables (the
    /// advertised port on every address), as Kafka does it for files (its default port on every address).
    /// With neither, the default stays on this machine.
    pub(super) fn fill_listeners(&mut self) {
        let Some(advertised) = self.get("advertised.listeners").cloned() else {
            return;
        };
        if self.get("listeners").is_some() {
            return;
        }
        let everywhere = |text: &String| match (text.split_once("://"), text.rsplit_once(':')) {
            (Some((name, _)), Some((_, port))) => format!("{name}://:{port}"),
            _ => text.clone(),
        };
        let value = match advertised.origin {
            Origin::Variable(_) => {
                let all = value::split_list(&advertised.value);
                all.iter().map(everywhere).collect::<Vec<_>>().join(",")
            }
            _ => "PLAINTEXT://:9092".to_owned(),
        };
        self.by_name.insert(
            "listeners".to_owned(),
            Setting {
                value,
                origin: advertised.origin,
            },
        );
    }

    /// Checks one setting and keeps it, in place of a weaker one.
    fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = value.trim().to_owned();
        match knobs::recognise(name) {
            Some(knob) => {
                if let Err(error) = value::parse(knob, &value) {
                    let advice = format!("{} is: {}", knob.name, knob.sentence);
                    return Err(ConfigError {
                        what: error.to_string(),
                        origin,
                        advice,
                    });
                }
            }
            None if knobs::is_plugin_setting(name) => (),
            None => return Err(unknown(name, origin)),
        }
        self.by_name
            .insert(name.to_owned(), Setting { value, origin });
        Ok(())
    }
}

/// Reads all sources, weakest first.
pub(super) fn gather(inputs: &Inputs) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    if let Some(path) = &inputs.file {
        read_file(path, &mut settings)?;
    }
    let environment = environment::read(&inputs.variables);
    for (variable, name, value) in environment.settings {
        settings.set(&name, &value, Origin::Variable(variable))?;
    }
    take_cluster_id(environment.cluster_id, &mut settings);
    if !environment.unknown.is_empty() {
        let names = environment.unknown.join(", ");
        settings.warnings.push(format!(
            "environment variables that are no setting, passed over: {names}"
        ));
    }
    for set in &inputs.sets {
        let flag = Origin::Flag(format!("--set {set}"));
        let Some((name, value)) = set.split_once('=') else {
            let advice = "write it as --set num.partitions=3".to_owned();
            return Err(ConfigError {
                what: "no = in it".to_owned(),
                origin: flag,
                advice,
            });
        };
        // The value of a password does not belong into a message.
        let secret = knobs::recognise(name.trim()).is_some_and(knobs::Knob::is_sensitive);
        let flag = if secret {
            Origin::Flag(format!("--set {}", name.trim()))
        } else {
            flag
        };
        settings.set(name.trim(), value, flag)?;
    }
    if let Some(cores) = &inputs.cores {
        settings.set("cores", cores, Origin::Flag(format!("--cores {cores}")))?;
    }
    if let Some(memory) = &inputs.memory {
        let origin = Origin::Flag(format!("--memory {memory}"));
        let Some(bytes) = bytes(memory) else {
            return Err(ConfigError {
                what: format!("{memory} is no amount of memory"),
                origin,
                advice: "write it as 512M or 8G".to_owned(),
            });
        };
        settings.set("memory.bytes", &bytes.to_string(), origin)?;
    }
    Ok(settings)
}

/// A number of bytes, or of KiB, MiB, GiB or TiB.
fn bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_suffix('B').unwrap_or(&upper);
    let upper = upper.strip_suffix('I').unwrap_or(upper);
    let (number, shift) = match upper.strip_suffix(['K', 'M', 'G', 'T']) {
        None => (upper, 0),
        Some(number) => {
            let unit = upper.chars().last();
            let place = unit.and_then(|unit| "KMGT".find(unit))?;
            (number, 10 * (place as u32 + 1))
        }
    };
    let number: i64 = number.trim().parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn read_file(path: &Path, settings: &mut Settings) -> Result<(), ConfigError> {
    let wrong = |line: usize, what: String, advice: &str| ConfigError {
        what,
        origin: Origin::File(path.to_owned(), line),
        advice: advice.to_owned(),
    };
    let advice = "name a readable properties file, or none";
    let length = std::fs::metadata(path)
        .map_err(|error| wrong(0, format!("cannot be read: {error}"), advice))?;
    if length.len() > FILE_BYTES_MAX || length.is_dir() {
        return Err(wrong(0, "is not a properties file".to_owned(), advice));
    }
    let bytes = std::fs::read(path)
        .map_err(|error| wrong(0, format!("cannot be read: {error}"), advice))?;
    let parsed = properties::parse(&bytes);
    let parsed = parsed.map_err(|bad| {
        wrong(
            bad.line,
            "malformed \\uxxxx escape".to_owned(),
            "write four hexadecimal digits after \\u",
        )
    })?;
    for property in parsed {
        settings.set(
            &property.key,
            &property.value,
            Origin::File(path.to_owned(), property.line),
        )?;
    }
    Ok(())
}

/// A cluster id is 16 bytes in URL-safe base64. Another text is not ours: `CLUSTER_ID` is a name that anyone may use.
fn take_cluster_id(found: Option<(String, String)>, settings: &mut Settings) {
    let Some((variable, id)) = found else { return };
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.len() == 22 && id.bytes().all(base64) {
        settings.cluster_id = Some(id);
        return;
    }
    settings.warnings.push(format!(
        "{variable} is passed over: a cluster id is 22 characters of URL-safe base64"
    ));
}

/// Names that were Kafka's once, and what became of them.
const GONE: &[(&str, &str)] = &[
    (
        "zookeeper.",
        "Kafka has no ZooKeeper since 4.0, and neither has Millstream; remove it",
    ),
    (
        "inter.broker.protocol.version",
        "gone since Kafka 4.0; remove it",
    ),
    (
        "log.message.format.version",
        "gone since Kafka 4.0; remove it",
    ),
    (
        "log.message.timestamp.difference.max.ms",
        "since Kafka 4.0: log.message.timestamp.before.max.ms and .after.max.ms",
    ),
    (
        "log.message.downconversion.enable",
        "gone since Kafka 4.0; remove it",
    ),
    (
        "delegation.token.master.key",
        "since Kafka 4.0: delegation.token.secret.key",
    ),
    (
        "offsets.commit.required.acks",
        "gone since Kafka 4.0; remove it",
    ),
    (
        "control.plane.listener.name",
        "gone since Kafka 4.0; remove it",
    ),
    (
        "broker.id.generation.enable",
        "gone since Kafka 4.0; remove it",
    ),
    ("reserved.broker.max.id", "gone since Kafka 4.0; remove it"),
];

fn unknown(name: &str, origin: Origin) -> ConfigError {
    let gone = GONE
        .iter()
        .find(|(gone, _)| name == *gone || (gone.ends_with('.') && name.starts_with(gone)));
    let advice = match (
        gone,
        knobs::find(knobs::Scope::Topic, name),
        knobs::nearest(name),
    ) {
        (Some((_, advice)), _, _) => (*advice).to_owned(),
        (
            None,
            Some(knobs::Knob {
                broker_synonym: Some(synonym),
                ..
            }),
            _,
        ) => {
            format!("that is a topic's setting; for the broker it is {synonym}")
        }
        (None, _, Some(nearest)) => format!("did you mean {nearest}?"),
        (None, _, None) => "`millstream knobs` lists all keys".to_owned(),
    };
    ConfigError {
        what: format!("unknown key {name}"),
        origin,
        advice,
    }
}
