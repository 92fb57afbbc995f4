//! Files, directories and locks, on a real file system.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use millstream_ring::{
    BLOCK, Block, Buffer, Bytes, CoreOptions, DirLock, File, Open, Ring, block_on, fs, start,
};
use tempfile::TempDir;

const WRITE: Open = Open {
    read: true,
    write: true,
    create: true,
    create_new: false,
    truncate: false,
    direct: false,
    random: false,
};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A directory with direct I/O: the build's own, because /tmp may be a tmpfs.
fn disk_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn what_was_written_is_read() {
    block_on(async |ring: Ring| {
        let dir = dir();
        let file = File::open(&ring, &dir.path().join("f"), WRITE)
            .await
            .unwrap();
        file.write_at(vec![], 0).await.unwrap();
        file.write_at(vec![Bytes::from_static(b"world")], 6)
            .await
            .unwrap();
        let parts = vec![
            Bytes::from_static(b"he"),
            Bytes::new(),
            Bytes::from(b"llo".to_vec()),
            Bytes::from_static(b" "),
        ];
        file.write_at(parts, 0).await.unwrap();
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();
        assert_eq!(&file.read_at(0, 11).await.unwrap()[..], b"hello world");
        assert_eq!(
            &file.read_at(6, 100).await.unwrap()[..],
            b"world",
            "short at the end of the file"
        );
        assert!(file.read_at(50, 10).await.unwrap().is_empty());
        assert_eq!(file.len().await.unwrap(), 11);
        file.set_len(5).await.unwrap();
        assert_eq!(&file.read_at(0, 11).await.unwrap()[..], b"hello");
        file.allocate(0, 8192).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 8192);
    });
}

#[test]
fn what_is_written_and_flushed_in_one_is_read() {
    block_on(async |ring: Ring| {
        let dir = disk_dir();
        let path = dir.path().join("f");
        let direct = Open {
            direct: true,
            ..WRITE
        };
        let file = File::open(&ring, &path, direct).await.unwrap();
        let mut block = Block::new(2 * BLOCK);
        block.append(&[1; BLOCK]);
        block.append(&[2; BLOCK]);
        // The second block before the first.
        let parts = vec![block.view(BLOCK..2 * BLOCK), block.view(0..BLOCK)];
        file.write_durably_at(parts, 0).await.unwrap();
        let one = vec![block.view(BLOCK..2 * BLOCK)];
        file.write_durably_at(one, 2 * BLOCK as u64).await.unwrap();
        let read = file.read_at(0, 3 * BLOCK).await.unwrap();
        assert_eq!(&read[..], [[2; BLOCK], [1; BLOCK], [2; BLOCK]].concat());
        let read_only = Open {
            read: true,
            ..Open::default()
        };
        let file = File::open(&ring, &path, read_only).await.unwrap();
        let refused = file.write_durably_at(vec![Bytes::from_static(b"x")], 0);
        assert_eq!(refused.await.unwrap_err().raw_os_error(), Some(9), "EBADF");
    });
}

#[test]
fn long_gather_lists_are_written_whole() {
    block_on(async |ring: Ring| {
        let dir = dir();
        let file = File::open(&ring, &dir.path().join("f"), WRITE)
            .await
            .unwrap();
        let parts: Vec<Bytes> = (0..5000u32)
            .map(|i| Bytes::from(i.to_be_bytes().repeat(7)))
            .collect();
        let expected: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        file.write_at(parts, 3).await.unwrap();
        assert_eq!(
            &file.read_at(3, expected.len()).await.unwrap()[..],
            &expected[..]
        );
    });
}

#[test]
fn direct_writes_of_a_blocks_views() {
    block_on(async |ring: Ring| {
        let dir = disk_dir();
        let path = dir.path().join("f");
        let direct = fs::direct_io(&ring, dir.path()).await.unwrap();
        assert_eq!(
            fs::list(dir.path()).unwrap(),
            [],
            "the probe leaves nothing behind"
        );
        let how = Open {
            direct: direct.is_some(),
            ..WRITE
        };
        let file = File::open(&ring, &path, how).await.unwrap();
        file.allocate(0, 1 << 20).await.unwrap();
        let mut block = Block::new(4 * BLOCK);
        block.append(&[7; 2 * BLOCK]);
        let first = block.view(0..2 * BLOCK);
        block.append(&[8; 10]);
        file.write_at(vec![first], 0).await.unwrap();
        file.write_at(vec![block.seal()], 2 * BLOCK as u64)
            .await
            .unwrap();
        file.sync_data().await.unwrap();
        let back = file.read_at(0, 5 * BLOCK).await.unwrap();
        assert!(back[..4 * BLOCK].iter().all(|b| *b == 7));
        assert_eq!(&back[4 * BLOCK..4 * BLOCK + 10], [8; 10]);
        assert!(back[4 * BLOCK + 10..].iter().all(|b| *b == 0));
        // A direct read past an odd end stops there.
        file.set_len(BLOCK as u64 + 100).await.unwrap();
        assert_eq!(file.read_at(0, 4 * BLOCK).await.unwrap().len(), BLOCK + 100);
    });
}

/// Far more operations than the submission queue takes (and, in the second round, than the completion
/// queue takes), started before any is awaited.
#[test]
fn many_operations_at_once() {
    const OPERATIONS: u64 = 5000;
    for entries in [1024, 64] {
        let core = start(
            CoreOptions {
                entries,
                ..CoreOptions::default()
            },
            async |ring: Ring| {
                let dir = dir();
                let file = File::open(&ring, &dir.path().join("f"), WRITE)
                    .await
                    .unwrap();
                let left = Rc::new(Cell::new(OPERATIONS));
                for i in 0..OPERATIONS {
                    let (file, left) = (file.clone(), left.clone());
                    ring.spawn(async move {
                        file.write_at(vec![Bytes::from(i.to_le_bytes().to_vec())], i * 8)
                            .await
                            .unwrap();
                        left.set(left.get() - 1);
                    });
                }
                while left.get() > 0 {
                    ring.sleep(Duration::from_millis(1)).await;
                }
                let all = file.read_at(0, OPERATIONS as usize * 8).await.unwrap();
                for (i, bytes) in all.chunks(8).enumerate() {
                    assert_eq!(bytes, (i as u64).to_le_bytes());
                }
            },
        );
        core.unwrap().join().unwrap();
    }
}

#[test]
fn a_dropped_write_still_happens_and_owns_its_bytes() {
    block_on(async |ring: Ring| {
        let dir = dir();
        let file = File::open(&ring, &dir.path().join("f"), WRITE)
            .await
            .unwrap();
        for round in 1..50u8 {
            let mut buffer = Buffer::with_capacity(64 << 10);
            buffer.resize_zeroed(64 << 10);
            buffer.fill(round);
            {
                let mut write = std::pin::pin!(file.write_at(vec![buffer.freeze()], 0));
                // Polled once, so that it is queued, then dropped before it can have completed.
                std::future::poll_fn(|cx| {
                    assert!(write.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            }
            // If the memory were free already this would be it.
            let mut other = Buffer::with_capacity(64 << 10);
            other.resize_zeroed(64 << 10);
            other.fill(255);
            // It happens when the kernel likes; until then the bytes of the round before are there.
            for tries in 0.. {
                ring.sleep(Duration::from_millis(1)).await;
                let back = file.read_at(0, 64 << 10).await.unwrap();
                let foreign = back
                    .iter()
                    .find(|b| **b != round && **b != round.wrapping_sub(1));
                assert_eq!(foreign, None, "round {round}");
                let new = back.iter().filter(|b| **b == round).count();
                if new == 64 << 10 {
                    break;
                }
                assert!(
                    tries < 30_000,
                    "round {round}: {new} of {} bytes are new",
                    back.len()
                );
            }
        }
    });
}

#[test]
fn a_dropped_open_closes_its_descriptor() {
    block_on(async |ring: Ring| {
        let dir = dir();
        let path = dir.path().join("only-here");
        for _ in 0..20 {
            let mut open = std::pin::pin!(File::open(&ring, &path, WRITE));
            std::future::poll_fn(|cx| {
                assert!(open.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        while open_descriptors(&path) > 0 {
            ring.sleep(Duration::from_millis(1)).await;
        }
        let file = File::open(&ring, &path, WRITE).await.unwrap();
        assert_eq!(open_descriptors(&path), 1);
        drop(file);
        assert_eq!(open_descriptors(&path), 0);
    });
}

fn open_descriptors(path: &Path) -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    fds.flatten()
        .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == path))
        .count()
}

#[test]
fn names_and_directories() {
    block_on(async |ring: Ring| {
        let dir = dir();
        let (a, b, sub) = (
            dir.path().join("a"),
            dir.path().join("b"),
            dir.path().join("sub"),
        );
        assert!(!fs::exists(&ring, &a).await.unwrap());
        fs::write_durably(&ring, &a, b"one").await.unwrap();
        fs::write_durably(&ring, &a, b"two!").await.unwrap();
        assert_eq!(fs::read(&ring, &a).await.unwrap(), b"two!");
        assert_eq!(fs::len(&ring, &a).await.unwrap(), 4);
        fs::rename(&ring, &a, &b).await.unwrap();
        fs::create_dir(&ring, &sub).await.unwrap();
        fs::sync_dir(&ring, dir.path()).await.unwrap();
        let names: Vec<_> = fs::list(dir.path())
            .unwrap()
            .into_iter()
            .map(|e| (e.name, e.is_dir))
            .collect();
        assert_eq!(names, [("b".into(), false), ("sub".into(), true)]);
        fs::unlink(&ring, &b).await.unwrap();
        fs::remove_dir(&ring, &sub).await.unwrap();
        assert_eq!(fs::list(dir.path()).unwrap(), []);
        let missing = fs::read(&ring, &a).await.unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        let how = Open {
            create: false,
            create_new: true,
            ..WRITE
        };
        File::open(&ring, &a, how).await.unwrap();
        let again = File::open(&ring, &a, how).await.unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        let space = fs::free_space(dir.path()).unwrap();
        assert!(space.total > 0 && space.available <= space.total);
        assert!(
            fs::direct_io(&ring, Path::new("/no/such/place"))
                .await
                .is_err()
        );
    });
}

#[test]
fn a_lock_has_one_holder() {
    let dir = dir();
    let path = dir.path().join(".lock");
    let lock = DirLock::acquire(&path, Duration::ZERO)
        .unwrap()
        .expect("nobody holds it");
    assert!(
        DirLock::acquire(&path, Duration::from_secs(3600))
            .unwrap()
            .is_none(),
        "its holder lives, and is not waited for"
    );
    assert!(
        !another_process_locks(&path),
        "another process, by the lock that Java takes"
    );
    drop(lock);
    assert!(another_process_locks(&path));
    assert!(DirLock::acquire(&path, Duration::ZERO).unwrap().is_some());
}

#[test]
fn a_registered_lock_lives_as_long_as_the_ring() {
    let dir = dir();
    let path = dir.path().join(".lock");
    let path_in = path.clone();
    block_on(async move |ring: Ring| {
        let lock = DirLock::acquire(&path_in, Duration::ZERO)
            .unwrap()
            .expect("nobody holds it");
        lock.register(&ring).unwrap();
        drop(lock);
        assert!(
            DirLock::acquire(&path_in, Duration::ZERO)
                .unwrap()
                .is_none(),
            "the ring holds it"
        );
    });
    let wait = Duration::from_secs(20);
    assert!(
        DirLock::acquire(&path, wait).unwrap().is_some(),
        "the ring is gone"
    );
}

/// Tries a POSIX record lock (what java.nio's FileChannel takes) from a process of its own.
fn another_process_locks(path: &Path) -> bool {
    let script = "import fcntl,sys\nf=open(sys.argv[1],'r+')\ntry: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError: sys.exit(7)";
    let status = Command::new("python3")
        .arg("-c")
        .arg(script)
        .arg(path)
        .status()
        .expect("python3 runs");
    match status.code() {
        Some(0) => true,
        Some(7) => false,
        other => panic!("the lock probe ended with {other:?}"),
    }
}

#[test]
fn scratch_directories_are_left_as_they_were() {
    let dir = disk_dir();
    let scratch_dirs = vec![dir.path().to_path_buf(), dir.path().join("missing")];
    let core = start(
        CoreOptions {
            scratch_dirs,
            ..CoreOptions::default()
        },
        async |ring: Ring| ring.now(),
    );
    core.unwrap().join().unwrap();
    assert_eq!(fs::list(dir.path()).unwrap(), []);
}

#[test]
fn the_lock_of_a_killed_process_is_free_in_the_end() {
    const CHILD: &str = "RING_LOCK_CHILD";
    if let Some(dir) = std::env::var_os(CHILD) {
        let dir = Path::new(&dir).to_path_buf();
        return block_on(async move |ring: Ring| {
            let lock = DirLock::acquire(&dir.join(".lock"), Duration::ZERO)
                .unwrap()
                .expect("nobody holds it");
            lock.register(&ring).unwrap();
            let file = File::open(&ring, &dir.join("f"), WRITE).await.unwrap();
            std::fs::write(dir.join("ready"), b"").unwrap();
            // Writes without an end: some are in flight whenever the kill comes.
            for round in 0u64.. {
                let (into, bytes) = (file.clone(), Bytes::from(vec![round as u8; 1 << 20]));
                ring.spawn(async move {
                    into.write_at(vec![bytes], (round % 64) << 20)
                        .await
                        .unwrap()
                });
                if round % 16 == 0 {
                    file.sync_data().await.unwrap();
                }
            }
        });
    }
    let dir = disk_dir();
    let test = std::env::current_exe().unwrap();
    let mut child = Command::new(test)
        .args(["--exact", "the_lock_of_a_killed_process_is_free_in_the_end"])
        .env(CHILD, dir.path())
        .spawn()
        .unwrap();
    while !dir.path().join("ready").exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child lives until it is killed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        DirLock::acquire(&dir.path().join(".lock"), Duration::ZERO)
            .unwrap()
            .is_none()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let lock = DirLock::acquire(&dir.path().join(".lock"), Duration::from_secs(60)).unwrap();
    assert!(lock.is_some(), "released once the last write is down");
    // And it is: nothing changes the file any more.
    let before = std::fs::metadata(dir.path().join("f"))
        .unwrap()
        .modified()
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        std::fs::metadata(dir.path().join("f"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}
