//! Where to send: creates missing topics and finds the leaders. Blocking, before any load.

mod admin;
mod call;
pub mod transactions;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_protocol::api::ApiKey;
use millstream_protocol::error::ErrorCode;
use millstream_protocol::header;
use millstream_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use millstream_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};

use crate::Fault;
use admin::leaders_answer;
pub use admin::{
    KeyType, ProducerId, coordinator, delete_topic, has_transactions, producer_id, producer_ids,
};
pub use call::{call, connect, receive, request, send};

const METADATA_VERSION: i16 = 9;
const CREATE_TOPICS_VERSION: i16 = 5;
/// Partitions created with one request: Kafka's controller does no more than 10,000 changes for one.
const CREATED_TOGETHER: i32 = 2000;
/// A JVM on one busy core takes a minute for some thousand partitions.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks: each asks for every partition, which is work for the broker, too.
const LOOK: Duration = Duration::from_millis(100);

/// The topic's partitions and who leads them now, asked once.
pub fn leaders_now(bootstrap: &str, topic: &str) -> Result<Vec<Target>, Fault> {
    Ok(look(&mut connect(bootstrap)?, &[topic.to_owned()])?.targets?)
}

/// Who leads a partition now, asked once.
pub fn leader(bootstrap: &str, topic: &str, partition: i32) -> Result<SocketAddr, Fault> {
    let targets = leaders_now(bootstrap, topic)?;
    let target = targets.iter().find(|target| target.partition == partition);
    Ok(target.ok_or("the partition is gone")?.leader)
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

/// Creates what is missing and waits until every partition has a leader that answers for it.
pub fn prepare(options: &TopicOptions) -> Result<Vec<Target>, Fault> {
    prepare_within(options, PATIENCE)
}

/// The same with a patience of its own.
pub fn prepare_within(options: &TopicOptions, patience: Duration) -> Result<Vec<Target>, Fault> {
    let mut broker = connect(&options.bootstrap)?;
    let names = options.names();
    let deadline = Instant::now() + patience;
    let missing = look(&mut broker, &names)?.missing;
    create(&mut broker, options, &missing)?;
    loop {
        // A leader that Metadata names may not know of it yet.
        let led = match look(&mut broker, &names)?.targets {
            Ok(targets) => leaders_answer(&targets).map(|()| targets),
            Err(reason) => Err(reason.into()),
        };
        match led {
            Ok(targets) => return Ok(targets),
            Err(reason) if Instant::now() > deadline => {
                return Err(format!("no leader for every partition: {reason}").into());
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Whether a broker answers there now.
pub fn answers(bootstrap: &str) -> bool {
    let asked = connect(bootstrap).and_then(|mut broker| look(&mut broker, &[]));
    asked.is_ok()
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
    let together = usize::try_from(CREATED_TOGETHER / options.partitions.max(1))?.max(1);
    for names in names.chunks(together) {
        create_topics(broker, names.iter().map(topic).collect())?;
    }
    Ok(())
}

fn create_topics(broker: &mut TcpStream, topics: Vec<CreatableTopic<'_>>) -> Result<(), Fault> {
    let request = CreateTopicsRequest {
        topics,
        timeout_ms: 60_000,
        ..Default::default()
    };
    let (api, version) = (ApiKey::CreateTopics, CREATE_TOPICS_VERSION);
    let frame = call(broker, api, version, &request)?;
    let (_, mut body) = header::read_response(&frame, api.row(), version)?;
    for topic in CreateTopicsResponse::read(&mut body, version)?.topics {
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
