use proptest::prelude::*;

use super::*;

/// Records of a real `__consumer_offsets` segment, written by Kafka 4.3.1: key and value in hex.
const KAFKA: [(&str, &str); 7] = [
    // a group before its first generation
    (
        "000200026731",
        "0003000000000000ffffffff000001a20424855200000000",
    ),
    // a stable group with one static member
    (
        "000200026731",
        "00030008636f6e73756d657200000001000572616e6765002a696e7374312d62633432613164662d336436382d343661312d623134632d63\
         6263653465623264346465000001a20424856000000001002a696e7374312d62633432613164662d336436382d343661312d623134632d6362\
         636534656232643464650005696e7374310002636c000a2f3132372e302e302e31000493e00000afc800000018000300000001000274\
         31ffffffff00000000ffffffffffff0000001a00030000000100027431000000020000000000000001ffffffff",
    ),
    // a group that its members left
    (
        "000200026732",
        "00030008636f6e73756d657200000002ffffffff000001a204248ae000000000",
    ),
    // offsets, without and with a leader epoch
    (
        "0001000267310002743100000001",
        "00040000000000000000ffffffff01000001a2042485ee010010c05a081bb356478e9c0bf858e00234e1",
    ),
    (
        "0001000267310002743100000000",
        "0004000000000000000a0000000001000001a2042485ee010010c05a081bb356478e9c0bf858e00234e1",
    ),
    // an offset of a group without members, and the end of it
    (
        "0001000673696d706c650002743100000000",
        "0004000000000000000affffffff01000001a204248fe1010010c05a081bb356478e9c0bf858e00234e1",
    ),
    ("0001000673696d706c650002743100000000", ""),
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

fn kafka_records() -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    KAFKA
        .iter()
        .map(|(key, value)| (hex(key), Some(hex(value)).filter(|value| !value.is_empty())))
}

#[test]
fn kafkas_own_records_are_read_and_written_byte_for_byte() {
    for (key, value) in kafka_records() {
        let record = Record::read(&key, value.as_deref()).unwrap();
        assert_eq!(record.write(), (key, value), "{record:?}");
    }
}

#[test]
fn fields_are_where_kafka_has_them() {
    let mut records =
        kafka_records().map(|(key, value)| Record::read(&key, value.as_deref()).unwrap());
    let Some(Record::Group {
        group,
        value: Some(value),
    }) = records.nth(1)
    else {
        panic!()
    };
    let member_id = "inst1-bc42a1df-3d68-46a1-b14c-cbce4eb2d4de";
    assert_eq!(
        (
            group.as_str(),
            value.generation,
            value.protocol_type.as_str()
        ),
        ("g1", 1, "consumer")
    );
    assert_eq!(
        (value.protocol.as_deref(), value.leader.as_deref()),
        (Some("range"), Some(member_id))
    );
    assert_eq!(value.state_timestamp, 1_795_365_832_032);
    let [member] = &value.members[..] else {
        panic!()
    };
    assert_eq!(
        (
            member.member_id.as_str(),
            member.group_instance_id.as_deref()
        ),
        (member_id, Some("inst1"))
    );
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str()),
        ("cl", "/127.0.0.1")
    );
    assert_eq!(
        (member.rebalance_timeout_ms, member.session_timeout_ms),
        (300_000, 45_000)
    );
    let Some(Record::Offset {
        group,
        topic,
        partition,
        value: Some(value),
    }) = records.nth(2)
    else {
        panic!()
    };
    assert_eq!((group.as_str(), topic.as_str(), partition), ("g1", "t1", 0));
    assert_eq!(
        (value.offset, value.leader_epoch, value.commit_timestamp),
        (10, 0, 1_795_365_832_174)
    );
    assert_eq!(Uuid(value.topic_id).to_string(), "wFoIG7NWR46cC_hY4AI04Q");
}

#[test]
fn a_commit_with_its_own_retention_is_version_1() {
    let value = OffsetValue {
        offset: 7,
        leader_epoch: -1,
        metadata: "m".into(),
        commit_timestamp: 1,
        expire_timestamp: 2,
        topic_id: [0; 16],
    };
    let record = Record::Offset {
        group: "g".into(),
        topic: "t".into(),
        partition: 3,
        value: Some(value),
    };
    let (key, bytes) = record.write();
    let bytes = bytes.unwrap();
    assert_eq!(
        bytes,
        hex("0001 0000000000000007 0001 6d 0000000000000001 0000000000000002")
    );
    assert_eq!(Record::read(&key, Some(&bytes)).unwrap(), record);
}

#[test]
fn an_offset_without_a_topic_id_has_no_tag() {
    let value = OffsetValue {
        offset: 1,
        leader_epoch: 2,
        metadata: String::new(),
        commit_timestamp: 3,
        expire_timestamp: -1,
        topic_id: [0; 16],
    };
    let record = Record::Offset {
        group: "g".into(),
        topic: "t".into(),
        partition: 0,
        value: Some(value),
    };
    assert_eq!(
        record.write().1.unwrap(),
        hex("0004 0000000000000001 00000002 01 0000000000000003 00")
    );
}

#[test]
fn older_offset_versions_are_read() {
    let versions = [
        ("0000 0000000000000007 0001 6d 0000000000000001", -1, -1),
        (
            "0001 0000000000000007 0001 6d 0000000000000001 0000000000000002",
            -1,
            2,
        ),
        ("0002 0000000000000007 0001 6d 0000000000000001", -1, -1),
        (
            "0003 0000000000000007 00000005 0001 6d 0000000000000001",
            5,
            -1,
        ),
    ];
    for key in [
        "0000 0001 67 0001 74 00000003",
        "0001 0001 67 0001 74 00000003",
    ] {
        for (value, leader_epoch, expire_timestamp) in versions {
            let record = Record::read(&hex(key), Some(&hex(value))).unwrap();
            let expected = OffsetValue {
                offset: 7,
                leader_epoch,
                metadata: "m".into(),
                commit_timestamp: 1,
                expire_timestamp,
                topic_id: [0; 16],
            };
            let value = Some(expected);
            assert_eq!(
                record,
                Record::Offset {
                    group: "g".into(),
                    topic: "t".into(),
                    partition: 3,
                    value
                }
            );
        }
    }
}

#[test]
fn other_group_versions_are_read() {
    let head = "0001 63 00000002 0001 70 0001 6d";
    let member = "0001 6d 0001 63 0001 68";
    let end = "00000bb8 00000001 aa 00000001 bb";
    let versions = [
        (format!("0000 {head} 00000001 {member} {end}"), -1, -1, None),
        (format!("0001 {head} 00000001 {member} 00001770 {end}"), -1, 6000, None),
        (format!("0002 {head} 0000000000000009 00000001 {member} 00001770 {end}"), 9, 6000, None),
        (format!("0003 {head} 0000000000000009 00000001 0001 6d 0001 69 0001 63 0001 68 00001770 {end}"), 9, 6000, Some("i")),
        (
            "0004 0263 00000002 0270 026d 0000000000000009 02 026d 0269 0263 0268 00001770 00000bb8 02aa 02bb 00 01 05 01 ff"
                .to_owned(),
            9,
            6000,
            Some("i"),
        ),
    ];
    for (value, state_timestamp, rebalance_timeout_ms, instance) in versions {
        let record = Record::read(&hex("0002 0001 67"), Some(&hex(&value))).unwrap();
        let member = MemberValue {
            member_id: "m".into(),
            group_instance_id: instance.map(str::to_owned),
            client_id: "c".into(),
            client_host: "h".into(),
            rebalance_timeout_ms,
            session_timeout_ms: 3000,
            subscription: vec![0xaa],
            assignment: vec![0xbb],
        };
        let expected = GroupValue {
            protocol_type: "c".into(),
            generation: 2,
            protocol: Some("p".into()),
            leader: Some("m".into()),
            state_timestamp,
            members: vec![member],
        };
        assert_eq!(
            record,
            Record::Group {
                group: "g".into(),
                value: Some(expected)
            },
            "{value}"
        );
    }
}

#[test]
fn records_of_other_group_protocols_are_named_and_not_read() {
    for kind in [3i16, 8, 10, 23] {
        assert_eq!(
            Record::read(&kind.to_be_bytes(), Some(&[1])).unwrap(),
            Record::Other(kind)
        );
    }
}

#[test]
fn what_is_no_record_is_an_error() {
    use DecodeError::*;
    let offset_key = hex("0001 0001 67 0001 74 00000003");
    let group_key = hex("0002 0001 67");
    assert!(matches!(
        Record::read(&[], None),
        Err(RecordError::Key(Truncated { .. }))
    ));
    assert!(matches!(
        Record::read(&hex("0002 ffff"), None),
        Err(RecordError::Key(UnexpectedNull))
    ));
    assert!(matches!(
        Record::read(&hex("0002 0001 67 00"), None),
        Err(RecordError::Key(TrailingBytes(1)))
    ));
    for key in [offset_key, group_key] {
        assert!(matches!(
            Record::read(&key, Some(&[0, 5])),
            Err(RecordError::Value(UnsupportedVersion(5)))
        ));
        assert!(matches!(
            Record::read(&key, Some(&[0xff, 0xff])),
            Err(RecordError::Value(UnsupportedVersion(-1)))
        ));
        assert!(matches!(
            Record::read(&key, Some(&[])),
            Err(RecordError::Value(Truncated { .. }))
        ));
    }
}

proptest! {
    /// Cut or changed, bytes are a record or an error; and whatever was read can be written.
    #[test]
    fn hostile_bytes_never_panic(which in 0..KAFKA.len(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let (key, value) = kafka_records().nth(which).unwrap();
        let mut key = key;
        let mut value = value.unwrap_or_default();
        let target = if at.index(5) == 0 { &mut key } else { &mut value };
        if !target.is_empty() {
            let at = at.index(target.len());
            target[at] = byte;
            if cut {
                target.truncate(at);
            }
        }
        if let Ok(record @ (Record::Offset { .. } | Record::Group { .. })) = Record::read(&key, Some(&value)) {
            let (key, value) = record.write();
            prop_assert_eq!(Record::read(&key, value.as_deref()).unwrap(), record);
        }
    }

    #[test]
    fn any_bytes_never_panic(kind in 0i16..4, version in 0i16..6, key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        let key = [&kind.to_be_bytes()[..], &key].concat();
        let value = [&version.to_be_bytes()[..], &value].concat();
        let _ = Record::read(&key, Some(&value));
    }
}
