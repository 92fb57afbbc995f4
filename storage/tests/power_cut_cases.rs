//! What power cuts at random moments have found, each as the shortest way there.

#[path = "power_cut/model.rs"]
mod model;

use std::collections::btree_map::Entry;
use std::path::Path;
use std::rc::Rc;

use millstream_protocol::batch::BatchBuilder;
use millstream_protocol::compress::Codec;
use millstream_ring::sim::{self, Controls, Disk, Options};
use millstream_ring::{Ring, fs};
use millstream_storage::{Log, LogConfig, LogId, Stopped, StorageOptions, Store, open};
use model::{Life, Model, ModelLog, append, batch, config, options, verify};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const DIR: &str = "/data";
const ID: LogId = LogId {
    topic_id: [7; 16],
    partition: 0,
};
/// So many fates of what no flush covers are tried for each case.
const FATES: u64 = 20;

/// One log, and the model of it.
struct Case {
    ring: Ring,
    store: Store,
    log: Rc<Log>,
    model: ModelLog,
    rng: ChaCha8Rng,
}

impl Case {
    async fn start(ring: Ring, model: Option<ModelLog>) -> Case {
        let opened = open(&ring, options(&[DIR])).await.expect("opens");
        let (seeds, finish) = opened.divide(1, |_| Some(0));
        let seed = seeds.into_iter().next().expect("one core");
        let store = Store::start(&ring, seed).await.expect("starts");
        finish.run(&ring).await.expect("has authority");
        let (log, model) = match model {
            Some(model) => {
                let all = Model::from([(0, model.clone())]);
                verify(std::slice::from_ref(&store), &all).await;
                (store.log(&ID).expect("verified"), model)
            }
            None => {
                let mut model = ModelLog::new("case".to_owned(), ID);
                model.life = Life::Live;
                let log = store.create_log("case", ID, 0, 0, config()).await;
                (log.expect("creates"), model)
            }
        };
        log.set_config(config());
        let rng = ChaCha8Rng::seed_from_u64(7);
        Case {
            ring,
            store,
            log,
            model,
            rng,
        }
    }

    async fn append(&mut self, bytes: usize) {
        let bytes = batch(&mut self.rng, &mut self.model, bytes);
        self.append_batch(&bytes).await;
    }

    async fn append_batch(&mut self, bytes: &[u8]) {
        self.store.admit(bytes.len()).await;
        let (ticket, stored) = append(&self.log, bytes, 0);
        self.model.batches.push(stored);
        self.store.wait(ticket).await.expect("flushed");
        self.model.acked = self.model.end();
    }

    async fn delete_all(&mut self) {
        let end = self.log.delete_records(-1).await.expect("deletes");
        self.log.set_config(LogConfig {
            retention_bytes: 0,
            ..config()
        });
        self.log.retain(0).await.expect("retains");
        self.log.set_config(config());
        (self.model.start, self.model.start_max) = (end, end);
    }

    async fn stop(&self) {
        let entries = self.model.snapshot();
        self.log
            .set_snapshot_source(Box::new(move || entries.clone()));
        let stopped = self.store.stop().await.expect("stops");
        let done = Stopped::finish(vec![stopped], &self.ring).await;
        done.expect("is marked clean");
    }
}

/// A part of a case: works on the log, and says whether it ends with a clean stop.
type Part = fn(&mut Case) -> std::pin::Pin<Box<dyn Future<Output = bool> + '_>>;

/// Runs the parts one after another with a start before each, and compares after each start.
fn play(parts: &[Part]) {
    for fate in 0..FATES {
        let mut disk = Disk::new(1 << 30);
        disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
        let mut model = None;
        for part in parts.iter().copied().chain([nothing as Part]) {
            let main = move |ring: Ring, controls: Controls| async move {
                let mut case = Case::start(ring, model).await;
                let clean = part(&mut case).await;
                if clean {
                    case.stop().await;
                }
                (case.model, controls.power_cut().disk(fate))
            };
            let outcome = sim::run(Options::new(fate, disk), main);
            let (known, left) = outcome.value.expect("no hang");
            (model, disk) = (Some(known), left);
        }
    }
}

fn nothing(_: &mut Case) -> std::pin::Pin<Box<dyn Future<Output = bool> + '_>> {
    Box::pin(async { false })
}

/// A batch of exactly `bytes` bytes.
fn exactly(bytes: usize) -> Vec<u8> {
    let of = |value: usize| {
        let mut builder = BatchBuilder::new(Codec::None, 1);
        builder.push(1, None, Some(&vec![9; value]), &[]);
        builder.finish(0)
    };
    let overhead = of(bytes - 100).len() - (bytes - 100);
    let batch = of(bytes - overhead);
    assert_eq!(batch.len(), bytes);
    batch
}

/// Recovery wrote the bytes of the second segment into the file of the first.
#[test]
fn a_segment_that_ends_with_a_block_is_not_joined_to_the_next() {
    play(&[|case| {
        Box::pin(async {
            let segment = config().segment_bytes as usize;
            for _ in 0..8 {
                case.append_batch(&exactly(segment / 8)).await;
            }
            case.append(40_000).await;
            // Rolled again: the run does not reach the end of the log.
            case.append_batch(&exactly(230_000)).await;
            case.append(3_000).await;
            false
        })
    }]);
}

/// Recovery brought the deleted segment back as the active one; its file was gone.
#[test]
fn a_log_that_was_emptied_begins_a_new_segment() {
    play(&[
        |case| {
            Box::pin(async {
                for _ in 0..20 {
                    case.append(20_000).await;
                }
                case.delete_all().await;
                false
            })
        },
        |case| {
            Box::pin(async {
                case.append(2_000).await;
                case.append(100_000).await;
                case.delete_all().await;
                case.append(2_000).await;
                true
            })
        },
    ]);
}

/// The state of a producer came from a snapshot below the log start, from long before its last batch; and a batch that
/// the log start lies in told nothing of its producer.
#[test]
fn producers_are_known_by_what_is_left_of_the_log() {
    play(&[
        |case| {
            Box::pin(async {
                for _ in 0..8 {
                    case.append(2_000).await;
                }
                true
            })
        },
        |case| {
            Box::pin(async {
                for _ in 0..30 {
                    case.append(2_000).await;
                }
                let mut last = BatchBuilder::new(Codec::None, 1).producer(9, 0, 4);
                for n in 0..3 {
                    last.push(n, None, Some(b"value"), &[]);
                }
                case.append_batch(&last.finish(0)).await;
                // Into the middle of that batch.
                let to = case.model.end() - 1;
                case.log.delete_records(to).await.expect("deletes");
                (case.model.start, case.model.start_max) = (to, to);
                false
            })
        },
    ]);
}

/// Little of many logs: the journal grows before anything of them is settled. Starts carry all of it, and go on with as many
/// files.
#[test]
fn a_journal_that_grew_is_read_back_whole() {
    for fate in 0..FATES / 4 {
        let mut disk = Disk::new(1 << 30);
        disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
        let mut model = Model::new();
        for session in 0..4 {
            let main = move |ring: Ring, controls: Controls| async move {
                let model = many_logs(&ring, model).await;
                if session == 0 {
                    let list = fs::list(Path::new(DIR)).expect("lists");
                    let journal = |name: &str| name.starts_with(".millstream-journal");
                    let names = list.iter().map(|entry| entry.name.to_string_lossy());
                    let files = names.filter(|name| journal(name)).count();
                    assert!(
                        files > options(&[DIR]).journal_files,
                        "it has {files} files"
                    );
                }
                (model, controls.power_cut().disk(fate + session))
            };
            let outcome = sim::run(Options::new(fate, disk), main);
            (model, disk) = outcome.value.expect("no hang");
        }
    }
}

/// Starts, compares, and writes some 9 MB to 24 logs in turn.
async fn many_logs(ring: &Ring, mut model: Model) -> Model {
    let options = StorageOptions {
        journal_bytes_max: 24 << 20,
        tail_bytes: 64 << 20,
        ..options(&[DIR])
    };
    let opened = open(ring, options).await.expect("opens");
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let seed = seeds.into_iter().next().expect("one core");
    let store = Store::start(ring, seed).await.expect("starts");
    finish.run(ring).await.expect("has authority");
    verify(std::slice::from_ref(&store), &model).await;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for n in 0..24 {
        let id = LogId { partition: n, ..ID };
        if let Entry::Vacant(place) = model.entry(n) {
            let mut log = ModelLog::new("case".to_owned(), id);
            log.life = Life::Live;
            place.insert(log);
            let created = store.create_log("case", id, 0, 0, LogConfig::default());
            created.await.expect("creates");
        }
    }
    for _ in 0..32 {
        let mut last = None;
        for log in model.values_mut() {
            let bytes = batch(&mut rng, log, 12_000);
            store.admit(bytes.len()).await;
            let (ticket, stored) = append(&store.log(&log.id).expect("there"), &bytes, 0);
            log.batches.push(stored);
            last = Some(ticket);
        }
        store.wait(last.expect("appended")).await.expect("flushed");
        model.values_mut().for_each(|log| log.acked = log.end());
    }
    model
}
