//! Listeners, connections and requests: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Listeners, connections and requests.
pub(super) const NETWORK: &[Knob] = super::rows! { broker:
    // name                                        type   default                        valid                          live    use     sentence
    "listeners"                                    List   "PLAINTEXT://localhost:9092"   _                              restart obeyed  "Where to listen, as NAME://host:port; an empty host means every address, IPv4 and IPv6.";
    "advertised.listeners"                         List   null                           _                              restart obeyed  "What clients are told to connect to, one entry for each listener.";
    "listener.security.protocol.map"               String "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT" _                              restart obeyed  "Listener name to protocol; only PLAINTEXT can be served now.";
    "inter.broker.listener.name"                   String null                           _                              restart obeyed  "Listener that brokers use among themselves; must be one of listeners.";
    "security.inter.broker.protocol"               String "PLAINTEXT"                    {"PLAINTEXT" "SSL" "SASL_PLAINTEXT" "SASL_SSL"} restart obeyed  "Protocol between brokers; excludes inter.broker.listener.name.";
    "socket.request.max.bytes"                     Int    "104857600"                    [1 ..]                         restart obeyed  "Largest request frame; a larger one closes the connection before anything is allocated.";
    "socket.listen.backlog.size"                   Int    "50"                           [1 ..]                         restart obeyed  "Connections that may wait to be accepted, per listener and core.";
    "socket.receive.buffer.bytes"                  Int    "102400"                       _                              restart nothing "SO_RCVBUF in Kafka; here each core sizes receive buffers itself.";
    "socket.send.buffer.bytes"                     Int    "102400"                       _                              restart nothing "SO_SNDBUF in Kafka; here the kernel sizes send buffers.";
    "socket.connection.setup.timeout.ms"           Long   "10000"                        _                              restart later   "First wait for a connection to another broker.";
    "socket.connection.setup.timeout.max.ms"       Long   "30000"                        _                              restart later   "Longest wait for a connection to another broker.";
    "connections.max.idle.ms"                      Long   "600000"                       _                              restart obeyed  "Idle time after which a connection is closed.";
    "max.connections"                              Int    "2147483647"                   [0 ..]                         cluster obeyed  "Connections open at once.";
    "max.connections.per.ip"                       Int    "2147483647"                   [0 ..]                         cluster obeyed  "Connections open at once from one address.";
    "max.connections.per.ip.overrides"             String ""                             _                              cluster obeyed  "Exceptions to max.connections.per.ip, as host:count.";
    "max.connection.creation.rate"                 Int    "2147483647"                   [0 ..]                         cluster obeyed  "New connections a second; past that they wait.";
    "connection.failed.authentication.delay.ms"    Int    "100"                          [0 ..]                         restart later   "Delay before a connection that failed to authenticate is closed.";
    "request.timeout.ms"                           Int    "30000"                        _                              restart later   "Wait for an answer of another broker.";
    "max.request.partition.size.limit"             Int    "2000"                         [1 ..]                         restart obeyed  "Most partitions in one answer to DescribeTopicPartitions.";
    "max.incremental.fetch.session.cache.slots"    Int    "1000"                         [0 ..]                         restart obeyed  "Incremental fetch sessions kept.";
    "fetch.max.bytes"                              Int    "57671680"                     [1024 ..]                      restart obeyed  "Most record bytes in one answer to Fetch.";
    "num.network.threads"                          Int    "3"                            [1 ..]                         cluster nothing "Network threads of Kafka; here the cores decide.";
    "num.io.threads"                               Int    "8"                            [1 ..]                         cluster nothing "Request threads of Kafka; here the cores decide.";
    "background.threads"                           Int    "10"                           [1 ..]                         cluster nothing "Background threads of Kafka; here the cores decide.";
    "queued.max.requests"                          Int    "500"                          [1 ..]                         restart nothing "Requests queued between Kafka's threads; here each connection has its own bound.";
    "queued.max.request.bytes"                     Long   "-1"                           _                              restart obeyed  "Bytes of requests, coming in or at work, past which no more are read, shared out over the cores; -1 for a sixteenth of the memory.";
    "fetch.purgatory.purge.interval.requests"      Int    "1000"                         _                              restart nothing "Clean-up interval of Kafka's waiting fetches.";
    "producer.purgatory.purge.interval.requests"   Int    "1000"                         _                              restart nothing "Clean-up interval of Kafka's waiting produces.";
    "delete.records.purgatory.purge.interval.requests" Int    "1"                            _                              restart nothing "Clean-up interval of Kafka's waiting record deletions.";
    "share.fetch.purgatory.purge.interval.requests" Int    "1000"                         _                              restart nothing "Clean-up interval of Kafka's waiting share fetches.";
};
