//! InitProducerId: an id and epoch for an idempotent or transactional producer (KIP-98).
//!
//! Version 3 bumps an epoch (KIP-360), 4 knows PRODUCER_FENCED (KIP-588), 5 TRANSACTION_ABORTABLE (KIP-890). Version 6 is
//! unstable in Kafka 4.3 and not served.

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct InitProducerIdRequest<'a>: Request(22), versions "0-5", flexible "2+" {
        /// Null for an idempotent producer without transactions.
        transactional_id: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// After which an open transaction is aborted, in milliseconds.
        transaction_timeout_ms: i32 = versions("0+"),
        /// -1 for a new one; else the one to bump (KIP-360).
        producer_id: i64 = versions("3+").default(-1),
        /// The current epoch, -1 with a new id.
        producer_epoch: i16 = versions("3+").default(-1),
    }
}

message! {
    /// The response.
    pub struct InitProducerIdResponse: Response(22), versions "0-5", flexible "2+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+").ignorable(),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// -1 with an error.
        producer_id: i64 = versions("0+").default(-1),
        producer_epoch: i16 = versions("0+"),
    }
}
