//! JoinGroup: who may join, under which id, and whether that needs a new generation.

use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::classic::{Group, State};
use super::member::Member;
use super::record::{Record, STRING_BYTES_MAX};
use super::reply::{JoinReply, Reply};
use super::request::{Input, JoinGroup, Token};
use super::timers::Purpose;
use super::writes::{Outcome, StaticRejoin};
use super::{Context, Coordinator, Effects};

/// KIP-394: from here on a dynamic member first gets an id and joins with it.
const REQUIRES_MEMBER_ID: i16 = 4;
/// KIP-814: from here on a leader can be told to skip the assignment.
const SKIPS_ASSIGNMENT: i16 = 9;
/// `-` and a UUID follow the client or instance id in a member id.
const MEMBER_ID_SUFFIX_BYTES_MAX: usize = 64;

impl Coordinator {
    pub(super) fn join(&mut self, now: i64, token: Token, request: JoinGroup, out: &mut Effects) {
        if let Some(error) = self.refuse_join(&request) {
            out.reply(
                token,
                Reply::Join(JoinReply::error(error, &request.member_id)),
            );
            return;
        }
        match self.groups.get_mut(request.group_id.as_str()) {
            Some(Group {
                closed: Some(waiting),
                ..
            }) => {
                waiting.push(Input::Join(token, request));
                return;
            }
            None if !request.member_id.is_empty() => {
                let reply = JoinReply::error(ErrorCode::UnknownMemberId, &request.member_id);
                out.reply(token, Reply::Join(reply));
                return;
            }
            None => self.create_group(now, &request.group_id),
            Some(_) => {}
        }
        self.with_group(now, &request.group_id, out, |group, cx| {
            group.join(cx, token, &request)
        });
    }

    fn refuse_join(&self, request: &JoinGroup) -> Option<ErrorCode> {
        let session_ms = request.session_timeout_ms;
        let bounds = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if request.group_id.is_empty() || request.group_id.len() > STRING_BYTES_MAX {
            return Some(ErrorCode::InvalidGroupId);
        }
        if !bounds.contains(&session_ms) {
            return Some(ErrorCode::InvalidSessionTimeout);
        }
        // Flexible requests can carry strings that the group's record has no room for.
        let names = request.protocols.iter().map(|protocol| protocol.name.len());
        let texts = [
            &request.client_id,
            &request.client_host,
            &request.protocol_type,
            &request.uuid,
        ]
        .map(String::len);
        let instance = request.group_instance_id.iter().map(String::len);
        let longest = names.chain(texts).chain(instance).max().unwrap_or(0);
        (longest > STRING_BYTES_MAX - MEMBER_ID_SUFFIX_BYTES_MAX)
            .then_some(ErrorCode::InvalidRequest)
    }
}

impl Group {
    fn join(&mut self, cx: &mut Context, token: Token, request: &JoinGroup) {
        if !self.has_room_for(&request.member_id, cx.config.group_max_size) {
            self.drop_member(cx, &request.member_id, ErrorCode::GroupMaxSizeReached);
            cx.reply(
                token,
                Reply::Join(JoinReply::error(ErrorCode::GroupMaxSizeReached, "")),
            );
            self.complete_join_if_all_joined(cx);
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            let reply = JoinReply::error(ErrorCode::InconsistentGroupProtocol, &request.member_id);
            cx.reply(token, Reply::Join(reply));
        } else if request.member_id.is_empty() {
            self.join_new(cx, token, request);
        } else if request.group_instance_id.is_none()
            && self.pending_joins.contains(request.member_id.as_str())
        {
            self.add_member(cx, token, request.member_id.as_str().into(), request);
        } else {
            self.join_again(cx, token, request);
        }
    }

    /// While members are joining only those who did count, so that a group above its (lowered) limit loses the last
    /// ones to rejoin.
    fn has_room_for(&self, member_id: &str, max: usize) -> bool {
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                self.members
                    .get(member_id)
                    .is_some_and(|member| member.joining.is_some())
                    || self.joining < max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max
            }
        }
    }

    fn join_new(&mut self, cx: &mut Context, token: Token, request: &JoinGroup) {
        let prefix = request
            .group_instance_id
            .as_ref()
            .unwrap_or(&request.client_id);
        let member_id: Arc<str> = format!("{prefix}-{}", request.uuid).into();
        assert!(
            !self.members.contains_key(&member_id),
            "the UUID given for a new member is fresh"
        );
        let holder = request
            .group_instance_id
            .as_ref()
            .map(|instance| self.static_members.get(instance).cloned());
        match holder {
            Some(Some(old_id)) => self.replace_static_member(cx, token, old_id, member_id, request),
            None if request.api_version >= REQUIRES_MEMBER_ID => {
                let deadline = cx.now + i64::from(request.session_timeout_ms);
                cx.timers
                    .set(&self.id, Purpose::Session(member_id.clone()), deadline);
                cx.reply(
                    token,
                    Reply::Join(JoinReply::error(ErrorCode::MemberIdRequired, &member_id)),
                );
                self.pending_joins.insert(member_id);
            }
            None | Some(None) => self.add_member(cx, token, member_id, request),
        }
    }

    fn add_member(
        &mut self,
        cx: &mut Context,
        token: Token,
        member_id: Arc<str>,
        request: &JoinGroup,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(initial) = &mut self.initial {
            initial.new_member_added = true;
        }
        let member = Member {
            joining: Some(token),
            ..Member::new(member_id.clone(), request)
        };
        self.add(member);
        let deadline = cx.now + i64::from(cx.config.new_member_join_timeout_ms);
        cx.timers
            .set(&self.id, Purpose::Session(member_id), deadline);
        self.rebalance(cx);
    }

    /// A member that has an id joins once more: because it was told to, because it changed, or because it lost our answer.
    fn join_again(&mut self, cx: &mut Context, token: Token, request: &JoinGroup) {
        let member_id = request.member_id.as_str();
        if let Err(error) = self.validate_member(member_id, request.group_instance_id.as_deref()) {
            cx.reply(token, Reply::Join(JoinReply::error(error, member_id)));
            return;
        }
        let unchanged = self
            .members
            .get(member_id)
            .is_some_and(|member| member.protocols == request.protocols);
        let keeps_generation = match self.state {
            State::PreparingRebalance => false,
            State::CompletingRebalance => unchanged,
            // A leader that joins again asks for a rebalance: it may know of new partitions.
            State::Stable => unchanged && !self.is_leader(member_id),
            State::Empty => unreachable!("a group with a member is not empty"),
        };
        if keeps_generation {
            cx.reply(token, Reply::Join(self.joined(member_id)));
            return;
        }
        self.set_protocols(member_id, |member| member.update(request));
        self.wait_for_join(cx, member_id, token);
        self.rebalance(cx);
    }

    /// KIP-345: a static member without a member id takes the place of its predecessor, who is fenced.
    fn replace_static_member(
        &mut self,
        cx: &mut Context,
        token: Token,
        old_id: Arc<str>,
        member_id: Arc<str>,
        request: &JoinGroup,
    ) {
        let old_leader = self.leader.clone();
        let was_pending_sync = self.pending_syncs.contains(&old_id);
        let Some(old) = self.members.get(&old_id).cloned() else {
            panic!("an instance id maps to a member")
        };
        self.swap_member(
            cx,
            &old_id,
            Member {
                id: member_id.clone(),
                joining: None,
                syncing: None,
                is_new: false,
                ..old.clone()
            },
        );
        if was_pending_sync {
            self.pending_syncs.insert(member_id.clone());
        }
        self.set_protocols(&member_id, |member| member.update(request));
        self.wait_for_join(cx, &member_id, token);
        self.restart_session(cx, &member_id);
        match self.state {
            State::Stable if self.protocol_name.as_deref() == Some(&self.select_protocol()) => {
                let value = Some(self.value(|member| member.assignment.clone()));
                let record = Record::Group {
                    group: self.id.to_string(),
                    value,
                };
                let rejoin = StaticRejoin {
                    group: self.id.clone(),
                    token,
                    member_id,
                    generation_id: self.generation_id,
                    can_skip_assignment: request.api_version >= SKIPS_ASSIGNMENT,
                    old_leader,
                    old: Member {
                        joining: None,
                        syncing: None,
                        ..old
                    },
                };
                cx.writes.append(
                    cx.out,
                    vec![record],
                    Outcome::StaticRejoin(Box::new(rejoin)),
                );
            }
            // The leader may already have been told the old id, so its assignment would miss the new one.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(cx),
            State::PreparingRebalance => self.complete_join_if_all_joined(cx),
            State::Empty => unreachable!("a group with a member is not empty"),
        }
    }

    /// Puts a member in the place of another one of the same instance id, leadership included.
    fn swap_member(&mut self, cx: &mut Context, out_id: &str, member: Member) {
        let leads = self.is_leader(out_id);
        let member_id = member.id.clone();
        self.drop_member(cx, out_id, ErrorCode::FencedInstanceId);
        self.add(member);
        if leads {
            self.leader = Some(member_id);
        }
    }

    /// The takeover is durable. If a rebalance began meanwhile, that one answers the member.
    pub(super) fn static_rejoin_done(&mut self, cx: &mut Context, rejoin: &StaticRejoin) {
        let waits = self
            .members
            .get(&rejoin.member_id)
            .is_some_and(|member| member.joining == Some(rejoin.token));
        if !waits || self.state != State::Stable || self.generation_id != rejoin.generation_id {
            return;
        }
        self.take_join(&rejoin.member_id);
        self.restart_session(cx, &rejoin.member_id);
        let mut reply = self.joined(&rejoin.member_id);
        if rejoin.can_skip_assignment {
            reply.skip_assignment = self.is_leader(&rejoin.member_id);
        } else {
            reply.leader = rejoin.old_leader.as_deref().unwrap_or_default().to_owned();
            reply.members.clear();
        }
        cx.reply(rejoin.token, Reply::Join(reply));
    }

    /// The takeover is not in the log: the predecessor is the member again, unless somebody else took over since.
    pub(super) fn static_rejoin_failed(
        &mut self,
        cx: &mut Context,
        rejoin: StaticRejoin,
        error: ErrorCode,
    ) {
        let waits = self
            .members
            .get(&rejoin.member_id)
            .is_some_and(|member| member.joining == Some(rejoin.token));
        if waits {
            self.take_join(&rejoin.member_id);
            let old_id = rejoin.old.id.clone();
            self.swap_member(cx, &rejoin.member_id, rejoin.old);
            self.restart_session(cx, &old_id);
            if self.state == State::Stable && cx.writes.has_group(&self.id) {
                // What was written since names the successor.
                self.note(cx);
            }
            cx.reply(rejoin.token, Reply::Join(JoinReply::error(error, "")));
        }
    }
}
