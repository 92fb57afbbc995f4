//! Logs with `flush.messages` above 1: acknowledged when written, flushed by number, by time, or for whoever waits.

mod harness;

use std::rc::Rc;
use std::time::Duration;

use harness::*;
use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_ring::{Ring, block_on};
use millstream_storage::{Log, LogConfig, Store, Ticket};

/// Flushed after `messages` records or `ms`.
fn weaker(messages: i64, ms: i64) -> LogConfig {
    LogConfig {
        flush_messages: messages,
        flush_ms: ms,
        ..config()
    }
}

async fn create(store: &Store, partition: i32, config: LogConfig) -> Rc<Log> {
    let created = store.create_log(TOPIC, log_id(partition), 0, 0, config);
    created.await.expect("creates")
}

/// Appends one record, and waits for what its class promises.
async fn acknowledged(store: &Store, log: &Log) -> Ticket {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    builder.push(0, None, Some(b"value"), &[]);
    let (appended, _) = append(log, &builder.finish(0), 0);
    store.wait(appended.ticket).await.expect("acknowledged");
    appended.ticket
}

/// Until the log is flushed up to `end` without anybody's doing.
async fn flushed_to(ring: &Ring, log: &Log, end: i64) {
    while log.flushed_end_offset() < end {
        ring.sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_number_of_records_is_flushed_together() {
    let dir = temp();
    let path = dir.path().to_owned();
    watched("a number of records", || {
        block_on(move |ring| async move {
            let store = start(&ring, options(&path)).await;
            let log = create(&store, 0, weaker(10, i64::MAX)).await;
            for round in 0..3 {
                for n in 0..9 {
                    let ticket = acknowledged(&store, &log).await;
                    assert!(ticket.when_written);
                    assert_eq!(log.log_end_offset(), round * 10 + n + 1);
                    assert_eq!(log.flushed_end_offset(), round * 10, "nobody needed more");
                }
                acknowledged(&store, &log).await;
                flushed_to(&ring, &log, round * 10 + 10).await;
            }
        });
    });
}

#[test]
fn a_time_ends_the_wait() {
    let dir = temp();
    let path = dir.path().to_owned();
    watched("a time", || {
        block_on(move |ring| async move {
            let store = start(&ring, options(&path)).await;
            let slow = create(&store, 0, weaker(1000, 3_600_000)).await;
            let quick = create(&store, 1, weaker(1000, 20)).await;
            for n in 1..=3 {
                acknowledged(&store, &slow).await;
                acknowledged(&store, &quick).await;
                flushed_to(&ring, &quick, n).await;
                assert_eq!(slow.flushed_end_offset(), n, "it went along");
            }
        });
    });
}

#[test]
fn whoever_waits_brings_the_flush_forward() {
    let dir = temp();
    let path = dir.path().to_owned();
    watched("whoever waits", || {
        block_on(move |ring| async move {
            let store = start(&ring, options(&path)).await;
            let log = create(&store, 0, weaker(1000, i64::MAX)).await;
            acknowledged(&store, &log).await;
            assert_eq!(log.flushed_end_offset(), 0);
            log.flushed().await.expect("flushed");
            assert_eq!(log.flushed_end_offset(), 1);

            // A log of the flushed class in the same journal takes it along.
            let strict = create(&store, 1, config()).await;
            acknowledged(&store, &log).await;
            let ticket = acknowledged(&store, &strict).await;
            assert!(!ticket.when_written);
            assert_eq!(
                (log.flushed_end_offset(), strict.flushed_end_offset()),
                (2, 1)
            );

            // The class may change while records wait.
            acknowledged(&store, &log).await;
            log.set_config(config());
            acknowledged(&store, &log).await;
            assert_eq!(log.flushed_end_offset(), 4);
        });
    });
}

#[test]
fn what_was_acknowledged_outlives_the_process_and_a_clean_stop() {
    let dir = temp();
    let path = dir.path().to_owned();
    watched("a crash", || {
        for end in (7..=21).step_by(7) {
            let path = path.clone();
            block_on(move |ring| async move {
                let store = start(&ring, options(&path)).await;
                let log = match end {
                    7 => create(&store, 0, weaker(1000, i64::MAX)).await,
                    _ => store.log(&log_id(0)).expect("is there again"),
                };
                log.set_config(weaker(1000, i64::MAX));
                assert_eq!(log.flushed_end_offset(), end - 7);
                for _ in 0..7 {
                    acknowledged(&store, &log).await;
                }
                assert_eq!(log.flushed_end_offset(), end - 7);
                // The first two runs end as a killed process does.
                if end == 14 {
                    stop(&ring, &store).await;
                    assert_eq!(log.flushed_end_offset(), end);
                }
            });
        }
    });
}

#[test]
fn much_more_than_the_journal_holds_goes_through() {
    let dir = temp();
    let path = dir.path().to_owned();
    let seed = seed("weaker class");
    watched("a full journal", || {
        block_on(move |ring| async move {
            let mut rng = rng(seed);
            let store = start(&ring, options(&path)).await;
            let mut model = vec![ModelLog::default(); 3];
            let mut logs = Vec::new();
            for n in 0..3 {
                logs.push(create(&store, n, weaker(i64::MAX, i64::MAX)).await);
            }
            for n in 0..1500 {
                let which = n % 3;
                let bytes = if n % 7 == 0 { 200_000 } else { 20_000 };
                let batch = batch(&mut rng, bytes, n as i64);
                store.admit(batch.len()).await;
                let (appended, stored) = append(&logs[which], &batch, 0);
                model[which].batches.push(stored);
                store.wait(appended.ticket).await.expect("written");
            }
            for (log, model) in logs.iter().zip(&model) {
                log.flushed().await.expect("flushed");
                verify(log, model, 1 << 20).await;
            }
            stop(&ring, &store).await;
        });
    });
}
