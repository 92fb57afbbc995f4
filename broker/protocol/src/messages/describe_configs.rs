//! DescribeConfigs: configs of topics, brokers and groups (KIP-133). Version 1 has synonyms (KIP-226), 3 type and
//! documentation (KIP-569).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DescribeConfigsRequest<'a>: Request(32), versions "1-4", flexible "4+" {
        resources: Vec<DescribeConfigsResource<'a>> = versions("0+"),
        /// Whether to show where a value comes from and what it hides (KIP-226).
        include_synonyms: bool = versions("1+"),
        /// Whether to add the text of the manual (KIP-569).
        include_documentation: bool = versions("3+"),
    }

    /// Element of [`DescribeConfigsRequest::resources`].
    pub struct DescribeConfigsResource<'a> {
        /// ConfigResource type: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 = versions("0+"),
        resource_name: Str<'a> = versions("0+"),
        /// Null for all.
        configuration_keys: Option<Vec<Str<'a>>> = versions("0+").nullable("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeConfigsResponse<'a>: Response(32), versions "1-4", flexible "4+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        results: Vec<DescribeConfigsResult<'a>> = versions("0+"),
    }

    /// Element of [`DescribeConfigsResponse::results`].
    pub struct DescribeConfigsResult<'a> {
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// ConfigResource type: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 = versions("0+"),
        resource_name: Str<'a> = versions("0+"),
        configs: Vec<DescribeConfigsResourceResult<'a>> = versions("0+"),
    }

    /// Element of [`DescribeConfigsResult::configs`].
    pub struct DescribeConfigsResourceResult<'a> {
        name: Str<'a> = versions("0+"),
        /// Null for sensitive ones and where nothing is set.
        value: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// Cannot be changed while the broker runs.
        read_only: bool = versions("0+"),
        /// ConfigSource: 1 topic, 2 dynamic broker, 3 dynamic broker default, 4 static broker, 5 default, 8 group.
        config_source: i8 = versions("1+").default(-1).ignorable(),
        /// The value is secret and therefore null.
        is_sensitive: bool = versions("0+"),
        /// From the one in force to the default.
        synonyms: Vec<DescribeConfigsSynonym<'a>> = versions("1+").ignorable(),
        /// ConfigType: 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8 = versions("3+").ignorable(),
        documentation: Option<Str<'a>> = versions("3+").nullable("0+").ignorable(),
    }

    /// Element of [`DescribeConfigsResourceResult::synonyms`].
    pub struct DescribeConfigsSynonym<'a> {
        name: Str<'a> = versions("1+"),
        value: Option<Str<'a>> = versions("1+").nullable("0+"),
        source: i8 = versions("1+"),
    }
}
