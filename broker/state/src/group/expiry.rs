//! The end of offsets, by age or with their topic, and of groups that have none left.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::classic::{Group, State};
use super::offsets::tombstone;
use super::record::{OffsetValue, Record};
use super::timers::Purpose;
use super::writes::Outcome;
use super::{Coordinator, Effects};

/// Tombstones in one append, when there is no need for them to stand or fall together.
const TOMBSTONES_PER_APPEND_MAX: usize = 1_000;

impl Coordinator {
    pub(super) fn topics_deleted(&mut self, topics: &[String], out: &mut Effects) {
        let mut gone: BTreeSet<(Arc<str>, &str, i32)> = BTreeSet::new();
        for topic in topics {
            for group_id in self.groups_by_topic.get(topic).into_iter().flatten() {
                let partitions = self
                    .groups
                    .get(group_id)
                    .and_then(|group| group.offsets.topics.get(topic));
                for index in partitions.into_iter().flatten().map(|(index, _)| *index) {
                    gone.insert((group_id.clone(), topic, index));
                }
            }
        }
        // Also those on their way into the log; the tombstones come behind them.
        let deleted: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
        for record in self.writes.iter().flat_map(|write| &write.records) {
            if let Record::Offset {
                group,
                topic,
                partition,
                value: Some(_),
            } = record
                && let Some(topic) = deleted.get(topic.as_str())
            {
                gone.insert((group.as_str().into(), topic, *partition));
            }
        }
        let gone: Vec<Record> = gone
            .into_iter()
            .map(|(group, topic, index)| tombstone(&group, topic, index))
            .collect();
        for records in gone.chunks(TOMBSTONES_PER_APPEND_MAX) {
            self.writes
                .append(out, records.to_vec(), Outcome::Expired(Vec::new()));
        }
    }

    /// Looks at one group's offsets, and at the group itself once it has none; its next look is always ahead.
    pub(super) fn on_expire_timer(&mut self, now: i64, group_id: &Arc<str>, out: &mut Effects) {
        let Some(group) = self.groups.get(group_id) else {
            return;
        };
        self.timers.set(
            group_id,
            Purpose::Expire,
            now + self.config.offsets_retention_check_interval_ms,
        );
        if group.closed.is_some() {
            return;
        }
        let under_way: BTreeSet<(&str, i32)> = self.writes.offsets_of(group_id).collect();
        let retention_ms = self.config.offsets_retention_ms;
        let is_expired = |(topic, index, value): &(&str, i32, &OffsetValue)| {
            group.has_expired(now, retention_ms, topic, value)
                && !under_way.contains(&(*topic, *index))
        };
        let all = group.offsets.iter().count();
        let mut records: Vec<Record> = group
            .offsets
            .iter()
            .filter(is_expired)
            .map(|(topic, index, _)| tombstone(group_id, topic, index))
            .collect();
        let nothing_left = records.len() == all && under_way.is_empty();
        let ends = nothing_left && group.state == State::Empty && group.pending_joins.is_empty();
        if ends && all == 0 && !group.recorded {
            self.remove_group(group_id);
        } else if ends {
            records.push(Record::Group {
                group: group_id.to_string(),
                value: None,
            });
            self.close_group(group_id);
            self.writes
                .append(out, records, Outcome::Expired(vec![group_id.clone()]));
        } else {
            let note = group.note_failed && matches!(group.state, State::Empty | State::Stable);
            for records in records.chunks(TOMBSTONES_PER_APPEND_MAX) {
                self.writes
                    .append(out, records.to_vec(), Outcome::Expired(Vec::new()));
            }
            if note {
                self.with_group(now, group_id, out, |group, cx| group.note(cx));
            }
        }
    }
}

impl Group {
    /// KIP-211: an empty group's offsets age from the moment it became empty, those of simple consumers from their
    /// commit, and in a stable group of consumers those of topics that nobody reads any more.
    fn has_expired(&self, now: i64, retention_ms: i64, topic: &str, value: &OffsetValue) -> bool {
        let base = match (&self.protocol_type, self.state) {
            (None, _) => value.commit_timestamp,
            (Some(_), State::Empty) => self.state_timestamp.unwrap_or(value.commit_timestamp),
            (Some(_), State::Stable) if self.subscribed_topics.is_some() => value.commit_timestamp,
            _ => return false,
        };
        let is_old = match value.expire_timestamp {
            ..0 => now.saturating_sub(base) >= retention_ms,
            expire_timestamp => now >= expire_timestamp,
        };
        is_old && !self.is_subscribed_to(topic)
    }
}
