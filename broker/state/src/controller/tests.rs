//! Every refusal with Kafka's code and text (compared with Kafka 4.3.1), and what placement and sharing promise.

use std::sync::Arc;

use super::*;
use crate::controller::producer_ids::PRODUCER_ID_BLOCK_SIZE;
use crate::controller::topics::{PARTITIONS_MAX, REQUEST_PARTITIONS_MAX};

const DIRECTORY: Uuid = Uuid([7; 16]);

fn context() -> Context {
    Context {
        cores: 2,
        directories: vec![DIRECTORY],
        num_partitions: 1,
        default_replication_factor: 1,
    }
}

fn broker(broker_id: i32) -> Broker {
    let endpoint = Endpoint {
        listener: "PLAINTEXT".into(),
        host: "localhost".into(),
        port: 9092,
    };
    Broker {
        broker_id,
        endpoints: vec![endpoint],
        rack: None,
    }
}

fn id(number: u32) -> Uuid {
    let mut bytes = [0xab; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Uuid(bytes)
}

fn new_topic(name: &str, number: u32, num_partitions: i32, replication_factor: i16) -> NewTopic {
    let (name, topic_id) = (name.to_string(), id(number));
    NewTopic {
        name,
        topic_id,
        num_partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: Ok(Vec::new()),
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments
        .iter()
        .map(|(index, brokers)| (*index, brokers.to_vec()))
        .collect();
    NewTopic {
        assignments,
        ..new_topic(name, 900, -1, -1)
    }
}

/// Runs a command and replays what it yields.
fn run(state: &mut State, command: Command) -> Result<Reply, Refusal> {
    let (records, reply) = state.command(&command, &context())?;
    let position = state.position().next(1);
    if !records.is_empty() {
        state.replay(&Entry { position, records });
    }
    Ok(reply)
}

fn create(state: &mut State, topics: Vec<NewTopic>) -> Vec<CreatedTopic> {
    match run(
        state,
        Command::CreateTopics {
            topics,
            validate_only: false,
        },
    ) {
        Ok(Reply::CreatedTopics(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

/// Broker 1; topic `a.b` with one partition, `t3` with three.
fn cluster() -> State {
    let mut state = State::new();
    run(
        &mut state,
        Command::Format {
            cluster_id: "kafka-cluster-0123456x".into(),
        },
    )
    .expect("an empty log");
    run(&mut state, Command::RegisterBroker(broker(1))).expect("registers");
    let rows = create(
        &mut state,
        vec![new_topic("a.b", 1, 1, 1), new_topic("t3", 2, 3, 1)],
    );
    assert!(rows.iter().all(|row| row.result.is_ok()), "{rows:?}");
    state
}

fn refused(error: ErrorCode, message: &str) -> Refusal {
    Refusal::new(error, message)
}

#[test]
fn create_topics_is_refused_as_kafka_does() {
    use ErrorCode::{
        InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
        InvalidRequest, InvalidTopicException, TopicAlreadyExists,
    };
    let long = "l".repeat(250);
    let too_long = format!(
        "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
    );
    let factor = "Replication factor must be larger than 0, or -1 to use the default value.";
    let partitions = "Number of partitions was set to an invalid non-positive value.";
    let consecutive = "partitions should be a consecutive 0-based integer sequence";
    let unreachable = "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
                       because only 1 broker(s) are registered or some brokers have all their log directories cordoned.";
    let characters = "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
    let set = |factor, partitions| NewTopic {
        replication_factor: factor,
        num_partitions: partitions,
        ..assigned("m", &[(0, &[1])])
    };
    let manual = "A manual partition assignment was specified, but";
    let config = Refusal::new(InvalidConfig, "Unknown topic config name: foo");
    let misconfigured = |name, factor| NewTopic {
        configs: Err(config.clone()),
        ..new_topic(name, 9, 1, factor)
    };
    let table = [
        (
            new_topic("a.b", 9, 1, 1),
            TopicAlreadyExists,
            "Topic 'a.b' already exists.",
        ),
        (
            new_topic("a_b", 9, 1, 1),
            InvalidTopicException,
            "Topic 'a_b' collides with existing topic: a.b",
        ),
        (
            new_topic("", 9, 1, 1),
            InvalidTopicException,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            new_topic(".", 9, 1, 1),
            InvalidTopicException,
            "Topic name is invalid: '.' is not allowed",
        ),
        (
            new_topic("..", 9, 1, 1),
            InvalidTopicException,
            "Topic name is invalid: '..' is not allowed",
        ),
        (new_topic("a b", 9, 1, 1), InvalidTopicException, characters),
        (new_topic(&long, 9, 1, 1), InvalidTopicException, &too_long),
        (
            new_topic("__cluster_metadata", 9, 1, 1),
            InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            new_topic("c", 9, 1, 3),
            InvalidReplicationFactor,
            unreachable,
        ),
        (new_topic("c", 9, 1, 0), InvalidReplicationFactor, factor),
        (new_topic("c", 9, 1, -2), InvalidReplicationFactor, factor),
        (new_topic("c", 9, 0, 1), InvalidPartitions, partitions),
        (new_topic("c", 9, -2, 1), InvalidPartitions, partitions),
        // The number of partitions is looked at before the brokers are counted.
        (new_topic("c", 9, 0, 3), InvalidPartitions, partitions),
        (
            set(1, -1),
            InvalidRequest,
            &format!("{manual} replication factor was not set to -1."),
        ),
        (
            set(-1, 1),
            InvalidRequest,
            &format!("{manual} numPartitions was not set to -1."),
        ),
        (
            assigned("m", &[(0, &[5])]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes broker 5, but no such broker is registered.",
        ),
        (
            assigned("m", &[(0, &[1, 1])]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            assigned("m", &[(0, &[])]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            assigned("m", &[(0, &[1]), (0, &[1])]),
            InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            assigned("m", &[(1, &[1])]),
            InvalidReplicaAssignment,
            consecutive,
        ),
        (
            assigned("m", &[(0, &[1]), (2, &[1])]),
            InvalidReplicaAssignment,
            consecutive,
        ),
        (
            assigned("m", &[(-1, &[1])]),
            InvalidReplicaAssignment,
            consecutive,
        ),
        // Configs count after the name and before the partitions.
        (
            misconfigured("t3", 1),
            TopicAlreadyExists,
            "Topic 't3' already exists.",
        ),
        (
            misconfigured("t33", 3),
            InvalidConfig,
            "Unknown topic config name: foo",
        ),
    ];
    let mut state = cluster();
    let before = state.clone();
    for (topic, error, message) in table {
        let rows = create(&mut state, vec![topic.clone()]);
        assert_eq!(rows[0].result, Err(refused(error, message)), "{topic:?}");
    }
    assert!(state == before, "a refused topic leaves no record");
}

#[test]
fn replica_lists_of_one_topic_have_one_length() {
    let mut state = cluster();
    run(&mut state, Command::RegisterBroker(broker(2))).expect("registers");
    let rows = create(&mut state, vec![assigned("m", &[(0, &[2, 1]), (1, &[2])])]);
    let message = "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent \
                   with previous partitions, which have 2 replica(s).";
    assert_eq!(
        rows[0].result,
        Err(refused(ErrorCode::InvalidReplicaAssignment, message))
    );
    let rows = create(
        &mut state,
        vec![assigned("m", &[(1, &[2, 1]), (0, &[1, 2])])],
    );
    assert!(rows[0].result.is_ok(), "{rows:?}");
    let image = state.image();
    let leaders: Vec<i32> = image
        .topic("m")
        .expect("created")
        .partitions
        .iter()
        .map(|p| p.leader)
        .collect();
    assert_eq!(
        leaders,
        [1, 2],
        "the first replica leads, by partition index"
    );
}

#[test]
fn one_request_creates_a_bounded_number_of_partitions() {
    let mut state = cluster();
    let half = REQUEST_PARTITIONS_MAX as i32 / 2;
    let topics = vec![new_topic("x", 10, half, 1), new_topic("y", 11, half + 1, 1)];
    let answer = run(
        &mut state,
        Command::CreateTopics {
            topics,
            validate_only: false,
        },
    );
    let message = "Excessively large number of partitions per request.";
    assert_eq!(answer, Err(refused(ErrorCode::PolicyViolation, message)));
    let rows = create(
        &mut state,
        vec![new_topic("x", 10, half, 1), new_topic("y", 11, half, 1)],
    );
    assert!(rows.iter().all(|row| row.result.is_ok()), "{rows:?}");
    // All topics together are bounded too.
    for round in 0..(PARTITIONS_MAX / REQUEST_PARTITIONS_MAX) as u32 {
        let rows = create(
            &mut state,
            vec![new_topic(
                &format!("full-{round}"),
                100 + round,
                half * 2,
                1,
            )],
        );
        let fits = state.image().partition_count() <= PARTITIONS_MAX;
        assert!(fits, "{} partitions", state.image().partition_count());
        if let Err(refusal) = &rows[0].result {
            assert_eq!(refusal.error, ErrorCode::PolicyViolation);
            return the_largest_entry_fits(&state);
        }
    }
    panic!("no topic was refused");
}

/// Half of all partitions of a full cluster move at once.
fn the_largest_entry_fits(state: &State) {
    let one_core = Context {
        cores: 1,
        ..context()
    };
    let (records, _) = state
        .command(&Command::Rebalance, &one_core)
        .expect("valid");
    let entry = Entry {
        position: state.position().next(1),
        records,
    };
    let mut bytes = Vec::new();
    log::encode_entry(&entry, state.position().index, &mut bytes);
    assert!(
        bytes.len() < log::ENTRY_BYTES_MAX / 2,
        "{} bytes",
        bytes.len()
    );
    let read = log::decode_log(&bytes, state.position()).next();
    assert!(read == Some(Ok(entry)), "comes back as it was");
}

#[test]
fn a_name_given_twice_is_answered_once() {
    let mut state = cluster();
    let rows = create(
        &mut state,
        vec![
            new_topic("x", 10, 1, 1),
            new_topic("y", 11, 1, 1),
            new_topic("x", 12, 1, 1),
        ],
    );
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0].result,
        Err(refused(ErrorCode::InvalidRequest, "Duplicate topic name."))
    );
    assert_eq!(rows[1].result.as_ref().map(|row| row.num_partitions), Ok(1));
    // Kafka does not look for collisions among the topics of one request.
    let rows = create(
        &mut state,
        vec![new_topic("x.y", 13, 1, 1), new_topic("x_y", 14, 1, 1)],
    );
    assert!(rows.iter().all(|row| row.result.is_ok()), "{rows:?}");
}

#[test]
fn defaults_and_configs_of_a_new_topic() {
    let mut state = cluster();
    let configs = Ok(vec![("cleanup.policy".to_string(), "compact".to_string())]);
    let topic = NewTopic {
        configs,
        ..new_topic("cfg", 10, -1, -1)
    };
    let command = |validate_only| Command::CreateTopics {
        topics: vec![topic.clone()],
        validate_only,
    };
    let (records, reply) = state.command(&command(true), &context()).expect("valid");
    assert!(records.is_empty(), "validate_only changes nothing");
    assert_eq!(
        run(&mut state, command(false)),
        Ok(reply),
        "validate_only tells what would be"
    );
    let image = state.image();
    let made = image.topic("cfg").expect("created");
    assert_eq!((made.partitions.len(), made.replication_factor()), (1, 1));
    let stored = image.config(ResourceType::Topic, "cfg").expect("stored");
    assert_eq!(
        stored.get("cleanup.policy").map(String::as_str),
        Some("compact")
    );
    run(
        &mut state,
        Command::DeleteTopics(vec![TopicRef::Name("cfg".into())]),
    )
    .expect("deletes");
    assert_eq!(
        state.image().config(ResourceType::Topic, "cfg"),
        None,
        "configs go with their topic"
    );
    // The name is free again, and what collided with it does so no more.
    run(
        &mut state,
        Command::DeleteTopics(vec![TopicRef::Name("a.b".into())]),
    )
    .expect("deletes");
    assert!(
        create(&mut state, vec![new_topic("a_b", 20, 1, 1)])[0]
            .result
            .is_ok()
    );
}

#[test]
fn an_internal_topic_takes_what_replicas_there_are() {
    let mut state = cluster();
    let wanted = new_topic("__consumer_offsets", 50, 50, 3);
    let Ok(Reply::CreatedTopics(rows)) =
        run(&mut state, Command::CreateInternalTopic(wanted.clone()))
    else {
        panic!("refused");
    };
    let created = Created {
        topic_id: id(50),
        num_partitions: 50,
        replication_factor: 1,
    };
    assert_eq!(rows[0].result, Ok(created));
    let again = NewTopic {
        topic_id: id(51),
        ..wanted
    };
    let (records, reply) = state
        .command(&Command::CreateInternalTopic(again), &context())
        .expect("is there");
    assert!(records.is_empty());
    assert_eq!(
        reply,
        Reply::CreatedTopics(rows),
        "shows the topic there is"
    );
}

#[test]
fn delete_topics_answers_each_reference_once() {
    use ErrorCode::{InvalidRequest, UnknownTopicId, UnknownTopicOrPartition};
    let name = |name: &str| TopicRef::Name(name.to_string());
    let mut state = cluster();
    let wanted = vec![
        name("none"),
        TopicRef::Id(id(77)),
        name("t3"),
        name("t3"),
        TopicRef::Id(id(1)),
        name("a.b"),
        TopicRef::Id(id(78)),
        TopicRef::Id(id(78)),
    ];
    let Ok(Reply::DeletedTopics(rows)) = run(&mut state, Command::DeleteTopics(wanted)) else {
        panic!("refused")
    };
    let row = |name: Option<&str>, topic_id, result| DeletedTopic {
        name: name.map(str::to_string),
        topic_id,
        result,
    };
    let supplied = "The provided topic name maps to an ID that was already supplied.";
    let expected = [
        row(
            Some("none"),
            Uuid::ZERO,
            Err(UnknownTopicOrPartition.into()),
        ),
        row(None, id(77), Err(UnknownTopicId.into())),
        row(
            Some("t3"),
            Uuid::ZERO,
            Err(refused(InvalidRequest, "Duplicate topic name.")),
        ),
        row(Some("a.b"), id(1), Err(refused(InvalidRequest, supplied))),
        row(
            None,
            id(78),
            Err(refused(InvalidRequest, "Duplicate topic id.")),
        ),
    ];
    assert_eq!(rows, expected);
    assert_eq!(state.image().topic_count(), 2);
    run(
        &mut state,
        Command::DeleteTopics(vec![TopicRef::Id(id(1)), name("t3")]),
    )
    .expect("deletes");
    assert_eq!(
        (state.image().topic_count(), state.image().partition_count()),
        (0, 0)
    );
}

#[test]
fn create_partitions_is_refused_as_kafka_does() {
    use ErrorCode::{
        InvalidPartitions, InvalidReplicaAssignment, InvalidRequest, PolicyViolation,
        UnknownTopicOrPartition,
    };
    let more = |name: &str, count| MorePartitions {
        name: name.into(),
        count,
        assignments: None,
    };
    let manual = |count, brokers: &[&[i32]]| MorePartitions {
        assignments: Some(brokers.iter().map(|brokers| brokers.to_vec()).collect()),
        ..more("a.b", count)
    };
    let message = |text: &str| Some(text.to_string());
    let table = [
        (more("zz", 2), UnknownTopicOrPartition, None),
        (
            more("a.b", 1),
            InvalidPartitions,
            message("Topic already has 1 partition(s)."),
        ),
        (
            more("t3", 2),
            InvalidPartitions,
            message("The topic t3 currently has 3 partition(s); 2 would not be an increase."),
        ),
        (
            more("t3", -5),
            InvalidPartitions,
            message("The topic t3 currently has 3 partition(s); -5 would not be an increase."),
        ),
        (
            manual(3, &[&[1]]),
            InvalidReplicaAssignment,
            message(
                "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
            ),
        ),
        (
            manual(2, &[&[5]]),
            InvalidReplicaAssignment,
            message(
                "The manual partition assignment includes broker 5, but no such broker is registered.",
            ),
        ),
        (
            manual(2, &[&[]]),
            InvalidReplicaAssignment,
            message("The manual partition assignment includes an empty replica list."),
        ),
        (
            more("t3", i32::MAX),
            PolicyViolation,
            message("Excessively large number of partitions per request."),
        ),
    ];
    let mut state = cluster();
    for (topic, error, message) in table {
        let command = Command::CreatePartitions {
            topics: vec![topic.clone()],
            validate_only: false,
        };
        let (records, reply) = state.command(&command, &context()).expect("refused by row");
        assert!(records.is_empty(), "{topic:?}");
        let row = AddedPartitions {
            name: topic.name,
            result: Err(Refusal { error, message }),
        };
        assert_eq!(reply, Reply::AddedPartitions(vec![row]));
    }
    let twice = Command::CreatePartitions {
        topics: vec![more("t3", 4), more("t3", 5)],
        validate_only: false,
    };
    let row = AddedPartitions {
        name: "t3".into(),
        result: Err(refused(InvalidRequest, "Duplicate topic name.")),
    };
    assert_eq!(
        run(&mut state, twice),
        Ok(Reply::AddedPartitions(vec![row]))
    );
    let grow = |validate_only| Command::CreatePartitions {
        topics: vec![more("t3", 5), manual(2, &[&[1]])],
        validate_only,
    };
    let (records, _) = state.command(&grow(true), &context()).expect("valid");
    assert!(records.is_empty(), "validate_only changes nothing");
    run(&mut state, grow(false)).expect("grows");
    let image = state.image();
    assert_eq!(image.topic("t3").expect("is there").partitions.len(), 5);
    assert_eq!(image.topic("a.b").expect("is there").partitions.len(), 2);
    assert_eq!(
        image.topic_by_id(id(2)),
        image.topic("t3"),
        "both maps show the same topic"
    );
}

#[test]
fn configs_are_refused_as_kafka_does() {
    use ErrorCode::{
        BrokerIdNotRegistered, InvalidRequest, InvalidTopicException, UnknownTopicOrPartition,
    };
    use ResourceType::*;
    let table = [
        (
            Topic,
            "zz",
            UnknownTopicOrPartition,
            "The topic 'zz' does not exist.",
        ),
        (
            Topic,
            " ",
            InvalidTopicException,
            "Topic name is invalid: ' ' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (Broker, "x", InvalidRequest, "Invalid broker name x"),
        (
            Broker,
            "7",
            BrokerIdNotRegistered,
            "No node with id 7 found.",
        ),
        (
            ClientMetrics,
            "",
            InvalidRequest,
            "Subscription name can't be empty",
        ),
        (
            Group,
            "",
            InvalidRequest,
            "Default group resources are not allowed.",
        ),
    ];
    let state = cluster();
    for (resource_type, name, error, message) in table {
        let resource = Resource::new(resource_type, name);
        let entries = vec![("key".to_string(), Some("value".to_string()))];
        let changes = vec![ConfigChange {
            resource: resource.clone(),
            replace: false,
            entries,
        }];
        let command = Command::AlterConfigs {
            changes,
            validate_only: false,
        };
        let (records, reply) = state.command(&command, &context()).expect("refused by row");
        assert!(records.is_empty(), "{resource:?}");
        assert_eq!(
            reply,
            Reply::AlteredConfigs(vec![AlteredConfig {
                resource,
                result: Err(refused(error, message))
            }])
        );
    }
}

#[test]
fn configs_set_delete_and_replace() {
    let mut state = cluster();
    let mut alter = |name: &str, replace, entries: &[(&str, Option<&str>)]| {
        let entries = entries
            .iter()
            .map(|(key, value)| (key.to_string(), value.map(str::to_string)))
            .collect();
        let change = ConfigChange {
            resource: Resource::new(ResourceType::Broker, name),
            replace,
            entries,
        };
        let command = Command::AlterConfigs {
            changes: vec![change],
            validate_only: false,
        };
        let (records, _) = state.command(&command, &context()).expect("valid");
        let written = records.len();
        run(&mut state, command).expect("valid");
        let image = state.image();
        let set = image
            .config(ResourceType::Broker, name)
            .map(|map| (**map).clone())
            .unwrap_or_default();
        (
            written,
            set.into_iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(","),
        )
    };
    let set = |written, text: &str| (written, text.to_string());
    assert_eq!(
        alter("", false, &[("a", Some("1")), ("b", Some("2"))]),
        set(1, "a=1,b=2")
    );
    assert_eq!(
        alter("", false, &[("a", Some("1")), ("c", None)]),
        set(0, "a=1,b=2"),
        "nothing changes"
    );
    assert_eq!(
        alter("", false, &[("a", None), ("c", Some("3"))]),
        set(1, "b=2,c=3")
    );
    assert_eq!(
        alter("1", true, &[("a", Some("9"))]),
        set(1, "a=9"),
        "one broker is not the default of all"
    );
    assert_eq!(
        alter("", true, &[("c", Some("4"))]),
        set(1, "c=4"),
        "replace drops what is not named"
    );
    assert_eq!(alter("", true, &[]), set(1, ""));
    let configured: Vec<Resource> = state
        .image()
        .configured()
        .map(|(resource, _)| resource.clone())
        .collect();
    assert_eq!(
        configured,
        [Resource::new(ResourceType::Broker, "1")],
        "an empty resource has no row"
    );
}

#[test]
fn configs_twice_or_too_large() {
    let state = cluster();
    let change = |value: String| ConfigChange {
        resource: Resource::new(ResourceType::Group, "g"),
        replace: false,
        entries: vec![("key".into(), Some(value))],
    };
    let twice = Command::AlterConfigs {
        changes: vec![change("1".into()), change("2".into())],
        validate_only: false,
    };
    let (records, reply) = state.command(&twice, &context()).expect("refused by row");
    assert!(records.is_empty());
    let Reply::AlteredConfigs(rows) = reply else {
        panic!("another reply")
    };
    let duplicate = refused(
        ErrorCode::InvalidRequest,
        "Each resource must appear at most once.",
    );
    assert!(
        rows.iter().all(|row| row.result == Err(duplicate.clone())),
        "{rows:?}"
    );
    // One resource and one command are bounded.
    let large = Command::AlterConfigs {
        changes: vec![change("x".repeat(configs::RESOURCE_BYTES_MAX))],
        validate_only: false,
    };
    let Ok((records, Reply::AlteredConfigs(rows))) = state.command(&large, &context()) else {
        panic!("refused")
    };
    assert!(records.is_empty());
    assert_eq!(
        rows[0].result.as_ref().map_err(|refusal| refusal.error),
        Err(ErrorCode::PolicyViolation)
    );
    let many = (0..20).map(|number| ConfigChange {
        resource: Resource::new(ResourceType::Group, format!("group-{number}")),
        ..change("x".repeat(CONFIG_BYTES_MAX / 18))
    });
    let many = Command::AlterConfigs {
        changes: many.collect(),
        validate_only: false,
    };
    let error = state
        .command(&many, &context())
        .map(|_| ())
        .map_err(|refusal| refusal.error);
    assert_eq!(error, Err(ErrorCode::PolicyViolation));
}

#[test]
fn producer_ids_come_in_blocks_and_never_again() {
    let mut state = cluster();
    let mut next = |broker_id| run(&mut state, Command::AllocateProducerIds { broker_id });
    assert_eq!(
        next(1),
        Ok(Reply::ProducerIds {
            first: 0,
            count: PRODUCER_ID_BLOCK_SIZE
        })
    );
    assert_eq!(
        next(1),
        Ok(Reply::ProducerIds {
            first: 1000,
            count: PRODUCER_ID_BLOCK_SIZE
        })
    );
    let unknown = next(8).expect_err("broker 8 is not registered");
    assert_eq!(
        unknown,
        refused(
            ErrorCode::BrokerIdNotRegistered,
            "Broker ID 8 is not currently registered"
        )
    );
    let adopt = Command::AdoptTopics {
        topics: Vec::new(),
        producer_ids_below: 70_123,
    };
    run(&mut state, adopt).expect("adopts");
    let answer = run(&mut state, Command::AllocateProducerIds { broker_id: 1 });
    assert_eq!(
        answer,
        Ok(Reply::ProducerIds {
            first: 70_123,
            count: PRODUCER_ID_BLOCK_SIZE
        })
    );
}

#[test]
fn format_and_registration_are_idempotent() {
    let mut state = cluster();
    let format = |id: &str| Command::Format {
        cluster_id: id.into(),
    };
    assert_eq!(
        state.command(&format("kafka-cluster-0123456x"), &context()),
        Ok((Vec::new(), Reply::Done))
    );
    let other = run(&mut state, format("other")).expect_err("another cluster");
    assert_eq!(other.error, ErrorCode::InconsistentClusterId);
    assert_eq!(
        state.command(&Command::RegisterBroker(broker(1)), &context()),
        Ok((Vec::new(), Reply::Done))
    );
    let moved = Broker {
        rack: Some("r".into()),
        ..broker(1)
    };
    run(&mut state, Command::RegisterBroker(moved.clone())).expect("registers");
    assert_eq!(
        state.image().broker(1).map(|broker| (**broker).clone()),
        Some(moved)
    );
    assert_eq!(
        state.image().features().collect::<Vec<_>>(),
        [("metadata.version", 30)]
    );
    assert_eq!(state.image().quorum(1).leader_epoch, 1);
    assert_eq!(
        state.image().quorum(1).high_watermark,
        state.position().index + 1
    );
}

#[test]
fn an_unclean_stop_raises_every_leader_epoch() {
    let mut state = cluster();
    run(&mut state, Command::BumpLeaderEpochs { broker_id: 1 }).expect("bumps");
    let image = state.image();
    for partition in image.topics().flat_map(|topic| &topic.partitions) {
        assert_eq!((partition.leader_epoch, partition.partition_epoch), (1, 1));
    }
    let (records, _) = state
        .command(&Command::BumpLeaderEpochs { broker_id: 2 }, &context())
        .expect("leads nothing");
    assert!(records.is_empty());
}

#[test]
fn adopted_topics_keep_what_they_were() {
    let mut state = cluster();
    let elsewhere = Uuid([9; 16]);
    let topic = |name: &str, number, indexes: &[i32]| AdoptedTopic {
        name: name.into(),
        topic_id: id(number),
        directories: indexes.iter().map(|index| (*index, elsewhere)).collect(),
        leader_epoch: 17,
        configs: vec![("retention.ms".into(), "-1".into())],
    };
    let topics = vec![
        topic("found", 30, &[0, 2]),
        topic("found", 31, &[0]),
        topic("t3", 32, &[0]),
        topic("bad name", 33, &[0]),
        topic("void", 34, &[]),
        topic("gap", 35, &[i32::MAX]),
        // Kafka's directory may hold topics that collide; they exist, so they stay.
        topic("a_b", 36, &[0]),
    ];
    let Ok(Reply::CreatedTopics(rows)) = run(
        &mut state,
        Command::AdoptTopics {
            topics,
            producer_ids_below: 0,
        },
    ) else {
        panic!("refused");
    };
    let errors: Vec<_> = rows
        .iter()
        .map(|row| row.result.as_ref().err().map(|refusal| refusal.error))
        .collect();
    use ErrorCode::{
        InconsistentTopicId, InvalidRequest, InvalidTopicException, PolicyViolation,
        TopicAlreadyExists,
    };
    let expected = [
        None,
        Some(InconsistentTopicId),
        Some(TopicAlreadyExists),
        Some(InvalidTopicException),
        Some(InvalidRequest),
        Some(PolicyViolation),
        None,
    ];
    assert_eq!(errors, expected);
    let image = state.image();
    let found = image.topic("found").expect("adopted");
    let directories: Vec<Uuid> = found
        .partitions
        .iter()
        .map(|partition| partition.home.directory)
        .collect();
    assert_eq!(
        directories,
        [elsewhere, DIRECTORY, elsewhere],
        "the one that is missing is created"
    );
    assert!(
        found
            .partitions
            .iter()
            .all(|partition| partition.leader_epoch == 17)
    );
    assert!(image.config(ResourceType::Topic, "found").is_some());
}

#[test]
fn new_partitions_go_where_there_are_fewest() {
    let mut state = cluster();
    let context = Context {
        cores: 3,
        directories: vec![id(900), id(901)],
        ..context()
    };
    let topics = vec![new_topic("spread", 40, 8, 1)];
    let command = Command::CreateTopics {
        topics,
        validate_only: false,
    };
    let (records, _) = state.command(&command, &context).expect("valid");
    let position = state.position().next(1);
    state.replay(&Entry { position, records });
    let image = state.image();
    let homes: Vec<Home> = image
        .topic("spread")
        .expect("created")
        .partitions
        .iter()
        .map(|p| p.home)
        .collect();
    // a.b and t3 hold two partitions on core 0 and two on core 1 already: core 2 catches up first.
    assert_eq!(
        homes.iter().map(|home| home.core).collect::<Vec<_>>(),
        [2, 2, 0, 1, 2, 0, 1, 2]
    );
    assert_eq!(
        homes
            .iter()
            .filter(|home| home.directory == id(900))
            .count(),
        4
    );
    // No directory is left: nothing can be created, and the answer is retriable.
    let offline = Context {
        directories: Vec::new(),
        ..context
    };
    let command = Command::CreateTopics {
        topics: vec![new_topic("x", 41, 1, 1)],
        validate_only: false,
    };
    let Ok((records, Reply::CreatedTopics(rows))) = state.command(&command, &offline) else {
        panic!("refused")
    };
    assert!(records.is_empty());
    assert_eq!(
        rows[0].result.as_ref().map_err(|refusal| refusal.error),
        Err(ErrorCode::KafkaStorageError)
    );
}

#[test]
fn rebalance_evens_out_with_the_fewest_moves() {
    let mut state = cluster();
    create(&mut state, vec![new_topic("more", 40, 7, 1)]);
    // 11 partitions: (before → after) 2 → 2, 2 → 3, 3 → 1 cores.
    for (cores, moves, loads) in [
        (2, 0, vec![5, 6]),
        (3, 3, vec![3, 4, 4]),
        (1, 7, vec![11]),
        (4, 8, vec![2, 3, 3, 3]),
    ] {
        let context = Context { cores, ..context() };
        let (records, reply) = state.command(&Command::Rebalance, &context).expect("valid");
        assert_eq!(reply, Reply::Moved { partitions: moves }, "{cores} cores");
        if !records.is_empty() {
            let position = state.position().next(1);
            state.replay(&Entry { position, records });
        }
        let image = state.image();
        let mut counts = vec![0; usize::from(cores)];
        for partition in image.topics().flat_map(|topic| &topic.partitions) {
            counts[usize::from(partition.home.core)] += 1;
        }
        counts.sort_unstable();
        assert_eq!(counts, loads, "{cores} cores");
        let (records, _) = state.command(&Command::Rebalance, &context).expect("valid");
        assert!(records.is_empty(), "balanced already");
    }
    let home = Home {
        core: 9,
        directory: DIRECTORY,
    };
    let away = Command::MovePartitions(vec![HomeMove {
        topic_id: id(1),
        partition: 0,
        home,
    }]);
    assert_eq!(
        run(&mut state, away).expect_err("no core 9").error,
        ErrorCode::InvalidRequest
    );
    let nowhere = Command::MovePartitions(vec![HomeMove {
        topic_id: id(1),
        partition: 5,
        home,
    }]);
    assert_eq!(
        run(&mut state, nowhere).expect_err("no partition 5").error,
        ErrorCode::UnknownTopicOrPartition
    );
    let home = Home {
        core: 1,
        directory: id(901),
    };
    let there = Command::MovePartitions(vec![HomeMove {
        topic_id: id(1),
        partition: 0,
        home,
    }]);
    assert_eq!(
        run(&mut state, there.clone()),
        Ok(Reply::Moved { partitions: 1 })
    );
    assert_eq!(run(&mut state, there), Ok(Reply::Moved { partitions: 0 }));
    assert_eq!(
        state.image().topic("a.b").expect("is there").partitions[0].home,
        home
    );
}

#[test]
fn images_share_what_did_not_change() {
    let mut state = cluster();
    let before = state.image();
    create(&mut state, vec![new_topic("new", 40, 1, 1)]);
    let after = state.image();
    assert_eq!(
        (before.topic_count(), after.topic_count()),
        (2, 3),
        "an image never changes"
    );
    for name in ["a.b", "t3"] {
        let (old, new) = (
            before.topic(name).expect("is there"),
            after.topic(name).expect("is there"),
        );
        assert!(Arc::ptr_eq(old, new), "{name} is shared");
    }
    assert_eq!(
        after
            .topics_from("b")
            .map(|topic| &*topic.name)
            .collect::<Vec<_>>(),
        ["new", "t3"]
    );
}
