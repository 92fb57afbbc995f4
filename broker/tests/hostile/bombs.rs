//! Decompression bombs: a megabyte that unpacks to a gigabyte, in a topic that has to unpack what is produced.

use std::time::Instant;

use millstream_protocol::batch::BatchHeader;
use millstream_protocol::compress::{Codec, compress};
use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use millstream_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use crate::MIB;
use crate::harness::node::Node;
use crate::harness::wire::Wire;

/// What one batch may unpack to, at most twice that while it is unpacked, and what malloc keeps of it.
const GROWTH_MAX: usize = 320 * MIB;

/// A batch around these compressed records, all lengths and the CRC right.
fn around(codec: Codec, packed: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader {
        base_offset: 0,
        batch_length: (packed.len() + 49) as i32,
        partition_leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: i16::from(codec.id()),
        last_offset_delta: 0,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 1,
    };
    header.crc = header.checksum(packed);
    let mut head = [0; 61];
    header.write(&mut head);
    [&head[..], packed].concat()
}

/// A gigabyte of zeros; codecs whose streams can be joined are given as many pieces.
fn gigabyte(codec: Codec) -> Vec<u8> {
    compress(codec, None, &vec![0; 32 * MIB]).repeat(32)
}

/// Snappy: one block whose header says 4 GiB - 1, and one that says what its size just allows.
fn claims() -> Vec<(&'static str, Codec, Vec<u8>)> {
    let bare = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0; 100]].concat();
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    framed.extend((bare.len() as u32).to_be_bytes());
    framed.extend(&bare);
    let mut block = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    block.extend(u32::MAX.to_be_bytes());
    vec![
        ("snappy that claims 4 GiB", Codec::Snappy, bare),
        ("a snappy block that claims 4 GiB", Codec::Snappy, framed),
        ("a snappy block of 4 GiB", Codec::Snappy, block),
        (
            "an lz4 block of 2 GiB",
            Codec::Lz4,
            vec![
                0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0xff, 0xff, 0xff, 0x7f, 0, 0,
            ],
        ),
        (
            "a zstd frame that claims 2^63",
            Codec::Zstd,
            vec![
                0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0,
                0,
            ],
        ),
        (
            "a zstd window of 2 GiB",
            Codec::Zstd,
            vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00],
        ),
    ]
}

fn create(wire: &mut Wire, name: &'static str, config: (&'static str, &'static str)) {
    let configs = [config, ("max.message.bytes", "67108864")];
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).into(),
                value: Some((*value).into()),
            })
            .collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response: CreateTopicsResponse = wire.ask(5, &request);
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

#[test]
fn bombs_are_refused_within_bounded_memory() {
    let mut node = Node::started(&["message.max.bytes=67108864"]);
    let mut wire = node.connect();
    // The three reasons to open what is produced: another codec, none, and keys to be checked.
    create(&mut wire, "zstd", ("compression.type", "zstd"));
    create(&mut wire, "plain", ("compression.type", "uncompressed"));
    create(&mut wire, "compacted", ("cleanup.policy", "compact"));
    create(&mut wire, "closed", ("compression.type", "producer"));
    let mut bombs: Vec<(&'static str, Codec, Vec<u8>)> = claims();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        bombs.push((codec.name(), codec, gigabyte(codec)));
    }
    let before = node.resident();
    let mut peak = 0;
    for (what, codec, packed) in &bombs {
        let bytes = around(*codec, packed);
        for topic in ["zstd", "plain", "compacted"] {
            if topic == codec.name() {
                continue;
            }
            let sent = Instant::now();
            let refused = wire.produce(topic, 0, bytes.clone());
            let took = sent.elapsed();
            let code = refused.error_code;
            assert!(
                code == ErrorCode::MessageTooLarge.code()
                    || code == ErrorCode::InvalidRecord.code(),
                "{what}: {refused:?}"
            );
            peak = peak.max(node.resident_peak());
            println!(
                "{what}, {} KiB, in {topic}: {code} after {took:?}",
                bytes.len() >> 10
            );
        }
        // Where nothing is opened, a bomb is bytes like others; whoever reads it will see.
        if (MIB / 2..2 * MIB).contains(&packed.len()) {
            assert_eq!(wire.produce("closed", 0, bytes).error_code, 0, "{what}");
        }
    }
    println!("{} MiB before, {} at most", before / MIB, peak / MIB);
    assert!(peak < before + GROWTH_MAX + 128 * MIB, "{peak} bytes");
    let _: MetadataResponse = wire.ask(9, &MetadataRequest::default());
    assert_eq!(node.stop(), Some(0), "{}", node.said());
}
