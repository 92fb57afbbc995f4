//! What a group's members have in common: the protocol they agree on and the topics they subscribe to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::classic::{Group, State};
use super::member::Member;
use super::request::Protocol;
use super::subscription;

/// Protocol type of consumers, the only one whose metadata is understood.
pub(super) const CONSUMER: &str = "consumer";

impl Group {
    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// If subscriptions cannot be read, every topic counts as subscribed: better a kept offset than a lost one.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Changes what a member supports.
    pub(super) fn set_protocols(&mut self, member_id: &str, change: impl FnOnce(&mut Member)) {
        let Some(member) = self.members.get_mut(member_id) else {
            panic!("{member_id} is a member")
        };
        let before = member.protocols.clone();
        change(member);
        let after = member.protocols.clone();
        self.count_protocols(&before, false);
        self.count_protocols(&after, true);
    }

    pub(super) fn count_protocols(&mut self, protocols: &[Protocol], add: bool) {
        // A name given twice counts once.
        let names: BTreeSet<&str> = protocols
            .iter()
            .map(|protocol| protocol.name.as_str())
            .collect();
        for name in names {
            let count = self.supported.entry(name.to_owned()).or_default();
            *count = if add {
                *count + 1
            } else {
                count.checked_sub(1).expect("counted when added")
            };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    /// Could a member with these protocols be in this group?
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|protocol| self.supported_by_all(&protocol.name))
    }

    fn supported_by_all(&self, protocol: &str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// Each member votes for the first of its protocols that all support; most votes win, the leader's order decides
    /// between equals.
    pub(super) fn select_protocol(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member
                .protocols
                .iter()
                .find(|protocol| self.supported_by_all(&protocol.name))
            {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let leader = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader));
        let preference = |name: &str| {
            leader.and_then(|leader| {
                leader
                    .protocols
                    .iter()
                    .position(|protocol| protocol.name == name)
            })
        };
        let best = votes
            .iter()
            .max_by_key(|(name, votes)| (**votes, Reverse(preference(name))));
        best.map(|(name, _)| (*name).to_owned())
            .expect("members are admitted only with a protocol that all support")
    }

    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref()?);
            subscription::read_topics(metadata, &mut topics).ok()?;
        }
        Some(topics)
    }
}
