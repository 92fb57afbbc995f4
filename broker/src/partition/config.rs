//! A topic's settings in the form its partitions use them.

use millstream_protocol::batch::{ProduceRules, TimestampType};
use millstream_protocol::compress::Codec;
use millstream_storage::LogConfig;

use crate::config::{self, CompressionType, TopicConfig};

/// What a batch is allowed to unpack to, where a topic needs to look inside.
const DECOMPRESSED_MAX: usize = 100 << 20;

/// Derived once when the settings change, read with every batch.
#[derive(Clone, Debug)]
pub(crate) struct PartitionConfig {
    /// What produced batches are held against; version and time are filled in with each.
    pub(crate) rules: ProduceRules,
    /// The codec batches are stored in, if the topic asks for one.
    pub(crate) codec: Option<Codec>,
    /// Level of that codec, if it is set.
    pub(crate) codec_level: Option<i32>,
    /// `cleanup.policy` contains `delete`.
    pub(crate) delete: bool,
    /// For the log.
    pub(crate) log: LogConfig,
}

impl From<&TopicConfig> for PartitionConfig {
    fn from(topic: &TopicConfig) -> Self {
        let (codec, codec_level) = match topic.compression_type {
            CompressionType::Producer => (None, None),
            CompressionType::Uncompressed => (Some(Codec::None), None),
            CompressionType::Gzip(level) => (Some(Codec::Gzip), (level > 0).then_some(level)),
            CompressionType::Snappy => (Some(Codec::Snappy), None),
            CompressionType::Lz4(level) => (Some(Codec::Lz4), Some(level)),
            CompressionType::Zstd(level) => (Some(Codec::Zstd), Some(level)),
        };
        Self {
            rules: ProduceRules {
                produce_version: 0,
                max_message_bytes: usize::try_from(topic.max_message_bytes).unwrap_or(0),
                now: 0,
                timestamp_type: match topic.message_timestamp_type {
                    config::TimestampType::CreateTime => TimestampType::CreateTime,
                    config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
                },
                timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
                timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
                compacted: topic.cleanup_compact,
                deep: topic.record_validation_deep,
                decompressed_max: DECOMPRESSED_MAX,
            },
            codec,
            codec_level,
            delete: topic.cleanup_delete,
            log: log(topic),
        }
    }
}

fn log(topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(topic.segment_bytes).unwrap_or(u32::MAX),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(0),
        segment_index_bytes: u32::try_from(topic.segment_index_bytes).unwrap_or(u32::MAX),
        retention_bytes: topic.retention_bytes,
        retention_ms: topic.retention_ms,
        file_delete_delay_ms: u64::try_from(topic.file_delete_delay_ms).unwrap_or(0),
        compact: topic.cleanup_compact,
        delete: topic.cleanup_delete,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
    }
}
