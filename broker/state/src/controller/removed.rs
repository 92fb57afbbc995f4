//! Topics that are gone while logs of theirs may still be in a data directory: one that is offline, or not in `log.dirs`
//! this time, comes back with them.
//!
//! Without this they would be logs that nobody knows, and those are kept (`-stray`), as Kafka keeps them: they might as
//! well be logs of which the metadata was lost. What is listed here was removed by request, and may be deleted.

use std::collections::{BTreeMap, BTreeSet};

use millstream_protocol::uuid::Uuid;

use super::State;
use super::image::{Home, Partition, Topic};
use super::record::Record;

/// Directories by topic.
pub(super) type Removed = BTreeMap<Uuid, BTreeSet<Uuid>>;

impl State {
    /// Ids of topics that were removed, each with the `directory.id` of all data directories that may have logs of it.
    pub fn removed(&self) -> &BTreeMap<Uuid, BTreeSet<Uuid>> {
        &self.removed
    }

    /// In directories that `in_directory` names, no log of a removed topic is left.
    pub fn logs_are_deleted(&mut self, in_directory: impl Fn(&Uuid) -> bool) {
        self.removed.retain(|_, directories| {
            directories.retain(|directory| !in_directory(directory));
            !directories.is_empty()
        });
    }

    pub(super) fn note_removed(&mut self, topic: &Topic) {
        let directories = topic.partitions.iter().map(|p| p.home.directory);
        let noted = self.removed.entry(topic.topic_id).or_default();
        noted.extend(directories);
    }

    /// Records that lead to what is removed: each topic comes, with as little as tells where its logs are, and goes. They
    /// stand before all others, which know nothing of these topics.
    pub(super) fn removed_records(&self) -> impl Iterator<Item = Record> + '_ {
        self.removed.iter().flat_map(|(&topic_id, directories)| {
            let partition = |&directory: &Uuid| Partition {
                leader: -1,
                leader_epoch: 0,
                partition_epoch: 0,
                replicas: Box::new([-1]),
                isr: Box::new([]),
                home: Home { core: 0, directory },
            };
            let topic = Topic {
                name: "removed".into(),
                topic_id,
                partitions: directories.iter().map(partition).collect(),
            };
            [Record::Topic(topic), Record::RemoveTopic { topic_id }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::Position;
    use super::super::log::{decode_snapshot, encode_snapshot};
    use super::super::record::Entry;
    use super::*;

    const HERE: Uuid = Uuid([1; 16]);
    const AWAY: Uuid = Uuid([2; 16]);

    fn topic(name: &str, id: u8, directories: &[Uuid]) -> Record {
        let partition = |&directory: &Uuid| Partition {
            leader: 1,
            leader_epoch: 3,
            partition_epoch: 4,
            replicas: Box::new([1]),
            isr: Box::new([1]),
            home: Home { core: 1, directory },
        };
        Record::Topic(Topic {
            name: name.into(),
            topic_id: Uuid([id; 16]),
            partitions: directories.iter().map(partition).collect(),
        })
    }

    fn remove(id: u8) -> Record {
        Record::RemoveTopic {
            topic_id: Uuid([id; 16]),
        }
    }

    fn after(records: Vec<Record>) -> State {
        let mut state = State::new();
        let position = Position { epoch: 1, index: 0 };
        state.replay(&Entry { position, records });
        state
    }

    #[test]
    fn a_topic_is_remembered_until_no_directory_has_it() {
        let mut state = after(vec![
            topic("both", 7, &[HERE, AWAY, HERE]),
            topic("near", 8, &[HERE]),
            topic("kept", 9, &[AWAY]),
            remove(7),
            remove(8),
        ]);
        assert_eq!(state.removed().len(), 2);
        state.logs_are_deleted(|directory| *directory == HERE);
        let left = BTreeMap::from([(Uuid([7; 16]), BTreeSet::from([AWAY]))]);
        assert_eq!(*state.removed(), left);
        state.logs_are_deleted(|_| true);
        assert!(state.removed().is_empty());
    }

    #[test]
    fn a_snapshot_remembers_too() {
        // A namesake lives: what is remembered must not touch it.
        let mut state = after(vec![
            topic("removed", 7, &[HERE, AWAY]),
            topic("other", 8, &[AWAY]),
            remove(7),
            remove(8),
            topic("removed", 9, &[HERE]),
        ]);
        for _ in 0..2 {
            let read = decode_snapshot(&encode_snapshot(&state)).expect("it is whole");
            assert!(read == state);
            state.logs_are_deleted(|directory| *directory == HERE);
        }
        let topics: Vec<_> = state.image().topics().map(|t| t.topic_id).collect();
        assert_eq!(topics, [Uuid([9; 16])]);
    }
}
