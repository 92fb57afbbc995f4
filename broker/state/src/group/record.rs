//! The records of `__consumer_offsets`, byte for byte as Kafka 4.3 writes them, so that its tools read ours and its
//! directories open here. Every older version is read.
//!
//! Key and value each start with an int16: the key's is the record type (0 and 1: an offset, 2: a group), the value's
//! its version. Written are offset values in version 4 (version 1 for a commit with its own retention time) and group
//! values in version 3. Source: `common/message/{OffsetCommit,GroupMetadata}{Key,Value}.json` of Kafka's
//! group-coordinator jar and `GroupCoordinatorRecordHelpers`.

use millstream_protocol::uuid::Uuid;
use millstream_protocol::wire::{DecodeError, Reader, Writer};

/// Longest string these records can hold, as their non-flexible versions have an int16 length.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

const LEGACY_OFFSET_KEY: i16 = 0;
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// First version of both values with compact forms and tagged fields.
const FLEXIBLE: i16 = 4;
const NEWEST: i16 = 4;
const OFFSET_VALUE: i16 = 4;
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE: i16 = 3;
const TOPIC_ID_TAG: u32 = 0;
/// Smallest encoding of one member in any version: four strings or byte arrays in compact form and an int32.
const MEMBER_BYTES_MIN: usize = 9;

/// One record of `__consumer_offsets`; a value of `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A committed offset.
    Offset {
        /// Group id.
        group: String,
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
        /// What was committed.
        value: Option<OffsetValue>,
    },
    /// A classic group with the members of its last stable generation.
    Group {
        /// Group id.
        group: String,
        /// Its state.
        value: Option<GroupValue>,
    },
    /// A record type of another group protocol (KIP-848, share, streams), by its number. Left alone.
    Other(i16),
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch of the last consumed record, -1 if unknown.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: String,
    /// When it was committed, ms.
    pub commit_timestamp: i64,
    /// When it expires, ms; -1 for by the broker's retention.
    pub expire_timestamp: i64,
    /// Topic id, all zero if unknown.
    pub topic_id: [u8; 16],
}

/// A classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// Protocol type, empty if none.
    pub protocol_type: String,
    /// Generation.
    pub generation: i32,
    /// The chosen protocol.
    pub protocol: Option<String>,
    /// The leader's member id.
    pub leader: Option<String>,
    /// When the group entered its state, ms; -1 if unknown.
    pub state_timestamp: i64,
    /// Members; none for an empty group.
    pub members: Vec<MemberValue>,
}

/// One member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    /// Member id.
    pub member_id: String,
    /// KIP-345 instance id.
    pub group_instance_id: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client address.
    pub client_host: String,
    /// Rebalance timeout in ms, -1 for the session timeout.
    pub rebalance_timeout_ms: i32,
    /// Session timeout in ms.
    pub session_timeout_ms: i32,
    /// Metadata for the chosen protocol.
    pub subscription: Vec<u8>,
    /// Assignment.
    pub assignment: Vec<u8>,
}

/// Why bytes are no record of this topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The key.
    #[error("key: {0}")]
    Key(#[source] DecodeError),
    /// The value.
    #[error("value: {0}")]
    Value(#[source] DecodeError),
}

impl Record {
    /// Decodes one record.
    pub fn read(key: &[u8], value: Option<&[u8]>) -> Result<Record, RecordError> {
        let mut reader = Reader::new(key);
        let kind = reader.i16().map_err(RecordError::Key)?;
        match kind {
            LEGACY_OFFSET_KEY | OFFSET_KEY => {
                let (group, topic, partition) =
                    read_offset_key(&mut reader).map_err(RecordError::Key)?;
                let value = value
                    .map(read_offset_value)
                    .transpose()
                    .map_err(RecordError::Value)?;
                Ok(Record::Offset {
                    group,
                    topic,
                    partition,
                    value,
                })
            }
            GROUP_KEY => {
                let group = read_group_key(&mut reader).map_err(RecordError::Key)?;
                let value = value
                    .map(read_group_value)
                    .transpose()
                    .map_err(RecordError::Value)?;
                Ok(Record::Group { group, value })
            }
            other => Ok(Record::Other(other)),
        }
    }

    /// Encodes key and value. All strings must be within [`STRING_BYTES_MAX`], which the coordinator checks at its
    /// door and `read` on the way in.
    pub fn write(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut key = Writer::with_capacity(64);
        let value = match self {
            Record::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                key.i16(OFFSET_KEY);
                key.string(false, Some(group));
                key.string(false, Some(topic));
                key.i32(*partition);
                value.as_ref().map(write_offset_value)
            }
            Record::Group { group, value } => {
                key.i16(GROUP_KEY);
                key.string(false, Some(group));
                value.as_ref().map(write_group_value)
            }
            Record::Other(kind) => panic!("record type {kind} is never written"),
        };
        (bytes(key), value)
    }

    /// The group it is about.
    pub fn group(&self) -> Option<&str> {
        match self {
            Record::Offset { group, .. } | Record::Group { group, .. } => Some(group),
            Record::Other(_) => None,
        }
    }
}

fn bytes(writer: Writer) -> Vec<u8> {
    writer
        .finish()
        .expect("strings are bounded at the door, byte arrays by the frame they came in")
        .bytes
}

fn string(reader: &mut Reader, compact: bool) -> Result<String, DecodeError> {
    nullable_string(reader, compact)?.ok_or(DecodeError::UnexpectedNull)
}

/// Also bounds what could not be written again: longer compact strings, and those grown by replacing broken UTF-8.
fn nullable_string(reader: &mut Reader, compact: bool) -> Result<Option<String>, DecodeError> {
    match reader.string(compact)? {
        Some(text) if text.len() > STRING_BYTES_MAX => Err(DecodeError::Truncated {
            wanted: text.len(),
            left: STRING_BYTES_MAX,
        }),
        text => Ok(text.map(|text| text.into_owned())),
    }
}

fn byte_array(reader: &mut Reader, compact: bool) -> Result<Vec<u8>, DecodeError> {
    Ok(reader
        .bytes(compact)?
        .ok_or(DecodeError::UnexpectedNull)?
        .to_vec())
}

fn value_version(reader: &mut Reader) -> Result<i16, DecodeError> {
    match reader.i16()? {
        version @ 0..=NEWEST => Ok(version),
        version => Err(DecodeError::UnsupportedVersion(version)),
    }
}

fn read_offset_key(reader: &mut Reader) -> Result<(String, String, i32), DecodeError> {
    let key = (
        string(reader, false)?,
        string(reader, false)?,
        reader.i32()?,
    );
    reader.finish()?;
    Ok(key)
}

fn read_group_key(reader: &mut Reader) -> Result<String, DecodeError> {
    let group = string(reader, false)?;
    reader.finish()?;
    Ok(group)
}

fn read_offset_value(value: &[u8]) -> Result<OffsetValue, DecodeError> {
    let reader = &mut Reader::new(value);
    let version = value_version(reader)?;
    let flexible = version >= FLEXIBLE;
    let offset = reader.i64()?;
    let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
    let metadata = string(reader, flexible)?;
    let commit_timestamp = reader.i64()?;
    let expire_timestamp = if version == OFFSET_VALUE_WITH_EXPIRY {
        reader.i64()?
    } else {
        -1
    };
    let mut topic_id = Uuid::ZERO;
    if flexible {
        for _ in 0..reader.tag_count()? {
            let (tag, mut field) = reader.tagged()?;
            if tag == TOPIC_ID_TAG {
                topic_id = field.uuid()?;
                field.finish()?;
            }
        }
    }
    reader.finish()?;
    Ok(OffsetValue {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp,
        topic_id: topic_id.0,
    })
}

fn write_offset_value(value: &OffsetValue) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    if value.expire_timestamp >= 0 {
        writer.i16(OFFSET_VALUE_WITH_EXPIRY);
        writer.i64(value.offset);
        writer.string(false, Some(&value.metadata));
        writer.i64(value.commit_timestamp);
        writer.i64(value.expire_timestamp);
    } else {
        writer.i16(OFFSET_VALUE);
        writer.i64(value.offset);
        writer.i32(value.leader_epoch);
        writer.string(true, Some(&value.metadata));
        writer.i64(value.commit_timestamp);
        let topic_id = Uuid(value.topic_id);
        writer.uvarint(u32::from(!topic_id.is_zero()));
        if !topic_id.is_zero() {
            let start = writer.len();
            writer.uuid(topic_id);
            writer.tag_from(start, TOPIC_ID_TAG);
        }
    }
    bytes(writer)
}

fn read_group_value(value: &[u8]) -> Result<GroupValue, DecodeError> {
    let reader = &mut Reader::new(value);
    let version = value_version(reader)?;
    let flexible = version >= FLEXIBLE;
    let protocol_type = string(reader, flexible)?;
    let generation = reader.i32()?;
    let protocol = nullable_string(reader, flexible)?;
    let leader = nullable_string(reader, flexible)?;
    let state_timestamp = if version >= 2 { reader.i64()? } else { -1 };
    let count = reader
        .array(flexible, MEMBER_BYTES_MIN)?
        .ok_or(DecodeError::UnexpectedNull)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(read_member(reader, version)?);
    }
    if flexible {
        reader.skip_tags()?;
    }
    reader.finish()?;
    Ok(GroupValue {
        protocol_type,
        generation,
        protocol,
        leader,
        state_timestamp,
        members,
    })
}

fn read_member(reader: &mut Reader, version: i16) -> Result<MemberValue, DecodeError> {
    let flexible = version >= FLEXIBLE;
    let member = MemberValue {
        member_id: string(reader, flexible)?,
        group_instance_id: if version >= 3 {
            nullable_string(reader, flexible)?
        } else {
            None
        },
        client_id: string(reader, flexible)?,
        client_host: string(reader, flexible)?,
        rebalance_timeout_ms: if version >= 1 { reader.i32()? } else { -1 },
        session_timeout_ms: reader.i32()?,
        subscription: byte_array(reader, flexible)?,
        assignment: byte_array(reader, flexible)?,
    };
    if flexible {
        reader.skip_tags()?;
    }
    Ok(member)
}

fn write_group_value(value: &GroupValue) -> Vec<u8> {
    let mut writer = Writer::with_capacity(256);
    writer.i16(GROUP_VALUE);
    writer.string(false, Some(&value.protocol_type));
    writer.i32(value.generation);
    writer.string(false, value.protocol.as_deref());
    writer.string(false, value.leader.as_deref());
    writer.i64(value.state_timestamp);
    writer.array(false, Some(value.members.len()));
    for member in &value.members {
        writer.string(false, Some(&member.member_id));
        writer.string(false, member.group_instance_id.as_deref());
        writer.string(false, Some(&member.client_id));
        writer.string(false, Some(&member.client_host));
        writer.i32(member.rebalance_timeout_ms);
        writer.i32(member.session_timeout_ms);
        writer.bytes(false, Some(&member.subscription));
        writer.bytes(false, Some(&member.assignment));
    }
    bytes(writer)
}

#[cfg(test)]
mod tests;
