//! The slots for sessions, and who must give way when they are full (Kafka: `FetchSessionCacheShard`).
//!
//! A new session takes the slot of: the one unused longest, if that is longer than [`EVICTION_MS`]; else the least
//! valuable of those it may displace, if that is worth less than itself. Followers are worth more than consumers, then
//! many partitions more than few. Followers may displace any consumer; apart from that, only sessions older than
//! [`EVICTION_MS`] are displaced, so that clients do not push each other out in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::plan::Plan;
use super::{
    EVICTION_MS, FetchMetadata, FetchPartition, INITIAL_EPOCH, INVALID_SESSION_ID, PARTITIONS_MAX,
    PartitionResult, next_epoch,
};

#[derive(Debug)]
pub(super) struct Session {
    /// The epoch its next request must have.
    pub(super) epoch: i32,
    pub(super) uses_topic_ids: bool,
    /// `None` while a request of the session is on its way.
    pub(super) plan: Option<Box<Plan>>,
    privileged: bool,
    created_ms: i64,
    last_used_ms: i64,
    size: usize,
}

/// Worth of a session: privileged, partitions, id.
type Worth = (bool, usize, i32);

#[derive(Debug)]
pub(super) struct Cache {
    slots: usize,
    ids: Range<i32>,
    random: u64,
    sessions: BTreeMap<i32, Session>,
    last_used: BTreeSet<(i64, i32)>,
    evictable_by_all: BTreeSet<Worth>,
    evictable_by_privileged: BTreeSet<Worth>,
    partitions: usize,
    evictions: u64,
}

impl Cache {
    pub(super) fn new(slots: usize, ids: Range<i32>, seed: u64) -> Cache {
        assert!(ids.start > INVALID_SESSION_ID, "session ids are positive");
        let many = i64::from(ids.end) - i64::from(ids.start);
        assert!(
            many >= 2 * slots as i64,
            "{many} ids are too few for {slots} slots"
        );
        Cache {
            slots,
            ids,
            random: seed,
            sessions: BTreeMap::new(),
            last_used: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictable_by_privileged: BTreeSet::new(),
            partitions: 0,
            evictions: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn partition_count(&self) -> usize {
        self.partitions
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(super) fn get_mut(&mut self, session_id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&session_id)
    }

    /// A session for a full fetch that was just answered; 0 if there is no room.
    pub(super) fn create(
        &mut self,
        metadata: FetchMetadata,
        partitions: &[FetchPartition],
        results: &[PartitionResult],
        now: i64,
    ) -> i32 {
        let size = partitions.len();
        if self.partitions + size > PARTITIONS_MAX || size == 0 {
            return INVALID_SESSION_ID;
        }
        if self.sessions.len() >= self.slots && !self.may_evict(metadata.from_follower, size, now) {
            return INVALID_SESSION_ID;
        }
        let Some(plan) = Plan::of(partitions, results) else {
            return INVALID_SESSION_ID;
        };
        while self.sessions.len() >= self.slots {
            self.evict(metadata.from_follower, size, now);
        }
        let session_id = self.new_id();
        let session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids: metadata.uses_topic_ids,
            plan: Some(Box::new(plan)),
            privileged: metadata.from_follower,
            created_ms: now,
            last_used_ms: now,
            size: 0,
        };
        self.sessions.insert(session_id, session);
        let room = self.touch(session_id, size, now);
        assert!(room, "room was looked for before");
        session_id
    }

    /// Notes that the session is used and has `size` partitions now. `false`: all sessions together have too many.
    pub(super) fn touch(&mut self, session_id: i32, size: usize, now: i64) -> bool {
        self.unlist(session_id);
        let session = self
            .sessions
            .get_mut(&session_id)
            .expect("only called for sessions that are there");
        self.partitions = self.partitions - session.size + size;
        session.size = size;
        session.last_used_ms = now;
        let old = now.saturating_sub(session.created_ms) > EVICTION_MS;
        let worth = (session.privileged, size, session_id);
        if old {
            self.evictable_by_all.insert(worth);
        }
        if old || !session.privileged {
            self.evictable_by_privileged.insert(worth);
        }
        self.last_used.insert((now, session_id));
        assert_eq!(
            self.last_used.len(),
            self.sessions.len(),
            "each session was used once last"
        );
        self.partitions <= PARTITIONS_MAX
    }

    pub(super) fn remove(&mut self, session_id: i32) {
        self.unlist(session_id);
        if let Some(session) = self.sessions.remove(&session_id) {
            self.partitions -= session.size;
        }
        assert_eq!(
            self.last_used.len(),
            self.sessions.len(),
            "each session was used once last"
        );
    }

    fn unlist(&mut self, session_id: i32) {
        if let Some(session) = self.sessions.get(&session_id) {
            let worth = (session.privileged, session.size, session_id);
            self.last_used.remove(&(session.last_used_ms, session_id));
            self.evictable_by_all.remove(&worth);
            self.evictable_by_privileged.remove(&worth);
        }
    }

    fn may_evict(&self, privileged: bool, size: usize, now: i64) -> bool {
        self.victim(privileged, size, now).is_some()
    }

    fn evict(&mut self, privileged: bool, size: usize, now: i64) {
        let victim = self
            .victim(privileged, size, now)
            .expect("one eviction makes room, and one was found possible");
        self.remove(victim);
        self.evictions += 1;
    }

    fn victim(&self, privileged: bool, size: usize, now: i64) -> Option<i32> {
        let (last_used_ms, stalest) = *self.last_used.first()?;
        if now.saturating_sub(last_used_ms) > EVICTION_MS {
            return Some(stalest);
        }
        let evictable = if privileged {
            &self.evictable_by_privileged
        } else {
            &self.evictable_by_all
        };
        let least = *evictable.first()?;
        // A newcomer of equal worth goes without.
        ((privileged, size, INVALID_SESSION_ID) > least).then_some(least.2)
    }

    fn new_id(&mut self) -> i32 {
        let many = u64::from(self.ids.end.abs_diff(self.ids.start));
        loop {
            // SplitMix64 (Steele, Lea, Flood 2014).
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let session_id = self.ids.start + ((mixed ^ (mixed >> 31)) % many) as i32;
            // At least half of the ids are free.
            if !self.sessions.contains_key(&session_id) {
                return session_id;
            }
        }
    }
}
