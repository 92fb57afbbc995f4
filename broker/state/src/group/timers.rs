//! Deadlines in order, each under a key: one per (group, purpose). Setting a key again moves its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What happens at a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// This member, or pending member, was not heard of for its session timeout.
    Session(Arc<str>),
    /// The join phase ends.
    Join,
    /// The sync phase ends.
    Sync,
    /// Offsets and the group itself are looked at for expiry.
    Expire,
}

/// A timer's name: the group and what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// Group id.
    pub group: Arc<str>,
    /// What for.
    pub purpose: Purpose,
}

/// An ordered timer map; every operation is logarithmic in the number of timers.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeSet<(i64, TimerKey)>,
    deadlines: BTreeMap<TimerKey, i64>,
}

impl Timers {
    /// Sets or moves a timer to `deadline` (ms).
    pub fn set(&mut self, group: &Arc<str>, purpose: Purpose, deadline: i64) {
        let key = TimerKey {
            group: group.clone(),
            purpose,
        };
        if let Some(old) = self.deadlines.insert(key.clone(), deadline) {
            if old == deadline {
                return;
            }
            let moved = self.queue.remove(&(old, key.clone()));
            assert!(moved, "a timer is in both maps");
        }
        self.queue.insert((deadline, key));
        assert_eq!(self.queue.len(), self.deadlines.len());
    }

    /// Drops a timer; nothing happens if it is not set.
    pub fn cancel(&mut self, group: &Arc<str>, purpose: Purpose) {
        let key = TimerKey {
            group: group.clone(),
            purpose,
        };
        if let Some(deadline) = self.deadlines.remove(&key) {
            let dropped = self.queue.remove(&(deadline, key));
            assert!(dropped, "a timer is in both maps");
        }
    }

    /// Is this timer set?
    pub fn is_set(&self, group: &Arc<str>, purpose: Purpose) -> bool {
        self.deadlines.contains_key(&TimerKey {
            group: group.clone(),
            purpose,
        })
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<i64> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest timer if it is due.
    pub fn pop_due(&mut self, now: i64) -> Option<TimerKey> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        let found = self.deadlines.remove(&key);
        assert!(found.is_some(), "a timer is in both maps");
        Some(key)
    }

    /// All timers, by key.
    pub fn keys(&self) -> impl Iterator<Item = &TimerKey> {
        self.deadlines.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_moves_and_fires_once() {
        let group: Arc<str> = "g".into();
        let mut timers = Timers::default();
        timers.set(&group, Purpose::Join, 10);
        timers.set(&group, Purpose::Sync, 20);
        timers.set(&group, Purpose::Join, 30);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(30).unwrap().purpose, Purpose::Sync);
        assert_eq!(timers.pop_due(30).unwrap().purpose, Purpose::Join);
        assert_eq!(timers.pop_due(30), None);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire() {
        let group: Arc<str> = "g".into();
        let mut timers = Timers::default();
        timers.set(&group, Purpose::Session("m".into()), 10);
        assert!(timers.is_set(&group, Purpose::Session("m".into())));
        timers.cancel(&group, Purpose::Session("m".into()));
        timers.cancel(&group, Purpose::Expire);
        assert_eq!(timers.next(), None);
        assert_eq!(timers.keys().count(), 0);
    }
}
