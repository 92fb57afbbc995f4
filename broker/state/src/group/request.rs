//! What the coordinator is asked: one plain struct per request, already decoded, authorized and free of versions,
//! except where the version itself decides the outcome.

use millstream_protocol::error::ErrorCode;

/// Names one request until it is answered; chosen by the caller, unique among open requests of one coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One event for [`Coordinator::step`](super::Coordinator::step).
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// JoinGroup; parked until the join phase of a rebalance ends.
    Join(Token, JoinGroup),
    /// SyncGroup; parked until the leader's assignment is durable.
    Sync(Token, SyncGroup),
    /// Heartbeat; answered at once.
    Heartbeat(Token, Heartbeat),
    /// LeaveGroup; answered at once.
    Leave(Token, LeaveGroup),
    /// OffsetCommit; answered when the offsets are durable.
    OffsetCommit(Token, OffsetCommit),
    /// OffsetDelete; answered when the tombstones are durable.
    OffsetDelete(Token, OffsetDelete),
    /// DeleteGroups, only ids of this coordinator's partition; answered when the tombstones are durable.
    DeleteGroups(Token, Vec<String>),
    /// These topics are gone: their committed offsets are dropped from all groups.
    TopicsDeleted(Vec<String>),
    /// The append of this id is durable. Comes in the order of the ids, failed ones left out.
    Appended(u64),
    /// The append of this id did not reach the log and never will.
    AppendFailed(u64, ErrorCode),
    /// This append is not durable after `offsets.commit.timeout.ms`, whoever waits for it is answered; it may still become
    /// so. At most once for each.
    AppendLate(u64),
    /// Time has passed; due when [`Coordinator::next_deadline`](super::Coordinator::next_deadline) says so.
    Tick,
}

/// JoinGroup (key 11).
#[derive(Clone, Debug, PartialEq)]
pub struct JoinGroup {
    /// Group to join; the empty one is refused.
    pub group_id: String,
    /// Empty for a member that has no id yet.
    pub member_id: String,
    /// KIP-345: set by static members.
    pub group_instance_id: Option<String>,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// What the member can do, best first.
    pub protocols: Vec<Protocol>,
    /// Session timeout in ms.
    pub session_timeout_ms: i32,
    /// Rebalance timeout in ms; -1 (absent in v0) means the session timeout.
    pub rebalance_timeout_ms: i32,
    /// The request header's client id, empty if null.
    pub client_id: String,
    /// The peer's address as Kafka prints it: `/127.0.0.1`.
    pub client_host: String,
    /// Decides whether a member id must be known (v4) and the assignment may be skipped (v9).
    pub api_version: i16,
    /// A fresh random UUID, for the case that a member id must be made.
    pub uuid: String,
}

/// One protocol (assignor) a member supports, with the member's opaque metadata (its subscription).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Name, `range` for example.
    pub name: String,
    /// Opaque to the coordinator, except for the topics of the `consumer` protocol type.
    pub metadata: Vec<u8>,
}

/// SyncGroup (key 14).
#[derive(Clone, Debug, PartialEq)]
pub struct SyncGroup {
    /// The group.
    pub group_id: String,
    /// The member that asks.
    pub member_id: String,
    /// KIP-345: set by static members.
    pub group_instance_id: Option<String>,
    /// The generation the member joined.
    pub generation_id: i32,
    /// v5+: must be the group's if given.
    pub protocol_type: Option<String>,
    /// v5+: must be the group's if given.
    pub protocol_name: Option<String>,
    /// The leader's decision, (member id, assignment); empty for followers.
    pub assignments: Vec<(String, Vec<u8>)>,
}

/// Heartbeat (key 12).
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// The group.
    pub group_id: String,
    /// The member that lives.
    pub member_id: String,
    /// KIP-345: set by static members.
    pub group_instance_id: Option<String>,
    /// The generation the member is in.
    pub generation_id: i32,
}

/// LeaveGroup (key 13); up to v2 it has exactly one member.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveGroup {
    /// The group.
    pub group_id: String,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// One member of a LeaveGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty when an administrator removes a static member by its instance id.
    pub member_id: String,
    /// KIP-345: set for static members.
    pub group_instance_id: Option<String>,
}

/// OffsetCommit (key 8).
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetCommit {
    /// The group; may be empty, as old clients do.
    pub group_id: String,
    /// Empty for a commit from outside the group.
    pub member_id: String,
    /// KIP-345: set by static members.
    pub group_instance_id: Option<String>,
    /// The member's generation, -1 for a commit from outside the group.
    pub generation_id: i32,
    /// v2 to v4: how long to keep the offset in ms; -1 for the broker's retention.
    pub retention_time_ms: i64,
    /// Decides the error for an unknown group (v9).
    pub api_version: i16,
    /// What to commit.
    pub topics: Vec<CommitTopic>,
}

/// The partitions of one topic in an OffsetCommit request.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitTopic {
    /// Topic name.
    pub name: String,
    /// Topic id, all zero if unknown; written into the record.
    pub topic_id: [u8; 16],
    /// What to commit.
    pub partitions: Vec<CommitPartition>,
}

/// One partition of an OffsetCommit request.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitPartition {
    /// Partition number.
    pub index: i32,
    /// The next offset the consumer will read.
    pub offset: i64,
    /// Leader epoch of the last consumed record, -1 if unknown.
    pub leader_epoch: i32,
    /// The client's note; null is stored as empty.
    pub metadata: Option<String>,
    /// What the caller already found: anything but `None` (unknown topic, not authorized) goes back as it is, and
    /// nothing is stored for this partition.
    pub error: ErrorCode,
}

/// OffsetDelete (key 47).
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetDelete {
    /// The group.
    pub group_id: String,
    /// Topics and their partitions, with what the caller already found (see [`CommitPartition::error`]).
    pub topics: Vec<(String, Vec<(i32, ErrorCode)>)>,
}

/// Which offsets to read.
#[derive(Clone, Copy, Debug)]
pub enum OffsetQuery<'a> {
    /// Every committed offset of the group (a null topic list on the wire).
    All,
    /// These topics and partitions, in this order.
    Some(&'a [(String, Vec<i32>)]),
}

impl Input {
    /// The request's token, if it is a request.
    pub fn token(&self) -> Option<Token> {
        match self {
            Input::Join(token, _)
            | Input::Sync(token, _)
            | Input::Heartbeat(token, _)
            | Input::Leave(token, _)
            | Input::OffsetCommit(token, _)
            | Input::OffsetDelete(token, _)
            | Input::DeleteGroups(token, _) => Some(*token),
            Input::TopicsDeleted(_)
            | Input::Appended(_)
            | Input::AppendFailed(..)
            | Input::AppendLate(_)
            | Input::Tick => None,
        }
    }
}
