use super::*;

#[test]
fn syncs_that_are_refused() {
    let mut m = Machine::new();
    let refused = |m: &mut Machine, request: SyncGroup| {
        let token = m.send(|token| Input::Sync(token, request));
        assert!(m.synced(token).assignment.is_empty());
        m.synced(token).error
    };
    assert_eq!(refused(&mut m, sync("c-a", 1)), E::UnknownMemberId);
    m.stable(&["a", "b"]);
    let base = || sync("c-a", 1);
    let table = [
        (
            SyncGroup {
                group_id: String::new(),
                ..base()
            },
            E::InvalidGroupId,
        ),
        (
            SyncGroup {
                group_id: "other".into(),
                ..base()
            },
            E::UnknownMemberId,
        ),
        (sync("c-x", 1), E::UnknownMemberId),
        (sync("c-a", 0), E::IllegalGeneration),
        (sync("c-a", 2), E::IllegalGeneration),
        (
            SyncGroup {
                protocol_type: Some("connect".into()),
                ..base()
            },
            E::InconsistentGroupProtocol,
        ),
        (
            SyncGroup {
                protocol_name: Some("sticky".into()),
                ..base()
            },
            E::InconsistentGroupProtocol,
        ),
        (
            SyncGroup {
                group_instance_id: Some("i".into()),
                ..base()
            },
            E::UnknownMemberId,
        ),
        (
            SyncGroup {
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                ..base()
            },
            E::None,
        ),
    ];
    for (request, error) in table {
        let token = m.send(|token| Input::Sync(token, request.clone()));
        assert_eq!(m.synced(token).error, error, "{request:?}");
    }
    m.join(rejoin(3, "c-a"));
    assert_eq!(refused(&mut m, sync("c-b", 1)), E::RebalanceInProgress);
}

#[test]
fn assignments_are_told_when_they_are_durable() {
    let mut m = Machine::new();
    m.join(join(3, "a"));
    m.join(join(3, "b"));
    m.join(join(3, "d"));
    m.pass(0);
    let b = m.sync("c-b", 1, &[]);
    let a = m.sync(
        "c-a",
        1,
        &[("c-a", "mine"), ("c-b", "yours"), ("c-x", "nobody's")],
    );
    let again = m.sync("c-a", 1, &[("c-a", "other")]);
    assert_eq!(
        m.synced(a).error,
        E::RebalanceInProgress,
        "replaced by the second request"
    );
    assert_eq!(m.appends.len(), 1, "one assignment for a generation");
    assert!(m.waits(b) && m.waits(again));
    assert_eq!(m.state(), "CompletingRebalance");
    m.durable();
    assert_eq!(m.state(), "Stable");
    assert_eq!(
        (
            m.synced(again).assignment.as_slice(),
            m.synced(b).assignment.as_slice()
        ),
        (&b"mine"[..], &b"yours"[..])
    );
    assert_eq!(m.synced(b).protocol_name.as_deref(), Some("range"));
    // Who comes late gets its part at once; who was forgotten, an empty one.
    let d = m.sync("c-d", 1, &[]);
    assert_eq!(
        (m.synced(d).error, m.synced(d).assignment.len()),
        (E::None, 0)
    );
}

#[test]
fn an_assignment_that_is_not_durable_starts_a_rebalance() {
    let table = [
        (E::UnknownTopicOrPartition, E::CoordinatorNotAvailable),
        (E::NotEnoughReplicas, E::CoordinatorNotAvailable),
        (E::RequestTimedOut, E::CoordinatorNotAvailable),
        (E::NotLeaderOrFollower, E::NotCoordinator),
        (E::KafkaStorageError, E::NotCoordinator),
        (E::MessageTooLarge, E::UnknownServerError),
        (E::RecordListTooLarge, E::UnknownServerError),
        (E::InvalidFetchSize, E::UnknownServerError),
        (E::CoordinatorLoadInProgress, E::CoordinatorLoadInProgress),
    ];
    for (cause, told) in table {
        let mut m = Machine::new();
        m.join(join(3, "a"));
        m.join(join(3, "b"));
        m.pass(0);
        let tokens = [m.sync("c-b", 1, &[]), m.sync("c-a", 1, &[("c-a", "mine")])];
        m.fail(cause);
        for token in tokens {
            assert_eq!(
                (m.synced(token).error, m.synced(token).assignment.len()),
                (told, 0)
            );
        }
        assert_eq!(
            (m.state(), m.heartbeat("c-a", 1)),
            ("PreparingRebalance", E::RebalanceInProgress)
        );
        let joins = [m.join(rejoin(3, "c-a")), m.join(rejoin(3, "c-b"))];
        m.finish(&joins);
        assert_eq!(m.heartbeat("c-b", 2), E::None);
    }
}

#[test]
fn members_do_not_wait_longer_for_an_assignment_than_an_append_may_take() {
    let mut m = Machine::new();
    let joins = [m.join(join(3, "a")), m.join(join(3, "b"))];
    m.pass(0);
    let tokens = [m.sync("c-b", 1, &[]), m.sync("c-a", 1, &[("c-a", "mine")])];
    m.step(Input::AppendLate(m.appends[0].id));
    for token in tokens {
        assert_eq!(m.synced(token).error, E::CoordinatorNotAvailable);
    }
    assert_eq!(m.joined(joins[0]).error, E::None);
    assert_eq!(m.heartbeat("c-a", 1), E::RebalanceInProgress);
    // That it becomes durable after all changes nothing for anybody.
    m.durable();
    assert_eq!(m.state(), "PreparingRebalance");
    let joins = [m.join(rejoin(3, "c-a")), m.join(rejoin(3, "c-b"))];
    m.finish(&joins);
    assert_eq!(m.heartbeat("c-b", 2), E::None);
}

#[test]
fn an_assignment_overtaken_by_a_rebalance_is_nobodys() {
    for fails in [false, true] {
        let mut m = Machine::new();
        m.join(join(3, "a"));
        m.pass(0);
        let a = m.sync("c-a", 1, &[("c-a", "mine")]);
        m.join(join(3, "b"));
        assert_eq!(m.synced(a).error, E::RebalanceInProgress);
        if fails {
            m.fail(E::KafkaStorageError);
        } else {
            m.durable();
        }
        assert_eq!(m.state(), "PreparingRebalance");
        let a = m.join(rejoin(3, "c-a"));
        assert_eq!(m.joined(a).generation_id, 2);
        let a = m.sync("c-a", 2, &[("c-a", "mine again")]);
        m.durable();
        assert_eq!(m.synced(a).assignment, b"mine again");
    }
}

#[test]
fn members_that_never_sync_are_out() {
    let mut m = Machine::new();
    m.join(JoinGroup {
        session_timeout_ms: 100_000,
        ..join(3, "a")
    });
    m.join(JoinGroup {
        session_timeout_ms: 100_000,
        ..join(3, "b")
    });
    m.pass(0);
    let a = m.sync("c-a", 1, &[]);
    m.durable();
    assert_eq!(m.synced(a).error, E::None);
    m.pass(59_999);
    assert_eq!(
        (m.heartbeat("c-a", 1), m.heartbeat("c-b", 1)),
        (E::None, E::None)
    );
    m.pass(1);
    assert_eq!(
        (m.heartbeat("c-a", 1), m.heartbeat("c-b", 1)),
        (E::RebalanceInProgress, E::UnknownMemberId)
    );
}

#[test]
fn heartbeats() {
    let mut m = Machine::new();
    assert_eq!(m.heartbeat("c-a", 1), E::UnknownMemberId);
    m.join(join(3, "a"));
    m.pass(0);
    assert_eq!(
        (m.state(), m.heartbeat("c-a", 1)),
        ("CompletingRebalance", E::None)
    );
    m.sync("c-a", 1, &[]);
    m.durable();
    assert_eq!(m.heartbeat("c-a", 1), E::None);
    assert_eq!(m.heartbeat("c-a", 0), E::IllegalGeneration);
    assert_eq!(m.heartbeat("c-x", 1), E::UnknownMemberId);
    assert_eq!(m.heartbeat_as("c-a", Some("i"), 1), E::UnknownMemberId);
    m.join(join(3, "b"));
    assert_eq!(
        (m.state(), m.heartbeat("c-a", 1)),
        ("PreparingRebalance", E::RebalanceInProgress)
    );
}

#[test]
fn a_member_that_is_not_heard_of_is_out() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    m.pass(9_999);
    assert_eq!(m.heartbeat("c-a", 1), E::None);
    m.pass(1);
    assert_eq!(
        (m.state(), m.member_ids()),
        ("PreparingRebalance", vec!["c-a".to_owned()])
    );
    assert_eq!(m.heartbeat("c-b", 1), E::UnknownMemberId);
    // And when the last one is gone too, the group is empty, and says so in the log.
    m.pass(20_000);
    assert_eq!((m.state(), m.appends.len()), ("Empty", 1));
    let value = m.appends[0].records[0].1.as_deref();
    let Record::Group {
        value: Some(value), ..
    } = Record::read(&m.appends[0].records[0].0, value).unwrap()
    else {
        panic!()
    };
    assert_eq!(
        (
            value.generation,
            value.members.len(),
            value.protocol,
            value.leader
        ),
        (2, 0, None, None)
    );
    assert_eq!(value.protocol_type, "consumer");
}

#[test]
fn leaving() {
    let mut m = Machine::new();
    assert_eq!(
        m.leave(&[("c-a", None), ("", Some("i"))]),
        [E::UnknownMemberId, E::UnknownMemberId]
    );
    let joins = [
        m.join(join(3, "a")),
        m.join(join(3, "b")),
        m.join(join_static(5, "i", "s")),
    ];
    m.finish(&joins);
    m.join(join(4, "pending"));
    let members = [
        ("c-x", None),
        ("c-pending", None),
        ("", Some("unknown")),
        ("", None),
        ("c-a", Some("i")),
        ("i-s", Some("j")),
        ("c-b", None),
        ("", Some("i")),
    ];
    let errors = [
        E::UnknownMemberId,
        E::None,
        E::UnknownMemberId,
        E::UnknownMemberId,
        E::FencedInstanceId,
        E::UnknownMemberId,
        E::None,
        E::None,
    ];
    assert_eq!(m.leave(&members), errors);
    assert_eq!(
        (m.state(), m.member_ids()),
        ("PreparingRebalance", vec!["c-a".to_owned()])
    );
    let a = m.join(rejoin(3, "c-a"));
    assert_eq!(m.joined(a).generation_id, 2);
    assert_eq!(m.leave(&[("c-a", None)]), [E::None]);
    assert_eq!(m.state(), "Empty");
}

#[test]
fn leaving_an_unnamed_group() {
    let mut m = Machine::new();
    let token = m.send(|token| {
        Input::Leave(
            token,
            LeaveGroup {
                group_id: String::new(),
                members: Vec::new(),
            },
        )
    });
    assert_eq!(
        m.replies[&token],
        Reply::Leave(LeaveReply {
            error: E::InvalidGroupId,
            members: Vec::new()
        })
    );
}

#[test]
fn who_leaves_gets_its_open_requests_answered() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    let joining = m.join(rejoin(3, "c-a"));
    m.leave(&[("c-a", None)]);
    assert_eq!(
        (
            m.joined(joining).error,
            m.joined(joining).member_id.as_str()
        ),
        (E::UnknownMemberId, "")
    );
    let b = m.join(rejoin(3, "c-b"));
    assert_eq!(
        (m.joined(b).generation_id, m.joined(b).leader.as_str()),
        (2, "c-b")
    );
    let syncing = m.sync("c-b", 2, &[]);
    m.leave(&[("c-b", None)]);
    assert_eq!(
        (m.synced(syncing).error, m.state()),
        (E::UnknownMemberId, "Empty")
    );
    m.durable();
    assert_eq!(m.state(), "Empty");
}

#[test]
fn all_leave_during_the_initial_rebalance() {
    let mut m = Machine::with(Config::default());
    let a = m.join(join(3, "a"));
    m.leave(&[("c-a", None)]);
    assert_eq!(
        (m.joined(a).error, m.state()),
        (E::UnknownMemberId, "PreparingRebalance")
    );
    m.pass(3_000);
    assert_eq!(m.state(), "Empty");
}
