//! One Produce request, built once: what stands around the batch is copied each time, the records are shared.

use std::time::Instant;

use millstream_protocol::api::ApiKey;
use millstream_protocol::batch::HEADER;
use millstream_protocol::message::Records;
use millstream_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_ring::{Buffer, Bytes};

use super::payload::{Batch, STAMP};
use crate::Fault;
use crate::clock;
use crate::cluster::{self, ProducerId, Target};
use crate::connection::CORRELATION;

/// The last version with topic names is 12; 9 is the first with compact lengths and served since Kafka 2.8.
pub const VERSION: i16 = 9;
/// The response before the error code: correlation id 4, tags 1, count 1, name length 1, name, count 1, index 4.
const ERROR_CODE_BEHIND_NAME: usize = 12;
/// A name of this length still has a one-byte length in the response.
pub const TOPIC_LEN_MAX: usize = 126;

/// Places in a batch header.
const CRC: usize = 17;
const CRC_COVERS_FROM: usize = 21;
const ATTRIBUTES: usize = 21;
/// In the low byte of the attributes.
const TRANSACTIONAL: u8 = 0x10;
const PRODUCER_ID: usize = 43;

/// What is new in each request.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    pub correlation: i32,
    /// Of an idempotent producer: who, and the first record's sequence number.
    pub sequence: Option<(ProducerId, i32)>,
    /// When it should leave, where batches are stamped; with the number of the run.
    pub stamp: Option<(u64, Instant)>,
}

/// A request for one partition with one batch.
pub struct Request {
    /// Up to the end of the batch's header.
    head: Vec<u8>,
    records: Bytes,
    tail: Bytes,
    records_crc: u32,
    /// Counted from the first record.
    stamp_at: Option<usize>,
    pub error_code_at: usize,
    pub batch_len: usize,
    pub record_count: i32,
}

impl Request {
    /// `transactional_id`: of the producer whose transaction the batch is part of.
    pub fn new(
        batch: &Batch,
        target: &Target,
        acks: i16,
        transactional_id: Option<&str>,
    ) -> Result<Request, Fault> {
        let partition = PartitionProduceData {
            index: target.partition,
            records: Records::Gap(batch.bytes.len()),
        };
        let topic = TopicProduceData {
            name: (&*target.topic).into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        let body = ProduceRequest {
            transactional_id: transactional_id.map(Into::into),
            acks,
            timeout_ms: 30_000,
            topic_data: vec![topic],
        };
        let encoded = cluster::request(ApiKey::Produce, VERSION, &body)?;
        let gap = encoded.gaps.first().ok_or("a request without records")?;
        let (head, tail) = encoded.bytes.split_at(gap.position);
        let mut head = [head, &batch.bytes[..HEADER]].concat();
        if transactional_id.is_some() {
            // The checksum is made anew for each sequence number.
            let attributes_low = gap.position + ATTRIBUTES + 1;
            head[attributes_low] |= TRANSACTIONAL;
        }
        Ok(Request {
            head,
            records: batch.bytes.slice(HEADER..batch.bytes.len()),
            tail: Bytes::from(tail.to_vec()),
            records_crc: batch.records_crc,
            stamp_at: batch.stamp_at.map(|at| at - HEADER),
            error_code_at: ERROR_CODE_BEHIND_NAME + target.topic.len(),
            batch_len: batch.bytes.len(),
            record_count: batch.header.record_count,
        })
    }

    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        self.head.len() + self.records.len() + self.tail.len()
    }

    /// Whether the records themselves are new each time, so that the request must be copied.
    pub fn is_stamped(&self) -> bool {
        self.stamp_at.is_some()
    }

    /// Appends the frame to `buffer`, which has room for it.
    pub fn copy(&self, fresh: &Fresh, buffer: &mut Buffer) {
        let start = buffer.len();
        buffer.extend_from_slice(&self.head);
        let records_at = buffer.len();
        buffer.extend_from_slice(&self.records);
        buffer.extend_from_slice(&self.tail);
        let mut records_crc = self.records_crc;
        if let (Some(at), Some((run, intended))) = (self.stamp_at, fresh.stamp) {
            let records = &mut buffer[records_at..records_at + self.records.len()];
            let stamp = &mut records[at..at + STAMP];
            stamp[..8].copy_from_slice(&run.to_be_bytes());
            stamp[8..].copy_from_slice(&clock::nanoseconds(intended).to_be_bytes());
            records_crc = crc32c::crc32c(records);
        }
        self.patch(&mut buffer[start..records_at], fresh, records_crc);
    }

    /// The frame as a gather list around the shared records.
    pub fn gather(&self, fresh: &Fresh) -> [Bytes; 3] {
        let mut head = self.head.clone();
        self.patch(&mut head, fresh, self.records_crc);
        [Bytes::from(head), self.records.clone(), self.tail.clone()]
    }

    fn patch(&self, head: &mut [u8], fresh: &Fresh, records_crc: u32) {
        head[CORRELATION..CORRELATION + 4].copy_from_slice(&fresh.correlation.to_be_bytes());
        let batch_at = head.len() - HEADER;
        let batch = &mut head[batch_at..];
        if let Some((producer, sequence)) = fresh.sequence {
            let fields = &mut batch[PRODUCER_ID..PRODUCER_ID + 14];
            fields[..8].copy_from_slice(&producer.id.to_be_bytes());
            fields[8..10].copy_from_slice(&producer.epoch.to_be_bytes());
            fields[10..].copy_from_slice(&sequence.to_be_bytes());
        } else if fresh.stamp.is_none() {
            return;
        }
        // The records' own checksum is known: only the header's part is computed anew.
        let header_crc = crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
        let crc = crc32c::crc32c_combine(header_crc, records_crc, self.records.len());
        batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use millstream_protocol::batch::{BatchHeader, records, verify_crc};
    use millstream_protocol::header;
    use millstream_protocol::messages::produce::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    use millstream_protocol::wire::Writer;

    use super::*;
    use crate::connection::{i16_at, i32_at, split_frame};
    use crate::produce::payload::{self, PayloadOptions};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: PayloadOptions,
    }

    fn request(topic: &str, stamped: bool) -> Request {
        let options =
            Cli::parse_from(["b", "--record-size", "100", "--batch-size", "5000"]).options;
        let batch = &payload::build(&options, stamped).unwrap()[0];
        let target = Target {
            topic: topic.into(),
            partition: 300,
            leader: ([127, 0, 0, 1], 9092).into(),
        };
        Request::new(batch, &target, -1, None).unwrap()
    }

    fn check(frame: &[u8], fresh: &Fresh) -> BatchHeader {
        let (header, mut body) = header::read(frame).unwrap();
        assert_eq!(header.correlation_id, fresh.correlation);
        let request = ProduceRequest::read(&mut body, VERSION).unwrap();
        let partition = &request.topic_data[0].partition_data[0];
        assert_eq!(partition.index, 300);
        let batch = partition.records.bytes();
        assert!(verify_crc(batch), "{fresh:?}");
        if let Some((run, intended)) = fresh.stamp {
            let mut scratch = Vec::new();
            let first = records(batch, &mut scratch, 1 << 20)
                .unwrap()
                .next()
                .unwrap()
                .unwrap();
            let (stamp, _) = first.value.unwrap().split_first_chunk::<STAMP>().unwrap();
            assert_eq!(stamp[..8], run.to_be_bytes());
            assert_eq!(stamp[8..], clock::nanoseconds(intended).to_be_bytes());
        }
        BatchHeader::read(batch).unwrap()
    }

    #[test]
    fn whatever_is_new_in_a_request_the_broker_can_read_it() {
        let producer = ProducerId { id: 4711, epoch: 3 };
        for (stamp, sequence) in [
            (None, None),
            (None, Some((producer, 77))),
            (Some((9, Instant::now())), None),
            (Some((9, Instant::now())), Some((producer, 77))),
        ] {
            let request = request("topic", stamp.is_some());
            let mut sent = Buffer::with_capacity(3 * request.len());
            let fresh = |correlation| Fresh {
                correlation,
                sequence,
                stamp,
            };
            request.copy(&fresh(7), &mut sent);
            request.copy(&fresh(8), &mut sent);
            if stamp.is_none() {
                for part in request.gather(&fresh(9)) {
                    sent.extend_from_slice(&part);
                }
            }
            let (mut at, mut correlation) = (0, 7);
            while let Some((frame, length)) = split_frame(&sent[at..]) {
                let header = check(frame, &fresh(correlation));
                let expected = sequence.map_or((-1, -1, -1), |(producer, sequence)| {
                    (producer.id, producer.epoch, sequence)
                });
                assert_eq!(
                    (
                        header.producer_id,
                        header.producer_epoch,
                        header.base_sequence
                    ),
                    expected
                );
                (at, correlation) = (at + length, correlation + 1);
            }
            assert_eq!(
                (at, correlation),
                (sent.len(), if stamp.is_none() { 10 } else { 9 })
            );
        }
    }

    #[test]
    fn the_error_code_stands_where_we_look_for_it() {
        for topic in ["t", &"long".repeat(31)] {
            let partition = PartitionProduceResponse {
                index: 300,
                error_code: 6,
                ..PartitionProduceResponse::default()
            };
            let response = ProduceResponse {
                responses: vec![TopicProduceResponse {
                    name: topic.into(),
                    partition_responses: vec![partition],
                    ..TopicProduceResponse::default()
                }],
                ..ProduceResponse::default()
            };
            let mut writer = Writer::new();
            header::write_response_header(&mut writer, ApiKey::Produce.row(), VERSION, 9);
            response.write(&mut writer, VERSION);
            let frame = writer.finish().unwrap().bytes;
            assert_eq!(i32_at(&frame, 0), Some(9));
            let at = request(topic, false).error_code_at;
            assert_eq!(i16_at(&frame, at), Some(6), "{topic}");
        }
    }
}
