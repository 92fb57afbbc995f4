//! Replication: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Replication.
pub(super) const REPLICATION: &[Knob] = super::rows! { broker:
    // name                                        type    default    valid  live    use     sentence
    "min.insync.replicas"                          Int     "1"        [1 ..] cluster obeyed  "Replicas that must have a record before acks=all is answered, at most the replication factor.";
    "num.replica.fetchers"                         Int     "1"        [1 ..] cluster nothing "Fetch threads of a Kafka follower; here the cores decide.";
    "num.replica.alter.log.dirs.threads"           Int     null       _      restart nothing "Threads of Kafka that move replicas between directories.";
    "replica.fetch.backoff.ms"                     Int     "1000"     [0 ..] restart later   "Pause of a follower after a failed fetch.";
    "replica.fetch.max.bytes"                      Int     "1048576"  [0 ..] restart later   "Bytes a follower asks for, for each partition.";
    "replica.fetch.min.bytes"                      Int     "1"        _      restart later   "Bytes a follower's fetch waits for.";
    "replica.fetch.response.max.bytes"             Int     "10485760" [0 ..] restart later   "Bytes of one answer to a follower.";
    "replica.fetch.wait.max.ms"                    Int     "500"      _      restart later   "Longest wait of a follower's fetch.";
    "replica.high.watermark.checkpoint.interval.ms" Long    "5000"     _      restart nothing "Interval of Kafka's high watermark checkpoints.";
    "replica.lag.time.max.ms"                      Long    "30000"    _      restart later   "Time behind the leader after which a follower leaves the ISR.";
    "replica.selector.class"                       String  null       _      restart nothing "Java class that picks the replica to read from; Java classes cannot be loaded here.";
    "replica.socket.receive.buffer.bytes"          Int     "65536"    _      restart nothing "Receive buffer of a Kafka follower.";
    "replica.socket.timeout.ms"                    Int     "30000"    _      restart later   "Wait of a follower for its leader.";
    "follower.fetch.last.tiered.offset.enable"     Boolean "false"    _      cluster later   "An empty follower starts behind what is tiered.";
};
