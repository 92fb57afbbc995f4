//! Batches that Kafka's own client and broker wrote: read, checked, and built again byte by byte.

use std::path::Path;

use millstream_protocol::batch::{
    BatchBuilder, BatchHeader, Batches, ControlType, Header, ProduceRules, TimestampType,
    end_transaction_marker, recode, records, verify_crc, verify_produced,
};
use millstream_protocol::compress::Codec;

/// headers, key, value; an owned copy of what Kafka was given.
type Given = (
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/batches")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn given() -> Vec<Given> {
    let nullable = |text: &str| (text != "NULL").then(|| text.as_bytes().to_vec());
    let text = String::from_utf8(fixture("records.txt")).unwrap();
    text.lines()
        .map(|line| {
            let [headers, key, value] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            let headers = headers
                .split(',')
                .filter(|headers| *headers != "NULL")
                .map(|header| {
                    let (key, value) = header.split_once(':').unwrap();
                    (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
                });
            (headers.collect(), nullable(key), nullable(value))
        })
        .collect()
}

fn read_back(batch: &[u8]) -> Vec<Given> {
    let mut scratch = Vec::new();
    records(batch, &mut scratch, 1 << 20)
        .unwrap()
        .map(|record| {
            let record = record.unwrap();
            let headers = record
                .headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)));
            (
                headers.collect(),
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
            )
        })
        .collect()
}

fn rules(now: i64) -> ProduceRules {
    ProduceRules {
        now,
        deep: true,
        ..ProduceRules::default()
    }
}

#[test]
fn every_codec_of_the_java_client_is_read() {
    for codec in Codec::ALL {
        let bytes = fixture(&format!("{}.log", codec.name()));
        let mut walk = Batches::new(&bytes);
        let mut seen = Vec::new();
        for batch in walk.by_ref() {
            let (header, batch) = batch.unwrap();
            assert_eq!(header.codec(), codec);
            assert_eq!(header.base_offset, seen.len() as i64);
            assert!(verify_crc(batch));
            let stored = verify_produced(
                batch,
                &ProduceRules {
                    max_message_bytes: batch.len(),
                    ..rules(header.max_timestamp)
                },
            )
            .unwrap();
            assert_eq!(stored, header, "{codec:?}: nothing had to be changed");
            seen.extend(read_back(batch));
        }
        assert_eq!(walk.position(), bytes.len());
        assert_eq!(seen, given(), "{codec:?}");
    }
}

#[test]
fn the_builder_writes_what_the_java_client_writes() {
    let golden = fixture("none.log");
    let header = BatchHeader::read(&golden).unwrap();
    let mut builder = BatchBuilder::new(Codec::None, header.base_timestamp)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .leader_epoch(header.partition_leader_epoch);
    for record in records(&golden, &mut Vec::new(), 0).unwrap() {
        let record = record.unwrap();
        let headers: Vec<Header<'_>> = record.headers.collect();
        builder.push(record.timestamp, record.key, record.value, &headers);
    }
    assert_eq!(builder.size(), golden.len());
    assert!(builder.finish(header.base_offset) == golden);
}

#[test]
fn any_codec_becomes_any_other() {
    for from in Codec::ALL {
        let bytes = fixture(&format!("{}.log", from.name()));
        let header = verify_produced(&bytes, &rules(1_795_365_960_000)).unwrap();
        for to in Codec::ALL {
            let (recoded, out) =
                recode(&bytes, &header, to, None, &rules(header.max_timestamp)).unwrap();
            assert_eq!(BatchHeader::read(&out).unwrap(), recoded);
            assert_eq!((recoded.codec(), recoded.total_len()), (to, out.len()));
            assert_eq!(
                (recoded.producer_id, recoded.record_count),
                (header.producer_id, header.record_count)
            );
            assert!(verify_crc(&out), "{from:?} to {to:?}");
            assert_eq!(read_back(&out), given(), "{from:?} to {to:?}");
        }
    }
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    for codec in Codec::ALL {
        let mut bytes = fixture(&format!("{}.log", codec.name()));
        let topic = ProduceRules {
            timestamp_type: TimestampType::LogAppendTime,
            ..rules(77)
        };
        let header = verify_produced(&bytes, &topic).unwrap();
        header.write(bytes.first_chunk_mut().unwrap());
        assert!(verify_crc(&bytes));
        assert_eq!(
            (header.timestamp_type(), header.max_timestamp),
            (TimestampType::LogAppendTime, 77)
        );
        assert!(
            records(&bytes, &mut Vec::new(), 1 << 20)
                .unwrap()
                .all(|record| record.unwrap().timestamp == 77)
        );
        assert_eq!(read_back(&bytes), given());
    }
}

#[test]
fn transactions_and_their_markers_are_understood() {
    let bytes = fixture("transactions.log");
    let mut next_offset = 0;
    let mut written = 0;
    let mut markers = 0;
    for batch in Batches::new(&bytes) {
        let (header, batch) = batch.unwrap();
        assert!(verify_crc(batch));
        assert!(header.is_transactional());
        assert_eq!(header.base_offset, next_offset);
        next_offset = header.next_offset();
        if !header.is_control() {
            written += header.record_count;
            continue;
        }
        markers += 1;
        let mut scratch = Vec::new();
        let marker = records(batch, &mut scratch, 0)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(
            ControlType::from_key(marker.key.unwrap()),
            Some(ControlType::Commit)
        );
        // Our own marker for the same transaction is Kafka's, byte by byte, once offset and epoch are set.
        let coordinator_epoch =
            i32::from_be_bytes(*marker.value.unwrap()[2..].first_chunk().unwrap());
        let mut ours = end_transaction_marker(
            ControlType::Commit,
            marker.timestamp,
            header.producer_id,
            header.producer_epoch,
            coordinator_epoch,
        );
        let mut placed = BatchHeader::read(&ours).unwrap();
        placed.base_offset = header.base_offset;
        placed.partition_leader_epoch = header.partition_leader_epoch;
        placed.write(ours.first_chunk_mut().unwrap());
        assert_eq!(ours, batch);
    }
    assert_eq!(written, 30);
    assert!(markers >= 2, "{markers}");
}
