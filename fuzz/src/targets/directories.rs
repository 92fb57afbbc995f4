//! Whole data directories, Kafka's and our own after a crash, with edits in one of their files. Start must refuse or
//! recover; what it recovered starts again without another repair.
//!
//! The first byte chooses the directory, the second the file, the third whether batch checksums are made right; then edits
//! of five bytes each: how (insert, cut, set), where (three bytes, little endian, modulo the length), what.

use std::path::{Path, PathBuf};
use std::{cell::OnceCell, fs};

use millstream_protocol::batch::{BatchBuilder, BatchHeader};
use millstream_protocol::compress::Codec;
use millstream_ring::Ring;
use millstream_ring::sim::{self, Disk, Options};
use millstream_storage::{LogConfig, LogId, Stopped, StorageOptions, Store, open};

use super::Target;
use crate::reseal;

pub const TARGET: Target = Target {
    name: "directories",
    seeds,
    run,
};

/// Where the directory is on the simulated disk: a start costs no more than its own work there.
const DIR: &str = "/data";

/// A directory, and the names of its files.
struct Directory {
    disk: Disk,
    files: Vec<PathBuf>,
}

thread_local! {
    static DIRECTORIES: OnceCell<Vec<Directory>> = const { OnceCell::new() };
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_directories(|directories| {
        for (which, directory) in directories.iter().enumerate() {
            for file in 0..directory.files.len() {
                for seal in 0..2 {
                    let head = [which as u8, file as u8, seal];
                    seeds.push([&head[..], &[0, 40, 0, 0, 0xff]].concat());
                    seeds.push([&head[..], &[2, 17, 0, 0, 1, 2, 57, 0, 0, 9]].concat());
                    seeds.push([&head[..], &[1, 100, 1, 0, 0]].concat());
                }
            }
        }
    });
    seeds
}

/// Kafka's after a clean stop and after a crash, and ours after a crash.
fn with_directories<T>(work: impl FnOnce(&[Directory]) -> T) -> T {
    let make = || {
        let kafka =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/tests/fixtures/kafka-4.3.1");
        let ours = sim::run(Options::new(1, empty()), |ring, _| crashed(ring));
        let disks = [
            copied(&kafka.join("clean")),
            copied(&kafka.join("dirty")),
            ours.disk,
        ];
        let directory = |disk: Disk| Directory {
            files: disk.files().into_iter().map(|(path, _)| path).collect(),
            disk,
        };
        disks.map(directory).into()
    };
    DIRECTORIES.with(|directories| work(directories.get_or_init(make)))
}

fn empty() -> Disk {
    let mut disk = Disk::new(1 << 30);
    disk.create_dir_all(Path::new(DIR)).expect("an empty disk");
    disk
}

/// A directory of this machine's, as it is.
fn copied(from: &Path) -> Disk {
    let mut disk = empty();
    let mut left = vec![from.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).expect("a directory") {
            let path = entry.expect("an entry").path();
            let inside = path.strip_prefix(from).expect("below it");
            let place = Path::new(DIR).join(inside);
            match path.is_dir() {
                true => {
                    disk.create_dir_all(&place).expect("made");
                    left.push(path);
                }
                false => {
                    let bytes = fs::read(&path).expect("a file");
                    disk.create_file(&place, &bytes).expect("written");
                }
            }
        }
    }
    disk
}

fn options() -> StorageOptions {
    StorageOptions {
        cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        journal_file_bytes: 4 << 20,
        tail_bytes: 8 << 20,
        descriptors_max: 64,
        reserve_bytes: Some(0),
        ..StorageOptions::new(vec![PathBuf::from(DIR)])
    }
}

/// Two logs, small and large batches, a roll; then nobody stops it.
async fn crashed(ring: Ring) {
    let (store, _) = start(&ring).await.expect("an empty directory opens");
    for partition in 0..2 {
        let id = LogId {
            topic_id: [5; 16],
            partition,
        };
        let config = LogConfig {
            segment_bytes: 1 << 20,
            ..LogConfig::default()
        };
        let log = store.create_log("mine", id, 0, 0, config).await;
        let log = log.expect("it can be created");
        for round in 0..6 {
            let mut builder = BatchBuilder::new(Codec::None, 5);
            let value = vec![round as u8; [100, 300_000][round % 2 * partition as usize]];
            builder.push(5, Some(b"k"), Some(&value), &[]);
            let batch = builder.finish(0);
            store.admit(batch.len()).await;
            let header = BatchHeader::read(&batch).expect("a batch");
            let appended = log.append(&batch, header, 0).expect("it is taken");
            store.wait(appended.ticket).await.expect("it is flushed");
        }
    }
}

async fn start(ring: &Ring) -> Result<(Store, usize), String> {
    let opened = open(ring, options()).await.map_err(|e| e.to_string())?;
    let logs = opened.logs().count();
    let (seeds, finish) = opened.divide(1, |_| Some(0));
    let mut stores = Vec::new();
    for seed in seeds {
        stores.push(Store::start(ring, seed).await.map_err(|e| e.to_string())?);
    }
    finish.run(ring).await.map_err(|e| e.to_string())?;
    Ok((stores.remove(0), logs))
}

/// What every log says of itself.
fn ends(store: &Store) -> Vec<(LogId, i64, i64)> {
    let mut ends: Vec<_> = store
        .logs()
        .map(|log| (log.id(), log.log_start_offset(), log.log_end_offset()))
        .collect();
    ends.sort();
    ends
}

async fn read_all(store: &Store) {
    for log in store.logs() {
        let mut offset = log.log_start_offset();
        // A damaged batch is an error, not a panic; readers stop there.
        while let Ok(read) = log.read(offset, 1 << 20, log.log_end_offset(), true).await {
            let bytes = read
                .parts
                .iter()
                .map(|part| &part[..])
                .collect::<Vec<_>>()
                .concat();
            let batches = millstream_protocol::batch::Batches::new(&bytes);
            let next = batches
                .map_while(Result::ok)
                .map(|(header, _)| header.next_offset())
                .last();
            match next {
                Some(next) if next > offset => offset = next,
                _ => break,
            }
        }
        let _ = log.offset_for_timestamp(5, log.log_end_offset()).await;
    }
}

fn run(bytes: &[u8]) {
    let [which, file, seal, edits @ ..] = bytes else {
        return;
    };
    let disk = with_directories(|directories| {
        let directory = &directories[usize::from(*which) % directories.len()];
        let edited = &directory.files[usize::from(*file) % directory.files.len()];
        let mut disk = directory.disk.clone();
        let bytes = disk.read(edited).expect("a file");
        let edited_bytes = edit(&bytes, edits, seal & 1 != 0);
        disk.damage(edited, &edited_bytes).expect("a file");
        disk
    });
    let (first, disk) = cycle(disk, false);
    if let Ok(ends) = first {
        let (second, _) = cycle(disk, true);
        assert_eq!(second, Ok(ends), "a second start says something else");
    }
}

/// What each log says of itself, or why the start was refused.
type Ends = Result<Vec<(LogId, i64, i64)>, String>;

/// Start, read, and a clean stop, or none: the process ends.
fn cycle(disk: Disk, stops: bool) -> (Ends, Disk) {
    let outcome = sim::run(Options::new(1, disk), move |ring, _| async move {
        let (store, _) = start(&ring).await?;
        let ends = ends(&store);
        read_all(&store).await;
        if stops {
            let stopped = store.stop().await.map_err(|e| e.to_string())?;
            let finished = Stopped::finish(vec![stopped], &ring).await;
            finished.map_err(|e| e.to_string())?;
        }
        Ok(ends)
    });
    let value = outcome
        .value
        .unwrap_or_else(|end| panic!("it hangs: {end:?}"));
    (value, outcome.disk)
}

fn edit(bytes: &[u8], edits: &[u8], seal: bool) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits.chunks_exact(5).take(8) {
        let at = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize;
        let at = at % (bytes.len() + 1);
        match edit[0] % 4 {
            0 => bytes.insert(at, edit[4]),
            1 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] = edit[4],
            _ => {}
        }
    }
    if seal {
        reseal::batches(&mut bytes);
    }
    bytes
}
