//! Where durable state changes: records become offsets and groups, live and at load alike.

use std::sync::Arc;

use super::Coordinator;
use super::classic::Group;
use super::record::{GroupValue, Record};
use super::timers::Purpose;

impl Coordinator {
    /// Applies one durable record. Live, a group's own record only confirms what its members already went through.
    pub(super) fn apply(&mut self, now: i64, record: Record) {
        match record {
            Record::Offset {
                group,
                topic,
                partition,
                value: Some(value),
            } => {
                self.create_group(now, &group);
                let Some(group) = self.groups.get_mut(group.as_str()) else {
                    panic!("just created")
                };
                if group.offsets.put(topic.clone(), partition, value) {
                    self.groups_by_topic
                        .entry(topic)
                        .or_default()
                        .insert(group.id.clone());
                }
            }
            Record::Offset {
                group,
                topic,
                partition,
                value: None,
            } => {
                let Some(entry) = self.groups.get_mut(group.as_str()) else {
                    return;
                };
                if entry.offsets.remove(&topic, partition) {
                    self.forget_topic(&topic, &group);
                }
                // Live, a group without offsets stays until its next expiry round, as in Kafka.
                if !self.loaded {
                    self.remove_group_if_unused(&group);
                }
            }
            Record::Group {
                group,
                value: Some(value),
            } => self.apply_group(now, &group, value),
            Record::Group { group, value: None } => self.apply_group_tombstone(now, &group),
            Record::Other(kind) => panic!("record type {kind} is passed over before"),
        }
    }

    fn apply_group(&mut self, now: i64, group_id: &str, value: GroupValue) {
        if self.loaded
            && let Some(group) = self.groups.get_mut(group_id)
        {
            group.recorded = true;
            return;
        }
        let offsets = self
            .groups
            .remove(group_id)
            .map(|group| group.offsets)
            .unwrap_or_default();
        let group = Group {
            offsets,
            ..Group::loaded(group_id.into(), value)
        };
        if self.loaded {
            assert!(
                group.members.is_empty(),
                "a group with members is never forgotten"
            );
            self.timers.set(
                &group.id,
                Purpose::Expire,
                now + self.config.offsets_retention_check_interval_ms,
            );
        }
        self.groups.insert(group.id.clone(), group);
    }

    /// Offsets without their own tombstones outlive the group's, as those of a simple group.
    fn apply_group_tombstone(&mut self, now: i64, group_id: &str) {
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        assert!(
            !self.loaded || group.members.is_empty(),
            "only empty groups are deleted"
        );
        for pending in std::mem::take(&mut group.pending_joins) {
            self.timers.cancel(&group.id, Purpose::Session(pending));
        }
        let offsets = std::mem::take(&mut group.offsets);
        let closed = group.closed.take();
        *group = Group {
            offsets,
            closed,
            ..Group::new(group.id.clone(), now)
        };
        self.remove_group_if_unused(group_id);
    }

    pub(super) fn create_group(&mut self, now: i64, group_id: &str) {
        if self.groups.contains_key(group_id) {
            return;
        }
        let group_id: Arc<str> = group_id.into();
        if self.loaded {
            self.timers.set(
                &group_id,
                Purpose::Expire,
                now + self.config.offsets_retention_check_interval_ms,
            );
        }
        self.groups
            .insert(group_id.clone(), Group::new(group_id, now));
    }

    pub(super) fn remove_group_if_unused(&mut self, group_id: &str) {
        if let Some(group) = self.groups.get(group_id).filter(|group| group.is_unused()) {
            let group_id = group.id.clone();
            self.remove_group(&group_id);
        }
    }

    pub(super) fn remove_group(&mut self, group_id: &Arc<str>) {
        let Some(group) = self.groups.remove(group_id) else {
            return;
        };
        assert!(group.members.is_empty() && group.offsets.is_empty());
        self.timers.cancel(group_id, Purpose::Expire);
        self.timers.cancel(group_id, Purpose::Join);
        self.timers.cancel(group_id, Purpose::Sync);
    }

    fn forget_topic(&mut self, topic: &str, group_id: &str) {
        if let Some(groups) = self.groups_by_topic.get_mut(topic) {
            groups.remove(group_id);
            if groups.is_empty() {
                self.groups_by_topic.remove(topic);
            }
        }
    }
}
