//! Drives one coordinator: inputs in, records to the log, replies out, timer.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::future::{Either, select};
use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::error::ErrorCode;
use millstream_state::group::{Config, Coordinator, Effects, Input, Reply, Token};
use millstream_storage::Ticket;

use super::load::{self, LoadError};
use crate::config::BrokerConfig;
use crate::partition::Partition;
use crate::partition::waiters::Notice;
use crate::shard::Shard;

/// Pause before a partition that could not be read is read again; doubled each time up to the longest.
const LOAD_RETRY: Duration = Duration::from_secs(1);
const LOAD_RETRY_MAX: Duration = Duration::from_secs(30);

/// One coordinator and its partition.
pub(super) struct Driver {
    shard: Weak<Shard>,
    partition: Rc<Partition>,
    machine: RefCell<Coordinator>,
    state: Cell<State>,
    waiting: RefCell<HashMap<u64, Rc<Answer>>>,
    next_token: Cell<u64>,
    config: Config,
    /// What its batches are packed with.
    codec: Codec,
    /// `offsets.commit.timeout.ms`
    commit_timeout: Duration,
    /// Appends under way, oldest first.
    appends: RefCell<VecDeque<Pending>>,
    appended: Notice,
    deadline_moved: Notice,
    /// What it was told while it was loading.
    missed: RefCell<Vec<Input>>,
}

/// An append that is not known to be durable.
struct Pending {
    id: u64,
    /// What it waits for, or why it failed.
    outcome: Result<Option<Ticket>, ErrorCode>,
    /// When, on the ring's clock, whoever waits for it is answered; `None` if that is done.
    late_at: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Loading,
    Active,
    /// The partition left or could not be read.
    Closed,
}

/// Where one request's reply is put.
#[derive(Default)]
struct Answer {
    value: RefCell<Option<Result<Reply, ErrorCode>>>,
    there: Notice,
}

impl Driver {
    pub(super) fn start(shard: &Rc<Shard>, partition: Rc<Partition>) -> Rc<Self> {
        let broker = &shard.config.broker;
        let config = machine_config(broker);
        let timeout_ms = u64::try_from(broker.offsets_commit_timeout_ms).unwrap_or(0);
        let driver = Rc::new(Self {
            shard: Rc::downgrade(shard),
            machine: RefCell::new(Coordinator::new(config.clone())),
            config,
            codec: broker.offsets_topic_compression_codec,
            commit_timeout: Duration::from_millis(timeout_ms),
            partition,
            state: Cell::new(State::Loading),
            waiting: RefCell::default(),
            next_token: Cell::new(0),
            appends: RefCell::default(),
            appended: Notice::default(),
            deadline_moved: Notice::default(),
            missed: RefCell::default(),
        });
        shard.ring.spawn(driver.clone().load());
        driver
    }

    async fn load(self: Rc<Self>) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        let mut pause = LOAD_RETRY;
        // Nobody else would take the partition over: it is read until that succeeds, and clients are told to wait.
        while let Err(error) = self.read_partition(&shard).await {
            tracing::error!(
                "group coordinator of {}-{} cannot start, it will try again: {error}",
                self.partition.topic,
                self.partition.index
            );
            shard.ring.sleep(pause).await;
            pause = (pause * 2).min(LOAD_RETRY_MAX);
        }
        if self.state.get() == State::Closed {
            return;
        }
        self.state.set(State::Active);
        let (now, mut effects) = (shard.steady_ms(), Effects::default());
        self.machine.borrow_mut().loaded(now, &mut effects);
        self.carry_out(&shard, effects, now);
        self.missed
            .take()
            .into_iter()
            .for_each(|input| self.step(input));
        shard.ring.spawn(self.clone().pass_on_appends());
        shard.ring.spawn(self.clone().keep_time());
    }

    /// Fills a new machine with what the partition holds.
    async fn read_partition(&self, shard: &Shard) -> Result<(), LoadError> {
        self.machine.replace(Coordinator::new(self.config.clone()));
        let replay = |key: &[u8], value: Option<&[u8]>| self.replay(key, value);
        match load::replay(&shard.ring, &self.partition, replay).await {
            Err(_) if self.state.get() == State::Closed => Ok(()),
            other => other,
        }
    }

    /// Puts one request to the machine and waits for its reply.
    pub(super) async fn ask(
        self: &Rc<Self>,
        input: impl FnOnce(Token) -> Input,
    ) -> Result<Reply, ErrorCode> {
        self.check_active()?;
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        let answer = Rc::new(Answer::default());
        self.waiting.borrow_mut().insert(token, answer.clone());
        self.step(input(Token(token)));
        loop {
            if let Some(value) = answer.value.borrow_mut().take() {
                return value;
            }
            answer.there.given().await;
        }
    }

    /// Tells the machine something nobody waits for; one that is loading hears of it when it is done.
    pub(super) fn tell(&self, input: Input) {
        match self.state.get() {
            State::Active => self.step(input),
            State::Loading => self.missed.borrow_mut().push(input),
            State::Closed => {}
        }
    }

    pub(super) fn read<R>(&self, look: impl FnOnce(&Coordinator) -> R) -> Result<R, ErrorCode> {
        self.check_active()?;
        Ok(look(&self.machine.borrow()))
    }

    pub(super) fn close(&self) {
        self.state.set(State::Closed);
        for (_, answer) in self.waiting.take() {
            *answer.value.borrow_mut() = Some(Err(ErrorCode::NotCoordinator));
            answer.there.give();
        }
        self.appended.give();
        self.deadline_moved.give();
    }

    fn check_active(&self) -> Result<(), ErrorCode> {
        match self.state.get() {
            State::Active => Ok(()),
            State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Closed => Err(ErrorCode::NotCoordinator),
        }
    }

    fn step(&self, input: Input) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        let now = shard.steady_ms();
        let mut effects = Effects::default();
        let before = self.machine.borrow().next_deadline();
        self.machine.borrow_mut().step(now, input, &mut effects);
        self.carry_out(&shard, effects, now);
        if self.machine.borrow().next_deadline() != before {
            self.deadline_moved.give();
        }
    }

    fn carry_out(&self, shard: &Shard, effects: Effects, now: i64) {
        for (Token(token), reply) in effects.replies {
            if let Some(answer) = self.waiting.borrow_mut().remove(&token) {
                *answer.value.borrow_mut() = Some(Ok(reply));
                answer.there.give();
            }
        }
        for append in effects.appends {
            let mut batch = BatchBuilder::new(self.codec, now);
            for (key, value) in &append.records {
                batch.push(now, Some(key), value.as_deref(), &[]);
            }
            let outcome = self.partition.append_internal(&batch.finish(0));
            self.appends.borrow_mut().push_back(Pending {
                id: append.id,
                outcome: outcome
                    .map(|appended| appended.ticket)
                    .map_err(|refusal| refusal.code),
                late_at: Some(shard.ring.now() + self.commit_timeout),
            });
            self.appended.give();
        }
    }

    /// One record of the partition. What another version wrote and this one does not know is passed over.
    fn replay(&self, key: &[u8], value: Option<&[u8]>) {
        if let Err(error) = self.machine.borrow_mut().replay(key, value) {
            tracing::warn!(
                "a record of {}-{} is passed over: {error}",
                self.partition.topic,
                self.partition.index
            );
        }
    }

    /// Tells the machine of each append in order, once it is flushed or can never be, and of those that take too long.
    async fn pass_on_appends(self: Rc<Self>) {
        while self.state.get() == State::Active {
            let Some(shard) = self.shard.upgrade() else {
                return;
            };
            let first = self.appends.borrow().front().map(|first| first.outcome);
            let flushed = match first {
                None => {
                    self.appended.given().await;
                    continue;
                }
                Some(Ok(Some(ticket))) => {
                    let flushed = shard.store.wait(ticket);
                    match self.unless_late(&shard, flushed).await {
                        Some(outcome) => outcome.map_err(|_offline| ErrorCode::KafkaStorageError),
                        None => continue,
                    }
                }
                Some(Ok(None)) => Ok(()),
                Some(Err(code)) => Err(code),
            };
            let id = self.appends.borrow_mut().pop_front().map(|first| first.id);
            let id = id.expect("only this task takes appends out");
            self.step(match flushed {
                Ok(()) => Input::Appended(id),
                Err(code) => Input::AppendFailed(id, code),
            });
        }
    }

    /// `flushed`, unless an append is late before that, which is told, or a new one comes, whose time counts too.
    async fn unless_late<T>(&self, shard: &Shard, flushed: impl Future<Output = T>) -> Option<T> {
        let next = self
            .appends
            .borrow()
            .iter()
            .find_map(|append| append.late_at);
        let patience = next.map_or(Duration::MAX, |at| at.saturating_sub(shard.ring.now()));
        let interrupted = shard.ring.timeout(patience, self.appended.given());
        futures_util::pin_mut!(flushed, interrupted);
        if let Either::Left((outcome, _)) = select(flushed, interrupted).await {
            return Some(outcome);
        }
        let now = shard.ring.now();
        let mut late = Vec::new();
        for append in self.appends.borrow_mut().iter_mut() {
            if append.late_at.is_some_and(|at| at <= now) {
                append.late_at = None;
                late.push(append.id);
            }
        }
        late.into_iter()
            .for_each(|id| self.step(Input::AppendLate(id)));
        None
    }

    async fn keep_time(self: Rc<Self>) {
        while self.state.get() == State::Active {
            let Some(shard) = self.shard.upgrade() else {
                return;
            };
            let deadline = self.machine.borrow().next_deadline();
            let moved = self.deadline_moved.given();
            let Some(deadline) = deadline else {
                moved.await;
                continue;
            };
            let wait = deadline.saturating_sub(shard.steady_ms());
            if wait <= 0 {
                self.step(Input::Tick);
                continue;
            }
            let sleep = shard.ring.sleep(Duration::from_millis(wait.unsigned_abs()));
            futures_util::pin_mut!(moved, sleep);
            select(moved, sleep).await;
        }
    }
}

fn machine_config(broker: &BrokerConfig) -> Config {
    Config {
        group_max_size: broker.group_max_size,
        min_session_timeout_ms: broker.group_min_session_timeout_ms,
        max_session_timeout_ms: broker.group_max_session_timeout_ms,
        initial_rebalance_delay_ms: broker.group_initial_rebalance_delay_ms,
        offset_metadata_max: broker.offset_metadata_max_bytes,
        offsets_retention_ms: i64::from(broker.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: broker.offsets_retention_check_interval_ms,
        ..Config::default()
    }
}
