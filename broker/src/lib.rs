//! Millstream: a Kafka broker for Linux servers, thread per core on io_uring.
//!
//! | where | what |
//! |---|---|
//! | [`cli`], [`config`], [`knobs`] | command line; file, environment and flags become one checked [`config::Config`]; the table of all settings |
//! | [`broker`], `boot`, `shard` | start and stop; bringing disk and metadata to agree; what one core owns |
//! | `net/` | sockets: frames in, replies out in request order |
//! | `api/` | one file per API |
//! | `topics`, `partition/` | which core has what; append, read, wait |
//! | `coordinator/` | group coordinators: the state machine's records, replies and timers |
//! | `controller/` | the metadata log, and what follows from its records on each core |
//! | `calls`, `handover` | work handed from one core to another; the same for produced batches |
//!
//! A core owns its partitions, their files and its connections; nothing is shared. A request for a partition of another
//! core travels there as a message ([`calls`](crate)), and its result travels back.
//!
//! Invariants: a batch is answered only when it is flushed; replies leave in request order; batches of one connection for
//! one partition are appended in the order they came; consumers see nothing beyond the flushed end.
//!
//! Deliberately absent yet: transactions, compaction, TLS and SASL, ACLs, quotas, more than one broker.
#![forbid(unsafe_code)]

mod api;
mod banner;
mod boot;
pub mod broker;
mod calls;
pub mod cli;
mod clock;
pub mod config;
mod controller;
mod coordinator;
mod handover;
mod host;
pub mod knobs;
mod limits;
mod metrics;
mod net;
mod partition;
mod retention;
mod scrub;
mod security;
mod shard;
mod topics;
