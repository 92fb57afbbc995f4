//! The group coordinator of one `__consumer_offsets` partition: classic groups and committed offsets.
//!
//! A pure machine. [`Coordinator::step`] takes an [`Input`] and says in [`Effects`] what to answer and what to append;
//! [`Coordinator::next_deadline`] says when an [`Input::Tick`] is due. No clock, I/O or randomness: time and fresh UUIDs
//! come with the inputs.
//!
//! - **Durability is news.** Records handed out in [`Effects::appends`] have not happened until [`Input::Appended`]
//!   says so; only then are they applied and their requests answered. [`Input::AppendFailed`] leaves nothing to undo
//!   but a rebalance to start over. (Waiting members, timers and the course of a rebalance are soft state.)
//! - **The log is the state.** [`Coordinator::replay`] of all durable records in log order, then
//!   [`Coordinator::loaded`], gives the same offsets and the last durable generation of every group.
//! - **Every request is answered exactly once**, at the latest by [`Coordinator::unload`].
//! - Whether this coordinator is the right one and loaded (NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS), which
//!   topics exist, and who may do what, is the caller's business. So are transactions: only records of committed ones
//!   are replayed.
//!
//! Map: `request`, `reply` (the door), `join`, `session`, `rebalance` (the cycle of a group), `classic`, `member`
//! `protocols` (its data), `offsets`, `expiry`, `admin`, `writes` (appends under way), `apply` (what they change), `timers`,
//! `record` (bytes in the log).
//! Absent: KIP-848, share and streams groups; their records are passed over.

mod admin;
mod apply;
mod classic;
mod expiry;
mod join;
mod member;
mod offsets;
mod protocols;
mod rebalance;
pub mod record;
pub mod reply;
pub mod request;
mod session;
mod subscription;
mod timers;
mod verify;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use classic::Group;
use record::{Record, RecordError};
use timers::{Purpose, Timers};
use writes::Writes;

pub use classic::State;
pub use reply::{
    DescribedGroup, DescribedMember, FetchedOffset, FetchedTopic, JoinReply, JoinedMember,
    LeaveReply, ListedGroup, OffsetDeleteReply, Reply, SyncReply, TopicResult,
};
pub use request::{
    CommitPartition, CommitTopic, Heartbeat, Input, JoinGroup, LeaveGroup, LeavingMember,
    OffsetCommit, OffsetDelete, OffsetQuery, Protocol, SyncGroup, Token,
};

/// The knobs that groups obey, under Kafka's names in the comments.
#[derive(Clone, Debug)]
pub struct Config {
    /// `group.max.size`: most members of a group.
    pub group_max_size: usize,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members, again after each newcomer.
    pub initial_rebalance_delay_ms: i32,
    /// How long a new member's JoinGroup may be parked; no knob in Kafka.
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`, in UTF-16 code units.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in ms.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: how often each group is looked at for expiry.
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for Config {
    /// Kafka's defaults.
    fn default() -> Config {
        Config {
            group_max_size: i32::MAX as usize,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            new_member_join_timeout_ms: 300_000,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

/// What a step asks of the caller. It collects; the caller drains it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers to send, in this order.
    pub replies: Vec<(Token, Reply)>,
    /// Batches to append to the partition, in this order, each to be reported by [`Input::Appended`] or
    /// [`Input::AppendFailed`].
    pub appends: Vec<Append>,
}

/// A batch of records that stand or fall together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Names the append in [`Input::Appended`] and [`Input::AppendFailed`]; rises by one.
    pub id: u64,
    /// Key and value of each record; no value is a tombstone.
    pub records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Effects {
    fn reply(&mut self, token: Token, reply: Reply) {
        self.replies.push((token, reply));
    }
}

/// What [`Coordinator::replay`] did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is part of the state now.
    Applied,
    /// It belongs to another group protocol and was passed over; this is its key's type number.
    PassedOver(i16),
}

/// What a group's own steps need of the coordinator.
struct Context<'a> {
    now: i64,
    config: &'a Config,
    timers: &'a mut Timers,
    writes: &'a mut Writes,
    out: &'a mut Effects,
}

impl Context<'_> {
    fn reply(&mut self, token: Token, reply: Reply) {
        self.out.reply(token, reply);
    }
}

/// All groups whose id hashes to one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    groups: BTreeMap<Arc<str>, Group>,
    /// Topic → groups with an offset in it.
    groups_by_topic: BTreeMap<String, BTreeSet<Arc<str>>>,
    timers: Timers,
    writes: Writes,
    loaded: bool,
}

impl Coordinator {
    /// An empty coordinator, to be filled by [`Coordinator::replay`] and started by [`Coordinator::loaded`].
    pub fn new(config: Config) -> Coordinator {
        Coordinator {
            config,
            groups: BTreeMap::new(),
            groups_by_topic: BTreeMap::new(),
            timers: Timers::default(),
            writes: Writes::default(),
            loaded: false,
        }
    }

    /// Changes the knobs; running timers keep their deadlines.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Applies one durable record, in log order, before [`Coordinator::loaded`]. On an error nothing has changed.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Replayed, RecordError> {
        assert!(!self.loaded, "replay is for loading");
        match Record::read(key, value)? {
            Record::Other(kind) => Ok(Replayed::PassedOver(kind)),
            record => {
                self.apply(0, record);
                Ok(Replayed::Applied)
            }
        }
    }

    /// All records were replayed: members found get a full session from now, and steps may begin.
    pub fn loaded(&mut self, now: i64, out: &mut Effects) {
        assert!(!self.loaded, "loaded once");
        self.loaded = true;
        let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
        let group_ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for (at, group_id) in group_ids.iter().enumerate() {
            // Spread over the interval, so that no tick has to look at all groups.
            let delay_ms = interval_ms.saturating_mul(at as i64 + 1) / group_ids.len() as i64;
            self.timers.set(group_id, Purpose::Expire, now + delay_ms);
            self.with_group(now, group_id, out, |group, cx| {
                let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
                for member_id in &members {
                    group.restart_session(cx, member_id);
                }
                if members.len() > cx.config.group_max_size {
                    group.prepare_rebalance(cx);
                }
            });
        }
    }

    /// Takes one event. `now` is in ms and never goes back.
    pub fn step(&mut self, now: i64, input: Input, out: &mut Effects) {
        assert!(self.loaded, "steps begin after loading");
        match input {
            Input::Join(token, request) => self.join(now, token, request, out),
            Input::Sync(token, request) => self.sync(now, token, request, out),
            Input::Heartbeat(token, request) => self.heartbeat(now, token, request, out),
            Input::Leave(token, request) => self.leave(now, token, request, out),
            Input::OffsetCommit(token, request) => self.commit(now, token, request, out),
            Input::OffsetDelete(token, request) => self.delete_offsets(token, request, out),
            Input::DeleteGroups(token, group_ids) => self.delete_groups(token, group_ids, out),
            Input::TopicsDeleted(topics) => self.topics_deleted(&topics, out),
            Input::Appended(id) => self.appended(now, id, out),
            Input::AppendFailed(id, error) => self.append_failed(now, id, error, out),
            Input::AppendLate(id) => self.append_late(now, id, out),
            Input::Tick => self.tick(now, out),
        }
    }

    /// When the next [`Input::Tick`] is due, in ms.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next()
    }

    /// Leadership is lost, or the broker stops: answers every open request with NOT_COORDINATOR. Appends under way are
    /// not waited for; clients find out by asking the next coordinator.
    pub fn unload(mut self, out: &mut Effects) {
        let error = ErrorCode::NotCoordinator;
        for write in self.writes.drain() {
            writes::answer_failed(write.outcome, error, out);
        }
        for group in std::mem::take(&mut self.groups).into_values() {
            for member in group.members.into_values() {
                if let Some(token) = member.joining {
                    out.reply(token, Reply::Join(JoinReply::error(error, &member.id)));
                }
                if let Some(token) = member.syncing {
                    out.reply(token, Reply::Sync(SyncReply::error(error)));
                }
            }
            for input in group.closed.into_iter().flatten() {
                writes::refuse(input, error, out);
            }
        }
    }

    fn tick(&mut self, now: i64, out: &mut Effects) {
        while let Some(key) = self.timers.pop_due(now) {
            match key.purpose {
                Purpose::Join => {
                    self.with_group(now, &key.group, out, |group, cx| group.on_join_timer(cx))
                }
                Purpose::Sync => {
                    self.with_group(now, &key.group, out, |group, cx| group.on_sync_timer(cx))
                }
                Purpose::Session(member_id) => {
                    self.with_group(now, &key.group, out, |group, cx| {
                        group.on_session_timer(cx, &member_id)
                    });
                }
                Purpose::Expire => self.on_expire_timer(now, &key.group, out),
            }
        }
    }

    /// Runs a group's own step, if the group is there, and forgets the group if nothing is left of it.
    fn with_group(
        &mut self,
        now: i64,
        group_id: &str,
        out: &mut Effects,
        step: impl FnOnce(&mut Group, &mut Context),
    ) {
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        let mut cx = Context {
            now,
            config: &self.config,
            timers: &mut self.timers,
            writes: &mut self.writes,
            out,
        };
        step(group, &mut cx);
        self.remove_group_if_unused(group_id);
    }

    /// From here on commands for this group wait until its deletion is decided.
    fn close_group(&mut self, group_id: &str) {
        let Some(group) = self.groups.get_mut(group_id) else {
            panic!("closed groups exist")
        };
        assert!(group.closed.is_none() && group.members.is_empty());
        group.closed = Some(Vec::new());
    }
}

#[cfg(test)]
mod tests;
