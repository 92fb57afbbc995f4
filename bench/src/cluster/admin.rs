//! What a run needs beside topics: leaders that answer, producer ids, coordinators, and topics gone again.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use millstream_protocol::api::ApiKey;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::header;
use millstream_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::{PATIENCE, Target, call, connect, error_name, transactions};
use crate::Fault;

const API_VERSIONS_VERSION: i16 = 0;
const DELETE_TOPICS_VERSION: i16 = 5;
const FIND_COORDINATOR_VERSION: i16 = 4;
const HEARTBEAT_VERSION: i16 = 4;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
const LIST_OFFSETS_VERSION: i16 = 7;
/// ListOffsets' timestamp for the log's end.
const LATEST: i64 = -1;

/// Asks each leader for the ends of all its partitions: Ok if it knows every one as its own.
pub fn leaders_answer(targets: &[Target]) -> Result<(), Fault> {
    let mut leaders: Vec<SocketAddr> = targets.iter().map(|target| target.leader).collect();
    leaders.sort_unstable();
    leaders.dedup();
    for leader in leaders {
        let led: Vec<&Target> = targets
            .iter()
            .filter(|target| target.leader == leader)
            .collect();
        let topics = led.chunk_by(|a, b| a.topic == b.topic);
        let topics = topics.map(|targets| ListOffsetsTopic {
            name: (&*targets[0].topic).into(),
            partitions: (targets.iter())
                .map(|target| ListOffsetsPartition {
                    partition_index: target.partition,
                    timestamp: LATEST,
                    ..ListOffsetsPartition::default()
                })
                .collect(),
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.collect(),
            ..ListOffsetsRequest::default()
        };
        let (api, version) = (ApiKey::ListOffsets, LIST_OFFSETS_VERSION);
        let frame = call(&mut connect(&leader.to_string())?, api, version, &request)?;
        let (_, mut body) = header::read_response(&frame, api.row(), version)?;
        for topic in &ListOffsetsResponse::read(&mut body, version)?.topics {
            let mut partitions = topic.partitions.iter();
            if let Some(refused) = partitions.find(|partition| partition.error_code != 0) {
                let (name, index) = (&topic.name, refused.partition_index);
                return Err(format!("{name}-{index}: {}", error_name(refused.error_code)).into());
            }
        }
    }
    Ok(())
}

/// Who an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerId {
    pub id: i64,
    pub epoch: i16,
}

/// As many new producer ids.
pub fn producer_ids(bootstrap: &str, count: usize) -> Result<Vec<ProducerId>, Fault> {
    let mut broker = connect(bootstrap)?;
    (0..count).map(|_| producer_id(&mut broker, None)).collect()
}

/// A new producer id; or that of a transactional id, from its coordinator, with a new epoch: whoever had the one before
/// is fenced off and its open transaction aborted.
pub fn producer_id(
    broker: &mut TcpStream,
    transactional_id: Option<&str>,
) -> Result<ProducerId, Fault> {
    let request = InitProducerIdRequest {
        transactional_id: transactional_id.map(Into::into),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let frame = call(
            broker,
            ApiKey::InitProducerId,
            INIT_PRODUCER_ID_VERSION,
            &request,
        )?;
        let row = ApiKey::InitProducerId.row();
        let (_, mut body) = header::read_response(&frame, row, INIT_PRODUCER_ID_VERSION)?;
        let response = InitProducerIdResponse::read(&mut body, INIT_PRODUCER_ID_VERSION)?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {
                return Ok(ProducerId {
                    id: response.producer_id,
                    epoch: response.producer_epoch,
                });
            }
            // A broker that has just started may still be loading.
            Some(code) if code.retriable() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => return Err(format!("a producer id: {}", error_name(response.error_code)).into()),
        }
    }
}

/// What is coordinated; FindCoordinator's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum KeyType {
    Group = 0,
    Transaction = 1,
}

/// Who coordinates it. Waits for the broker to create its topic of them, if it has to, and until a group's coordinator
/// has loaded its part of it.
pub fn coordinator(bootstrap: &str, key: &str, key_type: KeyType) -> Result<SocketAddr, Fault> {
    let mut broker = connect(bootstrap)?;
    let request = FindCoordinatorRequest {
        key_type: key_type as i8,
        coordinator_keys: vec![key.into()],
        ..FindCoordinatorRequest::default()
    };
    let (api, version) = (ApiKey::FindCoordinator, FIND_COORDINATOR_VERSION);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let frame = call(&mut broker, api, version, &request)?;
        let (_, mut body) = header::read_response(&frame, api.row(), version)?;
        let response = FindCoordinatorResponse::read(&mut body, version)?;
        let found = response.coordinators.first().ok_or("an empty answer")?;
        let mut code = ErrorCode::from_code(found.error_code);
        if code == Some(ErrorCode::None) {
            let port = u16::try_from(found.port)?;
            let mut coordinator = connect(&format!("{}:{port}", found.host))?;
            if key_type == KeyType::Group {
                code = ErrorCode::from_code(heartbeat(&mut coordinator, key)?);
            }
            if !code.is_some_and(ErrorCode::retriable) {
                return Ok(coordinator.peer_addr()?);
            }
        }
        match code {
            Some(code) if code.retriable() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => {
                let name = code.map_or_else(
                    || error_name(found.error_code),
                    |code| code.name().to_owned(),
                );
                return Err(format!("coordinator of {key}: {name}").into());
            }
        }
    }
}

/// What a coordinator says to a member that it cannot know: UNKNOWN_MEMBER_ID, unless the group is not its own yet.
fn heartbeat(coordinator: &mut TcpStream, group: &str) -> Result<i16, Fault> {
    let request = HeartbeatRequest {
        group_id: group.into(),
        member_id: "nobody".into(),
        ..HeartbeatRequest::default()
    };
    let (api, version) = (ApiKey::Heartbeat, HEARTBEAT_VERSION);
    let frame = call(coordinator, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    Ok(HeartbeatResponse::read(&mut body, version)?.error_code)
}

/// Whether EndTxn is among a broker's APIs.
pub fn has_transactions(bootstrap: &str) -> Result<bool, Fault> {
    let (api, version) = (ApiKey::ApiVersions, API_VERSIONS_VERSION);
    let request = ApiVersionsRequest::default();
    let frame = call(&mut connect(bootstrap)?, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    let apis = ApiVersionsResponse::read(&mut body, version)?.api_keys;
    Ok(apis.iter().any(|api| api.api_key == transactions::END_TXN))
}

/// Deletes a topic.
pub fn delete_topic(bootstrap: &str, topic: &str) -> Result<(), Fault> {
    let mut broker = connect(bootstrap)?;
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.into()],
        timeout_ms: 60_000,
        ..DeleteTopicsRequest::default()
    };
    let (api, version) = (ApiKey::DeleteTopics, DELETE_TOPICS_VERSION);
    let frame = call(&mut broker, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    let response = DeleteTopicsResponse::read(&mut body, version)?;
    let code = response
        .responses
        .first()
        .map_or(0, |topic| topic.error_code);
    // Where creating it had failed there is none.
    match code == 0 || code == ErrorCode::UnknownTopicOrPartition.code() {
        true => Ok(()),
        false => Err(error_name(code).into()),
    }
}
