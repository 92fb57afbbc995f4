//! Fetch sessions (KIP-227): the broker remembers what a client fetches, so that requests and responses only carry what
//! changed (Kafka: `FetchManager`, `FetchContext`, `FetchSession`).
//!
//! A fetch goes [`FetchSessions::open`] → read [`FetchContext::partitions`] in their order → [`FetchSessions::respond`]
//! with one result each → write the included ones → [`FetchSessions::finish`]. While a fetch waits for data its context
//! owns the session's partitions, so nothing is copied or borrowed; a context dropped without `finish` (the connection
//! closed) leaves an empty session, whose next request is answered INVALID_FETCH_SESSION_EPOCH and starts anew.
//!
//! Sessions belong to one shard; each shard gives out its own range of session ids.

mod cache;
mod plan;

use std::ops::Range;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::uuid::Uuid;

use cache::Cache;
use plan::Plan;

/// "No session", in requests and responses.
pub const INVALID_SESSION_ID: i32 = 0;
/// Session epoch of a request that wants all partitions, and a session if there is room.
pub const INITIAL_EPOCH: i32 = 0;
/// Session epoch of a request that wants all partitions and no session; what requests below version 7 have.
pub const FINAL_EPOCH: i32 = -1;
/// A session is stale, or old enough to give way to a larger one, after this time (Kafka: `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
pub const EVICTION_MS: i64 = 120_000;
/// Partitions of all sessions of one shard together. Kafka bounds only the number of sessions.
pub const PARTITIONS_MAX: usize = 1_000_000;

/// How a session knows a topic: by name up to version 12, by id from version 13 on; never both in one session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// Topic id.
    Id(Uuid),
    /// Name; share one `Arc` among a topic's partitions.
    Name(Arc<str>),
}

/// A partition of a session: topic and partition index.
pub type PartitionKey = (TopicKey, i32);

/// What a client wants of one partition; FetchPartition of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which topic.
    pub topic: TopicKey,
    /// Partition index.
    pub partition: i32,
    /// −1: not known to the client.
    pub current_leader_epoch: i32,
    /// Where to read.
    pub fetch_offset: i64,
    /// Epoch of the client's last record; −1: none.
    pub last_fetched_epoch: i32,
    /// A follower's log start; −1 from consumers.
    pub log_start_offset: i64,
    /// Bytes at most of this partition.
    pub partition_max_bytes: i32,
}

/// The session part of a fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchMetadata {
    /// 0: none yet.
    pub session_id: i32,
    /// [`INITIAL_EPOCH`], [`FINAL_EPOCH`], or the next one of the session.
    pub session_epoch: i32,
    /// Version 13 and up.
    pub uses_topic_ids: bool,
    /// A replica fetches: its session displaces those of consumers.
    pub from_follower: bool,
}

/// What was read for one partition, as far as the session must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionResult {
    /// NONE or what went wrong.
    pub error: ErrorCode,
    /// As it goes into the response.
    pub high_watermark: i64,
    /// As it goes into the response.
    pub last_stable_offset: i64,
    /// As it goes into the response.
    pub log_start_offset: i64,
    /// Bytes of records.
    pub records_bytes: usize,
    /// The response tells a diverging epoch.
    pub has_diverging_epoch: bool,
    /// The response names a preferred read replica.
    pub has_preferred_read_replica: bool,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// error_code of the response as a whole.
    pub error: ErrorCode,
    /// session_id of the response.
    pub session_id: i32,
    /// Places, in the order of [`FetchContext::partitions`], of the partitions the response lists.
    pub included: Vec<u32>,
}

/// One fetch on its way.
#[derive(Debug)]
pub struct FetchContext(Kind);

#[derive(Debug)]
enum Kind {
    /// Answered with an error and no partitions.
    Refused(ErrorCode),
    /// All partitions are in the request, no session.
    Sessionless(Vec<FetchPartition>),
    /// All partitions are in the request; a session may come of it.
    Full {
        metadata: FetchMetadata,
        partitions: Vec<FetchPartition>,
    },
    /// `epoch` is the one the session expects next.
    Incremental {
        session_id: i32,
        epoch: i32,
        plan: Box<Plan>,
    },
}

impl FetchContext {
    /// The request is refused as a whole: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or
    /// FETCH_SESSION_TOPIC_ID_ERROR. Answer at once.
    pub fn error(&self) -> Option<ErrorCode> {
        match self.0 {
            Kind::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// How many partitions to read.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Refused(_) => 0,
            Kind::Sessionless(partitions) | Kind::Full { partitions, .. } => partitions.len(),
            Kind::Incremental { plan, .. } => plan.len(),
        }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partition at a place below [`FetchContext::len`].
    pub fn partition(&self, place: usize) -> Option<&FetchPartition> {
        match &self.0 {
            Kind::Refused(_) => None,
            Kind::Sessionless(partitions) | Kind::Full { partitions, .. } => partitions.get(place),
            Kind::Incremental { plan, .. } => plan.partition(place),
        }
    }

    /// What to read, in order: that of the request, or in a session those that waited longest for data first.
    pub fn partitions(&self) -> impl Iterator<Item = &FetchPartition> {
        (0..self.len()).filter_map(|place| self.partition(place))
    }
}

/// The fetch sessions of one shard.
#[derive(Debug)]
pub struct FetchSessions {
    cache: Cache,
}

impl FetchSessions {
    /// `slots`: max.incremental.fetch.session.cache.slots, this shard's part of it. `ids`: session ids to give out,
    /// positive and of no other shard; at least twice as many as slots. `seed`: makes ids hard to guess.
    pub fn new(slots: usize, ids: Range<i32>, seed: u64) -> FetchSessions {
        FetchSessions {
            cache: Cache::new(slots, ids, seed),
        }
    }

    /// Takes a request. `partitions` are all of them in a full fetch, else the new and changed ones; `forgotten` is
    /// only looked at in an incremental fetch.
    pub fn open(
        &mut self,
        metadata: FetchMetadata,
        partitions: impl IntoIterator<Item = FetchPartition>,
        forgotten: impl IntoIterator<Item = PartitionKey>,
        now: i64,
    ) -> FetchContext {
        let FetchMetadata {
            session_id,
            session_epoch,
            ..
        } = metadata;
        if session_epoch != INITIAL_EPOCH && session_epoch != FINAL_EPOCH {
            return FetchContext(self.open_incremental(metadata, partitions, forgotten, now));
        }
        // A full fetch that names a session closes it.
        if session_id != INVALID_SESSION_ID {
            self.cache.remove(session_id);
        }
        let partitions = partitions.into_iter().collect();
        FetchContext(match session_epoch {
            FINAL_EPOCH => Kind::Sessionless(partitions),
            _ => Kind::Full {
                metadata,
                partitions,
            },
        })
    }

    fn open_incremental(
        &mut self,
        metadata: FetchMetadata,
        partitions: impl IntoIterator<Item = FetchPartition>,
        forgotten: impl IntoIterator<Item = PartitionKey>,
        now: i64,
    ) -> Kind {
        let FetchMetadata {
            session_id,
            session_epoch,
            uses_topic_ids,
            ..
        } = metadata;
        let Some(session) = self.cache.get_mut(session_id) else {
            return Kind::Refused(ErrorCode::FetchSessionIdNotFound);
        };
        if session.epoch != session_epoch {
            return Kind::Refused(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Kind::Refused(ErrorCode::FetchSessionTopicIdError);
        }
        // Another request of this session is still on its way, or was dropped: the client starts anew.
        let Some(mut plan) = session.plan.take() else {
            return Kind::Refused(ErrorCode::InvalidFetchSessionEpoch);
        };
        plan.update(partitions, forgotten);
        session.epoch = next_epoch(session_epoch);
        let epoch = session.epoch;
        if plan.len() == 0 {
            self.cache.remove(session_id);
            return Kind::Sessionless(Vec::new());
        }
        if !self.cache.touch(session_id, plan.len(), now) {
            self.cache.remove(session_id);
            return Kind::Refused(ErrorCode::FetchSessionIdNotFound);
        }
        Kind::Incremental {
            session_id,
            epoch,
            plan,
        }
    }

    /// Decides what the response lists; one result for each of [`FetchContext::partitions`], in their order. May be
    /// called once for a context, followed by [`FetchSessions::finish`].
    pub fn respond(
        &mut self,
        context: &mut FetchContext,
        results: &[PartitionResult],
        now: i64,
    ) -> FetchAnswer {
        assert_eq!(
            results.len(),
            context.len(),
            "one result for each partition"
        );
        let all = || (0..results.len() as u32).collect();
        match &mut context.0 {
            Kind::Refused(error) => FetchAnswer {
                error: *error,
                session_id: INVALID_SESSION_ID,
                included: Vec::new(),
            },
            Kind::Sessionless(_) => FetchAnswer {
                error: ErrorCode::None,
                session_id: INVALID_SESSION_ID,
                included: all(),
            },
            Kind::Full {
                metadata,
                partitions,
            } => {
                let session_id = self.cache.create(*metadata, partitions, results, now);
                FetchAnswer {
                    error: ErrorCode::None,
                    session_id,
                    included: all(),
                }
            }
            Kind::Incremental {
                session_id,
                epoch,
                plan,
            } => {
                // The session went on without this request: what it learnt is out of date.
                if self
                    .cache
                    .get_mut(*session_id)
                    .is_some_and(|session| session.epoch != *epoch)
                {
                    let error = ErrorCode::InvalidFetchSessionEpoch;
                    return FetchAnswer {
                        error,
                        session_id: *session_id,
                        included: Vec::new(),
                    };
                }
                FetchAnswer {
                    error: ErrorCode::None,
                    session_id: *session_id,
                    included: plan.respond(results),
                }
            }
        }
    }

    /// A response without partitions, for a client that is held back (quota): the session stays as it is.
    pub fn respond_throttled(&self, context: &FetchContext) -> FetchAnswer {
        let (error, session_id) = match &context.0 {
            Kind::Refused(error) => (*error, INVALID_SESSION_ID),
            Kind::Sessionless(_) | Kind::Full { .. } => (ErrorCode::None, INVALID_SESSION_ID),
            Kind::Incremental { session_id, .. } => (ErrorCode::None, *session_id),
        };
        FetchAnswer {
            error,
            session_id,
            included: Vec::new(),
        }
    }

    /// Gives the session its partitions back, once the response is written.
    pub fn finish(&mut self, context: FetchContext) {
        if let Kind::Incremental {
            session_id,
            epoch,
            plan,
        } = context.0
            && let Some(session) = self.cache.get_mut(session_id)
            && session.epoch == epoch
        {
            assert!(
                session.plan.is_none(),
                "one context at a time holds the partitions of a session"
            );
            session.plan = Some(plan);
        }
    }

    /// Sessions held.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Partitions in all sessions.
    pub fn partition_count(&self) -> usize {
        self.cache.partition_count()
    }

    /// Sessions that had to give way, ever.
    pub fn evictions(&self) -> u64 {
        self.cache.evictions()
    }
}

/// After the largest epoch comes 1: 0 and −1 have a meaning of their own.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests;
