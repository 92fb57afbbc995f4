//! Crashes around recovery itself, torn journals, other numbers of cores, directories of Kafka's.

mod harness;

use std::path::{Path, PathBuf};

use harness::*;
use millstream_ring::{Ring, block_on};
use millstream_storage::{OpenError, Stopped, Store, open};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Leaves a directory as a crash does: `logs` logs, everything acknowledged.
fn crashed(path: &Path, seed: u64, logs: i32, batches: usize) -> Vec<ModelLog> {
    let path = path.to_owned();
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let mut model = vec![ModelLog::default(); logs as usize];
        for n in 0..logs {
            store
                .create_log(TOPIC, log_id(n), 0, 0, config())
                .await
                .expect("creates");
        }
        for n in 0..batches {
            let which = rng.random_range(0..logs);
            let log = store.log(&log_id(which)).expect("created");
            let bytes = if n % 9 == 0 { 150_000 } else { 3_000 };
            let batch = batch(&mut rng, bytes, n as i64);
            store.admit(batch.len()).await;
            let (appended, stored) = append(&log, &batch, 0);
            model[which as usize].batches.push(stored);
            store.wait(appended.ticket).await.expect("flushed");
        }
        model.iter_mut().for_each(|m| m.acked = m.end());
        model
    })
}

async fn verify_all(store: &Store, model: &[ModelLog]) {
    for (n, expected) in model.iter().enumerate() {
        let log = store.log(&log_id(n as i32)).expect("there");
        assert_eq!(log.flushed_end_offset(), expected.end());
        verify(&log, expected, 30_000).await;
    }
}

#[test]
fn a_recovery_that_is_interrupted_is_repeated() {
    let dir = temp();
    let model = crashed(dir.path(), seed("interrupted"), 4, 120);
    for stage in [0, 1, 2, 1, 0, 3, 3] {
        let (path, model) = (dir.path().to_owned(), model.clone());
        block_on(move |ring| async move {
            let opened = open(&ring, options(&path)).await.expect("opens");
            if stage == 0 {
                return;
            }
            let (seeds, finish) = opened.divide(1, |_| Some(0));
            let mut stores = Vec::new();
            for seed in seeds {
                stores.push(Store::start(&ring, seed).await.expect("starts"));
            }
            if stage >= 2 {
                finish.run(&ring).await.expect("finishes");
            }
            if stage == 3 {
                verify_all(&stores[0], &model).await;
            }
        });
    }
}

#[test]
fn the_number_of_cores_may_change_at_each_start() {
    let dir = temp();
    let seed = seed("cores");
    let mut model = crashed(dir.path(), seed, 6, 60);
    for (round, cores) in [3, 1, 4, 2].into_iter().enumerate() {
        let path = dir.path().to_owned();
        let taken = model;
        model = block_on(move |ring| async move {
            with_cores(&ring, path, seed, taken, cores, round % 2 == 1).await
        });
    }
}

/// All stores on one thread: they share nothing that would notice.
async fn with_cores(
    ring: &Ring,
    path: PathBuf,
    seed: u64,
    mut model: Vec<ModelLog>,
    cores: usize,
    clean: bool,
) -> Vec<ModelLog> {
    let mut rng = rng(seed + cores as u64);
    let opened = open(ring, options(&path)).await.expect("opens");
    assert_eq!(opened.logs().count(), model.len());
    let (seeds, finish) = opened.divide(cores, |log| Some(log.id.partition as usize % cores));
    let mut stores = Vec::new();
    for seed in seeds {
        stores.push(Store::start(ring, seed).await.expect("starts"));
    }
    finish.run(ring).await.expect("finishes");
    for (n, expected) in model.iter_mut().enumerate() {
        let store = &stores[n % cores];
        let log = store.log(&log_id(n as i32)).expect("on its core");
        verify(&log, expected, 30_000).await;
        let mut last = None;
        for t in 0..5 {
            let (appended, stored) = append(&log, &batch(&mut rng, 2_000, t), 1);
            expected.batches.push(stored);
            last = Some(appended.ticket);
        }
        store.wait(last.expect("appended")).await.expect("flushed");
    }
    if clean {
        let mut stopped = Vec::new();
        for store in &stores {
            stopped.push(store.stop().await.expect("stops"));
        }
        Stopped::finish(stopped, ring).await.expect("marks clean");
    }
    model
}

#[test]
fn a_journal_cut_anywhere_opens_or_says_what_is_missing() {
    let dir = temp();
    let seed = seed("cut");
    let model = crashed(dir.path(), seed, 3, 40);
    let name = std::fs::read_dir(dir.path())
        .expect("lists")
        .map(|e| e.expect("lists").file_name().into_string().expect("a name"))
        .find(|n| n.starts_with(".millstream-journal-") && n.ends_with("-0-0"))
        .expect("a journal");
    let mut rng = rng(seed);
    for _ in 0..12 {
        let copy = temp();
        copy_dir(dir.path(), copy.path());
        let journal = copy.path().join(&name);
        let mut bytes = std::fs::read(&journal).expect("reads");
        let at = rng.random_range(0..400) * 512;
        if rng.random_bool(0.5) {
            bytes[at..].fill(0);
        } else {
            bytes[at] ^= 0x10;
        }
        std::fs::write(&journal, &bytes).expect("writes");
        let (path, model) = (copy.path().to_owned(), model.clone());
        block_on(move |ring| async move {
            let opened = match open(&ring, options(&path)).await {
                Ok(opened) => opened,
                Err(OpenError::Damaged { .. }) => return,
                Err(other) => panic!("cut at {at}: {other}"),
            };
            let (mut seeds, _) = opened.divide(1, |_| Some(0));
            let store = Store::start(&ring, seeds.remove(0)).await.expect("starts");
            for log in store.logs() {
                let expected = &model[log.id().partition as usize];
                let end = log.flushed_end_offset();
                let batches = expected
                    .batches
                    .iter()
                    .filter(|b| b.next <= end)
                    .cloned()
                    .collect();
                verify(
                    &log,
                    &ModelLog {
                        batches,
                        ..*expected
                    },
                    30_000,
                )
                .await;
            }
        });
    }
}

#[test]
fn a_directory_without_our_table_is_adopted() {
    let dir = temp();
    let path = dir.path().to_owned();
    let seed = seed("adopted");
    let model = crashed(dir.path(), seed, 3, 50);
    let first = path.clone();
    block_on(move |ring| async move {
        let store = start(&ring, options(&first)).await;
        stop(&ring, &store).await;
    });
    // As Kafka leaves it: its own clean mark, nothing of ours.
    std::fs::write(
        path.join(".kafka_cleanshutdown"),
        r#"{"version":0,"brokerEpoch":12}"#,
    )
    .expect("writes");
    for entry in std::fs::read_dir(&path).expect("lists") {
        let entry = entry.expect("lists");
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(".millstream")
        {
            std::fs::remove_file(entry.path()).expect("removes");
        }
    }
    block_on(move |ring| async move {
        let opened = open(&ring, options(&path)).await.expect("opens");
        assert!(opened.identity().adopted);
        assert!(opened.logs().all(|log| log.adopted && log.topic == TOPIC));
        let (mut seeds, finish) = opened.divide(1, |_| Some(0));
        let store = Store::start(&ring, seeds.remove(0)).await.expect("starts");
        finish.run(&ring).await.expect("finishes");
        verify_all(&store, &model).await;
        let log = store.log(&log_id(1)).expect("there");
        let (appended, _) = append(&log, &batch(&mut rng(seed), 1000, 1), 1);
        assert_eq!(appended.base_offset, model[1].end());
        store.wait(appended.ticket).await.expect("flushed");
    });
}

#[test]
fn a_log_that_nobody_knows_becomes_stray_and_keeps_its_files() {
    let dir = temp();
    crashed(dir.path(), seed("stray"), 2, 60);
    let path = dir.path().to_owned();
    let settled = path.clone();
    block_on(move |ring| async move {
        let store = start(&ring, options(&settled)).await;
        stop(&ring, &store).await;
    });
    let again = path.clone();
    block_on(move |ring| async move {
        let opened = open(&ring, options(&again)).await.expect("opens");
        let (mut seeds, finish) = opened.divide(1, |log| (log.id.partition == 0).then_some(0));
        let store = Store::start(&ring, seeds.remove(0)).await.expect("starts");
        finish.run(&ring).await.expect("finishes");
        assert!(store.log(&log_id(1)).is_none());
        stop(&ring, &store).await;
    });
    let names: Vec<String> = std::fs::read_dir(&path)
        .expect("lists")
        .map(|e| e.expect("lists").file_name().into_string().expect("a name"))
        .collect();
    assert!(
        names
            .iter()
            .any(|n| n.starts_with("model-topic-1.") && n.ends_with("-stray")),
        "{names:?}"
    );
}

/// How a log loses all it has.
#[derive(Clone, Copy, Debug)]
enum Emptied {
    DeleteRecords,
    Retention,
    Both,
}

#[test]
fn an_emptied_log_goes_on_at_its_end_whatever_crashes() {
    let seed = seed("emptied");
    for how in [Emptied::DeleteRecords, Emptied::Retention, Emptied::Both] {
        let dir = temp();
        let mut model = crashed(dir.path(), seed, 3, 60);
        for round in 0..6 {
            let (path, taken) = (dir.path().to_owned(), model);
            let core = move || {
                block_on(move |ring| async move {
                    let store = start(&ring, options(&path)).await;
                    let model = empty_logs(&store, seed + round, taken, how, round).await;
                    if round % 3 == 2 {
                        stop(&ring, &store).await;
                    }
                    model
                })
            };
            model = watched("an emptied log", core);
        }
    }
}

/// Checks that no offset went back, appends to some, empties all, and appends to some again.
async fn empty_logs(
    store: &Store,
    seed: u64,
    mut model: Vec<ModelLog>,
    how: Emptied,
    round: u64,
) -> Vec<ModelLog> {
    let mut rng = rng(seed);
    for (n, expected) in model.iter_mut().enumerate() {
        let log = store.log(&log_id(n as i32)).expect("is there");
        log.set_config(millstream_storage::LogConfig {
            retention_ms: 1,
            // As good as never: what is to be removed is left to the next start.
            file_delete_delay_ms: 3_600_000,
            ..config()
        });
        assert_eq!(
            log.log_end_offset(),
            expected.end(),
            "offsets do not go back"
        );
        verify(&log, expected, 30_000).await;
        let more = async |rng: &mut ChaCha8Rng, expected: &mut ModelLog| {
            let bytes = rng.random_range(1..200_000);
            let (appended, stored) = append(&log, &batch(rng, bytes, 0), 1);
            expected.batches.push(stored);
            store.wait(appended.ticket).await.expect("flushed");
        };
        if rng.random_bool(0.5) {
            more(&mut rng, expected).await;
        }
        if !matches!(how, Emptied::Retention) {
            log.delete_records(-1).await.expect("deletes records");
        }
        if !matches!(how, Emptied::DeleteRecords) {
            log.retain(i64::MAX).await.expect("retains");
        }
        expected.start = log.log_start_offset();
        assert_eq!(expected.start, expected.end(), "all of it is gone");
        if round % 2 == 1 && rng.random_bool(0.7) {
            more(&mut rng, expected).await;
        }
    }
    model
}

#[test]
fn files_of_dropped_segments_are_removed_after_a_crash() {
    let dir = temp();
    let seed = seed("leftovers");
    let path = dir.path().to_owned();
    let mut model = crashed(&path, seed, 1, 400);
    model = watched("a crash before files are removed", move || {
        block_on(move |ring| async move {
            let store = start(&ring, options(&path)).await;
            let model = empty_logs(&store, seed, model, Emptied::Both, 0).await;
            // A log that is being settled keeps its segments until retention comes by again.
            let partition = path.join(format!("{TOPIC}-0"));
            while !names(&partition).iter().any(|n| deleted(n)) {
                ring.sleep(std::time::Duration::from_millis(5)).await;
                let log = store.log(&log_id(0)).expect("is there");
                log.retain(i64::MAX).await.expect("retains");
            }
            model
        })
    });
    let partition = dir.path().join(format!("{TOPIC}-0"));
    // A segment that was begun and never written to, and one from long ago.
    std::fs::write(partition.join("00000000000000000001.log"), [0; 5000]).expect("writes");
    std::fs::write(partition.join("00000000000000000001.index"), [0; 8]).expect("writes");
    let path = dir.path().to_owned();
    watched("leftovers", move || {
        block_on(move |ring| async move {
            let store = start(&ring, options(&path)).await;
            let old = |name: &str| deleted(name) || name.starts_with("00000000000000000001.");
            while names(&partition).iter().any(|n| old(n)) {
                ring.sleep(std::time::Duration::from_millis(5)).await;
            }
            let log = store.log(&log_id(0)).expect("is there");
            assert_eq!(log.log_end_offset(), model[0].end());
            let above = partition.join(format!("{:020}.log", model[0].end() + 1000));
            std::fs::write(&above, [0; 100]).expect("writes");
            let (appended, _) = append(&log, &batch(&mut rng(seed), 100, 0), 1);
            store.wait(appended.ticket).await.expect("flushed");
            stop(&ring, &store).await;
            let logs = names(&partition)
                .iter()
                .filter(|n| n.ends_with(".log"))
                .count();
            assert_eq!(logs, 1, "nothing stays that Kafka would take for a segment");
        })
    });
}

fn deleted(name: &str) -> bool {
    name.ends_with(".deleted")
}

fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("lists");
    entries
        .map(|e| e.expect("lists").file_name().into_string().expect("a name"))
        .collect()
}
