//! From a frame to its handler. One file per API; each checks, makes one call into the domain and shapes the reply.

mod alter_configs;
mod alteration;
mod api_versions;
mod configs;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_user_scram_credentials;
mod elect_leaders;
pub(crate) mod errors;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
pub(crate) mod produce;
mod sync_group;

use std::rc::Rc;

use millstream_protocol::api::{ApiKey, ApiRow};
use millstream_protocol::frame;
use millstream_protocol::header::{self, HeaderError};
use millstream_protocol::message::Message;
use millstream_protocol::wire::{DecodeError, Encoded, Reader};
use millstream_ring::Bytes;

use crate::net::connection::Connection;
use crate::net::memory::Share;
use crate::net::replies::Reply;
use crate::shard::Shard;

/// What became of a request once `dispatch` returns.
pub(crate) enum Outcome {
    /// It is answered, or its reply has its place in the order.
    Answered,
    /// Sent with acks=0 and refused: the connection is to be closed.
    Refused(&'static str),
}

/// A frame that is not a request we serve: Kafka closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("{api} v{version} does not parse: {cause}")]
    Body {
        api: &'static str,
        version: i16,
        cause: DecodeError,
    },
}

/// The request a handler answers: who asks, and how to answer.
#[derive(Clone)]
pub(crate) struct RequestContext {
    pub(crate) shard: Rc<Shard>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) api: &'static ApiRow,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// The name the client gave itself.
    pub(crate) client_id: Option<String>,
    /// The memory of the frame, for as long as batches of it are elsewhere.
    pub(crate) held: Option<Rc<Share>>,
}

impl RequestContext {
    /// Host and port under which clients of this listener reach the broker.
    pub(crate) fn advertised(&self) -> (&str, i32) {
        let listener = &self.shard.config.listeners[self.connection.listener];
        (
            &listener.advertised_host,
            i32::from(listener.advertised_port),
        )
    }

    /// Names the API in a decode error.
    pub(crate) fn decode<T>(&self, outcome: Result<T, DecodeError>) -> Result<T, BadRequest> {
        outcome.map_err(|cause| BadRequest::Body {
            api: self.api.name,
            version: self.version,
            cause,
        })
    }

    /// The whole frame of a response, with gaps for records.
    pub(crate) fn encode<'m, M: Message<'m>>(&self, response: &M) -> Encoded {
        let mut writer = frame::open(256);
        header::write_response_header(&mut writer, self.api, self.version, self.correlation_id);
        response.write(&mut writer, self.version);
        match frame::close(writer) {
            Ok(encoded) => encoded,
            // A handler gave a field that this version lacks. Ours to get right; the client gets no answer rather than a
            // wrong one, and the others are served on.
            Err(fault) => {
                tracing::error!(
                    "{} v{} cannot be answered: {fault}",
                    self.api.name,
                    self.version
                );
                self.connection.replies.break_off();
                Encoded::default()
            }
        }
    }

    /// The response as a reply.
    pub(crate) fn reply<'m, M: Message<'m>>(&self, response: &M) -> Reply {
        Reply::from(self.encode(response).bytes)
    }
}

/// Whether a frame is a Produce, whose records are stored from where they lie.
pub(crate) fn is_produce(frame: &[u8]) -> bool {
    frame.starts_with(&(ApiKey::Produce as i16).to_be_bytes())
}

/// Reads one frame and sees that it is answered, in its place in the order of replies.
pub(crate) async fn dispatch(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    frame: Bytes,
    held: &Rc<Share>,
) -> Result<Outcome, BadRequest> {
    let (header, body) = header::read(&frame)?;
    // `read` has refused keys that have no row.
    let Some(api) = millstream_protocol::api::row(header.api_key) else {
        return Err(HeaderError::UnknownApi(header.api_key).into());
    };
    shard.metrics().request(api.key);
    let mut context = RequestContext {
        shard: shard.clone(),
        connection: connection.clone(),
        api,
        version: header.api_version,
        correlation_id: header.correlation_id,
        client_id: None,
        held: None,
    };
    if api.key == ApiKey::Produce {
        context.held = Some(held.clone());
        return produce::begin(context, &frame, body).await;
    }
    shard.memory.replies.room(shard).await;
    context.client_id = header.client_id.map(|id| id.into_owned());
    let place = connection.replies.reserve();
    let reply = match api.serves(header.api_version) {
        // Boxed: the futures of the many handlers would otherwise sit in every idle connection.
        true => Box::pin(handle(&context, body)).await,
        false => Ok(api_versions::unsupported(&context)),
    };
    match reply {
        Ok(reply) => connection.replies.fill(place, reply),
        Err(bad) => {
            connection.replies.withdraw(place);
            return Err(bad);
        }
    }
    Ok(Outcome::Answered)
}

macro_rules! handlers {
    ($context:ident, $body:ident; $($key:ident => $module:ident,)*) => {
        match $context.api.key {
            // Has two stages and is dispatched before.
            ApiKey::Produce => unreachable!("Produce does not come here"),
            $(ApiKey::$key => {
                let request = $context.decode(Message::read_front(&mut $body, $context.version))?;
                $module::handle($context, request).await
            })*
        }
    };
}

async fn handle(context: &RequestContext, mut body: Reader<'_>) -> Result<Reply, BadRequest> {
    Ok(handlers! { context, body;
        Fetch => fetch,
        ListOffsets => list_offsets,
        Metadata => metadata,
        OffsetCommit => offset_commit,
        OffsetFetch => offset_fetch,
        FindCoordinator => find_coordinator,
        JoinGroup => join_group,
        Heartbeat => heartbeat,
        LeaveGroup => leave_group,
        SyncGroup => sync_group,
        DescribeGroups => describe_groups,
        ListGroups => list_groups,
        ApiVersions => api_versions,
        CreateTopics => create_topics,
        DeleteTopics => delete_topics,
        DeleteRecords => delete_records,
        InitProducerId => init_producer_id,
        OffsetForLeaderEpoch => offset_for_leader_epoch,
        DescribeAcls => describe_acls,
        CreateAcls => create_acls,
        DeleteAcls => delete_acls,
        DescribeConfigs => describe_configs,
        AlterConfigs => alter_configs,
        DescribeLogDirs => describe_log_dirs,
        CreatePartitions => create_partitions,
        DeleteGroups => delete_groups,
        ElectLeaders => elect_leaders,
        IncrementalAlterConfigs => incremental_alter_configs,
        ListPartitionReassignments => list_partition_reassignments,
        OffsetDelete => offset_delete,
        DescribeClientQuotas => describe_client_quotas,
        DescribeUserScramCredentials => describe_user_scram_credentials,
        DescribeQuorum => describe_quorum,
        DescribeCluster => describe_cluster,
        ListConfigResources => list_config_resources,
        DescribeTopicPartitions => describe_topic_partitions,
    })
}
