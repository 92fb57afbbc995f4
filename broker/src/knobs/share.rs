//! Share groups: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Share groups.
pub(super) const SHARE: &[Knob] = super::rows! { broker:
    // name                                        type   default                        valid              live    use     sentence
    "group.share.assignment.interval.ms"           Int    "1000"                         [0 ..]             cluster later   "Interval between assignments of a share group.";
    "group.share.min.assignment.interval.ms"       Int    "0"                            [0 ..]             restart later   "Least share.assignment.interval.ms of a group.";
    "group.share.max.assignment.interval.ms"       Int    "15000"                        [0 ..]             restart later   "Greatest share.assignment.interval.ms of a group.";
    "group.share.assignors"                        List   "simple"                       _                  restart later   "Server side assignor of share groups.";
    "group.share.delivery.count.limit"             Int    "5"                            [2 .. 10]          restart later   "Deliveries of a record before it is given up.";
    "group.share.min.delivery.count.limit"         Int    "2"                            [2 .. 5]           restart later   "Least share.delivery.count.limit of a group.";
    "group.share.max.delivery.count.limit"         Int    "10"                           [5 .. 25]          restart later   "Greatest share.delivery.count.limit of a group.";
    "group.share.heartbeat.interval.ms"            Int    "5000"                         [1 ..]             restart later   "Heartbeat interval of share groups.";
    "group.share.min.heartbeat.interval.ms"        Int    "5000"                         [1 ..]             restart later   "Least share.heartbeat.interval.ms of a group.";
    "group.share.max.heartbeat.interval.ms"        Int    "15000"                        [1 ..]             restart later   "Greatest share.heartbeat.interval.ms of a group.";
    "group.share.session.timeout.ms"               Int    "45000"                        [1 ..]             restart later   "Session timeout of share groups.";
    "group.share.min.session.timeout.ms"           Int    "45000"                        [1 ..]             restart later   "Least share.session.timeout.ms of a group.";
    "group.share.max.session.timeout.ms"           Int    "60000"                        [1 ..]             restart later   "Greatest share.session.timeout.ms of a group.";
    "group.share.partition.max.record.locks"       Int    "2000"                         [100 .. 10000]     restart later   "Records of one partition that may be out at once.";
    "group.share.min.partition.max.record.locks"   Int    "100"                          [100 .. 2000]      restart later   "Least share.partition.max.record.locks of a group.";
    "group.share.max.partition.max.record.locks"   Int    "4000"                         [2000 .. 10000]    restart later   "Greatest share.partition.max.record.locks of a group.";
    "group.share.record.lock.duration.ms"          Int    "30000"                        [1000 .. 3600000]  restart later   "How long a delivered record stays locked.";
    "group.share.min.record.lock.duration.ms"      Int    "15000"                        [1000 .. 30000]    restart later   "Least share.record.lock.duration.ms of a group.";
    "group.share.max.record.lock.duration.ms"      Int    "60000"                        [30000 .. 3600000] restart later   "Greatest share.record.lock.duration.ms of a group.";
    "group.share.max.share.sessions"               Int    "2000"                         [1 ..]             restart later   "Share sessions kept.";
    "group.share.max.size"                         Int    "200"                          [1 .. 1000]        restart later   "Members of one share group.";
    "group.share.initialize.retry.interval.ms"     Int    "30000"                        [1 ..]             restart hidden  "Pause before the state of a share group is created again.";
    "group.share.persister.class.name"             String "org.apache.kafka.server.share.persister.DefaultStatePersister" _                  restart hidden  "Java class that stores the state of share groups.";
    "share.coordinator.append.linger.ms"           Int    "-1"                           [-1 ..]            restart nothing "How long Kafka's share coordinator gathers records.";
    "share.coordinator.cached.buffer.max.bytes"    Int    "1048588"                      [524288 ..]        cluster nothing "Write buffer that Kafka's share coordinator keeps.";
    "share.coordinator.cold.partition.snapshot.interval.ms" Int    "300000"                       [1 ..]             restart hidden  "Interval of snapshots of share partitions at rest.";
    "share.coordinator.load.buffer.size"           Int    "5242880"                      [1 ..]             restart nothing "Read buffer of Kafka while it loads share group state.";
    "share.coordinator.snapshot.update.records.per.snapshot" Int    "500"                          [0 .. 500]         restart later   "Updates of a share partition between two snapshots.";
    "share.coordinator.state.topic.compression.codec" Int    "0"                            _                  restart later   "Codec of __share_group_state.";
    "share.coordinator.state.topic.min.isr"        Short  "2"                            [1 ..]             restart later   "min.insync.replicas of __share_group_state.";
    "share.coordinator.state.topic.num.partitions" Int    "50"                           [1 ..]             restart later   "Partitions of __share_group_state when it is created.";
    "share.coordinator.state.topic.prune.interval.ms" Int    "300000"                       [1 ..]             restart hidden  "Interval at which __share_group_state is cut.";
    "share.coordinator.state.topic.replication.factor" Short  "3"                            [1 ..]             restart later   "Replicas of __share_group_state, at most the live brokers.";
    "share.coordinator.state.topic.segment.bytes"  Int    "104857600"                    [1 ..]             restart later   "Segment size of __share_group_state.";
    "share.coordinator.threads"                    Int    "1"                            [1 ..]             restart nothing "Threads of Kafka's share coordinator; here the cores decide.";
    "share.coordinator.write.timeout.ms"           Int    "5000"                         [1 ..]             restart later   "Longest wait until share group state is stored.";
};
