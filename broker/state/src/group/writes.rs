//! Appends under way. Nothing in them has happened yet: their records are applied, and whoever waits is answered, when
//! the caller reports them durable. A failed append therefore leaves nothing to undo.

use std::collections::VecDeque;
use std::sync::Arc;

use millstream_protocol::error::ErrorCode;

use super::member::Member;
use super::offsets::{commit_results, undecided};
use super::record::Record;
use super::reply::{JoinReply, OffsetDeleteReply, Reply, TopicResult};
use super::request::Input;
use super::request::Token;
use super::{Append, Coordinator, Effects};

/// What an append was for, that is, what follows it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Answers an OffsetCommit.
    Commit(Token, Vec<TopicResult>),
    /// Answers an OffsetDelete.
    OffsetDelete(Token, OffsetDeleteReply),
    /// Answers a DeleteGroups; the groups were closed to commands meanwhile.
    DeleteGroups(Token, Vec<(String, ErrorCode)>, Vec<Arc<str>>),
    /// Nobody waits, or not any more; these groups are closed to commands until it is decided.
    Expired(Vec<Arc<str>>),
    /// The leader's assignment for this generation.
    Assigned(Arc<str>, i32),
    /// A static member took over its predecessor's place in a stable group.
    StaticRejoin(Box<StaticRejoin>),
    /// The group as it already is in memory: it became empty, or the log had it wrong. On failure an older generation
    /// comes back after a reload, whose members time out; it is tried again when the group is next looked at.
    Noted(Arc<str>),
}

/// A static member that came back under a new id, and the state to restore if that cannot be made durable.
#[derive(Debug)]
pub(super) struct StaticRejoin {
    pub group: Arc<str>,
    pub token: Token,
    pub member_id: Arc<str>,
    pub generation_id: i32,
    /// v9+: the leader may be told all members and to skip the assignment.
    pub can_skip_assignment: bool,
    /// The leader before the takeover, which is what versions below 9 are told: it makes the member a follower.
    pub old_leader: Option<Arc<str>>,
    pub old: Member,
}

/// One append under way.
#[derive(Debug)]
pub(super) struct Write {
    pub id: u64,
    pub records: Vec<Record>,
    pub outcome: Outcome,
}

/// All appends under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Writes {
    last_id: u64,
    under_way: VecDeque<Write>,
}

impl Writes {
    /// Hands records to the caller. They are appended as one batch, all or none.
    pub(super) fn append(&mut self, out: &mut Effects, records: Vec<Record>, outcome: Outcome) {
        assert!(!records.is_empty(), "an append has records");
        self.last_id += 1;
        out.appends.push(Append {
            id: self.last_id,
            records: records.iter().map(Record::write).collect(),
        });
        self.under_way.push_back(Write {
            id: self.last_id,
            records,
            outcome,
        });
    }

    /// Takes an append whose fate is known.
    pub(super) fn take(&mut self, id: u64) -> Write {
        let at = self.under_way.iter().position(|write| write.id == id);
        let write = at.and_then(|at| self.under_way.remove(at));
        write.expect("the caller reports appends it was given, once")
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Write> {
        self.under_way.iter_mut().find(|write| write.id == id)
    }

    /// Takes all of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Write> {
        self.under_way.drain(..)
    }

    /// Is this the oldest append under way?
    pub(super) fn is_oldest(&self, id: u64) -> bool {
        self.under_way.front().is_some_and(|write| write.id == id)
    }

    /// Partitions of this group with an offset on its way into the log.
    pub(super) fn offsets_of<'a>(
        &'a self,
        group_id: &'a str,
    ) -> impl Iterator<Item = (&'a str, i32)> {
        let records = self.under_way.iter().flat_map(|write| &write.records);
        records.filter_map(move |record| match record {
            Record::Offset {
                group,
                topic,
                partition,
                value: Some(_),
            } if group == group_id => Some((topic.as_str(), *partition)),
            _ => None,
        })
    }

    /// Is a record of this group itself on its way into the log?
    pub(super) fn has_group(&self, group_id: &str) -> bool {
        let mut records = self.under_way.iter().flat_map(|write| &write.records);
        records.any(|record| matches!(record, Record::Group { group, .. } if group == group_id))
    }

    /// All under way, for checks.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Write> {
        self.under_way.iter()
    }
}

impl Coordinator {
    pub(super) fn appended(&mut self, now: i64, id: u64, out: &mut Effects) {
        assert!(self.writes.is_oldest(id), "appends become durable in order");
        let Write {
            records, outcome, ..
        } = self.writes.take(id);
        let assignments = match (&outcome, records.first()) {
            (
                Outcome::Assigned(..),
                Some(Record::Group {
                    value: Some(value), ..
                }),
            ) => value
                .members
                .iter()
                .map(|member| (member.member_id.clone(), member.assignment.clone()))
                .collect(),
            _ => Vec::new(),
        };
        for record in records {
            self.apply(now, record);
        }
        match outcome {
            Outcome::Commit(token, results) => out.reply(token, Reply::OffsetCommit(results)),
            Outcome::OffsetDelete(token, reply) => out.reply(token, Reply::OffsetDelete(reply)),
            Outcome::DeleteGroups(token, results, groups) => {
                out.reply(token, Reply::DeleteGroups(results));
                self.reopen(now, groups, out);
            }
            Outcome::Expired(groups) => self.reopen(now, groups, out),
            Outcome::Assigned(group_id, generation_id) => {
                self.with_group(now, &group_id, out, |group, cx| {
                    group.assignment_done(cx, generation_id, assignments);
                })
            }
            Outcome::StaticRejoin(rejoin) => {
                self.with_group(now, &rejoin.group, out, |group, cx| {
                    group.static_rejoin_done(cx, &rejoin)
                });
            }
            Outcome::Noted(_) => {}
        }
    }

    pub(super) fn append_failed(&mut self, now: i64, id: u64, error: ErrorCode, out: &mut Effects) {
        match self.writes.take(id).outcome {
            Outcome::DeleteGroups(token, results, groups) => {
                let answered = Outcome::DeleteGroups(token, results, Vec::new());
                self.failed(now, answered, error, out);
                self.reopen(now, groups, out);
            }
            Outcome::Expired(groups) => self.reopen(now, groups, out),
            outcome => self.failed(now, outcome, error, out),
        }
    }

    /// Nobody waits for ever: whoever waits for this append is answered as if it had failed, as Kafka does. What it wrote
    /// counts all the same once it is durable.
    pub(super) fn append_late(&mut self, now: i64, id: u64, out: &mut Effects) {
        let Some(write) = self.writes.get_mut(id) else {
            panic!("an append is late while it is under way");
        };
        let unattended = match &mut write.outcome {
            // What nobody waits for has no haste.
            Outcome::Expired(_) | Outcome::Noted(_) => return,
            // Not decided yet: they stay closed.
            Outcome::DeleteGroups(_, _, groups) => std::mem::take(groups),
            _ => Vec::new(),
        };
        let outcome = std::mem::replace(&mut write.outcome, Outcome::Expired(unattended));
        self.failed(now, outcome, ErrorCode::RequestTimedOut, out);
    }

    /// Answers whoever waits for an append, with all that follows for its group.
    fn failed(&mut self, now: i64, outcome: Outcome, error: ErrorCode, out: &mut Effects) {
        let error = client_error(error);
        match outcome {
            Outcome::Assigned(group_id, generation_id) => {
                self.with_group(now, &group_id, out, |group, cx| {
                    group.assignment_failed(cx, generation_id, error);
                })
            }
            Outcome::StaticRejoin(rejoin) => {
                let group_id = rejoin.group.clone();
                self.with_group(now, &group_id, out, |group, cx| {
                    group.static_rejoin_failed(cx, *rejoin, error)
                });
            }
            Outcome::Noted(group_id) => {
                self.with_group(now, &group_id, out, |group, _| group.note_failed = true);
            }
            outcome => answer_failed(outcome, error, out),
        }
    }

    /// The deletion is decided: what waited starts over.
    fn reopen(&mut self, now: i64, group_ids: Vec<Arc<str>>, out: &mut Effects) {
        let mut waiting = Vec::new();
        for group_id in group_ids {
            waiting.extend(
                self.groups
                    .get_mut(&group_id)
                    .and_then(|group| group.closed.take())
                    .into_iter()
                    .flatten(),
            );
            self.remove_group_if_unused(&group_id);
        }
        for input in waiting {
            self.step(now, input, out);
        }
    }
}

/// What clients are told when an append fails: codes they know from a coordinator, with the right idea of whether to
/// try again (Kafka's `appendGroupMetadataErrorToResponseError`, and the same for offsets).
fn client_error(append: ErrorCode) -> ErrorCode {
    match append {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

/// Answers whoever waits for an append by itself; members parked in a group are answered by the group.
pub(super) fn answer_failed(outcome: Outcome, error: ErrorCode, out: &mut Effects) {
    match outcome {
        Outcome::Commit(token, mut results) => {
            undecided(&mut results).for_each(|result| *result = error);
            out.reply(token, Reply::OffsetCommit(results));
        }
        Outcome::OffsetDelete(token, _) => {
            out.reply(
                token,
                Reply::OffsetDelete(OffsetDeleteReply {
                    error,
                    topics: Vec::new(),
                }),
            );
        }
        Outcome::DeleteGroups(token, mut results, _) => {
            results
                .iter_mut()
                .filter(|result| result.1 == ErrorCode::None)
                .for_each(|result| result.1 = error);
            out.reply(token, Reply::DeleteGroups(results));
        }
        Outcome::Expired(_)
        | Outcome::Assigned(..)
        | Outcome::StaticRejoin(_)
        | Outcome::Noted(_) => {}
    }
}

/// Answers a command that never started.
pub(super) fn refuse(input: Input, error: ErrorCode, out: &mut Effects) {
    match input {
        Input::Join(token, request) => out.reply(
            token,
            Reply::Join(JoinReply::error(error, &request.member_id)),
        ),
        Input::OffsetCommit(token, request) => {
            answer_failed(Outcome::Commit(token, commit_results(&request)), error, out);
        }
        Input::OffsetDelete(token, _) => {
            out.reply(
                token,
                Reply::OffsetDelete(OffsetDeleteReply {
                    error,
                    topics: Vec::new(),
                }),
            );
        }
        Input::DeleteGroups(token, group_ids) => {
            out.reply(
                token,
                Reply::DeleteGroups(group_ids.into_iter().map(|id| (id, error)).collect()),
            );
        }
        _ => unreachable!("only these wait for a deletion"),
    }
}
