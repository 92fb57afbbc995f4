//! Record batches as producers send them and as segments hold them. The first byte chooses the rules.

use millstream_protocol::batch::{
    BatchBuilder, BatchHeader, Batches, Header, ProduceRules, Record, TimestampType, recode,
    records, verify_produced,
};
use millstream_protocol::compress::Codec;

use super::Target;
use crate::reseal;

pub const TARGET: Target = Target {
    name: "batches",
    seeds,
    run,
};

/// What one batch may unpack to here.
const UNPACKED_MAX: usize = 1 << 20;

/// Segments that Kafka wrote, in every codec and with transactions.
const RECORDED: [&[u8]; 6] = [
    include_bytes!("../../../broker/protocol/tests/fixtures/batches/none.log"),
    include_bytes!("../../../broker/protocol/tests/fixtures/batches/gzip.log"),
    include_bytes!("../../../broker/protocol/tests/fixtures/batches/snappy.log"),
    include_bytes!("../../../broker/protocol/tests/fixtures/batches/lz4.log"),
    include_bytes!("../../../broker/protocol/tests/fixtures/batches/zstd.log"),
    include_bytes!("../../../broker/protocol/tests/fixtures/batches/transactions.log"),
];

const HEADERS: [Header<'static>; 2] = [
    Header {
        key: b"h",
        value: Some(b"v"),
    },
    Header {
        key: b"null",
        value: None,
    },
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for log in RECORDED {
        seeds.push([&[1][..], log].concat());
    }
    for codec in Codec::ALL {
        for flags in 0..16 {
            let mut builder = BatchBuilder::new(codec, 7);
            for index in 0..5u8 {
                let value = vec![index; usize::from(index) * 20];
                builder.push(7, Some(&[index]), Some(&value), &HEADERS);
            }
            seeds.push([&[flags][..], &builder.finish(0)].concat());
        }
    }
    seeds
}

fn run(bytes: &[u8]) {
    let [flags, bytes @ ..] = bytes else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        reseal::batches(&mut bytes);
    }
    walk(&bytes);
    let rules = ProduceRules {
        now: 1_000,
        deep: flags & 2 != 0,
        compacted: flags & 4 != 0,
        timestamp_type: match flags & 8 {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        },
        decompressed_max: UNPACKED_MAX,
        ..ProduceRules::default()
    };
    if let Ok(header) = verify_produced(&bytes, &rules) {
        assert_eq!(header.total_len(), bytes.len());
        let codec = Codec::ALL[usize::from(flags >> 4) % Codec::ALL.len()];
        recoded(&bytes, &header, codec, &rules);
    }
}

/// As a segment is read.
fn walk(bytes: &[u8]) {
    let mut batches = Batches::new(bytes);
    let mut position = 0;
    while let Some(Ok((header, batch))) = batches.next() {
        position += batch.len();
        assert!(position <= bytes.len() && batch.len() == header.total_len());
        let mut scratch = Vec::new();
        let Ok(all) = records(batch, &mut scratch, UNPACKED_MAX) else {
            continue;
        };
        let mut count = 0;
        for record in all.map_while(Result::ok) {
            count += 1;
            assert!(record.headers.len() >= record.headers.count());
        }
        assert!(count <= header.record_count.max(0));
    }
}

/// A batch in another codec holds the same records, and is itself one that may be produced.
fn recoded(bytes: &[u8], header: &BatchHeader, codec: Codec, rules: &ProduceRules) {
    let Ok((header, other)) = recode(bytes, header, codec, None, rules) else {
        return;
    };
    assert_eq!(header.codec(), codec);
    assert!(BatchHeader::read(&other).is_ok_and(|again| again == header));
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let one = records(bytes, &mut one, UNPACKED_MAX).expect("it was just opened");
    let two = records(&other, &mut two, UNPACKED_MAX).expect("it was just written");
    let plain = |record: Result<Record<'_>, _>| {
        let record = record.expect("its records were walked");
        let (key, value) = (
            record.key.map(<[u8]>::to_vec),
            record.value.map(<[u8]>::to_vec),
        );
        (record.offset, key, value, record.headers.len())
    };
    assert!(one.map(plain).eq(two.map(plain)));
}
