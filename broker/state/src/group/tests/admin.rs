use super::*;

#[test]
fn describing() {
    let mut m = Machine::new();
    let old = m.coordinator.describe("g", 5);
    assert_eq!(
        (old.error, old.error_message, old.state),
        (E::None, None, "Dead")
    );
    let new = m.coordinator.describe("g", 6);
    assert_eq!(
        (new.error, new.error_message.as_deref(), new.state),
        (E::GroupIdNotFound, Some("Group g not found."), "Dead")
    );
    m.stable(&["a"]);
    let stable = m.coordinator.describe("g", 6);
    assert_eq!(
        (
            stable.error,
            stable.state,
            stable.protocol_type.as_str(),
            stable.protocol_data.as_str()
        ),
        (E::None, "Stable", "consumer", "range")
    );
    let member = DescribedMember {
        member_id: "c-a".into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        metadata: protocols(&["range"])[0].metadata.clone(),
        assignment: b"c-a".to_vec(),
    };
    assert_eq!(stable.members, vec![member.clone()]);
    m.join(join(3, "b"));
    let preparing = m.coordinator.describe("g", 6);
    assert_eq!(
        (preparing.state, preparing.protocol_data.as_str()),
        ("PreparingRebalance", "")
    );
    assert_eq!(
        preparing.members[0],
        DescribedMember {
            metadata: Vec::new(),
            ..member
        }
    );
}

#[test]
fn listing() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.commit(OffsetCommit {
        group_id: "simple".into(),
        ..commit("", -1)
    });
    m.durable();
    let stable = ListedGroup {
        group_id: "g".into(),
        protocol_type: "consumer".into(),
        state: "Stable",
        group_type: "classic",
    };
    let simple = ListedGroup {
        group_id: "simple".into(),
        protocol_type: String::new(),
        state: "Empty",
        group_type: "classic",
    };
    let both = vec![stable.clone(), simple.clone()];
    let table: [(&[&str], &[&str], Vec<ListedGroup>); 8] = [
        (&[], &[], both.clone()),
        (&["stable"], &[], vec![stable.clone()]),
        (&[" Empty "], &["Classic"], vec![simple]),
        (&["Stable", "empty"], &["consumer", "classic"], both),
        (&["Dead"], &[], vec![]),
        (&["nonsense"], &[], vec![]),
        (&[], &["consumer"], vec![]),
        (&["STABLE"], &["CLASSIC"], vec![stable]),
    ];
    for (states, types, expected) in table {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<String>>()
        };
        assert_eq!(
            m.coordinator.list(&owned(states), &owned(types)),
            expected,
            "{states:?} {types:?}"
        );
    }
}

#[test]
fn deleting_groups() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.commit(commit("c-a", 1));
    m.durable();
    let token = m.delete(&["g", "none"]);
    assert_eq!(m.deleted(token), [E::NonEmptyGroup, E::GroupIdNotFound]);
    m.leave(&[("c-a", None)]);
    m.durable();
    let token = m.delete(&["g", "g"]);
    assert!(m.waits(token));
    m.fail(E::NotEnoughReplicas);
    assert_eq!(
        (m.deleted(token), m.state()),
        (vec![E::CoordinatorNotAvailable; 2], "Empty")
    );
    let token = m.delete(&["g"]);
    m.durable();
    assert_eq!(
        (m.deleted(token), m.state(), m.coordinator.next_deadline()),
        (vec![E::None], "Dead", None)
    );
    assert_eq!(m.log[m.log.len() - 2].0, b"\0\x01\0\x01g\0\x01u\0\0\0\0");
    assert_eq!(m.log[m.log.len() - 1], (b"\0\x02\0\x01g".to_vec(), None));
}

#[test]
fn a_deleted_groups_pending_member_is_forgotten() {
    let mut m = Machine::new();
    m.join(join(4, "a"));
    m.delete(&["g"]);
    m.durable();
    assert_eq!((m.state(), m.coordinator.next_deadline()), ("Dead", None));
    assert_eq!(m.join_error(rejoin(4, "c-a")), E::UnknownMemberId);
}

#[test]
fn what_comes_during_a_deletion_comes_after_it() {
    for fails in [false, true] {
        let mut m = Machine::new();
        m.commit(commit("", -1));
        m.durable();
        m.commit(commit_of(commit("", -1), "on its way", 0, 1));
        let deleting = m.delete(&["g"]);
        let committing = m.commit(commit_of(commit("", -1), "v", 0, 1));
        let again = m.delete(&["g"]);
        let joining = m.join(join(3, "a"));
        let request = OffsetDelete {
            group_id: "g".into(),
            topics: vec![("u".into(), vec![(0, E::None)])],
        };
        let removing = m.send(|token| Input::OffsetDelete(token, request));
        assert!(
            [deleting, committing, again, joining, removing]
                .iter()
                .all(|token| m.waits(*token))
        );
        let first = m.appends.remove(0);
        m.log.extend(first.records);
        m.step(Input::Appended(first.id));
        if fails {
            m.fail(E::NotEnoughReplicas);
            assert_eq!(m.deleted(deleting), [E::CoordinatorNotAvailable]);
        }
        m.durable();
        if !fails {
            assert_eq!(m.deleted(deleting), [E::None]);
        }
        assert_eq!(m.committed(committing), E::None);
        // The second deletion finds an unknown group while the commit is on its way, or the old one.
        assert_eq!(
            m.deleted(again),
            [if fails { E::None } else { E::GroupIdNotFound }]
        );
        m.pass(0);
        assert_eq!(m.joined(joining).generation_id, 1);
        assert!(!m.waits(removing));
        let expected = if fails { -1 } else { 1 };
        assert_eq!(
            (
                m.offset("g", "v", 0),
                m.offset("g", "u", 0),
                m.offset("g", "on its way", 0)
            ),
            (expected, -1, -1)
        );
        let again = Machine::load(Config::default(), m.log.clone(), m.now);
        assert_eq!(
            (
                again.offset("g", "v", 0),
                again.offset("g", "on its way", 0)
            ),
            (expected, -1)
        );
    }
}
