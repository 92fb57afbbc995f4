//! What is read ahead for one reader is what the log has, for all of them.

mod harness;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use harness::*;
use millstream_ring::block_on;
use rand::Rng;

/// Readers of their own speed at the same time, some in the same places, of more than memory holds.
#[test]
fn readers_at_different_speeds_get_all_of_it() {
    let seed = seed("readers at different speeds");
    let dir = temp();
    let path = dir.path().to_owned();
    let written = path.clone();
    let models = block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&written)).await;
        let mut logs = Vec::new();
        for n in 0..2 {
            let config = millstream_storage::LogConfig {
                segment_bytes: 6 << 20,
                ..config()
            };
            let log = store.create_log(TOPIC, log_id(n), 0, 0, config).await;
            logs.push((log.expect("creates"), ModelLog::default()));
        }
        while logs.iter().any(|(log, _)| log.log_end_offset() < 400) {
            for (log, model) in &mut logs {
                let bytes = match rng.random_range(0..20) {
                    0 => rng.random_range(200_000..1_500_000),
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
        logs.into_iter()
            .map(|(_, model)| model)
            .collect::<Vec<ModelLog>>()
    });
    block_on(move |ring| async move {
        let store = start(&ring, options(&path)).await;
        let running = Rc::new(Cell::new(0));
        for (n, model) in (0..).zip(models) {
            let log = store.log(&log_id(n)).expect("it was recovered");
            for read_bytes in [1, 70_000, 1 << 20, 1 << 20, 3 << 20] {
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
    });
}
