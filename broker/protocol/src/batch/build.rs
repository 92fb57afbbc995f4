//! Assembling batches: for internal topics, transaction markers, the load generator and tests.

use super::{
    BatchHeader, CONTROL, HEADER, Header, LOG_OVERHEAD, MAGIC, NO_TIMESTAMP, TRANSACTIONAL,
};
use crate::compress::{Codec, compress};

/// Collects records and makes a batch of them.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    codec: Codec,
    level: Option<i32>,
    header: BatchHeader,
    records: Vec<u8>,
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch; `base_timestamp` (milliseconds) is usually that of its first record.
    pub fn new(codec: Codec, base_timestamp: i64) -> BatchBuilder {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: i16::from(codec.id()),
            last_offset_delta: -1,
            base_timestamp,
            max_timestamp: NO_TIMESTAMP,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        BatchBuilder {
            codec,
            level: None,
            header,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Compression level, as in [`compress`].
    pub fn level(mut self, level: i32) -> BatchBuilder {
        self.level = Some(level);
        self
    }

    /// As an idempotent producer writes it.
    pub fn producer(
        mut self,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    ) -> BatchBuilder {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// As part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.header.attributes |= TRANSACTIONAL;
        self
    }

    /// As a control batch; its keys are [`ControlType::key`].
    pub fn control(mut self) -> BatchBuilder {
        assert!(
            self.codec == Codec::None,
            "control batches are never compressed"
        );
        self.header.attributes |= CONTROL;
        self
    }

    /// partition_leader_epoch; −1 if not set.
    pub fn leader_epoch(mut self, leader_epoch: i32) -> BatchBuilder {
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// Appends one record. `timestamp` in milliseconds; `None` for key or value is null.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> &mut BatchBuilder {
        let offset_delta = self.header.record_count;
        self.body.clear();
        self.body.push(0);
        put_varlong(
            &mut self.body,
            timestamp.wrapping_sub(self.header.base_timestamp),
        );
        put_varlong(&mut self.body, i64::from(offset_delta));
        put_nullable_bytes(&mut self.body, key);
        put_nullable_bytes(&mut self.body, value);
        put_length(&mut self.body, headers.len());
        for header in headers {
            put_nullable_bytes(&mut self.body, Some(header.key));
            put_nullable_bytes(&mut self.body, header.value);
        }
        put_length(&mut self.records, self.body.len());
        self.records.extend_from_slice(&self.body);
        self.header.record_count = offset_delta
            .checked_add(1)
            .expect("a batch stays below 2 GiB, so below 2³¹ records");
        self.header.last_offset_delta = offset_delta;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Bytes so far, header included, before compression.
    pub fn size(&self) -> usize {
        HEADER + self.records.len()
    }

    /// The batch. Panics without records: there is no such batch to write.
    pub fn finish(mut self, base_offset: i64) -> Vec<u8> {
        assert!(
            self.header.record_count > 0,
            "a batch has at least one record"
        );
        let records = match self.codec {
            Codec::None => self.records,
            codec => compress(codec, self.level, &self.records),
        };
        self.header.base_offset = base_offset;
        self.header.batch_length = i32::try_from(HEADER + records.len() - LOG_OVERHEAD)
            .expect("a batch stays below 2 GiB");
        self.header.crc = self.header.checksum(&records);
        let mut head = [0; HEADER];
        self.header.write(&mut head);
        let mut out = Vec::with_capacity(HEADER + records.len());
        out.extend_from_slice(&head);
        out.extend_from_slice(&records);
        out
    }
}

/// What a control record says (`ControlRecordType`): the second half of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort = 0,
    /// The transaction was committed.
    Commit = 1,
    /// A new leader of a metadata quorum.
    LeaderChange = 2,
    /// First record of a metadata snapshot.
    SnapshotHeader = 3,
    /// Last record of a metadata snapshot.
    SnapshotFooter = 4,
    /// Version of the quorum protocol.
    KraftVersion = 5,
    /// The voters of a metadata quorum.
    KraftVoters = 6,
}

impl ControlType {
    /// The record key: int16 version 0, int16 type.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = (self as i16).to_be_bytes();
        [0, 0, high, low]
    }

    /// From the key of a record in a control batch; `None` if it is of another kind or too short. Later key versions
    /// only append, so the version is not looked at (Kafka: `ControlRecordType.parse`).
    pub fn from_key(key: &[u8]) -> Option<ControlType> {
        let kind = i16::from_be_bytes(*key.get(2..)?.first_chunk::<2>()?);
        use ControlType::*;
        [
            Abort,
            Commit,
            LeaderChange,
            SnapshotHeader,
            SnapshotFooter,
            KraftVersion,
            KraftVoters,
        ]
        .into_iter()
        .find(|control| *control as i16 == kind)
    }
}

/// The control batch that ends a producer's transaction in one partition (`EndTransactionMarker`): value int16 version 0,
/// int32 coordinator epoch. `timestamp` in milliseconds.
pub fn end_transaction_marker(
    control: ControlType,
    timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
) -> Vec<u8> {
    assert!(
        matches!(control, ControlType::Abort | ControlType::Commit),
        "only these end a transaction"
    );
    let mut value = vec![0, 0];
    value.extend_from_slice(&coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new(Codec::None, timestamp)
        .producer(producer_id, producer_epoch, -1)
        .transactional()
        .control();
    builder.push(timestamp, Some(&control.key()), Some(&value), &[]);
    builder.finish(0)
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varlong(
        out,
        i64::from(i32::try_from(length).expect("a batch stays below 2 GiB")),
    );
}

fn put_nullable_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}
