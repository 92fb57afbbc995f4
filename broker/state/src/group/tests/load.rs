use super::*;

#[test]
fn a_group_comes_back_as_it_was_durable() {
    let mut m = Machine::new();
    let joins = [m.join(join(3, "a")), m.join(join_static(5, "i", "s"))];
    m.finish(&joins);
    m.commit(commit("c-a", 1));
    m.durable();
    let described = m.coordinator.describe("g", 6);
    let mut m = Machine::load(Config::default(), m.log, m.now + 50_000);
    assert_eq!(m.coordinator.describe("g", 6), described);
    assert_eq!(m.offset("g", "u", 0), 7);
    m.pass(9_999);
    assert_eq!(m.heartbeat("c-a", 1), E::None);
    m.pass(1);
    assert_eq!(
        m.heartbeat_as("i-s", Some("i"), 1),
        E::UnknownMemberId,
        "its session began at the load"
    );
}

#[test]
fn a_rebalance_under_way_is_lost_with_the_coordinator() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    let b = m.join(join(3, "b"));
    let a = m.join(rejoin(3, "c-a"));
    assert_eq!(
        (m.joined(a).generation_id, m.joined(b).generation_id),
        (2, 2)
    );
    let mut m = Machine::load(Config::default(), m.log, m.now);
    assert_eq!(
        (m.state(), m.member_ids()),
        ("Stable", vec!["c-a".to_owned()])
    );
    assert_eq!(
        (m.heartbeat("c-a", 2), m.heartbeat("c-b", 2)),
        (E::IllegalGeneration, E::UnknownMemberId)
    );
    assert_eq!(m.heartbeat("c-a", 1), E::None);
}

#[test]
fn a_group_over_the_limit_rebalances_at_load() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    let mut m = Machine::load(
        Config {
            group_max_size: 1,
            ..Config::default()
        },
        m.log,
        m.now,
    );
    assert_eq!(m.state(), "PreparingRebalance");
    m.join(rejoin(3, "c-b"));
    assert_eq!(m.join_error(rejoin(3, "c-a")), E::GroupMaxSizeReached);
    assert_eq!(m.member_ids(), ["c-b"]);
}

#[test]
fn a_group_that_could_not_be_noted_as_empty_is_noted_later() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.commit(commit("c-a", 1));
    m.durable();
    m.leave(&[("c-a", None)]);
    m.fail(E::NotEnoughReplicas);
    assert_eq!(m.state(), "Empty");
    assert_eq!(
        Machine::load(Config::default(), m.log.clone(), m.now).state(),
        "Stable"
    );
    m.pass(600_000);
    m.durable();
    assert_eq!(
        Machine::load(Config::default(), m.log.clone(), m.now).state(),
        "Empty"
    );
}

#[test]
fn records_of_other_protocols_are_passed_over() {
    let mut coordinator = Coordinator::new(Config::default());
    assert_eq!(
        coordinator
            .replay(&[0, 3, 0, 1, b'g'], Some(&[0, 0, 0, 0, 0, 1]))
            .unwrap(),
        Replayed::PassedOver(3)
    );
    assert!(
        coordinator
            .replay(&[0, 2, 0, 1, b'g'], Some(&[0, 9]))
            .is_err()
    );
    assert!(coordinator.list(&[], &[]).is_empty());
}

#[test]
fn a_record_with_doubles_is_loaded_without_them() {
    let member = |member_id: &str, client_id: &str| super::super::record::MemberValue {
        member_id: member_id.into(),
        group_instance_id: Some("i".into()),
        client_id: client_id.into(),
        client_host: String::new(),
        rebalance_timeout_ms: -1,
        session_timeout_ms: 10_000,
        subscription: Vec::new(),
        assignment: Vec::new(),
    };
    let value = super::super::record::GroupValue {
        protocol_type: "consumer".into(),
        generation: i32::MAX,
        protocol: None,
        leader: Some("nobody".into()),
        state_timestamp: -1,
        members: vec![member("m", "1"), member("m", "2"), member("n", "3")],
    };
    let record = Record::Group {
        group: "g".into(),
        value: Some(value),
    }
    .write();
    let mut m = Machine::load(Config::default(), vec![record], 0);
    assert_eq!(
        (m.state(), m.member_ids()),
        ("Stable", vec!["n".to_owned()])
    );
    m.pass(10_000);
    assert_eq!(m.state(), "Empty");
}

#[test]
fn unloading_answers_everything() {
    let mut m = Machine::new();
    m.stable(&["a", "b"]);
    m.commit(OffsetCommit {
        group_id: "h".into(),
        ..commit("", -1)
    });
    m.durable();
    let joining = m.join(rejoin(3, "c-a"));
    let committing = m.commit(commit("c-b", 1));
    let deleting = m.delete(&["h"]);
    let waiting = m.commit(OffsetCommit {
        group_id: "h".into(),
        ..commit("", -1)
    });
    let mut out = Effects::default();
    m.coordinator.unload(&mut out);
    let replies: BTreeMap<Token, Reply> = out.replies.into_iter().collect();
    assert_eq!(
        replies.keys().copied().collect::<Vec<_>>(),
        [joining, committing, deleting, waiting]
    );
    assert_eq!(
        replies[&joining],
        Reply::Join(JoinReply::error(E::NotCoordinator, "c-a"))
    );
    assert_eq!(
        replies[&deleting],
        Reply::DeleteGroups(vec![("h".into(), E::NotCoordinator)])
    );
    for token in [committing, waiting] {
        let Reply::OffsetCommit(topics) = &replies[&token] else {
            panic!()
        };
        assert_eq!(topics[0].partitions[0].1, E::NotCoordinator);
    }
}

#[test]
fn a_hundred_thousand_groups_are_looked_at_one_by_one() {
    let record = |n: usize| Record::Offset {
        group: format!("g{n}"),
        topic: "t".into(),
        partition: 0,
        value: Some(super::super::record::OffsetValue {
            offset: 1,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp: 0,
            expire_timestamp: -1,
            topic_id: [0; 16],
        }),
    };
    let mut coordinator = Coordinator::new(Config::default());
    for n in 0..100_000 {
        let (key, value) = record(n).write();
        coordinator.replay(&key, value.as_deref()).unwrap();
    }
    coordinator.loaded(0, &mut Effects::default());
    let mut ticks = 0;
    while let Some(deadline) = coordinator
        .next_deadline()
        .filter(|deadline| *deadline <= 600_000)
    {
        coordinator.step(deadline, Input::Tick, &mut Effects::default());
        ticks += 1;
    }
    assert_eq!(ticks, 100_000, "no tick looks at more than what is due");
}
