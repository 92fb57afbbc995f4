//! Settings in environment variables, as Kafka's container images spell them.
//!
//! `KAFKA_<NAME>` is the apache/kafka image: `___` is `-`, `__` is `_`, `_` is `.`. `KAFKA_CFG_<NAME>` is the
//! bitnami image and wins: every `_` is `.`. Both in lower case, and then matched with `.`, `-` and `_`
//! alike, so that both spell every name. Values are never translated.

use std::ffi::OsString;

use crate::knobs;

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// Weaker first: variable, Kafka's name, value.
    pub(super) settings: Vec<(String, String, String)>,
    /// Cluster id and the variable it was found in.
    pub(super) cluster_id: Option<(String, String)>,
    /// Variables of either prefix that mean nothing. Never an error: orchestrators inject
    /// `KAFKA_PORT=tcp://…` for a service that is called kafka.
    pub(super) unknown: Vec<String>,
}

/// Read by the images' start scripts and the JVM, or by nobody; not settings and not worth a warning.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_SKIP_KRAFT_STORAGE_INIT",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

/// Strongest first: the bitnami names, then the apache one, which has no prefix.
const CLUSTER_ID: &[&str] = &["KAFKA_KRAFT_CLUSTER_ID", "KAFKA_CLUSTER_ID", "CLUSTER_ID"];

/// Old names that the bitnami image still copies, where they are not simply the setting's own.
const ALIASES: &[(&str, &str)] = &[
    ("KAFKA_LOGS_DIRS", "log.dirs"),
    ("KAFKA_MAX_MESSAGE_BYTES", "message.max.bytes"),
    ("KAFKA_SEGMENT_BYTES", "log.segment.bytes"),
];

/// Sorts the variables into settings, cluster id and unknown ones.
pub(super) fn read(variables: &[(OsString, OsString)]) -> Environment {
    let mut found = Environment::default();
    let mut stronger = Vec::new();
    let mut sorted: Vec<_> = variables.iter().collect();
    sorted.sort();
    for (variable, value) in sorted {
        let Some(variable) = variable.to_str() else {
            continue;
        };
        if CLUSTER_ID.contains(&variable) || NOT_SETTINGS.contains(&variable) {
            continue;
        }
        let name = match variable.strip_prefix("KAFKA_") {
            None => continue,
            Some(_) if ALIASES.iter().any(|(alias, _)| *alias == variable) => ALIASES
                .iter()
                .find(|(alias, _)| *alias == variable)
                .map(|(_, name)| (*name).to_owned()),
            Some(rest) => match rest.strip_prefix("CFG_") {
                Some(rest) => known(&cfg_name(rest)),
                None => known(&plain_name(rest)),
            },
        };
        let (Some(name), Some(value)) = (name, value.to_str()) else {
            found.unknown.push(variable.to_owned());
            continue;
        };
        let list = if variable.starts_with("KAFKA_CFG_") {
            &mut stronger
        } else {
            &mut found.settings
        };
        list.push((variable.to_owned(), name, value.to_owned()));
    }
    found.settings.append(&mut stronger);
    found.cluster_id = CLUSTER_ID.iter().find_map(|variable| {
        let (_, value) = variables.iter().find(|(name, _)| name == variable)?;
        Some(((*variable).to_owned(), value.to_str()?.trim().to_owned()))
    });
    found
}

/// The apache image: three underscores, two, one. The placeholders keep what is already translated.
fn plain_name(rest: &str) -> String {
    let marked = rest
        .to_lowercase()
        .replace("___", "\u{1}")
        .replace("__", "\u{2}");
    marked
        .replace('_', ".")
        .replace('\u{1}', "-")
        .replace('\u{2}', "_")
}

/// The bitnami image: dots everywhere, and its repair of the two protocol names that hold an underscore.
fn cfg_name(rest: &str) -> String {
    let dots = rest.to_lowercase().replace('_', ".");
    match dots.strip_prefix("listener.name.") {
        Some(_) => dots
            .replace("sasl.ssl", "sasl_ssl")
            .replace("sasl.plaintext", "sasl_plaintext"),
        None => dots,
    }
}

/// Kafka's name for a translated one, with `.`, `-` and `_` alike.
fn known(name: &str) -> Option<String> {
    let dots = name.replace(['-', '_'], ".");
    match knobs::find(knobs::Scope::Broker, &dots) {
        Some(knob) => Some(knob.name.to_owned()),
        // The listener's name keeps its own characters.
        None => (knobs::recognise(name).is_some() || knobs::is_plugin_setting(name))
            .then(|| name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(variables: &[(&str, &str)]) -> Environment {
        let owned: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        read(&owned)
    }

    fn name_of(variable: &str) -> Option<String> {
        read_all(&[(variable, "1")])
            .settings
            .pop()
            .map(|(_, name, _)| name)
    }

    #[test]
    fn both_styles_spell_every_name() {
        for variable in [
            "KAFKA_LOG_DIRS",
            "KAFKA_CFG_LOG_DIRS",
            "KAFKA_LOG__DIRS",
            "KAFKA_LOG___DIRS",
        ] {
            assert_eq!(name_of(variable).as_deref(), Some("log.dirs"), "{variable}");
        }
        let dashes = "KAFKA_LISTENER_NAME_MY___LISTENER_SSL_CLIENT_AUTH";
        assert_eq!(
            name_of(dashes).as_deref(),
            Some("listener.name.my-listener.ssl.client.auth")
        );
        let sasl = "listener.name.sasl_plaintext.plain.sasl.jaas.config";
        assert_eq!(
            name_of("KAFKA_LISTENER_NAME_SASL__PLAINTEXT_PLAIN_SASL_JAAS_CONFIG").as_deref(),
            Some(sasl)
        );
        assert_eq!(
            name_of("KAFKA_CFG_LISTENER_NAME_SASL_PLAINTEXT_PLAIN_SASL_JAAS_CONFIG").as_deref(),
            Some(sasl)
        );
    }

    #[test]
    fn every_knob_can_be_spelt() {
        for knob in knobs::of(knobs::Scope::Broker) {
            let upper = knob.name.to_uppercase().replace('.', "_");
            assert_eq!(
                name_of(&format!("KAFKA_CFG_{upper}")).as_deref(),
                Some(knob.name)
            );
            let plain = name_of(&format!("KAFKA_{upper}"));
            let shadowed = ALIASES
                .iter()
                .any(|(alias, _)| *alias == format!("KAFKA_{upper}"));
            assert_eq!(plain.as_deref(), Some(knob.name), "shadowed: {shadowed}");
        }
    }

    #[test]
    fn cfg_wins_whatever_the_order() {
        let found = read_all(&[("KAFKA_NODE_ID", "1"), ("KAFKA_CFG_NODE_ID", "2")]);
        assert_eq!(
            found.settings.last().map(|(_, _, value)| value.as_str()),
            Some("2")
        );
        let found = read_all(&[("KAFKA_CFG_NODE_ID", "2"), ("KAFKA_NODE_ID", "1")]);
        assert_eq!(
            found.settings.last().map(|(_, _, value)| value.as_str()),
            Some("2")
        );
    }

    #[test]
    fn noise_is_unknown_and_the_rest_is_nobodys_business() {
        let found = read_all(&[
            ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
            ("KAFKA_SERVICE_HOST", "10.0.0.1"),
            ("KAFKA_HEAP_OPTS", "-Xmx1G"),
            ("ALLOW_PLAINTEXT_LISTENER", "yes"),
            ("PATH", "/bin"),
        ]);
        assert!(found.settings.is_empty());
        assert_eq!(found.unknown, ["KAFKA_PORT", "KAFKA_SERVICE_HOST"]);
    }

    #[test]
    fn cluster_ids_and_aliases() {
        let found = read_all(&[("CLUSTER_ID", "a"), ("KAFKA_CLUSTER_ID", "b")]);
        assert_eq!(
            found.cluster_id,
            Some(("KAFKA_CLUSTER_ID".into(), "b".into()))
        );
        assert_eq!(
            name_of("KAFKA_SEGMENT_BYTES").as_deref(),
            Some("log.segment.bytes")
        );
    }
}
