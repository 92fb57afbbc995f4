//! The thin line: append, flush, read from the tail; crash; everything is there again.

mod harness;

use harness::*;
use millstream_ring::block_on;

#[test]
fn acknowledged_records_survive_a_crash() {
    let dir = temp();
    let path = dir.path().to_owned();
    let seed = seed("line");
    let first = path.clone();
    let model = block_on(move |ring| async move {
        let mut rng = rng(seed);
        let store = start(&ring, options(&first)).await;
        let log = store
            .create_log(TOPIC, log_id(0), 0, 3, config())
            .await
            .expect("creates");
        let mut model = ModelLog::default();
        let mut ticket = None;
        for n in 0..50 {
            let (appended, stored) = append(&log, &batch(&mut rng, 1000, n), 3);
            model.batches.push(stored);
            ticket = Some(appended.ticket);
        }
        store
            .wait(ticket.expect("appended"))
            .await
            .expect("flushed");
        assert_eq!(log.flushed_end_offset(), model.end());
        model.acked = model.end();
        assert!(
            log.read_tail(0, 1 << 20, i64::MAX, true).is_some(),
            "the tail has all"
        );
        verify(&log, &model, 10_000).await;
        model
    });
    let acked = model.acked;
    let model = block_on(move |ring| async move {
        let store = start(&ring, options(&path)).await;
        let log = store.log(&log_id(0)).expect("is there again");
        assert_eq!(log.topic(), TOPIC);
        assert_eq!(log.flushed_end_offset(), acked);
        assert_eq!(log.latest_epoch(), 3);
        verify(&log, &model, 10_000).await;
        model
    });
    assert_eq!(model.batches.len(), 50);
}
