//! Random operations on several logs against a `Vec` each, across clean stops and crashes.
//!
//! A crash here is the end of the core without a stop: tasks are dropped where they stand, operations that
//! were submitted complete or not. What was acknowledged must be there; the rest may be a prefix.

mod harness;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::rc::Rc;

use harness::*;
use millstream_ring::{Ring, block_on};
use millstream_storage::{Log, LogConfig, Store, Ticket};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

type Model = BTreeMap<i32, ModelLog>;

const LOGS: i32 = 6;
const ROUNDS: usize = 8;
const STEPS: usize = 120;

#[test]
fn random_operations_match_the_model() {
    let seed = seed("model");
    let dir = temp();
    let mut model = Model::new();
    let mut ends = ChaCha8Rng::clone(&rng(seed ^ 1));
    for round in 0..ROUNDS {
        println!("round {round}");
        let path = dir.path().to_owned();
        let clean = ends.random_bool(0.5);
        let taken = std::mem::take(&mut model);
        let core = move || {
            block_on(move |ring| async move {
                session(ring, path, seed + round as u64, taken, clean).await
            })
        };
        model = watched("model", core);
    }
    assert!(!model.is_empty());
}

async fn session(ring: Ring, path: PathBuf, seed: u64, mut model: Model, clean: bool) -> Model {
    let mut rng = rng(seed);
    let store = start(&ring, options(&path)).await;
    for (n, log_model) in &mut model {
        let log = store.log(&log_id(*n)).expect("every log is there again");
        log.set_config(config());
        log_model.cut_to(log.log_end_offset());
        verify(&log, log_model, 50_000).await;
    }
    assert_eq!(store.logs().count(), model.len(), "and no other");
    let mut open: Vec<(i32, Ticket, i64)> = Vec::new();
    for _ in 0..STEPS {
        step(&ring, &store, &mut rng, &mut model, &mut open).await;
    }
    settle_acks(&store, &mut model, &mut open, clean || rng.random_bool(0.5)).await;
    if clean {
        stop(&ring, &store).await;
        model.values_mut().for_each(|m| m.acked = m.end());
    }
    model
}

async fn step(
    ring: &Ring,
    store: &Store,
    rng: &mut ChaCha8Rng,
    model: &mut Model,
    open: &mut Vec<(i32, Ticket, i64)>,
) {
    let n = rng.random_range(0..LOGS);
    if let Entry::Vacant(new) = model.entry(n) {
        store
            .create_log(TOPIC, log_id(n), 0, 0, config())
            .await
            .expect("creates");
        new.insert(ModelLog::default());
    }
    let log = store.log(&log_id(n)).expect("created");
    let log_model = model.get_mut(&n).expect("created");
    match rng.random_range(0..100) {
        0..70 => append_some(store, &log, rng, log_model, open, n).await,
        70..80 => settle_acks(store, model, open, true).await,
        80..90 => {
            verify(
                &log,
                &ModelLog {
                    start: log_model.start,
                    ..prefix(log_model, &log)
                },
                rng.random_range(1..200_000),
            )
            .await
        }
        90..93 => delete_records(&log, rng, log_model).await,
        93..95 => retain(&log, log_model).await,
        95..96 => {
            open.retain(|(of, ..)| *of != n);
            store.delete_log(&log_id(n)).await.expect("deletes");
            model.remove(&n);
        }
        _ => {
            ring.sleep(std::time::Duration::from_millis(rng.random_range(0..5)))
                .await
        }
    }
}

/// What of the model is flushed.
fn prefix(model: &ModelLog, log: &Rc<Log>) -> ModelLog {
    let end = log.flushed_end_offset();
    let batches = model
        .batches
        .iter()
        .filter(|b| b.next <= end)
        .cloned()
        .collect();
    ModelLog { batches, ..*model }
}

async fn append_some(
    store: &Store,
    log: &Rc<Log>,
    rng: &mut ChaCha8Rng,
    model: &mut ModelLog,
    open: &mut Vec<(i32, Ticket, i64)>,
    n: i32,
) {
    let count = rng.random_range(1..20);
    for _ in 0..count {
        let bytes = match rng.random_range(0..10) {
            0 => rng.random_range(100_000..700_000),
            1..4 => rng.random_range(4_000..100_000),
            _ => rng.random_range(1..3_000),
        };
        let batch = batch(rng, bytes, model.end());
        store.admit(batch.len()).await;
        let (appended, stored) = append(log, &batch, (model.end() / 1000) as i32);
        model.batches.push(stored);
        open.push((n, appended.ticket, appended.last_offset + 1));
    }
}

async fn settle_acks(
    store: &Store,
    model: &mut Model,
    open: &mut Vec<(i32, Ticket, i64)>,
    wait: bool,
) {
    for (n, ticket, end) in open.drain(..) {
        if wait {
            store.wait(ticket).await.expect("flushed");
        }
        if store.is_durable(ticket).expect("online")
            && let Some(log) = model.get_mut(&n)
        {
            log.acked = log.acked.max(end);
            let flushed = store.log(&log_id(n)).expect("there").flushed_end_offset();
            assert!(flushed >= end, "a durable ticket is below the flushed end");
        }
    }
}

async fn delete_records(log: &Rc<Log>, rng: &mut ChaCha8Rng, model: &mut ModelLog) {
    let end = log.flushed_end_offset();
    let to = rng.random_range(model.start..=end);
    model.start = log.delete_records(to).await.expect("deletes records");
    assert_eq!(model.start, to);
    model.acked = model.acked.max(model.start);
}

async fn retain(log: &Rc<Log>, model: &mut ModelLog) {
    let before = log.size_bytes();
    // Some of it, or all that there is: then the log goes on in a new segment.
    let all = log.flushed_end_offset() % 3 == 0;
    log.set_config(LogConfig {
        retention_bytes: if all { -1 } else { 2 << 20 },
        retention_ms: if all { 1 } else { -1 },
        ..config()
    });
    log.retain(if all { i64::MAX } else { 0 })
        .await
        .expect("retains");
    let start = log.log_start_offset();
    assert!(start >= model.start);
    assert!(log.size_bytes() <= before);
    model.start = start;
    model.acked = model.acked.max(start);
}
