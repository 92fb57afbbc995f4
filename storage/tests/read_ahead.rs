//! What is read ahead for one reader is what the log has, for all of them.

mod harness;

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use harness::*;
use millstream_ring::block_on;
use millstream_storage::{LogConfig, StorageOptions};
use rand::Rng;

/// Readers of their own speed at the same time, some in the same places, of more than memory holds.
#[test]
fn readers_at_different_speeds_get_all_of_it() {
    let dir = temp();
    let large = 200_000..1_500_000;
    let models = written("readers at different speeds", dir.path(), 2, large);
    read(dir.path(), models, &[1, 70_000, 1 << 20, 1 << 20, 3 << 20]);
}

/// Groups that read a topic again, at the same time and with the same configuration: the device gives it once.
#[test]
fn readers_of_the_same_speed_share_what_is_read() {
    let dir = temp();
    let models = written("readers of the same speed", dir.path(), 1, 30_000..60_000);
    let batches = models.iter().flat_map(|model| &model.batches);
    let bytes: usize = batches.map(|batch| batch.bytes.len()).sum();
    let from_segments = read(dir.path(), models, &[200_000; 8]);
    assert!(
        from_segments < bytes as u64 * 2,
        "{from_segments} bytes read by eight readers of {bytes}"
    );
}

/// What stands in `logs` logs after a clean stop; one batch in twenty is a `large` one.
fn written(name: &str, path: &Path, logs: i32, large: Range<usize>) -> Vec<ModelLog> {
    let seed = seed(name);
    let path = path.to_owned();
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let mut created = Vec::new();
        for n in 0..logs {
            let config = LogConfig {
                segment_bytes: 6 << 20,
                ..config()
            };
            let log = store.create_log(TOPIC, log_id(n), 0, 0, config).await;
            created.push((log.expect("creates"), ModelLog::default()));
        }
        while created.iter().any(|(log, _)| log.log_end_offset() < 400) {
            for (log, model) in &mut created {
                let bytes = match rng.random_range(0..20) {
                    0 => rng.random_range(large.clone()),
                    _ => rng.random_range(100..60_000),
                };
                let batch = batch(&mut rng, bytes, 1_000);
                store.admit(batch.len()).await;
                let (appended, stored) = append(log, &batch, 0);
                store.wait(appended.ticket).await.expect("flushes");
                model.batches.push(stored);
            }
        }
        stop(&ring, &store).await;
        created.into_iter().map(|(_, model)| model).collect()
    })
}

/// Reads each log once for each of `read_bytes`, all at the same time; returns the bytes that came from segments.
fn read(path: &Path, models: Vec<ModelLog>, read_bytes: &'static [usize]) -> u64 {
    let options = StorageOptions {
        // A sixteenth of it is for what is read ahead, enough for some of the readers.
        tail_bytes: 64 << 20,
        ..options(path)
    };
    block_on(move |ring| async move {
        let store = start(&ring, options).await;
        let running = Rc::new(Cell::new(0));
        for (n, model) in (0..).zip(models) {
            let log = store.log(&log_id(n)).expect("it was recovered");
            for &read_bytes in read_bytes {
                let (log, model) = (log.clone(), model.clone());
                let counted = running.clone();
                counted.set(counted.get() + 1);
                ring.spawn(async move {
                    verify(&log, &model, read_bytes).await;
                    counted.set(counted.get() - 1);
                });
            }
        }
        while running.get() > 0 {
            ring.sleep(Duration::from_millis(1)).await;
        }
        stop(&ring, &store).await;
        store.dirs().iter().map(|dir| dir.counts.read_bytes).sum()
    })
}
