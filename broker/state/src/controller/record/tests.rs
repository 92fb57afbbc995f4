//! Every kind of record there and back, and hostile bytes.

use proptest::prelude::*;

use super::*;
use crate::controller::configs::ResourceType;
use crate::controller::image::Endpoint;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid)
}

fn home() -> impl Strategy<Value = Home> {
    (any::<u16>(), uuid()).prop_map(|(core, directory)| Home { core, directory })
}

fn partition() -> impl Strategy<Value = Partition> {
    let replicas = prop::collection::vec(any::<i32>(), 1..4);
    let isr = prop::collection::vec(any::<i32>(), 0..4);
    (any::<[i32; 3]>(), replicas, isr, home()).prop_map(
        |([leader, leader_epoch, partition_epoch], replicas, isr, home)| Partition {
            leader,
            leader_epoch,
            partition_epoch,
            replicas: replicas.into(),
            isr: isr.into(),
            home,
        },
    )
}

fn broker() -> impl Strategy<Value = Broker> {
    let endpoint =
        ("[A-Z]{1,9}", "[a-z.]{0,20}", any::<u16>()).prop_map(|(listener, host, port)| Endpoint {
            listener,
            host,
            port,
        });
    let endpoints = prop::collection::vec(endpoint, 0..4);
    (0..i32::MAX, endpoints, prop::option::of(".{0,9}")).prop_map(|(broker_id, endpoints, rack)| {
        Broker {
            broker_id,
            endpoints,
            rack,
        }
    })
}

fn record() -> impl Strategy<Value = Record> {
    let partitions = || prop::collection::vec(partition(), 0..5);
    let types = prop::sample::select(vec![
        ResourceType::Topic,
        ResourceType::Broker,
        ResourceType::ClientMetrics,
        ResourceType::Group,
    ]);
    let entries = prop::collection::vec((".{0,9}", prop::option::of(".{0,30}")), 0..4);
    prop_oneof![
        ".{0,30}".prop_map(|cluster_id| Record::Cluster { cluster_id }),
        broker().prop_map(Record::Broker),
        ("[a-z]{1,20}", uuid(), partitions()).prop_map(|(name, topic_id, partitions)| {
            Record::Topic(Topic {
                name: name.into(),
                topic_id,
                partitions,
            })
        }),
        (uuid(), any::<i32>(), partitions()).prop_map(|(topic_id, first, partitions)| {
            Record::Partitions {
                topic_id,
                first,
                partitions,
            }
        }),
        uuid().prop_map(|topic_id| Record::RemoveTopic { topic_id }),
        (uuid(), prop::collection::vec((any::<i32>(), home()), 0..5))
            .prop_map(|(topic_id, homes)| Record::PartitionHomes { topic_id, homes }),
        any::<i32>().prop_map(|leader| Record::LeaderEpochs { leader }),
        (types, ".{0,20}", entries).prop_map(|(resource_type, name, entries)| Record::Config {
            resource: Resource {
                resource_type,
                name
            },
            entries,
        }),
        any::<(i32, i64)>().prop_map(|(broker_id, next_producer_id)| Record::ProducerIds {
            broker_id,
            next_producer_id
        }),
        (".{0,20}", 0..i16::MAX).prop_map(|(name, level)| Record::FeatureLevel { name, level }),
    ]
}

proptest! {
    #[test]
    fn records_come_back_as_they_were(records in prop::collection::vec(record(), 0..6)) {
        let payload = encode(&records);
        prop_assert_eq!(decode(&payload), Ok(records));
    }

    #[test]
    fn hostile_bytes_are_an_error_or_records(
        records in prop::collection::vec(record(), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = encode(&records);
        for (place, value) in flips {
            let place = place.index(payload.len());
            payload[place] = value;
        }
        // Neither may panic; what still decodes must encode again.
        if let Ok(records) = decode(&payload) {
            let again = encode(&records);
            prop_assert_eq!(decode(&again), Ok(records));
        }
        let _ = decode(&payload[..cut.index(payload.len())]);
    }
}

#[test]
fn impossible_values_are_refused() {
    let broker = Record::Broker(Broker {
        broker_id: -1,
        endpoints: Vec::new(),
        rack: None,
    });
    let level = Record::FeatureLevel {
        name: "x".into(),
        level: -1,
    };
    for record in [broker, level] {
        let decoded = decode(&encode(std::slice::from_ref(&record)));
        assert!(
            matches!(decoded, Err(RecordError::Impossible(_))),
            "{record:?}: {decoded:?}"
        );
    }
    assert!(matches!(decode(&[]), Err(RecordError::Malformed(_))));
}
