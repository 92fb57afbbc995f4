//! DescribeUserScramCredentials (50): no user has any, since they cannot be set yet.

use std::collections::BTreeMap;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

pub(crate) async fn handle(
    context: &RequestContext,
    request: DescribeUserScramCredentialsRequest<'_>,
) -> Reply {
    if let Err(code) = context.authorize(Operation::Describe, Resource::Cluster) {
        return context.reply(&DescribeUserScramCredentialsResponse {
            error_code: code.code(),
            error_message: Some(code.message().into()),
            ..Default::default()
        });
    }
    let users = request.users.unwrap_or_default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for user in &users {
        *counts.entry(&user.name).or_default() += 1;
    }
    let results = counts.into_iter().map(|(user, count)| {
        let (code, message) = match count {
            1 => (
                ErrorCode::ResourceNotFound,
                format!("Attempt to describe a user credential that does not exist: {user}"),
            ),
            _ => (
                ErrorCode::DuplicateResource,
                format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}"),
            ),
        };
        DescribeUserScramCredentialsResult {
            user: user.into(),
            error_code: code.code(),
            error_message: Some(message.into()),
            ..Default::default()
        }
    });
    context.reply(&DescribeUserScramCredentialsResponse {
        results: results.collect(),
        ..Default::default()
    })
}
