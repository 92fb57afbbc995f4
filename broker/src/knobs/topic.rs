//! Topic settings: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Topic settings.
pub(super) const TOPIC: &[Knob] = super::rows! { topic from:
    // name                                   broker synonym                        type    default               valid                          use     sentence
    "cleanup.policy"                          "log.cleanup.policy"                  List    "delete"              {"compact" "delete"}           obeyed  "delete, compact, both, or empty to keep everything; compact never deletes by age or size, and compaction is not built yet.";
    "compression.type"                        "compression.type"                    String  "producer"            {"uncompressed" "zstd" "lz4" "snappy" "gzip" "producer"} obeyed  "Codec of stored batches; producer keeps what the producer chose.";
    "compression.gzip.level"                  "compression.gzip.level"              Int     "-1"                  [1 .. 9 or -1]                 obeyed  "Level when compression.type is gzip.";
    "compression.lz4.level"                   "compression.lz4.level"               Int     "9"                   [1 .. 17]                      obeyed  "Level when compression.type is lz4.";
    "compression.zstd.level"                  "compression.zstd.level"              Int     "3"                   [-131072 .. 22]                obeyed  "Level when compression.type is zstd.";
    "delete.retention.ms"                     "log.cleaner.delete.retention.ms"     Long    "86400000"            [0 ..]                         later   "How long tombstones stay readable after compaction.";
    "file.delete.delay.ms"                    "log.segment.delete.delay.ms"         Long    "60000"               [0 ..]                         obeyed  "Delay before the files of a dropped segment are removed.";
    "flush.messages"                          "log.flush.interval.messages"         Long    "1"                   [1 ..]                         obeyed  "1: an acknowledged record is flushed to the device. Above, it is only written, and so many may wait for a flush, which a reader at the end brings forward; internal topics always use 1.";
    "flush.ms"                                "log.flush.interval.ms"               Long    "9223372036854775807" [0 ..]                         obeyed  "Longest time until records are flushed when flush.messages is above 1.";
    "follower.replication.throttled.replicas" _                                     List    ""                    throttled                      later   "Replicas whose followers are throttled, as partition:broker, or *.";
    "index.interval.bytes"                    "log.index.interval.bytes"            Int     "4096"                [0 ..]                         obeyed  "Bytes of records between two index entries.";
    "internal.segment.bytes"                  _                                     Int     null                  _                              hidden  "Segment size in Kafka's tests.";
    "leader.replication.throttled.replicas"   _                                     List    ""                    throttled                      later   "Replicas whose leaders are throttled, as partition:broker, or *.";
    "local.retention.bytes"                   "log.local.retention.bytes"           Long    "-2"                  [-2 ..]                        later   "Bytes of a tiered partition kept on the local disk, -2 for retention.bytes.";
    "local.retention.ms"                      "log.local.retention.ms"              Long    "-2"                  [-2 ..]                        later   "Age of a tiered partition's records kept on the local disk, -2 for retention.ms.";
    "max.compaction.lag.ms"                   "log.cleaner.max.compaction.lag.ms"   Long    "9223372036854775807" [1 ..]                         later   "Age at which compaction is forced.";
    "max.message.bytes"                       "message.max.bytes"                   Int     "1048588"             [0 ..]                         obeyed  "Largest record batch.";
    "message.timestamp.after.max.ms"          "log.message.timestamp.after.max.ms"  Long    "3600000"             [0 ..]                         obeyed  "How far in the future a record's timestamp may lie.";
    "message.timestamp.before.max.ms"         "log.message.timestamp.before.max.ms" Long    "9223372036854775807" [0 ..]                         obeyed  "How far in the past a record's timestamp may lie.";
    "message.timestamp.type"                  "log.message.timestamp.type"          String  "CreateTime"          {"CreateTime" "LogAppendTime"} obeyed  "CreateTime keeps the producer's timestamps, LogAppendTime sets the broker's.";
    "min.cleanable.dirty.ratio"               "log.cleaner.min.cleanable.ratio"     Double  "0.5"                 [0 .. 1]                       later   "Dirty share of a log from which compaction is worth it.";
    "min.compaction.lag.ms"                   "log.cleaner.min.compaction.lag.ms"   Long    "0"                   [0 ..]                         later   "Age below which records are not compacted.";
    "min.insync.replicas"                     "min.insync.replicas"                 Int     "1"                   [1 ..]                         obeyed  "Replicas that must have a record before acks=all is answered, at most the replication factor.";
    "preallocate"                             "log.preallocate"                     Boolean "false"               _                              nothing "Preallocate segments in Kafka; here segments always grow in allocated extents.";
    "record.validation"                       "record.validation"                   String  "batch"               {"batch" "deep"}               obeyed  "What is checked of a produced batch: its header, checksum and, uncompressed, its records; deep opens compressed ones, too. Kafka does not have this.";
    "remote.log.copy.disable"                 _                                     Boolean "false"               _                              later   "Stop copying this topic to the remote store.";
    "remote.log.delete.on.disable"            _                                     Boolean "false"               _                              later   "Delete what is in the remote store when tiering is switched off.";
    "remote.storage.enable"                   _                                     Boolean "false"               _                              later   "Tier this topic; refused until tiered storage is built.";
    "retention.bytes"                         "log.retention.bytes"                 Long    "-1"                  _                              obeyed  "Size of a partition above which its oldest segments go, -1 for any size.";
    "retention.ms"                            "log.retention.ms"                    Long    "604800000"           [-1 ..]                        obeyed  "Age at which records may go, -1 for never.";
    "segment.bytes"                           "log.segment.bytes"                   Int     "1073741824"          [1048576 ..]                   obeyed  "Size at which a segment rolls.";
    "segment.index.bytes"                     "log.index.size.max.bytes"            Int     "10485760"            [4 ..]                         obeyed  "Size at which an offset index is full and its segment rolls.";
    "segment.jitter.ms"                       "log.roll.jitter.ms"                  Long    "0"                   [0 ..]                         obeyed  "Random part taken off segment.ms.";
    "segment.ms"                              "log.roll.ms"                         Long    "604800000"           [1 ..]                         obeyed  "Age at which a segment rolls.";
    "unclean.leader.election.enable"          "unclean.leader.election.enable"      Boolean "false"               _                              later   "Let a replica outside the ISR lead when no other is alive, losing records.";
};
