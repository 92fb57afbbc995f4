//! KIP-227 case by case, and random clients against a broker that always sends everything.

use std::collections::BTreeMap;

use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::*;

fn sessions(slots: usize) -> FetchSessions {
    FetchSessions::new(slots, 1..i32::MAX, 42)
}

fn key(topic: u8, partition: i32) -> PartitionKey {
    (TopicKey::Id(Uuid([topic; 16])), partition)
}

fn wanted(topic: u8, partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        topic: key(topic, partition).0,
        partition,
        current_leader_epoch: -1,
        fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
    }
}

fn result(high_watermark: i64, records_bytes: usize) -> PartitionResult {
    PartitionResult {
        error: ErrorCode::None,
        high_watermark,
        last_stable_offset: high_watermark,
        log_start_offset: 0,
        records_bytes,
        has_diverging_epoch: false,
        has_preferred_read_replica: false,
    }
}

fn metadata(session_id: i32, session_epoch: i32) -> FetchMetadata {
    FetchMetadata {
        session_id,
        session_epoch,
        uses_topic_ids: true,
        from_follower: false,
    }
}

/// A full fetch of `count` partitions at `now`; returns the session's id.
fn full(sessions: &mut FetchSessions, metadata: FetchMetadata, count: i32, now: i64) -> i32 {
    let mut context = sessions.open(
        metadata,
        (0..count).map(|index| wanted(1, index, 0)),
        [],
        now,
    );
    let results = vec![result(5, 0); count as usize];
    let answer = sessions.respond(&mut context, &results, now);
    assert_eq!(
        answer.included.len(),
        count as usize,
        "a full fetch is answered in full"
    );
    sessions.finish(context);
    answer.session_id
}

fn order(context: &FetchContext) -> Vec<i32> {
    context
        .partitions()
        .map(|partition| partition.partition)
        .collect()
}

#[test]
fn a_response_lists_what_changed() {
    let mut sessions = sessions(10);
    let id = full(&mut sessions, metadata(0, INITIAL_EPOCH), 8, 0);
    assert!(id > 0);
    let mut context = sessions.open(metadata(id, 1), [], [], 0);
    assert_eq!(order(&context), [0, 1, 2, 3, 4, 5, 6, 7]);
    let same = result(5, 0);
    let results = [
        same,
        result(6, 10),
        PartitionResult {
            high_watermark: 6,
            ..same
        },
        PartitionResult {
            log_start_offset: 1,
            ..same
        },
        PartitionResult {
            last_stable_offset: 4,
            ..same
        },
        PartitionResult {
            error: ErrorCode::NotLeaderOrFollower,
            ..same
        },
        PartitionResult {
            has_diverging_epoch: true,
            ..same
        },
        PartitionResult {
            has_preferred_read_replica: true,
            ..same
        },
    ];
    let answer = sessions.respond(&mut context, &results, 0);
    assert_eq!(
        answer,
        FetchAnswer {
            error: ErrorCode::None,
            session_id: id,
            included: (1..8).collect()
        }
    );
    assert_eq!(
        order(&context),
        [0, 1, 2, 3, 4, 5, 6, 7],
        "places stand until the response is written"
    );
    sessions.finish(context);
    // Partition 1 gave data and goes to the end; partition 5 was in error and must be told again though nothing moved.
    let mut context = sessions.open(metadata(id, 2), [], [], 0);
    assert_eq!(order(&context), [0, 2, 3, 4, 5, 6, 7, 1]);
    let told = |partition: i32| match partition {
        1 | 2 => PartitionResult {
            high_watermark: 6,
            last_stable_offset: if partition == 1 { 6 } else { 5 },
            ..same
        },
        3 => results[3],
        4 => results[4],
        _ => same,
    };
    let results: Vec<_> = order(&context).into_iter().map(told).collect();
    let answer = sessions.respond(&mut context, &results, 0);
    let listed: Vec<i32> = answer
        .included
        .iter()
        .map(|place| order(&context)[*place as usize])
        .collect();
    assert_eq!(listed, [5]);
}

#[test]
fn requests_add_change_and_forget() {
    let mut sessions = sessions(10);
    let id = full(&mut sessions, metadata(0, INITIAL_EPOCH), 3, 0);
    let context = sessions.open(
        metadata(id, 1),
        [wanted(1, 1, 77), wanted(2, 9, 1)],
        [key(1, 0), key(7, 7)],
        0,
    );
    assert_eq!(order(&context), [1, 2, 9]);
    assert_eq!(
        context.partition(0).map(|partition| partition.fetch_offset),
        Some(77)
    );
    assert_eq!(context.partition(3), None);
    sessions.finish(context);
    let mut context = sessions.open(metadata(id, 2), [wanted(1, 0, 5)], [], 0);
    assert_eq!(
        order(&context),
        [1, 2, 9, 0],
        "what comes back stands at the end"
    );
    let answer = sessions.respond(&mut context, &[result(5, 0); 4], 0);
    assert_eq!(answer.included, [2, 3], "what is new is told");
    sessions.finish(context);
    assert_eq!(sessions.partition_count(), 4);
    // A session that wants nothing any more is closed.
    let forgotten = [key(1, 0), key(1, 1), key(1, 2), key(2, 9)];
    let mut context = sessions.open(metadata(id, 3), [], forgotten, 0);
    let answer = sessions.respond(&mut context, &[], 0);
    assert_eq!(
        (answer.error, answer.session_id),
        (ErrorCode::None, INVALID_SESSION_ID)
    );
    assert_eq!((sessions.len(), sessions.partition_count()), (0, 0));
}

#[test]
fn refusals() {
    use ErrorCode::{FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch};
    let mut sessions = sessions(10);
    let id = full(&mut sessions, metadata(0, INITIAL_EPOCH), 3, 0);
    let by_name = FetchMetadata {
        uses_topic_ids: false,
        ..metadata(id, 1)
    };
    let table = [
        (metadata(id.wrapping_add(1), 1), FetchSessionIdNotFound),
        (metadata(0, 1), FetchSessionIdNotFound),
        (metadata(id, 2), InvalidFetchSessionEpoch),
        (metadata(id, -7), InvalidFetchSessionEpoch),
        (by_name, FetchSessionTopicIdError),
    ];
    for (metadata, error) in table {
        let mut context = sessions.open(metadata, [wanted(1, 1, 1)], [], 0);
        assert_eq!(context.error(), Some(error), "{metadata:?}");
        assert!(context.is_empty());
        let answer = sessions.respond(&mut context, &[], 0);
        assert_eq!(
            answer,
            FetchAnswer {
                error,
                session_id: INVALID_SESSION_ID,
                included: Vec::new()
            }
        );
        sessions.finish(context);
    }
    // The session is as it was.
    let context = sessions.open(metadata(id, 1), [], [], 0);
    assert_eq!(context.error(), None);
    assert_eq!(sessions.respond_throttled(&context).session_id, id);
    // While that one waits, a second request of the session cannot be served; nor after it was dropped.
    assert_eq!(
        sessions.open(metadata(id, 2), [], [], 0).error(),
        Some(InvalidFetchSessionEpoch)
    );
    drop(context);
    assert_eq!(
        sessions.open(metadata(id, 2), [], [], 0).error(),
        Some(InvalidFetchSessionEpoch)
    );
    assert!(
        full(&mut sessions, metadata(id, INITIAL_EPOCH), 3, 0) > 0,
        "the client starts anew"
    );
    assert_eq!(sessions.len(), 1);
}

#[test]
fn a_full_fetch_closes_the_session_it_names() {
    let mut sessions = sessions(10);
    let id = full(&mut sessions, metadata(0, INITIAL_EPOCH), 3, 0);
    assert_eq!(
        full(&mut sessions, metadata(id, FINAL_EPOCH), 3, 0),
        INVALID_SESSION_ID
    );
    assert!(sessions.is_empty());
    assert_eq!(
        full(&mut sessions, metadata(0, FINAL_EPOCH), 3, 0),
        INVALID_SESSION_ID
    );
    // A fetch that is on its way when its session is closed is still answered.
    let id = full(&mut sessions, metadata(0, INITIAL_EPOCH), 1, 0);
    let mut context = sessions.open(metadata(id, 1), [], [], 0);
    full(&mut sessions, metadata(id, FINAL_EPOCH), 1, 0);
    let answer = sessions.respond(&mut context, &[result(9, 1)], 0);
    assert_eq!(
        answer,
        FetchAnswer {
            error: ErrorCode::None,
            session_id: id,
            included: vec![0]
        }
    );
    sessions.finish(context);
    assert!(sessions.is_empty());
}

#[test]
fn a_partition_named_twice_makes_no_session() {
    let mut sessions = sessions(10);
    let twice = [wanted(1, 0, 0), wanted(1, 0, 0)];
    let mut context = sessions.open(metadata(0, INITIAL_EPOCH), twice, [], 0);
    let answer = sessions.respond(&mut context, &[result(5, 0); 2], 0);
    assert_eq!(
        (answer.session_id, answer.included.len()),
        (INVALID_SESSION_ID, 2)
    );
    assert!(sessions.is_empty());
}

#[test]
fn epochs_wrap_to_one() {
    assert_eq!(
        [
            next_epoch(0),
            next_epoch(1),
            next_epoch(i32::MAX - 1),
            next_epoch(i32::MAX)
        ],
        [1, 2, i32::MAX, 1]
    );
}

#[test]
fn who_gives_way() {
    let follower = FetchMetadata {
        from_follower: true,
        ..metadata(0, INITIAL_EPOCH)
    };
    let consumer = metadata(0, INITIAL_EPOCH);
    let mut sessions = sessions(2);
    let small = full(&mut sessions, consumer, 2, 0);
    let large = full(&mut sessions, consumer, 20, 0);
    // Young sessions stay, whatever their size.
    assert_eq!(
        full(&mut sessions, consumer, 50, EVICTION_MS),
        INVALID_SESSION_ID
    );
    // A follower displaces the smaller consumer at once.
    let replica = full(&mut sessions, follower, 1, EVICTION_MS);
    assert!(replica > 0);
    assert_eq!(
        sessions.open(metadata(small, 1), [], [], 0).error(),
        Some(ErrorCode::FetchSessionIdNotFound)
    );
    // Old enough and used: gives way to more partitions only.
    let now = EVICTION_MS + 1;
    let context = sessions.open(metadata(large, 1), [], [], now);
    sessions.finish(context);
    assert_eq!(
        full(&mut sessions, consumer, 20, now),
        INVALID_SESSION_ID,
        "equal worth goes without"
    );
    let larger = full(&mut sessions, consumer, 21, now);
    assert!(larger > 0);
    // Unused for longer than the limit: gives way to anyone, followers too.
    let now = EVICTION_MS + EVICTION_MS + 2;
    assert!(full(&mut sessions, consumer, 1, now) > 0);
    assert_eq!((sessions.len(), sessions.evictions()), (2, 3));
    assert!(
        full(&mut FetchSessions::new(0, 1..2, 0), consumer, 1, 0) == INVALID_SESSION_ID,
        "no slots, no sessions"
    );
}

#[test]
fn all_sessions_together_are_bounded() {
    let mut sessions = sessions(10);
    let id = full(&mut sessions, metadata(0, INITIAL_EPOCH), 600_000, 0);
    assert!(id > 0);
    assert_eq!(
        full(&mut sessions, metadata(0, INITIAL_EPOCH), 600_000, 0),
        INVALID_SESSION_ID
    );
    let more = (0..600_000).map(|index| wanted(2, index, 0));
    let context = sessions.open(metadata(id, 1), more, [], 0);
    assert_eq!(
        context.error(),
        Some(ErrorCode::FetchSessionIdNotFound),
        "the client starts anew without one"
    );
    assert_eq!(sessions.partition_count(), 0);
}

/// A client with a session sees the same watermarks as one that is told everything each time.
#[test]
fn a_client_in_a_session_knows_what_it_would_without() {
    let seed = std::env::var("FETCH_SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(0..60, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        assert!(outcome.is_ok(), "failed with FETCH_SIM_SEED={seed}");
    }
}

#[derive(Default)]
struct Client {
    session_id: i32,
    epoch: i32,
    wants: BTreeMap<i32, i64>,
    /// What it sent last, as the broker should remember it.
    sent: BTreeMap<i32, i64>,
    knows: BTreeMap<i32, i64>,
}

fn simulate(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut sessions = sessions(3);
    let mut truth: Vec<i64> = vec![0; 12];
    let mut clients: Vec<Client> = (0..5).map(|_| Client::default()).collect();
    let mut now = 0;
    for _ in 0..400 {
        now += random.random_range(0..EVICTION_MS / 8);
        for _ in 0..random.random_range(0..3) {
            truth[random.random_range(0..12)] += 1;
        }
        let client = clients.choose_mut(&mut random).expect("not empty");
        match random.random_range(0..10) {
            0 => drop(client.wants.remove(&random.random_range(0..12))),
            1..4 => drop(
                client
                    .wants
                    .insert(random.random_range(0..12), random.random_range(0..99)),
            ),
            _ => {}
        }
        if !client.wants.is_empty() {
            fetch(&mut sessions, client, &truth, &mut random, now);
        }
        assert!(sessions.len() <= 3, "slots_are_bounded");
    }
}

fn fetch(
    sessions: &mut FetchSessions,
    client: &mut Client,
    truth: &[i64],
    random: &mut ChaCha8Rng,
    now: i64,
) {
    let is_full = client.epoch == INITIAL_EPOCH;
    let changed = |(index, offset): (&i32, &i64)| {
        (is_full || client.sent.get(index) != Some(offset)).then(|| wanted(1, *index, *offset))
    };
    let partitions: Vec<_> = client.wants.iter().filter_map(changed).collect();
    let gone: Vec<_> = client
        .sent
        .keys()
        .filter(|index| !client.wants.contains_key(index))
        .map(|i| key(1, *i))
        .collect();
    let mut context = sessions.open(
        metadata(client.session_id, client.epoch),
        partitions,
        gone,
        now,
    );
    if context.error().is_some() {
        *client = Client {
            wants: std::mem::take(&mut client.wants),
            ..Client::default()
        };
        return;
    }
    let read: BTreeMap<i32, i64> = context
        .partitions()
        .map(|p| (p.partition, p.fetch_offset))
        .collect();
    assert_eq!(
        read, client.wants,
        "the_session_holds_what_the_client_wants"
    );
    assert_eq!(read.len(), context.len(), "no_partition_is_read_twice");
    let results: Vec<_> = context
        .partitions()
        .map(|p| result(truth[p.partition as usize], random.random_range(0..2)))
        .collect();
    let answer = sessions.respond(&mut context, &results, now);
    assert_eq!(answer.error, ErrorCode::None);
    for place in &answer.included {
        let index = context
            .partition(*place as usize)
            .expect("a place of the context")
            .partition;
        client.knows.insert(index, truth[index as usize]);
    }
    client
        .knows
        .retain(|index, _| client.wants.contains_key(index));
    let expected: BTreeMap<i32, i64> = client
        .wants
        .keys()
        .map(|index| (*index, truth[*index as usize]))
        .collect();
    assert_eq!(client.knows, expected, "the_client_knows_every_watermark");
    client.sent = client.wants.clone();
    client.session_id = answer.session_id;
    client.epoch = if answer.session_id == INVALID_SESSION_ID {
        INITIAL_EPOCH
    } else {
        next_epoch(client.epoch)
    };
    // Now and then the connection dies before the answer is written.
    if random.random_bool(0.9) {
        sessions.finish(context);
    }
}
