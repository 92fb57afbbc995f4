//! Too little of something: a full disk, a journal smaller than a burst.
//!
//! The disk is a tmpfs of a few megabytes: what must still work there, what is refused, and how it goes on.
//!
//! The file system is mounted in a mount namespace of this test's own, by running the test again under `unshare`; it goes
//! with the process. Where neither root nor user namespaces are to be had, the reserve alone is tested.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use harness::*;
use millstream_protocol::batch::BatchHeader;
use millstream_ring::{Ring, block_on};
use millstream_storage::{AppendError, Log, Stopped, StorageOptions, Store, StoreError};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Set for the inner run: where the small file system is.
const DIR: &str = "MILLSTREAM_FULL_DIR";
const DEVICE_MIB: u64 = 48;
const RESERVE: u64 = 8 << 20;
/// All files of a journal, as the harness sets them.
const JOURNAL: u64 = 16 << 20;
const CYCLES: i64 = 50;

/// Runs the test `name` of this binary again on a small file system; false where none can be mounted.
fn on_small_device(name: &str) -> bool {
    let mount = temp();
    let script = format!(
        "mount -t tmpfs -o size={DEVICE_MIB}m tmpfs \"$0\" || exit 77; {DIR}=\"$0\" exec \"$1\" --exact {name} --nocapture"
    );
    let exe = std::env::current_exe().expect("this binary");
    let root = std::fs::metadata("/proc/self/fd").is_ok() && is_root();
    let namespaces: &[&str] = match root {
        true => &["--mount"],
        false => &["--user", "--map-root-user", "--mount"],
    };
    let ended = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", &script])
        .arg(mount.path())
        .arg(exe)
        .status();
    match ended.map(|status| status.code()) {
        Ok(Some(0)) => true,
        Ok(Some(101)) => panic!("{name} fails on a small device, see above"),
        Ok(None) => panic!("{name} was killed on a small device, see above"),
        other => {
            println!("no small file system can be mounted here ({other:?})");
            false
        }
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.is_some_and(|ids| ids.split_whitespace().next() == Some("0"))
}

fn small(dir: &Path, reserve: u64) -> StorageOptions {
    StorageOptions {
        reserve_bytes: Some(reserve),
        ..options(dir)
    }
}

/// Appends until it is refused for want of space; everything that was taken is flushed.
async fn fill(store: &Store, log: &Rc<Log>, model: &mut ModelLog, rng: &mut ChaCha8Rng) {
    let mut last = None;
    loop {
        let bytes = match rng.random_range(0..3) {
            0 => rng.random_range(70_000..700_000),
            _ => rng.random_range(1..20_000),
        };
        let batch = batch(rng, bytes, model.end());
        store.admit(batch.len()).await;
        let header = BatchHeader::read(&batch).expect("a batch");
        match log.append(&batch, header, 0) {
            Ok(appended) => {
                model.batches.push(stored(batch, header, &appended));
                last = Some(appended.ticket);
            }
            Err(AppendError::NoSpace) => break,
            Err(other) => panic!("{other}"),
        }
    }
    if let Some(ticket) = last {
        store.wait(ticket).await.expect("what was taken is flushed");
    }
    model.acked = model.end();
}

fn stored(mut bytes: Vec<u8>, header: BatchHeader, at: &millstream_storage::Appended) -> Stored {
    let mut stamped = header;
    stamped.base_offset = at.base_offset;
    stamped.partition_leader_epoch = 0;
    let mut head = [0; 61];
    stamped.write(&mut head);
    bytes[..61].copy_from_slice(&head);
    Stored {
        base: at.base_offset,
        next: at.last_offset + 1,
        bytes,
    }
}

/// What the broker itself remembers still gets in, and is flushed.
async fn commit_offset(store: &Store, log: &Log, model: &mut ModelLog, rng: &mut ChaCha8Rng) {
    let batch = batch(rng, 100, model.end());
    let header = BatchHeader::read(&batch).expect("a batch");
    let appended = log
        .append_from_reserve(&batch, header, 0)
        .expect("has room");
    model.batches.push(stored(batch, header, &appended));
    store.wait(appended.ticket).await.expect("flushed");
    model.acked = model.end();
}

/// Until it is taken again.
async fn append_again(ring: &Ring, log: &Log, model: &mut ModelLog, rng: &mut ChaCha8Rng) {
    loop {
        let batch = batch(rng, 2_000, model.end());
        let header = BatchHeader::read(&batch).expect("a batch");
        match log.append(&batch, header, 0) {
            Ok(appended) => {
                model.batches.push(stored(batch, header, &appended));
                return;
            }
            Err(AppendError::NoSpace) => ring.sleep(Duration::from_millis(5)).await,
            Err(other) => panic!("{other}"),
        }
    }
}

async fn create(store: &Store, n: i32) -> Rc<Log> {
    let created = store.create_log(TOPIC, log_id(n), 0, 0, config()).await;
    created.expect("is created")
}

/// One start: cycles of filling, being refused, deleting and going on, then a stop at the limit.
async fn cycles(
    ring: Ring,
    path: PathBuf,
    seed: u64,
    first: i64,
    count: i64,
    mut kept: ModelLog,
) -> ModelLog {
    let mut rng = rng(seed + first as u64);
    let store = start(&ring, small(&path, RESERVE)).await;
    let offsets = match store.log(&log_id(0)) {
        Some(log) => log,
        None => create(&store, 0).await,
    };
    offsets.set_config(config());
    verify(&offsets, &kept, 10_000).await;
    for cycle in first..first + count {
        let mut model = ModelLog::default();
        let log = create(&store, 1).await;
        fill(&store, &log, &mut model, &mut rng).await;
        // At the limit: read, commit offsets, create, delete records, delete.
        verify(&log, &model, 100_000).await;
        commit_offset(&store, &offsets, &mut kept, &mut rng).await;
        create(&store, 2).await;
        model.start = log
            .delete_records(model.end() / 2)
            .await
            .expect("deletes records");
        verify(&log, &model, 100_000).await;
        if cycle == first + count - 1 {
            break;
        }
        store.delete_log(&log_id(1)).await.expect("is deleted");
        append_again(&ring, &offsets, &mut kept, &mut rng).await;
        store.delete_log(&log_id(2)).await.expect("is deleted");
    }
    commit_offset(&store, &offsets, &mut kept, &mut rng).await;
    stop(&ring, &store).await;
    assert_eq!(
        store.dirs()[0].offline,
        None,
        "the reserve is enough for a clean stop"
    );
    kept
}

#[test]
fn at_the_reserve_all_but_produce_goes_on() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        if !on_small_device("at_the_reserve_all_but_produce_goes_on") {
            refused_at_once();
        }
        return;
    };
    let seed = seed("reserve");
    let mut kept = ModelLog::default();
    for first in (0..CYCLES).step_by(10) {
        println!("cycle {first}");
        let (path, taken) = (dir.clone(), kept);
        let core = move || block_on(move |ring| cycles(ring, path, seed, first, 10, taken));
        kept = watched("a full disk", core);
        // The next start finds the logs of the last cycle, and deletes them.
        let path = dir.clone();
        watched("a start on a full disk", move || {
            block_on(move |ring| async move {
                let store = start(&ring, small(&path, RESERVE)).await;
                for n in [1, 2] {
                    store.delete_log(&log_id(n)).await.expect("is deleted");
                }
                stop(&ring, &store).await;
            })
        });
    }
}

/// The reserve is more than any device has.
fn refused_at_once() {
    let dir = temp();
    let path = dir.path().to_owned();
    watched("a reserve without end", move || {
        block_on(move |ring| async move {
            let mut rng = rng(seed("reserve"));
            let store = start(&ring, small(&path, u64::MAX)).await;
            for _ in 0..CYCLES {
                let log = create(&store, 0).await;
                let mut model = ModelLog::default();
                fill(&store, &log, &mut model, &mut rng).await;
                assert_eq!(model.end(), 0, "nothing fits");
                commit_offset(&store, &log, &mut model, &mut rng).await;
                verify(&log, &model, 1000).await;
                store.delete_log(&log_id(0)).await.expect("is deleted");
            }
            stop(&ring, &store).await;
        })
    });
}

/// Takes all that is left of the device, as somebody else might.
fn take_all(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path.join("somebody-elses")).expect("creates");
    let block = vec![1; 64 << 10];
    for bytes in [block.len(), 4096] {
        while file.write_all(&block[..bytes]).is_ok() {}
    }
}

fn give_back(path: &Path) {
    let _gone_already = std::fs::remove_file(path.join("somebody-elses"));
}

/// A device that is filled by others at any time, through the reserve. What the logs themselves leave is enough for the
/// journal of the next start.
async fn really_full(
    ring: Ring,
    path: PathBuf,
    seed: u64,
    mut models: Vec<ModelLog>,
) -> Vec<ModelLog> {
    let mut rng = rng(seed);
    let store = start(&ring, small(&path, JOURNAL)).await;
    for (n, model) in models.iter_mut().enumerate() {
        let log = match store.log(&log_id(n as i32)) {
            Some(log) => log,
            None => create(&store, n as i32).await,
        };
        log.set_config(config());
        model.cut_to(log.log_end_offset());
        verify(&log, model, 100_000).await;
    }
    let log = store.log(&log_id(0)).expect("is there");
    // Half of it settles before the device is full, half cannot.
    for _ in 0..rng.random_range(10..60) {
        let bytes = rng.random_range(1..100_000);
        let batch = batch(&mut rng, bytes, models[0].end());
        store.admit(batch.len()).await;
        let header = BatchHeader::read(&batch).expect("a batch");
        let Ok(appended) = log.append(&batch, header, 0) else {
            break;
        };
        models[0].batches.push(stored(batch, header, &appended));
    }
    take_all(&path);
    // What finds no room in the journal either waits until they go; everything else need not.
    let (theirs, patience) = (path.clone(), ring.clone());
    let stay = Duration::from_millis(rng.random_range(0..2_000));
    ring.spawn(async move {
        patience.sleep(stay).await;
        give_back(&theirs);
    });
    fill(&store, &log, &mut models[0], &mut rng).await;
    verify(&log, &models[0], 100_000).await;
    create(&store, 7).await;
    models[0].start = log
        .delete_records(models[0].end() / 2)
        .await
        .expect("deletes records");
    store.delete_log(&log_id(7)).await.expect("is deleted");
    if rng.random_bool(0.7) {
        // Space comes back, and with it everything else.
        give_back(&path);
        models[0].start = log.delete_records(-1).await.expect("deletes records");
        log.retain(i64::MAX).await.expect("retains");
        let other = store.log(&log_id(1)).expect("is there");
        append_again(&ring, &other, &mut models[1], &mut rng).await;
        append_again(&ring, &log, &mut models[0], &mut rng).await;
        if rng.random_bool(0.5) {
            take_all(&path);
        }
    }
    let stopped = store.stop().await.expect("ends");
    Stopped::finish(vec![stopped], &ring).await.expect("ends");
    let clean = store.dirs()[0].offline.is_none();
    println!(
        "stopped {}",
        if clean { "cleanly" } else { "with the journal" }
    );
    models
}

#[test]
fn a_device_that_others_filled_loses_nothing_and_hangs_nobody() {
    let name = "a_device_that_others_filled_loses_nothing_and_hangs_nobody";
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        on_small_device(name);
        return;
    };
    let seed = seed("full");
    let mut models = vec![ModelLog::default(); 2];
    for round in 0..CYCLES as u64 / 2 {
        println!("round {round}");
        let (path, taken) = (dir.clone(), models);
        let core = move || block_on(move |ring| really_full(ring, path, seed + round, taken));
        models = watched("a device without space", core);
        if dir.join("somebody-elses").exists() {
            give_back(&dir);
        }
        // Room for the next round.
        let path = dir.clone();
        let ends = watched("a start after it", move || {
            block_on(move |ring| async move {
                let store = start(&ring, small(&path, JOURNAL)).await;
                let mut ends = Vec::new();
                for n in [0, 1] {
                    let log = store.log(&log_id(n)).expect("is there");
                    log.set_config(config());
                    ends.push(log.delete_records(-1).await.expect("deletes records"));
                    log.retain(i64::MAX).await.expect("retains");
                }
                if round % 2 == 0 {
                    stop(&ring, &store).await;
                }
                ends
            })
        });
        for (model, end) in models.iter_mut().zip(ends) {
            model.cut_to(end);
            model.start = end;
            // What is deleted does not come back, nor go on before its end.
            model.batches.retain(|b| b.next == end);
        }
    }
}

/// Nobody asks for admission: more than the journal holds, so that batches that found no room stand before whatever comes
/// next. All that was taken is returned, flushed or not.
async fn fill_the_journal(
    ring: &Ring,
    logs: &[Rc<Log>],
    models: &mut [ModelLog],
    rng: &mut ChaCha8Rng,
) {
    let mut refused = false;
    for n in 0.. {
        let which = n % logs.len();
        let batch = batch(rng, 60_000, models[which].end());
        let header = BatchHeader::read(&batch).expect("a batch");
        match logs[which].append_from_reserve(&batch, header, 0) {
            Ok(appended) => models[which].batches.push(stored(batch, header, &appended)),
            Err(AppendError::NoSpace) if refused => return,
            Err(AppendError::NoSpace) => refused = true,
            Err(other) => panic!("{other}"),
        }
        if n % 50 == 49 || refused {
            ring.sleep(Duration::from_millis(if refused { 2_000 } else { 20 }))
                .await;
        }
    }
}

/// Not a byte is left, the journal is full, and neither changes by itself: topics can still be deleted, which is how space
/// comes back, and nothing else waits for ever.
async fn full_for_good(ring: Ring, path: PathBuf, seed: u64) -> Vec<ModelLog> {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    let mut rng = rng(seed);
    let store = start(&ring, small(&path, RESERVE)).await;
    let mut models = vec![ModelLog::default(); 4];
    let mut logs = Vec::new();
    for n in 0..4 {
        logs.push(create(&store, n).await);
    }
    // What will be deleted has segments.
    for _ in 0..160 {
        let batch = batch(&mut rng, 100_000, models[0].end());
        store.admit(batch.len()).await;
        let (appended, stored) = append(&logs[0], &batch, 0);
        models[0].batches.push(stored);
        store.wait(appended.ticket).await.expect("flushed");
    }
    take_all(&path);
    fill_the_journal(&ring, &logs[..2], &mut models[..2], &mut rng).await;
    println!("the journal is full");
    // Until only deletions of logs find room: answered, whatever the answer.
    let created = store.create_log(TOPIC, log_id(8), 0, 0, config()).await;
    let refused = matches!(created, Err(StoreError::NoSpace));
    assert!(created.is_ok() || refused, "{:?}", created.err());
    let mut moves = 0;
    while models[1].batches[moves].next < logs[1].flushed_end_offset() {
        let next = models[1].batches[moves].next;
        let Ok(start) = logs[1].delete_records(next).await else {
            break;
        };
        models[1].start = start;
        moves += 1;
    }
    for n in [3, 0] {
        store.delete_log(&log_id(n)).await.expect("is deleted");
    }
    println!("records are deleted {moves} times, and logs");
    append_again(&ring, &logs[1], &mut models[1], &mut rng).await;
    append_again(&ring, &logs[2], &mut models[2], &mut rng).await;
    create(&store, 7).await;
    give_back(&path);
    stop(&ring, &store).await;
    assert_eq!(store.dirs()[0].offline, None);
    models
}

#[test]
fn without_a_byte_left_topics_are_deleted_and_space_comes_back() {
    let name = "without_a_byte_left_topics_are_deleted_and_space_comes_back";
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        on_small_device(name);
        return;
    };
    let seed = seed("no byte left");
    let path = dir.clone();
    let models = watched("a device without a byte", move || {
        block_on(move |ring| full_for_good(ring, path, seed))
    });
    watched("a start after it", move || {
        block_on(move |ring| async move {
            let store = start(&ring, small(&dir, RESERVE)).await;
            assert!([0, 3].iter().all(|n| store.log(&log_id(*n)).is_none()));
            for n in [1, 2] {
                let log = store.log(&log_id(n)).expect("is there");
                assert_eq!(log.flushed_end_offset(), models[n as usize].end());
                verify(&log, &models[n as usize], 100_000).await;
            }
            stop(&ring, &store).await;
        })
    });
}

#[test]
fn a_burst_that_the_journal_cannot_hold_goes_through() {
    let dir = temp();
    let seed = seed("burst");
    let path = dir.path().to_owned();
    let model = watched("a burst", move || {
        block_on(move |ring| async move {
            let mut rng = rng(seed);
            let store = start(&ring, options(&path)).await;
            let log = create(&store, 0).await;
            let mut model = ModelLog::default();
            let mut last = None;
            // Nobody asks for admission: 40 MiB wait for 16 of journal.
            for n in 0..800 {
                let (appended, stored) = append(&log, &batch(&mut rng, 50_000 + n, 0), 0);
                model.batches.push(stored);
                last = Some(appended.ticket);
            }
            store.wait(last.expect("appended")).await.expect("flushed");
            model
        })
    });
    let path = dir.path().to_owned();
    watched("a start after a burst", move || {
        block_on(move |ring| async move {
            let store = start(&ring, options(&path)).await;
            let log = store.log(&log_id(0)).expect("is there");
            assert_eq!(log.flushed_end_offset(), model.end());
            verify(&log, &model, 1 << 20).await;
        })
    });
}
