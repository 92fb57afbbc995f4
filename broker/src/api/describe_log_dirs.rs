//! DescribeLogDirs (35): data directories and what lies in them. v3 top-level error (KIP-784) · v4 sizes of the disk
//! (KIP-827) · v5 cordoned directories (KIP-1066).

use std::collections::{BTreeMap, HashMap, HashSet};

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::api::RequestContext;
use crate::net::replies::Reply;
use crate::security::{Operation, Resource};

/// Topic, partition, directory, bytes.
type LogSize = (String, i32, usize, u64);

pub(crate) async fn handle(context: &RequestContext, request: DescribeLogDirsRequest<'_>) -> Reply {
    if let Err(code) = context.authorize(Operation::Describe, Resource::Cluster) {
        return context.reply(&DescribeLogDirsResponse {
            error_code: code.code(),
            ..Default::default()
        });
    }
    let wanted: Option<HashMap<&str, HashSet<i32>>> = request.topics.as_ref().map(|topics| {
        topics
            .iter()
            .map(|topic| {
                (
                    topic.topic.as_ref(),
                    topic.partitions.iter().copied().collect(),
                )
            })
            .collect()
    });
    let mut sizes: Vec<LogSize> = Vec::new();
    for core in 0..context.shard.cores {
        sizes.extend(
            context
                .shard
                .on(core, |there| async move {
                    let logs = there.store.logs();
                    logs.map(|log| {
                        (
                            log.topic().to_owned(),
                            log.id().partition,
                            log.dir(),
                            log.size_bytes(),
                        )
                    })
                    .collect::<Vec<_>>()
                })
                .await,
        );
    }
    let is_wanted = |topic: &str, partition: i32| match &wanted {
        None => true,
        Some(wanted) => wanted
            .get(topic)
            .is_some_and(|partitions| partitions.contains(&partition)),
    };
    let mut by_directory: BTreeMap<usize, BTreeMap<String, Vec<DescribeLogDirsPartition>>> =
        BTreeMap::new();
    for (topic, partition_index, directory, bytes) in sizes {
        if is_wanted(&topic, partition_index) {
            by_directory
                .entry(directory)
                .or_default()
                .entry(topic)
                .or_default()
                .push(DescribeLogDirsPartition {
                    partition_index,
                    partition_size: bytes as i64,
                    offset_lag: 0,
                    is_future_key: false,
                });
        }
    }
    let results = context
        .shard
        .store
        .dirs()
        .into_iter()
        .enumerate()
        .map(|(index, directory)| {
            let topics = by_directory.remove(&index).unwrap_or_default().into_iter();
            DescribeLogDirsResult {
                error_code: match directory.offline {
                    Some(_) => ErrorCode::KafkaStorageError.code(),
                    None => ErrorCode::None.code(),
                },
                log_dir: std::path::absolute(&directory.path)
                    .unwrap_or(directory.path)
                    .to_string_lossy()
                    .into_owned()
                    .into(),
                topics: topics
                    .map(|(name, partitions)| DescribeLogDirsTopic {
                        name: name.into(),
                        partitions,
                    })
                    .collect(),
                total_bytes: directory.total as i64,
                usable_bytes: directory.usable as i64,
                is_cordoned: false,
            }
        });
    context.reply(&DescribeLogDirsResponse {
        results: results.collect(),
        ..Default::default()
    })
}
