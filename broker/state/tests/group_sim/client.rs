//! A group member as real clients behave, old and new ones, with their crashes and their haste.

use millstream_protocol::error::ErrorCode;
use millstream_state::group::{
    CommitPartition, CommitTopic, Heartbeat, Input, JoinGroup, JoinReply, LeaveGroup,
    LeavingMember, OffsetCommit, Protocol, Reply, SyncGroup, Token,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub const TOPICS: [&str; 3] = ["apples", "pears", "plums"];

/// What a client believes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Has to join.
    Out,
    /// Has joined, has to sync.
    Joined,
    /// Has its assignment.
    Assigned,
}

#[derive(Debug)]
pub struct Client {
    pub group: String,
    pub instance: Option<String>,
    pub version: i16,
    pub phase: Phase,
    pub member_id: String,
    pub generation_id: i32,
    /// Assignments to send with the next SyncGroup, if leader.
    pub to_assign: Vec<String>,
    /// The open request and when it is given up.
    pub waiting: Option<(Token, i64)>,
    pub topics: Vec<&'static str>,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocols: Vec<&'static str>,
    /// Rises with every commit, so that each can be told apart.
    pub position: i64,
}

impl Client {
    pub fn new(group: String, number: usize, rng: &mut ChaCha8Rng) -> Client {
        let protocols = [
            vec!["range"],
            vec!["range", "sticky"],
            vec!["sticky", "range"],
        ];
        Client {
            group,
            instance: rng
                .random_bool(0.3)
                .then(|| format!("instance-{}", number % 4)),
            version: *pick(&[0, 1, 3, 4, 5, 9], rng),
            phase: Phase::Out,
            member_id: String::new(),
            generation_id: -1,
            to_assign: Vec::new(),
            waiting: None,
            topics: TOPICS
                .into_iter()
                .filter(|_| rng.random_bool(0.5))
                .collect(),
            session_timeout_ms: rng.random_range(6_000..12_000),
            rebalance_timeout_ms: if rng.random_bool(0.2) {
                -1
            } else {
                rng.random_range(5_000..20_000)
            },
            protocols: pick(&protocols, rng).clone(),
            position: number as i64 * 1_000_000,
        }
    }

    /// The process died: it comes back knowing nothing but its configuration.
    pub fn restart(&mut self) {
        self.phase = Phase::Out;
        self.member_id.clear();
        self.generation_id = -1;
        self.waiting = None;
    }

    /// The next request, and in how many ms to look again.
    pub fn next_request(&mut self, token: Token, now: i64, rng: &mut ChaCha8Rng) -> Option<Input> {
        match self.phase {
            Phase::Out => Some(Input::Join(token, self.join(token, rng))),
            Phase::Joined => match rng.random_range(0..10) {
                0 => Some(Input::Heartbeat(token, self.heartbeat())),
                1 => Some(Input::OffsetCommit(token, self.commit(rng))),
                2 => None,
                _ => Some(Input::Sync(token, self.sync(now))),
            },
            Phase::Assigned => match rng.random_range(0..100) {
                0..50 => Some(Input::Heartbeat(token, self.heartbeat())),
                50..85 => Some(Input::OffsetCommit(token, self.commit(rng))),
                85..88 => Some(Input::Leave(token, self.leave())),
                88..90 => {
                    self.restart();
                    None
                }
                90..94 => {
                    if rng.random_bool(0.5) {
                        self.topics = TOPICS
                            .into_iter()
                            .filter(|_| rng.random_bool(0.5))
                            .collect();
                    }
                    Some(Input::Join(token, self.join(token, rng)))
                }
                94..96 => Some(Input::Sync(token, self.sync(now))),
                _ => None,
            },
        }
    }

    fn join(&self, token: Token, rng: &mut ChaCha8Rng) -> JoinGroup {
        let metadata = if rng.random_bool(0.01) {
            vec![9]
        } else {
            subscription(&self.topics)
        };
        JoinGroup {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: self
                .protocols
                .iter()
                .map(|name| Protocol {
                    name: (*name).into(),
                    metadata: metadata.clone(),
                })
                .collect(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            api_version: self.version,
            uuid: format!("uuid-{}", token.0),
        }
    }

    fn sync(&self, now: i64) -> SyncGroup {
        let assignment = |member: &String| {
            (
                member.clone(),
                format!("{member} in {} at {now}", self.generation_id).into_bytes(),
            )
        };
        SyncGroup {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            generation_id: self.generation_id,
            protocol_type: Some("consumer".into()).filter(|_| self.version >= 5),
            protocol_name: None,
            assignments: self.to_assign.iter().map(assignment).collect(),
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            generation_id: self.generation_id,
        }
    }

    fn leave(&self) -> LeaveGroup {
        let member = LeavingMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
        };
        LeaveGroup {
            group_id: self.group.clone(),
            members: vec![member],
        }
    }

    fn commit(&mut self, rng: &mut ChaCha8Rng) -> OffsetCommit {
        let mut commit = commit_from_outside(&self.group, &mut self.position, rng);
        commit.member_id = self.member_id.clone();
        commit.group_instance_id = self.instance.clone();
        commit.generation_id = self.generation_id;
        commit
    }

    /// Takes the answer to the open request.
    pub fn take(&mut self, reply: &Reply) {
        self.waiting = None;
        let error = match reply {
            Reply::Join(reply) => return self.take_join(reply),
            Reply::Sync(reply) => reply.error,
            Reply::Heartbeat(error) => *error,
            Reply::OffsetCommit(topics) => topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|result| result.1)
                .max()
                .unwrap_or(ErrorCode::None),
            Reply::Leave(_) => return self.restart(),
            other => panic!("no client asked for {other:?}"),
        };
        match error {
            ErrorCode::None if matches!(reply, Reply::Sync(_)) => self.phase = Phase::Assigned,
            ErrorCode::None
            | ErrorCode::OffsetMetadataTooLarge
            | ErrorCode::UnknownTopicOrPartition => {}
            ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorNotAvailable => {
                self.phase = Phase::Out
            }
            _ => self.restart(),
        }
    }

    fn take_join(&mut self, reply: &JoinReply) {
        match reply.error {
            ErrorCode::None => {
                self.member_id = reply.member_id.clone();
                self.generation_id = reply.generation_id;
                self.to_assign = reply
                    .members
                    .iter()
                    .map(|member| member.member_id.clone())
                    .collect();
                self.phase = Phase::Joined;
            }
            ErrorCode::MemberIdRequired => self.member_id = reply.member_id.clone(),
            ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorNotAvailable => {}
            _ => self.restart(),
        }
    }
}

/// A commit without membership, of one or two partitions; now and then something is wrong with one.
pub fn commit_from_outside(group: &str, position: &mut i64, rng: &mut ChaCha8Rng) -> OffsetCommit {
    let mut partition = || {
        *position += 1;
        CommitPartition {
            index: rng.random_range(0..3),
            offset: *position,
            leader_epoch: rng.random_range(-1..3),
            metadata: Some("m".repeat(if rng.random_bool(0.05) { 5_000 } else { 3 })),
            error: if rng.random_bool(0.05) {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::None
            },
        }
    };
    let partitions = vec![partition(), partition()];
    let topic = CommitTopic {
        name: (*pick(&TOPICS, rng)).to_owned(),
        topic_id: [1; 16],
        partitions,
    };
    OffsetCommit {
        group_id: group.to_owned(),
        member_id: String::new(),
        group_instance_id: None,
        generation_id: -1,
        retention_time_ms: if rng.random_bool(0.1) { 20_000 } else { -1 },
        api_version: 9,
        topics: vec![topic],
    }
}

pub fn pick<'a, T>(from: &'a [T], rng: &mut ChaCha8Rng) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// A version 0 subscription.
fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes
}
