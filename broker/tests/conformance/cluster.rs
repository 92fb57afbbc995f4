//! What brokers tell of themselves: versions, brokers, quorum, directories, and the lists that are empty here.

use millstream_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_protocol::messages::create_acls::{
    AclCreation, CreateAclsRequest, CreateAclsResponse,
};
use millstream_protocol::messages::delete_acls::{
    DeleteAclsFilter, DeleteAclsRequest, DeleteAclsResponse,
};
use millstream_protocol::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use millstream_protocol::messages::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use millstream_protocol::messages::describe_cluster::{
    DescribeClusterRequest, DescribeClusterResponse,
};
use millstream_protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use millstream_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, PartitionData, TopicData,
};
use millstream_protocol::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, UserName,
};
use millstream_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, TopicPartitions,
};
use millstream_protocol::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics,
};

use crate::peer::Peer;
use crate::transcript::Transcript;

/// The cluster's id and the data directory differ between any two brokers.
pub fn learn(transcript: &mut Transcript) {
    let peer = &mut transcript.peer;
    let cluster: DescribeClusterResponse<'_> = peer
        .ask(0, &DescribeClusterRequest::default())
        .expect("the cluster is described");
    assert_eq!(cluster.cluster_id.len(), 22, "{}", cluster.cluster_id);
    peer.learn(&cluster.cluster_id, "CLUSTER");
    let dirs: DescribeLogDirsResponse<'_> = peer
        .ask(1, &DescribeLogDirsRequest::default())
        .expect("the directories are described");
    peer.learn(&dirs.results[0].log_dir, "DIRECTORY");
}

pub fn cases(transcript: &mut Transcript) {
    api_versions(transcript);
    describe_cluster(transcript);
    describe_quorum(transcript);
    describe_log_dirs(transcript);
    security(transcript);
    elections(transcript);
    producer_ids(transcript);
}

fn api_versions(transcript: &mut Transcript) {
    // Which APIs are served is not the same on purpose; those that are have Kafka's ranges.
    let settle = |response: &mut ApiVersionsResponse<'static>| {
        response
            .api_keys
            .retain(|key| millstream_protocol::api::row(key.api_key).is_some());
        response.api_keys.sort_by_key(|key| key.api_key);
        // transaction.version and group.version wait for transactions and the new group protocol; the others may differ in
        // level, as the metadata are our own.
        response.supported_features.clear();
        response.finalized_features.clear();
        response.finalized_features_epoch = i64::from(response.finalized_features_epoch > 0);
    };
    let named = |name: &'static str, version: &'static str| {
        move |_: &_, _| ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: version.into(),
        }
    };
    let all = Transcript::versions::<ApiVersionsRequest<'_>>();
    transcript.case("ranges", all, named("conformance", "1.0"), settle);
    transcript.case("a name that is none", 3..=4, named("-", "1.0"), settle);
    transcript.case("no version", 3..=4, named("conformance", ""), settle);
}

fn describe_cluster(transcript: &mut Transcript) {
    let all = Transcript::versions::<DescribeClusterRequest>();
    let nothing = |_: &mut DescribeClusterResponse<'static>| {};
    transcript.case(
        "as it is",
        all.clone(),
        |_, _| DescribeClusterRequest::default(),
        nothing,
    );
    let operations = |_: &_, version| DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        include_fenced_brokers: version >= 2,
        ..Default::default()
    };
    transcript.case("with operations", all, operations, nothing);
    for endpoint_type in [2, 3, 0] {
        let request = move |_: &_, _| DescribeClusterRequest {
            endpoint_type,
            ..Default::default()
        };
        transcript.case(
            &format!("endpoint type {endpoint_type}"),
            1..=2,
            request,
            nothing,
        );
    }
}

fn describe_quorum(transcript: &mut Transcript) {
    let all = Transcript::versions::<DescribeQuorumRequest<'_>>();
    let settle = |response: &mut DescribeQuorumResponse<'static>| {
        for node in &mut response.nodes {
            // Where controllers listen: no second port is opened here while there is one node.
            node.listeners.clear();
        }
        for partition in response
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
        {
            (partition.leader_epoch, partition.high_watermark) =
                (0, i64::from(partition.high_watermark > 0));
            for replica in &mut partition.current_voters {
                replica.log_end_offset = i64::from(replica.log_end_offset > 0);
                replica.last_fetch_timestamp = replica.last_fetch_timestamp.signum();
                replica.last_caught_up_timestamp = replica.last_caught_up_timestamp.signum();
                replica.replica_directory_id = Default::default();
            }
        }
    };
    let asked = |topic: &'static str, index: i32| {
        move |_: &_, _| DescribeQuorumRequest {
            topics: vec![TopicData {
                topic_name: topic.into(),
                partitions: vec![PartitionData {
                    partition_index: index,
                }],
            }],
        }
    };
    transcript.case(
        "the metadata",
        all.clone(),
        asked("__cluster_metadata", 0),
        settle,
    );
    transcript.case("another topic", all.clone(), asked("plain", 0), settle);
    transcript.case(
        "another partition",
        all.clone(),
        asked("__cluster_metadata", 1),
        settle,
    );
    transcript.case(
        "no topic",
        all,
        |_, _| DescribeQuorumRequest::default(),
        settle,
    );
}

fn describe_log_dirs(transcript: &mut Transcript) {
    let all = Transcript::versions::<DescribeLogDirsRequest<'_>>();
    let settle = |response: &mut DescribeLogDirsResponse<'static>| {
        for directory in &mut response.results {
            directory.total_bytes = directory.total_bytes.signum();
            directory.usable_bytes = directory.usable_bytes.signum();
            directory
                .topics
                .retain(|topic| !topic.name.starts_with("__cluster"));
            directory.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut directory.topics {
                topic
                    .partitions
                    .sort_by_key(|partition| partition.partition_index);
            }
        }
    };
    let topics = |topics: &'static [(&str, &[i32])]| {
        move |_: &_, _| DescribeLogDirsRequest {
            topics: Some(
                topics
                    .iter()
                    .map(|(topic, partitions)| DescribableLogDirTopic {
                        topic: (*topic).into(),
                        partitions: partitions.to_vec(),
                    })
                    .collect(),
            ),
        }
    };
    transcript.case(
        "one partition",
        all.clone(),
        topics(&[("plain", &[1])]),
        settle,
    );
    transcript.case(
        "no partitions",
        all.clone(),
        topics(&[("plain", &[])]),
        settle,
    );
    transcript.case(
        "unknown",
        all.clone(),
        topics(&[("plain", &[0, 9]), ("nowhere", &[0])]),
        settle,
    );
    transcript.case("no topics", all.clone(), topics(&[]), settle);
    transcript.case(
        "all",
        all,
        |_, _| DescribeLogDirsRequest { topics: None },
        settle,
    );
}

fn security(transcript: &mut Transcript) {
    let acls = |_: &_, _| DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    transcript.case(
        "any",
        1..=3,
        acls,
        |_: &mut DescribeAclsResponse<'static>| {},
    );
    let creation = AclCreation {
        resource_type: 2,
        resource_name: "plain".into(),
        principal: "User:a".into(),
        host: "*".into(),
        operation: 3,
        permission_type: 3,
        ..Default::default()
    };
    let create = |_: &_, _| CreateAclsRequest {
        creations: vec![creation.clone(), creation.clone()],
    };
    transcript.case(
        "two",
        1..=3,
        create,
        |_: &mut CreateAclsResponse<'static>| {},
    );
    let filter = DeleteAclsFilter {
        resource_type_filter: 2,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let delete = |_: &_, _| DeleteAclsRequest {
        filters: vec![filter.clone(), filter.clone()],
    };
    transcript.case(
        "two",
        1..=3,
        delete,
        |_: &mut DeleteAclsResponse<'static>| {},
    );

    let nothing = |_: &mut DescribeClientQuotasResponse<'static>| {};
    let component = |entity_type: &'static str, match_type, name: Option<&'static str>| {
        move |_: &_, _| DescribeClientQuotasRequest {
            components: vec![ComponentData {
                entity_type: entity_type.into(),
                match_type,
                r#match: name.map(Into::into),
            }],
            strict: false,
        }
    };
    transcript.case(
        "all",
        0..=1,
        |_, _| DescribeClientQuotasRequest::default(),
        nothing,
    );
    transcript.case("one user", 0..=1, component("user", 0, Some("a")), nothing);
    transcript.case(
        "an unknown entity",
        0..=1,
        component("planet", 2, None),
        nothing,
    );
    transcript.case("no entity", 0..=1, component("", 2, None), nothing);
    transcript.case(
        "an unknown match",
        0..=1,
        component("user", 7, None),
        nothing,
    );

    for (name, components) in [
        (
            "one entity twice",
            [("user", 2, None), ("user", 2, None)].as_slice(),
        ),
        ("users of an address", &[("user", 2, None), ("ip", 2, None)]),
        ("exactly null", &[("user", 0, None)]),
        ("the default with a name", &[("user", 1, Some("a"))]),
        ("any with a name", &[("user", 2, Some("a"))]),
    ] {
        let request = move |_: &Peer, _| DescribeClientQuotasRequest {
            components: components
                .iter()
                .map(|(entity_type, match_type, name)| ComponentData {
                    entity_type: (*entity_type).into(),
                    match_type: *match_type,
                    r#match: name.map(Into::into),
                })
                .collect(),
            strict: false,
        };
        transcript.case(name, 0..=1, request, nothing);
    }

    let nothing = |_: &mut DescribeUserScramCredentialsResponse<'static>| {};
    let users = |users: Option<&'static [&str]>| {
        move |_: &_, _| DescribeUserScramCredentialsRequest {
            users: users.map(|users| {
                users
                    .iter()
                    .map(|name| UserName {
                        name: (*name).into(),
                    })
                    .collect()
            }),
        }
    };
    transcript.case("all", 0..=0, users(None), nothing);
    transcript.case("none", 0..=0, users(Some(&[])), nothing);
    transcript.case(
        "some",
        0..=0,
        users(Some(&["a", "b"])),
        |response: &mut DescribeUserScramCredentialsResponse<'static>| {
            response.results.sort_by(|a, b| a.user.cmp(&b.user));
        },
    );
    transcript.case(
        "one twice",
        0..=0,
        users(Some(&["a", "b", "a"])),
        |response: &mut DescribeUserScramCredentialsResponse<'static>| {
            response.results.sort_by(|a, b| a.user.cmp(&b.user));
        },
    );
}

fn elections(transcript: &mut Transcript) {
    let settle = |response: &mut ElectLeadersResponse<'static>| {
        response
            .replica_election_results
            .sort_by(|a, b| a.topic.cmp(&b.topic));
    };
    let all = Transcript::versions::<ElectLeadersRequest<'_>>();
    let elect = |election_type: i8, topics: &'static [(&str, &[i32])]| {
        move |_: &_, _| ElectLeadersRequest {
            election_type,
            timeout_ms: 30_000,
            topic_partitions: Some(
                topics
                    .iter()
                    .map(|(topic, partitions)| TopicPartitions {
                        topic: (*topic).into(),
                        partitions: partitions.to_vec(),
                    })
                    .collect(),
            ),
        }
    };
    transcript.case(
        "not needed",
        all.clone(),
        elect(0, &[("plain", &[0, 1])]),
        settle,
    );
    transcript.case(
        "unknown",
        all.clone(),
        elect(0, &[("plain", &[9]), ("nowhere", &[0])]),
        settle,
    );
    transcript.case("unclean", 1..=2, elect(1, &[("plain", &[0])]), settle);
    transcript.case("no such type", 1..=2, elect(5, &[("plain", &[0])]), settle);
    transcript.case("none", all.clone(), elect(0, &[]), settle);
    let every = |_: &_, _| ElectLeadersRequest {
        topic_partitions: None,
        ..Default::default()
    };
    transcript.case("all", all, every, settle);

    let nothing = |_: &mut ListPartitionReassignmentsResponse<'static>| {};
    transcript.case(
        "all",
        0..=0,
        |_, _| ListPartitionReassignmentsRequest::default(),
        nothing,
    );
    let some = |_: &_, _| ListPartitionReassignmentsRequest {
        topics: Some(vec![
            ListPartitionReassignmentsTopics {
                name: "plain".into(),
                partition_indexes: vec![0, 9],
            },
            ListPartitionReassignmentsTopics {
                name: "nowhere".into(),
                partition_indexes: vec![0],
            },
        ]),
        ..Default::default()
    };
    transcript.case("some", 0..=0, some, nothing);
}

/// Kafka has none to give until its controller has answered.
fn wait_for_producer_ids(peer: &mut Peer) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        ..Default::default()
    };
    for attempt in 0.. {
        let given: InitProducerIdResponse = peer.ask(4, &request).expect("an answer");
        if given.error_code == 0 {
            return;
        }
        assert!(attempt < 600, "{given:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn producer_ids(transcript: &mut Transcript) {
    wait_for_producer_ids(&mut transcript.peer);
    let all = Transcript::versions::<InitProducerIdRequest<'_>>();
    let settle =
        |response: &mut InitProducerIdResponse| response.producer_id = response.producer_id.min(0);
    let none = |_: &_, _| InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    transcript.case("idempotent", all.clone(), none, settle);
    let again = |_: &_, _| InitProducerIdRequest {
        transactional_id: None,
        producer_id: 7,
        producer_epoch: 3,
        ..Default::default()
    };
    transcript.case("idempotent, with an id", 3..=5, again, settle);
    let half = |_: &_, _| InitProducerIdRequest {
        transactional_id: None,
        producer_id: 7,
        ..Default::default()
    };
    transcript.case("an id without epoch", 3..=5, half, settle);
    let empty = |_: &_, _| InitProducerIdRequest {
        transactional_id: Some("".into()),
        ..Default::default()
    };
    transcript.case("an empty transactional id", all.clone(), empty, settle);
    let transactional = |_: &_, _| InitProducerIdRequest {
        transactional_id: Some("t".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    transcript.case("a transactional id", all, transactional, settle);
}
