//! What the coordinator answers, in the shape of Kafka's responses; the caller fits them to the request's version.

use millstream_protocol::error::ErrorCode;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To JoinGroup.
    Join(JoinReply),
    /// To SyncGroup.
    Sync(SyncReply),
    /// To Heartbeat.
    Heartbeat(ErrorCode),
    /// To LeaveGroup.
    Leave(LeaveReply),
    /// To OffsetCommit: same topics and partitions in the same order as asked.
    OffsetCommit(Vec<TopicResult>),
    /// To OffsetDelete.
    OffsetDelete(OffsetDeleteReply),
    /// To DeleteGroups: one result per id, in the order asked.
    DeleteGroups(Vec<(String, ErrorCode)>),
}

/// JoinGroup's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinReply {
    /// Outcome.
    pub error: ErrorCode,
    /// The generation joined, -1 on error.
    pub generation_id: i32,
    /// The group's protocol type, null on error.
    pub protocol_type: Option<String>,
    /// The protocol chosen; null on error (up to v6 the wire wants the empty string instead).
    pub protocol_name: Option<String>,
    /// The leader's member id, empty on error.
    pub leader: String,
    /// KIP-814 (v9): the leader shall not compute an assignment.
    pub skip_assignment: bool,
    /// The id of the member that asked.
    pub member_id: String,
    /// All members, for the leader only.
    pub members: Vec<JoinedMember>,
}

/// One member in the leader's JoinGroup answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub member_id: String,
    /// KIP-345 instance id.
    pub group_instance_id: Option<String>,
    /// The member's metadata for the chosen protocol.
    pub metadata: Vec<u8>,
}

/// SyncGroup's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncReply {
    /// Outcome.
    pub error: ErrorCode,
    /// The group's protocol type, null on error.
    pub protocol_type: Option<String>,
    /// The group's protocol, null on error.
    pub protocol_name: Option<String>,
    /// The member's part, empty on error.
    pub assignment: Vec<u8>,
}

/// LeaveGroup's answer. Up to v2 the one member's error is the response's error.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveReply {
    /// Outcome for the whole request.
    pub error: ErrorCode,
    /// Outcome per member, in the order asked: (member id, instance id, error).
    pub members: Vec<(String, Option<String>, ErrorCode)>,
}

/// The partitions of one topic in an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicResult {
    /// Topic name.
    pub name: String,
    /// Topic id as asked.
    pub topic_id: [u8; 16],
    /// (partition, outcome)
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// OffsetDelete's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetDeleteReply {
    /// Outcome for the whole request; with an error, `topics` is empty.
    pub error: ErrorCode,
    /// Topics and (partition, outcome), as asked.
    pub topics: Vec<(String, Vec<(i32, ErrorCode)>)>,
}

/// One topic of an OffsetFetch answer.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedTopic {
    /// Topic name.
    pub name: String,
    /// Partitions as asked, or in order when all were asked.
    pub partitions: Vec<FetchedOffset>,
}

/// One partition of an OffsetFetch answer. A missing offset is -1 with leader epoch -1 and no metadata, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Partition number.
    pub index: i32,
    /// Committed offset or -1.
    pub offset: i64,
    /// Leader epoch or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: String,
}

/// One group of a DescribeGroups answer.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    /// `None`, or `GroupIdNotFound` from v6 on.
    pub error: ErrorCode,
    /// v6+: what is wrong.
    pub error_message: Option<String>,
    /// Group id as asked.
    pub group_id: String,
    /// State name, `Dead` for an unknown group.
    pub state: &'static str,
    /// Protocol type or empty.
    pub protocol_type: String,
    /// The chosen protocol of a stable group, else empty.
    pub protocol_data: String,
    /// Members; their metadata only when the group is stable.
    pub members: Vec<DescribedMember>,
}

/// One member of a DescribeGroups answer.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    /// Member id.
    pub member_id: String,
    /// KIP-345 instance id.
    pub group_instance_id: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client address.
    pub client_host: String,
    /// Metadata for the group's protocol.
    pub metadata: Vec<u8>,
    /// Current assignment.
    pub assignment: Vec<u8>,
}

/// One group of a ListGroups answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Group id.
    pub group_id: String,
    /// Protocol type or empty.
    pub protocol_type: String,
    /// State name.
    pub state: &'static str,
    /// Always `classic` here.
    pub group_type: &'static str,
}

impl JoinReply {
    /// A refusal.
    pub fn error(error: ErrorCode, member_id: &str) -> JoinReply {
        JoinReply {
            error,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

impl SyncReply {
    /// A refusal.
    pub fn error(error: ErrorCode) -> SyncReply {
        SyncReply {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Vec::new(),
        }
    }
}
