use super::*;

/// A stable group of two static members, `i-a` the leader and `j-b`.
fn stable(api_version: i16) -> Machine {
    let mut m = Machine::new();
    let joins = [
        m.join(join_static(api_version, "i", "a")),
        m.join(join_static(api_version, "j", "b")),
    ];
    m.finish(&joins);
    m
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    for (version, instance, successor) in [
        (8, "i", "i-new"),
        (9, "i", "i-new"),
        (8, "j", "j-new"),
        (9, "j", "j-new"),
    ] {
        let mut m = stable(version);
        let token = m.join(join_static(version, instance, "new"));
        assert!(m.waits(token), "not before it is durable");
        m.durable();
        let reply = m.joined(token).clone();
        assert_eq!(
            (reply.error, reply.generation_id, reply.member_id.as_str()),
            (E::None, 1, successor)
        );
        let leads = instance == "i";
        // Before v9 a leader is told that the old one leads, so that it does not assign again.
        let leader = if version == 9 && leads {
            "i-new"
        } else {
            "i-a"
        };
        assert_eq!(reply.leader, leader);
        assert_eq!(
            (reply.skip_assignment, reply.members.len()),
            if version == 9 && leads {
                (true, 2)
            } else {
                (false, 0)
            }
        );
        assert_eq!(m.state(), "Stable");
        let old = if leads { "i-a" } else { "j-b" };
        assert_eq!(m.heartbeat_as(old, Some(instance), 1), E::FencedInstanceId);
        assert_eq!(m.heartbeat_as(successor, Some(instance), 1), E::None);
        let request = SyncGroup {
            group_instance_id: Some(instance.into()),
            ..sync(successor, 1)
        };
        let sync = m.send(|token| Input::Sync(token, request));
        assert_eq!(
            m.synced(sync).assignment,
            old.as_bytes(),
            "it inherits the assignment"
        );
    }
}

#[test]
fn a_takeover_that_is_not_durable_did_not_happen() {
    let mut m = stable(9);
    let token = m.join(JoinGroup {
        session_timeout_ms: 20_000,
        ..join_static(9, "i", "new")
    });
    m.fail(E::NotEnoughReplicas);
    assert_eq!(
        (m.joined(token).error, m.joined(token).member_id.as_str()),
        (E::CoordinatorNotAvailable, "")
    );
    assert_eq!(m.heartbeat_as("i-a", Some("i"), 1), E::None);
    assert_eq!(m.member_ids(), ["i-a", "j-b"]);
}

#[test]
fn a_takeover_overtaken_by_another_one() {
    let mut m = stable(9);
    let second = m.join(join_static(9, "i", "new"));
    let third = m.join(join_static(9, "i", "newer"));
    assert_eq!(m.joined(second).error, E::FencedInstanceId);
    m.fail(E::KafkaStorageError);
    assert!(m.waits(third));
    m.durable();
    assert_eq!(
        (m.joined(third).error, m.member_ids()),
        (E::None, vec!["i-newer".to_owned(), "j-b".to_owned()])
    );
}

#[test]
fn a_takeover_overtaken_by_a_rebalance() {
    let mut m = stable(9);
    let i = m.join(join_static(9, "i", "new"));
    let x = m.join(join(3, "x"));
    m.durable();
    assert!(m.waits(i), "the rebalance answers it");
    let j = m.join(JoinGroup {
        group_instance_id: Some("j".into()),
        ..rejoin(9, "j-b")
    });
    for token in [i, x, j] {
        assert_eq!(
            (m.joined(token).error, m.joined(token).generation_id),
            (E::None, 2)
        );
    }
}

#[test]
fn another_protocol_needs_a_rebalance() {
    let mut m = Machine::new();
    let both = protocols(&["range", "sticky"]);
    let joins = [
        m.join(JoinGroup {
            protocols: both.clone(),
            ..join_static(9, "i", "a")
        }),
        m.join(JoinGroup {
            protocols: both,
            ..join_static(9, "j", "b")
        }),
    ];
    m.finish(&joins);
    let token = m.join(JoinGroup {
        protocols: protocols(&["sticky"]),
        ..join_static(9, "i", "new")
    });
    assert!(m.waits(token) && m.appends.is_empty());
    assert_eq!(m.state(), "PreparingRebalance");
}

#[test]
fn coming_back_while_the_assignment_is_awaited_needs_a_rebalance() {
    let mut m = Machine::new();
    m.join(join_static(5, "i", "a"));
    let b = m.join(join_static(5, "j", "b"));
    m.pass(0);
    assert_eq!(m.joined(b).generation_id, 1);
    let request = SyncGroup {
        group_instance_id: Some("j".into()),
        ..sync("j-b", 1)
    };
    let waiting = m.send(|token| Input::Sync(token, request));
    let token = m.join(join_static(5, "j", "new"));
    assert_eq!(
        (m.synced(waiting).error, m.state()),
        (E::FencedInstanceId, "PreparingRebalance")
    );
    assert!(m.waits(token));
}

#[test]
fn coming_back_fences_the_predecessors_open_join() {
    let mut m = stable(5);
    m.join(join(3, "x"));
    let old = m.join(JoinGroup {
        group_instance_id: Some("i".into()),
        ..rejoin(5, "i-a")
    });
    let new = m.join(join_static(5, "i", "new"));
    assert_eq!(
        (m.joined(old).error, m.joined(old).member_id.as_str()),
        (E::FencedInstanceId, "i-a")
    );
    assert!(m.waits(new));
    assert_eq!(
        m.join_error(JoinGroup {
            group_instance_id: Some("i".into()),
            ..rejoin(5, "i-a")
        }),
        E::FencedInstanceId
    );
    assert_eq!(
        m.join_error(JoinGroup {
            group_instance_id: Some("k".into()),
            ..rejoin(5, "i-a")
        }),
        E::UnknownMemberId
    );
}

#[test]
fn absent_static_members_stay_until_their_session_ends() {
    let mut m = Machine::new();
    let long = |instance, name| JoinGroup {
        session_timeout_ms: 100_000,
        ..join_static(5, instance, name)
    };
    let joins = [m.join(long("i", "a")), m.join(long("j", "b"))];
    m.finish(&joins);
    let x = m.join(join(3, "x"));
    m.pass(60_000);
    let reply = m.joined(x);
    assert_eq!(
        (
            reply.generation_id,
            reply.leader.as_str(),
            reply.members.len()
        ),
        (2, "c-x", 3)
    );
    assert_eq!(m.member_ids(), ["c-x", "i-a", "j-b"]);
    // They are given up when the sync phase ends without them.
    m.sync("c-x", 2, &[]);
    m.durable();
    for _ in 0..6 {
        m.pass(9_000);
        m.heartbeat("c-x", 2);
    }
    m.pass(6_000);
    assert_eq!(
        (m.member_ids(), m.state()),
        (vec!["c-x".to_owned()], "PreparingRebalance")
    );
}

#[test]
fn a_rebalance_of_absent_static_members_only_waits_for_one_of_them() {
    let mut m = Machine::new();
    let long = |instance, name| JoinGroup {
        session_timeout_ms: 100_000,
        ..join_static(5, instance, name)
    };
    let joins = [
        m.join(long("i", "a")),
        m.join(long("j", "b")),
        m.join(join(3, "x")),
    ];
    m.finish(&joins);
    assert_eq!(m.leave(&[("c-x", None)]), [E::None]);
    m.pass(60_000);
    assert_eq!((m.state(), m.member_ids().len()), ("PreparingRebalance", 2));
    let j = m.join(long("j", "new"));
    m.pass(40_000);
    assert_eq!(
        (m.joined(j).generation_id, m.joined(j).leader.as_str()),
        (2, "j-new")
    );
}

/// Nobody else is there, and its time to come back is over at once: that must not go round and round.
#[test]
fn a_member_without_time_to_come_back_is_waited_for() {
    let mut m = Machine::new();
    let hasty = |request| JoinGroup {
        rebalance_timeout_ms: 0,
        ..request
    };
    let joins = [
        m.join(hasty(join_static(9, "i", "a"))),
        m.join(join(3, "x")),
    ];
    m.finish(&joins);
    m.leave(&[("c-x", None)]);
    m.pass(0);
    assert_eq!(m.state(), "PreparingRebalance");
    let i = m.join(JoinGroup {
        group_instance_id: Some("i".into()),
        ..hasty(rejoin(9, "i-a"))
    });
    m.pass(0);
    assert_eq!((m.joined(i).error, m.joined(i).generation_id), (E::None, 2));
}
