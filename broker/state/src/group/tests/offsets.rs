use super::*;

#[test]
fn who_may_commit() {
    let static_commit = |member, instance: &str| OffsetCommit {
        group_instance_id: Some(instance.into()),
        ..commit(member, 1)
    };
    let mut m = Machine::new();
    let joins = [m.join(join(3, "a")), m.join(join_static(5, "i", "s"))];
    m.finish(&joins);
    let old = |request: OffsetCommit| OffsetCommit {
        api_version: 8,
        ..request
    };
    let elsewhere = |request: OffsetCommit| OffsetCommit {
        group_id: "other".into(),
        ..request
    };
    let table = [
        (commit("c-a", 1), E::None),
        (static_commit("i-s", "i"), E::None),
        (static_commit("c-a", "i"), E::FencedInstanceId),
        (static_commit("c-a", "j"), E::UnknownMemberId),
        (commit("c-a", 0), E::IllegalGeneration),
        (commit("c-a", -1), E::IllegalGeneration),
        (commit("c-x", 1), E::UnknownMemberId),
        (commit("", -1), E::UnknownMemberId),
        (commit("", 1), E::UnknownMemberId),
        (elsewhere(commit("c-a", 1)), E::GroupIdNotFound),
        (old(elsewhere(commit("c-a", 1))), E::IllegalGeneration),
        (elsewhere(commit("", -1)), E::None),
        (
            OffsetCommit {
                group_id: String::new(),
                ..commit("", -1)
            },
            E::None,
        ),
        (
            OffsetCommit {
                group_id: "x".repeat(40_000),
                ..commit("", -1)
            },
            E::InvalidGroupId,
        ),
        (
            commit_of(commit("c-a", 1), &"t".repeat(40_000), 0, 1),
            E::UnknownTopicOrPartition,
        ),
    ];
    for (request, error) in table {
        let token = m.commit(request.clone());
        m.durable();
        assert_eq!(m.committed(token), error, "{request:?}");
    }
}

#[test]
fn commits_in_each_state_of_the_group() {
    let mut m = Machine::new();
    m.join(join(3, "a"));
    m.pass(0);
    let completing = m.commit(commit("c-a", 1));
    assert_eq!(
        (m.state(), m.committed(completing)),
        ("CompletingRebalance", E::RebalanceInProgress)
    );
    m.sync("c-a", 1, &[]);
    m.durable();
    m.join(join(3, "b"));
    let preparing = m.commit(commit("c-a", 1));
    m.durable();
    assert_eq!(
        (m.state(), m.committed(preparing)),
        ("PreparingRebalance", E::None)
    );
    m.leave(&[("c-a", None), ("c-b", None)]);
    assert_eq!(m.state(), "Empty");
    let from_outside = m.commit(commit("", -1));
    m.durable();
    assert_eq!(m.committed(from_outside), E::None);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    for _ in 0..5 {
        m.pass(9_000);
        m.commit(commit("c-a", 1));
        m.durable();
    }
    assert_eq!(m.state(), "Stable");
}

#[test]
fn a_commit_counts_when_it_is_durable() {
    let mut m = Machine::new();
    let token = m.commit(commit("", -1));
    assert!(m.waits(token));
    assert_eq!((m.offset("g", "u", 0), m.state()), (-1, "Dead"));
    m.durable();
    assert_eq!(
        (m.committed(token), m.offset("g", "u", 0), m.state()),
        (E::None, 7, "Empty")
    );
    let failing = m.commit(commit_of(commit("", -1), "u", 0, 8));
    m.fail(E::NotEnoughReplicas);
    assert_eq!(
        (m.committed(failing), m.offset("g", "u", 0)),
        (E::CoordinatorNotAvailable, 7)
    );
}

#[test]
fn each_partition_has_its_own_outcome() {
    let mut m = Machine::with(Config {
        offset_metadata_max: 4,
        ..Config::default()
    });
    let partition = |index, metadata: Option<&str>, error| CommitPartition {
        index,
        offset: 1,
        leader_epoch: -1,
        metadata: metadata.map(str::to_owned),
        error,
    };
    let partitions = vec![
        partition(0, None, E::None),
        partition(1, Some("12345"), E::None),
        partition(2, Some("äöüß"), E::None),
        partition(3, Some("1234"), E::TopicAuthorizationFailed),
    ];
    let topic = CommitTopic {
        name: "u".into(),
        topic_id: [7; 16],
        partitions,
    };
    let token = m.commit(OffsetCommit {
        topics: vec![topic],
        ..commit("", -1)
    });
    let records = m.appends[0].records.len();
    m.fail(E::KafkaStorageError);
    let expected = |first: ErrorCode| {
        let partitions = vec![
            (0, first),
            (1, E::OffsetMetadataTooLarge),
            (2, first),
            (3, E::TopicAuthorizationFailed),
        ];
        Reply::OffsetCommit(vec![TopicResult {
            name: "u".into(),
            topic_id: [7; 16],
            partitions,
        }])
    };
    assert_eq!(
        (records, &m.replies[&token]),
        (2, &expected(E::NotCoordinator))
    );
}

#[test]
fn a_commit_of_nothing_valid_is_answered_at_once() {
    let mut m = Machine::new();
    let mut request = commit("nobody", 5);
    request.topics[0].partitions[0].error = E::UnknownTopicOrPartition;
    let token = m.commit(request);
    assert_eq!(
        (m.committed(token), m.appends.len(), m.state()),
        (E::UnknownTopicOrPartition, 0, "Dead")
    );
    let token = m.commit(OffsetCommit {
        topics: Vec::new(),
        ..commit("", -1)
    });
    assert_eq!(
        (&m.replies[&token], m.state()),
        (&Reply::OffsetCommit(Vec::new()), "Dead")
    );
}

#[test]
fn fetching() {
    let mut m = Machine::new();
    m.commit(commit("", -1));
    m.commit(commit_of(commit("", -1), "a", 2, 9));
    m.durable();
    let found = FetchedOffset {
        index: 0,
        offset: 7,
        leader_epoch: 3,
        metadata: "note".into(),
    };
    let missing = |index| FetchedOffset {
        index,
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let asked = [("u".to_owned(), vec![1, 0]), ("none".to_owned(), vec![0])];
    let fetched = m.coordinator.fetch_offsets("g", OffsetQuery::Some(&asked));
    let topic = |name: &str, partitions| FetchedTopic {
        name: name.into(),
        partitions,
    };
    assert_eq!(
        fetched,
        [
            topic("u", vec![missing(1), found.clone()]),
            topic("none", vec![missing(0)])
        ]
    );
    let all = m.coordinator.fetch_offsets("g", OffsetQuery::All);
    assert_eq!(
        all,
        [
            topic(
                "a",
                vec![FetchedOffset {
                    index: 2,
                    offset: 9,
                    ..found.clone()
                }]
            ),
            topic("u", vec![found])
        ]
    );
    assert_eq!(m.coordinator.fetch_offsets("other", OffsetQuery::All), []);
    let unknown = m
        .coordinator
        .fetch_offsets("other", OffsetQuery::Some(&asked[1..]));
    assert_eq!(unknown, [topic("none", vec![missing(0)])]);
}

fn delete_offsets(m: &mut Machine, group: &str, topics: &[(&str, i32)]) -> OffsetDeleteReply {
    let topics = topics
        .iter()
        .map(|(topic, index)| ((*topic).to_owned(), vec![(*index, E::None)]))
        .collect();
    let request = OffsetDelete {
        group_id: group.into(),
        topics,
    };
    let token = m.send(|token| Input::OffsetDelete(token, request));
    m.durable();
    match &m.replies[&token] {
        Reply::OffsetDelete(reply) => reply.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn deleting_offsets() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.commit(commit("c-a", 1));
    m.commit(commit_of(commit("c-a", 1), "t", 0, 1));
    assert_eq!(
        delete_offsets(&mut m, "", &[("u", 0)]).error,
        E::InvalidGroupId
    );
    assert_eq!(
        delete_offsets(&mut m, "other", &[("u", 0)]).error,
        E::GroupIdNotFound
    );
    let reply = delete_offsets(&mut m, "g", &[("t", 0), ("u", 0), ("u", 1)]);
    let results: Vec<ErrorCode> = reply
        .topics
        .iter()
        .map(|(_, partitions)| partitions[0].1)
        .collect();
    assert_eq!(
        (reply.error, results),
        (E::None, vec![E::GroupSubscribedToTopic, E::None, E::None])
    );
    assert_eq!((m.offset("g", "t", 0), m.offset("g", "u", 0)), (1, -1));
    m.leave(&[("c-a", None)]);
    assert_eq!(delete_offsets(&mut m, "g", &[("t", 0)]).error, E::None);
    assert_eq!(m.offset("g", "t", 0), -1);
}

#[test]
fn offsets_of_a_live_group_of_another_kind_are_not_deleted() {
    let mut m = Machine::new();
    let a = m.join(JoinGroup {
        protocol_type: "connect".into(),
        ..join(3, "a")
    });
    m.finish(&[a]);
    assert_eq!(
        delete_offsets(&mut m, "g", &[("u", 0)]).error,
        E::NonEmptyGroup
    );
}

#[test]
fn a_group_whose_last_offset_was_deleted_stays_until_its_next_expiry_round() {
    let mut m = Machine::new();
    m.commit(commit("", -1));
    m.durable();
    delete_offsets(&mut m, "g", &[("u", 0)]);
    assert_eq!(m.state(), "Empty");
    m.pass(600_000);
    assert_eq!((m.state(), m.coordinator.next_deadline()), ("Dead", None));
}

#[test]
fn deleting_an_offset_that_is_on_its_way() {
    let mut m = Machine::new();
    m.commit(commit("", -1));
    m.durable();
    m.commit(commit_of(commit("", -1), "v", 0, 1));
    delete_offsets(&mut m, "g", &[("v", 0)]);
    assert_eq!((m.offset("g", "v", 0), m.offset("g", "u", 0)), (-1, 7));
}

const DAY_MS: i64 = 86_400_000;

#[test]
fn offsets_of_simple_consumers_expire_after_their_commit() {
    let mut m = Machine::new();
    m.commit(commit("", -1));
    m.durable();
    m.pass(6 * DAY_MS);
    m.commit(commit_of(commit("", -1), "v", 0, 1));
    m.durable();
    m.pass(DAY_MS);
    m.durable();
    assert_eq!(
        (m.offset("g", "u", 0), m.offset("g", "v", 0), m.state()),
        (-1, 1, "Empty")
    );
    m.pass(6 * DAY_MS + 600_000);
    m.durable();
    assert_eq!((m.state(), m.coordinator.next_deadline()), ("Dead", None));
}

#[test]
fn a_commits_own_retention_counts_instead() {
    let mut m = Machine::new();
    m.commit(OffsetCommit {
        retention_time_ms: 1_000,
        ..commit("", -1)
    });
    m.durable();
    m.pass(600_000);
    m.durable();
    assert_eq!(m.offset("g", "u", 0), -1);
}

#[test]
fn an_empty_groups_offsets_expire_after_it_became_empty() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.commit(commit_of(commit("c-a", 1), "t", 0, 1));
    m.durable();
    for _ in 0..9 * 24 * 450 {
        m.pass(8_000);
        m.heartbeat("c-a", 1);
    }
    m.durable();
    assert_eq!(m.offset("g", "t", 0), 1, "old, but subscribed to");
    m.leave(&[("c-a", None)]);
    m.durable();
    m.pass(7 * DAY_MS - 600_000);
    m.durable();
    assert_eq!(m.offset("g", "t", 0), 1);
    m.pass(1_200_000);
    m.durable();
    assert_eq!((m.offset("g", "t", 0), m.state()), (-1, "Dead"));
}

#[test]
fn a_stable_groups_offsets_expire_when_nobody_subscribes_to_the_topic() {
    let mut m = Machine::with(Config {
        offsets_retention_ms: 20_000,
        offsets_retention_check_interval_ms: 1_000,
        ..Config::default()
    });
    let a = m.join(join(3, "a"));
    m.pass(3_000);
    m.finish(&[a]);
    m.commit(commit("c-a", 1));
    m.commit(commit_of(commit("c-a", 1), "t", 0, 1));
    m.durable();
    for _ in 0..4 {
        m.pass(6_000);
        m.heartbeat("c-a", 1);
    }
    m.durable();
    assert_eq!(
        (m.offset("g", "u", 0), m.offset("g", "t", 0), m.state()),
        (-1, 1, "Stable")
    );
}

#[test]
fn an_offset_on_its_way_does_not_expire() {
    let mut m = Machine::with(Config {
        offsets_retention_ms: 20_000,
        offsets_retention_check_interval_ms: 1_000,
        ..Config::default()
    });
    m.commit(commit("", -1));
    m.durable();
    m.pass(19_500);
    m.commit(commit_of(commit("", -1), "u", 0, 8));
    m.pass(5_000);
    m.durable();
    assert_eq!(m.offset("g", "u", 0), 8);
}

#[test]
fn an_empty_group_without_offsets_goes_at_the_next_look() {
    let mut m = Machine::new();
    m.stable(&["a"]);
    m.leave(&[("c-a", None)]);
    m.durable();
    m.pass(600_000);
    assert_eq!(m.appends.len(), 1);
    m.fail(E::NotEnoughReplicas);
    assert_eq!(m.state(), "Empty");
    m.pass(600_000);
    m.durable();
    assert_eq!((m.state(), m.coordinator.next_deadline()), ("Dead", None));
    assert_eq!(m.log.last().unwrap(), &(b"\0\x02\0\x01g".to_vec(), None));
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    let mut m = Machine::new();
    m.commit(commit("", -1));
    m.commit(OffsetCommit {
        group_id: "h".into(),
        ..commit("", -1)
    });
    m.commit(commit_of(commit("", -1), "v", 0, 1));
    m.durable();
    m.commit(commit_of(commit("", -1), "u", 5, 1)); // on its way
    m.step(Input::TopicsDeleted(vec!["u".into(), "w".into()]));
    m.durable();
    assert_eq!(
        (
            m.offset("g", "u", 0),
            m.offset("g", "u", 5),
            m.offset("h", "u", 0),
            m.offset("g", "v", 0)
        ),
        (-1, -1, -1, 1)
    );
    m.pass(600_000);
    let left = m.coordinator.list(&[], &[]).len();
    assert_eq!(left, 1, "a simple group ends after its last offset");
}

#[test]
fn a_commit_that_takes_too_long_is_answered_and_counts_all_the_same() {
    let mut m = Machine::new();
    let token = m.commit(commit_of(commit("", -1), "t", 0, 5));
    m.step(Input::AppendLate(m.appends[0].id));
    assert_eq!(m.committed(token), E::CoordinatorNotAvailable);
    m.durable();
    assert_eq!(m.offset("g", "t", 0), 5);
}

#[test]
fn a_deletion_that_takes_too_long_still_opens_the_group_again() {
    let mut m = Machine::new();
    m.commit(commit_of(commit("", -1), "t", 0, 5));
    m.durable();
    let deletion = m.delete(&["g"]);
    let waiting = m.commit(commit_of(commit("", -1), "t", 0, 7));
    m.step(Input::AppendLate(m.appends[0].id));
    assert_eq!(m.deleted(deletion), [E::CoordinatorNotAvailable]);
    assert!(m.waits(waiting), "the deletion is not decided yet");
    m.durable();
    assert_eq!(m.committed(waiting), E::None);
    assert_eq!(m.offset("g", "t", 0), 7);
}
