//! One member of a classic group.

use std::sync::Arc;

use super::record::MemberValue;
use super::request::{JoinGroup, Protocol, Token};

/// A member: what the log keeps of it, and the requests it has parked.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
    pub assignment: Vec<u8>,
    /// The parked JoinGroup.
    pub joining: Option<Token>,
    /// The parked SyncGroup.
    pub syncing: Option<Token>,
    /// Has not seen its first JoinGroup answer: below v4 it does not know its id and cannot send heartbeats, so its
    /// parked request is dropped after the new-member join timeout, instead of never.
    pub is_new: bool,
}

impl Member {
    pub(super) fn new(id: Arc<str>, request: &JoinGroup) -> Member {
        Member {
            id,
            group_instance_id: request.group_instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: rebalance_timeout_ms(
                request.rebalance_timeout_ms,
                request.session_timeout_ms,
            ),
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Vec::new(),
            joining: None,
            syncing: None,
            is_new: true,
        }
    }

    /// A member of the last durable generation. Only its metadata for the chosen protocol was kept.
    pub(super) fn loaded(value: MemberValue, protocol: &str) -> Member {
        Member {
            id: value.member_id.into(),
            group_instance_id: value.group_instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            rebalance_timeout_ms: rebalance_timeout_ms(
                value.rebalance_timeout_ms,
                value.session_timeout_ms,
            ),
            session_timeout_ms: value.session_timeout_ms,
            protocols: vec![Protocol {
                name: protocol.to_owned(),
                metadata: value.subscription,
            }],
            assignment: value.assignment,
            joining: None,
            syncing: None,
            is_new: false,
        }
    }

    /// What a rejoin changes.
    pub(super) fn update(&mut self, request: &JoinGroup) {
        self.protocols = request.protocols.clone();
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms =
            rebalance_timeout_ms(request.rebalance_timeout_ms, request.session_timeout_ms);
    }

    /// The record form; `assignment` because it is durable before it is the member's.
    pub(super) fn value(&self, protocol: &str, assignment: Vec<u8>) -> MemberValue {
        MemberValue {
            member_id: self.id.to_string(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol).to_vec(),
            assignment,
        }
    }

    /// The member's metadata for a protocol; empty if it does not support it.
    pub(super) fn metadata(&self, protocol: &str) -> &[u8] {
        self.protocols
            .iter()
            .find(|p| p.name == protocol)
            .map_or(&[], |p| &p.metadata)
    }

    /// A parked member proves by its open request that it lives; a new one does so only for a limited time.
    pub(super) fn outlives_its_session(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}

/// Absent (v0, and -1 of some clients later) means the session timeout.
fn rebalance_timeout_ms(rebalance_ms: i32, session_ms: i32) -> i32 {
    if rebalance_ms < 0 {
        session_ms
    } else {
        rebalance_ms
    }
}
