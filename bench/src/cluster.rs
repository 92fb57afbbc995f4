//! Where to send: creates missing topics and finds the leaders. Blocking, before any load.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::frame;
use millstream_protocol::header::{self, RequestHeader};
use millstream_protocol::message::{Message, Records};
use millstream_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use millstream_protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use millstream_protocol::wire::Writer;

use crate::Fault;
use crate::produce::request::VERSION as PRODUCE_VERSION;

/// The name every request carries.
pub const CLIENT_ID: &str = "millstream-bench";
const METADATA_VERSION: i16 = 9;
const CREATE_TOPICS_VERSION: i16 = 5;
const DELETE_TOPICS_VERSION: i16 = 5;
const FIND_COORDINATOR_VERSION: i16 = 4;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
/// Larger than the metadata of any topics a run creates.
const RESPONSE_MAX: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Who leads a partition now, asked once.
pub fn leader(bootstrap: &str, topic: &str, partition: i32) -> Result<SocketAddr, Fault> {
    let mut broker = connect(bootstrap)?;
    let targets = look(&mut broker, &[topic.to_owned()])?.targets?;
    let target = targets.iter().find(|target| target.partition == partition);
    Ok(target.ok_or("the partition is gone")?.leader)
}

/// Who an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerId {
    pub id: i64,
    pub epoch: i16,
}

/// One partition and the broker that leads it.
#[derive(Clone, Debug)]
pub struct Target {
    pub topic: Arc<str>,
    pub partition: i32,
    pub leader: SocketAddr,
}

/// The topics of a run: `name` itself, or `name-0`, `name-1`, … if there are several.
#[derive(clap::Args, Clone, Debug)]
pub struct TopicOptions {
    /// Any broker of the cluster.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Topic; with --topics above 1 the first part of their names.
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// How many topics.
    #[arg(long, default_value_t = 1)]
    pub topics: usize,
    /// Partitions of each topic, where it has to be created.
    #[arg(long, default_value_t = 1)]
    pub partitions: i32,
    /// Configuration of topics that have to be created; may be repeated.
    #[arg(long = "topic-config", value_name = "KEY=VALUE")]
    pub configs: Vec<String>,
}

impl TopicOptions {
    fn names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            count => (0..count)
                .map(|index| format!("{}-{index}", self.topic))
                .collect(),
        }
    }
}

/// Creates what is missing and waits until every partition has a leader.
pub fn prepare(options: &TopicOptions) -> Result<Vec<Target>, Fault> {
    let mut broker = connect(&options.bootstrap)?;
    let names = options.names();
    let deadline = Instant::now() + PATIENCE;
    let missing = look(&mut broker, &names)?.missing;
    create(&mut broker, options, &missing)?;
    loop {
        match look(&mut broker, &names)?.targets {
            Ok(targets) => return Ok(targets),
            Err(reason) if Instant::now() > deadline => {
                return Err(format!("no leader for every partition: {reason}").into());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Whether a broker answers there now.
pub fn answers(bootstrap: &str) -> bool {
    let asked = connect(bootstrap).and_then(|mut broker| look(&mut broker, &[]));
    asked.is_ok()
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

/// Produces one record to the topic's last partition, as often as it takes until it is acknowledged.
pub fn produce_one(bootstrap: &str, topic: &str) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_produce_one(bootstrap, topic) {
            Err(fault) if Instant::now() > deadline => return Err(fault),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}

fn try_produce_one(bootstrap: &str, topic: &str) -> Result<(), Fault> {
    let targets = look(&mut connect(bootstrap)?, &[topic.to_owned()])?.targets?;
    let target = targets.last().ok_or("a topic without partitions")?;
    let mut broker = connect(&target.leader.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = i64::try_from(now)?;
    let mut batch = BatchBuilder::new(Codec::None, now);
    batch.push(now, None, Some(b"one"), &[]);
    let batch = batch.finish(0);
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: target.partition,
                records: Records::Borrowed(&batch),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let (api, version) = (ApiKey::Produce, PRODUCE_VERSION);
    let frame = call(&mut broker, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    let response = ProduceResponse::read(&mut body, version)?;
    let topic = response.responses.first();
    let partition = topic.and_then(|topic| topic.partition_responses.first());
    match partition.ok_or("an empty answer")?.error_code {
        0 => Ok(()),
        code => Err(error_name(code).into()),
    }
}

/// Who coordinates a group. Waits for the broker to create the offsets topic, if it has to.
pub fn coordinator(bootstrap: &str, group: &str) -> Result<SocketAddr, Fault> {
    let mut broker = connect(bootstrap)?;
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![group.into()],
        ..FindCoordinatorRequest::default()
    };
    let (api, version) = (ApiKey::FindCoordinator, FIND_COORDINATOR_VERSION);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let frame = call(&mut broker, api, version, &request)?;
        let (_, mut body) = header::read_response(&frame, api.row(), version)?;
        let response = FindCoordinatorResponse::read(&mut body, version)?;
        let found = response.coordinators.first().ok_or("an empty answer")?;
        match ErrorCode::from_code(found.error_code) {
            Some(ErrorCode::None) => {
                let port = u16::try_from(found.port)?;
                return Ok(TcpStream::connect((&*found.host, port))?.peer_addr()?);
            }
            Some(code) if code.retriable() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => return Err(format!("group {group}: {}", error_name(found.error_code)).into()),
        }
    }
}

/// As many new producer ids.
pub fn producer_ids(bootstrap: &str, count: usize) -> Result<Vec<ProducerId>, Fault> {
    let mut broker = connect(bootstrap)?;
    (0..count).map(|_| producer_id(&mut broker)).collect()
}

fn producer_id(broker: &mut TcpStream) -> Result<ProducerId, Fault> {
    let request = InitProducerIdRequest {
        transactional_id: None,
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

/// A blocking connection for questions outside the load.
pub fn connect(bootstrap: &str) -> Result<TcpStream, Fault> {
    let broker = TcpStream::connect(bootstrap).map_err(|error| format!("{bootstrap}: {error}"))?;
    broker.set_nodelay(true)?;
    broker.set_read_timeout(Some(PATIENCE))?;
    Ok(broker)
}

/// What Metadata said.
struct View {
    missing: Vec<String>,
    /// Or what has no leader yet.
    targets: Result<Vec<Target>, String>,
}

fn look(broker: &mut TcpStream, names: &[String]) -> Result<View, Fault> {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some(name.as_str().into()),
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let frame = call(broker, ApiKey::Metadata, METADATA_VERSION, &request)?;
    let (_, mut body) = header::read_response(&frame, ApiKey::Metadata.row(), METADATA_VERSION)?;
    let response = MetadataResponse::read(&mut body, METADATA_VERSION)?;
    let mut addresses = HashMap::new();
    for broker in &response.brokers {
        let port = u16::try_from(broker.port)?;
        // A name may stand for several addresses; the one that answers is the right one.
        let address =
            TcpStream::connect((&*broker.host, port)).and_then(|stream| stream.peer_addr());
        addresses.insert(
            broker.node_id,
            address.map_err(|error| format!("{}:{port}: {error}", broker.host))?,
        );
    }
    let mut missing = Vec::new();
    for topic in &response.topics {
        let name = topic.name.as_deref().unwrap_or_default();
        match ErrorCode::from_code(topic.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::UnknownTopicOrPartition) => missing.push(name.to_owned()),
            Some(code) if code.retriable() => {}
            _ => return Err(format!("topic {name:?}: {}", error_name(topic.error_code)).into()),
        }
    }
    let targets = response
        .topics
        .iter()
        .map(|topic| leaders(topic, &addresses));
    let targets = targets.collect::<Result<Vec<_>, _>>();
    Ok(View {
        missing,
        targets: targets.map(|all| all.concat()),
    })
}

fn leaders(
    topic: &MetadataResponseTopic<'_>,
    addresses: &HashMap<i32, SocketAddr>,
) -> Result<Vec<Target>, String> {
    let name: Arc<str> = topic.name.as_deref().unwrap_or_default().into();
    if topic.error_code != 0 {
        return Err(format!("{name}: {}", error_name(topic.error_code)));
    }
    let mut targets = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let leader = addresses
            .get(&partition.leader_id)
            .ok_or_else(|| format!("{name}-{}", partition.partition_index))?;
        targets.push(Target {
            topic: name.clone(),
            partition: partition.partition_index,
            leader: *leader,
        });
    }
    targets.sort_by_key(|target| target.partition);
    Ok(targets)
}

fn create(broker: &mut TcpStream, options: &TopicOptions, names: &[String]) -> Result<(), Fault> {
    if names.is_empty() {
        return Ok(());
    }
    let mut configs = Vec::new();
    for config in &options.configs {
        let (name, value) = config
            .split_once('=')
            .ok_or_else(|| format!("--topic-config {config}: KEY=VALUE expected"))?;
        configs.push(CreatableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
        });
    }
    let topic = |name: &String| CreatableTopic {
        name: name.clone().into(),
        num_partitions: options.partitions,
        replication_factor: -1,
        configs: configs.clone(),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: names.iter().map(topic).collect(),
        timeout_ms: 60_000,
        ..Default::default()
    };
    let frame = call(
        broker,
        ApiKey::CreateTopics,
        CREATE_TOPICS_VERSION,
        &request,
    )?;
    let (_, mut body) =
        header::read_response(&frame, ApiKey::CreateTopics.row(), CREATE_TOPICS_VERSION)?;
    for topic in CreateTopicsResponse::read(&mut body, CREATE_TOPICS_VERSION)?.topics {
        // Another run may have been faster.
        if topic.error_code != 0 && topic.error_code != ErrorCode::TopicAlreadyExists as i16 {
            let message = topic.error_message.unwrap_or_default();
            return Err(format!(
                "creating {}: {} {message}",
                topic.name,
                error_name(topic.error_code)
            )
            .into());
        }
    }
    Ok(())
}

/// Kafka's name of a code, or the number.
pub fn error_name(code: i16) -> String {
    ErrorCode::from_code(code)
        .map_or_else(|| format!("error {code}"), |code| code.name().to_owned())
}

/// A request frame; what [`millstream_protocol::wire::Encoded`] leaves out stays out.
pub fn request<'a, M: Message<'a>>(
    api: ApiKey,
    version: i16,
    body: &M,
) -> Result<millstream_protocol::wire::Encoded, Fault> {
    let mut writer: Writer = frame::open(256);
    let header = RequestHeader {
        api_key: api as i16,
        api_version: version,
        correlation_id: 0,
        client_id: Some(CLIENT_ID.into()),
    };
    header::write(&mut writer, &header, api.row());
    body.write(&mut writer, version);
    Ok(frame::close(writer)?)
}

/// One question and its answer's frame, without the length.
pub fn call<'a, M: Message<'a>>(
    broker: &mut TcpStream,
    api: ApiKey,
    version: i16,
    body: &M,
) -> Result<Vec<u8>, Fault> {
    send(broker, api, version, body)?;
    receive(broker, api)
}

/// Sends a request; its answer is the next that [`receive`] returns after those to earlier ones.
pub fn send<'a, M: Message<'a>>(
    broker: &mut TcpStream,
    api: ApiKey,
    version: i16,
    body: &M,
) -> Result<(), Fault> {
    Ok(broker.write_all(&request(api, version, body)?.bytes)?)
}

/// The next answer's frame, without the length.
pub fn receive(broker: &mut TcpStream, api: ApiKey) -> Result<Vec<u8>, Fault> {
    let mut prefix = [0; frame::PREFIX];
    broker
        .read_exact(&mut prefix)
        .map_err(|error| format!("{api:?} was not answered: {error}"))?;
    let length = frame::length(prefix, RESPONSE_MAX)?;
    let mut response = Vec::new();
    broker.take(length as u64).read_to_end(&mut response)?;
    if response.len() < length {
        return Err(format!("{api:?}: the connection was closed").into());
    }
    Ok(response)
}
