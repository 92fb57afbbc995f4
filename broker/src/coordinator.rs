//! Group coordinators on this core: one state machine for each partition of `__consumer_offsets` that lives here.
//!
//! The glue is Kafka's own split: the machine decides and gives records and replies; the driver appends the records,
//! tells the machine when they are durable, passes replies on and arms the timer.

mod driver;
mod load;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use millstream_protocol::error::ErrorCode;
use millstream_state::group::{Coordinator, Input, Reply, Token};

use crate::partition::Partition;
use crate::shard::Shard;
use crate::topics::Home;
use driver::Driver;

/// Where groups and their offsets are kept.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The coordinators of one core by partition.
#[derive(Default)]
pub(crate) struct Groups {
    drivers: RefCell<BTreeMap<i32, Rc<Driver>>>,
}

impl Groups {
    /// Starts the coordinator of a partition that has come to this core; it answers COORDINATOR_LOAD_IN_PROGRESS until
    /// the partition is read.
    pub(crate) fn open(&self, shard: &Rc<Shard>, partition: Rc<Partition>) {
        let index = partition.index;
        let driver = Driver::start(shard, partition);
        self.drivers.borrow_mut().insert(index, driver);
    }

    /// Drops the coordinator of a partition that has left; whoever waits there is answered NOT_COORDINATOR.
    pub(crate) fn close(&self, index: i32) {
        if let Some(driver) = self.drivers.borrow_mut().remove(&index) {
            driver.close();
        }
    }

    /// Answers everyone who waits, at the end.
    pub(crate) fn close_all(&self) {
        for driver in self.drivers.take().into_values() {
            driver.close();
        }
    }

    /// Drops the committed offsets of deleted topics.
    pub(crate) fn topics_deleted(&self, names: &[String]) {
        for driver in self.drivers.borrow().values() {
            driver.tell(Input::TopicsDeleted(names.to_vec()));
        }
    }

    fn driver(&self, index: i32) -> Result<Rc<Driver>, ErrorCode> {
        self.drivers
            .borrow()
            .get(&index)
            .cloned()
            .ok_or(ErrorCode::NotCoordinator)
    }
}

/// The partition of `__consumer_offsets` that keeps a group, and the core it lives on.
pub(crate) fn home(shard: &Shard, group_id: &str) -> Result<(i32, usize), ErrorCode> {
    let topic = shard
        .topics
        .by_name(OFFSETS_TOPIC)
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let index = partition_for(group_id, topic.partition_count());
    match topic.home(index) {
        Home::Here(_) => Ok((index, shard.index)),
        Home::Core(core) => Ok((index, core)),
        Home::Nowhere => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

/// `Utils.abs(groupId.hashCode()) % partitions`, where Java hashes UTF-16 units and `abs` clears the sign bit.
pub(crate) fn partition_for(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    (hash & i32::MAX) % partitions.max(1)
}

/// Asks the coordinator of `group_id`, wherever it lives.
pub(crate) async fn ask(
    shard: &Rc<Shard>,
    group_id: &str,
    input: impl FnOnce(Token) -> Input + Send + 'static,
) -> Result<Reply, ErrorCode> {
    let (index, core) = home(shard, group_id)?;
    shard
        .on(core, move |there| async move {
            let driver = there.groups.driver(index)?;
            driver.ask(input).await
        })
        .await
}

/// Reads from the coordinator of `group_id`, wherever it lives.
pub(crate) async fn read<R: Send + 'static>(
    shard: &Rc<Shard>,
    group_id: &str,
    look: impl FnOnce(&Coordinator) -> R + Send + 'static,
) -> Result<R, ErrorCode> {
    let (index, core) = home(shard, group_id)?;
    shard
        .on(core, move |there| async move {
            there.groups.driver(index)?.read(look)
        })
        .await
}

/// Reads from every coordinator of the broker, core by core.
pub(crate) async fn read_all<R: Send + 'static>(
    shard: &Rc<Shard>,
    look: impl Fn(&Coordinator) -> R + Clone + Send + 'static,
) -> Result<Vec<R>, ErrorCode> {
    let mut all = Vec::new();
    for core in 0..shard.cores {
        let look = look.clone();
        let here: Result<Vec<R>, ErrorCode> = shard
            .on(core, move |there| async move {
                let drivers: Vec<Rc<Driver>> =
                    there.groups.drivers.borrow().values().cloned().collect();
                drivers.iter().map(|driver| driver.read(&look)).collect()
            })
            .await;
        all.extend(here?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_where_kafka_looks_for_them() {
        // jshell: ("my-group".hashCode() & 0x7fffffff) % 50, and one whose hash is negative, and one outside of ASCII
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(partition_for("my-group", 50), 36);
        assert_eq!(partition_for("console-consumer-12345", 50), 6);
        assert_eq!(partition_for("gr\u{fc}ppe-\u{1f600}", 50), 34);
    }
}
