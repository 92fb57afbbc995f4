//! Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete.

use std::collections::{BTreeMap, BTreeSet};

use millstream_protocol::error::ErrorCode;

use super::classic::{Group, State};
use super::record::{OffsetValue, Record, STRING_BYTES_MAX};
use super::reply::{FetchedOffset, FetchedTopic, OffsetDeleteReply, Reply, TopicResult};
use super::request::{CommitPartition, Input, OffsetCommit, OffsetDelete, OffsetQuery, Token};
use super::writes::Outcome;
use super::{Coordinator, Effects};

/// The durable offsets of one group, by topic and partition.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    pub(super) topics: BTreeMap<String, BTreeMap<i32, OffsetValue>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Says whether the topic is new here.
    pub(super) fn put(&mut self, topic: String, partition: i32, value: OffsetValue) -> bool {
        let partitions = self.topics.entry(topic).or_default();
        partitions.insert(partition, value);
        partitions.len() == 1
    }

    /// Says whether the topic has no offset here any more.
    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.topics.get_mut(topic) else {
            return false;
        };
        partitions.remove(&partition);
        let gone = partitions.is_empty();
        if gone {
            self.topics.remove(topic);
        }
        gone
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32, &OffsetValue)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(index, value)| (topic.as_str(), *index, value))
        })
    }
}

impl Coordinator {
    pub(super) fn commit(
        &mut self,
        now: i64,
        token: Token,
        request: OffsetCommit,
        out: &mut Effects,
    ) {
        let mut results = commit_results(&request);
        if !request.topics.is_empty() && undecided(&mut results).next().is_none() {
            out.reply(token, Reply::OffsetCommit(results));
            return;
        }
        if let Some(Group {
            closed: Some(waiting),
            ..
        }) = self.groups.get_mut(request.group_id.as_str())
        {
            waiting.push(Input::OffsetCommit(token, request));
            return;
        }
        if let Err(error) = self.validate_commit(&request) {
            undecided(&mut results).for_each(|result| *result = error);
            out.reply(token, Reply::OffsetCommit(results));
            return;
        }
        let state = self
            .groups
            .get(request.group_id.as_str())
            .map(|group| group.state);
        if matches!(state, Some(State::Stable | State::PreparingRebalance)) {
            // A member that commits lives.
            self.with_group(now, &request.group_id, out, |group, cx| {
                group.restart_session(cx, &request.member_id)
            });
        }
        let records = commit_records(now, request, &mut results, self.config.offset_metadata_max);
        if records.is_empty() {
            out.reply(token, Reply::OffsetCommit(results));
        } else {
            self.writes
                .append(out, records, Outcome::Commit(token, results));
        }
    }

    /// Members commit within their generation; others only while the group has no members.
    fn validate_commit(&self, request: &OffsetCommit) -> Result<(), ErrorCode> {
        if request.group_id.len() > STRING_BYTES_MAX {
            return Err(ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.groups.get(request.group_id.as_str()) else {
            return match request.generation_id {
                ..0 => Ok(()),
                _ if request.api_version >= 9 => Err(ErrorCode::GroupIdNotFound),
                _ => Err(ErrorCode::IllegalGeneration),
            };
        };
        if request.generation_id < 0 && group.state == State::Empty {
            return Ok(());
        }
        if request.generation_id < 0
            && request.member_id.is_empty()
            && request.group_instance_id.is_none()
        {
            return Err(ErrorCode::UnknownMemberId);
        }
        group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != group.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        match group.state {
            // The member knows the new generation but not yet its part in it.
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// OffsetFetch: durable offsets only. An unknown group has none, which is no error.
    pub fn fetch_offsets(&self, group_id: &str, query: OffsetQuery) -> Vec<FetchedTopic> {
        let offsets = self.groups.get(group_id).map(|group| &group.offsets);
        match query {
            OffsetQuery::Some(asked) => {
                let partition = |topic: &str, index| {
                    fetched(index, offsets.and_then(|all| all.get(topic, index)))
                };
                let topic = |(name, partitions): &(String, Vec<i32>)| FetchedTopic {
                    name: name.clone(),
                    partitions: partitions
                        .iter()
                        .map(|index| partition(name, *index))
                        .collect(),
                };
                asked.iter().map(topic).collect()
            }
            OffsetQuery::All => {
                let topic =
                    |(name, partitions): (&String, &BTreeMap<i32, OffsetValue>)| FetchedTopic {
                        name: name.clone(),
                        partitions: partitions
                            .iter()
                            .map(|(index, value)| fetched(*index, Some(value)))
                            .collect(),
                    };
                offsets
                    .into_iter()
                    .flat_map(|offsets| &offsets.topics)
                    .map(topic)
                    .collect()
            }
        }
    }

    pub(super) fn delete_offsets(
        &mut self,
        token: Token,
        request: OffsetDelete,
        out: &mut Effects,
    ) {
        let group_id = request.group_id.as_str();
        if let Some(Group {
            closed: Some(waiting),
            ..
        }) = self.groups.get_mut(group_id)
        {
            waiting.push(Input::OffsetDelete(token, request));
            return;
        }
        let group = match self.groups.get(group_id) {
            _ if group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
            None => Err(ErrorCode::GroupIdNotFound),
            // What other protocol types subscribe to is not known, so everything counts as in use.
            Some(group) if group.state != State::Empty && !group.uses_consumer_protocol() => {
                Err(ErrorCode::NonEmptyGroup)
            }
            Some(group) => Ok(group),
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => {
                out.reply(
                    token,
                    Reply::OffsetDelete(OffsetDeleteReply {
                        error,
                        topics: Vec::new(),
                    }),
                );
                return;
            }
        };
        let known: BTreeSet<(&str, i32)> = self.offsets_of(group).collect();
        let mut records = Vec::new();
        let mut topics = request.topics;
        for (topic, partitions) in &mut topics {
            let subscribed = group.is_subscribed_to(topic);
            for (index, result) in partitions
                .iter_mut()
                .filter(|(_, result)| *result == ErrorCode::None)
            {
                if subscribed {
                    *result = ErrorCode::GroupSubscribedToTopic;
                } else if known.contains(&(topic.as_str(), *index)) {
                    records.push(tombstone(group_id, topic, *index));
                }
            }
        }
        let reply = OffsetDeleteReply {
            error: ErrorCode::None,
            topics,
        };
        if records.is_empty() {
            out.reply(token, Reply::OffsetDelete(reply));
        } else {
            self.writes
                .append(out, records, Outcome::OffsetDelete(token, reply));
        }
    }

    /// Partitions of a group with an offset, durable or on its way into the log.
    pub(super) fn offsets_of<'a>(
        &'a self,
        group: &'a Group,
    ) -> impl Iterator<Item = (&'a str, i32)> {
        let durable = group
            .offsets
            .iter()
            .map(|(topic, partition, _)| (topic, partition));
        durable.chain(self.writes.offsets_of(&group.id))
    }
}

/// The outcomes that nothing has gone wrong with yet.
pub(super) fn undecided(results: &mut [TopicResult]) -> impl Iterator<Item = &mut ErrorCode> {
    let all = results.iter_mut().flat_map(|topic| &mut topic.partitions);
    all.map(|(_, result)| result)
        .filter(|result| **result == ErrorCode::None)
}

/// What is known of the outcome before the group is asked.
pub(super) fn commit_results(request: &OffsetCommit) -> Vec<TopicResult> {
    let topic = |topic: &super::request::CommitTopic| TopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| (partition.index, partition.error))
            .collect(),
    };
    request.topics.iter().map(topic).collect()
}

fn commit_records(
    now: i64,
    request: OffsetCommit,
    results: &mut [TopicResult],
    metadata_max: usize,
) -> Vec<Record> {
    let expire_timestamp = match request.retention_time_ms {
        ..0 => -1,
        retention_ms => now.saturating_add(retention_ms),
    };
    let mut records = Vec::new();
    for (topic, results) in request.topics.into_iter().zip(results) {
        for (partition, result) in topic.partitions.into_iter().zip(&mut results.partitions) {
            if result.1 != ErrorCode::None {
                continue;
            }
            if topic.name.len() > STRING_BYTES_MAX {
                result.1 = ErrorCode::UnknownTopicOrPartition;
            } else if metadata_is_too_large(&partition, metadata_max) {
                result.1 = ErrorCode::OffsetMetadataTooLarge;
            } else {
                let value = OffsetValue {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch.max(-1),
                    metadata: partition.metadata.unwrap_or_default(),
                    commit_timestamp: now,
                    expire_timestamp,
                    topic_id: topic.topic_id,
                };
                let (group, topic) = (request.group_id.clone(), topic.name.clone());
                records.push(Record::Offset {
                    group,
                    topic,
                    partition: partition.index,
                    value: Some(value),
                });
            }
        }
    }
    records
}

/// Kafka counts UTF-16 code units, whatever the knob's name says of bytes.
fn metadata_is_too_large(partition: &CommitPartition, max: usize) -> bool {
    let metadata = partition.metadata.as_deref().unwrap_or_default();
    metadata.len() > STRING_BYTES_MAX
        || (metadata.len() > max && metadata.encode_utf16().count() > max)
}

fn fetched(index: i32, value: Option<&OffsetValue>) -> FetchedOffset {
    match value {
        Some(value) => FetchedOffset {
            index,
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
        },
        None => FetchedOffset {
            index,
            offset: -1,
            leader_epoch: -1,
            metadata: String::new(),
        },
    }
}

pub(super) fn tombstone(group: &str, topic: &str, partition: i32) -> Record {
    Record::Offset {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        value: None,
    }
}
