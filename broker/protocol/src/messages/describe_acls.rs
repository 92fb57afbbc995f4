//! DescribeAcls: ACLs that match a filter (KIP-140). Version 1 has patterns (KIP-290), 3 user resources (KIP-373).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DescribeAclsRequest<'a>: Request(29), versions "1-3", flexible "2+" {
        /// ACL ResourceType: 1 any, 2 topic, 3 group, 4 cluster, 5 transactional id, …
        resource_type_filter: i8 = versions("0+"),
        /// Null matches all names.
        resource_name_filter: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// PatternType: 1 any, 2 match, 3 literal, 4 prefixed.
        pattern_type_filter: i8 = versions("1+").default(3),
        /// Null matches all principals.
        principal_filter: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// Null matches all hosts.
        host_filter: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// AclOperation: 1 any, 2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, …
        operation: i8 = versions("0+"),
        /// AclPermissionType: 1 any, 2 deny, 3 allow.
        permission_type: i8 = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeAclsResponse<'a>: Response(29), versions "1-3", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
        resources: Vec<DescribeAclsResource<'a>> = versions("0+"),
    }

    /// Element of [`DescribeAclsResponse::resources`].
    pub struct DescribeAclsResource<'a> {
        /// ACL ResourceType: 2 topic, 3 group, 4 cluster, 5 transactional id, …
        resource_type: i8 = versions("0+"),
        resource_name: Str<'a> = versions("0+"),
        /// PatternType: 3 literal, 4 prefixed.
        pattern_type: i8 = versions("1+").default(3),
        acls: Vec<AclDescription<'a>> = versions("0+"),
    }

    /// Element of [`DescribeAclsResource::acls`].
    pub struct AclDescription<'a> {
        /// `User:name`.
        principal: Str<'a> = versions("0+"),
        /// An address, or `*`.
        host: Str<'a> = versions("0+"),
        /// AclOperation: 1 any, 2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, …
        operation: i8 = versions("0+"),
        /// AclPermissionType: 1 any, 2 deny, 3 allow.
        permission_type: i8 = versions("0+"),
    }
}
