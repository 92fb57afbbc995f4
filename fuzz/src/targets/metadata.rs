//! The metadata log and its snapshot: what is read can be written, and is the same when it is read again.

use millstream_protocol::uuid::Uuid;
use millstream_state::controller::log::{
    decode_log, decode_snapshot, encode_entry, encode_snapshot,
};
use millstream_state::controller::{
    Broker, Command, Context, Endpoint, Entry, Home, Partition, Position, Record, Resource,
    ResourceType, State, Topic,
};

use super::Target;
use crate::reseal;

pub const TARGET: Target = Target {
    name: "metadata",
    seeds,
    run,
};

/// A log and a snapshot of a small cluster: a broker, adopted topics, configs, producer ids.
fn seeds() -> Vec<Vec<u8>> {
    let context = Context {
        cores: 2,
        directories: vec![Uuid([1; 16]), Uuid([2; 16])],
        num_partitions: 3,
        default_replication_factor: 1,
    };
    let broker = Broker {
        broker_id: 1,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "localhost".to_owned(),
            port: 9092,
        }],
        rack: Some("a".to_owned()),
    };
    let commands = [
        Command::Format {
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        },
        Command::RegisterBroker(broker),
        Command::Rebalance,
        Command::BumpLeaderEpochs { broker_id: 1 },
    ];
    let mut state = State::new();
    let mut log = Vec::new();
    let mut position = Position::BEFORE_ALL;
    for command in &commands {
        let Ok((records, _)) = state.command(command, &context) else {
            continue;
        };
        if records.is_empty() {
            continue;
        }
        position = Position {
            epoch: 1,
            index: position.index + 1,
        };
        let entry = Entry { position, records };
        encode_entry(&entry, position.index - 1, &mut log);
        state.replay(&entry);
    }
    // A topic of two partitions that moves, grows, and goes.
    let topic_id = Uuid([9; 16]);
    let home = Home {
        core: 0,
        directory: Uuid([1; 16]),
    };
    let partition = Partition {
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        replicas: Box::new([1]),
        isr: Box::new([1]),
        home,
    };
    let topic = Topic {
        name: "a.topic".into(),
        topic_id,
        partitions: vec![partition.clone(), partition.clone()],
    };
    let more = [
        Record::Topic(topic),
        Record::Config {
            resource: Resource::new(ResourceType::Topic, "a.topic"),
            entries: vec![("retention.ms".to_owned(), Some("5".to_owned()))],
        },
        Record::PartitionHomes {
            topic_id,
            homes: vec![(1, Home { core: 1, ..home })],
        },
        Record::Partitions {
            topic_id,
            first: 2,
            partitions: vec![partition],
        },
        Record::LeaderEpochs { leader: 1 },
        Record::ProducerIds {
            broker_id: 1,
            next_producer_id: 1000,
        },
        Record::FeatureLevel {
            name: "group.version".to_owned(),
            level: 1,
        },
        Record::RemoveTopic { topic_id },
    ];
    let mut snapshots = Vec::new();
    for record in more {
        position.index += 1;
        let entry = Entry {
            position,
            records: vec![record],
        };
        encode_entry(&entry, position.index - 1, &mut log);
        state.replay(&entry);
        snapshots.push(encode_snapshot(&state));
    }
    let mut seeds = Vec::new();
    for flags in 0..2 {
        seeds.push([&[flags][..], &log].concat());
        seeds.extend(
            snapshots
                .iter()
                .map(|snapshot| [&[flags | 2][..], snapshot].concat()),
        );
    }
    seeds
}

fn run(bytes: &[u8]) {
    let [flags, bytes @ ..] = bytes else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        reseal::metadata(&mut bytes);
    }
    if flags & 2 != 0 {
        if let Ok(state) = decode_snapshot(&bytes) {
            let again = decode_snapshot(&encode_snapshot(&state));
            assert_eq!(again.map(|state| state.image()), Ok(state.image()));
        }
        return;
    }
    let mut entries = decode_log(&bytes, Position::BEFORE_ALL);
    let mut state = State::new();
    for entry in entries.by_ref().map_while(Result::ok) {
        if state.replay_read(&entry).is_err() {
            return;
        }
    }
    assert!(entries.end() <= bytes.len());
}
