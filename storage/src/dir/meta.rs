//! `meta.properties` and `partition.metadata`: whose directory this is, and which topic.

use std::fmt::Write;

/// A 128-bit identity, as Kafka's `Uuid` (topic and directory ids).
pub type Id = [u8; 16];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The version of `meta.properties` while a directory is in use here. Kafka takes "0" and "1" and refuses to start on
/// anything else, naming this text: the directory's truth is in the journals, which Kafka does not know.
const RUNNING: &str = "millstream-running";
const GENERATION: &str = "millstream.generation";
/// The last line of a running directory's: CRC-32C of all before it. Another generation would be one without journals.
const CHECKSUM: &str = "millstream.crc32c";

/// A new random id. Its text never begins with a dash, which command lines would take for an option
/// (Kafka's `Uuid.randomUuid`).
pub fn new_uuid() -> Id {
    loop {
        let id = uuid::Uuid::new_v4().into_bytes();
        if !uuid_text(&id).starts_with('-') {
            return id;
        }
    }
}

/// 22 characters of url-safe base64 without padding.
pub fn uuid_text(id: &Id) -> String {
    let mut text = String::with_capacity(22);
    for chunk in id.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * i) & 63) as usize]));
        }
    }
    text
}

/// Reads such a text; None if it is none.
pub fn parse_uuid(text: &str) -> Option<Id> {
    if text.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    let mut last = 0;
    for (i, character) in text.bytes().enumerate() {
        last = ALPHABET.iter().position(|&a| a == character)? as u128;
        // 21 characters carry 126 bits, the last one two more and four zeros.
        bits = if i < 21 {
            bits << 6 | last
        } else {
            bits << 2 | last >> 4
        };
    }
    (last & 15 == 0).then(|| bits.to_be_bytes())
}

/// In which state a directory was left, as its `meta.properties` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaState {
    /// Version 0 or 1: Kafka's, or stopped cleanly here. No journal has authority over it.
    Kafka,
    /// In use here when it was written; the journals of this generation have authority.
    Running {
        /// Which journals.
        generation: u64,
    },
}

/// The contents of `meta.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster, usually 22 characters.
    pub cluster_id: String,
    /// The node.
    pub node_id: i32,
    /// This very directory; absent in files older than Kafka 3.7.
    pub directory_id: Option<Id>,
    /// Who had it last.
    pub state: MetaState,
}

/// Why `meta.properties` or `partition.metadata` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Bytes that are not text.
    #[error("it is not a text file")]
    NotText,
    /// A version of somebody else.
    #[error("its version is {0:?}")]
    Version(String),
    /// A key is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key has a value that cannot be.
    #[error("{key} has the value {value:?}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What stands there.
        value: String,
    },
}

impl MetaProperties {
    /// Reads the file: a Java properties file of Kafka (versions 0 and 1) or ours.
    pub fn parse(bytes: &[u8]) -> Result<MetaProperties, MetaError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MetaError::NotText)?;
        let find = |key: &'static str| {
            let mut rows = text.lines().filter_map(property);
            rows.rfind(|(k, _)| *k == key).map(|(_, value)| value)
        };
        let need = |key| find(key).ok_or(MetaError::Missing(key));
        let version = need("version")?;
        let state = match version {
            "0" | "1" => MetaState::Kafka,
            RUNNING => {
                let generation = number(GENERATION, need(GENERATION)?)?;
                check(text, need(CHECKSUM)?)?;
                MetaState::Running { generation }
            }
            other => return Err(MetaError::Version(shorten(other))),
        };
        let node = if version == "0" {
            "broker.id"
        } else {
            "node.id"
        };
        let cluster_id = need("cluster.id")?;
        if cluster_id.is_empty() {
            return Err(wrong("cluster.id", cluster_id));
        }
        let directory_id =
            find("directory.id").map(|id| parse_uuid(id).ok_or_else(|| wrong("directory.id", id)));
        Ok(MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id: number(node, need(node)?)?,
            directory_id: directory_id.transpose()?,
            state,
        })
    }

    /// The file's bytes, version 1 exactly as Kafka's unless `Running`.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::from("#\n");
        match self.state {
            MetaState::Kafka => text.push_str("version=1\n"),
            MetaState::Running { generation } => {
                text.push_str("# In use by Millstream. A clean stop, or `millstream recover`, gives it back to Kafka.\n");
                let _ = writeln!(text, "version={RUNNING}\n{GENERATION}={generation}");
            }
        }
        let _ = writeln!(
            text,
            "cluster.id={}\nnode.id={}",
            self.cluster_id, self.node_id
        );
        if let Some(id) = &self.directory_id {
            let _ = writeln!(text, "directory.id={}", uuid_text(id));
        }
        if let MetaState::Running { .. } = self.state {
            let crc = crc32c::crc32c(text.as_bytes());
            let _ = writeln!(text, "{CHECKSUM}={crc:08x}");
        }
        text.into_bytes()
    }
}

fn check(text: &str, written: &str) -> Result<(), MetaError> {
    let covered = text.rfind(CHECKSUM).map_or("", |at| &text[..at]);
    let crc = crc32c::crc32c(covered.as_bytes());
    match u32::from_str_radix(written, 16) == Ok(crc) {
        true => Ok(()),
        false => Err(wrong(CHECKSUM, written)),
    }
}

/// The bytes of `partition.metadata`.
pub fn encode_partition_metadata(topic_id: &Id) -> Vec<u8> {
    format!("version: 0\ntopic_id: {}", uuid_text(topic_id)).into_bytes()
}

/// The topic id in a `partition.metadata`.
pub fn parse_partition_metadata(bytes: &[u8]) -> Result<Id, MetaError> {
    let text = std::str::from_utf8(bytes).map_err(|_| MetaError::NotText)?;
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("version: "));
    if version != Some("0") {
        return Err(MetaError::Version(shorten(version.unwrap_or_default())));
    }
    let id = lines
        .next()
        .and_then(|line| line.strip_prefix("topic_id: "));
    let id = id.ok_or(MetaError::Missing("topic_id"))?;
    match parse_uuid(id) {
        // Kafka refuses its own zero id too.
        Some(parsed) if parsed != [0; 16] => Ok(parsed),
        _ => Err(wrong("topic_id", id)),
    }
}

/// `key=value`, `key: value` or `key value`, as java.util.Properties reads what it writes for plain ASCII.
fn property(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', '!']) {
        return None;
    }
    let (key, value) = line.split_once(['=', ':'])?;
    Some((key.trim_end(), value.trim_start()))
}

fn number<T: std::str::FromStr>(key: &'static str, value: &str) -> Result<T, MetaError> {
    value.parse().map_err(|_| wrong(key, value))
}

fn wrong(key: &'static str, value: &str) -> MetaError {
    MetaError::Value {
        key,
        value: shorten(value),
    }
}

fn shorten(value: &str) -> String {
    value.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: &[u8] = include_bytes!("../../tests/fixtures/kafka-4.3.1/clean/meta.properties");
    const PARTITION: &[u8] =
        include_bytes!("../../tests/fixtures/kafka-4.3.1/clean/plain-0/partition.metadata");

    #[test]
    fn kafkas_file_is_read() {
        let meta = MetaProperties::parse(KAFKAS).unwrap();
        assert_eq!(meta.node_id, 1);
        assert_eq!(meta.cluster_id, "MkU3OEVBNTcwNTJENDM2Qk");
        assert_eq!(meta.state, MetaState::Kafka);
        let id = meta.directory_id.unwrap();
        assert!(
            String::from_utf8_lossy(KAFKAS).contains(&format!("directory.id={}", uuid_text(&id)))
        );
        assert_eq!(MetaProperties::parse(&meta.encode()).unwrap(), meta);
    }

    #[test]
    fn version_0_calls_the_node_broker() {
        let meta = MetaProperties::parse(b"version=0\nbroker.id=7\ncluster.id=abc\n").unwrap();
        assert_eq!((meta.node_id, meta.directory_id), (7, None));
        let refused = MetaProperties::parse(b"version=0\nnode.id=7\ncluster.id=abc\n");
        assert_eq!(refused, Err(MetaError::Missing("broker.id")));
    }

    #[test]
    fn running_carries_the_generation() {
        let meta = MetaProperties {
            cluster_id: "c".into(),
            node_id: 3,
            directory_id: Some([9; 16]),
            state: MetaState::Running { generation: 77 },
        };
        let bytes = meta.encode();
        assert!(!bytes.windows(10).any(|w| w == b"version=1\n"));
        assert_eq!(MetaProperties::parse(&bytes).unwrap(), meta);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let line = |text: &str| {
            MetaProperties::parse(text.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(line(""), "version is missing");
        assert_eq!(line("version=2\n"), "its version is \"2\"");
        assert_eq!(
            line("version=1\nnode.id=x\ncluster.id=a"),
            "node.id has the value \"x\""
        );
        assert_eq!(line("version=1\nnode.id=1\n"), "cluster.id is missing");
        assert_eq!(
            line("version=1\nnode.id=1\ncluster.id=a\ndirectory.id=b"),
            "directory.id has the value \"b\""
        );
        assert_eq!(
            line("version=millstream-running\n"),
            "millstream.generation is missing"
        );
    }

    #[test]
    fn ids_are_kafkas() {
        assert_eq!(uuid_text(&[0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(parse_uuid("__________________________"), None);
        assert_eq!(parse_uuid("_____________________w"), Some([255; 16]));
        assert_eq!(parse_uuid("_____________________x"), None); // bits beyond 128
        for _ in 0..100 {
            let id = new_uuid();
            assert_eq!(parse_uuid(&uuid_text(&id)), Some(id));
        }
    }

    #[test]
    fn partition_metadata_round_trips() {
        let id = parse_partition_metadata(PARTITION).unwrap();
        assert_eq!(encode_partition_metadata(&id), PARTITION);
        for len in 0..PARTITION.len() {
            assert!(
                parse_partition_metadata(&PARTITION[..len]).is_err(),
                "cut to {len}"
            );
        }
        let zero = encode_partition_metadata(&[0; 16]);
        assert!(parse_partition_metadata(&zero).is_err());
    }

    #[test]
    fn flipped_bits_never_panic() {
        for bit in 0..KAFKAS.len() * 8 {
            let mut bytes = KAFKAS.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(meta) = MetaProperties::parse(&bytes) {
                assert_eq!(MetaProperties::parse(&meta.encode()), Ok(meta));
            }
        }
    }
}
