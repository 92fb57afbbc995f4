//! Random records through every codec and back.

use millstream_protocol::batch::{
    BatchBuilder, BatchHeader, Header, ProduceRules, records, verify_crc, verify_produced,
};
use millstream_protocol::compress::{Codec, compress, decompress};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    // Long runs as well as noise: both ends of what a codec meets.
    prop_oneof![
        vec(any::<u8>(), 0..len_max.min(300)),
        (any::<u8>(), 0..len_max).prop_map(|(byte, len)| vec![byte; len])
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    let timestamp = prop_oneof![any::<i64>(), 0..i64::from(i32::MAX)];
    let headers = vec((bytes(20), option::of(bytes(20))), 0..4);
    (
        timestamp,
        option::of(bytes(40)),
        option::of(bytes(100_000)),
        headers,
    )
        .prop_map(|(timestamp, key, value, headers)| Owned {
            timestamp,
            key,
            value,
            headers,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back(list in vec(record(), 1..12), base_timestamp in any::<i64>(), base_offset in 0..1i64 << 62, codec in 0u8..5) {
        let codec = Codec::from_id(codec).unwrap();
        let mut builder = BatchBuilder::new(codec, base_timestamp).producer(1, 2, 3).transactional();
        for record in &list {
            let headers: Vec<_> = record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
            builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        }
        let plain = builder.size();
        let bytes = builder.finish(base_offset);
        prop_assert!(verify_crc(&bytes));
        let header = BatchHeader::read(&bytes).unwrap();
        prop_assert_eq!(header.last_offset(), base_offset + list.len() as i64 - 1);
        let mut scratch = Vec::new();
        let mut back = Vec::new();
        for (index, record) in records(&bytes, &mut scratch, plain).unwrap().enumerate() {
            let record = record.unwrap();
            prop_assert_eq!(record.offset, base_offset + index as i64);
            back.push(Owned {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
            });
        }
         prop_assert_eq!(back, list);
        let mut written = [0; 61];
        header.write(&mut written);
        prop_assert_eq!(&written[..], &bytes[..61]);
    }

    #[test]
    fn the_verified_header_is_the_header(list in vec(record(), 1..12), codec in 0u8..5) {
        let mut builder = BatchBuilder::new(Codec::from_id(codec).unwrap(), 0);
        for record in &list {
            builder.push(record.timestamp.max(-1), record.key.as_deref(), record.value.as_deref(), &[]);
        }
        let bytes = builder.finish(0);
        let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, deep: true, max_message_bytes: bytes.len(), ..ProduceRules::default() };
        prop_assert_eq!(verify_produced(&bytes, &rules).unwrap(), BatchHeader::read(&bytes).unwrap());
    }

    #[test]
    fn any_bytes_pass_through_any_codec(input in bytes(300_000), codec in 0u8..5) {
        let codec = Codec::from_id(codec).unwrap();
        prop_assert_eq!(decompress(codec, &compress(codec, None, &input), input.len()).unwrap(), input);
    }
}
