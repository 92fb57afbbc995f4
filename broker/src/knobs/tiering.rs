//! Tiered storage: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Tiered storage.
pub(super) const TIERING: &[Knob] = super::rows! { broker:
    // name                                        type    default                        valid    live    use     sentence
    "remote.log.storage.system.enable"             Boolean "false"                        _        restart later   "Allow topics to be tiered.";
    "remote.log.storage.manager.class.name"        String  null                           nonempty restart nothing "Java class of the remote store.";
    "remote.log.storage.manager.class.path"        String  null                           _        restart nothing "Class path of the remote store.";
    "remote.log.storage.manager.impl.prefix"       String  "rsm.config."                  nonempty restart nothing "Prefix of the remote store's own settings.";
    "remote.log.metadata.manager.class.name"       String  "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager" nonempty restart nothing "Java class that keeps the list of remote segments.";
    "remote.log.metadata.manager.class.path"       String  null                           _        restart nothing "Class path of that class.";
    "remote.log.metadata.manager.impl.prefix"      String  "rlmm.config."                 nonempty restart nothing "Prefix of that class's own settings.";
    "remote.log.metadata.manager.listener.name"    String  null                           nonempty restart nothing "Listener that class connects to.";
    "remote.log.metadata.custom.metadata.max.bytes" Int     "128"                          [0 ..]   restart later   "Largest extra metadata of a remote segment.";
    "log.local.retention.bytes"                    Long    "-2"                           [-2 ..]  cluster later   "Bytes of a tiered partition kept on the local disk, -2 for log.retention.bytes.";
    "log.local.retention.ms"                       Long    "-2"                           [-2 ..]  cluster later   "Age of a tiered partition's records kept on the local disk, -2 for log.retention.ms.";
    "remote.fetch.max.wait.ms"                     Int     "500"                          [1 ..]   cluster later   "Longest wait for a read from the remote store.";
    "remote.list.offsets.request.timeout.ms"       Long    "30000"                        [1 ..]   cluster later   "Longest wait for an offset looked up in the remote store.";
    "remote.log.index.file.cache.total.size.bytes" Long    "1073741824"                   [1 ..]   cluster later   "Disk space for indexes of remote segments.";
    "remote.log.index.file.cache.ttl.ms"           Long    "900000"                       [-1 ..]  restart hidden  "Age at which a cached remote index goes.";
    "remote.log.manager.copier.thread.pool.size"   Int     "10"                           [1 ..]   cluster nothing "Threads of Kafka that copy segments out.";
    "remote.log.manager.expiration.thread.pool.size" Int     "10"                           [1 ..]   cluster nothing "Threads of Kafka that delete remote segments.";
    "remote.log.manager.follower.thread.pool.size" Int     "2"                            [1 ..]   cluster nothing "Threads of Kafka that follow remote metadata.";
    "remote.log.manager.thread.pool.size"          Int     "2"                            [1 ..]   restart nothing "Threads of Kafka for other remote work.";
    "remote.log.manager.copy.max.bytes.per.second" Long    "9223372036854775807"          [1 ..]   cluster later   "Bytes a second copied to the remote store.";
    "remote.log.manager.copy.quota.window.num"     Int     "11"                           [1 ..]   restart later   "Samples over which that copying is measured.";
    "remote.log.manager.copy.quota.window.size.seconds" Int     "1"                            [1 ..]   restart later   "Length of one such sample.";
    "remote.log.manager.fetch.max.bytes.per.second" Long    "9223372036854775807"          [1 ..]   cluster later   "Bytes a second read from the remote store.";
    "remote.log.manager.fetch.quota.window.num"    Int     "11"                           [1 ..]   restart later   "Samples over which that reading is measured.";
    "remote.log.manager.fetch.quota.window.size.seconds" Int     "1"                            [1 ..]   restart later   "Length of one such sample.";
    "remote.log.manager.task.interval.ms"          Long    "30000"                        [1 ..]   restart later   "Interval of the search for segments to copy or delete.";
    "remote.log.manager.task.retry.backoff.ms"     Long    "500"                          [1 ..]   restart hidden  "First pause after a failed remote task.";
    "remote.log.manager.task.retry.backoff.max.ms" Long    "30000"                        [1 ..]   restart hidden  "Longest pause after a failed remote task.";
    "remote.log.manager.task.retry.jitter"         Double  "0.2"                          _        restart hidden  "Random part of that pause.";
    "remote.log.reader.max.pending.tasks"          Int     "100"                          [1 ..]   restart nothing "Remote reads queued in Kafka.";
    "remote.log.reader.threads"                    Int     "10"                           [1 ..]   cluster nothing "Threads of Kafka that read from the remote store.";
};
