//! What an incremental fetch costs before anything is read, by the partitions of its session.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use millstream_protocol::error::ErrorCode;
use millstream_state::incremental_fetch::{
    FetchMetadata, FetchPartition, FetchSessions, PartitionResult, TopicKey,
};

fn partitions(count: i32) -> Vec<FetchPartition> {
    let topic: Arc<str> = "a-topic-name".into();
    let partitions = (0..count).map(|partition| FetchPartition {
        topic: TopicKey::Name(topic.clone()),
        partition,
        current_leader_epoch: 0,
        fetch_offset: 100,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
    });
    partitions.collect()
}

/// Of a partition with records, or without news.
fn result(records_bytes: usize) -> PartitionResult {
    PartitionResult {
        error: ErrorCode::None,
        high_watermark: 100,
        last_stable_offset: 100,
        log_start_offset: 0,
        records_bytes,
        has_diverging_epoch: false,
        has_preferred_read_replica: false,
    }
}

fn incremental(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("incremental fetch, one partition has records");
    for count in [1, 100, 2000] {
        let mut sessions = FetchSessions::new(10, 1..1000, 7);
        let mut metadata = FetchMetadata {
            session_id: 0,
            session_epoch: 0,
            uses_topic_ids: false,
            from_follower: false,
        };
        let mut results = vec![result(0); usize::try_from(count).expect("it is positive")];
        let mut context = sessions.open(metadata, partitions(count), [], 0);
        metadata.session_id = sessions.respond(&mut context, &results, 0).session_id;
        sessions.finish(context);
        results[0] = result(1000);
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter(|| {
                metadata.session_epoch = match metadata.session_epoch {
                    i32::MAX => 1,
                    epoch => epoch + 1,
                };
                // The client has read on in the partition that had records.
                let changed = partitions(1);
                let mut context = sessions.open(metadata, changed, [], 0);
                assert_eq!(context.error(), None);
                let answer = sessions.respond(&mut context, &results, 0);
                sessions.finish(context);
                assert_eq!(answer.included.len(), 1);
            });
        });
    }
    group.finish();
}

criterion_group!(planning, incremental);
criterion_main!(planning);
