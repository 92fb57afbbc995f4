//! Quotas, metrics and providers: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Quotas, metrics and providers.
pub(super) const QUOTAS: &[Knob] = super::rows! { broker:
    // name                                        type   default                        valid  live    use     sentence
    "quota.window.num"                             Int    "11"                           [1 ..] restart later   "Samples over which client quotas are measured.";
    "quota.window.size.seconds"                    Int    "1"                            [1 ..] restart later   "Length of one such sample.";
    "replication.quota.window.num"                 Int    "11"                           [1 ..] restart later   "Samples over which replication throttles are measured.";
    "replication.quota.window.size.seconds"        Int    "1"                            [1 ..] restart later   "Length of one such sample.";
    "alter.log.dirs.replication.quota.window.num"  Int    "11"                           [1 ..] restart later   "Samples over which moves between directories are measured.";
    "alter.log.dirs.replication.quota.window.size.seconds" Int    "1"                            [1 ..] restart later   "Length of one such sample.";
    "controller.quota.window.num"                  Int    "11"                           [1 ..] restart later   "Samples over which controller mutations are measured.";
    "controller.quota.window.size.seconds"         Int    "1"                            [1 ..] restart later   "Length of one such sample.";
    "client.quota.callback.class"                  Class  null                           _      restart nothing "Java class that decides quotas; Java classes cannot be loaded here.";
    "telemetry.max.bytes"                          Int    "1048576"                      [1 ..] restart later   "Largest metrics push of a client.";
    "metric.reporters"                             List   "org.apache.kafka.common.metrics.JmxReporter" _      cluster nothing "Java classes that report metrics.";
    "metrics.num.samples"                          Int    "2"                            [1 ..] restart nothing "Samples behind a metric of Kafka.";
    "metrics.recording.level"                      String "INFO"                         _      restart nothing "Level of Kafka's metrics.";
    "metrics.sample.window.ms"                     Long   "30000"                        [1 ..] restart nothing "Length of a sample of Kafka's metrics.";
    "kafka.metrics.polling.interval.secs"          Int    "10"                           [1 ..] restart nothing "Polling interval of Kafka's metrics reporters.";
    "kafka.metrics.reporters"                      List   ""                             _      restart nothing "Java classes that report Kafka's older metrics.";
    "config.providers"                             List   ""                             _      cluster nothing "Java classes that supply config values.";
    "leader.replication.throttled.rate"            Long   "9223372036854775807"          [0 ..] cluster unlisted "Bytes a second that leaders may send to throttled followers.";
    "follower.replication.throttled.rate"          Long   "9223372036854775807"          [0 ..] cluster unlisted "Bytes a second that throttled followers may fetch.";
    "replica.alter.log.dirs.io.max.bytes.per.second" Long   "9223372036854775807"          [0 ..] cluster unlisted "Bytes a second for moves between data directories.";
};
