//! What a sink answers. Pure: request frame in, response bytes out.

use std::net::SocketAddr;
use std::time::Duration;

use millstream_protocol::api::{ApiKey, served};
use millstream_protocol::error::ErrorCode;
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::Message;
use millstream_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use millstream_protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use millstream_protocol::messages::init_producer_id::InitProducerIdResponse;
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use millstream_protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use millstream_protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use millstream_protocol::uuid::Uuid;
use millstream_protocol::wire::Reader;

use crate::Fault;

const NODE: i32 = 1;
/// The APIs that a sink answers, with the highest version: the last that have topic names.
const SERVED: [(ApiKey, i16); 6] = [
    (ApiKey::Produce, 12),
    (ApiKey::Fetch, 12),
    (ApiKey::ListOffsets, i16::MAX),
    (ApiKey::Metadata, i16::MAX),
    (ApiKey::ApiVersions, i16::MAX),
    (ApiKey::InitProducerId, i16::MAX),
];

/// When an answer may leave.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// At once; or there is none (acks=0).
    Now,
    /// A fetch finds nothing, so it waits as long as it asked for.
    After(Duration),
}

/// The cluster that a sink claims to be: itself, leading every partition.
pub struct Answers {
    host: String,
    port: i32,
    partitions: i32,
}

impl Answers {
    /// `address` is where clients are sent; every topic has `partitions` partitions.
    pub fn new(address: SocketAddr, partitions: i32) -> Answers {
        Answers {
            host: address.ip().to_string(),
            port: address.port().into(),
            partitions,
        }
    }

    /// Appends the answer to one request, `frame` without its length, to `out`.
    pub fn answer(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<Answer, Fault> {
        let (header, mut body) = header::read(frame)?;
        let api = SERVED.iter().find(|(api, _)| *api as i16 == header.api_key);
        let (api, version_max) =
            *api.ok_or_else(|| format!("a sink has no API {}", header.api_key))?;
        if api == ApiKey::ApiVersions {
            write(out, api, &header, &api_versions(&header))?;
            return Ok(Answer::Now);
        }
        if header.api_version > version_max {
            return Err(format!("{api:?} {} needs topic ids", header.api_version).into());
        }
        match api {
            ApiKey::Produce => produce(&header, &mut body, out)?,
            ApiKey::Fetch => return fetch(&header, &mut body, out),
            ApiKey::ListOffsets => list_offsets(&header, &mut body, out)?,
            ApiKey::InitProducerId => {
                let response = InitProducerIdResponse {
                    producer_id: 1,
                    ..InitProducerIdResponse::default()
                };
                write(out, api, &header, &response)?;
            }
            _ => self.metadata(&header, &mut body, out)?,
        }
        Ok(Answer::Now)
    }

    fn metadata(
        &self,
        header: &RequestHeader<'_>,
        body: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let request = MetadataRequest::read(body, header.api_version)?;
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: NODE,
            leader_epoch: 0,
            replica_nodes: vec![NODE],
            isr_nodes: vec![NODE],
            ..MetadataResponsePartition::default()
        };
        let topics = request.topics.unwrap_or_default().into_iter();
        let response = MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: NODE,
                host: self.host.as_str().into(),
                port: self.port,
                ..MetadataResponseBroker::default()
            }],
            cluster_id: Some("sink".into()),
            controller_id: NODE,
            topics: topics
                .map(|topic| MetadataResponseTopic {
                    name: topic.name,
                    topic_id: Uuid([1; 16]),
                    partitions: (0..self.partitions).map(partition).collect(),
                    ..MetadataResponseTopic::default()
                })
                .collect(),
            ..MetadataResponse::default()
        };
        write(out, ApiKey::Metadata, header, &response)
    }
}

fn api_versions(header: &RequestHeader<'_>) -> ApiVersionsResponse<'static> {
    let rows = served().iter().filter_map(|row| {
        let (_, version_max) = SERVED.iter().find(|(api, _)| *api == row.key)?;
        Some(ApiVersion {
            api_key: row.key as i16,
            min_version: row.min,
            max_version: row.max.min(*version_max),
        })
    });
    let known = ApiKey::ApiVersions.row().serves(header.api_version);
    let error = if known {
        ErrorCode::None
    } else {
        ErrorCode::UnsupportedVersion
    };
    ApiVersionsResponse {
        error_code: error.code(),
        api_keys: rows.collect(),
        ..ApiVersionsResponse::default()
    }
}

fn produce(
    header: &RequestHeader<'_>,
    body: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let request = ProduceRequest::read(body, header.api_version)?;
    if request.acks == 0 {
        return Ok(());
    }
    let topics = request.topic_data.into_iter();
    let responses = topics.map(|topic| {
        let partitions = topic.partition_data.iter();
        let answered = partitions.map(|partition| PartitionProduceResponse {
            index: partition.index,
            ..PartitionProduceResponse::default()
        });
        TopicProduceResponse {
            partition_responses: answered.collect(),
            name: topic.name,
            ..TopicProduceResponse::default()
        }
    });
    let response = ProduceResponse {
        responses: responses.collect(),
        ..ProduceResponse::default()
    };
    write(out, ApiKey::Produce, header, &response)
}

fn fetch(
    header: &RequestHeader<'_>,
    body: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<Answer, Fault> {
    let request = FetchRequest::read(body, header.api_version)?;
    let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let topics = request.topics.into_iter();
    let responses = topics.map(|topic| FetchableTopicResponse {
        partitions: (topic.partitions.iter())
            .map(|partition| PartitionData {
                partition_index: partition.partition,
                ..PartitionData::default()
            })
            .collect(),
        topic: topic.topic,
        ..FetchableTopicResponse::default()
    });
    let response = FetchResponse {
        responses: responses.collect(),
        ..FetchResponse::default()
    };
    write(out, ApiKey::Fetch, header, &response)?;
    Ok(Answer::After(Duration::from_millis(wait)))
}

fn list_offsets(
    header: &RequestHeader<'_>,
    body: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let request = ListOffsetsRequest::read(body, header.api_version)?;
    let topics = request.topics.into_iter();
    let topics = topics.map(|topic| ListOffsetsTopicResponse {
        partitions: (topic.partitions.iter())
            .map(|partition| ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                offset: 0,
                ..ListOffsetsPartitionResponse::default()
            })
            .collect(),
        name: topic.name,
    });
    let response = ListOffsetsResponse {
        topics: topics.collect(),
        ..ListOffsetsResponse::default()
    };
    write(out, ApiKey::ListOffsets, header, &response)
}

fn write<'a, M: Message<'a>>(
    out: &mut Vec<u8>,
    api: ApiKey,
    request: &RequestHeader<'_>,
    response: &M,
) -> Result<(), Fault> {
    let row = api.row();
    // ApiVersions answers versions that it does not know in version 0 (KIP-511).
    let version = if row.serves(request.api_version) {
        request.api_version
    } else {
        0
    };
    let mut writer = frame::open(128);
    header::write_response_header(&mut writer, row, version, request.correlation_id);
    response.write(&mut writer, version);
    out.extend_from_slice(&frame::close(writer)?.bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use millstream_protocol::message::Records;
    use millstream_protocol::messages::api_versions::ApiVersionsRequest;
    use millstream_protocol::messages::metadata::MetadataRequestTopic;
    use millstream_protocol::messages::produce::{PartitionProduceData, TopicProduceData};

    use super::*;
    use crate::cluster;
    use crate::connection::split_frame;

    fn answers() -> Answers {
        Answers::new(([127, 0, 0, 1], 9999).into(), 3)
    }

    fn ask<'a, M: Message<'a>>(api: ApiKey, version: i16, body: &M) -> Vec<u8> {
        let request = cluster::request(api, version, body).unwrap().bytes;
        let (frame, _) = split_frame(&request).unwrap();
        let mut out = Vec::new();
        answers().answer(frame, &mut out).unwrap();
        out
    }

    fn produce_request(acks: i16) -> ProduceRequest<'static> {
        let partition = PartitionProduceData {
            index: 2,
            records: Records::Borrowed(b"not even a batch"),
        };
        let topic = TopicProduceData {
            name: "t".into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        ProduceRequest {
            acks,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        }
    }

    #[test]
    fn every_batch_is_acknowledged() {
        let out = ask(ApiKey::Produce, 9, &produce_request(-1));
        let (frame, length) = split_frame(&out).unwrap();
        assert_eq!(length, out.len());
        let (_, mut body) = header::read_response(frame, ApiKey::Produce.row(), 9).unwrap();
        let response = ProduceResponse::read(&mut body, 9).unwrap();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.index, partition.error_code), (2, 0));
        assert!(ask(ApiKey::Produce, 9, &produce_request(0)).is_empty());
    }

    #[test]
    fn every_topic_is_there() {
        let topic = MetadataRequestTopic {
            name: Some("any".into()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            ..MetadataRequest::default()
        };
        let out = ask(ApiKey::Metadata, 9, &request);
        let (_, mut body) = header::read_response(&out[4..], ApiKey::Metadata.row(), 9).unwrap();
        let response = MetadataResponse::read(&mut body, 9).unwrap();
        assert_eq!(response.topics[0].partitions.len(), 3);
        assert_eq!(response.brokers[0].port, 9999);
    }

    #[test]
    fn a_version_that_is_too_new_is_told_what_there_is() {
        let request = ApiVersionsRequest::default();
        let mut asked = cluster::request(ApiKey::ApiVersions, 3, &request)
            .unwrap()
            .bytes;
        asked[6..8].copy_from_slice(&99i16.to_be_bytes());
        let mut out = Vec::new();
        answers().answer(&asked[4..], &mut out).unwrap();
        let (_, mut body) = header::read_response(&out[4..], ApiKey::ApiVersions.row(), 0).unwrap();
        let response = ApiVersionsResponse::read(&mut body, 0).unwrap();
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
        let produce = response.api_keys.iter().find(|row| row.api_key == 0);
        assert_eq!(produce.map(|row| row.max_version), Some(12));
    }

    #[test]
    fn a_fetch_waits_as_long_as_it_may() {
        let request = FetchRequest {
            max_wait_ms: 70,
            ..FetchRequest::default()
        };
        let asked = cluster::request(ApiKey::Fetch, 12, &request).unwrap().bytes;
        let answer = answers().answer(&asked[4..], &mut Vec::new()).unwrap();
        assert_eq!(answer, Answer::After(Duration::from_millis(70)));
    }

    #[test]
    fn damaged_requests_are_errors() {
        let request = cluster::request(ApiKey::Produce, 9, &produce_request(-1))
            .unwrap()
            .bytes;
        for end in 4..request.len() {
            assert!(
                answers().answer(&request[4..end], &mut Vec::new()).is_err(),
                "{end}"
            );
        }
    }
}
