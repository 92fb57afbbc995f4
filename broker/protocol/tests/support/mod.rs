//! Every message there is, and bytes for each of them made from its declaration alone.
//!
//! The bytes come from an interpreter of the declaration that shares no code with `message!`: a second reading of the
//! protocol guide, so that a mistake in one of the two shows.

#![allow(dead_code)] // each test binary uses its part

use millstream_protocol::message::Message;
use millstream_protocol::message::definition::{
    Definition, FieldDefinition, Kind, Preset, StructDefinition, Type,
};
use millstream_protocol::messages::*;
use millstream_protocol::wire::{DecodeError, EncodeError, Reader, Writer};

/// The bytes of a message, or why it has none.
pub type Written = Result<Vec<u8>, EncodeError>;

/// A message, with its type forgotten.
pub struct AnyMessage {
    pub definition: Definition,
    /// Reads the bytes and does nothing with the message.
    pub read: fn(&[u8], i16) -> Result<(), DecodeError>,
    /// Reads the bytes and writes the message again.
    pub rewrite: fn(&[u8], i16) -> Result<Written, DecodeError>,
    /// Writes the default message.
    pub write_default: fn(i16) -> Written,
}

impl AnyMessage {
    pub fn name(&self) -> &'static str {
        self.definition.body.name
    }

    pub fn versions(&self) -> std::ops::RangeInclusive<i16> {
        self.definition.versions.min..=self.definition.versions.max
    }

    pub fn flexible(&self, version: i16) -> bool {
        self.definition.flexible.contains(version)
    }
}

fn written<'a>(message: &impl Message<'a>, version: i16) -> Written {
    let mut w = Writer::new();
    message.write(&mut w, version);
    w.finish().map(|encoded| encoded.bytes)
}

macro_rules! any {
    ($($message:path),* $(,)?) => {
        vec![$({
            use $message as It;
            AnyMessage {
                definition: It::DEFINITION,
                read: |bytes, version| It::read(&mut Reader::new(bytes), version).map(drop),
                rewrite: |bytes, version| Ok(written(&It::read(&mut Reader::new(bytes), version)?, version)),
                write_default: |version| written(&It::default(), version),
            }
        }),*]
    };
}

/// All of them; `tests/definitions.rs` sees to it that none is missing.
pub fn all() -> Vec<AnyMessage> {
    any![
        alter_configs::AlterConfigsRequest,
        alter_configs::AlterConfigsResponse,
        api_versions::ApiVersionsRequest,
        api_versions::ApiVersionsResponse,
        consumer_offsets::OffsetCommitKey,
        consumer_offsets::OffsetCommitValue,
        consumer_offsets::GroupMetadataKey,
        consumer_offsets::GroupMetadataValue,
        create_acls::CreateAclsRequest,
        create_acls::CreateAclsResponse,
        create_partitions::CreatePartitionsRequest,
        create_partitions::CreatePartitionsResponse,
        create_topics::CreateTopicsRequest,
        create_topics::CreateTopicsResponse,
        delete_acls::DeleteAclsRequest,
        delete_acls::DeleteAclsResponse,
        delete_groups::DeleteGroupsRequest,
        delete_groups::DeleteGroupsResponse,
        delete_records::DeleteRecordsRequest,
        delete_records::DeleteRecordsResponse,
        delete_topics::DeleteTopicsRequest,
        delete_topics::DeleteTopicsResponse,
        describe_acls::DescribeAclsRequest,
        describe_acls::DescribeAclsResponse,
        describe_client_quotas::DescribeClientQuotasRequest,
        describe_client_quotas::DescribeClientQuotasResponse,
        describe_cluster::DescribeClusterRequest,
        describe_cluster::DescribeClusterResponse,
        describe_configs::DescribeConfigsRequest,
        describe_configs::DescribeConfigsResponse,
        describe_groups::DescribeGroupsRequest,
        describe_groups::DescribeGroupsResponse,
        describe_log_dirs::DescribeLogDirsRequest,
        describe_log_dirs::DescribeLogDirsResponse,
        describe_quorum::DescribeQuorumRequest,
        describe_quorum::DescribeQuorumResponse,
        describe_topic_partitions::DescribeTopicPartitionsRequest,
        describe_topic_partitions::DescribeTopicPartitionsResponse,
        describe_user_scram_credentials::DescribeUserScramCredentialsRequest,
        describe_user_scram_credentials::DescribeUserScramCredentialsResponse,
        elect_leaders::ElectLeadersRequest,
        elect_leaders::ElectLeadersResponse,
        fetch::FetchRequest,
        fetch::FetchResponse,
        find_coordinator::FindCoordinatorRequest,
        find_coordinator::FindCoordinatorResponse,
        heartbeat::HeartbeatRequest,
        heartbeat::HeartbeatResponse,
        incremental_alter_configs::IncrementalAlterConfigsRequest,
        incremental_alter_configs::IncrementalAlterConfigsResponse,
        init_producer_id::InitProducerIdRequest,
        init_producer_id::InitProducerIdResponse,
        join_group::JoinGroupRequest,
        join_group::JoinGroupResponse,
        leave_group::LeaveGroupRequest,
        leave_group::LeaveGroupResponse,
        list_config_resources::ListConfigResourcesRequest,
        list_config_resources::ListConfigResourcesResponse,
        list_groups::ListGroupsRequest,
        list_groups::ListGroupsResponse,
        list_offsets::ListOffsetsRequest,
        list_offsets::ListOffsetsResponse,
        list_partition_reassignments::ListPartitionReassignmentsRequest,
        list_partition_reassignments::ListPartitionReassignmentsResponse,
        metadata::MetadataRequest,
        metadata::MetadataResponse,
        offset_commit::OffsetCommitRequest,
        offset_commit::OffsetCommitResponse,
        offset_delete::OffsetDeleteRequest,
        offset_delete::OffsetDeleteResponse,
        offset_fetch::OffsetFetchRequest,
        offset_fetch::OffsetFetchResponse,
        offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochResponse,
        produce::ProduceRequest,
        produce::ProduceResponse,
        sync_group::SyncGroupRequest,
        sync_group::SyncGroupResponse,
    ]
}

/// How [`sample`] fills a message.
#[derive(Clone, Copy)]
pub struct Fill {
    /// Elements in each array.
    pub elements: usize,
    /// Null wherever that is allowed (else a value).
    pub nulls: bool,
    /// A tagged field that nobody knows at the end of each struct.
    pub unknown_tags: bool,
    /// Strings and bytes are empty, and so are arrays within arrays: the most values in the fewest bytes.
    pub empty: bool,
}

impl Fill {
    pub const FULL: Fill = Fill {
        elements: 2,
        nulls: false,
        unknown_tags: false,
        empty: false,
    };
}

/// The bytes of a message in which no field has its default (but for [`Fill::nulls`]).
pub fn sample(definition: &Definition, version: i16, fill: Fill) -> Vec<u8> {
    let flexible = definition.flexible.contains(version);
    let mut sampler = Sampler {
        version,
        flexible,
        fill,
        bytes: Vec::new(),
        serial: 0,
    };
    sampler.body(definition.body);
    sampler.bytes
}

struct Sampler {
    version: i16,
    flexible: bool,
    fill: Fill,
    bytes: Vec<u8>,
    /// Counts values, so that no two neighbours are equal and swapped fields show.
    serial: u8,
}

impl Sampler {
    fn body(&mut self, body: &StructDefinition) {
        let exists = |field: &&FieldDefinition| field.spec.versions.contains(self.version);
        let fields: Vec<_> = body.fields.iter().filter(exists).collect();
        let (tagged, in_line): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .partition(|field| field.spec.tagged.contains(self.version));
        for field in in_line {
            self.field(field);
        }
        if !self.flexible {
            return;
        }
        // Tagged fields with their default are not sent.
        let sent: Vec<_> = tagged
            .into_iter()
            .filter(|field| !self.is_default(field))
            .collect();
        self.uvarint(sent.len() as u32 + u32::from(self.fill.unknown_tags));
        for field in sent {
            let outside = std::mem::take(&mut self.bytes);
            self.field(field);
            let inside = std::mem::replace(&mut self.bytes, outside);
            self.uvarint(field.spec.tag.expect("a tagged field has a tag"));
            self.uvarint(inside.len() as u32);
            self.bytes.extend(inside);
        }
        if self.fill.unknown_tags {
            self.bytes.extend([0xe7, 0x07, 3, b'n', b'e', b'w']);
        }
    }

    /// Whether the value that `field` is about to get happens to be its default.
    fn is_default(&self, field: &FieldDefinition) -> bool {
        match field.spec.preset {
            Preset::Null => self.null(field),
            _ => matches!(field.ty, Type::Array(_)) && self.fill.elements == 0,
        }
    }

    fn null(&self, field: &FieldDefinition) -> bool {
        self.fill.nulls && field.spec.nullable.contains(self.version)
    }

    fn field(&mut self, field: &FieldDefinition) {
        if self.null(field) {
            return match field.ty {
                Type::Struct(_) => self.bytes.push(0xff),
                _ if self.flexible => self.bytes.push(0),
                Type::String => self.bytes.extend([0xff; 2]),
                _ => self.bytes.extend([0xff; 4]),
            };
        }
        if let (Type::Struct(_), false) = (field.ty, field.spec.nullable.is_empty()) {
            self.bytes.push(1);
        }
        if matches!(field.ty, Type::Bool) {
            return self
                .bytes
                .push(u8::from(field.spec.preset != Preset::Number(1)));
        }
        self.value(&field.ty);
    }

    fn value(&mut self, ty: &Type) {
        self.serial = self.serial % 100 + 1;
        let serial = self.serial;
        match ty {
            Type::Bool => self.bytes.push(1),
            Type::Int8 => self.bytes.push(serial + 20),
            Type::Int16 | Type::Uint16 => self.bytes.extend([0x11, serial]),
            Type::Int32 => self.bytes.extend([0x22, 0, 0, serial]),
            Type::Int64 => self.bytes.extend([0x33, 0, 0, 0, 0, 0, 0, serial]),
            Type::Float64 => self.bytes.extend(f64::from(serial).to_be_bytes()),
            Type::Uuid => self.bytes.extend([serial; 16]),
            Type::String => {
                let text = if self.fill.empty {
                    String::new()
                } else {
                    format!("text-{serial}")
                };
                self.short_length(text.len());
                self.bytes.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let len = if self.fill.empty { 0 } else { 5 };
                self.long_length(len);
                self.bytes.extend(std::iter::repeat_n(serial, len));
            }
            Type::Array(element) => {
                let count = self.fill.elements;
                self.long_length(count);
                if self.fill.empty {
                    self.fill.elements = 0;
                }
                for _ in 0..count {
                    self.value(element);
                }
                self.fill.elements = count;
            }
            Type::Struct(body) => self.body(body),
        }
    }

    fn short_length(&mut self, len: usize) {
        match self.flexible {
            true => self.uvarint(len as u32 + 1),
            false => self.bytes.extend((len as i16).to_be_bytes()),
        }
    }

    fn long_length(&mut self, len: usize) {
        match self.flexible {
            true => self.uvarint(len as u32 + 1),
            false => self.bytes.extend((len as i32).to_be_bytes()),
        }
    }

    fn uvarint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.bytes.push((value & 0x7f | 0x80) as u8);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// `Produce v3 request`, for messages of failures.
pub fn title(message: &AnyMessage, version: i16) -> String {
    format!("{} v{version}", message.name())
}

/// The API key of a request or response.
pub fn api_key(definition: &Definition) -> Option<i16> {
    match definition.kind {
        Kind::Request(key) | Kind::Response(key) => Some(key),
        Kind::Key(_) | Kind::Value(_) => None,
    }
}
