//! CreatePartitions.

use std::collections::BTreeSet;

use millstream_protocol::error::ErrorCode;

use super::assign::manual_assignment;
use super::{AddedPartitions, Draft, MorePartitions, REQUEST_PARTITIONS_MAX, repeated, too_many};
use crate::controller::placement::{Context, place_replicas};
use crate::controller::record::Record;
use crate::controller::{Refusal, Reply, State};

impl State {
    pub(in crate::controller) fn create_partitions(
        &self,
        topics: &[MorePartitions],
        validate_only: bool,
        context: &Context,
    ) -> (Vec<Record>, Reply) {
        let twice = repeated(topics.iter().map(|topic| topic.name.as_str()));
        let mut draft = self.draft();
        let mut answered = BTreeSet::new();
        let mut reply = Vec::with_capacity(topics.len());
        for more in topics {
            let result = if twice.contains(more.name.as_str()) {
                if !answered.insert(more.name.as_str()) {
                    continue;
                }
                Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.",
                ))
            } else {
                self.add_partitions(more, context, &mut draft)
            };
            reply.push(AddedPartitions {
                name: more.name.clone(),
                result,
            });
        }
        let records = if validate_only {
            Vec::new()
        } else {
            draft.records
        };
        (records, Reply::AddedPartitions(reply))
    }

    /// One row of CreatePartitions.
    fn add_partitions(
        &self,
        more: &MorePartitions,
        context: &Context,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let topic = self
            .image
            .topic(&more.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let has = topic.partitions.len();
        let wanted = usize::try_from(more.count).unwrap_or(0);
        if wanted == has {
            let message = format!("Topic already has {has} partition(s).");
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        let Some(additional) = wanted.checked_sub(has) else {
            let (name, count) = (&more.name, more.count);
            let message = format!(
                "The topic {name} currently has {has} partition(s); {count} would not be an increase."
            );
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        };
        if draft.partitions + additional > REQUEST_PARTITIONS_MAX {
            return Err(too_many());
        }
        let factor = topic.replication_factor();
        let replicas = match &more.assignments {
            Some(assignments) if assignments.len() != additional => {
                let message = format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                );
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            Some(assignments) => {
                let checked = |brokers: &Vec<i32>| {
                    manual_assignment(&self.image, brokers, Some(factor as usize))
                };
                assignments.iter().map(checked).collect::<Result<_, _>>()?
            }
            None => place_replicas(&self.image, draft.partitions, additional, factor)?,
        };
        let partitions = self.new_partitions(replicas, 0, context, draft)?;
        draft.records.push(Record::Partitions {
            topic_id: topic.topic_id,
            first: has as i32,
            partitions,
        });
        Ok(())
    }
}
