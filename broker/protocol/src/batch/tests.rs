use super::*;
use crate::error::ErrorCode;

const NOW: i64 = 1_700_000_000_000;

fn three() -> BatchBuilder {
    let mut builder = BatchBuilder::new(Codec::None, NOW);
    builder.push(NOW, Some(b"a"), Some(b"1"), &[]);
    builder.push(
        NOW + 5,
        Some(b"b"),
        None,
        &[
            Header {
                key: b"h",
                value: Some(b"v"),
            },
            Header {
                key: b"h",
                value: None,
            },
        ],
    );
    builder.push(NOW + 3, Some(b"c"), Some(b""), &[]);
    builder
}

fn rules() -> ProduceRules {
    ProduceRules {
        now: NOW,
        ..ProduceRules::default()
    }
}

/// The batch with its header changed and its CRC made right again.
fn altered(mut bytes: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::read(&bytes).unwrap();
    change(&mut header);
    header.crc = header.checksum(&bytes[HEADER..]);
    header.write(bytes.first_chunk_mut().unwrap());
    bytes
}

fn refusal(bytes: &[u8], rules: &ProduceRules) -> (BatchError, ErrorCode) {
    let error = verify_produced(bytes, rules).unwrap_err();
    let code = error.code();
    (error, code)
}

#[test]
fn a_good_batch_is_accepted_as_it_is() {
    let bytes = three().producer(7, 1, 40).finish(0);
    let header = verify_produced(&bytes, &rules()).unwrap();
    assert_eq!(header, BatchHeader::read(&bytes).unwrap());
    assert_eq!(
        (
            header.record_count,
            header.last_offset(),
            header.total_len()
        ),
        (3, 2, bytes.len())
    );
    assert_eq!(
        (header.max_timestamp, header.last_sequence()),
        (NOW + 5, 42)
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let bytes = three().producer(7, 1, i32::MAX - 1).finish(0);
    assert_eq!(BatchHeader::read(&bytes).unwrap().last_sequence(), 0);
}

#[test]
fn header_fields_are_checked_as_kafka_does() {
    type Change = fn(&mut BatchHeader);
    let cases: [(&str, Change, ErrorCode); 11] = [
        (
            "base offset",
            |h| h.base_offset = 1,
            ErrorCode::InvalidRecord,
        ),
        (
            "negative base offset",
            |h| h.base_offset = -1,
            ErrorCode::InvalidRecord,
        ),
        (
            "no records",
            |h| h.record_count = 0,
            ErrorCode::InvalidRecord,
        ),
        ("count", |h| h.record_count = 2, ErrorCode::InvalidRecord),
        (
            "negative delta",
            |h| h.last_offset_delta = -1,
            ErrorCode::InvalidRecord,
        ),
        (
            "largest delta",
            |h| h.last_offset_delta = i32::MAX,
            ErrorCode::InvalidRecord,
        ),
        (
            "control",
            |h| h.attributes |= CONTROL,
            ErrorCode::InvalidRecord,
        ),
        ("sequence", |h| h.producer_id = 9, ErrorCode::InvalidRecord),
        (
            "timestamp type",
            |h| h.attributes |= LOG_APPEND_TIME,
            ErrorCode::InvalidTimestamp,
        ),
        (
            "codec",
            |h| h.attributes |= 7,
            ErrorCode::UnsupportedCompressionType,
        ),
        ("old magic", |h| h.magic = 1, ErrorCode::InvalidRecord),
    ];
    for (name, change, code) in cases {
        let (error, got) = refusal(&altered(three().finish(0), change), &rules());
        assert_eq!(got, code, "{name}: {error}");
    }
    let future = altered(three().finish(0), |h| h.magic = 3);
    assert_eq!(refusal(&future, &rules()).1, ErrorCode::CorruptMessage);
}

#[test]
fn the_batch_must_fill_its_bytes() {
    let whole = three().finish(0);
    for short in [0, 11, 16, 17, 60, whole.len() - 1] {
        assert!(
            matches!(
                refusal(&whole[..short], &rules()),
                (BatchError::Missing, ErrorCode::InvalidRecord)
            ),
            "{short}"
        );
    }
    let twice = [whole.clone(), whole.clone()].concat();
    assert!(matches!(
        refusal(&twice, &rules()),
        (BatchError::Several { .. }, ErrorCode::InvalidRecord)
    ));
    for length in [-1, 0, 48] {
        let wrong = altered(whole.clone(), |h| h.batch_length = length);
        assert!(
            matches!(
                refusal(&wrong, &rules()),
                (BatchError::Length(_), ErrorCode::CorruptMessage)
            ),
            "{length}"
        );
    }
}

#[test]
fn every_changed_bit_under_the_checksum_is_seen() {
    let whole = three().finish(0);
    for position in 17..whole.len() {
        let mut wrong = whole.clone();
        wrong[position] ^= 1 << (position % 8);
        assert!(!verify_crc(&wrong), "{position}");
        assert!(verify_produced(&wrong, &rules()).is_err(), "{position}");
    }
    let mut wrong = whole;
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&wrong, &rules()).1, ErrorCode::CorruptMessage);
}

#[test]
fn offset_and_leader_epoch_are_outside_the_checksum() {
    let mut bytes = three().finish(0);
    let mut header = BatchHeader::read(&bytes).unwrap();
    header.base_offset = 1 << 40;
    header.partition_leader_epoch = 12;
    header.write(bytes.first_chunk_mut().unwrap());
    assert!(verify_crc(&bytes));
}

#[test]
fn size_is_that_of_the_whole_batch() {
    let bytes = three().finish(0);
    let exact = ProduceRules {
        max_message_bytes: bytes.len(),
        ..rules()
    };
    assert!(verify_produced(&bytes, &exact).is_ok());
    let less = ProduceRules {
        max_message_bytes: bytes.len() - 1,
        ..rules()
    };
    assert_eq!(refusal(&bytes, &less).1, ErrorCode::MessageTooLarge);
}

#[test]
fn zstd_needs_produce_7() {
    let mut builder = BatchBuilder::new(Codec::Zstd, NOW);
    builder.push(NOW, None, Some(b"x"), &[]);
    let bytes = builder.finish(0);
    assert!(
        verify_produced(
            &bytes,
            &ProduceRules {
                produce_version: 7,
                ..rules()
            }
        )
        .is_ok()
    );
    let old = ProduceRules {
        produce_version: 6,
        ..rules()
    };
    assert_eq!(
        refusal(&bytes, &old).1,
        ErrorCode::UnsupportedCompressionType
    );
}

#[test]
fn compacted_topics_want_keys_in_every_codec() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec, NOW);
        builder
            .push(NOW, Some(b"key"), None, &[])
            .push(NOW, None, Some(b"value"), &[]);
        let bytes = builder.finish(0);
        assert!(verify_produced(&bytes, &rules()).is_ok());
        let (error, code) = refusal(
            &bytes,
            &ProduceRules {
                compacted: true,
                ..rules()
            },
        );
        assert_eq!(
            (code, error.record_index()),
            (ErrorCode::InvalidRecord, Some(1)),
            "{codec:?}: {error}"
        );
    }
}

#[test]
fn timestamps_are_bounded_and_the_bounds_belong_to_it() {
    let topic = ProduceRules {
        timestamp_before_max_ms: 10,
        timestamp_after_max_ms: 20,
        ..rules()
    };
    for codec in [Codec::None, Codec::Lz4] {
        let with = |timestamp| {
            let mut builder = BatchBuilder::new(codec, timestamp);
            builder.push(timestamp, None, None, &[]);
            builder.finish(0)
        };
        for good in [NOW - 10, NOW, NOW + 20, NO_TIMESTAMP] {
            assert!(
                verify_produced(&with(good), &topic).is_ok(),
                "{codec:?} {good}"
            );
        }
        for bad in [NOW - 11, NOW + 21, 0, -2, i64::MAX, i64::MIN] {
            let late = ProduceRules {
                deep: true,
                ..topic
            };
            assert_eq!(
                refusal(&with(bad), &late).1,
                ErrorCode::InvalidTimestamp,
                "{codec:?} {bad}"
            );
            let unbounded = ProduceRules {
                timestamp_type: TimestampType::LogAppendTime,
                ..topic
            };
            assert_eq!(
                verify_produced(&with(bad), &unbounded)
                    .unwrap()
                    .max_timestamp,
                NOW
            );
        }
    }
}

#[test]
fn max_timestamp_is_that_of_the_records() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec, NOW);
        builder
            .push(NOW, None, None, &[])
            .push(NOW + 9, None, None, &[]);
        let mut bytes = altered(builder.finish(0), |h| h.max_timestamp = NOW + 1_000);
        let closed = verify_produced(&bytes, &rules()).unwrap().max_timestamp;
        assert_eq!(
            closed,
            if codec == Codec::None {
                NOW + 9
            } else {
                NOW + 1_000
            },
            "{codec:?}"
        );
        let opened = verify_produced(
            &bytes,
            &ProduceRules {
                deep: true,
                ..rules()
            },
        )
        .unwrap();
        assert_eq!(opened.max_timestamp, NOW + 9);
        opened.write(bytes.first_chunk_mut().unwrap());
        assert!(verify_crc(&bytes), "{codec:?}");
    }
}

/// A batch whose CRC is right around records that are wrong.
fn with_records(count: i32, plain: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None, NOW);
    builder.push(NOW, None, None, &[]);
    let mut bytes = builder.finish(0)[..HEADER].to_vec();
    bytes.extend_from_slice(plain);
    altered(bytes, |h| {
        h.batch_length = (HEADER - LOG_OVERHEAD + plain.len()) as i32;
        h.record_count = count;
        h.last_offset_delta = count - 1;
    })
}

#[test]
fn records_that_do_not_add_up_are_refused() {
    let good = [12, 0, 0, 0, 1, 1, 0]; // length 6, attributes, deltas, null key, null value, no headers
    assert!(verify_produced(&with_records(1, &good), &rules()).is_ok());
    let cases: [(&str, i32, &[u8]); 13] = [
        ("none", 1, &[]),
        ("fewer than counted", 2, &good),
        ("more than counted", 1, &[good, good].concat()),
        ("same delta twice", 2, &[good, good].concat()),
        ("first delta 1", 1, &[12, 0, 0, 2, 1, 1, 0]),
        ("length behind the end", 1, &[14, 0, 0, 0, 1, 1, 0]),
        ("length too small", 1, &[10, 0, 0, 0, 1, 1, 0]),
        ("length too large", 1, &[14, 0, 0, 0, 1, 1, 0, 0]),
        ("negative length", 1, &[1, 0, 0, 0, 1, 1, 0]),
        ("key behind the end", 1, &[12, 0, 0, 0, 40, 1, 0]),
        ("negative header count", 1, &[12, 0, 0, 0, 1, 1, 1]),
        (
            "header count beyond the bytes",
            1,
            &[16, 0, 0, 0, 1, 1, 4, 0, 1],
        ),
        ("null header key", 1, &[16, 0, 0, 0, 1, 1, 2, 1, 1]),
    ];
    for (name, count, plain) in cases {
        let bytes = with_records(count, plain);
        let (error, code) = refusal(&bytes, &rules());
        assert_eq!(code, ErrorCode::InvalidRecord, "{name}: {error}");
        if !name.contains("delta") {
            assert!(
                records(&bytes, &mut Vec::new(), 0)
                    .unwrap()
                    .any(|record| record.is_err()),
                "{name}"
            );
        }
    }
    let endless = [[0xff; 11].as_slice(), &[0; 20]].concat();
    assert!(matches!(
        verify_produced(&with_records(1, &endless), &rules()).unwrap_err(),
        BatchError::Record {
            index: 0,
            error: RecordError::Varint
        }
    ));
}

#[test]
fn recoding_checks_what_it_opens() {
    let mut builder = BatchBuilder::new(Codec::Gzip, NOW);
    builder.push(NOW, None, Some(&[0; 1000]), &[]);
    let good = builder.finish(0);
    let broken = altered(good.clone(), |h| {
        (h.record_count, h.last_offset_delta) = (2, 1)
    });
    let header = verify_produced(&broken, &rules()).expect("closed batches are not opened");
    assert!(recode(&broken, &header, Codec::Zstd, None, &rules()).is_err());
    let header = verify_produced(&good, &rules()).unwrap();
    let small = ProduceRules {
        max_message_bytes: 500,
        ..rules()
    };
    let error = recode(&good, &header, Codec::None, None, &small).unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
}

#[test]
fn a_segment_is_walked_to_the_last_whole_batch() {
    let whole = [three().finish(0), three().finish(3), three().finish(6)].concat();
    let one = whole.len() / 3;
    let bases = |bytes: &[u8]| -> (Vec<i64>, usize) {
        let mut walk = Batches::new(bytes);
        let bases = walk
            .by_ref()
            .map(|batch| batch.unwrap().0.base_offset)
            .collect();
        (bases, walk.position())
    };
    assert_eq!(bases(&whole), (vec![0, 3, 6], whole.len()));
    for cut in 0..=whole.len() {
        let (found, position) = bases(&whole[..cut]);
        assert_eq!(
            (found.len(), position),
            (cut / one, cut / one * one),
            "cut at {cut}"
        );
    }
    for zeros in [1, 16, 17, 61, 4096] {
        let padded = [whole.as_slice(), &vec![0; zeros]].concat();
        assert_eq!(
            bases(&padded),
            (vec![0, 3, 6], whole.len()),
            "{zeros} zeros"
        );
    }
    let mut broken = whole;
    broken[one + 16] = 9;
    let mut walk = Batches::new(&broken);
    assert!(walk.next().unwrap().is_ok());
    assert!(matches!(walk.next(), Some(Err(BatchError::Magic(9)))));
    assert!(walk.next().is_none());
    assert_eq!(walk.position(), one);
}

#[test]
fn control_types_are_kafkas() {
    assert_eq!(ControlType::Commit.key(), [0, 0, 0, 1]);
    assert_eq!(
        ControlType::from_key(&[0, 0, 0, 0]),
        Some(ControlType::Abort)
    );
    assert_eq!(
        ControlType::from_key(&[0, 1, 0, 6, 9]),
        Some(ControlType::KraftVoters)
    );
    assert_eq!(ControlType::from_key(&[0, 0, 0, 7]), None);
    assert_eq!(ControlType::from_key(&[0, 0, 1]), None);
}
