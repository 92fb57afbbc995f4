//! Transactions: one row per knob.

use super::{Knob, Live, Scope, Type, Use, Valid};

/// Transactions.
pub(super) const TRANSACTIONS: &[Knob] = super::rows! { broker:
    // name                                        type    default     valid  live    use     sentence
    "transaction.max.timeout.ms"                   Int     "900000"    [1 ..] restart later   "Longest transaction a producer may ask for.";
    "transactional.id.expiration.ms"               Int     "604800000" [1 ..] restart later   "Idle time after which a transactional id is forgotten.";
    "transaction.state.log.num.partitions"         Int     "50"        [1 ..] restart later   "Partitions of __transaction_state when it is created.";
    "transaction.state.log.replication.factor"     Short   "3"         [1 ..] restart later   "Replicas of __transaction_state, at most the live brokers.";
    "transaction.state.log.min.isr"                Int     "2"         [1 ..] restart later   "min.insync.replicas of __transaction_state.";
    "transaction.state.log.segment.bytes"          Int     "104857600" [1 ..] restart later   "Segment size of __transaction_state.";
    "transaction.state.log.load.buffer.size"       Int     "5242880"   [1 ..] restart nothing "Read buffer of Kafka while it loads transactions.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int     "10000"     [1 ..] restart later   "Interval of the search for transactions that timed out.";
    "transaction.remove.expired.transaction.cleanup.interval.ms" Int     "3600000"   [1 ..] restart later   "Interval of the search for expired transactional ids.";
    "transaction.partition.verification.enable"    Boolean "true"      _      cluster later   "Check that a partition is part of a transaction before writing.";
    "transaction.two.phase.commit.enable"          Boolean "false"     _      restart later   "Allow transactions that an outside coordinator ends.";
    "add.partitions.to.txn.retry.backoff.ms"       Int     "20"        [1 ..] restart later   "Pause before a partition is added to a transaction again.";
    "add.partitions.to.txn.retry.backoff.max.ms"   Int     "100"       [0 ..] restart later   "Longest time a partition is tried to be added to a transaction.";
};
