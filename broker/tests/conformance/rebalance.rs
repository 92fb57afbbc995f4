//! Two members of one group, who wait for each other: each step in order, over a connection of each.

use millstream_protocol::message::Message;
use millstream_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millstream_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use millstream_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use millstream_protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use millstream_protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};

use crate::groups::{commit, heartbeat, join};
use crate::peer::Peer;
use crate::transcript::Transcript;

const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const COMMIT: i16 = 9;
const LEAVE: i16 = 5;

pub fn cases(transcript: &mut Transcript) {
    two_members(transcript);
    a_static_member_returns(transcript);
}

/// Keeps the answer and gives it back, if it is one.
fn keep<R: Message<'static>>(
    transcript: &mut Transcript,
    step: &str,
    version: i16,
    answer: Result<R, String>,
) -> Option<R> {
    transcript.keep(step, version, &answer);
    answer.ok()
}

fn joined(transcript: &mut Transcript, step: &str, peer: &mut Peer) -> JoinGroupResponse<'static> {
    let answer: Result<JoinGroupResponse<'static>, String> = peer.receive(JOIN);
    keep(transcript, step, JOIN, answer).unwrap_or_default()
}

fn sync(group: &str, generation_id: i32, member: &str, all: &[&str]) -> SyncGroupRequest<'static> {
    SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id,
        member_id: member.to_owned().into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: all
            .iter()
            .map(|member| SyncGroupRequestAssignment {
                member_id: (*member).to_owned().into(),
                assignment: b"share"[..].to_vec().into(),
            })
            .collect(),
        ..Default::default()
    }
}

fn beat(transcript: &mut Transcript, step: &str, peer: &mut Peer, request: &HeartbeatRequest<'_>) {
    let answer: Result<HeartbeatResponse, String> = peer.ask(HEARTBEAT, request);
    keep(transcript, step, HEARTBEAT, answer);
}

/// A first member alone, a second that joins, both at work, one that leaves.
fn two_members(transcript: &mut Transcript) {
    let (mut a, mut b) = (transcript.peer.another(), transcript.peer.another());
    let group = "pair";
    let required: JoinGroupResponse<'_> = a.ask(JOIN, &join(group, "")).expect("an answer");
    let first = required.member_id.to_string();
    a.send(JOIN, &join(group, &first));
    joined(transcript, "two members: the first joins", &mut a);
    let answer: Result<SyncGroupResponse<'_>, String> =
        a.ask(SYNC, &sync(group, 1, &first, &[&first]));
    keep(
        transcript,
        "two members: the first has its share",
        SYNC,
        answer,
    );

    let required: JoinGroupResponse<'_> = b.ask(JOIN, &join(group, "")).expect("an answer");
    let second = required.member_id.to_string();
    b.send(JOIN, &join(group, &second));
    // The join is on its way; the first learns of it with a heartbeat.
    for attempt in 0.. {
        let told: HeartbeatResponse = a
            .ask(HEARTBEAT, &heartbeat(group, 1, &first))
            .expect("an answer");
        if told.error_code != 0 {
            break;
        }
        assert!(attempt < 600, "the second member's join is not noticed");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let old = heartbeat(group, 1, &first);
    beat(
        transcript,
        "two members: the first hears of the second",
        &mut a,
        &old,
    );
    let late = commit(&a, COMMIT, group, 1, &first, &[(0, 4)]);
    let answer: Result<OffsetCommitResponse<'_>, String> = a.ask(COMMIT, &late);
    keep(
        transcript,
        "two members: the first commits before it joins again",
        COMMIT,
        answer,
    );
    let answer: Result<SyncGroupResponse<'_>, String> = a.ask(SYNC, &sync(group, 1, &first, &[]));
    keep(
        transcript,
        "two members: the first wants its old share",
        SYNC,
        answer,
    );
    a.send(JOIN, &join(group, &first));
    joined(transcript, "two members: the first joins again", &mut a);
    joined(transcript, "two members: the second joins", &mut b);

    b.send(SYNC, &sync(group, 2, &second, &[]));
    let answer: Result<SyncGroupResponse<'_>, String> =
        a.ask(SYNC, &sync(group, 2, &first, &[&first, &second]));
    keep(
        transcript,
        "two members: the leader hands out shares",
        SYNC,
        answer,
    );
    let answer: Result<SyncGroupResponse<'_>, String> = b.receive(SYNC);
    keep(
        transcript,
        "two members: the second has its share",
        SYNC,
        answer,
    );
    beat(
        transcript,
        "two members: a generation too old",
        &mut a,
        &heartbeat(group, 1, &first),
    );
    let again = join(group, &second);
    b.send(JOIN, &again);
    joined(
        transcript,
        "two members: a follower joins once more",
        &mut b,
    );

    let leave = LeaveGroupRequest {
        group_id: group.into(),
        members: vec![MemberIdentity {
            member_id: first.clone().into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer: Result<LeaveGroupResponse<'_>, String> = a.ask(LEAVE, &leave);
    keep(transcript, "two members: the leader leaves", LEAVE, answer);
    beat(
        transcript,
        "two members: the one who is left",
        &mut b,
        &heartbeat(group, 2, &second),
    );
    b.send(JOIN, &again);
    joined(transcript, "two members: the second alone", &mut b);
}

/// A process that is restarted under its instance id takes its place without a rebalance, and fences the old one.
fn a_static_member_returns(transcript: &mut Transcript) {
    let mut peer = transcript.peer.another();
    let group = "instances";
    let request = || JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join(group, "")
    };
    peer.send(JOIN, &request());
    let first = joined(transcript, "static: the first joins", &mut peer);
    let member = first.member_id.to_string();
    let answer: Result<SyncGroupResponse<'_>, String> =
        peer.ask(SYNC, &sync(group, first.generation_id, &member, &[&member]));
    keep(transcript, "static: the first has its share", SYNC, answer);
    peer.send(JOIN, &request());
    let second = joined(transcript, "static: it returns", &mut peer);
    let successor = second.member_id.to_string();
    let of = |generation: i32, member: &str| HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..heartbeat(group, generation, member)
    };
    beat(
        transcript,
        "static: the old one",
        &mut peer,
        &of(1, &member),
    );
    beat(
        transcript,
        "static: the new one",
        &mut peer,
        &of(1, &successor),
    );
    let fenced = SyncGroupRequest {
        group_instance_id: Some("i".into()),
        ..sync(group, 1, &member, &[])
    };
    let answer: Result<SyncGroupResponse<'_>, String> = peer.ask(SYNC, &fenced);
    keep(
        transcript,
        "static: the old one wants its share",
        SYNC,
        answer,
    );
    let share = SyncGroupRequest {
        group_instance_id: Some("i".into()),
        ..sync(group, 1, &successor, &[])
    };
    let answer: Result<SyncGroupResponse<'_>, String> = peer.ask(SYNC, &share);
    keep(
        transcript,
        "static: the new one wants its share",
        SYNC,
        answer,
    );
    let late = OffsetCommitRequest {
        group_instance_id: Some("i".into()),
        ..commit(&peer, COMMIT, group, 1, &member, &[(0, 4)])
    };
    let answer: Result<OffsetCommitResponse<'_>, String> = peer.ask(COMMIT, &late);
    keep(transcript, "static: the old one commits", COMMIT, answer);
}
