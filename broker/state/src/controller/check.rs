//! Records that were read from disk, held against the state before they are applied.
//!
//! A checksum that matches says that the bytes are as they were written, not that whoever wrote them was right: a log put
//! together from two, or a snapshot beside the log of another. Start refuses such metadata with a line; replay, which meets
//! only what this process has made or checked, asserts the same.

use super::State;
use super::record::{Entry, Record, RecordError};

impl State {
    /// As [`State::replay`], for an entry that was read. After an error the state is of no more use.
    pub fn replay_read(&mut self, entry: &Entry) -> Result<(), RecordError> {
        if Some(entry.position.index) != self.position().index.checked_add(1)
            || entry.position.epoch < self.position().epoch
        {
            return Err(RecordError::Impossible("an entry out of order"));
        }
        for record in &entry.records {
            self.replay_checked(record)?;
        }
        self.image.position = entry.position;
        Ok(())
    }

    pub(super) fn replay_checked(&mut self, record: &Record) -> Result<(), RecordError> {
        match self.objection(record) {
            Some(what) => Err(RecordError::Impossible(what)),
            None => {
                self.replay_record(record);
                Ok(())
            }
        }
    }

    /// Why the record cannot come now.
    fn objection(&self, record: &Record) -> Option<&'static str> {
        let when = |wrong: bool, what: &'static str| wrong.then_some(what);
        const NO_TOPIC: &str = "a topic that does not exist";
        match record {
            Record::Cluster { .. } => when(
                !self.image.cluster_id().is_empty(),
                "a second name of the cluster",
            ),
            Record::Broker(_) | Record::Config { .. } => None,
            Record::Topic(topic) => when(topic.partitions.is_empty(), "a topic without partitions")
                .or(when(
                    self.image.topic(&topic.name).is_some(),
                    "a topic that exists already",
                ))
                .or(when(
                    self.image.topic_by_id(topic.topic_id).is_some(),
                    "a topic id that is taken",
                )),
            Record::Partitions {
                topic_id, first, ..
            } => match self.image.topic_by_id(*topic_id) {
                None => Some(NO_TOPIC),
                Some(topic) => when(
                    usize::try_from(*first) != Ok(topic.partitions.len()),
                    "partitions with a gap",
                ),
            },
            Record::RemoveTopic { topic_id } => {
                when(self.image.topic_by_id(*topic_id).is_none(), NO_TOPIC)
            }
            Record::PartitionHomes { topic_id, homes } => match self.image.topic_by_id(*topic_id) {
                None => Some(NO_TOPIC),
                Some(topic) => when(
                    homes
                        .iter()
                        .any(|(index, _)| topic.partition(*index).is_none()),
                    "a partition that does not exist",
                ),
            },
            Record::LeaderEpochs { leader } => {
                let mut partitions = self.image.topics().flat_map(|topic| &topic.partitions);
                when(
                    partitions.any(|partition| {
                        partition.leader == *leader
                            && (partition.leader_epoch == i32::MAX
                                || partition.partition_epoch == i32::MAX)
                    }),
                    "an epoch past the last",
                )
            }
            Record::ProducerIds {
                next_producer_id, ..
            } => when(
                *next_producer_id <= self.image.next_producer_id,
                "producer ids that go back",
            ),
            Record::FeatureLevel { level, .. } => when(*level < 0, "a negative feature level"),
        }
    }
}
