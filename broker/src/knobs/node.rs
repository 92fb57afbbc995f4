//! Identity, roles and the metadata quorum: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Identity, roles and the metadata quorum.
pub(super) const NODE: &[Knob] = super::rows! { broker:
    // name                                        type    default               valid                   live    use     sentence
    "node.id"                                      Int     "1"                   [0 ..]                  restart obeyed  "Number of this node, unique in the cluster.";
    "broker.id"                                    Int     "-1"                  _                       restart obeyed  "Old name of node.id; both must agree.";
    "process.roles"                                List    "broker,controller"   {"broker" "controller"} restart obeyed  "What this process is; must contain broker.";
    "broker.rack"                                  String  null                  _                       restart obeyed  "Rack of this node as Metadata and DescribeCluster return it.";
    "controller.listener.names"                    List    "CONTROLLER"          _                       restart obeyed  "Listeners of the controller; validated, not opened while a cluster has one node.";
    "controller.quorum.voters"                     List    ""                    _                       restart obeyed  "Voters as id@host:port; must name this node alone.";
    "controller.quorum.bootstrap.servers"          List    ""                    _                       restart later   "Endpoints that a new quorum member asks first.";
    "controller.quorum.auto.join.enable"           Boolean "false"               _                       restart later   "Join the quorum of the cluster without being told.";
    "controller.quorum.append.linger.ms"           Int     "25"                  [0 ..]                  restart later   "How long a quorum leader gathers records before it writes.";
    "controller.quorum.election.backoff.max.ms"    Int     "1000"                [0 ..]                  restart later   "Longest wait before a new election.";
    "controller.quorum.election.timeout.ms"        Int     "1000"                [0 ..]                  restart later   "Silence of the leader after which an election starts.";
    "controller.quorum.fetch.max.bytes"            Int     "1048576"             [1 ..]                  restart later   "Most bytes of one metadata fetch.";
    "controller.quorum.fetch.snapshot.max.bytes"   Int     "1048576"             [1 ..]                  restart later   "Most bytes of one piece of a metadata snapshot.";
    "controller.quorum.fetch.timeout.ms"           Int     "2000"                [0 ..]                  restart later   "Time without a successful fetch after which a voter becomes a candidate.";
    "controller.quorum.request.timeout.ms"         Int     "2000"                [0 ..]                  restart later   "Wait for an answer of another voter.";
    "controller.quorum.retry.backoff.ms"           Int     "20"                  [0 ..]                  restart later   "Pause before a quorum request is repeated.";
    "controller.performance.always.log.threshold.ms" Long    "2000"                [0 ..]                  restart hidden  "Log controller events slower than this.";
    "controller.performance.sample.period.ms"      Long    "60000"               [100 ..]                restart hidden  "Period of the controller's own timing log.";
    "controller.socket.timeout.ms"                 Int     "30000"               _                       restart nothing "Socket timeout between controller and brokers in Kafka.";
    "broker.heartbeat.interval.ms"                 Int     "2000"                _                       restart later   "Interval of a broker's heartbeats to the controller.";
    "broker.session.timeout.ms"                    Int     "9000"                _                       restart later   "Silence after which the controller fences a broker.";
    "initial.broker.registration.timeout.ms"       Int     "60000"               _                       restart later   "How long a broker tries to register before it gives up.";
    "early.start.listeners"                        List    null                  _                       restart nothing "Listeners opened before an authorizer is ready.";
    "server.max.startup.time.ms"                   Long    "9223372036854775807" [0 ..]                  restart hidden  "Longest start before Kafka gives up.";
    "metadata.log.dir"                             String  null                  _                       restart nothing "Directory of Kafka's metadata log; here metadata lives in the first of log.dirs.";
    "metadata.log.max.record.bytes.between.snapshots" Long    "20971520"            [1 ..]                  restart later   "Bytes of metadata records after which a snapshot is due.";
    "metadata.log.max.snapshot.interval.ms"        Long    "3600000"             [0 ..]                  restart later   "Longest time between two metadata snapshots.";
    "metadata.log.segment.bytes"                   Int     "1073741824"          [8388608 ..]            restart nothing "Segment size of Kafka's metadata log.";
    "metadata.log.segment.ms"                      Long    "604800000"           _                       restart nothing "Segment age of Kafka's metadata log.";
    "metadata.max.idle.interval.ms"                Int     "500"                 [0 ..]                  restart later   "Interval of no-op records in an idle metadata log.";
    "metadata.max.retention.bytes"                 Long    "104857600"           _                       restart nothing "Size at which Kafka deletes old metadata snapshots.";
    "metadata.max.retention.ms"                    Long    "604800000"           _                       restart nothing "Age at which Kafka deletes old metadata snapshots.";
    "internal.metadata.delete.delay.millis"        Long    "60000"               _                       restart hidden  "Delay before Kafka removes old metadata files.";
    "internal.metadata.log.segment.bytes"          Int     null                  _                       restart hidden  "Segment size of the metadata log in Kafka's tests.";
    "internal.metadata.max.batch.size.in.bytes"    Int     "8388608"             _                       restart hidden  "Largest metadata batch.";
    "auto.leader.rebalance.enable"                 Boolean "true"                _                       restart later   "Move leadership back to preferred replicas from time to time.";
    "leader.imbalance.check.interval.seconds"      Long    "300"                 [1 ..]                  restart later   "Interval of the check behind auto.leader.rebalance.enable.";
    "controlled.shutdown.enable"                   Boolean "true"                _                       restart later   "Hand leadership over before stopping.";
    "unclean.leader.election.enable"               Boolean "false"               _                       cluster later   "Let a replica outside the ISR lead when no other is alive, losing records.";
    "unclean.leader.election.interval.ms"          Long    "300000"              [1 ..]                  restart hidden  "Interval of the search for partitions that need an unclean election.";
    "unstable.api.versions.enable"                 Boolean "false"               _                       restart hidden  "Serve API versions that are not released.";
    "unstable.feature.versions.enable"             Boolean "false"               _                       restart hidden  "Allow feature versions that are not released.";
};
