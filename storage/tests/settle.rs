//! Bytes on their way from the journal to the segments, and what a clean stop leaves on disk.

mod harness;

use std::path::Path;

use harness::*;
use millstream_protocol::batch::Batches;
use millstream_ring::block_on;

/// All batches of a partition's segments, straight from the files.
fn on_disk(partition: &Path) -> Vec<(i64, Vec<u8>)> {
    let mut names: Vec<_> = std::fs::read_dir(partition)
        .expect("lists")
        .map(|e| e.expect("lists").path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .collect();
    names.sort();
    let mut batches = Vec::new();
    for name in names {
        let bytes = std::fs::read(&name).expect("reads");
        let mut batches_of = Batches::new(&bytes);
        for batch in batches_of.by_ref() {
            let (header, raw) = batch.expect("a batch");
            batches.push((header.base_offset, raw.to_vec()));
        }
        assert_eq!(
            batches_of.position(),
            bytes.len(),
            "{} is cut to its length",
            name.display()
        );
    }
    batches
}

#[test]
fn a_clean_stop_leaves_kafkas_layout_and_nothing_else() {
    let seed = seed("clean stop");
    let dir = temp();
    let path = dir.path().to_owned();
    let model = block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let log = store
            .create_log(TOPIC, log_id(0), 0, 0, config())
            .await
            .expect("creates");
        let mut model = ModelLog::default();
        for n in 0..600 {
            let bytes = if n % 20 == 0 { 200_000 } else { 2_000 };
            let batch = batch(&mut rng, bytes, n);
            store.admit(batch.len()).await;
            model.batches.push(append(&log, &batch, 0).1);
            if n % 50 == 0 {
                ring.sleep(std::time::Duration::from_millis(2)).await;
            }
        }
        stop(&ring, &store).await;
        model
    });
    let partition = dir.path().join(format!("{TOPIC}-0"));
    let found = on_disk(&partition);
    assert_eq!(found.len(), model.batches.len());
    for ((base, bytes), stored) in found.iter().zip(&model.batches) {
        assert_eq!(*base, stored.base);
        assert!(*bytes == stored.bytes, "batch at {base}");
    }
    let names: Vec<String> = std::fs::read_dir(dir.path())
        .expect("lists")
        .map(|e| e.expect("lists").file_name().into_string().expect("a name"))
        .collect();
    assert!(
        !names.iter().any(|n| n.starts_with(".millstream-journal")),
        "no journal stays: {names:?}"
    );
    for needed in [
        ".kafka_cleanshutdown",
        "meta.properties",
        "recovery-point-offset-checkpoint",
    ] {
        assert!(names.iter().any(|n| n == needed), "{needed} in {names:?}");
    }
    assert!(partition.join("leader-epoch-checkpoint").exists());
    assert!(partition.join("partition.metadata").exists());
}

#[test]
fn everything_is_read_back_from_segments_after_a_clean_restart() {
    let seed = seed("clean restart");
    let dir = temp();
    let path = dir.path().to_owned();
    let again = path.clone();
    let model = block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let log = store
            .create_log(TOPIC, log_id(0), 0, 0, config())
            .await
            .expect("creates");
        let mut model = ModelLog::default();
        for n in 0..300 {
            let batch = batch(&mut rng, 10_000, n);
            store.admit(batch.len()).await;
            model.batches.push(append(&log, &batch, 0).1);
        }
        stop(&ring, &store).await;
        model
    });
    block_on(move |ring| async move {
        let mut rng = rng(seed + 1);
        let mut model = model;
        let store = start(&ring, options(&again)).await;
        let log = store.log(&log_id(0)).expect("there");
        log.set_config(config());
        verify(&log, &model, 100_000).await;
        // The first append continues a block that lies in the segment only.
        let (appended, stored) = append(&log, &batch(&mut rng, 500, 1000), 0);
        model.batches.push(stored);
        store.wait(appended.ticket).await.expect("flushed");
        verify(&log, &model, 100_000).await;
        stop(&ring, &store).await;
    });
}

#[test]
fn timestamps_and_epochs_are_looked_up() {
    let dir = temp();
    let path = dir.path().to_owned();
    let seed = seed("lookups");
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let log = store
            .create_log(TOPIC, log_id(0), 0, 0, config())
            .await
            .expect("creates");
        let mut ends = Vec::new();
        for n in 0..300i64 {
            let batch = batch(&mut rng, 20_000, 1000 * n);
            store.admit(batch.len()).await;
            let (appended, stored) = append(&log, &batch, (n / 100) as i32);
            ends.push((stored.base, appended.ticket));
        }
        store.wait(ends[299].1).await.expect("flushed");
        for n in [0, 1, 150, 299] {
            let found = log
                .offset_for_timestamp(1000 * n as i64, i64::MAX)
                .await
                .expect("looks");
            let found = found.expect("there is one");
            assert_eq!(
                (found.offset, found.timestamp),
                (ends[n].0, 1000 * n as i64)
            );
            assert_eq!(found.leader_epoch, n as i32 / 100);
            let between = log
                .offset_for_timestamp(1000 * n as i64 - 900, i64::MAX)
                .await
                .expect("looks");
            assert_eq!(between.expect("there is one").offset, ends[n].0);
        }
        assert_eq!(
            log.offset_for_timestamp(400_000, i64::MAX)
                .await
                .expect("looks"),
            None
        );
        assert_eq!(log.offset_for_epoch(0), (0, ends[100].0));
        assert_eq!(log.offset_for_epoch(1), (1, ends[200].0));
        assert_eq!(log.latest_epoch(), 2);
        let largest = log
            .max_timestamp()
            .await
            .expect("looks")
            .expect("there is one");
        assert!(largest.timestamp >= 299_000 && largest.offset >= ends[299].0);
    });
}

#[test]
fn a_log_deleted_and_created_again_under_its_name_is_empty() {
    let dir = temp();
    let path = dir.path().to_owned();
    let seed = seed("recreated");
    let again = path.clone();
    let second = millstream_storage::LogId {
        topic_id: [8; 16],
        partition: 0,
    };
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        for round in 0..5 {
            let log = store
                .create_log(TOPIC, log_id(0), 0, 0, config())
                .await
                .expect("creates");
            for n in 0..40 {
                let batch = batch(&mut rng, 50_000, n);
                store.admit(batch.len()).await;
                append(&log, &batch, round);
            }
            store.delete_log(&log_id(0)).await.expect("deletes");
            assert!(store.log(&log_id(0)).is_none());
        }
        let log = store
            .create_log(TOPIC, second, 0, 0, config())
            .await
            .expect("creates");
        let (appended, _) = append(&log, &batch(&mut rng, 100, 0), 0);
        assert_eq!(appended.base_offset, 0);
        store.wait(appended.ticket).await.expect("flushed");
    });
    block_on(move |ring| async move {
        let store = start(&ring, options(&again)).await;
        assert!(store.log(&log_id(0)).is_none(), "deleted stays deleted");
        let log = store.log(&second).expect("the second life");
        assert!(log.flushed_end_offset() > 0);
        assert_eq!(log.offset_for_epoch(0).1, log.flushed_end_offset());
        stop(&ring, &store).await;
    });
}

/// More than the journal holds, appended before anything of it can be settled: what does not fit waits for a file, and the
/// file for an entry that says it is settled.
#[test]
fn a_journal_that_is_full_at_once_goes_on() {
    const LOGS: i32 = 64;
    let seed = seed("full journal");
    let dir = temp();
    let path = dir.path().to_owned();
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let mut logs = Vec::new();
        for n in 0..LOGS {
            let log = store.create_log(TOPIC, log_id(n), 0, 0, config()).await;
            logs.push(log.expect("creates"));
        }
        for round in 0..3 {
            let mut last = None;
            for n in 0..16_000 {
                let batch = batch(&mut rng, 1_000, round);
                last = Some(append(&logs[n % logs.len()], &batch, 0).0.ticket);
            }
            let waiting = store.wait(last.expect("appended"));
            ring.timeout(std::time::Duration::from_secs(60), waiting)
                .await
                .expect("no wait is for ever")
                .expect("flushed");
        }
        stop(&ring, &store).await;
    });
}

/// Retention that drops everything begins a new segment, while the old one may still be worked on and stay for a moment.
#[test]
fn a_clean_stop_right_after_retention_has_dropped_everything() {
    let seed = seed("stop after retention");
    let dir = temp();
    let path = dir.path().to_owned();
    let end = block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&path)).await;
        let config = millstream_storage::LogConfig {
            retention_ms: 1000,
            ..config()
        };
        let log = store.create_log(TOPIC, log_id(0), 0, 0, config).await;
        let log = log.expect("creates");
        let batch = batch(&mut rng, 1_000_001, 0);
        store.admit(batch.len()).await;
        let (appended, _) = append(&log, &batch, 0);
        store.wait(appended.ticket).await.expect("flushed");
        log.retain(1_000_000).await.expect("drops");
        let end = log.log_end_offset();
        assert_eq!(log.log_start_offset(), end);
        stop(&ring, &store).await;
        end
    });
    let path = dir.path().to_owned();
    block_on(move |ring| async move {
        let store = start(&ring, options(&path)).await;
        let log = store.log(&log_id(0)).expect("it is there");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (end, end));
        stop(&ring, &store).await;
    });
}

/// The first bytes of a log are in the journal alone, its segment is not ready yet; what follows goes straight there. The
/// journal never has enough to settle for its own sake.
#[test]
fn memory_is_bounded_where_the_journal_is_hardly_used() {
    const LOGS: usize = 4;
    let seed = seed("bounded memory");
    let dir = temp();
    let mut options = options(dir.path());
    options.journal_file_bytes = 16 << 20;
    let limit = options.tail_bytes;
    block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options).await;
        let config = millstream_storage::LogConfig {
            segment_bytes: 1 << 30,
            ..config()
        };
        let mut logs = Vec::new();
        for n in 0..LOGS as i32 {
            let log = store.create_log(TOPIC, log_id(n), 0, 0, config).await;
            logs.push(log.expect("creates"));
        }
        let mut most = 0;
        for n in 0..400 {
            let bytes = if n < LOGS { 20_000 } else { 200_000 };
            let batch = batch(&mut rng, bytes, 0);
            store.admit(batch.len()).await;
            let (appended, _) = append(&logs[n % LOGS], &batch, 0);
            store.wait(appended.ticket).await.expect("flushed");
            most = most.max(store.held().tail);
        }
        assert!(
            most <= limit * 2,
            "{most} bytes where {limit} are allowed, of 80 MB"
        );
        stop(&ring, &store).await;
    });
}
