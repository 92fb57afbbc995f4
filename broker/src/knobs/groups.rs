//! Consumer groups and committed offsets: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Consumer groups and committed offsets.
pub(super) const GROUPS: &[Knob] = super::rows! { broker:
    // name                                     type   default                    valid                          live    use     sentence
    "group.min.session.timeout.ms"              Int    "6000"                     _                              restart obeyed  "Shortest session timeout a member may ask for.";
    "group.max.session.timeout.ms"              Int    "1800000"                  _                              restart obeyed  "Longest session timeout a member may ask for.";
    "group.initial.rebalance.delay.ms"          Int    "0"                        _                              restart obeyed  "Wait for more members before the first rebalance of an empty group. Kafka waits 3000; its container images set 0, as here.";
    "group.max.size"                            Int    "2147483647"               [1 ..]                         restart obeyed  "Members of one group.";
    "offset.metadata.max.bytes"                 Int    "4096"                     _                              restart obeyed  "Largest metadata string of a committed offset.";
    "offsets.topic.num.partitions"              Int    "50"                       [1 ..]                         restart obeyed  "Partitions of __consumer_offsets when it is created.";
    "offsets.topic.replication.factor"          Short  "3"                        [1 ..]                         restart obeyed  "Replicas of __consumer_offsets, at most the live brokers.";
    "offsets.topic.segment.bytes"               Int    "104857600"                [1 ..]                         restart obeyed  "Segment size of __consumer_offsets.";
    "offsets.topic.compression.codec"           Int    "0"                        [0 .. 4]                       restart obeyed  "Codec of __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    "offsets.retention.minutes"                 Int    "10080"                    [1 ..]                         restart obeyed  "How long offsets of an empty group are kept.";
    "offsets.retention.check.interval.ms"       Long   "600000"                   [1 ..]                         restart obeyed  "Interval of the search for expired offsets.";
    "offsets.commit.timeout.ms"                 Int    "5000"                     [1 ..]                         restart obeyed  "Longest wait until a commit is stored.";
    "offsets.load.buffer.size"                  Int    "5242880"                  [1 ..]                         restart nothing "Read buffer of Kafka while it loads offsets.";
    "group.coordinator.append.linger.ms"        Int    "-1"                       [-1 ..]                        restart nothing "How long Kafka's coordinator gathers records; here the commit group does it.";
    "group.coordinator.background.threads"      Int    "2"                        [1 ..]                         restart nothing "Background threads of Kafka's coordinator; here the cores decide.";
    "group.coordinator.cached.buffer.max.bytes" Int    "1048588"                  [524288 ..]                    cluster nothing "Write buffer that Kafka's coordinator keeps.";
    "group.coordinator.rebalance.protocols"     List   "classic,consumer,streams" {"consumer" "classic" "share" "streams"} restart later   "Group protocols that are served; the classic one is built.";
    "group.coordinator.threads"                 Int    "4"                        [1 ..]                         restart nothing "Threads of Kafka's coordinator; here the cores decide.";
    "group.consumer.assignment.interval.ms"     Int    "1000"                     [0 ..]                         cluster later   "Interval between assignments of a consumer group.";
    "group.consumer.min.assignment.interval.ms" Int    "0"                        [0 ..]                         restart later   "Least consumer.assignment.interval.ms of a group.";
    "group.consumer.max.assignment.interval.ms" Int    "15000"                    [0 ..]                         restart later   "Greatest consumer.assignment.interval.ms of a group.";
    "group.consumer.assignors"                  List   "uniform,range"            _                              restart later   "Server side assignors of consumer groups, the first is the default.";
    "group.consumer.heartbeat.interval.ms"      Int    "5000"                     [1 ..]                         restart later   "Heartbeat interval of consumer groups.";
    "group.consumer.min.heartbeat.interval.ms"  Int    "5000"                     [1 ..]                         restart later   "Least consumer.heartbeat.interval.ms of a group.";
    "group.consumer.max.heartbeat.interval.ms"  Int    "15000"                    [1 ..]                         restart later   "Greatest consumer.heartbeat.interval.ms of a group.";
    "group.consumer.session.timeout.ms"         Int    "45000"                    [1 ..]                         restart later   "Session timeout of consumer groups.";
    "group.consumer.min.session.timeout.ms"     Int    "45000"                    [1 ..]                         restart later   "Least consumer.session.timeout.ms of a group.";
    "group.consumer.max.session.timeout.ms"     Int    "60000"                    [1 ..]                         restart later   "Greatest consumer.session.timeout.ms of a group.";
    "group.consumer.max.size"                   Int    "2147483647"               [1 ..]                         restart later   "Members of one consumer group of the new protocol.";
    "group.consumer.migration.policy"           String "bidirectional"            (any case "DISABLED" "DOWNGRADE" "UPGRADE" "BIDIRECTIONAL") restart later   "Which way live groups may change their protocol.";
    "group.consumer.regex.refresh.interval.ms"  Int    "600000"                   [10000 ..]                     restart hidden  "Interval at which subscribed patterns are resolved again.";
    "group.streams.assignment.interval.ms"      Int    "1000"                     [0 ..]                         cluster later   "Interval between assignments of a streams group.";
    "group.streams.min.assignment.interval.ms"  Int    "0"                        [0 ..]                         restart later   "Least streams.assignment.interval.ms of a group.";
    "group.streams.max.assignment.interval.ms"  Int    "15000"                    [0 ..]                         restart later   "Greatest streams.assignment.interval.ms of a group.";
    "group.streams.heartbeat.interval.ms"       Int    "5000"                     [1 ..]                         restart later   "Heartbeat interval of streams groups.";
    "group.streams.min.heartbeat.interval.ms"   Int    "5000"                     [1 ..]                         restart later   "Least streams.heartbeat.interval.ms of a group.";
    "group.streams.max.heartbeat.interval.ms"   Int    "15000"                    [1 ..]                         restart later   "Greatest streams.heartbeat.interval.ms of a group.";
    "group.streams.session.timeout.ms"          Int    "45000"                    [1 ..]                         restart later   "Session timeout of streams groups.";
    "group.streams.min.session.timeout.ms"      Int    "45000"                    [1 ..]                         restart later   "Least streams.session.timeout.ms of a group.";
    "group.streams.max.session.timeout.ms"      Int    "60000"                    [1 ..]                         restart later   "Greatest streams.session.timeout.ms of a group.";
    "group.streams.initial.rebalance.delay.ms"  Int    "3000"                     [0 ..]                         restart later   "Wait for more members before the first rebalance of a streams group.";
    "group.streams.max.size"                    Int    "2147483647"               [1 ..]                         restart later   "Members of one streams group.";
    "group.streams.num.standby.replicas"        Int    "0"                        [0 ..]                         restart later   "Standby tasks of streams groups.";
    "group.streams.max.standby.replicas"        Int    "2"                        [0 ..]                         restart later   "Greatest streams.num.standby.replicas of a group.";
};
