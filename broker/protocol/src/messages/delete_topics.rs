//! DeleteTopics. Version 5 has messages (KIP-599), 6 takes topic ids (KIP-516).

use crate::message::{Str, message};
use crate::uuid::Uuid;

message! {
    /// The request.
    pub struct DeleteTopicsRequest<'a>: Request(20), versions "1-6", flexible "4+" {
        /// By name or by id, since version 6.
        topics: Vec<DeleteTopicState<'a>> = versions("6+"),
        topic_names: Vec<Str<'a>> = versions("0-5").ignorable(),
        /// How long to wait for the outcome, in milliseconds; passing it does not undo anything.
        timeout_ms: i32 = versions("0+"),
    }

    /// Element of [`DeleteTopicsRequest::topics`].
    pub struct DeleteTopicState<'a> {
        /// Null if given by id.
        name: Option<Str<'a>> = versions("6+").nullable("6+").default_null(),
        topic_id: Uuid = versions("6+"),
    }
}

message! {
    /// The response.
    pub struct DeleteTopicsResponse<'a>: Response(20), versions "1-6", flexible "4+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("1+").ignorable(),
        responses: Vec<DeletableTopicResult<'a>> = versions("0+"),
    }

    /// Element of [`DeleteTopicsResponse::responses`].
    pub struct DeletableTopicResult<'a> {
        /// Null if asked by an unknown id.
        name: Option<Str<'a>> = versions("0+").nullable("6+"),
        topic_id: Uuid = versions("6+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("5+").nullable("5+").default_null().ignorable(),
    }
}
