//! Groups: one life of a group in each version, every error, and committed offsets.

use std::cell::RefCell;

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
use millstream_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use millstream_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use millstream_protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};

use crate::sides::{NO_SUCH_ID, Side, Sides};

type Bytes = std::borrow::Cow<'static, [u8]>;

pub fn cases(sides: &mut Sides) {
    find_coordinator(sides);
    wait_for_coordinators(sides);
    strangers(sides);
    simple_commits(sides);
    lives(sides);
    static_members(sides);
    offset_fetch(sides);
    offset_delete(sides);
    lists(sides);
    delete_groups(sides);
}

fn find_coordinator(sides: &mut Sides) {
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
    for side in sides.both() {
        for attempt in 0.. {
            let found: FindCoordinatorResponse<'_> =
                side.ask(2, &key(2, 0, &["g"])).expect("an answer");
            if found.error_code == 0 {
                break;
            }
            assert!(attempt < 600, "{found:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    let nothing = |_: &mut FindCoordinatorResponse<'static>| {};
    let all = Sides::versions::<FindCoordinatorRequest<'_>>();
    sides.case(
        "a group",
        all.clone(),
        |_, version| key(version, 0, &["g"]),
        nothing,
    );
    sides.case(
        "no group id",
        all,
        |_, version| key(version, 0, &[""]),
        nothing,
    );
    sides.case(
        "several",
        4..=6,
        |_, version| key(version, 0, &["g", "h", "g"]),
        nothing,
    );
    sides.case("no keys", 4..=6, |_, version| key(version, 0, &[]), nothing);
    sides.case(
        "a transactional id",
        1..=6,
        |_, version| key(version, 1, &["t"]),
        nothing,
    );
    sides.case(
        "a share partition",
        1..=6,
        |_, version| key(version, 2, &["g:AAAAAAAAAAAAAAAAAAAAAQ:0"]),
        nothing,
    );
    sides.case(
        "an unknown type",
        1..=6,
        |_, version| key(version, 9, &["g"]),
        nothing,
    );
}

/// Until all partitions of `__consumer_offsets` are loaded, groups cannot be asked for.
fn wait_for_coordinators(sides: &mut Sides) {
    for side in sides.both() {
        for attempt in 0.. {
            let groups = DescribeGroupsRequest {
                groups: ["a", "b", "c", "d", "e", "f", "g", "h"]
                    .iter()
                    .map(|group| (*group).into())
                    .collect(),
                ..Default::default()
            };
            let described: DescribeGroupsResponse<'_> = side.ask(0, &groups).expect("an answer");
            if described.groups.iter().all(|group| group.error_code == 0) {
                break;
            }
            assert!(attempt < 600, "{described:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn join(group: &str, member: &str) -> JoinGroupRequest<'static> {
    JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.to_owned().into(),
        protocol_type: "consumer".into(),
        protocols: vec![
            JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from(&b"\0\0meta"[..]),
            },
            JoinGroupRequestProtocol {
                name: "sticky".into(),
                metadata: Bytes::from(&b"\0\0more"[..]),
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

fn heartbeat(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest<'static> {
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

fn commit(
    side: &Side,
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
                side.id("plain")
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

/// Groups and members that do not exist.
fn strangers(sides: &mut Sides) {
    let nothing = |_: &mut JoinGroupResponse<'static>| {};
    let all = Sides::versions::<JoinGroupRequest<'_>>();
    sides.case("no group id", all.clone(), |_, _| join("", ""), nothing);
    sides.case(
        "an unknown member",
        all.clone(),
        |_, _| join("strange", "who"),
        nothing,
    );
    let short = |_: &Side, _| JoinGroupRequest {
        session_timeout_ms: 10,
        ..join("strange", "")
    };
    sides.case("a session too short", all.clone(), short, nothing);
    let long = |_: &Side, _| JoinGroupRequest {
        session_timeout_ms: 100_000_000,
        ..join("strange", "")
    };
    sides.case("a session too long", all.clone(), long, nothing);
    let no_protocols = |_: &Side, _| JoinGroupRequest {
        protocols: vec![],
        ..join("strange", "")
    };
    sides.case("no protocols", all.clone(), no_protocols, nothing);
    let no_type = |_: &Side, _| JoinGroupRequest {
        protocol_type: "".into(),
        ..join("strange", "")
    };
    sides.case("no protocol type", all, no_type, nothing);
    let empty_instance = |_: &Side, _| JoinGroupRequest {
        group_instance_id: Some("".into()),
        ..join("strange", "")
    };
    sides.case("an empty instance id", 5..=9, empty_instance, nothing);
    let bad_instance = |_: &Side, _| JoinGroupRequest {
        group_instance_id: Some("a b".into()),
        ..join("strange", "")
    };
    sides.case("a bad instance id", 5..=9, bad_instance, nothing);

    let nothing = |_: &mut SyncGroupResponse<'static>| {};
    let all = Sides::versions::<SyncGroupRequest<'_>>();
    sides.case(
        "no group id",
        all.clone(),
        |_, version| sync(version, "", 1, "who"),
        nothing,
    );
    sides.case(
        "an unknown group",
        all,
        |_, version| sync(version, "unknown", 1, "who"),
        nothing,
    );
    let no_protocol = |_: &Side, _| SyncGroupRequest {
        protocol_type: None,
        protocol_name: None,
        ..sync(5, "unknown", 1, "who")
    };
    sides.case("no protocol", 5..=5, no_protocol, nothing);

    let nothing = |_: &mut HeartbeatResponse| {};
    let all = Sides::versions::<HeartbeatRequest<'_>>();
    sides.case(
        "no group id",
        all.clone(),
        |_, _| heartbeat("", 1, "who"),
        nothing,
    );
    sides.case(
        "an unknown group",
        all,
        |_, _| heartbeat("unknown", 1, "who"),
        nothing,
    );

    let nothing = |_: &mut LeaveGroupResponse<'static>| {};
    let all = Sides::versions::<LeaveGroupRequest<'_>>();
    sides.case(
        "no group id",
        all.clone(),
        |_, version| leave(version, "", &["who"]),
        nothing,
    );
    sides.case(
        "an unknown group",
        all,
        |_, version| leave(version, "unknown", &["who", "what"]),
        nothing,
    );
    sides.case(
        "no members",
        3..=5,
        |_, version| leave(version, "unknown", &[]),
        nothing,
    );

    let nothing = |_: &mut OffsetCommitResponse<'static>| {};
    let all = Sides::versions::<OffsetCommitRequest<'_>>();
    let generation = |side: &Side, version| commit(side, version, "unknown", 3, "who", &[(0, 1)]);
    sides.case("an unknown group", all, generation, nothing);

    let nothing = |_: &mut DescribeGroupsResponse<'static>| {};
    let all = Sides::versions::<DescribeGroupsRequest<'_>>();
    let describe = |_: &Side, version| DescribeGroupsRequest {
        groups: vec!["unknown".into(), "".into(), "unknown".into()],
        include_authorized_operations: version >= 3,
    };
    sides.case("unknown", all.clone(), describe, nothing);
    sides.case(
        "none",
        all,
        |_, _| DescribeGroupsRequest::default(),
        nothing,
    );
}

/// Commits without membership.
fn simple_commits(sides: &mut Sides) {
    let all = Sides::versions::<OffsetCommitRequest<'_>>();
    let nothing = |_: &mut OffsetCommitResponse<'static>| {};
    let good = |side: &Side, version| {
        commit(
            side,
            version,
            &format!("simple-v{version}"),
            -1,
            "",
            &[(0, 5), (1, 0)],
        )
    };
    sides.case("simple", all.clone(), good, nothing);
    let mixed = |side: &Side, version| {
        let mut request = commit(side, version, "simple", -1, "", &[(0, 5), (9, 1), (1, -1)]);
        let (mut other, mut large) = (request.topics[0].clone(), request.topics[0].clone());
        (other.name, other.topic_id) = match version {
            10.. => (Default::default(), NO_SUCH_ID),
            _ => ("nowhere".into(), Default::default()),
        };
        large.partitions.truncate(1);
        large.partitions[0].committed_metadata = Some("x".repeat(5000).into());
        request.topics.extend([other, large]);
        request
    };
    sides.case("good beside bad", all.clone(), mixed, nothing);
    let null = |side: &Side, version| {
        let mut request = commit(side, version, "simple", -1, "", &[(0, 6)]);
        request.topics[0].partitions[0].committed_metadata = None;
        request
    };
    sides.case("null metadata", all.clone(), null, nothing);
    let empty = |side: &Side, version| OffsetCommitRequest {
        topics: vec![],
        ..commit(side, version, "simple", -1, "", &[])
    };
    sides.case("nothing", all.clone(), empty, nothing);
    sides.case(
        "no partitions",
        all.clone(),
        |side, version| commit(side, version, "simple", -1, "", &[]),
        nothing,
    );
    sides.case(
        "no group id",
        all.clone(),
        |side, version| commit(side, version, "", -1, "", &[(0, 1)]),
        nothing,
    );
    let member = |side: &Side, version| commit(side, version, "simple", -1, "who", &[(0, 1)]);
    sides.case("simple with a member id", all.clone(), member, nothing);
    let generation = |side: &Side, version| commit(side, version, "simple", 1, "who", &[(0, 1)]);
    sides.case(
        "a generation in a simple group",
        all.clone(),
        generation,
        nothing,
    );
    let retention = |side: &Side, version| OffsetCommitRequest {
        retention_time_ms: 1_000_000,
        ..commit(side, version, "simple", -1, "", &[(1, 9)])
    };
    sides.case("with a retention", 2..=4, retention, nothing);
    let zero_id = |side: &Side, version| {
        let mut request = commit(side, version, "simple", -1, "", &[(0, 1)]);
        request.topics[0].topic_id = Default::default();
        request
    };
    sides.case("no topic id", 10..=10, zero_id, nothing);
}

/// One life of a group for each version of JoinGroup; the others in the version that came with it.
fn lives(sides: &mut Sides) {
    // (broker, version of JoinGroup) → member id
    let members: RefCell<Vec<(String, i16, String)>> = RefCell::default();
    for version in Sides::versions::<JoinGroupRequest<'_>>() {
        for side in sides.both() {
            let joined: JoinGroupResponse<'_> = side
                .ask(version, &join(&format!("living-v{version}"), ""))
                .expect("an answer");
            assert_eq!(
                joined.error_code,
                if version >= 4 { 79 } else { 0 },
                "v{version}: {joined:?}"
            );
            members.borrow_mut().push((
                side.id("plain").to_string(),
                version,
                joined.member_id.to_string(),
            ));
        }
    }
    let member = |side: &Side, version: i16| {
        let (members, key) = (members.borrow(), side.id("plain").to_string());
        members
            .iter()
            .find(|(broker, v, _)| *broker == key && *v == version)
            .expect("it joined")
            .2
            .clone()
    };
    let group = |version: i16| format!("living-v{version}");
    let mine = |answer: &mut JoinGroupResponse<'static>| {
        answer.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    };
    let all = Sides::versions::<JoinGroupRequest<'_>>();
    sides.case(
        "a first member",
        0..=3,
        |_, version| join(&format!("first-v{version}"), ""),
        mine,
    );
    sides.case(
        "no member id yet",
        4..=9,
        |_, version| join(&format!("first-v{version}"), ""),
        mine,
    );
    sides.case(
        "with the member id",
        all.clone(),
        |side, version| join(&group(version), &member(side, version)),
        mine,
    );
    let other_type = |_: &Side, version| JoinGroupRequest {
        protocol_type: "connect".into(),
        ..join(&group(version), "")
    };
    sides.case("another protocol type", all.clone(), other_type, mine);
    let other_protocol = |_: &Side, version| {
        let mut request = join(&group(version), "");
        request.protocols.truncate(1);
        request.protocols[0].name = "cooperative".into();
        request
    };
    sides.case("no common protocol", all.clone(), other_protocol, mine);

    describe_lives(sides, "completing", &group);
    // The generation is 2 where the first join was the whole of it and the second another.
    let generation = |version: i16| if version >= 4 { 1 } else { 2 };
    let commit_early =
        |side: &Side, version| commit(side, version, &group(9), 1, &member(side, 9), &[(0, 1)]);
    sides.case(
        "while completing",
        2..=10,
        commit_early,
        |_: &mut OffsetCommitResponse<'static>| {},
    );
    let nothing = |_: &mut SyncGroupResponse<'static>| {};
    let syncs = Sides::versions::<SyncGroupRequest<'_>>();
    let wrong_generation =
        |side: &Side, version| sync(version, &group(version), 77, &member(side, version));
    sides.case(
        "a wrong generation",
        syncs.clone(),
        wrong_generation,
        nothing,
    );
    sides.case(
        "a stranger",
        syncs.clone(),
        |_, version| sync(version, &group(version), generation(version), "who"),
        nothing,
    );
    let wrong_protocol = |side: &Side, version| SyncGroupRequest {
        protocol_name: Some("sticky".into()),
        ..sync(
            version,
            &group(version),
            generation(version),
            &member(side, version),
        )
    };
    sides.case("a wrong protocol", 5..=5, wrong_protocol, nothing);
    let good = |side: &Side, version| {
        sync(
            version,
            &group(version),
            generation(version),
            &member(side, version),
        )
    };
    sides.case("the leader", syncs.clone(), good, nothing);
    sides.case("the leader again", syncs, good, nothing);
    // The later versions of JoinGroup have no SyncGroup of their own.
    for version in 6..=9 {
        for side in sides.both() {
            let done: SyncGroupResponse<'_> = side
                .ask(5, &sync(5, &group(version), 1, &member(side, version)))
                .expect("an answer");
            assert_eq!(done.error_code, 0, "{done:?}");
        }
    }
    describe_lives(sides, "stable", &group);

    let nothing = |_: &mut HeartbeatResponse| {};
    let beats = Sides::versions::<HeartbeatRequest<'_>>();
    sides.case(
        "a member",
        beats.clone(),
        |side, version| heartbeat(&group(version), generation(version), &member(side, version)),
        nothing,
    );
    sides.case(
        "a wrong generation",
        beats.clone(),
        |side, version| heartbeat(&group(version), 77, &member(side, version)),
        nothing,
    );
    sides.case(
        "a stranger",
        beats,
        |_, version| heartbeat(&group(version), 1, "who"),
        nothing,
    );

    let nothing = |_: &mut OffsetCommitResponse<'static>| {};
    let good = |side: &Side, version| {
        commit(
            side,
            version,
            &group(9),
            1,
            &member(side, 9),
            &[(0, 11), (1, 12)],
        )
    };
    sides.case("a member", 2..=10, good, nothing);
    let wrong_generation =
        |side: &Side, version| commit(side, version, &group(9), 7, &member(side, 9), &[(0, 11)]);
    sides.case("a wrong generation", 2..=10, wrong_generation, nothing);
    sides.case(
        "a stranger",
        2..=10,
        |side, version| commit(side, version, &group(9), 1, "who", &[(0, 11)]),
        nothing,
    );
    sides.case(
        "simple in a living group",
        2..=10,
        |side, version| commit(side, version, &group(9), -1, "", &[(0, 11)]),
        nothing,
    );

    let nothing = |_: &mut LeaveGroupResponse<'static>| {};
    let leaves = Sides::versions::<LeaveGroupRequest<'_>>();
    sides.case(
        "a stranger",
        leaves.clone(),
        |_, version| leave(version, &group(version), &["who"]),
        nothing,
    );
    let both = |side: &Side, version: i16| {
        leave(version, &group(version), &[&member(side, version), "who"])
    };
    sides.case("a member", leaves.clone(), both, nothing);
    sides.case("a member again", leaves, both, nothing);
    describe_lives(sides, "left", &group);
}

fn describe_lives(sides: &mut Sides, when: &str, group: &dyn Fn(i16) -> String) {
    let all = Sides::versions::<DescribeGroupsRequest<'_>>();
    let describe = |_: &Side, version| DescribeGroupsRequest {
        groups: vec![group(version).into()],
        include_authorized_operations: version >= 3,
    };
    sides.case(
        when,
        all,
        describe,
        |_: &mut DescribeGroupsResponse<'static>| {},
    );
}

fn static_members(sides: &mut Sides) {
    let nothing = |_: &mut JoinGroupResponse<'static>| {};
    let fixed = |_: &Side, version| JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join(&format!("fixed-v{version}"), "")
    };
    sides.case("a static member", 5..=9, fixed, nothing);
    let stranger = |_: &Side, version| JoinGroupRequest {
        group_instance_id: Some("i".into()),
        ..join(&format!("fixed-v{version}"), "who")
    };
    sides.case("a static member with another id", 5..=9, stranger, nothing);
    let unknown = |_: &Side, version| JoinGroupRequest {
        group_instance_id: Some("j".into()),
        ..join(&format!("fixed-v{version}"), "who")
    };
    sides.case("an unknown static member", 5..=9, unknown, nothing);
    let fenced = |_: &Side, _| HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..heartbeat("fixed-v9", 1, "who")
    };
    sides.case("fenced", 3..=4, fenced, |_: &mut HeartbeatResponse| {});
    let unknown = |_: &Side, _| HeartbeatRequest {
        group_instance_id: Some("j".into()),
        ..heartbeat("fixed-v9", 1, "who")
    };
    sides.case(
        "an unknown instance",
        3..=4,
        unknown,
        |_: &mut HeartbeatResponse| {},
    );
    let fenced = |_: &Side, version| SyncGroupRequest {
        group_instance_id: Some("i".into()),
        ..sync(version, "fixed-v9", 1, "who")
    };
    sides.case(
        "fenced",
        3..=5,
        fenced,
        |_: &mut SyncGroupResponse<'static>| {},
    );
    let fenced = |side: &Side, version| OffsetCommitRequest {
        group_instance_id: Some("i".into()),
        ..commit(side, version, "fixed-v9", 1, "who", &[(0, 1)])
    };
    sides.case(
        "fenced",
        7..=10,
        fenced,
        |_: &mut OffsetCommitResponse<'static>| {},
    );
    let leaving = |instance: &'static str, member: &'static str| {
        move |_: &Side, version: i16| LeaveGroupRequest {
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
    sides.case("fenced", 3..=5, leaving("i", "who"), nothing);
    sides.case("an unknown instance", 3..=5, leaving("j", ""), nothing);
    sides.case("a static member", 3..=5, leaving("i", ""), nothing);
}

fn offset_fetch(sides: &mut Sides) {
    let all = Sides::versions::<OffsetFetchRequest<'_>>();
    let settle = |response: &mut OffsetFetchResponse<'static>| {
        // Kafka goes through maps where all are asked for.
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
        for group in &mut response.groups {
            group
                .topics
                .sort_by(|a, b| a.name.cmp(&b.name).then(a.topic_id.0.cmp(&b.topic_id.0)));
            for topic in &mut group.topics {
                topic
                    .partitions
                    .sort_by_key(|partition| partition.partition_index);
            }
        }
    };
    type Topics = Option<&'static [(&'static str, &'static [i32])]>;
    let of = |groups: &'static [&'static str], topics: Topics| {
        move |side: &Side, version: i16| match version {
            8.. => OffsetFetchRequest {
                groups: groups
                    .iter()
                    .map(|group| OffsetFetchRequestGroup {
                        group_id: (*group).into(),
                        topics: topics.map(|topics| {
                            topics
                                .iter()
                                .map(|(name, partitions)| OffsetFetchRequestTopics {
                                    name: if version < 10 {
                                        (*name).into()
                                    } else {
                                        Default::default()
                                    },
                                    topic_id: if version < 10 {
                                        Default::default()
                                    } else {
                                        side.id(name)
                                    },
                                    partition_indexes: partitions.to_vec(),
                                })
                                .collect()
                        }),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            },
            _ => OffsetFetchRequest {
                group_id: groups[0].into(),
                topics: topics.map(|topics| {
                    topics
                        .iter()
                        .map(|(name, partitions)| OffsetFetchRequestTopic {
                            name: (*name).into(),
                            partition_indexes: partitions.to_vec(),
                        })
                        .collect()
                }),
                require_stable: version == 7,
                ..Default::default()
            },
        }
    };
    sides.case(
        "some",
        all.clone(),
        of(&["simple"], Some(&[("plain", &[0, 1, 9])])),
        settle,
    );
    sides.case(
        "an unknown topic",
        all.clone(),
        of(&["simple"], Some(&[("nowhere", &[0, 1]), ("plain", &[0])])),
        settle,
    );
    sides.case(
        "an unknown group",
        all.clone(),
        of(&["unknown"], Some(&[("plain", &[0, 1])])),
        settle,
    );
    sides.case(
        "no group id",
        all.clone(),
        of(&[""], Some(&[("plain", &[0])])),
        settle,
    );
    sides.case("no topics", all.clone(), of(&["simple"], Some(&[])), settle);
    sides.case(
        "no partitions",
        all.clone(),
        of(&["simple"], Some(&[("plain", &[])])),
        settle,
    );
    sides.case(
        "one topic twice",
        all.clone(),
        of(&["simple"], Some(&[("plain", &[0]), ("plain", &[1, 1])])),
        settle,
    );
    sides.case("all", 2..=10, of(&["simple"], None), settle);
    sides.case(
        "all of an unknown group",
        2..=10,
        of(&["unknown"], None),
        settle,
    );
    sides.case(
        "several groups",
        8..=10,
        of(
            &["simple", "unknown", "living-v9"],
            Some(&[("plain", &[0, 1])]),
        ),
        settle,
    );
    sides.case("no groups", 8..=10, of(&[], None), settle);
    let member = move |side: &Side, version: i16| {
        let mut request = of(&["simple"], Some(&[("plain", &[0])]))(side, version);
        request.groups[0].member_id = Some("who".into());
        request.groups[0].member_epoch = 3;
        request
    };
    sides.case("a member id and epoch", 9..=10, member, settle);
    let unknown_id = move |side: &Side, version: i16| {
        let mut request = of(&["simple"], Some(&[("plain", &[0]), ("plain", &[1])]))(side, version);
        if let Some(topics) = &mut request.groups[0].topics {
            topics[0].topic_id = NO_SUCH_ID;
        }
        request
    };
    sides.case("an unknown topic id", 10..=10, unknown_id, settle);
}

fn offset_delete(sides: &mut Sides) {
    let settle = |response: &mut OffsetDeleteResponse<'static>| {
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
    };
    let of = |group: &'static str, topics: &'static [(&str, &[i32])]| {
        move |_: &Side, _| OffsetDeleteRequest {
            group_id: group.into(),
            topics: topics
                .iter()
                .map(|(name, partitions)| OffsetDeleteRequestTopic {
                    name: (*name).into(),
                    partitions: partitions
                        .iter()
                        .map(|index| OffsetDeleteRequestPartition {
                            partition_index: *index,
                        })
                        .collect(),
                })
                .collect(),
        }
    };
    sides.case("one", 0..=0, of("simple", &[("plain", &[1])]), settle);
    sides.case(
        "one that is gone",
        0..=0,
        of("simple", &[("plain", &[1])]),
        settle,
    );
    sides.case(
        "unknown",
        0..=0,
        of("simple", &[("plain", &[9]), ("nowhere", &[0])]),
        settle,
    );
    sides.case(
        "an unknown group",
        0..=0,
        of("unknown", &[("plain", &[0])]),
        settle,
    );
    sides.case("no group id", 0..=0, of("", &[("plain", &[0])]), settle);
    sides.case(
        "a living group",
        0..=0,
        of("living-v9", &[("plain", &[0])]),
        settle,
    );
    sides.case("no topics", 0..=0, of("simple", &[]), settle);
}

fn lists(sides: &mut Sides) {
    let settle = |response: &mut ListGroupsResponse<'static>| {
        response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id))
    };
    let of = |states: &'static [&str], types: &'static [&str]| {
        move |_: &Side, _| ListGroupsRequest {
            states_filter: states.iter().map(|state| (*state).into()).collect(),
            types_filter: types.iter().map(|kind| (*kind).into()).collect(),
        }
    };
    sides.case(
        "all",
        Sides::versions::<ListGroupsRequest<'_>>(),
        of(&[], &[]),
        settle,
    );
    sides.case("stable", 4..=5, of(&["Stable"], &[]), settle);
    sides.case(
        "states in small letters",
        4..=5,
        of(&["stable", "empty"], &[]),
        settle,
    );
    sides.case("an unknown state", 4..=5, of(&["Happy"], &[]), settle);
    sides.case("classic", 5..=5, of(&["Empty"], &["classic"]), settle);
    sides.case("CLASSIC", 5..=5, of(&["Empty"], &["CLASSIC"]), settle);
    sides.case("consumer", 5..=5, of(&[], &["consumer"]), settle);
    sides.case("an unknown type", 5..=5, of(&[], &["odd"]), settle);
}

fn delete_groups(sides: &mut Sides) {
    let all = Sides::versions::<DeleteGroupsRequest<'_>>();
    let settle = |response: &mut DeleteGroupsResponse<'static>| {
        response.results.sort_by(|a, b| a.group_id.cmp(&b.group_id))
    };
    let of = |names: fn(i16) -> Vec<String>| {
        move |_: &Side, version| DeleteGroupsRequest {
            groups_names: names(version).into_iter().map(Into::into).collect(),
        }
    };
    sides.case(
        "unknown",
        all.clone(),
        of(|_| vec!["unknown".to_owned(), String::new(), "unknown".to_owned()]),
        settle,
    );
    sides.case(
        "living",
        all.clone(),
        of(|_| vec!["living-v9".to_owned()]),
        settle,
    );
    sides.case(
        "empty",
        all.clone(),
        of(|version| vec![format!("simple-v{}", version + 2), "living-v8".to_owned()]),
        settle,
    );
    sides.case("none", all, of(|_| vec![]), settle);
}
