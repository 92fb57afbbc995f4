//! SyncGroup, Heartbeat and LeaveGroup: a member's life between two joins.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::Context;
use super::classic::{Group, State};
use super::record::Record;
use super::reply::{LeaveReply, Reply, SyncReply};
use super::request::{Heartbeat, LeaveGroup, LeavingMember, SyncGroup, Token};
use super::timers::Purpose;
use super::writes::Outcome;
use super::{Coordinator, Effects};

impl Coordinator {
    pub(super) fn sync(&mut self, now: i64, token: Token, request: SyncGroup, out: &mut Effects) {
        let error = match self.groups.get(request.group_id.as_str()) {
            _ if request.group_id.is_empty() => Some(ErrorCode::InvalidGroupId),
            None => Some(ErrorCode::UnknownMemberId),
            Some(group) => group.validate_sync(&request).err(),
        };
        match error {
            Some(error) => out.reply(token, Reply::Sync(SyncReply::error(error))),
            None => self.with_group(now, &request.group_id, out, |group, cx| {
                group.sync(cx, token, &request)
            }),
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        now: i64,
        token: Token,
        request: Heartbeat,
        out: &mut Effects,
    ) {
        let outcome = match self.groups.get(request.group_id.as_str()) {
            _ if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
            None => ErrorCode::UnknownMemberId,
            Some(group) => match group.validate_heartbeat(&request) {
                Ok(State::PreparingRebalance) => ErrorCode::RebalanceInProgress,
                Ok(_) => ErrorCode::None,
                Err(error) => error,
            },
        };
        if matches!(outcome, ErrorCode::None | ErrorCode::RebalanceInProgress) {
            self.with_group(now, &request.group_id, out, |group, cx| {
                group.restart_session(cx, &request.member_id)
            });
        }
        out.reply(token, Reply::Heartbeat(outcome));
    }

    pub(super) fn leave(&mut self, now: i64, token: Token, request: LeaveGroup, out: &mut Effects) {
        let mut reply = LeaveReply {
            error: ErrorCode::None,
            members: Vec::new(),
        };
        if request.group_id.is_empty() {
            reply.error = ErrorCode::InvalidGroupId;
        } else if self.groups.contains_key(request.group_id.as_str()) {
            self.with_group(now, &request.group_id, out, |group, cx| {
                reply.members = group.leave(cx, request.members);
            });
        } else {
            let unknown = |member: LeavingMember| {
                (
                    member.member_id,
                    member.group_instance_id,
                    ErrorCode::UnknownMemberId,
                )
            };
            reply.members = request.members.into_iter().map(unknown).collect();
        }
        out.reply(token, Reply::Leave(reply));
    }
}

impl Group {
    fn validate_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, ours: &Option<String>| {
            asked.is_some() && ours.is_some() && asked != ours
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn sync(&mut self, cx: &mut Context, token: Token, request: &SyncGroup) {
        let member_id = request.member_id.as_str();
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            cx.timers.cancel(&self.id, Purpose::Sync);
        }
        if self.state == State::Stable {
            cx.reply(token, Reply::Sync(self.synced(member_id)));
            return;
        }
        assert_eq!(self.state, State::CompletingRebalance);
        self.wait_for_sync(cx, member_id, token);
        if self.is_leader(member_id) && self.persisting != Some(self.generation_id) {
            self.persist_assignment(cx, &request.assignments);
        }
    }

    /// The group becomes stable when this record is durable, not before.
    fn persist_assignment(&mut self, cx: &mut Context, assignments: &[(String, Vec<u8>)]) {
        let by_member: BTreeMap<&str, &Vec<u8>> = assignments
            .iter()
            .map(|(id, bytes)| (id.as_str(), bytes))
            .collect();
        let value = self.value(|member| {
            by_member
                .get(&*member.id)
                .copied()
                .cloned()
                .unwrap_or_default()
        });
        let record = Record::Group {
            group: self.id.to_string(),
            value: Some(value),
        };
        self.persisting = Some(self.generation_id);
        cx.writes.append(
            cx.out,
            vec![record],
            Outcome::Assigned(self.id.clone(), self.generation_id),
        );
    }

    /// The leader's assignment is durable. By then the group may have moved on.
    pub(super) fn assignment_done(
        &mut self,
        cx: &mut Context,
        generation_id: i32,
        assignments: Vec<(String, Vec<u8>)>,
    ) {
        if self.close_persisting(generation_id) {
            self.stabilize(cx, assignments);
        }
    }

    /// The leader's assignment is not in the log: everybody has to join again.
    pub(super) fn assignment_failed(
        &mut self,
        cx: &mut Context,
        generation_id: i32,
        error: ErrorCode,
    ) {
        if self.close_persisting(generation_id) {
            self.reset_assignments(cx, error);
            self.prepare_rebalance(cx);
        }
    }

    fn close_persisting(&mut self, generation_id: i32) -> bool {
        if self.persisting == Some(generation_id) {
            self.persisting = None;
        }
        self.state == State::CompletingRebalance && self.generation_id == generation_id
    }

    fn validate_heartbeat(&self, request: &Heartbeat) -> Result<State, ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(self.state)
    }

    fn leave(
        &mut self,
        cx: &mut Context,
        members: Vec<LeavingMember>,
    ) -> Vec<(String, Option<String>, ErrorCode)> {
        let mut answers = Vec::with_capacity(members.len());
        let mut somebody_left = false;
        for LeavingMember {
            member_id,
            group_instance_id,
        } in members
        {
            let error = match self.leaving_id(&member_id, group_instance_id.as_deref()) {
                Ok(leaving) => {
                    self.drop_member(cx, &leaving, ErrorCode::UnknownMemberId);
                    somebody_left = true;
                    ErrorCode::None
                }
                Err(error) => error,
            };
            answers.push((member_id, group_instance_id, error));
        }
        match self.state {
            State::Stable | State::CompletingRebalance if somebody_left => {
                self.prepare_rebalance(cx)
            }
            State::PreparingRebalance if somebody_left => self.complete_join_if_all_joined(cx),
            _ => {}
        }
        answers
    }

    /// Whom an administrator (instance id alone) or a member means.
    fn leaving_id(&self, member_id: &str, instance: Option<&str>) -> Result<Arc<str>, ErrorCode> {
        if member_id.is_empty() {
            let holder = instance.and_then(|instance| self.static_members.get(instance));
            return holder.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if let Some(pending) = self.pending_joins.get(member_id) {
            return Ok(pending.clone());
        }
        self.validate_member(member_id, instance)?;
        Ok(member_id.into())
    }
}
