//! What must hold after every event, checked from outside: against the requests, the replies and the log.

use std::collections::{BTreeMap, BTreeSet};

use millstream_protocol::error::ErrorCode;
use millstream_state::group::record::{GroupValue, OffsetValue, Record};
use millstream_state::group::{
    Coordinator, Input, JoinReply, OffsetCommit, OffsetQuery, Reply, Token, TopicResult,
};

use super::world::{LogRecord, Seen};

#[derive(Default)]
pub struct Invariants {
    group_max_size: usize,
    open: BTreeMap<Token, Input>,
    closed: BTreeSet<Token>,
    /// How much of the log was read, and what it says.
    read: usize,
    offsets: BTreeMap<String, BTreeMap<(String, i32), OffsetValue>>,
    groups: BTreeMap<String, GroupValue>,
    /// All offsets ever in the log: (group, topic, partition, offset).
    ever: BTreeSet<(String, String, i32, i64)>,
    /// (group, member) → the generation it joined last.
    joined: BTreeMap<(String, String), i32>,
    /// Group → the newest generation anybody joined, since the last load or deletion.
    newest: BTreeMap<String, i32>,
    /// Group → how many of its records failed since it was last seen to be as the log has it. After one failure the
    /// group goes back to what the log has; if the record that corrects the log fails too, it waits for the next look.
    failures: BTreeMap<String, u32>,
    /// (group, generation, member) → its assignment, since the last load or deletion.
    assigned: BTreeMap<(String, i32, String), Vec<u8>>,
}

impl Invariants {
    pub fn new(group_max_size: usize) -> Invariants {
        Invariants {
            group_max_size,
            ..Invariants::default()
        }
    }

    pub fn asked(&mut self, token: Token, input: &Input) {
        self.open.insert(token, input.clone());
    }

    pub fn answered(&mut self, token: Token, reply: &Reply, log: &[LogRecord], seen: &mut Seen) {
        self.read_log(log);
        assert!(
            self.closed.insert(token),
            "answered once: {token:?} {reply:?}"
        );
        let Some(input) = self.open.remove(&token) else {
            panic!("answered unasked: {token:?} {reply:?}")
        };
        match (input, reply) {
            (Input::Join(_, request), Reply::Join(reply)) => {
                self.joined(&request.group_id, reply, seen)
            }
            (Input::Sync(_, request), Reply::Sync(reply)) => {
                seen.count(format!("sync {:?}", reply.error));
                if reply.error == ErrorCode::None {
                    self.synced(
                        &request.group_id,
                        request.generation_id,
                        &request.member_id,
                        &reply.assignment,
                    );
                }
            }
            (Input::Heartbeat(_, request), Reply::Heartbeat(error)) => {
                seen.count(format!("heartbeat {error:?}"));
                if *error == ErrorCode::None {
                    let newest = self.newest.get(&request.group_id).copied().unwrap_or(0);
                    assert!(
                        request.generation_id >= newest,
                        "only the newest generation lives: {request:?} {newest}"
                    );
                }
            }
            (Input::Leave(..), Reply::Leave(reply)) => {
                reply
                    .members
                    .iter()
                    .for_each(|(.., error)| seen.count(format!("leave {error:?}")));
            }
            (Input::OffsetCommit(_, request), Reply::OffsetCommit(results)) => {
                self.committed(&request, results, seen)
            }
            (Input::OffsetDelete(..), Reply::OffsetDelete(reply)) => {
                seen.count(format!("offset delete {:?}", reply.error))
            }
            (Input::DeleteGroups(_, ids), Reply::DeleteGroups(results)) => {
                assert!(
                    ids.iter().eq(results.iter().map(|(id, _)| id)),
                    "one result per id"
                );
                results
                    .iter()
                    .for_each(|(_, error)| seen.count(format!("delete {error:?}")));
            }
            (input, reply) => panic!("answered with something else: {input:?} {reply:?}"),
        }
    }

    fn joined(&mut self, group: &str, reply: &JoinReply, seen: &mut Seen) {
        seen.count(format!("join {:?}", reply.error));
        if reply.error != ErrorCode::None {
            assert!(
                reply.members.is_empty() && reply.generation_id == -1,
                "a refusal tells nothing: {reply:?}"
            );
            return;
        }
        let newest = self.newest.entry(group.to_owned()).or_default();
        assert!(
            reply.generation_id >= *newest,
            "a generation never goes back: {reply:?} after {newest}"
        );
        *newest = reply.generation_id;
        self.joined.insert(
            (group.to_owned(), reply.member_id.clone()),
            reply.generation_id,
        );
        if !reply.members.is_empty() {
            let ids: Vec<&str> = reply
                .members
                .iter()
                .map(|member| member.member_id.as_str())
                .collect();
            assert_eq!(
                reply.leader, reply.member_id,
                "only the leader is told the members"
            );
            assert!(
                ids.contains(&reply.leader.as_str()),
                "the leader is a member: {reply:?}"
            );
        }
        if reply.skip_assignment {
            assert!(!reply.members.is_empty(), "only a leader skips: {reply:?}");
            seen.count("join skip".into());
        }
    }

    /// An assignment is told only when it is in the log, and is the same for everybody who asks.
    fn synced(&mut self, group: &str, generation: i32, member: &str, assignment: &[u8]) {
        let newest = self.newest.get(group).copied().unwrap_or(0);
        assert!(
            generation >= newest,
            "one generation's assignment is live: {group} {generation} {newest}"
        );
        let key = (group.to_owned(), generation, member.to_owned());
        let told = self
            .assigned
            .entry(key)
            .or_insert_with(|| assignment.to_vec());
        assert_eq!(
            told, assignment,
            "one assignment for a member of a generation"
        );
        let durable = self.groups.get(group).expect("the group is in the log");
        assert_eq!(
            durable.generation, generation,
            "the log has the generation that was told"
        );
        let durable = durable
            .members
            .iter()
            .find(|value| value.member_id == member)
            .expect("the member is in the log");
        assert_eq!(
            durable.assignment, assignment,
            "the log has the assignment that was told"
        );
    }

    fn committed(&mut self, request: &OffsetCommit, results: &[TopicResult], seen: &mut Seen) {
        for (topic, result) in request.topics.iter().zip(results) {
            assert_eq!(
                (&topic.name, topic.partitions.len()),
                (&result.name, result.partitions.len())
            );
            for (partition, (index, error)) in topic.partitions.iter().zip(&result.partitions) {
                seen.count(format!("commit {error:?}"));
                assert_eq!(partition.index, *index, "same order as asked");
                let record = (
                    request.group_id.clone(),
                    topic.name.clone(),
                    *index,
                    partition.offset,
                );
                if *error == ErrorCode::None {
                    assert!(
                        self.ever.contains(&record),
                        "an acknowledged offset is in the log: {record:?}"
                    );
                }
                if partition.error != ErrorCode::None {
                    assert_eq!(
                        *error, partition.error,
                        "what the caller found is handed back"
                    );
                    assert!(
                        !self.ever.contains(&record),
                        "a refused offset is not in the log: {record:?}"
                    );
                }
            }
        }
    }

    /// After every event.
    pub fn check(
        &mut self,
        coordinator: &Coordinator,
        log: &[LogRecord],
        nothing_under_way: bool,
        seen: &mut Seen,
    ) {
        self.read_log(log);
        coordinator.verify();
        let open: BTreeSet<Token> = self.open.keys().copied().collect();
        assert_eq!(
            coordinator.open_requests(),
            open,
            "every open request is held somewhere"
        );
        self.check_offsets(coordinator);
        for listed in coordinator.list(&[], &[]) {
            seen.count(format!("state {}", listed.state));
            let described = coordinator.describe(&listed.group_id, 6);
            assert_eq!(described.state, listed.state);
            if listed.state == "Empty" {
                assert!(described.members.is_empty());
            }
            if listed.state != "Stable" {
                continue;
            }
            let newest = self.newest.get(&listed.group_id).copied().unwrap_or(0);
            for member in &described.members {
                let joined = self
                    .joined
                    .get(&(listed.group_id.clone(), member.member_id.clone()))
                    .copied();
                let absent = member.group_instance_id.is_some()
                    && joined.is_none_or(|joined| joined < newest);
                assert!(
                    absent || joined == Some(newest),
                    "members of a stable group are of one generation: {member:?}"
                );
            }
            if nothing_under_way {
                let durable = self
                    .groups
                    .get(&listed.group_id)
                    .expect("a stable group is in the log");
                let durable: BTreeMap<&str, &[u8]> = durable
                    .members
                    .iter()
                    .map(|member| (member.member_id.as_str(), &member.assignment[..]))
                    .collect();
                let live: BTreeMap<&str, &[u8]> = described
                    .members
                    .iter()
                    .map(|member| (member.member_id.as_str(), &member.assignment[..]))
                    .collect();
                if live == durable {
                    self.failures.remove(&listed.group_id);
                } else {
                    let excused = self.may_differ(&listed.group_id);
                    assert!(
                        excused,
                        "a stable group is as the log has it: {live:?} {durable:?}"
                    );
                }
            }
        }
    }

    /// What can be fetched is exactly what the log says.
    fn check_offsets(&self, coordinator: &Coordinator) {
        for (group, offsets) in &self.offsets {
            let fetched: BTreeMap<(String, i32), i64> = coordinator
                .fetch_offsets(group, OffsetQuery::All)
                .into_iter()
                .flat_map(|topic| {
                    topic
                        .partitions
                        .into_iter()
                        .map(move |p| ((topic.name.clone(), p.index), p.offset))
                })
                .collect();
            let expected = offsets
                .iter()
                .map(|(key, value)| (key.clone(), value.offset))
                .collect();
            assert_eq!(fetched, expected, "committed offsets of {group}");
        }
    }

    /// A coordinator loaded from the log is the one that wrote it, as far as it was durable.
    pub fn reloaded(
        &mut self,
        last: &Coordinator,
        next: &Coordinator,
        nothing_under_way: bool,
        log: &[LogRecord],
        seen: &mut Seen,
    ) {
        self.read_log(log);
        self.check_offsets(next);
        for listed in last.list(&["stable".into()], &[]) {
            let described = last.describe(&listed.group_id, 6);
            // Members that come beside absent static ones can take a group over its limit; loading starts a rebalance.
            if nothing_under_way
                && described.members.len() <= self.group_max_size
                && !self.may_differ(&listed.group_id)
            {
                seen.count("stable reloaded".into());
                assert_eq!(
                    described,
                    next.describe(&listed.group_id, 6),
                    "a stable group comes back"
                );
            }
        }
        self.failures.clear();
        self.joined.clear();
        self.newest.clear();
        self.assigned.clear();
        for (group, value) in &self.groups {
            self.newest.insert(group.clone(), value.generation);
            for member in &value.members {
                self.joined
                    .insert((group.clone(), member.member_id.clone()), value.generation);
                let key = (group.clone(), value.generation, member.member_id.clone());
                self.assigned.insert(key, member.assignment.clone());
            }
        }
    }

    pub fn append_failed(&mut self, records: &[LogRecord]) {
        for (key, value) in records {
            if let Ok(Record::Group { group, .. }) = Record::read(key, value.as_deref()) {
                *self.failures.entry(group).or_default() += 1;
            }
        }
    }

    fn may_differ(&self, group: &str) -> bool {
        self.failures
            .get(group)
            .is_some_and(|failures| *failures > 1)
    }

    pub fn forget_open(&mut self) {
        self.open.clear();
    }

    pub fn assert_nothing_open(&self) {
        assert!(
            self.open.is_empty(),
            "every request is answered: {:?}",
            self.open
        );
    }

    fn read_log(&mut self, log: &[LogRecord]) {
        for (key, value) in &log[self.read..] {
            match Record::read(key, value.as_deref()).expect("our own records") {
                Record::Offset {
                    group,
                    topic,
                    partition,
                    value,
                } => {
                    let offsets = self.offsets.entry(group.clone()).or_default();
                    match value {
                        Some(value) => {
                            self.ever
                                .insert((group, topic.clone(), partition, value.offset));
                            offsets.insert((topic, partition), value);
                        }
                        None => drop(offsets.remove(&(topic, partition))),
                    }
                }
                Record::Group {
                    group,
                    value: Some(value),
                } => drop(self.groups.insert(group, value)),
                Record::Group { group, value: None } => {
                    // It may still show members: the record of their leaving is best effort, as it is Kafka's.
                    self.groups.remove(&group);
                    assert!(
                        self.offsets.get(&group).is_none_or(BTreeMap::is_empty),
                        "offsets go with their group: {group}"
                    );
                    self.newest.remove(&group);
                    self.joined.retain(|(of, _), _| *of != group);
                    self.assigned.retain(|(of, ..), _| *of != group);
                }
                Record::Other(kind) => panic!("record type {kind} is not ours"),
            }
        }
        self.read = log.len();
    }
}
