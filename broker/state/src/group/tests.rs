//! Each error and each transition, one by one. What many clients do together is in `tests/group_sim.rs`.

mod admin;
mod join;
mod load;
mod offsets;
mod session;
mod static_members;

use super::record::Record;
use super::*;

use millstream_protocol::error::ErrorCode as E;

/// A coordinator with its log and its clock.
pub(super) struct Machine {
    pub coordinator: Coordinator,
    pub now: i64,
    pub replies: BTreeMap<Token, Reply>,
    pub appends: Vec<Append>,
    pub log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    last_token: u64,
}

impl Machine {
    /// Kafka's defaults, but without an initial delay.
    pub fn new() -> Machine {
        Machine::with(Config {
            initial_rebalance_delay_ms: 0,
            ..Config::default()
        })
    }

    pub fn with(config: Config) -> Machine {
        Machine::load(config, Vec::new(), 1_000)
    }

    pub fn load(config: Config, log: Vec<(Vec<u8>, Option<Vec<u8>>)>, now: i64) -> Machine {
        let mut coordinator = Coordinator::new(config);
        for (key, value) in &log {
            assert_eq!(
                coordinator.replay(key, value.as_deref()).unwrap(),
                Replayed::Applied
            );
        }
        let mut out = Effects::default();
        coordinator.loaded(now, &mut out);
        let mut machine = Machine {
            coordinator,
            now,
            replies: BTreeMap::new(),
            appends: Vec::new(),
            log,
            last_token: 0,
        };
        machine.take(out);
        machine
    }

    fn take(&mut self, out: Effects) {
        for (token, reply) in out.replies {
            assert!(self.replies.insert(token, reply).is_none(), "answered once");
        }
        self.appends.extend(out.appends);
        self.coordinator.verify();
    }

    pub fn step(&mut self, input: Input) {
        let mut out = Effects::default();
        self.coordinator.step(self.now, input, &mut out);
        self.take(out);
    }

    /// Sends a request.
    pub fn send(&mut self, input: impl FnOnce(Token) -> Input) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.step(input(token));
        token
    }

    /// All appends reach the log.
    pub fn durable(&mut self) {
        while !self.appends.is_empty() {
            let append = self.appends.remove(0);
            self.log.extend(append.records);
            self.step(Input::Appended(append.id));
        }
    }

    /// The oldest append fails.
    pub fn fail(&mut self, error: ErrorCode) {
        let append = self.appends.remove(0);
        self.step(Input::AppendFailed(append.id, error));
    }

    /// Time passes, with every tick on time.
    pub fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(deadline) = self
            .coordinator
            .next_deadline()
            .filter(|deadline| *deadline <= end)
        {
            self.now = deadline.max(self.now);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    pub fn waits(&self, token: Token) -> bool {
        !self.replies.contains_key(&token)
    }

    pub fn joined(&self, token: Token) -> &JoinReply {
        match &self.replies[&token] {
            Reply::Join(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub fn synced(&self, token: Token) -> &SyncReply {
        match &self.replies[&token] {
            Reply::Sync(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub fn join(&mut self, request: JoinGroup) -> Token {
        self.send(|token| Input::Join(token, request))
    }

    /// Joins and expects an answer at once.
    pub fn join_error(&mut self, request: JoinGroup) -> ErrorCode {
        let token = self.join(request);
        self.joined(token).error
    }

    pub fn sync(
        &mut self,
        member_id: &str,
        generation_id: i32,
        assignments: &[(&str, &str)],
    ) -> Token {
        let assignments = assignments
            .iter()
            .map(|(id, bytes)| ((*id).to_owned(), bytes.as_bytes().to_vec()))
            .collect();
        self.send(|token| {
            Input::Sync(
                token,
                SyncGroup {
                    assignments,
                    ..sync(member_id, generation_id)
                },
            )
        })
    }

    pub fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> ErrorCode {
        self.heartbeat_as(member_id, None, generation_id)
    }

    pub fn heartbeat_as(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation_id: i32,
    ) -> ErrorCode {
        let request = Heartbeat {
            group_id: "g".into(),
            member_id: member_id.into(),
            group_instance_id: instance.map(str::to_owned),
            generation_id,
        };
        let token = self.send(|token| Input::Heartbeat(token, request));
        match self.replies[&token] {
            Reply::Heartbeat(error) => error,
            ref other => panic!("{other:?}"),
        }
    }

    pub fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let member = |(id, instance): &(&str, Option<&str>)| LeavingMember {
            member_id: (*id).to_owned(),
            group_instance_id: instance.map(str::to_owned),
        };
        let request = LeaveGroup {
            group_id: "g".into(),
            members: members.iter().map(member).collect(),
        };
        let token = self.send(|token| Input::Leave(token, request));
        match &self.replies[&token] {
            Reply::Leave(reply) => {
                assert_eq!(reply.error, E::None);
                reply.members.iter().map(|(.., error)| *error).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn commit(&mut self, request: OffsetCommit) -> Token {
        self.send(|token| Input::OffsetCommit(token, request))
    }

    /// The one partition's outcome.
    pub fn committed(&self, token: Token) -> ErrorCode {
        match &self.replies[&token] {
            Reply::OffsetCommit(topics) => topics[0].partitions[0].1,
            other => panic!("{other:?}"),
        }
    }

    pub fn offset(&self, group: &str, topic: &str, partition: i32) -> i64 {
        let asked = [(topic.to_owned(), vec![partition])];
        self.coordinator
            .fetch_offsets(group, OffsetQuery::Some(&asked))[0]
            .partitions[0]
            .offset
    }

    pub fn delete(&mut self, groups: &[&str]) -> Token {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.send(|token| Input::DeleteGroups(token, groups))
    }

    pub fn deleted(&self, token: Token) -> Vec<ErrorCode> {
        match &self.replies[&token] {
            Reply::DeleteGroups(results) => results.iter().map(|(_, error)| *error).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub fn state(&self) -> &'static str {
        self.coordinator.describe("g", 0).state
    }

    pub fn member_ids(&self) -> Vec<String> {
        self.coordinator
            .describe("g", 0)
            .members
            .into_iter()
            .map(|member| member.member_id)
            .collect()
    }

    /// Brings group `g` to a stable generation 1 of version 3 members, named by their UUIDs; the first leads.
    pub fn stable(&mut self, names: &[&str]) {
        let joins: Vec<Token> = names.iter().map(|name| self.join(join(3, name))).collect();
        self.finish(&joins);
    }

    /// Ends the initial rebalance that these joins wait for, and assigns.
    pub fn finish(&mut self, joins: &[Token]) {
        self.pass(2 * i64::from(self.coordinator.config.initial_rebalance_delay_ms));
        let members: Vec<JoinReply> = joins
            .iter()
            .map(|token| self.joined(*token).clone())
            .collect();
        let leader = members
            .iter()
            .find(|reply| reply.leader == reply.member_id)
            .unwrap();
        let parts: Vec<(&str, &str)> = leader
            .members
            .iter()
            .map(|m| (m.member_id.as_str(), m.member_id.as_str()))
            .collect();
        for member in &members {
            let instance = leader
                .members
                .iter()
                .find(|m| m.member_id == member.member_id);
            let instance = instance.and_then(|m| m.group_instance_id.clone());
            let assignments = parts
                .iter()
                .map(|(id, part)| ((*id).to_owned(), part.as_bytes().to_vec()))
                .collect();
            let request = SyncGroup {
                group_instance_id: instance,
                assignments: if member.member_id == leader.member_id {
                    assignments
                } else {
                    Vec::new()
                },
                ..sync(&member.member_id, member.generation_id)
            };
            self.send(|token| Input::Sync(token, request));
        }
        self.durable();
        assert_eq!(self.state(), "Stable");
    }
}

/// A first join to group `g`; the member id will be `c-` and the name.
pub(super) fn join(api_version: i16, name: &str) -> JoinGroup {
    JoinGroup {
        group_id: "g".into(),
        member_id: String::new(),
        group_instance_id: None,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        api_version,
        uuid: name.into(),
    }
}

/// A join of a member that has its id.
pub(super) fn rejoin(api_version: i16, member_id: &str) -> JoinGroup {
    JoinGroup {
        member_id: member_id.into(),
        ..join(api_version, "unused")
    }
}

/// A first join of a static member; the member id will be instance, `-` and name.
pub(super) fn join_static(api_version: i16, instance: &str, name: &str) -> JoinGroup {
    JoinGroup {
        group_instance_id: Some(instance.into()),
        ..join(api_version, name)
    }
}

/// Protocols that subscribe to the topic `t`.
pub(super) fn protocols(names: &[&str]) -> Vec<Protocol> {
    let metadata = vec![0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
    names
        .iter()
        .map(|name| Protocol {
            name: (*name).into(),
            metadata: metadata.clone(),
        })
        .collect()
}

pub(super) fn sync(member_id: &str, generation_id: i32) -> SyncGroup {
    SyncGroup {
        group_id: "g".into(),
        member_id: member_id.into(),
        group_instance_id: None,
        generation_id,
        protocol_type: None,
        protocol_name: None,
        assignments: Vec::new(),
    }
}

/// A commit of offset 7 for partition 0 of topic `u`, which nobody subscribes to.
pub(super) fn commit(member_id: &str, generation_id: i32) -> OffsetCommit {
    let partition = CommitPartition {
        index: 0,
        offset: 7,
        leader_epoch: 3,
        metadata: Some("note".into()),
        error: E::None,
    };
    OffsetCommit {
        group_id: "g".into(),
        member_id: member_id.into(),
        group_instance_id: None,
        generation_id,
        retention_time_ms: -1,
        api_version: 9,
        topics: vec![CommitTopic {
            name: "u".into(),
            topic_id: [0; 16],
            partitions: vec![partition],
        }],
    }
}

/// A commit of one partition of one topic.
pub(super) fn commit_of(
    mut request: OffsetCommit,
    topic: &str,
    partition: i32,
    offset: i64,
) -> OffsetCommit {
    request.topics[0].name = topic.into();
    request.topics[0].partitions[0].index = partition;
    request.topics[0].partitions[0].offset = offset;
    request
}
