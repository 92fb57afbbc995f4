//! A topic's settings, typed and resolved through all levels.

use crate::knobs::layers::{Layers, Overrides};
use crate::knobs::value::Value;
use crate::knobs::{Scope, find};

/// `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Keep what the producer chose.
    Producer,
    /// Store without compression.
    Uncompressed,
    /// Store as gzip with this level; -1 is the library's default.
    Gzip(i32),
    /// Store as snappy.
    Snappy,
    /// Store as LZ4 with this level.
    Lz4(i32),
    /// Store as Zstandard with this level.
    Zstd(i32),
}

/// `message.timestamp.type`; the number is the bit in a batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's timestamps stay.
    CreateTime = 0,
    /// The broker stamps the batch when it appends it.
    LogAppendTime = 1,
}

/// Effective settings of one topic. The fields have Kafka's names and units; see the reference in `tuning.md`.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is a row of the knob table, which holds its sentence"
)]
pub struct TopicConfig {
    /// `cleanup.policy` contains `compact`.
    pub cleanup_compact: bool,
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    pub compression_type: CompressionType,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    /// `record.validation` is `deep`.
    pub record_validation_deep: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// Resolves a topic whose own values are `own`.
    pub fn resolve(layers: &Layers, own: &Overrides) -> TopicConfig {
        let value = |name: &str| {
            let knob = find(Scope::Topic, name).expect("only names of the table are asked for");
            layers
                .resource_value(knob, own)
                .expect("no topic setting is null")
        };
        let long = |name: &str| match value(name) {
            Value::Whole(number) => number,
            other => panic!("the table says that {name} is a whole number, not {other:?}"),
        };
        let int =
            |name: &str| i32::try_from(long(name)).expect("the type of the knob has been checked");
        let flag = |name: &str| value(name) == Value::Boolean(true);
        let text = |name: &str| value(name).to_string();
        let policy = text("cleanup.policy");
        let policy = |wanted: &str| policy.split(',').any(|policy| policy == wanted);
        TopicConfig {
            cleanup_compact: policy("compact"),
            cleanup_delete: policy("delete"),
            compression_type: match text("compression.type").as_str() {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip(int("compression.gzip.level")),
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4(int("compression.lz4.level")),
                "zstd" => CompressionType::Zstd(int("compression.zstd.level")),
                _ => CompressionType::Producer,
            },
            delete_retention_ms: long("delete.retention.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            index_interval_bytes: int("index.interval.bytes"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: match value("min.cleanable.dirty.ratio") {
                Value::Double(ratio) => ratio,
                other => panic!("the table says that a ratio is a double, not {other:?}"),
            },
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: flag("preallocate"),
            record_validation_deep: text("record.validation") == "deep",
            retention_bytes: long("retention.bytes"),
            retention_ms: long("retention.ms"),
            segment_bytes: int("segment.bytes"),
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
            unclean_leader_election_enable: flag("unclean.leader.election.enable"),
        }
    }
}
