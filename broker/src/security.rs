//! Who may do what. There is no authorizer yet, so everyone may do everything; handlers ask all the same, in the place
//! and with the words an authorizer will need.

use millstream_protocol::error::ErrorCode;

use crate::api::RequestContext;

/// `org.apache.kafka.common.acl.AclOperation`, those that handlers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// What an operation is done to.
#[derive(Clone, Copy, Debug)]
#[expect(
    dead_code,
    reason = "handlers name the resource; the authorizer that will look at the name is another issue"
)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
}

/// Operations that exist on a resource, as the bit field of "authorized operations" (`AclEntry.supportedOperations`).
const fn bits(operations: &[Operation]) -> i32 {
    let mut field = 0;
    let mut at = 0;
    while at < operations.len() {
        field |= 1 << operations[at] as i8;
        at += 1;
    }
    field
}

use Operation::*;

/// All operations on a topic.
pub(crate) const TOPIC_OPERATIONS: i32 = bits(&[
    Read,
    Write,
    Create,
    Describe,
    Delete,
    Alter,
    DescribeConfigs,
    AlterConfigs,
]);
/// All operations on a group.
pub(crate) const GROUP_OPERATIONS: i32 =
    bits(&[Read, Describe, Delete, DescribeConfigs, AlterConfigs]);
/// All operations on the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = bits(&[
    Create,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
    Alter,
    Describe,
]);
/// What the field holds when the client did not ask.
pub(crate) const NOT_ASKED: i32 = i32::MIN;

impl RequestContext {
    /// Whether the connection's principal may do `operation` to `resource`: without an authorizer, yes.
    pub(crate) fn authorize(
        &self,
        _operation: Operation,
        _resource: Resource<'_>,
    ) -> Result<(), ErrorCode> {
        Ok(())
    }
}

/// What a config resource is to the authorizer.
pub(crate) fn of_config(resource: &millstream_state::controller::Resource) -> Resource<'_> {
    use millstream_state::controller::ResourceType;
    match resource.resource_type {
        ResourceType::Topic => Resource::Topic(&resource.name),
        ResourceType::Group => Resource::Group(&resource.name),
        ResourceType::Broker | ResourceType::ClientMetrics => Resource::Cluster,
    }
}

/// Kafka's words where ACLs are to be changed without an authorizer.
pub(crate) const NO_AUTHORIZER: &str = "No Authorizer is configured.";
