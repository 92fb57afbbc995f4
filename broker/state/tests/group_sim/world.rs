//! The schedule: what is under way between clients, coordinator and log, and when it arrives.

use std::collections::{BTreeMap, VecDeque};

use millstream_protocol::error::ErrorCode;
use millstream_state::group::{
    Append, Config, Coordinator, Effects, Input, LeaveGroup, LeavingMember, OffsetDelete,
    OffsetQuery, Reply, Token,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::client::{Client, TOPICS, commit_from_outside, pick};
use super::invariants::Invariants;

const GROUPS: [&str; 3] = ["orchard", "kitchen", "market"];
const REQUEST_TIMEOUT_MS: i64 = 30_000;
/// Longer than every timeout there is: session, rebalance, new member's join, offset retention.
const SETTLE_MS: i64 = 4_000_000;

enum Event {
    /// A client, by its number, does its next thing.
    Act(usize),
    /// Somebody without membership does something.
    Administer,
    /// A request reaches the coordinator of this incarnation.
    Deliver(u64, Input),
    /// A reply reaches a client.
    Reply(usize, Token, Reply),
    /// The oldest append of this incarnation is durable, or failed.
    AppendDone(u64),
    Tick,
    Reload,
}

/// A record as it lies in the log.
pub type LogRecord = (Vec<u8>, Option<Vec<u8>>);

/// What happened in a run: a run in which nothing happens proves nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub counts: BTreeMap<String, u64>,
}

impl Seen {
    pub fn count(&mut self, what: String) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Seen) {
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }

    pub fn assert_everything_happened(&self) {
        let expected = [
            "join None",
            "join MemberIdRequired",
            "join UnknownMemberId",
            "join FencedInstanceId",
            "join GroupMaxSizeReached",
            "join RebalanceInProgress",
            "join NotCoordinator",
            "join CoordinatorNotAvailable",
            "join skip",
            "sync None",
            "sync RebalanceInProgress",
            "sync CoordinatorNotAvailable",
            "sync IllegalGeneration",
            "sync UnknownMemberId",
            "sync UnknownServerError",
            "heartbeat None",
            "heartbeat RebalanceInProgress",
            "heartbeat UnknownMemberId",
            "heartbeat FencedInstanceId",
            "commit None",
            "commit OffsetMetadataTooLarge",
            "commit UnknownTopicOrPartition",
            "commit RebalanceInProgress",
            "commit UnknownMemberId",
            "commit CoordinatorNotAvailable",
            "delete None",
            "delete NonEmptyGroup",
            "delete GroupIdNotFound",
            "offset delete None",
            "leave None",
            "reload",
            "append failed",
            "append late",
            "state Stable",
            "state Empty",
            "state PreparingRebalance",
            "state CompletingRebalance",
            "stable reloaded",
        ];
        for what in expected {
            assert!(
                self.counts.contains_key(what),
                "never happened: {what}; {:?}",
                self.counts
            );
        }
    }
}

pub struct World {
    rng: ChaCha8Rng,
    pub now: i64,
    config: Config,
    pub coordinator: Coordinator,
    incarnation: u64,
    events: BTreeMap<(i64, u64), Event>,
    event_number: u64,
    clients: Vec<Client>,
    /// Which client sent a request; requests of others have none.
    senders: BTreeMap<Token, usize>,
    last_token: u64,
    outside_position: i64,
    /// Appends that the coordinator does not know the fate of.
    pub appending: VecDeque<Append>,
    pub log: Vec<LogRecord>,
    invariants: Invariants,
    pub seen: Seen,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = Config {
            group_max_size: rng.random_range(3..8),
            initial_rebalance_delay_ms: *pick(&[0, 500, 3_000], &mut rng),
            new_member_join_timeout_ms: 15_000,
            offsets_retention_ms: *pick(&[20_000, 3_600_000], &mut rng),
            offsets_retention_check_interval_ms: 10_000,
            ..Config::default()
        };
        let mut coordinator = Coordinator::new(config.clone());
        coordinator.loaded(0, &mut Effects::default());
        let clients = (0..12)
            .map(|n| Client::new((*pick(&GROUPS, &mut rng)).to_owned(), n, &mut rng))
            .collect();
        let invariants = Invariants::new(config.group_max_size);
        let mut world = World {
            rng,
            now: 1_000_000,
            config,
            coordinator,
            incarnation: 0,
            events: BTreeMap::new(),
            event_number: 0,
            clients,
            senders: BTreeMap::new(),
            last_token: 0,
            outside_position: 1_000_000_000,
            appending: VecDeque::new(),
            log: Vec::new(),
            invariants,
            seen: Seen::default(),
        };
        for number in 0..world.clients.len() {
            let delay = world.rng.random_range(0..8_000);
            world.schedule(delay, Event::Act(number));
        }
        world.schedule(1_000, Event::Administer);
        world.schedule(20_000, Event::Reload);
        world
    }

    /// Runs the clients for so long.
    pub fn run(&mut self, duration_ms: i64) {
        let end = self.now + duration_ms;
        while self.next_event_at().is_some_and(|at| at <= end) {
            self.next_event();
        }
    }

    /// Nobody sends any more. Whatever is open must come to an end by timeouts alone, and nothing may stay behind.
    pub fn settle(&mut self) {
        self.events
            .retain(|_, event| matches!(event, Event::AppendDone(_) | Event::Tick));
        let end = self.now + SETTLE_MS;
        while self.next_event_at().is_some_and(|at| at <= end) {
            self.next_event();
        }
        self.invariants.assert_nothing_open();
        for group in GROUPS {
            let members = self.coordinator.describe(group, 0).members;
            assert!(members.is_empty(), "members time out: {members:?}");
        }
        assert!(
            self.coordinator.list(&[], &[]).is_empty(),
            "groups and offsets expire"
        );
        assert_eq!(
            self.coordinator.next_deadline(),
            None,
            "no timer outlives its group"
        );
    }

    fn schedule(&mut self, delay_ms: i64, event: Event) {
        self.event_number += 1;
        self.events
            .insert((self.now + delay_ms, self.event_number), event);
    }

    fn next_event_at(&self) -> Option<i64> {
        let deadline = self.coordinator.next_deadline().map(|at| at.max(self.now));
        self.events
            .keys()
            .next()
            .map(|(at, _)| *at)
            .into_iter()
            .chain(deadline)
            .min()
    }

    fn next_event(&mut self) {
        let deadline = self
            .coordinator
            .next_deadline()
            .map_or(i64::MAX, |at| at.max(self.now));
        let is_tick = self
            .events
            .keys()
            .next()
            .is_none_or(|(at, _)| deadline < *at);
        if is_tick {
            // A tick may come late.
            self.now = deadline + self.rng.random_range(0..20);
            self.handle(Event::Tick);
        } else if let Some(((at, _), event)) = self.events.pop_first() {
            self.now = self.now.max(at);
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act(number) => self.act(number),
            Event::Administer => {
                self.administer();
                let delay = self.rng.random_range(500..6_000);
                self.schedule(delay, Event::Administer);
            }
            Event::Deliver(incarnation, input) if incarnation == self.incarnation => {
                if let Some(token) = input.token() {
                    self.invariants.asked(token, &input);
                }
                self.step(input);
            }
            Event::Reply(number, token, reply) => {
                let client = &mut self.clients[number];
                if client.waiting.is_some_and(|(waiting, _)| waiting == token) {
                    client.take(&reply);
                }
            }
            Event::AppendDone(incarnation) if incarnation == self.incarnation => self.append_done(),
            Event::Tick => {
                self.step(Input::Tick);
                assert!(
                    self.coordinator
                        .next_deadline()
                        .is_none_or(|at| at > self.now),
                    "a tick leaves nothing due"
                );
            }
            Event::Reload => {
                self.reload();
                let delay = self.rng.random_range(10_000..80_000);
                self.schedule(delay, Event::Reload);
            }
            // Its connection went with the coordinator.
            Event::Deliver(..) | Event::AppendDone(_) => {}
        }
    }

    fn act(&mut self, number: usize) {
        let delay = match self.rng.random_range(0..100) {
            0..3 => self.rng.random_range(10_000..40_000), // a long pause: its session ends
            3..30 => self.rng.random_range(0..50),
            _ => self.rng.random_range(50..3_000),
        };
        self.schedule(delay, Event::Act(number));
        let client = &mut self.clients[number];
        if client
            .waiting
            .is_some_and(|(_, given_up_at)| given_up_at > self.now)
        {
            return;
        }
        self.last_token += 1;
        let token = Token(self.last_token);
        if let Some(input) = client.next_request(token, self.now, &mut self.rng) {
            let patience = if self.rng.random_bool(0.05) {
                1_000
            } else {
                REQUEST_TIMEOUT_MS
            };
            self.clients[number].waiting = Some((token, self.now + patience));
            self.senders.insert(token, number);
            self.send(input);
        }
    }

    fn send(&mut self, input: Input) {
        if self.rng.random_bool(0.02) {
            return;
        }
        let delay = if self.rng.random_bool(0.1) { 400 } else { 5 };
        let delay = self.rng.random_range(0..delay);
        self.schedule(delay, Event::Deliver(self.incarnation, input));
    }

    fn administer(&mut self) {
        self.last_token += 1;
        let token = Token(self.last_token);
        let group = *pick(&GROUPS, &mut self.rng);
        let topic = *pick(&TOPICS, &mut self.rng);
        let input = match self.rng.random_range(0..10) {
            0..2 => Input::DeleteGroups(token, vec![group.to_owned(), "nowhere".to_owned()]),
            2..4 => {
                let partitions = (0..3).map(|index| (index, ErrorCode::None)).collect();
                Input::OffsetDelete(
                    token,
                    OffsetDelete {
                        group_id: group.to_owned(),
                        topics: vec![(topic.to_owned(), partitions)],
                    },
                )
            }
            4 => Input::TopicsDeleted(vec![topic.to_owned()]),
            5 => {
                let instance = Some(format!("instance-{}", self.rng.random_range(0..4)));
                let members = vec![LeavingMember {
                    member_id: String::new(),
                    group_instance_id: instance,
                }];
                Input::Leave(
                    token,
                    LeaveGroup {
                        group_id: group.to_owned(),
                        members,
                    },
                )
            }
            6..9 => Input::OffsetCommit(
                token,
                commit_from_outside(group, &mut self.outside_position, &mut self.rng),
            ),
            _ => return,
        };
        // A burst: what comes during a deletion waits for it, what is on its way into the log before is deleted too.
        if matches!(input, Input::DeleteGroups(..)) && self.rng.random_bool(0.7) {
            for delay_ms in [0, 2] {
                self.last_token += 1;
                let commit = commit_from_outside(group, &mut self.outside_position, &mut self.rng);
                let commit = Input::OffsetCommit(Token(self.last_token), commit);
                self.schedule(delay_ms, Event::Deliver(self.incarnation, commit));
            }
            self.schedule(1, Event::Deliver(self.incarnation, input));
        } else {
            self.send(input);
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = Effects::default();
        self.coordinator.step(self.now, input, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Effects) {
        for append in out.appends {
            let delay = if self.rng.random_bool(0.05) { 3_000 } else { 4 };
            let delay = self.rng.random_range(0..delay);
            self.appending.push_back(append);
            self.schedule(delay, Event::AppendDone(self.incarnation));
        }
        self.answer(out.replies);
        self.invariants.check(
            &self.coordinator,
            &self.log,
            self.appending.is_empty(),
            &mut self.seen,
        );
    }

    fn answer(&mut self, replies: Vec<(Token, Reply)>) {
        for (token, reply) in replies {
            self.invariants
                .answered(token, &reply, &self.log, &mut self.seen);
            let Some(number) = self.senders.remove(&token) else {
                continue;
            };
            if !self.rng.random_bool(0.02) {
                let delay = self.rng.random_range(0..10);
                self.schedule(delay, Event::Reply(number, token, reply));
            }
        }
    }

    fn append_done(&mut self) {
        let append = self
            .appending
            .pop_front()
            .expect("one event for each append");
        if self.rng.random_bool(0.03) {
            self.seen.count("append late".into());
            self.invariants.append_failed(&append.records);
            self.step(Input::AppendLate(append.id));
        }
        if self.rng.random_bool(0.04) {
            let causes = [
                ErrorCode::NotEnoughReplicas,
                ErrorCode::MessageTooLarge,
                ErrorCode::KafkaStorageError,
            ];
            let cause = *pick(&causes, &mut self.rng);
            self.seen.count("append failed".into());
            self.invariants.append_failed(&append.records);
            self.step(Input::AppendFailed(append.id, cause));
        } else {
            self.log.extend(append.records);
            self.step(Input::Appended(append.id));
        }
    }

    /// Leadership goes and comes back, or the process is killed: some of what was under way is in the log.
    fn reload(&mut self) {
        self.seen.count("reload".into());
        self.incarnation += 1;
        let survives = self.rng.random_range(0..=self.appending.len());
        let nothing_under_way = self.appending.is_empty();
        let appending = std::mem::take(&mut self.appending);
        self.log.extend(
            appending
                .into_iter()
                .take(survives)
                .flat_map(|append| append.records),
        );

        let mut next = Coordinator::new(self.config.clone());
        for (key, value) in &self.log {
            next.replay(key, value.as_deref()).expect("our own records");
        }
        let mut out = Effects::default();
        next.loaded(self.now, &mut out);
        let last = std::mem::replace(&mut self.coordinator, next);
        self.invariants.reloaded(
            &last,
            &self.coordinator,
            nothing_under_way,
            &self.log,
            &mut self.seen,
        );
        if self.rng.random_bool(0.5) {
            let mut goodbye = Effects::default();
            last.unload(&mut goodbye);
            self.answer(goodbye.replies);
            self.invariants.assert_nothing_open();
        }
        self.invariants.forget_open();
        self.take(out);
        for group in GROUPS {
            self.coordinator.fetch_offsets(group, OffsetQuery::All);
        }
    }
}
