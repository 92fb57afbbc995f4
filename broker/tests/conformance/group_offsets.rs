//! Offsets of groups: committed without membership, fetched, deleted.

use millstream_protocol::messages::offset_commit::OffsetCommitRequest;
use millstream_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use millstream_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};

use crate::groups::{commit, sort_commits};
use crate::peer::{NO_SUCH_ID, Peer};
use crate::transcript::Transcript;

/// Commits without membership.
pub fn simple_commits(transcript: &mut Transcript) {
    let all = Transcript::versions::<OffsetCommitRequest<'_>>();
    let nothing = sort_commits;
    let good = |peer: &Peer, version| {
        commit(
            peer,
            version,
            &format!("simple-v{version}"),
            -1,
            "",
            &[(0, 5), (1, 0)],
        )
    };
    transcript.case("simple", all.clone(), good, nothing);
    let mixed = |peer: &Peer, version| {
        let mut request = commit(peer, version, "simple", -1, "", &[(0, 5), (9, 1), (1, -1)]);
        let (mut other, mut large) = (request.topics[0].clone(), request.topics[0].clone());
        (other.name, other.topic_id) = match version {
            10.. => (Default::default(), NO_SUCH_ID),
            _ => ("nowhere".into(), Default::default()),
        };
        large.partitions.truncate(1);
        large.partitions[0].committed_metadata = Some("x".repeat(5000).into());
        request.topics.extend([other, large]);
        request
    };
    transcript.case("good beside bad", all.clone(), mixed, nothing);
    let null = |peer: &Peer, version| {
        let mut request = commit(peer, version, "simple", -1, "", &[(0, 6)]);
        request.topics[0].partitions[0].committed_metadata = None;
        request
    };
    transcript.case("null metadata", all.clone(), null, nothing);
    let empty = |peer: &Peer, version| OffsetCommitRequest {
        topics: vec![],
        ..commit(peer, version, "simple", -1, "", &[])
    };
    transcript.case("nothing", all.clone(), empty, nothing);
    transcript.case(
        "no partitions",
        all.clone(),
        |peer, version| commit(peer, version, "simple", -1, "", &[]),
        nothing,
    );
    transcript.case(
        "no group id",
        all.clone(),
        |peer, version| commit(peer, version, "", -1, "", &[(0, 1)]),
        nothing,
    );
    let member = |peer: &Peer, version| commit(peer, version, "simple", -1, "who", &[(0, 1)]);
    transcript.case("simple with a member id", all.clone(), member, nothing);
    let generation = |peer: &Peer, version| commit(peer, version, "simple", 1, "who", &[(0, 1)]);
    transcript.case(
        "a generation in a simple group",
        all.clone(),
        generation,
        nothing,
    );
    let retention = |peer: &Peer, version| OffsetCommitRequest {
        retention_time_ms: 1_000_000,
        ..commit(peer, version, "simple", -1, "", &[(1, 9)])
    };
    transcript.case("with a retention", 2..=4, retention, nothing);
    let zero_id = |peer: &Peer, version| {
        let mut request = commit(peer, version, "simple", -1, "", &[(0, 1)]);
        request.topics[0].topic_id = Default::default();
        request
    };
    transcript.case("no topic id", 10..=10, zero_id, nothing);
}

pub fn fetched(transcript: &mut Transcript) {
    let all = Transcript::versions::<OffsetFetchRequest<'_>>();
    let settle = |peer: &Peer, response: &mut OffsetFetchResponse<'static>| {
        // Kafka goes through maps where all are asked for.
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
        for group in &mut response.groups {
            group
                .topics
                .sort_by_key(|topic| (topic.name.clone(), peer.name_of(&topic.topic_id)));
            for topic in &mut group.topics {
                topic
                    .partitions
                    .sort_by_key(|partition| partition.partition_index);
            }
        }
    };
    type Topics = Option<&'static [(&'static str, &'static [i32])]>;
    let of = |groups: &'static [&'static str], topics: Topics| {
        move |peer: &Peer, version: i16| match version {
            8.. => OffsetFetchRequest {
                groups: groups
                    .iter()
                    .map(|group| OffsetFetchRequestGroup {
                        group_id: (*group).into(),
                        topics: topics.map(|topics| {
                            topics
                                .iter()
                                .map(|(name, partitions)| OffsetFetchRequestTopics {
                                    name: if version < 10 {
                                        (*name).into()
                                    } else {
                                        Default::default()
                                    },
                                    topic_id: if version < 10 {
                                        Default::default()
                                    } else {
                                        peer.id(name)
                                    },
                                    partition_indexes: partitions.to_vec(),
                                })
                                .collect()
                        }),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            },
            _ => OffsetFetchRequest {
                group_id: groups[0].into(),
                topics: topics.map(|topics| {
                    topics
                        .iter()
                        .map(|(name, partitions)| OffsetFetchRequestTopic {
                            name: (*name).into(),
                            partition_indexes: partitions.to_vec(),
                        })
                        .collect()
                }),
                require_stable: version == 7,
                ..Default::default()
            },
        }
    };
    transcript.case_of_peer(
        "some",
        all.clone(),
        of(&["simple"], Some(&[("plain", &[0, 1, 9])])),
        settle,
    );
    transcript.case_of_peer(
        "an unknown topic",
        all.clone(),
        of(&["simple"], Some(&[("nowhere", &[0, 1]), ("plain", &[0])])),
        settle,
    );
    transcript.case_of_peer(
        "an unknown group",
        all.clone(),
        of(&["unknown"], Some(&[("plain", &[0, 1])])),
        settle,
    );
    transcript.case_of_peer(
        "no group id",
        all.clone(),
        of(&[""], Some(&[("plain", &[0])])),
        settle,
    );
    transcript.case_of_peer("no topics", all.clone(), of(&["simple"], Some(&[])), settle);
    transcript.case_of_peer(
        "no partitions",
        all.clone(),
        of(&["simple"], Some(&[("plain", &[])])),
        settle,
    );
    transcript.case_of_peer(
        "one topic twice",
        all.clone(),
        of(&["simple"], Some(&[("plain", &[0]), ("plain", &[1, 1])])),
        settle,
    );
    transcript.case_of_peer("all", 2..=10, of(&["simple"], None), settle);
    transcript.case_of_peer(
        "all of an unknown group",
        2..=10,
        of(&["unknown"], None),
        settle,
    );
    transcript.case_of_peer(
        "several groups",
        8..=10,
        of(
            &["simple", "unknown", "living-v9"],
            Some(&[("plain", &[0, 1])]),
        ),
        settle,
    );
    transcript.case_of_peer("no groups", 8..=10, of(&[], None), settle);
    let member = move |peer: &Peer, version: i16| {
        let mut request = of(&["simple"], Some(&[("plain", &[0])]))(peer, version);
        request.groups[0].member_id = Some("who".into());
        request.groups[0].member_epoch = 3;
        request
    };
    transcript.case_of_peer("a member id and epoch", 9..=10, member, settle);
    let unknown_id = move |peer: &Peer, version: i16| {
        let mut request = of(&["simple"], Some(&[("plain", &[0]), ("plain", &[1])]))(peer, version);
        if let Some(topics) = &mut request.groups[0].topics {
            topics[0].topic_id = NO_SUCH_ID;
        }
        request
    };
    transcript.case_of_peer("an unknown topic id", 10..=10, unknown_id, settle);
}

pub fn deleted(transcript: &mut Transcript) {
    let settle = |response: &mut OffsetDeleteResponse<'static>| {
        response.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut response.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
    };
    let of = |group: &'static str, topics: &'static [(&str, &[i32])]| {
        move |_: &Peer, _| OffsetDeleteRequest {
            group_id: group.into(),
            topics: topics
                .iter()
                .map(|(name, partitions)| OffsetDeleteRequestTopic {
                    name: (*name).into(),
                    partitions: partitions
                        .iter()
                        .map(|index| OffsetDeleteRequestPartition {
                            partition_index: *index,
                        })
                        .collect(),
                })
                .collect(),
        }
    };
    transcript.case("one", 0..=0, of("simple", &[("plain", &[1])]), settle);
    transcript.case(
        "one that is gone",
        0..=0,
        of("simple", &[("plain", &[1])]),
        settle,
    );
    transcript.case(
        "unknown",
        0..=0,
        of("simple", &[("plain", &[9]), ("nowhere", &[0])]),
        settle,
    );
    transcript.case(
        "an unknown group",
        0..=0,
        of("unknown", &[("plain", &[0])]),
        settle,
    );
    transcript.case("no group id", 0..=0, of("", &[("plain", &[0])]), settle);
    transcript.case(
        "a living group",
        0..=0,
        of("living-v9", &[("plain", &[0])]),
        settle,
    );
    transcript.case("no topics", 0..=0, of("simple", &[]), settle);
}
