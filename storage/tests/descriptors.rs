//! A process without descriptors: what needs a file waits, nothing is lost, nothing is taken for a broken disk.

mod harness;

use std::process::Command;
use std::time::Duration;

use harness::*;
use millstream_ring::block_on;
use millstream_storage::StorageOptions;
use rand::Rng;

/// Set for the inner run, which has few descriptors.
const FEW: &str = "MILLSTREAM_FEW_DESCRIPTORS";

#[test]
fn a_lack_of_descriptors_is_waited_for() {
    let name = "a_lack_of_descriptors_is_waited_for";
    if std::env::var_os(FEW).is_none() {
        let exe = std::env::current_exe().expect("this binary");
        let script = format!("ulimit -n 64; {FEW}=1 exec \"$0\" --exact {name} --nocapture");
        let ended = Command::new("sh").args(["-c", &script]).arg(exe).status();
        assert!(
            ended.expect("sh runs").success(),
            "with 64 descriptors, see above"
        );
        return;
    }
    let dir = temp();
    let path = dir.path().to_owned();
    let seed = seed("descriptors");
    let models = watched("a lack of descriptors", move || {
        block_on(move |ring| async move {
            let mut rng = rng(seed);
            // More than the process may have: what is kept open for later has to go when something else lacks one.
            let too_many = StorageOptions {
                descriptors_max: 1000,
                ..options(&path)
            };
            let store = start(&ring, too_many).await;
            let mut models = vec![ModelLog::default(); 60];
            for n in 0..models.len() as i32 {
                let created = store.create_log(TOPIC, log_id(n), 0, 0, config());
                created.await.expect("creates");
            }
            for _ in 0..4 {
                // Somebody else takes them all for a while. They come back by themselves: appends may have to wait for
                // settling, which waits for descriptors.
                let mut taken = Vec::new();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    taken.push(file);
                }
                let stay = Duration::from_millis(rng.random_range(0..500));
                let patience = ring.clone();
                ring.spawn(async move {
                    patience.sleep(stay).await;
                    drop(taken);
                });
                let mut last = None;
                for (n, model) in models.iter_mut().enumerate() {
                    let log = store.log(&log_id(n as i32)).expect("is there");
                    let bytes = rng.random_range(1..150_000);
                    let batch = batch(&mut rng, bytes, 0);
                    store.admit(batch.len()).await;
                    let (appended, stored) = append(&log, &batch, 0);
                    model.batches.push(stored);
                    last = Some(appended.ticket);
                }
                store.wait(last.expect("appended")).await.expect("flushed");
                // Also what is in the background.
                ring.sleep(stay).await;
            }
            assert_eq!(store.dirs()[0].offline, None);
            models
        })
    });
    // With a bound that fits the limit: everything is there, and a clean stop finds the descriptors it needs.
    watched("the next start", move || {
        block_on(move |ring| async move {
            let fits = StorageOptions {
                descriptors_max: 16,
                ..options(dir.path())
            };
            let store = start(&ring, fits).await;
            for (n, model) in models.iter().enumerate() {
                let log = store.log(&log_id(n as i32)).expect("is there");
                verify(&log, model, 100_000).await;
            }
            // The stop waits as well.
            let mut taken = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                taken.push(file);
            }
            let patience = ring.clone();
            ring.spawn(async move {
                patience.sleep(Duration::from_millis(700)).await;
                drop(taken);
            });
            stop(&ring, &store).await;
            assert_eq!(store.dirs()[0].offline, None);
            assert!(dir.path().join(".kafka_cleanshutdown").exists());
        })
    });
}
