//! The machine's own invariants in one place, for tests: too slow to run after each step in production.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Coordinator;
use super::classic::{Group, State};
use super::member::Member;
use super::request::Token;
use super::timers::Purpose;
use super::writes::Outcome;

impl Coordinator {
    /// Panics, naming the invariant, if the state contradicts itself. Takes time in proportion to everything held.
    pub fn verify(&self) {
        for group in self.groups.values() {
            group.verify();
            self.verify_timers_of(group);
        }
        self.verify_timers();
        self.verify_topics();
    }

    fn verify_timers_of(&self, group: &Group) {
        let is_set = |purpose| self.timers.is_set(&group.id, purpose);
        let is_watched = |member_id: &Arc<str>| is_set(Purpose::Session(member_id.clone()));
        let mut members = group.members.values();
        let joins = group.state == State::PreparingRebalance;
        let rules = [
            (is_set(Purpose::Expire), "a group is looked at for expiry"),
            (is_set(Purpose::Join) == joins, "a join phase ends"),
            (
                group.pending_syncs.is_empty() || is_set(Purpose::Sync),
                "a sync phase ends",
            ),
            (
                members.all(|m| is_watched(&m.id) || m.outlives_its_session()),
                "a session ends",
            ),
            (
                group.pending_joins.iter().all(is_watched),
                "a pending member expires",
            ),
        ];
        for (holds, rule) in rules {
            assert!(holds, "{rule}: {group:?}");
        }
    }

    fn verify_timers(&self) {
        for key in self.timers.keys() {
            let Some(group) = self.groups.get(&key.group) else {
                panic!("timer of a dead group: {key:?}")
            };
            if let Purpose::Session(member_id) = &key.purpose {
                let known = group.members.contains_key(member_id)
                    || group.pending_joins.contains(member_id);
                assert!(known, "timer of a dead member: {key:?}");
            }
        }
    }

    fn verify_topics(&self) {
        let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for group in self.groups.values() {
            for topic in group.offsets.topics() {
                expected.entry(topic).or_default().insert(&group.id);
            }
        }
        let index = self.groups_by_topic.iter();
        let index: BTreeMap<&str, BTreeSet<&str>> = index
            .map(|(topic, groups)| (topic.as_str(), groups.iter().map(|id| &**id).collect()))
            .collect();
        assert_eq!(index, expected, "groups by topic");
    }

    /// Requests that were taken and not answered yet.
    pub fn open_requests(&self) -> BTreeSet<Token> {
        let members = self
            .groups
            .values()
            .flat_map(|group| group.members.values());
        let parked = members.flat_map(|member| member.joining.into_iter().chain(member.syncing));
        let waiting = self
            .groups
            .values()
            .flat_map(|group| group.closed.iter().flatten())
            .filter_map(|input| input.token());
        let writing = self.writes.iter().filter_map(|write| match &write.outcome {
            Outcome::Commit(token, _)
            | Outcome::OffsetDelete(token, _)
            | Outcome::DeleteGroups(token, ..) => Some(*token),
            _ => None,
        });
        parked.chain(waiting).chain(writing).collect()
    }
}

impl Group {
    fn verify(&self) {
        let members = || self.members.values();
        let is_member = |id: &Arc<str>| self.members.contains_key(id);
        let instance = |m: &Member| Some((m.group_instance_id.clone()?, m.id.clone()));
        let has_members = !self.members.is_empty();
        let is_empty = self.state == State::Empty;
        let has_generation = matches!(self.state, State::CompletingRebalance | State::Stable);
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let supports = |m: &Member| m.protocols.iter().any(|p| p.name == protocol);
        let rules = [
            (
                self.joining == members().filter(|m| m.joining.is_some()).count(),
                "parked joins are counted",
            ),
            (!is_empty || !has_members, "an empty group has no members"),
            (!has_generation || has_members, "a generation has members"),
            (
                self.leader.as_ref().is_none_or(is_member),
                "the leader is a member",
            ),
            (
                self.leader.is_some() == has_members,
                "members have a leader",
            ),
            (
                self.static_members == members().filter_map(instance).collect(),
                "an instance has one member",
            ),
            (
                !self.pending_joins.iter().any(is_member),
                "joined or pending, not both",
            ),
            (
                self.pending_syncs.iter().all(is_member),
                "who has to sync is a member",
            ),
            (
                self.state == State::CompletingRebalance || members().all(|m| m.syncing.is_none()),
                "syncs are parked only while completing",
            ),
            (
                !has_generation || members().all(supports),
                "all support the chosen protocol",
            ),
            (
                self.initial.is_none() || self.state == State::PreparingRebalance,
                "an initial rebalance is one",
            ),
            (
                self.closed.is_none() || is_empty,
                "only empty groups are deleted",
            ),
        ];
        for (holds, rule) in rules {
            assert!(holds, "{rule}: {self:?}");
        }
    }
}
