//! DescribeCluster: brokers and cluster id (KIP-700). Version 1 asks for controllers (KIP-919), 2 shows fenced brokers (KIP-1073).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DescribeClusterRequest: Request(60), versions "0-2", flexible "0+" {
        /// Whether to fill in the cluster's authorized operations.
        include_cluster_authorized_operations: bool = versions("0+"),
        /// 1 brokers, 2 controllers (KIP-919).
        endpoint_type: i8 = versions("1+").default(1),
        /// Whether to list brokers that serve nothing at present (KIP-1073).
        include_fenced_brokers: bool = versions("2+"),
    }
}

message! {
    /// The response.
    pub struct DescribeClusterResponse<'a>: Response(60), versions "0-2", flexible "0+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+").default_null(),
        /// 1 brokers, 2 controllers (KIP-919).
        endpoint_type: i8 = versions("1+").default(1),
        /// Kafka's cluster id, 22 characters.
        cluster_id: Str<'a> = versions("0+"),
        /// Node id of the controller, -1 if unknown. In KRaft mode, any live broker that forwards.
        controller_id: i32 = versions("0+").default(-1),
        brokers: Vec<DescribeClusterBroker<'a>> = versions("0+"),
        /// Bit set of AclOperation codes; `i32::MIN` if not asked for (KIP-430).
        cluster_authorized_operations: i32 = versions("0+").default(i32::MIN as i64),
    }

    /// Element of [`DescribeClusterResponse::brokers`].
    pub struct DescribeClusterBroker<'a> {
        broker_id: i32 = versions("0+"),
        /// Host name or address.
        host: Str<'a> = versions("0+"),
        port: i32 = versions("0+"),
        /// Null if the broker has none.
        rack: Option<Str<'a>> = versions("0+").nullable("0+").default_null(),
        is_fenced: bool = versions("2+"),
    }
}
