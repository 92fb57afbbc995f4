//! Rows for new partitions: brokers as the user assigned them, or as placed; each with a home.

use std::collections::BTreeMap;

use millstream_protocol::error::ErrorCode;

use super::{Draft, PARTITIONS_MAX};
use crate::controller::image::{Image, Partition};
use crate::controller::placement::Context;
use crate::controller::{Refusal, State};

impl State {
    /// Rows for new partitions of a topic, each with its home. A refusal leaves the draft as it was.
    pub(super) fn new_partitions(
        &self,
        replicas: Vec<Box<[i32]>>,
        leader_epoch: i32,
        context: &Context,
        draft: &mut Draft,
    ) -> Result<Vec<Partition>, Refusal> {
        if self.image.partition_count() + draft.partitions + replicas.len() > PARTITIONS_MAX {
            let message = format!("A cluster has at most {PARTITIONS_MAX} partitions.");
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        let mut load = draft.load.clone();
        let mut partitions = Vec::with_capacity(replicas.len());
        for replicas in replicas {
            let leader = *replicas
                .first()
                .expect("no assignment is empty: checked where it was made");
            let home = load.place(context)?;
            let isr = replicas.clone();
            partitions.push(Partition {
                leader,
                leader_epoch,
                partition_epoch: 0,
                replicas,
                isr,
                home,
            });
        }
        draft.load = load;
        draft.partitions += partitions.len();
        Ok(partitions)
    }
}

pub(super) fn manual_replicas(
    image: &Image,
    assignments: &[(i32, Vec<i32>)],
) -> Result<Vec<Box<[i32]>>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    let mut by_index: BTreeMap<i32, Box<[i32]>> = BTreeMap::new();
    let mut factor = None;
    for (index, brokers) in assignments {
        if by_index.contains_key(index) {
            return refuse(format!(
                "Found multiple manual partition assignments for partition {index}"
            ));
        }
        let replicas = manual_assignment(image, brokers, factor)?;
        factor = Some(replicas.len());
        by_index.insert(*index, replicas);
    }
    if by_index.keys().copied().ne(0..by_index.len() as i32) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_string());
    }
    Ok(by_index.into_values().collect())
}

/// One partition's brokers, as the user wants them (Kafka: `validateManualPartitionAssignment`).
pub(super) fn manual_assignment(
    image: &Image,
    brokers: &[i32],
    factor: Option<usize>,
) -> Result<Box<[i32]>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if brokers.is_empty() {
        return refuse(
            "The manual partition assignment includes an empty replica list.".to_string(),
        );
    }
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    let mut last = None;
    for broker in sorted {
        if image.broker(broker).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
        if last.replace(broker) == Some(broker) {
            return refuse(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
    }
    match factor {
        Some(factor) if factor != brokers.len() => refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s).",
            brokers.len()
        )),
        _ => Ok(brokers.into()),
    }
}
