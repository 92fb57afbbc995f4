//! Records → FlatBuffers.

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, UnionWIPOffset, Vector, WIPOffset};
use millstream_protocol::uuid::Uuid;

use super::Record;
use crate::controller::configs::Resource;
use crate::controller::image::{Broker, Home, Partition, Topic};
use crate::controller::metadata_generated::millstream::metadata as wire;

/// The payload of a log entry.
pub(in crate::controller) fn encode(records: &[Record]) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let offsets: Vec<_> = records
        .iter()
        .map(|record| encode_record(&mut builder, record))
        .collect();
    let records = Some(builder.create_vector(&offsets));
    let root = wire::Records::create(&mut builder, &wire::RecordsArgs { records });
    builder.finish(root, None);
    let (bytes, start) = builder.collapse();
    bytes[start..].to_vec()
}

type Builder<'b> = FlatBufferBuilder<'b>;

fn encode_record<'b>(b: &mut Builder<'b>, record: &Record) -> WIPOffset<wire::Record<'b>> {
    let (body_type, body) = encode_body(b, record);
    wire::Record::create(
        b,
        &wire::RecordArgs {
            body_type,
            body: Some(body),
        },
    )
}

fn encode_body(b: &mut Builder<'_>, record: &Record) -> (wire::Body, WIPOffset<UnionWIPOffset>) {
    use wire::Body;
    match record {
        Record::Cluster { cluster_id } => {
            let cluster_id = Some(b.create_string(cluster_id));
            (
                Body::Cluster,
                wire::Cluster::create(b, &wire::ClusterArgs { cluster_id }).as_union_value(),
            )
        }
        Record::Broker(broker) => (Body::Broker, encode_broker(b, broker)),
        Record::Topic(topic) => (Body::Topic, encode_topic(b, topic)),
        Record::Partitions {
            topic_id,
            first,
            partitions,
        } => (
            Body::Partitions,
            encode_more_partitions(b, *topic_id, *first, partitions),
        ),
        Record::RemoveTopic { topic_id } => {
            let topic_id = wire::Uuid::new(&topic_id.0);
            let args = wire::RemoveTopicArgs {
                topic_id: Some(&topic_id),
            };
            (
                Body::RemoveTopic,
                wire::RemoveTopic::create(b, &args).as_union_value(),
            )
        }
        Record::PartitionHomes { topic_id, homes } => {
            (Body::PartitionHomes, encode_homes(b, *topic_id, homes))
        }
        Record::LeaderEpochs { leader } => {
            let args = wire::LeaderEpochsArgs { leader: *leader };
            (
                Body::LeaderEpochs,
                wire::LeaderEpochs::create(b, &args).as_union_value(),
            )
        }
        Record::Config { resource, entries } => (Body::Config, encode_config(b, resource, entries)),
        Record::ProducerIds {
            broker_id,
            next_producer_id,
        } => {
            let args = wire::ProducerIdsArgs {
                broker_id: *broker_id,
                next_producer_id: *next_producer_id,
            };
            (
                Body::ProducerIds,
                wire::ProducerIds::create(b, &args).as_union_value(),
            )
        }
        Record::FeatureLevel { name, level } => {
            let name = Some(b.create_string(name));
            let args = wire::FeatureLevelArgs {
                name,
                level: *level,
            };
            (
                Body::FeatureLevel,
                wire::FeatureLevel::create(b, &args).as_union_value(),
            )
        }
    }
}

fn encode_broker(b: &mut Builder<'_>, broker: &Broker) -> WIPOffset<UnionWIPOffset> {
    let mut endpoints = Vec::with_capacity(broker.endpoints.len());
    for endpoint in &broker.endpoints {
        let listener = Some(b.create_string(&endpoint.listener));
        let host = Some(b.create_string(&endpoint.host));
        endpoints.push(wire::Endpoint::create(
            b,
            &wire::EndpointArgs {
                listener,
                host,
                port: endpoint.port,
            },
        ));
    }
    let endpoints = Some(b.create_vector(&endpoints));
    let rack = broker.rack.as_ref().map(|rack| b.create_string(rack));
    let args = wire::BrokerArgs {
        broker_id: broker.broker_id,
        endpoints,
        rack,
    };
    wire::Broker::create(b, &args).as_union_value()
}

fn encode_topic(b: &mut Builder<'_>, topic: &Topic) -> WIPOffset<UnionWIPOffset> {
    let name = Some(b.create_string(&topic.name));
    let partitions = Some(encode_partitions(b, &topic.partitions));
    let topic_id = wire::Uuid::new(&topic.topic_id.0);
    let args = wire::TopicArgs {
        name,
        topic_id: Some(&topic_id),
        partitions,
    };
    wire::Topic::create(b, &args).as_union_value()
}

fn encode_more_partitions(
    b: &mut Builder<'_>,
    topic_id: Uuid,
    first: i32,
    partitions: &[Partition],
) -> WIPOffset<UnionWIPOffset> {
    let partitions = Some(encode_partitions(b, partitions));
    let topic_id = wire::Uuid::new(&topic_id.0);
    let args = wire::PartitionsArgs {
        topic_id: Some(&topic_id),
        first,
        partitions,
    };
    wire::Partitions::create(b, &args).as_union_value()
}

fn encode_partitions<'b>(
    b: &mut Builder<'b>,
    partitions: &[Partition],
) -> WIPOffset<Vector<'b, ForwardsUOffset<wire::Partition<'b>>>> {
    let mut offsets = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let replicas = Some(b.create_vector(&partition.replicas));
        let isr = Some(b.create_vector(&partition.isr));
        let home = encode_home(partition.home);
        let args = wire::PartitionArgs {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            replicas,
            isr,
            home: Some(&home),
        };
        offsets.push(wire::Partition::create(b, &args));
    }
    b.create_vector(&offsets)
}

fn encode_home(home: Home) -> wire::Home {
    wire::Home::new(&wire::Uuid::new(&home.directory.0), home.core)
}

fn encode_homes(
    b: &mut Builder<'_>,
    topic_id: Uuid,
    homes: &[(i32, Home)],
) -> WIPOffset<UnionWIPOffset> {
    let mut offsets = Vec::with_capacity(homes.len());
    for (partition, home) in homes {
        let home = encode_home(*home);
        let args = wire::PartitionHomeArgs {
            partition: *partition,
            home: Some(&home),
        };
        offsets.push(wire::PartitionHome::create(b, &args));
    }
    let homes = Some(b.create_vector(&offsets));
    let topic_id = wire::Uuid::new(&topic_id.0);
    wire::PartitionHomes::create(
        b,
        &wire::PartitionHomesArgs {
            topic_id: Some(&topic_id),
            homes,
        },
    )
    .as_union_value()
}

fn encode_config(
    b: &mut Builder<'_>,
    resource: &Resource,
    entries: &[(String, Option<String>)],
) -> WIPOffset<UnionWIPOffset> {
    let mut offsets = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key = Some(b.create_string(key));
        let value = value.as_ref().map(|value| b.create_string(value));
        offsets.push(wire::ConfigEntry::create(
            b,
            &wire::ConfigEntryArgs { key, value },
        ));
    }
    let entries = Some(b.create_vector(&offsets));
    let resource_name = Some(b.create_string(&resource.name));
    let args = wire::ConfigArgs {
        resource_type: resource.resource_type as i8,
        resource_name,
        entries,
    };
    wire::Config::create(b, &args).as_union_value()
}
