//! A disk that fails or fills up: no acknowledgement after a failed write or flush, never a second flush of the same
//! data, the directory offline and the others going on; and a full disk that lets everybody go on once there is room.
//!
//! On a simulated disk, where a hang is a result and not a wait. `MILLSTREAM_SEED` repeats a failure.

#[path = "power_cut/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::sim::{self, Controls, Disk, Fault, Kind, Options};
use millstream_ring::{Bytes, File, Open, Ring, fs};
use millstream_storage::{AppendError, Log, LogConfig, LogId, StorageOptions, Store, open};
use model::{Life, Model, ModelLog, Stored, batch, config, options, verify};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const EIO: i32 = 5;
/// Each kind of operation fails at each of its first so many uses.
const FAULTS: u64 = 40;
/// Times that the disk fills up and is emptied.
const CYCLES: usize = 50;

fn seed(name: &str) -> u64 {
    let given = std::env::var("MILLSTREAM_SEED").ok();
    let seed = given.and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("{name}: MILLSTREAM_SEED={seed}");
    seed
}

fn disk(dirs: &[&str], bytes: u64) -> Disk {
    let mut disk = Disk::new(bytes);
    for dir in dirs {
        disk.create_dir_all(Path::new(dir)).expect("an empty disk");
    }
    disk
}

async fn start(ring: &Ring, options: StorageOptions) -> Store {
    let opened = open(ring, options).await.expect("opens");
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let seed = seeds.into_iter().next().expect("one core");
    let store = Store::start(ring, seed).await.expect("starts");
    finish.run(ring).await.expect("has authority");
    store
}

/// A log in directory `dir`, also in the model.
async fn create(store: &Store, model: &mut Model, n: i32, dir: usize) -> Rc<Log> {
    let id = LogId {
        topic_id: [n as u8 + 1; 16],
        partition: 0,
    };
    let mut expected = ModelLog::new(format!("topic{n}"), id);
    let topic = expected.topic.clone();
    let log = store.create_log(&topic, id, dir, 0, config()).await;
    expected.life = Life::Live;
    model.insert(n, expected);
    log.expect("creates")
}

/// Appends; `None` when the log refuses.
fn append(
    log: &Log,
    rng: &mut ChaCha8Rng,
    model: &mut ModelLog,
    bytes: usize,
) -> Option<millstream_storage::Ticket> {
    let bytes = batch(rng, model, bytes);
    let mut header = millstream_protocol::batch::BatchHeader::read(&bytes).expect("a batch");
    let appended = match log.append(&bytes, header, 0) {
        Ok(appended) => appended,
        Err(AppendError::Offline(_) | AppendError::NoSpace) => return None,
        Err(other) => panic!("append: {other}"),
    };
    header.base_offset = appended.base_offset;
    header.partition_leader_epoch = 0;
    let mut head = [0; 61];
    header.write(&mut head);
    let mut stored = bytes;
    stored[..61].copy_from_slice(&head);
    model.batches.push(Stored {
        header,
        bytes: stored.into(),
    });
    Some(appended.ticket)
}

#[test]
fn a_failed_write_or_flush_takes_its_directory_offline_and_no_other() {
    let seed = seed("faults");
    let mut struck = BTreeMap::new();
    for crowded in [false, true] {
        for kind in [Kind::Write, Kind::Sync, Kind::SyncDir, Kind::Metadata] {
            for after in 0..FAULTS {
                if one_fault(seed.wrapping_add(after), kind, after, crowded) {
                    *struck.entry(format!("{kind:?}")).or_insert(0) += 1;
                }
            }
        }
    }
    println!("directories that went offline, by what failed: {struck:?}");
    assert!(struck["Write"] > 0);
    assert!(struck["Sync"] > 0);
}

/// Answers whether the first directory went offline.
fn one_fault(seed: u64, kind: Kind, after: u64, crowded: bool) -> bool {
    const DIRS: [&str; 2] = ["/one", "/two"];
    let what = format!("MILLSTREAM_SEED={seed} {kind:?} {after}, crowded: {crowded}");
    let options = Options::new(seed, disk(&DIRS, 1 << 30));
    let outcome = sim::run(options, move |ring, controls| {
        let what = what.clone();
        async move {
            let fault = fault(kind, after);
            session_with_fault(&ring, controls, seed, fault, crowded, &what).await
        }
    });
    let (offline, model, left) = outcome.value.expect("no hang");
    assert_eq!(
        outcome.syncs_after_failure, 0,
        "{kind:?} {after}: a second flush"
    );
    // After the restart the disk is well again, and everything acknowledged is there.
    let restart = sim::run(Options::new(seed, left), move |ring, _| async move {
        let store = start(&ring, self::options(&DIRS)).await;
        verify(std::slice::from_ref(&store), &model).await;
    });
    restart.value.expect("no hang");
    offline
}

/// Appends that do not wait for each other, some of them enough for an entry of their own.
async fn crowd(
    ring: &Ring,
    store: &Store,
    logs: &[Rc<Log>],
    rng: &mut ChaCha8Rng,
    model: &mut Model,
    what: &str,
) {
    let mut tickets = Vec::new();
    for turn in 0..24 {
        let n = turn % logs.len();
        let bytes = *[2_000, 40_000, 63_000].choose(rng).expect("three sizes");
        store.admit(bytes).await;
        let log = model.get_mut(&(n as i32)).expect("made above");
        let Some(ticket) = append(&logs[n], rng, log, bytes) else {
            assert!(
                store.dirs()[n % 2].offline.is_some(),
                "{what}: refused while online"
            );
            continue;
        };
        tickets.push((n, ticket, log.end()));
        ring.sleep(Duration::from_micros(rng.random_range(0..100)))
            .await;
    }
    for (n, ticket, end) in tickets {
        match store.wait(ticket).await {
            Ok(()) => model.get_mut(&(n as i32)).expect("made above").acked = end,
            Err(_) => assert!(store.dirs()[n % 2].offline.is_some(), "{what}"),
        }
    }
}

fn fault(kind: Kind, after: u64) -> Fault {
    Fault {
        kind,
        path: "/one".to_owned(),
        after,
        times: 1,
        errno: EIO,
    }
}

/// `crowded`: several entries of each journal are on their way at a time.
async fn session_with_fault(
    ring: &Ring,
    controls: Controls,
    seed: u64,
    fault: Fault,
    crowded: bool,
    what: &str,
) -> (bool, Model, Disk) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let store = start(ring, options(&["/one", "/two"])).await;
    let mut model = Model::new();
    let mut logs = Vec::new();
    for n in 0..4 {
        logs.push(create(&store, &mut model, n, n as usize % 2).await);
    }
    controls.fail(fault);
    let rounds = if crowded { 15 } else { 60 };
    for round in 0..rounds {
        if crowded {
            crowd(ring, &store, &logs, &mut rng, &mut model, what).await;
            continue;
        }
        for (n, log) in logs.iter().enumerate() {
            let bytes = if round % 5 == n { 150_000 } else { 2_000 };
            store.admit(bytes).await;
            let model = model.get_mut(&(n as i32)).expect("made above");
            let Some(ticket) = append(log, &mut rng, model, bytes) else {
                assert!(
                    store.dirs()[n % 2].offline.is_some(),
                    "{what}: refused while online"
                );
                continue;
            };
            match store.wait(ticket).await {
                Ok(()) => model.acked = model.end(),
                Err(_) => assert!(store.dirs()[n % 2].offline.is_some(), "{what}"),
            }
        }
    }
    let dirs = store.dirs();
    assert!(
        dirs[1].offline.is_none(),
        "{what}: the other directory went offline too"
    );
    for n in [1, 3] {
        assert_eq!(
            model[&n].acked,
            model[&n].end(),
            "{what}: the other directory goes on"
        );
    }
    if dirs[0].offline.is_some() {
        let log = &logs[0];
        assert!(
            append(log, &mut rng, &mut model[&0].clone(), 100).is_none(),
            "{what}"
        );
        assert!(
            log.read(0, 100, i64::MAX, true).await.is_err(),
            "{what}: a read offline"
        );
    }
    (
        dirs[0].offline.is_some(),
        model,
        controls.power_cut().disk(seed),
    )
}

#[test]
fn a_log_start_whose_flush_failed_is_answered_to_nobody() {
    let seed = seed("log start");
    let options = Options::new(seed, disk(&["/one"], 1 << 30));
    let outcome = sim::run(options, move |ring, controls| async move {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let store = start(&ring, self::options(&["/one"])).await;
        let mut model = Model::new();
        let log = create(&store, &mut model, 0, 0).await;
        let model = model.get_mut(&0).expect("made above");
        let ticket = append(&log, &mut rng, model, 5_000).expect("there is room");
        store.wait(ticket).await.expect("it is flushed");
        controls.fail(Fault {
            kind: Kind::Sync,
            path: "/one".to_owned(),
            after: 0,
            times: 1,
            errno: EIO,
        });
        let end = log.flushed_end_offset();
        let first = log.delete_records(end).await;
        assert!(first.is_err(), "{first:?}");
        // Finds the start where it should be, and no more flushed than before.
        let second = log.delete_records(end).await;
        assert!(second.is_err(), "asked again: {second:?}");
        let retained = log.retain(0).await;
        assert!(retained.is_err(), "no file goes: {retained:?}");
    });
    outcome.value.expect("no hang");
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let seed = seed("full");
    // Two journal files' worth of room for data.
    let options = Options::new(seed, disk(&["/one"], 40 << 20));
    let outcome = sim::run(
        options,
        move |ring, _| async move { cycles(&ring, seed).await },
    );
    let refused = outcome.value.expect("no hang");
    println!(
        "{CYCLES} cycles in {:?} of simulated time, {refused} refusals",
        outcome.took
    );
    assert!(refused >= CYCLES);
}

async fn cycles(ring: &Ring, seed: u64) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut options = options(&["/one"]);
    options.reserve_bytes = Some(4 << 20);
    let store = start(ring, options).await;
    let mut model = Model::new();
    let mut logs = Vec::new();
    for n in 0..3 {
        logs.push(create(&store, &mut model, n, 0).await);
    }
    let mut refused = 0;
    for _ in 0..CYCLES {
        fill(ring, &store, &logs, &mut model, &mut rng).await;
        refused += 1;
        // Reads go on while it is full.
        for (n, log) in logs.iter().enumerate() {
            model::verify_bytes(log, &model[&(n as i32)], "full").await;
        }
        for (n, log) in logs.iter().enumerate() {
            let start = log
                .delete_records(-1)
                .await
                .expect("deletes while it is full");
            log.set_config(LogConfig {
                retention_bytes: 0,
                ..config()
            });
            log.retain(0).await.expect("retains while it is full");
            log.set_config(config());
            let expected = model.get_mut(&(n as i32)).expect("made above");
            (expected.start, expected.start_max) = (start, start);
            expected.batches.retain(|batch| batch.next() > start);
        }
        // A segment that is being settled goes at the next call; the space is looked at once a second.
        for _ in 0..5 {
            ring.sleep(Duration::from_secs(2)).await;
            for log in &logs {
                log.retain(0).await.expect("retains");
            }
        }
    }
    refused
}

/// Appends until it is refused.
async fn fill(
    ring: &Ring,
    store: &Store,
    logs: &[Rc<Log>],
    model: &mut Model,
    rng: &mut ChaCha8Rng,
) {
    for round in 0.. {
        let n = rng.random_range(0..logs.len());
        let bytes = if rng.random_ratio(1, 4) {
            200_000
        } else {
            5_000
        };
        store.admit(bytes).await;
        let expected = model.get_mut(&(n as i32)).expect("made above");
        let Some(ticket) = append(&logs[n], rng, expected, bytes) else {
            assert_eq!(store.dirs()[0].offline, None, "full is not offline");
            assert!(round > 0, "nothing at all could be appended");
            return;
        };
        if store.wait(ticket).await.is_err() {
            panic!("full is not offline: {:?}", store.dirs()[0].offline);
        }
        expected.acked = expected.end();
        if round % 16 == 0 {
            ring.sleep(Duration::from_millis(200)).await;
        }
    }
}

#[test]
fn a_durable_write_covers_itself_and_no_other() {
    let lost = (0..40).filter(|seed| !first_write_survives(*seed)).count();
    assert!(lost > 0, "a power cut loses what no flush covers");
}

/// Two writes, the second one durable, and a power cut: whether the first is still there. The second has to be.
fn first_write_survives(seed: u64) -> bool {
    const AT: [u64; 2] = [0, 8192];
    let path = Path::new("/one/file");
    let how = Open {
        read: true,
        write: true,
        create: true,
        ..Open::default()
    };
    let options = Options::new(seed, disk(&["/one"], 1 << 20));
    let cut = sim::run(options, move |ring, controls| async move {
        let file = File::open(&ring, path, how).await.expect("opens");
        let zeros = vec![Bytes::from_static(&[0; 16384])];
        file.write_durably_at(zeros, 0).await.expect("writes");
        fs::sync_dir(&ring, Path::new("/one")).await.expect("syncs");
        let ones = || vec![Bytes::from_static(&[1; 4096])];
        file.write_at(ones(), AT[0]).await.expect("writes");
        file.write_durably_at(ones(), AT[1]).await.expect("writes");
        controls.power_cut().disk(seed)
    });
    let after = Options::new(seed, cut.value.expect("no hang"));
    let found = sim::run(after, move |ring, _| async move {
        let file = File::open(&ring, path, how).await.expect("opens");
        let bytes = file.read_at(0, 16384).await.expect("reads");
        AT.map(|at| bytes[at as usize..][..4096].iter().all(|byte| *byte == 1))
    });
    let [first, second] = found.value.expect("no hang");
    assert!(second, "seed {seed}: the flushed write is gone");
    first
}
