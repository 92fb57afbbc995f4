//! FlatBuffers → records.

use std::sync::Arc;

use flatbuffers::{ForwardsUOffset, Vector, VerifierOptions};
use millstream_protocol::uuid::Uuid;

use super::{Record, RecordError};
use crate::controller::configs::{Resource, ResourceType};
use crate::controller::image::{Broker, Endpoint, Home, Partition, Topic};
use crate::controller::metadata_generated::millstream::metadata as wire;

/// An empty table: the offset of its vtable, and the offset that leads to it.
const TABLE_BYTES_MIN: usize = 8;

/// The records in a payload.
pub(in crate::controller) fn decode(payload: &[u8]) -> Result<Vec<Record>, RecordError> {
    // Tables may overlap in hostile bytes; what is decoded stays within a small multiple of what arrived.
    let options = VerifierOptions {
        max_tables: payload.len() / TABLE_BYTES_MIN + 1,
        max_apparent_size: payload.len().saturating_mul(4).max(1024),
        ..VerifierOptions::default()
    };
    let root = wire::root_as_records_with_opts(&options, payload)?;
    root.records().iter().map(decode_record).collect()
}

fn decode_record(record: wire::Record<'_>) -> Result<Record, RecordError> {
    use wire::Body;
    const NO_BODY: RecordError = RecordError::Impossible("a record without its body");
    Ok(match record.body_type() {
        Body::Cluster => {
            let body = record.body_as_cluster().ok_or(NO_BODY)?;
            Record::Cluster {
                cluster_id: body.cluster_id().to_string(),
            }
        }
        Body::Broker => Record::Broker(decode_broker(record.body_as_broker().ok_or(NO_BODY)?)?),
        Body::Topic => {
            let body = record.body_as_topic().ok_or(NO_BODY)?;
            let partitions = decode_partitions(body.partitions())?;
            Record::Topic(Topic {
                name: Arc::from(body.name()),
                topic_id: decode_uuid(body.topic_id()),
                partitions,
            })
        }
        Body::Partitions => {
            let body = record.body_as_partitions().ok_or(NO_BODY)?;
            let (topic_id, first) = (decode_uuid(body.topic_id()), body.first());
            Record::Partitions {
                topic_id,
                first,
                partitions: decode_partitions(body.partitions())?,
            }
        }
        Body::RemoveTopic => {
            let body = record.body_as_remove_topic().ok_or(NO_BODY)?;
            Record::RemoveTopic {
                topic_id: decode_uuid(body.topic_id()),
            }
        }
        Body::PartitionHomes => {
            let body = record.body_as_partition_homes().ok_or(NO_BODY)?;
            let homes = body
                .homes()
                .iter()
                .map(|home| (home.partition(), decode_home(home.home())))
                .collect();
            Record::PartitionHomes {
                topic_id: decode_uuid(body.topic_id()),
                homes,
            }
        }
        Body::LeaderEpochs => Record::LeaderEpochs {
            leader: record.body_as_leader_epochs().ok_or(NO_BODY)?.leader(),
        },
        Body::Config => decode_config(record.body_as_config().ok_or(NO_BODY)?)?,
        Body::ProducerIds => {
            let body = record.body_as_producer_ids().ok_or(NO_BODY)?;
            Record::ProducerIds {
                broker_id: body.broker_id(),
                next_producer_id: body.next_producer_id(),
            }
        }
        Body::FeatureLevel => {
            let body = record.body_as_feature_level().ok_or(NO_BODY)?;
            if body.level() < 0 {
                return Err(RecordError::Impossible("a negative feature level"));
            }
            Record::FeatureLevel {
                name: body.name().to_string(),
                level: body.level(),
            }
        }
        wire::Body(kind) => return Err(RecordError::UnknownKind(kind)),
    })
}

fn decode_uuid(uuid: &wire::Uuid) -> Uuid {
    Uuid(uuid.bytes().into())
}

fn decode_home(home: &wire::Home) -> Home {
    Home {
        core: home.core(),
        directory: decode_uuid(home.directory()),
    }
}

fn decode_broker(broker: wire::Broker<'_>) -> Result<Broker, RecordError> {
    if broker.broker_id() < 0 {
        return Err(RecordError::Impossible("a negative node.id"));
    }
    let endpoint = |endpoint: wire::Endpoint<'_>| Endpoint {
        listener: endpoint.listener().to_string(),
        host: endpoint.host().to_string(),
        port: endpoint.port(),
    };
    Ok(Broker {
        broker_id: broker.broker_id(),
        endpoints: broker.endpoints().iter().map(endpoint).collect(),
        rack: broker.rack().map(str::to_string),
    })
}

fn decode_partitions<'a>(
    partitions: Vector<'a, ForwardsUOffset<wire::Partition<'a>>>,
) -> Result<Vec<Partition>, RecordError> {
    let partition = |partition: wire::Partition<'_>| {
        let replicas: Box<[i32]> = partition.replicas().iter().collect();
        if replicas.is_empty() {
            return Err(RecordError::Impossible("a partition without replicas"));
        }
        Ok(Partition {
            leader: partition.leader(),
            leader_epoch: partition.leader_epoch(),
            partition_epoch: partition.partition_epoch(),
            replicas,
            isr: partition.isr().iter().collect(),
            home: decode_home(partition.home()),
        })
    };
    partitions.iter().map(partition).collect()
}

fn decode_config(config: wire::Config<'_>) -> Result<Record, RecordError> {
    let resource_type = ResourceType::from_code(config.resource_type()).ok_or(
        RecordError::Impossible("a config of an unknown resource type"),
    )?;
    let entry =
        |entry: wire::ConfigEntry<'_>| (entry.key().to_string(), entry.value().map(str::to_string));
    Ok(Record::Config {
        resource: Resource::new(resource_type, config.resource_name()),
        entries: config.entries().iter().map(entry).collect(),
    })
}
