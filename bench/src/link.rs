//! A connection with one request in flight, and what may be asked on it.

use millstream_protocol::api::ApiKey;
use millstream_protocol::frame;
use millstream_protocol::header;
use millstream_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use millstream_ring::{Buffer, Bytes, Socket};

use crate::Fault;
use crate::cluster::{self, Target};
use crate::connection::{CORRELATION, i32_at};

const LIST_OFFSETS_VERSION: i16 = 7;
/// ListOffsets' timestamp for the log's end.
const LATEST: i64 = -1;
/// A first batch may exceed every limit (KIP-74); this is where we stop believing it.
const RESPONSE_MAX: usize = 256 << 20;

/// A connection with one request in flight.
pub struct Link {
    socket: Socket,
    correlation: i32,
    /// Used again for every answer, so that it stays in the cache.
    buffer: Buffer,
}

impl Link {
    /// `capacity`: the usual size of an answer.
    pub fn new(socket: Socket, capacity: usize) -> Link {
        Link {
            socket,
            correlation: 0,
            buffer: Buffer::with_capacity(capacity),
        }
    }

    /// Sends the request and returns its answer's frame, without the length.
    pub async fn call(&mut self, mut request: Vec<u8>) -> Result<&[u8], Fault> {
        self.correlation = self.correlation.wrapping_add(1);
        request[CORRELATION..CORRELATION + 4].copy_from_slice(&self.correlation.to_be_bytes());
        self.socket.send(vec![Bytes::from(request)]).await?;
        self.receive_exactly(frame::PREFIX).await?;
        let prefix = *self.buffer.first_chunk().ok_or("no length")?;
        let length = frame::length(prefix, RESPONSE_MAX)?;
        if length > self.buffer.capacity() {
            self.buffer = Buffer::with_capacity(length);
        }
        self.receive_exactly(length).await?;
        if i32_at(&self.buffer, 0) != Some(self.correlation) {
            return Err("an answer to another request".into());
        }
        Ok(&self.buffer)
    }

    /// Replaces the buffer's content by the next `length` bytes.
    async fn receive_exactly(&mut self, length: usize) -> Result<(), Fault> {
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::with_capacity(0));
        buffer.clear();
        let received;
        (received, self.buffer) = self.socket.recv_exact(buffer, length).await;
        Ok(received?)
    }

    /// Where the partition ends now.
    pub async fn end_offset(&mut self, target: &Target) -> Result<i64, Fault> {
        let partition = ListOffsetsPartition {
            partition_index: target.partition,
            timestamp: LATEST,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic {
            name: (&*target.topic).into(),
            partitions: vec![partition],
        };
        let body = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            ..ListOffsetsRequest::default()
        };
        let request = cluster::request(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &body)?;
        let frame = self.call(request.bytes).await?;
        let (_, mut body) =
            header::read_response(frame, ApiKey::ListOffsets.row(), LIST_OFFSETS_VERSION)?;
        let response = ListOffsetsResponse::read(&mut body, LIST_OFFSETS_VERSION)?;
        let partition = response
            .topics
            .first()
            .and_then(|topic| topic.partitions.first())
            .ok_or("no offset")?;
        match partition.error_code {
            0 => Ok(partition.offset),
            code => Err(format!(
                "ListOffsets {}-{}: {}",
                target.topic,
                target.partition,
                cluster::error_name(code)
            )
            .into()),
        }
    }
}
