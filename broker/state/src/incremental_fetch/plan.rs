//! The partitions of one session: what the client wants, and what it was told last.

use std::collections::BTreeMap;

use millstream_protocol::error::ErrorCode;

use super::{FetchPartition, PartitionKey, PartitionResult};

/// No watermark has this value: the next response lists the partition.
const UNTOLD: i64 = -1;

#[derive(Debug)]
struct Entry {
    wanted: FetchPartition,
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
}

/// Entries stay where they are; only the numbers in `order` move. So a fetch over 10,000 partitions allocates nothing
/// but the list of those it includes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    entries: Vec<Entry>,
    /// Places in `entries` that `order` does not name.
    free: Vec<u32>,
    order: Vec<u32>,
    /// `order` after this response; kept apart until the response is written.
    rotated: Vec<u32>,
    index: BTreeMap<PartitionKey, u32>,
}

impl Plan {
    /// The plan a full fetch leaves behind; `None` if it names a partition twice.
    pub(super) fn of(partitions: &[FetchPartition], results: &[PartitionResult]) -> Option<Plan> {
        let mut plan = Plan::default();
        for (wanted, result) in partitions.iter().zip(results) {
            if !plan.put(wanted.clone()) {
                return None;
            }
            plan.entries.last_mut()?.tell(result);
        }
        Some(plan)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn partition(&self, place: usize) -> Option<&FetchPartition> {
        let entry = *self.order.get(place)?;
        Some(&self.entries[entry as usize].wanted)
    }

    /// Takes up new and changed partitions, then drops the forgotten ones. New ones stand at the end.
    pub(super) fn update(
        &mut self,
        partitions: impl IntoIterator<Item = FetchPartition>,
        forgotten: impl IntoIterator<Item = PartitionKey>,
    ) {
        self.rotate();
        for wanted in partitions {
            self.put(wanted);
        }
        let before = self.free.len();
        self.free.extend(
            forgotten
                .into_iter()
                .filter_map(|key| self.index.remove(&key)),
        );
        if self.free.len() > before {
            let mut gone = vec![false; self.entries.len()];
            self.free
                .iter()
                .for_each(|entry| gone[*entry as usize] = true);
            self.order.retain(|entry| !gone[*entry as usize]);
        }
        assert_eq!(
            self.order.len(),
            self.index.len(),
            "each partition has one place in the order"
        );
        assert_eq!(
            self.order.len() + self.free.len(),
            self.entries.len(),
            "each entry is used or free"
        );
    }

    /// Whether the partition was new.
    fn put(&mut self, wanted: FetchPartition) -> bool {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(entry) = self.index.get(&key) {
            self.entries[*entry as usize].wanted = wanted;
            return false;
        }
        let new = Entry {
            wanted,
            high_watermark: UNTOLD,
            last_stable_offset: UNTOLD,
            log_start_offset: UNTOLD,
        };
        let entry = match self.free.pop() {
            Some(free) => {
                self.entries[free as usize] = new;
                free
            }
            None => {
                self.entries.push(new);
                self.entries.len() as u32 - 1
            }
        };
        self.order.push(entry);
        self.index.insert(key, entry);
        true
    }

    /// Places of the partitions the response lists. Those that gave data go to the end of the order, so that the others
    /// come first when bytes are short the next time.
    pub(super) fn respond(&mut self, results: &[PartitionResult]) -> Vec<u32> {
        let mut included = Vec::new();
        self.rotated.clear();
        for (place, result) in results.iter().enumerate() {
            let entry = self.order[place];
            if self.entries[entry as usize].tell(result) {
                included.push(place as u32);
            }
            if result.records_bytes == 0 {
                self.rotated.push(entry);
            }
        }
        let with_data = results
            .iter()
            .zip(&self.order)
            .filter(|(result, _)| result.records_bytes > 0);
        self.rotated.extend(with_data.map(|(_, entry)| *entry));
        assert_eq!(
            self.rotated.len(),
            self.order.len(),
            "rotation loses nothing"
        );
        included
    }

    fn rotate(&mut self) {
        if !self.rotated.is_empty() {
            std::mem::swap(&mut self.order, &mut self.rotated);
            self.rotated.clear();
        }
    }
}

impl Entry {
    /// Notes what the client is told; whether it must be told at all (Kafka: `CachedPartition.maybeUpdateResponseData`).
    fn tell(&mut self, result: &PartitionResult) -> bool {
        let moved = self.high_watermark != result.high_watermark
            || self.last_stable_offset != result.last_stable_offset
            || self.log_start_offset != result.log_start_offset;
        self.high_watermark = result.high_watermark;
        self.last_stable_offset = result.last_stable_offset;
        self.log_start_offset = result.log_start_offset;
        if result.error != ErrorCode::None {
            // When the error goes away the partition must be listed, even with the values from before it.
            self.high_watermark = UNTOLD;
        }
        moved
            || result.error != ErrorCode::None
            || result.records_bytes > 0
            || result.has_diverging_epoch
            || result.has_preferred_read_replica
    }
}
