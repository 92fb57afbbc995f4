//! What the tails of the logs hold stays within their memory, whatever keeps it from being given back.

mod harness;

use std::path::PathBuf;
use std::rc::Rc;

use harness::*;
use millstream_ring::{Ring, block_on};
use millstream_storage::{Log, LogConfig, Store};

/// One log is longer than all that is written here.
fn long() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 30,
        ..config()
    }
}

async fn with_logs(ring: &Ring, path: PathBuf, logs: i32) -> (Store, Vec<Rc<Log>>) {
    let store = start(ring, options(&path)).await;
    let mut created = Vec::new();
    for n in 0..logs {
        let log = store.create_log(TOPIC, log_id(n), 0, 0, long()).await;
        created.push(log.expect("creates"));
    }
    (store, created)
}

/// Appends as the broker does, and returns when that is flushed.
async fn produce(store: &Store, log: &Log, batch: &[u8]) {
    store.admit(batch.len()).await;
    let (appended, _) = append(log, batch, 0);
    let held = store.held();
    assert!(
        held.tail <= held.tail_max + batch.len() + (1 << 20),
        "{held:?} after a batch of {} bytes",
        batch.len()
    );
    store.wait(appended.ticket).await.expect("flushes");
}

/// A small batch goes to the journal alone and stays there for as long as the journal is not full. What comes behind it in
/// large batches stands in its segment at once and fills no journal.
#[test]
fn a_small_batch_does_not_hold_all_that_follows_in_memory() {
    let seed = seed("memory behind a small batch");
    let dir = temp();
    let path = dir.path().to_owned();
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let (store, logs) = with_logs(&ring, path, 1).await;
        let (small, large) = (batch(&mut rng, 300, 0), batch(&mut rng, 900_000, 0));
        // Until its file is there and has space, large batches go through the journal too.
        for _ in 0..20 {
            produce(&store, &logs[0], &large).await;
        }
        for _ in 0..4 {
            produce(&store, &logs[0], &small).await;
            for _ in 0..30 {
                produce(&store, &logs[0], &large).await;
            }
        }
        stop(&ring, &store).await;
    });
}

/// The last block of each log's tail is a large one that a few bytes keep in memory.
#[test]
fn many_logs_with_a_little_each_stay_within_the_memory() {
    let seed = seed("memory of many logs");
    let dir = temp();
    let path = dir.path().to_owned();
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let (store, logs) = with_logs(&ring, path, 40).await;
        let (small, large) = (batch(&mut rng, 300, 0), batch(&mut rng, 300_000, 0));
        // In the first round the large batches go through the journal, for want of files.
        for _ in 0..3 {
            for log in &logs {
                produce(&store, log, &large).await;
                produce(&store, log, &large).await;
                produce(&store, log, &small).await;
            }
        }
        stop(&ring, &store).await;
    });
}

/// A batch of several blocks takes more than one at a time, and so does what a start finds in the journal after a crash.
#[test]
fn batches_of_several_blocks_stay_within_the_memory() {
    let seed = seed("memory of batches of several blocks");
    let dir = temp();
    let mut options = options(dir.path());
    // More than half of a journal file as it would be without this.
    options.batch_bytes = 5_000_100;
    options.tail_bytes = 48 << 20;
    for round in 0..2 {
        let options = options.clone();
        block_on(move |ring| async move {
            let large = batch(&mut rng(seed), 5_000_000, 0);
            let store = start(&ring, options).await;
            let log = match store.log(&log_id(0)) {
                Some(log) => log,
                None => {
                    let created = store.create_log(TOPIC, log_id(0), 0, 0, long()).await;
                    created.expect("creates")
                }
            };
            for _ in 0..40 {
                produce(&store, &log, &large).await;
            }
            let held = store.held();
            assert!(held.tail <= held.tail_max, "{held:?} in round {round}");
        });
    }
}

/// The memory of logs that are deleted is there for others.
#[test]
fn deleted_logs_leave_no_memory_behind() {
    let seed = seed("memory of deleted logs");
    let dir = temp();
    let path = dir.path().to_owned();
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let batch = batch(&mut rng, 300_000, 0);
        // The journal goes round, and the logs are gone, before anything has to be evicted.
        let mut options = options(&path);
        options.journal_bytes_max = 4 * options.journal_file_bytes;
        options.tail_bytes = 3 * options.journal_bytes_max as usize;
        let store = start(&ring, options).await;
        for n in 0..40 {
            let log = store.create_log(TOPIC, log_id(n), 0, 0, long()).await;
            let log = log.expect("creates");
            for _ in 0..10 {
                produce(&store, &log, &batch).await;
            }
            store.delete_log(&log_id(n)).await.expect("deletes");
            let held = store.held();
            assert!(held.tail < held.tail_max / 2, "{held:?} after {n} logs");
        }
        stop(&ring, &store).await;
    });
}
