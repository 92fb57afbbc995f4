//! The controller under random commands, with restarts at random points.
//!
//! A driver does what the broker's does: command, encode, "write", replay, now and then a snapshot; a restart reads the
//! snapshot and the log back, a crash tears what was written last. After every step the invariants named below must
//! hold. `CONTROLLER_SIM_SEED` runs one seed, `CONTROLLER_SIM_ROUNDS` more of them.

use std::collections::{BTreeMap, BTreeSet};

use millstream_protocol::uuid::Uuid;
use millstream_state::controller::*;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

const STEPS: usize = 250;

#[test]
fn invariants_hold_under_random_commands() {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match variable("CONTROLLER_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("CONTROLLER_SIM_ROUNDS").unwrap_or(40),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        if let Err(panic) = run {
            eprintln!("failed with CONTROLLER_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

struct Simulation {
    random: ChaCha8Rng,
    context: Context,
    state: State,
    epoch: i32,
    snapshot: Option<Vec<u8>>,
    log: Vec<u8>,
    /// Leader epochs seen by topic id and partition.
    epochs: BTreeMap<(Uuid, i32), i32>,
    /// Ids of topics that are gone.
    removed: BTreeSet<Uuid>,
    producer_ids: i64,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let directories = (1..=3).map(|number| Uuid([number; 16])).collect();
        Simulation {
            random: ChaCha8Rng::seed_from_u64(seed),
            context: Context {
                cores: 4,
                directories,
                num_partitions: 2,
                default_replication_factor: 1,
            },
            state: State::new(),
            epoch: 1,
            snapshot: None,
            log: Vec::new(),
            epochs: BTreeMap::new(),
            removed: BTreeSet::new(),
            producer_ids: 0,
        }
    }

    fn run(mut self) {
        self.command(
            Command::Format {
                cluster_id: "simulation-0123456789".into(),
            },
            true,
        );
        for _ in 0..STEPS {
            match self.random.random_range(0..20) {
                0 => self.restart(),
                1 => self.crash(),
                2 => self.take_snapshot(),
                3 => self.change_cores(),
                _ => {
                    let command = self.random_command();
                    self.command(command, true);
                }
            }
            self.check();
        }
    }

    /// Carries a command out; `durable: false` leaves the state as it is, as if the crash came first.
    fn command(&mut self, command: Command, durable: bool) {
        let before = self.state.clone();
        let Ok((records, reply)) = self.state.command(&command, &self.context) else {
            return;
        };
        assert!(self.state == before, "command_changes_nothing");
        self.check_reply(&command, &records, &reply);
        if records.is_empty() {
            return;
        }
        let position = self.state.position().next(self.epoch);
        let entry = Entry { position, records };
        log::encode_entry(&entry, position.index - 1, &mut self.log);
        if self.random.random_bool(0.5) {
            self.log
                .resize(self.log.len().next_multiple_of(log::ALIGNMENT), 0);
        }
        if durable {
            self.state.replay(&entry);
        }
    }

    fn check_reply(&mut self, command: &Command, records: &[Record], reply: &Reply) {
        if let Reply::ProducerIds { first, count } = reply {
            assert!(
                *first >= self.producer_ids,
                "producer_ids_are_never_given_out_twice"
            );
            self.producer_ids = first + i64::from(*count);
        }
        if let Command::CreateTopics {
            validate_only: true,
            ..
        }
        | Command::CreatePartitions {
            validate_only: true,
            ..
        } = command
        {
            assert!(records.is_empty(), "validate_only_changes_nothing");
        }
        if let (Command::CreateTopics { topics, .. }, Reply::CreatedTopics(rows)) = (command, reply)
        {
            let names: BTreeSet<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
            assert_eq!(rows.len(), names.len(), "each_name_is_answered_once");
        }
    }

    fn random_command(&mut self) -> Command {
        let validate_only = self.random.random_bool(0.1);
        let rows = self.random.random_range(1..4);
        match self.random.random_range(0..12) {
            0 => Command::RegisterBroker(self.broker()),
            1..=4 => Command::CreateTopics {
                topics: (0..rows).map(|_| self.new_topic()).collect(),
                validate_only,
            },
            5 => Command::CreateInternalTopic(NewTopic {
                configs: Ok(Vec::new()),
                ..self.new_topic()
            }),
            6 => Command::DeleteTopics((0..rows).map(|_| self.topic_ref()).collect()),
            7 => {
                let more = |sim: &mut Self| MorePartitions {
                    name: sim.name(),
                    count: sim.random.random_range(-1..12),
                    assignments: None,
                };
                Command::CreatePartitions {
                    topics: (0..rows).map(|_| more(self)).collect(),
                    validate_only,
                }
            }
            8 => Command::AlterConfigs {
                changes: (0..rows).map(|_| self.config_change()).collect(),
                validate_only,
            },
            9 => Command::AllocateProducerIds {
                broker_id: self.random.random_range(0..3),
            },
            10 => Command::BumpLeaderEpochs {
                broker_id: self.random.random_range(0..3),
            },
            _ => self.adopt(),
        }
    }

    fn name(&mut self) -> String {
        ["a", "b.c", "b_c", "d", "e.f.g", "e_f.g", "bad name", ""]
            .choose(&mut self.random)
            .expect("not empty")
            .to_string()
    }

    fn broker(&mut self) -> Broker {
        let endpoint = Endpoint {
            listener: "PLAINTEXT".into(),
            host: "h".into(),
            port: self.random.random(),
        };
        let rack = self.random.random_bool(0.5).then(|| "rack".to_string());
        Broker {
            broker_id: self.random.random_range(0..2),
            endpoints: vec![endpoint],
            rack,
        }
    }

    fn new_topic(&mut self) -> NewTopic {
        let configs = vec![(
            "retention.ms".to_string(),
            self.random.random::<u16>().to_string(),
        )];
        NewTopic {
            name: self.name(),
            topic_id: Uuid(self.random.random()),
            num_partitions: self.random.random_range(-2..9),
            replication_factor: self.random.random_range(-1..3),
            assignments: Vec::new(),
            configs: Ok(if self.random.random_bool(0.3) {
                configs
            } else {
                Vec::new()
            }),
        }
    }

    fn topic_ref(&mut self) -> TopicRef {
        let name = self.name();
        match self.state.image().topic(&name) {
            Some(topic) if self.random.random_bool(0.5) => TopicRef::Id(topic.topic_id),
            _ => TopicRef::Name(name),
        }
    }

    fn config_change(&mut self) -> ConfigChange {
        let types = [
            ResourceType::Topic,
            ResourceType::Broker,
            ResourceType::Group,
            ResourceType::ClientMetrics,
        ];
        let resource_type = *types.choose(&mut self.random).expect("not empty");
        let name = match resource_type {
            ResourceType::Broker => ["", "1", "9"]
                .choose(&mut self.random)
                .expect("not empty")
                .to_string(),
            _ => self.name(),
        };
        let value = self
            .random
            .random_bool(0.6)
            .then(|| self.random.random::<u8>().to_string());
        let entries = vec![(self.random.random_range(0..3).to_string(), value)];
        ConfigChange {
            resource: Resource::new(resource_type, name),
            replace: self.random.random(),
            entries,
        }
    }

    fn adopt(&mut self) -> Command {
        let directory = *self
            .context
            .directories
            .choose(&mut self.random)
            .expect("not empty");
        let topic = AdoptedTopic {
            name: self.name(),
            topic_id: Uuid(self.random.random()),
            directories: [(self.random.random_range(0..4), directory)].into(),
            leader_epoch: self.random.random_range(0..9),
            configs: Vec::new(),
        };
        Command::AdoptTopics {
            topics: vec![topic],
            producer_ids_below: self.random.random_range(0..5000),
        }
    }

    fn change_cores(&mut self) {
        self.context.cores = self.random.random_range(1..7);
        self.command(Command::Rebalance, true);
        let image = self.state.image();
        let mut loads = vec![0usize; usize::from(self.context.cores)];
        for partition in image.topics().flat_map(|topic| &topic.partitions) {
            loads[usize::from(partition.home.core)] += 1;
        }
        let (least, most) = (loads.iter().min(), loads.iter().max());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 1),
            "rebalance_evens_out: {loads:?}"
        );
    }

    fn take_snapshot(&mut self) {
        self.snapshot = Some(log::encode_snapshot(&self.state));
        // A crash may come before the log is cut; then it holds entries that the snapshot has too.
        if self.random.random_bool(0.7) {
            self.log.clear();
        }
    }

    fn read_back(&self) -> (State, usize) {
        let mut state = match &self.snapshot {
            Some(bytes) => log::decode_snapshot(bytes).unwrap_or_else(|error| panic!("{error}")),
            None => State::new(),
        };
        let mut entries = log::decode_log(&self.log, state.position());
        for entry in entries.by_ref() {
            state.replay(&entry.unwrap_or_else(|error| panic!("{error}")));
        }
        (state, entries.end())
    }

    fn restart(&mut self) {
        let (state, end) = self.read_back();
        assert!(state == self.state, "replayed_equals_live");
        self.state = state;
        self.log.truncate(end);
        self.epoch += 1;
    }

    /// A command whose write is cut short somewhere, and with it the process.
    fn crash(&mut self) {
        let whole = self.log.len();
        let command = self.random_command();
        let ids = self.producer_ids;
        self.command(command, false);
        if self.log.len() > whole {
            // At least its last byte is missing; trailing zeros are not part of the entry.
            let end = self
                .log
                .iter()
                .rposition(|byte| *byte != 0)
                .expect("an entry is not all zeros");
            let cut = self.random.random_range(whole..=end);
            match self.random.random_bool(0.5) {
                true => self.log.truncate(cut),
                false => self.log[cut..=end].fill(0),
            }
        }
        self.producer_ids = ids;
        self.restart();
    }

    fn check(&mut self) {
        let image = self.state.image();
        let mut partitions = 0;
        for topic in image.topics() {
            assert_eq!(
                image.topic_by_id(topic.topic_id),
                Some(topic),
                "topics_are_found_by_name_and_id"
            );
            assert_eq!(
                image.topic(&topic.name),
                Some(topic),
                "topics_are_found_by_name_and_id"
            );
            assert!(!topic.partitions.is_empty(), "no_topic_without_partitions");
            assert!(
                !self.removed.contains(&topic.topic_id),
                "a_removed_topic_stays_removed"
            );
            partitions += topic.partitions.len();
            for (index, partition) in topic.partitions.iter().enumerate() {
                assert!(
                    partition.home.core < self.context.cores,
                    "every_home_is_a_core"
                );
                assert!(
                    self.context.directories.contains(&partition.home.directory),
                    "every_home_is_a_directory"
                );
                assert!(
                    partition.isr.contains(&partition.leader),
                    "the_leader_is_in_sync"
                );
                let seen = self
                    .epochs
                    .entry((topic.topic_id, index as i32))
                    .or_insert(partition.leader_epoch);
                assert!(partition.leader_epoch >= *seen, "leader_epochs_never_fall");
                *seen = partition.leader_epoch;
            }
        }
        assert_eq!(
            partitions,
            image.partition_count(),
            "partitions_are_counted"
        );
        let gone = self
            .epochs
            .keys()
            .map(|(topic_id, _)| *topic_id)
            .filter(|id| image.topic_by_id(*id).is_none());
        self.removed.extend(gone);
        for (resource, entries) in image.configured() {
            assert!(!entries.is_empty(), "no_empty_configs");
            let lost = resource.resource_type == ResourceType::Topic
                && image.topic(&resource.name).is_none();
            assert!(!lost, "configs_go_with_their_topic");
        }
        assert!(
            image.next_producer_id() >= self.producer_ids,
            "producer_ids_are_never_given_out_twice"
        );
    }
}
