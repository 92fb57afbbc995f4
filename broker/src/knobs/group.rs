//! Settings of groups and of client metrics subscriptions: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Group settings.
pub(super) const GROUP: &[Knob] = super::rows! { group from:
    // name                              broker synonym                             type    default            valid                          use   sentence
    "consumer.session.timeout.ms"        "group.consumer.session.timeout.ms"        Int     "45000"            [1 ..]                         later "Session timeout of this consumer group.";
    "consumer.heartbeat.interval.ms"     "group.consumer.heartbeat.interval.ms"     Int     "5000"             [1 ..]                         later "Heartbeat interval of this consumer group.";
    "consumer.assignment.interval.ms"    "group.consumer.assignment.interval.ms"    Int     "1000"             [0 ..]                         later "Interval between assignments of this consumer group.";
    "share.session.timeout.ms"           "group.share.session.timeout.ms"           Int     "45000"            [1 ..]                         later "Session timeout of this share group.";
    "share.heartbeat.interval.ms"        "group.share.heartbeat.interval.ms"        Int     "5000"             [1 ..]                         later "Heartbeat interval of this share group.";
    "share.assignment.interval.ms"       "group.share.assignment.interval.ms"       Int     "1000"             [0 ..]                         later "Interval between assignments of this share group.";
    "share.auto.offset.reset"            _                                          String  "latest"           offset_reset                   later "Where a share group starts: latest, earliest or by_duration:PT1H.";
    "share.delivery.count.limit"         "group.share.delivery.count.limit"         Int     "5"                [2 ..]                         later "Deliveries of a record before it is given up.";
    "share.isolation.level"              _                                          String  "read_uncommitted" {"read_committed" "read_uncommitted"} later "Whether a share group sees records of open transactions.";
    "share.partition.max.record.locks"   "group.share.partition.max.record.locks"   Int     "2000"             [100 ..]                       later "Records of one partition that may be out at once.";
    "share.record.lock.duration.ms"      "group.share.record.lock.duration.ms"      Int     "30000"            [1000 ..]                      later "How long a delivered record stays locked.";
    "share.renew.acknowledge.enable"     _                                          Boolean "true"             _                              later "Whether a lock may be renewed.";
    "streams.session.timeout.ms"         "group.streams.session.timeout.ms"         Int     "45000"            [1 ..]                         later "Session timeout of this streams group.";
    "streams.heartbeat.interval.ms"      "group.streams.heartbeat.interval.ms"      Int     "5000"             [1 ..]                         later "Heartbeat interval of this streams group.";
    "streams.assignment.interval.ms"     "group.streams.assignment.interval.ms"     Int     "1000"             [0 ..]                         later "Interval between assignments of this streams group.";
    "streams.initial.rebalance.delay.ms" "group.streams.initial.rebalance.delay.ms" Int     "3000"             [0 ..]                         later "Wait for more members before the first rebalance.";
    "streams.num.standby.replicas"       "group.streams.num.standby.replicas"       Int     "0"                [0 ..]                         later "Standby tasks of this streams group.";
};

/// Client metrics settings (KIP-714); subscriptions are stored and shown, clients do not push yet.
pub(super) const CLIENT_METRICS: &[Knob] = super::rows! { client_metrics from:
    // name       broker synonym type default  valid            use   sentence
    "interval.ms" _              Int  "300000" [100 .. 3600000] later "Interval at which clients push.";
    "metrics"     _              List ""       _                later "Prefixes of the metrics that clients push; empty for none, * for all.";
    "match"       _              List ""       _                later "Which clients push, as attribute=pattern.";
};
