//! A classic group's data and the small steps on it; `rebalance.rs` puts them in order.
//!
//! Durable, that is, in the log: the generation, protocol, leader and members of the last stable generation, and the
//! committed offsets. Everything else (parked requests, pending members, the rebalance itself) is soft state, which a
//! reload starts anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::Input;
use super::member::Member;
use super::offsets::Offsets;
use super::record::GroupValue;
use super::reply::JoinedMember;
use super::request::Token;

/// Where a group is in its cycle. Kafka's fifth state, Dead, is here a group that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members.
    Empty,
    /// Members are (re)joining.
    PreparingRebalance,
    /// All joined; the leader's assignment is awaited, or on its way into the log.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl State {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The first rebalance of an empty group, which waits for more members to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialRebalance {
    /// The delay that runs now, ms.
    pub delay_ms: i64,
    /// How much longer it may be extended, ms.
    pub remaining_ms: i64,
    /// Somebody came since the delay began.
    pub new_member_added: bool,
}

#[derive(Debug)]
pub(super) struct Group {
    pub id: Arc<str>,
    pub state: State,
    pub generation_id: i32,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub leader: Option<Arc<str>>,
    /// When `state` was entered, ms; unknown after loading an old record.
    pub state_timestamp: Option<i64>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Instance id → member id.
    pub static_members: BTreeMap<String, Arc<str>>,
    /// Ids given out by MEMBER_ID_REQUIRED whose owners have not joined with them yet.
    pub pending_joins: BTreeSet<Arc<str>>,
    /// Members that have not sent SyncGroup in this generation.
    pub pending_syncs: BTreeSet<Arc<str>>,
    /// How many members have a parked JoinGroup.
    pub joining: usize,
    /// Protocol name → how many members support it.
    pub supported: BTreeMap<String, usize>,
    pub initial: Option<InitialRebalance>,
    /// The generation whose assignment is on its way into the log.
    pub persisting: Option<i32>,
    /// Union of the members' subscriptions, if the group is one of consumers and all could be read.
    pub subscribed_topics: Option<BTreeSet<String>>,
    pub offsets: Offsets,
    /// The log holds a record of this group itself.
    pub recorded: bool,
    /// The log has an older picture of this group, because the append of the last one failed.
    pub note_failed: bool,
    /// Set while the group's tombstones are on their way into the log: commands that came since, which start over
    /// when the outcome is known.
    pub closed: Option<Vec<Input>>,
}

impl Group {
    pub(super) fn new(id: Arc<str>, now: i64) -> Group {
        Group {
            id,
            state: State::Empty,
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            state_timestamp: Some(now),
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            joining: 0,
            supported: BTreeMap::new(),
            initial: None,
            persisting: None,
            subscribed_topics: None,
            offsets: Offsets::default(),
            recorded: false,
            note_failed: false,
            closed: None,
        }
    }

    /// The group as its record in the log tells it.
    pub(super) fn loaded(id: Arc<str>, value: GroupValue) -> Group {
        let mut group = Group::new(id, value.state_timestamp);
        group.state_timestamp = (value.state_timestamp >= 0).then_some(value.state_timestamp);
        group.generation_id = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|text| !text.is_empty());
        group.protocol_name = value.protocol;
        group.recorded = true;
        let protocol = group.protocol_name.clone().unwrap_or_default();
        for member in value.members {
            let mut member = Member::loaded(member, &protocol);
            // A member or instance named twice cannot come from a coordinator; the later one wins.
            let double = member
                .group_instance_id
                .as_ref()
                .and_then(|instance| group.static_members.get(instance).cloned());
            for id in [Some(member.id.clone()), double].into_iter().flatten() {
                group.remove(&id);
            }
            member.is_new = false;
            group.add(member);
        }
        group.leader = value
            .leader
            .map(Arc::from)
            .filter(|leader| group.members.contains_key(leader));
        if !group.members.is_empty() {
            group.state = State::Stable;
            group.leader = group
                .leader
                .take()
                .or_else(|| group.members.keys().next().cloned());
        }
        group.subscribed_topics = group.read_subscriptions();
        group
    }

    /// The group's record, with `assignment` deciding each member's part.
    pub(super) fn value(&self, assignment: impl Fn(&Member) -> Vec<u8>) -> GroupValue {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation_id,
            protocol: self.protocol_name.clone(),
            leader: self.leader.as_deref().map(str::to_owned),
            state_timestamp: self.state_timestamp.unwrap_or(-1),
            members: self
                .members
                .values()
                .map(|member| member.value(protocol, assignment(member)))
                .collect(),
        }
    }

    /// A group that nothing holds: no member, no record, no history.
    pub(super) fn is_unused(&self) -> bool {
        self.state == State::Empty
            && self.generation_id == 0
            && self.pending_joins.is_empty()
            && self.offsets.is_empty()
            && !self.recorded
            && self.closed.is_none()
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn transition(&mut self, state: State, now: i64) {
        let allowed = match state {
            State::Empty => self.state == State::PreparingRebalance,
            State::PreparingRebalance => self.state != State::PreparingRebalance,
            State::CompletingRebalance => self.state == State::PreparingRebalance,
            State::Stable => self.state == State::CompletingRebalance,
        };
        assert!(
            allowed,
            "group {}: {:?} to {:?}",
            self.id, self.state, state
        );
        self.state = state;
        self.state_timestamp = Some(now);
    }

    /// Adds a member. The first one makes the group's protocol type (set by the caller) and becomes leader.
    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.group_instance_id {
            let double = self
                .static_members
                .insert(instance.clone(), member.id.clone());
            assert!(double.is_none(), "instance {instance} has one member");
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_joins.remove(&member.id);
        self.count_protocols(&member.protocols, true);
        self.joining += usize::from(member.joining.is_some());
        let double = self.members.insert(member.id.clone(), member);
        assert!(double.is_none(), "a member is added once");
    }

    /// Removes a member or pending member. Another one becomes leader if it was.
    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        let member = self.members.remove(member_id)?;
        self.count_protocols(&member.protocols, false);
        self.joining -= usize::from(member.joining.is_some());
        if let Some(instance) = &member.group_instance_id {
            let known = self.static_members.remove(instance);
            assert_eq!(
                known.as_ref(),
                Some(&member.id),
                "an instance id maps to its member"
            );
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Parks a member's JoinGroup; the one it replaces is returned.
    pub(super) fn park_join(&mut self, member_id: &str, token: Token) -> Option<Token> {
        let old = self.members.get_mut(member_id)?.joining.replace(token);
        self.joining += usize::from(old.is_none());
        old
    }

    /// Takes a member's parked JoinGroup.
    pub(super) fn take_join(&mut self, member_id: &str) -> Option<Token> {
        let token = self.members.get_mut(member_id)?.joining.take();
        self.joining -= usize::from(token.is_some());
        token
    }

    pub(super) fn all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending_joins.is_empty()
    }

    /// Makes sure that the leader is one of those who joined; false if nobody did.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |id: &Arc<str>| {
            self.members
                .get(id)
                .is_some_and(|member| member.joining.is_some())
        };
        if !self.leader.as_ref().is_some_and(has_joined) {
            let Some(next) = self.members.keys().find(|id| has_joined(id)).cloned() else {
                return false;
            };
            self.leader = Some(next);
        }
        true
    }

    /// The longest of the members' rebalance timeouts, ms.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
    }

    /// Is this a member, and if it names an instance id, the one that holds it?
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let holder = self
                .static_members
                .get(instance)
                .ok_or(ErrorCode::UnknownMemberId)?;
            if holder.as_ref() != member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// Opens the next generation with whoever is a member now.
    pub(super) fn next_generation(&mut self, now: i64) {
        self.generation_id = self.generation_id.checked_add(1).unwrap_or(1);
        self.pending_syncs.clear();
        self.initial = None;
        if self.members.is_empty() {
            self.protocol_name = None;
            self.transition(State::Empty, now);
        } else {
            self.protocol_name = Some(self.select_protocol());
            self.transition(State::CompletingRebalance, now);
        }
        self.subscribed_topics = self.read_subscriptions();
    }

    /// What the leader is told: everybody, with the metadata for the chosen protocol.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let describe = |member: &Member| JoinedMember {
            member_id: member.id.to_string(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(protocol).to_vec(),
        };
        self.members.values().map(describe).collect()
    }
}
