//! DescribeClientQuotas: quotas by user, client id and address (KIP-546).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DescribeClientQuotasRequest<'a>: Request(48), versions "0-1", flexible "1+" {
        components: Vec<ComponentData<'a>> = versions("0+"),
        /// Whether entities with further parts are left out.
        strict: bool = versions("0+"),
    }

    /// Element of [`DescribeClientQuotasRequest::components`].
    pub struct ComponentData<'a> {
        /// `user`, `client-id` or `ip`.
        entity_type: Str<'a> = versions("0+"),
        /// 0 exact name, 1 the default entity, 2 any name.
        match_type: i8 = versions("0+"),
        /// The name; null unless the match is exact.
        r#match: Option<Str<'a>> = versions("0+").nullable("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeClientQuotasResponse<'a>: Response(48), versions "0-1", flexible "1+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
        /// Null with an error.
        entries: Option<Vec<EntryData<'a>>> = versions("0+").nullable("0+"),
    }

    /// Element of [`DescribeClientQuotasResponse::entries`].
    pub struct EntryData<'a> {
        entity: Vec<EntityData<'a>> = versions("0+"),
        values: Vec<ValueData<'a>> = versions("0+"),
    }

    /// Element of [`EntryData::entity`].
    pub struct EntityData<'a> {
        /// `user`, `client-id` or `ip`.
        entity_type: Str<'a> = versions("0+"),
        /// Null for the default entity.
        entity_name: Option<Str<'a>> = versions("0+").nullable("0+"),
    }

    /// Element of [`EntryData::values`].
    pub struct ValueData<'a> {
        key: Str<'a> = versions("0+"),
        value: f64 = versions("0+"),
    }
}
