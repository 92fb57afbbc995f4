//! The cycle of a classic group: members join, the leader assigns, all sync, until somebody comes, goes or changes.
//! Follows the classic paths of Kafka's `GroupMetadataManager`.

use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::Context;
use super::classic::{Group, InitialRebalance, State};
use super::record::Record;
use super::reply::{JoinReply, Reply, SyncReply};
use super::request::Token;
use super::timers::Purpose;
use super::writes::Outcome;

/// A join phase for which nobody came goes on for so long at least: the members' own timeouts may be 0.
const JOIN_AGAIN_MS_MIN: i64 = 1000;

impl Group {
    /// A change that needs a new generation: opens a rebalance, or if one is open, ends its join phase when all are there.
    pub(super) fn rebalance(&mut self, cx: &mut Context) {
        if self.state == State::PreparingRebalance {
            self.complete_join_if_all_joined(cx);
        } else {
            self.prepare_rebalance(cx);
        }
    }

    /// Opens the join phase. Whoever waits for an assignment has to join again.
    pub(super) fn prepare_rebalance(&mut self, cx: &mut Context) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(cx, ErrorCode::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        cx.timers.cancel(&self.id, Purpose::Sync);
        let initial = self.state == State::Empty;
        self.transition(State::PreparingRebalance, cx.now);
        if initial {
            let delay_ms = i64::from(cx.config.initial_rebalance_delay_ms);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.initial = Some(InitialRebalance {
                delay_ms,
                remaining_ms,
                new_member_added: false,
            });
            cx.timers.set(&self.id, Purpose::Join, cx.now + delay_ms);
        } else if self.all_joined() {
            self.complete_join(cx);
        } else {
            cx.timers.set(
                &self.id,
                Purpose::Join,
                cx.now + self.rebalance_timeout_ms(),
            );
        }
    }

    /// The initial rebalance waits for its timer instead, so that the members of a starting application come together.
    pub(super) fn complete_join_if_all_joined(&mut self, cx: &mut Context) {
        if self.state == State::PreparingRebalance && self.initial.is_none() && self.all_joined() {
            self.complete_join(cx);
        }
    }

    /// The join phase's time is over; the initial one is extended as long as members keep coming.
    pub(super) fn on_join_timer(&mut self, cx: &mut Context) {
        if self.state != State::PreparingRebalance {
            return;
        }
        let extension = self
            .initial
            .filter(|initial| initial.new_member_added && initial.remaining_ms > 0);
        if let Some(InitialRebalance {
            delay_ms,
            remaining_ms,
            ..
        }) = extension
        {
            let next_ms = remaining_ms.min(i64::from(cx.config.initial_rebalance_delay_ms));
            let remaining_ms = (remaining_ms - delay_ms).max(0);
            self.initial = Some(InitialRebalance {
                delay_ms: next_ms,
                remaining_ms,
                new_member_added: false,
            });
            cx.timers.set(&self.id, Purpose::Join, cx.now + next_ms);
        } else {
            self.complete_join(cx);
        }
    }

    /// Ends the join phase: dynamic members that did not come are out, static ones stay until their session ends.
    pub(super) fn complete_join(&mut self, cx: &mut Context) {
        assert_eq!(self.state, State::PreparingRebalance);
        cx.timers.cancel(&self.id, Purpose::Join);
        let is_missing = |member: &&super::member::Member| {
            member.joining.is_none() && member.group_instance_id.is_none()
        };
        let missing: Vec<Arc<str>> = self
            .members
            .values()
            .filter(is_missing)
            .map(|member| member.id.clone())
            .collect();
        for member_id in missing {
            self.drop_member(cx, &member_id, ErrorCode::UnknownMemberId);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none came: wait for one of them, or for their sessions to end.
            self.initial = None;
            let wait_ms = self.rebalance_timeout_ms().max(JOIN_AGAIN_MS_MIN);
            cx.timers.set(&self.id, Purpose::Join, cx.now + wait_ms);
            return;
        }
        self.next_generation(cx.now);
        if self.state == State::Empty {
            self.note(cx);
            return;
        }
        self.pending_syncs = self.members.keys().cloned().collect();
        let joined: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in joined {
            if let Some(token) = self.take_join(&member_id) {
                let reply = self.joined(&member_id);
                cx.reply(token, Reply::Join(reply));
            }
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.restart_session(cx, &member_id);
        }
        cx.timers.set(
            &self.id,
            Purpose::Sync,
            cx.now + self.rebalance_timeout_ms(),
        );
    }

    /// Writes down a group that is as it will be: empty or stable.
    pub(super) fn note(&mut self, cx: &mut Context) {
        assert!(matches!(self.state, State::Empty | State::Stable));
        self.note_failed = false;
        let value = Some(self.value(|member| member.assignment.clone()));
        let record = Record::Group {
            group: self.id.to_string(),
            value,
        };
        cx.writes
            .append(cx.out, vec![record], Outcome::Noted(self.id.clone()));
    }

    /// Members that joined and then never asked for their assignment are out.
    pub(super) fn on_sync_timer(&mut self, cx: &mut Context) {
        let silent: Vec<Arc<str>> = self.pending_syncs.iter().cloned().collect();
        if silent.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        for member_id in silent {
            self.drop_member(cx, &member_id, ErrorCode::UnknownMemberId);
        }
        self.prepare_rebalance(cx);
    }

    /// A member, or pending member, was not heard of for too long.
    pub(super) fn on_session_timer(&mut self, cx: &mut Context, member_id: &str) {
        if self.pending_joins.remove(member_id) {
            // Also ends an initial rebalance early, as Kafka has it: nobody else is expected any more.
            if self.state == State::PreparingRebalance && self.all_joined() {
                self.complete_join(cx);
            }
        } else if self
            .members
            .get(member_id)
            .is_some_and(|member| !member.outlives_its_session())
        {
            self.drop_member(cx, member_id, ErrorCode::UnknownMemberId);
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(cx),
                State::PreparingRebalance if self.all_joined() => self.complete_join(cx),
                _ => {}
            }
        }
    }

    /// Takes a member, or pending member, out with its timer, and answers what it has parked.
    pub(super) fn drop_member(&mut self, cx: &mut Context, member_id: &str, error: ErrorCode) {
        cx.timers
            .cancel(&self.id, Purpose::Session(member_id.into()));
        let Some(member) = self.remove(member_id) else {
            return;
        };
        if let Some(token) = member.joining {
            let told = if error == ErrorCode::FencedInstanceId {
                member_id
            } else {
                ""
            };
            cx.reply(token, Reply::Join(JoinReply::error(error, told)));
        }
        if let Some(token) = member.syncing {
            cx.reply(token, Reply::Sync(SyncReply::error(error)));
        }
    }

    /// Gives a member its full session timeout from now.
    pub(super) fn restart_session(&mut self, cx: &mut Context, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            let deadline = cx.now + i64::from(member.session_timeout_ms);
            cx.timers
                .set(&self.id, Purpose::Session(member.id.clone()), deadline);
        }
    }

    /// Nobody has an assignment any more, and whoever waits for one is told `error`.
    pub(super) fn reset_assignments(&mut self, cx: &mut Context, error: ErrorCode) {
        for member in self.members.values_mut() {
            member.assignment.clear();
        }
        let waiting: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in waiting {
            self.answer_sync(cx, &member_id, |_, _| SyncReply::error(error));
        }
    }

    /// The leader's assignment is durable: everybody gets its part, and the group is stable.
    pub(super) fn stabilize(&mut self, cx: &mut Context, assignments: Vec<(String, Vec<u8>)>) {
        for (member_id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(member_id.as_str()) {
                member.assignment = assignment;
            }
        }
        self.transition(State::Stable, cx.now);
        let all: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in all {
            self.answer_sync(cx, &member_id, |group, member_id| group.synced(member_id));
        }
    }

    fn answer_sync(
        &mut self,
        cx: &mut Context,
        member_id: &str,
        reply: impl Fn(&Group, &str) -> SyncReply,
    ) {
        let parked = self
            .members
            .get_mut(member_id)
            .and_then(|member| member.syncing.take());
        if let Some(token) = parked {
            let reply = reply(self, member_id);
            cx.reply(token, Reply::Sync(reply));
            // While parked, the session timer may have run out without effect.
            self.restart_session(cx, member_id);
        }
    }

    /// A member's answer in the current generation.
    pub(super) fn joined(&self, member_id: &str) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: if self.is_leader(member_id) {
                self.joined_members()
            } else {
                Vec::new()
            },
        }
    }

    /// A member's assignment in the current generation.
    pub(super) fn synced(&self, member_id: &str) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// Parks a JoinGroup. A member that asks again has given up on its first request, but even that one is answered.
    pub(super) fn wait_for_join(&mut self, cx: &mut Context, member_id: &str, token: Token) {
        if let Some(old) = self.park_join(member_id, token) {
            cx.reply(
                old,
                Reply::Join(JoinReply::error(ErrorCode::RebalanceInProgress, member_id)),
            );
        }
    }

    /// Parks a SyncGroup, likewise.
    pub(super) fn wait_for_sync(&mut self, cx: &mut Context, member_id: &str, token: Token) {
        let old = self
            .members
            .get_mut(member_id)
            .and_then(|member| member.syncing.replace(token));
        if let Some(old) = old {
            cx.reply(
                old,
                Reply::Sync(SyncReply::error(ErrorCode::RebalanceInProgress)),
            );
        }
    }
}
