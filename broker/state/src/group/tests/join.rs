use super::*;

#[test]
fn what_is_wrong_with_the_request_itself() {
    let mut m = Machine::new();
    let base = || join(4, "a");
    let table = [
        (
            JoinGroup {
                group_id: String::new(),
                ..base()
            },
            E::InvalidGroupId,
        ),
        (
            JoinGroup {
                group_id: "x".repeat(40_000),
                ..base()
            },
            E::InvalidGroupId,
        ),
        (
            JoinGroup {
                session_timeout_ms: 5_999,
                ..base()
            },
            E::InvalidSessionTimeout,
        ),
        (
            JoinGroup {
                session_timeout_ms: 1_800_001,
                ..base()
            },
            E::InvalidSessionTimeout,
        ),
        (
            JoinGroup {
                client_id: "x".repeat(40_000),
                ..base()
            },
            E::InvalidRequest,
        ),
        (
            JoinGroup {
                group_instance_id: Some("x".repeat(32_760)),
                ..base()
            },
            E::InvalidRequest,
        ),
        (
            JoinGroup {
                protocol_type: String::new(),
                ..base()
            },
            E::InconsistentGroupProtocol,
        ),
        (
            JoinGroup {
                protocols: Vec::new(),
                ..base()
            },
            E::InconsistentGroupProtocol,
        ),
        (rejoin(4, "c-nobody"), E::UnknownMemberId),
        (base(), E::MemberIdRequired),
    ];
    for (request, error) in table {
        assert_eq!(m.join_error(request.clone()), error, "{request:?}");
    }
}

#[test]
fn a_refused_join_leaves_no_group_behind() {
    let mut m = Machine::new();
    m.join_error(JoinGroup {
        protocols: Vec::new(),
        ..join(4, "a")
    });
    assert_eq!(m.state(), "Dead");
    assert_eq!(m.coordinator.next_deadline(), None);
}

#[test]
fn what_does_not_fit_the_group() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    let table = [
        (
            JoinGroup {
                protocol_type: "connect".into(),
                ..join(3, "x")
            },
            E::InconsistentGroupProtocol,
        ),
        (
            JoinGroup {
                protocols: protocols(&["sticky"]),
                ..join(3, "x")
            },
            E::InconsistentGroupProtocol,
        ),
        (
            JoinGroup {
                protocols: protocols(&["sticky"]),
                ..rejoin(3, "c-a")
            },
            E::InconsistentGroupProtocol,
        ),
        (rejoin(3, "c-x"), E::UnknownMemberId),
        (
            JoinGroup {
                group_instance_id: Some("i".into()),
                ..rejoin(5, "c-a")
            },
            E::UnknownMemberId,
        ),
    ];
    for (request, error) in table {
        assert_eq!(m.join_error(request.clone()), error, "{request:?}");
        assert_eq!(m.state(), "Stable");
    }
}

#[test]
fn from_version_4_a_member_joins_with_the_id_it_was_given() {
    let mut m = Machine::new();
    let first = m.join(join(4, "a"));
    assert_eq!(
        (m.joined(first).error, m.joined(first).member_id.as_str()),
        (E::MemberIdRequired, "c-a")
    );
    assert_eq!((m.state(), m.member_ids().len()), ("Empty", 0));
    let second = m.join(rejoin(4, "c-a"));
    m.pass(0);
    let reply = m.joined(second);
    assert_eq!(
        (reply.error, reply.generation_id, reply.leader.as_str()),
        (E::None, 1, "c-a")
    );
    assert_eq!(
        (
            reply.protocol_type.as_deref(),
            reply.protocol_name.as_deref()
        ),
        (Some("consumer"), Some("range"))
    );
    assert_eq!(reply.members.len(), 1);
}

#[test]
fn a_pending_member_that_never_joins_is_forgotten() {
    let mut m = Machine::new();
    m.join(join(4, "a"));
    m.pass(9_999);
    assert_eq!(m.state(), "Empty");
    m.pass(1);
    assert_eq!(m.state(), "Dead");
    assert_eq!(m.join_error(rejoin(4, "c-a")), E::UnknownMemberId);
}

#[test]
fn a_pending_member_holds_up_a_rebalance_only_for_its_session() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.join(join(4, "b"));
    let a = m.join(rejoin(3, "c-a"));
    m.pass(9_999);
    assert!(m.waits(a));
    m.pass(1);
    assert_eq!(m.joined(a).generation_id, 2);
}

#[test]
fn the_initial_rebalance_is_extended_up_to_the_rebalance_timeout() {
    let mut m = Machine::with(Config::default());
    let first = m.join(JoinGroup {
        rebalance_timeout_ms: 7_000,
        ..join(3, "a")
    });
    m.pass(2_000);
    m.join(join(3, "b"));
    m.pass(1_000); // 3 s: somebody came, 3 s more
    assert!(m.waits(first));
    m.pass(2_000);
    let third = m.join(join(3, "c"));
    m.pass(1_999); // 6.999 s: only 1 s is left of the 7
    assert!(m.waits(first));
    m.pass(1);
    assert_eq!(m.joined(first).members.len(), 3);
    assert_eq!(m.joined(third).leader, m.joined(first).member_id);
    assert!(m.joined(third).members.is_empty());
}

#[test]
fn the_initial_rebalance_ends_when_nobody_comes() {
    let mut m = Machine::with(Config::default());
    let first = m.join(join(0, "a"));
    m.pass(2_999);
    assert!(m.waits(first));
    m.pass(1);
    assert_eq!(m.joined(first).generation_id, 1);
}

#[test]
fn most_votes_choose_the_protocol() {
    let mut m = Machine::new();
    let lists: [&[&str]; 3] = [
        &["x", "range", "sticky"],
        &["sticky", "range"],
        &["sticky", "range", "y"],
    ];
    let tokens: Vec<Token> = lists
        .iter()
        .zip(["a", "b", "c"])
        .map(|(list, name)| {
            m.join(JoinGroup {
                protocols: protocols(list),
                ..join(3, name)
            })
        })
        .collect();
    m.pass(0);
    assert_eq!(m.joined(tokens[0]).protocol_name.as_deref(), Some("sticky"));
}

#[test]
fn the_leaders_order_decides_between_equal_votes() {
    for (leaders, others) in [(["p", "q"], ["q", "p"]), (["q", "p"], ["p", "q"])] {
        let mut m = Machine::new();
        let leader = m.join(JoinGroup {
            protocols: protocols(&leaders),
            ..join(3, "a")
        });
        m.join(JoinGroup {
            protocols: protocols(&others),
            ..join(3, "b")
        });
        m.pass(0);
        assert_eq!(m.joined(leader).protocol_name.as_deref(), Some(leaders[0]));
    }
}

#[test]
fn a_full_group_takes_nobody() {
    let config = Config {
        group_max_size: 2,
        initial_rebalance_delay_ms: 100,
        ..Config::default()
    };
    let mut m = Machine::with(config);
    let a = m.join(join(3, "a"));
    let b = m.join(join(3, "b"));
    assert_eq!(m.join_error(join(3, "x")), E::GroupMaxSizeReached);
    m.finish(&[a, b]);
    let refused = m.join(join(3, "x"));
    assert_eq!(
        (
            m.joined(refused).error,
            m.joined(refused).member_id.as_str()
        ),
        (E::GroupMaxSizeReached, "")
    );
    assert_eq!((m.state(), m.member_ids().len()), ("Stable", 2));
}

#[test]
fn a_group_above_its_limit_loses_the_last_to_rejoin() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    m.coordinator.set_config(Config {
        group_max_size: 1,
        ..Config::default()
    });
    let a = m.join(rejoin(3, "c-a"));
    assert_eq!(m.join_error(rejoin(3, "c-b")), E::GroupMaxSizeReached);
    assert_eq!(
        (m.joined(a).generation_id, m.member_ids()),
        (2, vec!["c-a".to_owned()])
    );
}

#[test]
fn joining_again_in_a_stable_group() {
    let changed = || JoinGroup {
        protocols: protocols(&["range", "sticky"]),
        ..rejoin(3, "c-b")
    };
    // (request, answered at once with the same generation?)
    for (request, keeps) in [
        (rejoin(3, "c-b"), true),
        (changed(), false),
        (rejoin(3, "c-a"), false),
    ] {
        let mut m = Machine::new();
        m.stable(&["a", "b"]);
        let token = m.join(request);
        assert_eq!(m.waits(token), !keeps);
        assert_eq!(
            m.state(),
            if keeps {
                "Stable"
            } else {
                "PreparingRebalance"
            }
        );
        if keeps {
            let reply = m.joined(token);
            assert_eq!(
                (
                    reply.generation_id,
                    reply.members.len(),
                    reply.leader.as_str()
                ),
                (1, 0, "c-a")
            );
        }
    }
}

#[test]
fn joining_again_while_the_assignment_is_awaited() {
    let mut m = Machine::new();
    let first = [m.join(join(3, "a")), m.join(join(3, "b"))];
    m.pass(0);
    // The answer was lost: the same again, members included.
    let again = m.join(rejoin(3, "c-a"));
    assert_eq!(m.joined(again), m.joined(first[0]));
    let waiting = m.sync("c-a", 1, &[]);
    // Something changed: a new generation, and whoever waits for the old assignment is told.
    let changed = m.join(JoinGroup {
        protocols: protocols(&["range", "x"]),
        ..rejoin(3, "c-b")
    });
    assert_eq!(
        (m.state(), m.synced(waiting).error),
        ("PreparingRebalance", E::RebalanceInProgress)
    );
    let a = m.join(rejoin(3, "c-a"));
    assert_eq!(
        (m.joined(a).generation_id, m.joined(changed).generation_id),
        (2, 2)
    );
}

#[test]
fn a_newcomer_needs_a_rebalance_whatever_the_state() {
    for synced in [false, true] {
        let mut m = Machine::new();
        let a = m.join(join(3, "a"));
        if synced {
            m.finish(&[a]);
        } else {
            m.pass(0);
        }
        let b = m.join(join(3, "b"));
        assert_eq!(
            (m.state(), m.heartbeat("c-a", 1)),
            ("PreparingRebalance", E::RebalanceInProgress)
        );
        let a = m.join(rejoin(3, "c-a"));
        assert_eq!(
            (m.joined(a).generation_id, m.joined(b).generation_id),
            (2, 2)
        );
        assert_eq!(m.joined(b).leader, "c-a");
    }
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut m = Machine::new();
    m.join(JoinGroup {
        session_timeout_ms: 600_000,
        ..join(3, "a")
    });
    m.join(JoinGroup {
        session_timeout_ms: 600_000,
        ..join(3, "b")
    });
    m.pass(0);
    let b = m.join(JoinGroup {
        protocols: protocols(&["range", "x"]),
        ..rejoin(3, "c-b")
    });
    m.pass(59_999);
    assert!(m.waits(b));
    m.pass(1);
    let reply = m.joined(b);
    assert_eq!(
        (
            reply.generation_id,
            reply.leader.as_str(),
            reply.members.len()
        ),
        (2, "c-b", 1)
    );
    assert_eq!(m.heartbeat("c-a", 1), E::UnknownMemberId);
}

#[test]
fn a_new_members_join_hangs_for_a_limited_time() {
    let mut m = Machine::new();
    let long = 1_800_000;
    let a = m.join(JoinGroup {
        session_timeout_ms: long,
        rebalance_timeout_ms: long,
        ..join(3, "a")
    });
    m.finish(&[a]);
    let b = m.join(JoinGroup {
        rebalance_timeout_ms: long,
        ..join(3, "b")
    });
    m.pass(299_999);
    assert!(m.waits(b));
    m.pass(1);
    assert_eq!(
        (m.joined(b).error, m.joined(b).member_id.as_str()),
        (E::UnknownMemberId, "")
    );
}

#[test]
fn a_second_join_of_the_same_member_replaces_the_first() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    let first = m.join(rejoin(3, "c-a"));
    let second = m.join(rejoin(3, "c-a"));
    assert_eq!(m.joined(first).error, E::RebalanceInProgress);
    assert!(m.waits(second));
}

#[test]
fn without_a_rebalance_timeout_the_session_timeout_counts() {
    let mut m = Machine::new();
    let a = m.join(JoinGroup {
        rebalance_timeout_ms: -1,
        session_timeout_ms: 20_000,
        ..join(0, "a")
    });
    let b = m.join(JoinGroup {
        rebalance_timeout_ms: -1,
        session_timeout_ms: 20_000,
        ..join(0, "b")
    });
    m.finish(&[a, b]);
    m.pass(5_000);
    assert_eq!(
        (m.heartbeat("c-b", 1), m.heartbeat("c-a", 1)),
        (E::None, E::None)
    );
    let a = m.join(JoinGroup {
        rebalance_timeout_ms: -1,
        session_timeout_ms: 20_000,
        ..rejoin(0, "c-a")
    });
    m.pass(10_000);
    assert_eq!(m.heartbeat("c-b", 1), E::RebalanceInProgress);
    m.pass(10_000);
    assert_eq!(
        m.joined(a).members.len(),
        1,
        "the other one heartbeats but did not join in 20 s"
    );
}
