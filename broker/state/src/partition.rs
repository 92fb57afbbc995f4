//! One partition's state beside its log.

pub mod producers;
