//! The broker's settings, typed and resolved through all levels.

use millstream_protocol::compress::Codec;

use super::relations;
use crate::knobs::layers::Layers;

/// Effective broker values that code reads. The fields have Kafka's names (`.` as `_`) and units; see the
/// reference in `tuning.md`. Topic settings are not here: [`super::TopicConfig`] resolves them through the same levels.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is a row of the knob table, which holds its sentence"
)]
pub struct BrokerConfig {
    // connections and requests
    pub socket_request_max_bytes: usize,
    pub socket_listen_backlog_size: i32,
    pub connections_max_idle_ms: i64,
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    /// Exceptions to `max_connections_per_ip`: host, connections.
    pub max_connections_per_ip_overrides: Vec<(String, usize)>,
    pub max_request_partition_size_limit: usize,
    pub max_incremental_fetch_session_cache_slots: usize,
    pub fetch_max_bytes: usize,
    pub connection_requests_max: usize,
    /// `None`: a share of the memory.
    pub queued_max_request_bytes: Option<u64>,
    pub connection_responses_max_bytes: usize,
    // topics
    pub auto_create_topics_enable: bool,
    pub delete_topic_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i32,
    pub message_max_bytes: i32,
    pub log_retention_check_interval_ms: i64,
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_id_expiration_check_interval_ms: i64,
    // groups
    pub group_min_session_timeout_ms: i32,
    pub group_max_session_timeout_ms: i32,
    pub group_initial_rebalance_delay_ms: i32,
    pub group_max_size: usize,
    pub offset_metadata_max_bytes: usize,
    pub offsets_topic_num_partitions: i32,
    pub offsets_topic_replication_factor: i16,
    pub offsets_topic_segment_bytes: i32,
    pub offsets_topic_compression_codec: Codec,
    pub offsets_retention_minutes: i32,
    pub offsets_retention_check_interval_ms: i64,
    pub offsets_commit_timeout_ms: i32,
    // storage
    pub journal_file_bytes: u64,
    pub journal_files: usize,
    pub journal_device_max_bytes: u64,
    /// `None`: the control group's limit or the machine's.
    pub memory_bytes: Option<u64>,
    /// `None`: a quarter of the memory.
    pub tail_memory_bytes: Option<u64>,
    pub log_dir_reserve_bytes: Option<u64>,
    pub log_dir_lock_wait_ms: u64,
    pub log_files_open_max: usize,
    /// `log.scrub.bytes.per.second`; 0: not at all.
    pub log_scrub_bytes_per_second: u64,
}

impl BrokerConfig {
    /// Resolves all of them; cheap enough to repeat whenever the metadata brings new dynamic values.
    pub fn resolve(layers: &Layers) -> BrokerConfig {
        let bytes = |name: &str| u64::try_from(layers.long(name)).unwrap_or(0);
        let per_ip = layers
            .text("max.connections.per.ip.overrides")
            .unwrap_or_default();
        BrokerConfig {
            socket_request_max_bytes: layers.size("socket.request.max.bytes"),
            socket_listen_backlog_size: layers.int("socket.listen.backlog.size"),
            connections_max_idle_ms: layers.long("connections.max.idle.ms"),
            max_connections: layers.size("max.connections"),
            max_connections_per_ip: layers.size("max.connections.per.ip"),
            max_connections_per_ip_overrides: relations::overrides_per_ip(&per_ip)
                .unwrap_or_default(),
            max_request_partition_size_limit: layers.size("max.request.partition.size.limit"),
            max_incremental_fetch_session_cache_slots: layers
                .size("max.incremental.fetch.session.cache.slots"),
            fetch_max_bytes: layers.size("fetch.max.bytes"),
            queued_max_request_bytes: u64::try_from(layers.long("queued.max.request.bytes")).ok(),
            connection_requests_max: layers.size("connection.requests.max"),
            connection_responses_max_bytes: layers.size("connection.responses.max.bytes"),
            auto_create_topics_enable: layers.flag("auto.create.topics.enable"),
            delete_topic_enable: layers.flag("delete.topic.enable"),
            num_partitions: layers.int("num.partitions"),
            default_replication_factor: layers.int("default.replication.factor"),
            message_max_bytes: layers.int("message.max.bytes"),
            log_retention_check_interval_ms: layers.long("log.retention.check.interval.ms"),
            producer_id_expiration_ms: layers.long("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: layers
                .long("producer.id.expiration.check.interval.ms"),
            group_min_session_timeout_ms: layers.int("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: layers.int("group.max.session.timeout.ms"),
            group_initial_rebalance_delay_ms: layers.int("group.initial.rebalance.delay.ms"),
            group_max_size: layers.size("group.max.size"),
            offset_metadata_max_bytes: layers.size("offset.metadata.max.bytes"),
            offsets_topic_num_partitions: layers.int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: i16::try_from(
                layers.int("offsets.topic.replication.factor"),
            )
            .expect("the type of the knob has been checked"),
            offsets_topic_segment_bytes: layers.int("offsets.topic.segment.bytes"),
            offsets_topic_compression_codec: Codec::ALL
                .into_iter()
                .find(|codec| layers.int("offsets.topic.compression.codec") == *codec as i32)
                .unwrap_or_default(),
            offsets_retention_minutes: layers.int("offsets.retention.minutes"),
            offsets_retention_check_interval_ms: layers.long("offsets.retention.check.interval.ms"),
            offsets_commit_timeout_ms: layers.int("offsets.commit.timeout.ms"),
            journal_file_bytes: bytes("journal.file.bytes"),
            journal_files: layers.size("journal.files"),
            journal_device_max_bytes: bytes("journal.device.max.bytes"),
            memory_bytes: u64::try_from(layers.long("memory.bytes")).ok(),
            tail_memory_bytes: u64::try_from(layers.long("tail.memory.bytes")).ok(),
            log_dir_reserve_bytes: u64::try_from(layers.long("log.dir.reserve.bytes")).ok(),
            log_dir_lock_wait_ms: bytes("log.dir.lock.wait.ms"),
            log_files_open_max: layers.size("log.files.open.max"),
            log_scrub_bytes_per_second: bytes("log.scrub.bytes.per.second"),
        }
    }
}
