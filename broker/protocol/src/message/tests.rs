use super::*;
use crate::messages::describe_topic_partitions::{Cursor, DescribeTopicPartitionsRequest};
use crate::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::uuid::Uuid;
use crate::wire::{Encoded, Gap};

message! {
    /// One field of each kind.
    pub struct Sample<'a>: Request(99), versions "0-3", flexible "2+" {
        name: Option<Str<'a>> = versions("0+").nullable("1+").default_null(),
        dropped: i32 = versions("1+").default(-1).ignorable(),
        refused: i32 = versions("1+").default(-1),
        gone: bool = versions("0").default(1),
        low: i32 = versions("2+").tag(0, "2+").default(7),
        high: Vec<Inner> = versions("3+").tag(5, "3+"),
    }

    /// Element of [`Sample::high`].
    pub struct Inner {
        value: i64 = versions("3+"),
    }
}

fn written<'a>(message: &impl Message<'a>, version: i16) -> Result<Encoded, EncodeError> {
    let mut w = Writer::new();
    message.write(&mut w, version);
    w.finish()
}

fn bytes<'a>(message: &impl Message<'a>, version: i16) -> Vec<u8> {
    written(message, version).unwrap().bytes
}

#[test]
fn the_declaration_is_data() {
    let Definition {
        kind,
        versions,
        flexible,
        body,
    } = Sample::DEFINITION;
    assert_eq!(
        (kind, versions.max, flexible.min),
        (definition::Kind::Request(99), 3, 2)
    );
    assert_eq!((body.name, body.fields.len()), ("Sample", 6));
    assert_eq!(
        (body.fields[5].name, body.fields[5].spec.tag),
        ("high", Some(5))
    );
}

#[test]
fn defaults_are_the_declared_ones() {
    let sample = Sample::default();
    assert_eq!(
        (sample.name, sample.dropped, sample.gone, sample.low),
        (None, -1, true, 7)
    );
    // Nullable without a declared default is empty, not null, as in Kafka's generated classes.
    assert_eq!(MetadataRequest::default().topics, Some(vec![]));
}

#[test]
fn fields_of_other_versions_get_their_defaults() {
    let read = Sample::read(&mut Reader::new(&[0, 1, b'x', 0]), 0).unwrap();
    assert_eq!(
        read,
        Sample {
            name: Some("x".into()),
            gone: false,
            ..Sample::default()
        }
    );
}

#[test]
fn ignorable_values_are_dropped_and_others_refused() {
    let mut sample = Sample {
        name: Some("x".into()),
        dropped: 5,
        ..Sample::default()
    };
    let mut w = Writer::new();
    sample.write(&mut w, 0);
    assert_eq!(w.finish().unwrap().bytes, [0, 1, b'x', 1]);
    sample.refused = 5;
    let refused = EncodeError::Unrepresentable {
        message: "Sample",
        field: "refused",
        version: 0,
    };
    assert_eq!(written(&sample, 0), Err(refused));
    sample.gone = false;
    let gone = EncodeError::Unrepresentable {
        message: "Sample",
        field: "gone",
        version: 1,
    };
    assert_eq!(written(&sample, 1), Err(gone));
}

#[test]
fn tagged_fields_are_sent_in_order_unless_default() {
    let mut sample = Sample::default();
    let in_line = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(bytes(&sample, 3), [&in_line[..], &[0]].concat());
    sample.low = 1;
    sample.high = vec![Inner { value: 2 }];
    let tags: &[u8] = &[2, 0, 4, 0, 0, 0, 1, 5, 10, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    assert_eq!(bytes(&sample, 3), [&in_line[..], tags].concat());
    // Tag 5 does not exist in version 2: refused when written, skipped when read.
    assert!(matches!(
        written(&sample, 2),
        Err(EncodeError::Unrepresentable { field: "high", .. })
    ));
    let sent = [&in_line[..], tags].concat();
    let read = Sample::read(&mut Reader::new(&sent), 2).unwrap();
    assert_eq!((read.low, read.high.len()), (1, 0));
}

#[test]
fn a_tagged_field_must_fill_its_size() {
    let in_line = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let read = |tags: &[u8]| {
        let sent = [&in_line[..], tags].concat();
        Sample::read(&mut Reader::new(&sent), 3).map(drop)
    };
    assert_eq!(read(&[1, 0, 4, 0, 0, 0, 1]), Ok(()));
    assert_eq!(
        read(&[1, 0, 5, 0, 0, 0, 1, 9]),
        Err(DecodeError::TrailingBytes(1))
    );
    assert_eq!(
        read(&[1, 0, 3, 0, 0, 0]),
        Err(DecodeError::Truncated { wanted: 4, left: 3 })
    );
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    assert_eq!(
        written(&Sample::default(), 0),
        Err(EncodeError::UnexpectedNull(0))
    );
    assert_eq!(
        Sample::read(&mut Reader::new(&[0xff, 0xff, 1]), 0),
        Err(DecodeError::UnexpectedNull)
    );
    // Version 0 of Metadata says "all topics" with an empty list, later ones with null.
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    assert_eq!(written(&all, 0), Err(EncodeError::UnexpectedNull(0)));
    assert_eq!(bytes(&all, 1), [0xff; 4]);
}

#[test]
fn null_and_present_structs_differ_by_a_byte() {
    let mut request = DescribeTopicPartitionsRequest {
        response_partition_limit: 2,
        ..Default::default()
    };
    request.cursor = None;
    assert_eq!(bytes(&request, 0), [1, 0, 0, 0, 2, 0xff, 0]);
    request.cursor = Some(Cursor {
        topic_name: "t".into(),
        partition_index: 3,
    });
    let present = bytes(&request, 0);
    assert_eq!(present, [1, 0, 0, 0, 2, 1, 2, b't', 0, 0, 0, 3, 0, 0]);
    assert_eq!(
        DescribeTopicPartitionsRequest::read(&mut Reader::new(&present), 0),
        Ok(request)
    );
}

#[test]
fn names_and_ids_exclude_each_other_by_version() {
    let topic_id = Uuid([7; 16]);
    let by_id = MetadataRequestTopic {
        topic_id,
        name: None,
    };
    let request = MetadataRequest {
        topics: Some(vec![by_id]),
        ..Default::default()
    };
    assert!(written(&request, 12).is_ok());
    assert_eq!(written(&request, 9), Err(EncodeError::UnexpectedNull(9)));
}

#[test]
fn gaps_stand_for_records_in_place() {
    let response = |records: [Records<'static>; 2]| FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t".into(),
            partitions: records
                .map(|records| PartitionData {
                    records,
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in [4, 11, 12] {
        let whole = bytes(
            &response([Records::Borrowed(b"first"), Records::Borrowed(b"second!")]),
            version,
        );
        let Encoded { bytes, gaps } =
            written(&response([Records::Gap(5), Records::Gap(7)]), version).unwrap();
        let [
            Gap {
                position: first,
                len: 5,
            },
            Gap {
                position: second,
                len: 7,
            },
        ] = gaps[..]
        else {
            panic!("two gaps: {gaps:?}");
        };
        let filled = [
            &bytes[..first],
            b"first",
            &bytes[first..second],
            b"second!",
            &bytes[second..],
        ]
        .concat();
        assert_eq!(filled, whole);
    }
}
