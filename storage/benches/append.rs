//! What an append costs the core: the copy into the tail and the bookkeeping of its commit group, and the journal entry
//! that it ends in. The device is waited for, and not counted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream_protocol::batch::{BatchBuilder, BatchHeader};
use millstream_protocol::compress::Codec;
use millstream_ring::{Ring, block_on};
use millstream_storage::{LogConfig, LogId, StorageOptions, Store, benchmarks, open};

const TOPIC: &str = "a-topic-name";
/// Appends that are measured together, before the device is waited for.
const GROUP: u64 = 64;

fn batch(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    builder.push(0, None, Some(&vec![b'x'; bytes]), &[]);
    builder.finish(0)
}

async fn store(ring: &Ring, dir: &std::path::Path, logs: i32) -> Store {
    let mut options = StorageOptions::new(vec![dir.to_owned()]);
    options.cluster_id = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let opened = open(ring, options).await.expect("opens");
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let seed = seeds.into_iter().next().expect("one core");
    let store = Store::start(ring, seed).await.expect("starts");
    finish.run(ring).await.expect("finishes");
    for n in 0..logs {
        let created = store.create_log(TOPIC, id(n), 0, 0, LogConfig::default());
        created.await.expect("creates");
    }
    store
}

fn id(partition: i32) -> LogId {
    LogId {
        topic_id: [7; 16],
        partition,
    }
}

/// The time that `rounds` appends take, in turn over all logs.
fn appends(logs: i32, bytes: usize, rounds: u64) -> Duration {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    block_on(move |ring| async move {
        let store = store(&ring, &path, logs).await;
        let batch = batch(bytes);
        let header = BatchHeader::read(&batch).expect("a batch");
        let logs: Vec<_> = (0..logs)
            .map(|n| store.log(&id(n)).expect("created"))
            .collect();
        let mut turn = logs.iter().cycle();
        let spent = Rc::new(Cell::new(Duration::ZERO));
        let mut left = rounds;
        while left > 0 {
            let now = left.min(GROUP);
            for _ in 0..now {
                store.admit(batch.len()).await;
            }
            let mut ticket = None;
            let began = Instant::now();
            for _ in 0..now {
                let log = turn.next().expect("there are logs");
                let appended = log.append(&batch, header, 0).expect("appends");
                ticket = Some(appended.ticket);
            }
            spent.set(spent.get() + began.elapsed());
            store
                .wait(ticket.expect("appended"))
                .await
                .expect("flushed");
            left -= now;
        }
        spent.get()
    })
}

fn append(criterion: &mut Criterion) {
    for (name, logs, bytes) in [
        ("append 1 KiB, 16 logs", 16, 1024),
        ("append 1 KiB, 500 logs", 500, 1024),
        ("append 64 KiB, 16 logs", 16, 64 << 10),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("tail and commit group", |bench| {
            bench.iter_custom(|rounds| appends(logs, bytes, rounds));
        });
        group.finish();
    }
}

fn encode(criterion: &mut Criterion) {
    for (name, count, bytes) in [
        ("320 batches of 1 KiB", 320, 1024),
        ("5 batches of 64 KiB", 5, 64 << 10),
    ] {
        let batches = vec![batch(bytes); count];
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes((count * bytes) as u64));
        group.bench_function("encode a journal entry", |bench| {
            bench.iter(|| benchmarks::encode_entry(&batches));
        });
        group.finish();
    }
}

criterion_group!(hot, append, encode);
criterion_main!(hot);
