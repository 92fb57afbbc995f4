//! Groups: one life of a group in each version, every error, and committed offsets.

use std::collections::BTreeMap;

use millstream_protocol::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use millstream_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse,
};
use millstream_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millstream_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use millstream_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use millstream_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use millstream_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use millstream_protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};

use crate::group_offsets;
use crate::peer::Peer;
use crate::transcript::Transcript;

type Bytes = std::borrow::Cow<'static, [u8]>;

/// Of a consumer to the topic `plain`, version 0, without user data. Kafka reads it; where it cannot, the join is never
/// answered.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x05plain\xff\xff\xff\xff";

pub fn cases(transcript: &mut Transcript) {
    find_coordinator(transcript);
    wait_for_coordinators(transcript);
    strangers(transcript);
    group_offsets::simple_commits(transcript);
    lives(transcript);
    static_members(transcript);
    group_offsets::fetched(transcript);
    group_offsets::deleted(transcript);
    lists(transcript);
    delete_groups(transcript);
}

fn find_coordinator(transcript: &mut Transcript) {
    let key = |version: i16, key_type: i8, keys: &[&'static str]| match version {
        4.. => FindCoordinatorRequest {
            key_type,
            coordinator_keys: keys.iter().map(|key| (*key).into()).collect(),
            ..Default::default()
        },
        _ => FindCoordinatorRequest {
            key: keys[0].into(),
            key_type,
            ..Default::default()
        },
    };
    // The first question has the topic made; it is retried until that is done.
    let peer = &mut transcript.peer;
    for attempt in 0.. {
        let found: FindCoordinatorResponse<'_> =
            peer.ask(2, &key(2, 0, &["g"])).expect("an answer");
        if found.error_code == 0 {
            break;
        }
        assert!(attempt < 600, "{found:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let nothing = |_: &mut FindCoordinatorResponse<'static>| {};
    let all = Transcript::versions::<FindCoordinatorRequest<'_>>();
    transcript.case(
        "a group",
        all.clone(),
        |_, version| key(version, 0, &["g"]),
        nothing,
    );
    transcript.case(
        "no group id",
        all,
        |_, version| key(version, 0, &[""]),
        nothing,
    );
    transcript.case(
        "several",
        4..=6,
        |_, version| key(version, 0, &["g", "h", "g"]),
        nothing,
    );
    transcript.case("no keys", 4..=6, |_, version| key(version, 0, &[]), nothing);
    transcript.case(
        "a transactional id",
        1..=6,
        |_, version| key(version, 1, &["t"]),
        nothing,
    );
    transcript.case(
        "a share partition",
        1..=6,
        |_, version| key(version, 2, &["g:AAAAAAAAAAAAAAAAAAAAAQ:0"]),
        nothing,
    );
    transcript.case(
        "an unknown type",
        1..=6,
        |_, version| key(version, 9, &["g"]),
        nothing,
    );
}

/// Until all partitions of `__consumer_offsets` are loaded, groups cannot be asked for.
fn wait_for_coordinators(transcript: &mut Transcript) {
    let peer = &mut transcript.peer;
    for attempt in 0.. {
        let groups = DescribeGroupsRequest {
            groups: ["a", "b", "c", "d", "e", "f", "g", "h"]
                .iter()
                .map(|group| (*group).into())
                .collect(),
            ..Default::default()
        };
        let described: DescribeGroupsResponse<'_> = peer.ask(0, &groups).expect("an answer");
        if described.groups.iter().all(|group| group.error_code == 0) {
            break;
        }
        assert!(attempt < 600, "{described:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

pub fn join(group: &str, member: &str) -> JoinGroupRequest<'static> {
    JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.to_owned().into(),
        protocol_type: "consumer".into(),
        protocols: vec![
            JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from(SUBSCRIPTION),
            },
            JoinGroupRequestProtocol {
                name: "sticky".into(),
                metadata: Bytes::from(SUBSCRIPTION),
            },
        ],
        ..Default::default()
    }
}

fn sync(version: i16, group: &str, generation_id: i32, member: &str) -> SyncGroupRequest<'static> {
    SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id,
        member_id: member.to_owned().into(),
        protocol_type: (version >= 5).then_some("consumer".into()),
        protocol_name: (version >= 5).then_some("range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.to_owned().into(),
            assignment: Bytes::from(&b"yours"[..]),
        }],
        ..Default::default()
    }
}

pub fn heartbeat(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest<'static> {
    HeartbeatRequest {
        group_id: group.to_owned().into(),
        generation_id,
        member_id: member.to_owned().into(),
        ..Default::default()
    }
}

fn leave(version: i16, group: &str, members: &[&str]) -> LeaveGroupRequest<'static> {
    let group_id = group.to_owned().into();
    match version {
        3.. => LeaveGroupRequest {
            group_id,
            members: members
                .iter()
                .map(|member| MemberIdentity {
                    member_id: (*member).to_owned().into(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
        _ => LeaveGroupRequest {
            group_id,
            member_id: members[0].to_owned().into(),
            ..Default::default()
        },
    }
}

pub fn commit(
    peer: &Peer,
    version: i16,
    group: &str,
    generation: i32,
    member: &str,
    partitions: &[(i32, i64)],
) -> OffsetCommitRequest<'static> {
    OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned().into(),
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 {
                "plain".into()
            } else {
                Default::default()
            },
            topic_id: if version < 10 {
                Default::default()
            } else {
                peer.id("plain")
            },
            partitions: partitions
                .iter()
                .map(|(index, offset)| OffsetCommitRequestPartition {
                    partition_index: *index,
                    committed_offset: *offset,
                    committed_metadata: Some("note".into()),
                    ..Default::default()
                })
                .collect(),
        }],
        ..Default::default()
    }
}

/// Kafka puts partitions that it refuses first.
pub fn sort_commits(response: &mut OffsetCommitResponse<'static>) {
    for topic in &mut response.topics {
        topic
            .partitions
            .sort_by_key(|partition| (partition.partition_index, partition.error_code));
    }
}

/// Groups and members that do not exist.
fn strangers(transcript: &mut Transcript) {
    let nothing = |_: &mut JoinGroupResponse<'static>| {};
    let all = Transcript::versions::<JoinGroupRequest<'_>>();
    transcript.case("no group id", all.clone(), |_, _| join("", ""), nothing);
    transcript.case(
        "an unknown member",
        all.clone(),
        |_, _| join("strange", "who"),
        nothing,
    );
    let short = |_: &Peer, _| JoinGroupRequest {
        session_timeout_ms: 10,
        ..join("strange", "")
    };
    transcript.case("a session too short", all.clone(), short, nothing);
    let long = |_: &Peer, _| JoinGroupRequest {
        session_timeout_ms: 100_000_000,
        ..join("strange", "")
    };
    transcript.case("a session too long", all.clone(), long, nothing);
    let no_protocols = |_: &Peer, _| JoinGroupRequest {
        protocols: vec![],
        ..join("strange", "")
    };
    transcript.case("no protocols", all.clone(), no_protocols, nothing);
    let no_type = |_: &Peer, _| JoinGroupRequest {
        protocol_type: "".into(),
        ..join("strange", "")
    };
    transcript.case("no protocol type", all, no_type, nothing);
    let empty_instance = |_: &Peer, version| JoinGroupRequest {
        group_instance_id: Some("".into()),
        ..join(&format!("unnamed-v{version}"), "")
    };
    transcript.case("an empty instance id", 5..=9, empty_instance, nothing);
    let bad_instance = |_: &Peer, version| JoinGroupRequest {
        group_instance_id: Some("a b".into()),
        ..join(&format!("badly-named-v{version}"), "")
    };
    transcript.case("a bad instance id", 5..=9, bad_instance, nothing);

    let nothing = |_: &mut SyncGroupResponse<'static>| {};
    let all = Transcript::versions::<SyncGroupRequest<'_>>();
    transcript.case(
        "no group id",
        all.clone(),
        |_, version| sync(version, "", 1, "who"),
        nothing,
    );
    transcript.case(
        "an unknown group",
        all,
        |_, version| sync(version, "unknown", 1, "who"),
        nothing,
    );
    let no_protocol = |_: &Peer, _| SyncGroupRequest {
        protocol_type: None,
        protocol_name: None,
        ..sync(5, "unknown", 1, "who")
    };
    transcript.case("no protocol", 5..=5, no_protocol, nothing);

    let nothing = |_: &mut HeartbeatResponse| {};
    let all = Transcript::versions::<HeartbeatRequest<'_>>();
    transcript.case(
        "no group id",
        all.clone(),
        |_, _| heartbeat("", 1, "who"),
        nothing,
    );
    transcript.case(
        "an unknown group",
        all,
        |_, _| heartbeat("unknown", 1, "who"),
        nothing,
    );

    let nothing = |_: &mut LeaveGroupResponse<'static>| {};
    let all = Transcript::versions::<LeaveGroupRequest<'_>>();
    transcript.case(
        "no group id",
        all.clone(),
        |_, version| leave(version, "", &["who"]),
        nothing,
    );
    transcript.case(
        "an unknown group",
        all,
        |_, version| leave(version, "unknown", &["who", "what"]),
        nothing,
    );
    transcript.case(
        "no members",
        3..=5,
        |_, version| leave(version, "unknown", &[]),
        nothing,
    );

    let nothing = sort_commits;
    let all = Transcript::versions::<OffsetCommitRequest<'_>>();
    let generation = |peer: &Peer, version| commit(peer, version, "unknown", 3, "who", &[(0, 1)]);
    transcript.case("an unknown group", all, generation, nothing);

    let nothing = |response: &mut DescribeGroupsResponse<'static>| {
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    };
    let all = Transcript::versions::<DescribeGroupsRequest<'_>>();
    let describe = |_: &Peer, version| DescribeGroupsRequest {
        groups: vec!["unknown".into(), "".into(), "unknown".into()],
        include_authorized_operations: version >= 3,
    };
    transcript.case("unknown", all.clone(), describe, nothing);
    transcript.case(
        "none",
        all,
        |_, _| DescribeGroupsRequest::default(),
        nothing,
    );
}

/// One life of a group for each version of JoinGroup; the others in the version that came with it.
fn lives(transcript: &mut Transcript) {
    // By version of JoinGroup.
    let mut members: BTreeMap<i16, String> = BTreeMap::new();
    for version in Transcript::versions::<JoinGroupRequest<'_>>() {
        let peer = &mut transcript.peer;
        let joined: JoinGroupResponse<'_> = peer
            .ask(version, &join(&format!("living-v{version}"), ""))
            .expect("an answer");
        assert_eq!(
            joined.error_code,
            if version >= 4 { 79 } else { 0 },
            "v{version}: {joined:?}"
        );
        members.insert(version, joined.member_id.to_string());
    }
    let member = |version: i16| members[&version].clone();
    let group = |version: i16| format!("living-v{version}");
    let mine = |answer: &mut JoinGroupResponse<'static>| {
        answer.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    };
    let all = Transcript::versions::<JoinGroupRequest<'_>>();
    transcript.case(
        "a first member",
        0..=3,
        |_, version| join(&format!("first-v{version}"), ""),
        mine,
    );
    transcript.case(
        "no member id yet",
        4..=9,
        |_, version| join(&format!("first-v{version}"), ""),
        mine,
    );
    transcript.case(
        "with the member id",
        all.clone(),
        |_, version| join(&group(version), &member(version)),
        mine,
    );
    let other_type = |_: &Peer, version| JoinGroupRequest {
        protocol_type: "connect".into(),
        ..join(&group(version), "")
    };
    transcript.case("another protocol type", all.clone(), other_type, mine);
    let other_protocol = |_: &Peer, version| {
        let mut request = join(&group(version), "");
        request.protocols.truncate(1);
        request.protocols[0].name = "cooperative".into();
        request
    };
    transcript.case("no common protocol", all.clone(), other_protocol, mine);

    describe_lives(transcript, "completing", &group);
    // The generation is 2 where the first join was the whole of it and the second another.
    let generation = |version: i16| if version >= 4 { 1 } else { 2 };
    let commit_early =
        |peer: &Peer, version| commit(peer, version, &group(9), 1, &member(9), &[(0, 1)]);
    transcript.case("while completing", 2..=10, commit_early, sort_commits);
    let nothing = |_: &mut SyncGroupResponse<'static>| {};
    let syncs = Transcript::versions::<SyncGroupRequest<'_>>();
    let wrong_generation = |_: &Peer, version| sync(version, &group(version), 77, &member(version));
    transcript.case(
        "a wrong generation",
        syncs.clone(),
        wrong_generation,
        nothing,
    );
    transcript.case(
        "a stranger",
        syncs.clone(),
        |_, version| sync(version, &group(version), generation(version), "who"),
        nothing,
    );
    let wrong_protocol = |_: &Peer, version| SyncGroupRequest {
        protocol_name: Some("sticky".into()),
        ..sync(
            version,
            &group(version),
            generation(version),
            &member(version),
        )
    };
    transcript.case("a wrong protocol", 5..=5, wrong_protocol, nothing);
    let good = |_: &Peer, version| {
        sync(
            version,
            &group(version),
            generation(version),
            &member(version),
        )
    };
    transcript.case("the leader", syncs.clone(), good, nothing);
    transcript.case("the leader again", syncs, good, nothing);
    // The later versions of JoinGroup have no SyncGroup of their own.
    for version in 6..=9 {
        let peer = &mut transcript.peer;
        let done: SyncGroupResponse<'_> = peer
            .ask(5, &sync(5, &group(version), 1, &member(version)))
            .expect("an answer");
        assert_eq!(done.error_code, 0, "{done:?}");
    }
    describe_lives(transcript, "stable", &group);

    let nothing = |_: &mut HeartbeatResponse| {};
    let beats = Transcript::versions::<HeartbeatRequest<'_>>();
    transcript.case(
        "a member",
        beats.clone(),
        |_, version| heartbeat(&group(version), generation(version), &member(version)),
        nothing,
    );
    transcript.case(
        "a wrong generation",
        beats.clone(),
        |_, version| heartbeat(&group(version), 77, &member(version)),
        nothing,
    );
    transcript.case(
        "a stranger",
        beats,
        |_, version| heartbeat(&group(version), 1, "who"),
        nothing,
    );

    let nothing = sort_commits;
    let good =
        |peer: &Peer, version| commit(peer, version, &group(9), 1, &member(9), &[(0, 11), (1, 12)]);
    transcript.case("a member", 2..=10, good, nothing);
    let wrong_generation =
        |peer: &Peer, version| commit(peer, version, &group(9), 7, &member(9), &[(0, 11)]);
    transcript.case("a wrong generation", 2..=10, wrong_generation, nothing);
    transcript.case(
        "a stranger",
        2..=10,
        |peer, version| commit(peer, version, &group(9), 1, "who", &[(0, 11)]),
        nothing,
    );
    transcript.case(
        "simple in a living group",
        2..=10,
        |peer, version| commit(peer, version, &group(9), -1, "", &[(0, 11)]),
        nothing,
    );

    let nothing = |_: &mut LeaveGroupResponse<'static>| {};
    let leaves = Transcript::versions::<LeaveGroupRequest<'_>>();
    transcript.case(
        "a stranger",
        leaves.clone(),
        |_, version| leave(version, &group(version), &["who"]),
        nothing,
    );
    let both = |_: &Peer, version: i16| leave(version, &group(version), &[&member(version), "who"]);
    transcript.case("a member", leaves.clone(), both, nothing);
    transcript.case("a member again", leaves, both, nothing);
    describe_lives(transcript, "left", &group);
}

fn describe_lives(transcript: &mut Transcript, when: &str, group: &dyn Fn(i16) -> String) {
    let all = Transcript::versions::<DescribeGroupsRequest<'_>>();
    let describe = |_: &Peer, version| DescribeGroupsRequest {
        groups: vec![group(version).into()],
        include_authorized_operations: version >= 3,
    };
    transcript.case(
        when,
        all,
        describe,
        |_: &mut DescribeGroupsResponse<'static>| {},
    );
}

fn static_members(transcript: &mut Transcript) {
    let nothing = |_: &mut JoinGroupResponse<'static>| {};
    let fixed = |_: &Peer, version| JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join(&format!("fixed-v{version}"), "")
    };
    transcript.case("a static member", 5..=9, fixed, nothing);
    let stranger = |_: &Peer, version| JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join(&format!("fixed-v{version}"), "who")
    };
    transcript.case("a static member with another id", 5..=9, stranger, nothing);
    let unknown = |_: &Peer, version| JoinGroupRequest {
        group_instance_id: Some("j".into()),
        ..join(&format!("fixed-v{version}"), "who")
    };
    transcript.case("an unknown static member", 5..=9, unknown, nothing);
    let fenced = |_: &Peer, _| HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..heartbeat("fixed-v9", 1, "who")
    };
    transcript.case("fenced", 3..=4, fenced, |_: &mut HeartbeatResponse| {});
    let unknown = |_: &Peer, _| HeartbeatRequest {
        group_instance_id: Some("j".into()),
        ..heartbeat("fixed-v9", 1, "who")
    };
    transcript.case(
        "an unknown instance",
        3..=4,
        unknown,
        |_: &mut HeartbeatResponse| {},
    );
    let fenced = |_: &Peer, version| SyncGroupRequest {
        group_instance_id: Some("i".into()),
        ..sync(version, "fixed-v9", 1, "who")
    };
    transcript.case(
        "fenced",
        3..=5,
        fenced,
        |_: &mut SyncGroupResponse<'static>| {},
    );
    let fenced = |peer: &Peer, version| OffsetCommitRequest {
        group_instance_id: Some("i".into()),
        ..commit(peer, version, "fixed-v9", 1, "who", &[(0, 1)])
    };
    transcript.case("fenced", 7..=10, fenced, sort_commits);
    let leaving = |instance: &'static str, member: &'static str| {
        move |_: &Peer, version: i16| LeaveGroupRequest {
            group_id: format!("fixed-v{}", version + 3).into(),
            members: vec![MemberIdentity {
                member_id: member.into(),
                group_instance_id: Some(instance.into()),
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    let nothing = |_: &mut LeaveGroupResponse<'static>| {};
    transcript.case("fenced", 3..=5, leaving("i", "who"), nothing);
    transcript.case("an unknown instance", 3..=5, leaving("j", ""), nothing);
    transcript.case("a static member", 3..=5, leaving("i", ""), nothing);
}

fn lists(transcript: &mut Transcript) {
    let settle = |response: &mut ListGroupsResponse<'static>| {
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id))
    };
    let of = |states: &'static [&str], types: &'static [&str]| {
        move |_: &Peer, _| ListGroupsRequest {
            states_filter: states.iter().map(|state| (*state).into()).collect(),
            types_filter: types.iter().map(|kind| (*kind).into()).collect(),
        }
    };
    transcript.case(
        "all",
        Transcript::versions::<ListGroupsRequest<'_>>(),
        of(&[], &[]),
        settle,
    );
    transcript.case("stable", 4..=5, of(&["Stable"], &[]), settle);
    transcript.case(
        "states in small letters",
        4..=5,
        of(&["stable", "empty"], &[]),
        settle,
    );
    transcript.case("an unknown state", 4..=5, of(&["Happy"], &[]), settle);
    transcript.case("classic", 5..=5, of(&["Empty"], &["classic"]), settle);
    transcript.case("CLASSIC", 5..=5, of(&["Empty"], &["CLASSIC"]), settle);
    transcript.case("consumer", 5..=5, of(&[], &["consumer"]), settle);
    transcript.case("an unknown type", 5..=5, of(&[], &["odd"]), settle);
}

fn delete_groups(transcript: &mut Transcript) {
    let all = Transcript::versions::<DeleteGroupsRequest<'_>>();
    let settle = |response: &mut DeleteGroupsResponse<'static>| {
        response.results.sort_by(|a, b| a.group_id.cmp(&b.group_id))
    };
    let of = |names: fn(i16) -> Vec<String>| {
        move |_: &Peer, version| DeleteGroupsRequest {
            groups_names: names(version).into_iter().map(Into::into).collect(),
        }
    };
    transcript.case(
        "unknown",
        all.clone(),
        of(|_| vec!["unknown".to_owned(), String::new(), "unknown".to_owned()]),
        settle,
    );
    transcript.case(
        "living",
        all.clone(),
        of(|_| vec!["living-v9".to_owned()]),
        settle,
    );
    transcript.case(
        "empty",
        all.clone(),
        of(|version| vec![format!("simple-v{}", version + 2), "living-v8".to_owned()]),
        settle,
    );
    transcript.case("none", all, of(|_| vec![]), settle);
}
