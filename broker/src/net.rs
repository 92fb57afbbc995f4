//! Sockets: who may connect, frames in, replies out.

pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod migrate;
pub(crate) mod quotas;
pub(crate) mod replies;
pub(crate) mod warnings;
