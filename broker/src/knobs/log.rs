//! Topics, logs and retention: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Topics, logs and retention.
pub(super) const LOG: &[Knob] = super::rows! { broker:
    // name                                        type    default                  valid                          live    use     sentence
    "auto.create.topics.enable"                    Boolean "true"                   _                              restart obeyed  "Create a topic when a client asks for it in Metadata.";
    "delete.topic.enable"                          Boolean "true"                   _                              restart obeyed  "Allow DeleteTopics.";
    "num.partitions"                               Int     "1"                      [1 ..]                         restart obeyed  "Partitions of a topic created without a number.";
    "default.replication.factor"                   Int     "1"                      _                              restart obeyed  "Replicas of a topic created without a number.";
    "create.topic.policy.class.name"               Class   null                     _                              restart nothing "Java class that judges new topics; Java classes cannot be loaded here.";
    "alter.config.policy.class.name"               Class   null                     _                              restart nothing "Java class that judges config changes; Java classes cannot be loaded here.";
    "log.dir"                                      List    "./millstream-data"      _                              restart obeyed  "Data directory when log.dirs is not set.";
    "log.dirs"                                     List    null                     _                              restart obeyed  "Data directories, one for each disk; wins over log.dir.";
    "cordoned.log.dirs"                            List    ""                       _                              broker  later   "Data directories that get no new partitions.";
    "log.dir.failure.timeout.ms"                   Long    "30000"                  [1 ..]                         restart later   "How long a broker with a failed directory waits for the controller before it stops.";
    "log.segment.bytes"                            Int     "1073741824"             [1048576 ..]                   cluster obeyed  "Size at which a segment rolls.";
    "log.roll.ms"                                  Long    null                     _                              cluster obeyed  "Age at which a segment rolls; stronger than log.roll.hours.";
    "log.roll.hours"                               Int     "168"                    [1 ..]                         restart obeyed  "Age at which a segment rolls when log.roll.ms is not set.";
    "log.roll.jitter.ms"                           Long    null                     _                              cluster obeyed  "Random part taken off the roll age; stronger than log.roll.jitter.hours.";
    "log.roll.jitter.hours"                        Int     "0"                      [0 ..]                         restart obeyed  "Random part taken off the roll age when log.roll.jitter.ms is not set.";
    "log.retention.ms"                             Long    null                     _                              cluster obeyed  "Age at which records may go, -1 for never; stronger than minutes and hours.";
    "log.retention.minutes"                        Int     null                     _                              restart obeyed  "Age at which records may go when log.retention.ms is not set.";
    "log.retention.hours"                          Int     "168"                    _                              restart obeyed  "Age at which records may go when neither ms nor minutes is set.";
    "log.retention.bytes"                          Long    "-1"                     _                              cluster obeyed  "Size of a partition above which its oldest segments go, -1 for any size.";
    "log.retention.check.interval.ms"              Long    "300000"                 [1 ..]                         restart obeyed  "Interval of the search for segments to delete.";
    "log.segment.delete.delay.ms"                  Long    "60000"                  [0 ..]                         cluster obeyed  "Delay before the files of a dropped segment are removed.";
    "log.cleanup.policy"                           List    "delete"                 {"compact" "delete"}           cluster obeyed  "delete, compact, both, or empty to keep everything; compact never deletes by age or size, and compaction is not built yet.";
    "log.index.interval.bytes"                     Int     "4096"                   [0 ..]                         cluster obeyed  "Bytes of records between two index entries.";
    "log.index.size.max.bytes"                     Int     "10485760"               [4 ..]                         cluster obeyed  "Size at which an offset index is full and its segment rolls.";
    "log.flush.interval.messages"                  Long    "1"                      [1 ..]                         cluster obeyed  "1: an acknowledged record is flushed to the device. Above, it is only written, and so many may wait for a flush, which a reader at the end brings forward; internal topics always use 1.";
    "log.flush.interval.ms"                        Long    null                     _                              cluster obeyed  "Longest time until records are flushed when log.flush.interval.messages is above 1.";
    "log.flush.scheduler.interval.ms"              Long    "9223372036854775807"    _                              restart obeyed  "Stands in for log.flush.interval.ms where that is not set.";
    "log.flush.offset.checkpoint.interval.ms"      Int     "60000"                  [0 ..]                         restart nothing "Interval of Kafka's recovery checkpoints; here the journal is the checkpoint.";
    "log.flush.start.offset.checkpoint.interval.ms" Int     "60000"                  [0 ..]                         restart nothing "Interval of Kafka's log start checkpoints; here the journal holds them.";
    "log.initial.task.delay.ms"                    Long    "30000"                  [0 ..]                         restart hidden  "Delay of Kafka's first log task.";
    "log.preallocate"                              Boolean "false"                  _                              cluster nothing "Preallocate segments in Kafka; here segments always grow in allocated extents.";
    "log.message.timestamp.type"                   String  "CreateTime"             {"CreateTime" "LogAppendTime"} cluster obeyed  "CreateTime keeps the producer's timestamps, LogAppendTime sets the broker's.";
    "log.message.timestamp.before.max.ms"          Long    "9223372036854775807"    [0 ..]                         cluster obeyed  "How far in the past a record's timestamp may lie.";
    "log.message.timestamp.after.max.ms"           Long    "3600000"                [0 ..]                         cluster obeyed  "How far in the future a record's timestamp may lie.";
    "message.max.bytes"                            Int     "1048588"                [0 ..]                         cluster obeyed  "Largest record batch.";
    "compression.type"                             String  "producer"               {"uncompressed" "zstd" "lz4" "snappy" "gzip" "producer"} cluster obeyed  "Codec of stored batches; producer keeps what the producer chose.";
    "compression.gzip.level"                       Int     "-1"                     [1 .. 9 or -1]                 cluster obeyed  "Level when compression.type is gzip.";
    "compression.lz4.level"                        Int     "9"                      [1 .. 17]                      cluster obeyed  "Level when compression.type is lz4.";
    "compression.zstd.level"                       Int     "3"                      [-131072 .. 22]                cluster obeyed  "Level when compression.type is zstd.";
    "log.cleaner.enable"                           Boolean "true"                   _                              restart later   "Run compaction.";
    "log.cleaner.threads"                          Int     "1"                      [0 ..]                         cluster nothing "Compaction threads of Kafka; here each core compacts its own logs.";
    "log.cleaner.backoff.ms"                       Long    "15000"                  [0 ..]                         cluster later   "Pause of compaction when nothing is dirty.";
    "log.cleaner.dedupe.buffer.size"               Long    "134217728"              _                              cluster later   "Memory for the keys of one compaction.";
    "log.cleaner.io.buffer.size"                   Int     "524288"                 [0 ..]                         cluster later   "Buffer of compaction.";
    "log.cleaner.io.buffer.load.factor"            Double  "0.9"                    _                              cluster later   "How full the key table of compaction may get.";
    "log.cleaner.io.max.bytes.per.second"          Double  "1.7976931348623157E308" _                              cluster later   "Bytes a second that compaction may read and write.";
    "log.cleaner.delete.retention.ms"              Long    "86400000"               [0 ..]                         cluster later   "How long tombstones stay readable after compaction.";
    "log.cleaner.min.cleanable.ratio"              Double  "0.5"                    [0 .. 1]                       cluster later   "Dirty share of a log from which compaction is worth it.";
    "log.cleaner.min.compaction.lag.ms"            Long    "0"                      [0 ..]                         cluster later   "Age below which records are not compacted.";
    "log.cleaner.max.compaction.lag.ms"            Long    "9223372036854775807"    [1 ..]                         cluster later   "Age at which compaction is forced.";
    "num.recovery.threads.per.data.dir"            Int     "2"                      [1 ..]                         cluster nothing "Recovery threads of Kafka; here every core recovers its own logs.";
    "producer.id.expiration.ms"                    Int     "86400000"               [1 ..]                         cluster obeyed  "Idle time after which a producer's sequence state is dropped.";
    "producer.id.expiration.check.interval.ms"     Int     "600000"                 [1 ..]                         restart hidden  "Interval of the search for idle producers.";
};
