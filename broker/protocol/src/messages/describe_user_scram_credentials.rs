//! DescribeUserScramCredentials: which SCRAM credentials there are, never the secrets (KIP-554).

use crate::message::{Str, message};

message! {
    /// The request.
    pub struct DescribeUserScramCredentialsRequest<'a>: Request(50), versions "0", flexible "0+" {
        /// Null or empty for all.
        users: Option<Vec<UserName<'a>>> = versions("0+").nullable("0+"),
    }

    /// Element of [`DescribeUserScramCredentialsRequest::users`].
    pub struct UserName<'a> {
        name: Str<'a> = versions("0+"),
    }
}

message! {
    /// The response.
    pub struct DescribeUserScramCredentialsResponse<'a>: Response(50), versions "0", flexible "0+" {
        /// How long the client should hold back its next request, in milliseconds (KIP-219).
        throttle_time_ms: i32 = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
        results: Vec<DescribeUserScramCredentialsResult<'a>> = versions("0+"),
    }

    /// Element of [`DescribeUserScramCredentialsResponse::results`].
    pub struct DescribeUserScramCredentialsResult<'a> {
        user: Str<'a> = versions("0+"),
        /// An `ErrorCode`; 0 is none.
        error_code: i16 = versions("0+"),
        /// For people; null if there is nothing to say.
        error_message: Option<Str<'a>> = versions("0+").nullable("0+"),
        credential_infos: Vec<CredentialInfo> = versions("0+"),
    }

    /// Element of [`DescribeUserScramCredentialsResult::credential_infos`].
    pub struct CredentialInfo {
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8 = versions("0+"),
        iterations: i32 = versions("0+"),
    }
}
