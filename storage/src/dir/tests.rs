use std::io::ErrorKind;

use millstream_ring::block_on;

use super::*;

const NO_WAIT: Duration = Duration::ZERO;

fn fixture(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1/clean");
    std::fs::read(root.join(name)).unwrap()
}

/// Runs on a new temporary directory.
fn with_dir<F>(test: impl FnOnce(Ring, PathBuf) -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(move |ring| test(ring, path));
}

async fn refused(ring: &Ring, path: &Path) -> String {
    match inspect(ring, path, NO_WAIT).await {
        Ok(_) => panic!("{} was accepted", path.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_new_directory_lives_through_start_stop_and_start() {
    with_dir(async |ring, root| {
        let path = root.join("a/b");
        let found = inspect(&ring, &path, NO_WAIT).await.unwrap();
        assert!(found.is_new() && !found.clean && !found.written_by_kafka());
        assert_eq!(found.generation(), None);
        let cluster = agree(std::slice::from_ref(&found), 4, "new-cluster").unwrap();
        let dir = claim(&ring, found, 4, &cluster, 7).await.unwrap();
        let id = dir.directory_id();
        dir.register(&ring).unwrap();
        dir.set_generation(&ring, 8).await.unwrap();
        drop(dir);

        // Killed: the journals of generation 8 have authority.
        let copy = root.join("copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(path.join(META_PROPERTIES), copy.join(META_PROPERTIES)).unwrap();
        let found = inspect(&ring, &copy, NO_WAIT).await.unwrap();
        assert_eq!(found.generation(), Some(8));
        assert!(!found.clean && !found.written_by_kafka());
        let cluster = agree(std::slice::from_ref(&found), 4, "ignored").unwrap();
        assert_eq!(cluster, "new-cluster");
        let dir = claim(&ring, found, 4, &cluster, 8).await.unwrap();
        assert_eq!(dir.directory_id(), id);
        dir.finish_clean(&ring, 9).await.unwrap();
        let meta = std::fs::read_to_string(copy.join(META_PROPERTIES)).unwrap();
        assert!(
            meta.contains("version=1\n") && !meta.contains("millstream"),
            "{meta}"
        );
    });
}

#[test]
fn a_clean_stop_is_remembered_until_the_claim() {
    with_dir(async |ring, path| {
        let meta = MetaProperties {
            cluster_id: "c".into(),
            node_id: 1,
            directory_id: None,
            state: MetaState::Kafka,
        };
        std::fs::write(path.join(META_PROPERTIES), meta.encode()).unwrap();
        let mark = path.join(CLEAN_SHUTDOWN);
        std::fs::write(
            &mark,
            br#"{"version":0,"brokerEpoch":-1,"millstreamGeneration":41}"#,
        )
        .unwrap();
        let found = inspect(&ring, &path, NO_WAIT).await.unwrap();
        assert!(found.clean && !found.written_by_kafka());
        assert_eq!(
            (found.generation(), found.clean_generation()),
            (None, Some(41))
        );
        claim(&ring, found, 1, "c", 41).await.unwrap();
        assert!(!mark.exists());
    });
}

#[test]
fn a_start_interrupted_before_the_mark_was_removed_is_still_clean() {
    with_dir(async |ring, path| {
        let meta = MetaProperties {
            cluster_id: "c".into(),
            node_id: 1,
            directory_id: None,
            state: MetaState::Running { generation: 5 },
        };
        std::fs::write(path.join(META_PROPERTIES), meta.encode()).unwrap();
        std::fs::write(
            path.join(CLEAN_SHUTDOWN),
            br#"{"version":0,"brokerEpoch":-1}"#,
        )
        .unwrap();
        let found = inspect(&ring, &path, NO_WAIT).await.unwrap();
        assert!(found.clean);
        assert_eq!(found.generation(), None);
    });
}

#[test]
fn a_directory_of_kafkas_keeps_its_identity() {
    with_dir(async |ring, path| {
        for name in [META_PROPERTIES, CLEAN_SHUTDOWN] {
            std::fs::write(path.join(name), fixture(name)).unwrap();
        }
        let found = inspect(&ring, &path, NO_WAIT).await.unwrap();
        assert!(found.clean && found.written_by_kafka());
        let id = found.meta.as_ref().unwrap().directory_id.unwrap();
        let cluster = agree(std::slice::from_ref(&found), 1, "ignored").unwrap();
        assert_eq!(cluster, "MkU3OEVBNTcwNTJENDM2Qk");
        let dir = claim(&ring, found, 1, &cluster, 1).await.unwrap();
        assert_eq!(dir.directory_id(), id);
    });
}

#[test]
fn a_second_user_is_refused_and_changes_nothing() {
    with_dir(async |ring, path| {
        let first = inspect(&ring, &path, NO_WAIT).await.unwrap();
        let line = refused(&ring, &path).await;
        let shown = path.display();
        assert_eq!(
            line,
            format!(
                "data directory {shown} is in use by another process (it holds {shown}/.lock); stop that one or choose another log.dirs"
            )
        );
        drop(first);
        inspect(&ring, &path, NO_WAIT).await.unwrap();
    });
}

#[test]
fn what_is_no_writable_directory_is_refused() {
    with_dir(async |ring, root| {
        let file = root.join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(refused(&ring, &file).await.contains("is not writable"));
        assert!(
            refused(&ring, &file.join("below"))
                .await
                .contains("cannot be created")
        );
        // Nobody may write there, not even root.
        assert!(
            refused(&ring, Path::new("/proc/self"))
                .await
                .contains("is not writable")
        );
    });
}

#[test]
fn corrupt_identity_is_refused_with_file_and_reason() {
    with_dir(async |ring, path| {
        std::fs::write(path.join(META_PROPERTIES), b"version=9\n").unwrap();
        let line = refused(&ring, &path).await;
        assert!(
            line.contains("meta.properties is corrupt: its version is \"9\""),
            "{line}"
        );
    });
}

#[test]
fn directories_must_agree_on_node_cluster_and_be_different() {
    with_dir(async |ring, root| {
        let mut found = Vec::new();
        for (name, cluster, id) in [
            ("a", "one", [1; 16]),
            ("b", "two", [2; 16]),
            ("c", "one", [1; 16]),
        ] {
            let path = root.join(name);
            std::fs::create_dir(&path).unwrap();
            let meta = MetaProperties {
                cluster_id: cluster.into(),
                node_id: 1,
                directory_id: Some(id),
                state: MetaState::Kafka,
            };
            std::fs::write(path.join(META_PROPERTIES), meta.encode()).unwrap();
            found.push(inspect(&ring, &path, NO_WAIT).await.unwrap());
        }
        assert!(matches!(
            agree(&found, 2, ""),
            Err(DirError::NodeId {
                found: 1,
                expected: 2,
                ..
            })
        ));
        assert!(matches!(
            agree(&found, 1, ""),
            Err(DirError::ClusterId { .. })
        ));
        found.remove(1);
        assert!(matches!(agree(&found, 1, ""), Err(DirError::Copy { .. })));
        found.remove(1);
        assert_eq!(agree(&found, 1, "").unwrap(), "one");
    });
}

#[test]
fn an_offline_directory_is_never_declared_clean() {
    with_dir(async |ring, path| {
        let found = inspect(&ring, &path, NO_WAIT).await.unwrap();
        let dir = claim(&ring, found, 1, "c", 1).await.unwrap();
        assert_eq!(dir.offline(), None);
        dir.fail(&io::Error::from_raw_os_error(5), "flush of the journal");
        dir.fail(&io::Error::from_raw_os_error(28), "something later");
        let reason = dir.offline().unwrap();
        assert!(reason.starts_with("flush of the journal: "), "{reason}");
        assert!(matches!(
            dir.finish_clean(&ring, 1).await,
            Err(DirError::Offline { .. })
        ));
        assert!(!path.join(CLEAN_SHUTDOWN).exists());
        assert!(matches!(
            dir.set_generation(&ring, 2).await,
            Err(DirError::Offline { .. })
        ));
    });
}

#[test]
fn a_full_disk_passes_and_a_broken_one_does_not() {
    for (code, offline) in [
        (5, true),
        (30, true),
        (28, false),
        (122, false),
        (4, false),
        (11, false),
        (12, false),
        (24, false),
    ] {
        assert_eq!(
            takes_directory_offline(&io::Error::from_raw_os_error(code)),
            offline,
            "errno {code}"
        );
    }
    assert!(takes_directory_offline(&ErrorKind::UnexpectedEof.into()));
}
