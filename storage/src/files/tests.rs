use std::path::Path;
use std::time::Duration;

use millstream_ring::{Ring, block_on, fs};

use super::*;
use crate::dir::{agree, claim, inspect, parse_partition_metadata};

async fn data_dir(ring: &Ring, path: &Path) -> std::sync::Arc<DataDir> {
    let found = inspect(ring, path, Duration::ZERO).await.unwrap();
    let cluster = agree(std::slice::from_ref(&found), 1, "cluster").unwrap();
    claim(ring, found, 1, &cluster, 1).await.unwrap()
}

fn partition(topic: &str) -> PartitionName {
    PartitionName {
        topic: topic.into(),
        partition: 0,
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::list(path).unwrap();
    entries
        .into_iter()
        .map(|e| e.name.into_string().unwrap())
        .collect()
}

#[test]
fn extents_double_within_their_bounds() {
    let mib = |n: u64| n << 20;
    assert_eq!(grown(0, 1, mib(1024)), mib(1));
    assert_eq!(grown(mib(1), mib(1) + 1, mib(1024)), mib(2));
    assert_eq!(grown(mib(512), mib(512) + 1, mib(1024)), mib(576));
    assert_eq!(grown(mib(1), mib(9) + 1, mib(1024)), mib(9) + 4096);
    assert_eq!(grown(mib(2), mib(2) + 1, mib(2) + 1000), mib(2) + 4096);
}

#[test]
fn at_most_so_many_descriptors_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 3);
        for i in 0..10 {
            files.create_segment(&path, i).await.unwrap();
        }
        for i in (0..10).chain([7, 8, 9, 9, 8]) {
            let file = path.join(file_name(i, FileKind::Log));
            files.get(&file, Access::Buffered).await.unwrap();
            assert!(files.open_count() <= 3);
        }
        assert_eq!(files.open_count(), 3);
        files.forget(&path.join(file_name(8, FileKind::Log)));
        assert_eq!(files.open_count(), 2);
        files.forget_under(&path);
        assert_eq!(files.open_count(), 0);
        let missing = files.get(&path.join("none"), Access::Buffered).await;
        assert!(missing.is_err_and(|e| e.kind() == io::ErrorKind::NotFound));
    });
}

#[test]
fn a_partition_is_created_once_for_one_topic_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let data = data_dir(&ring, &path).await;
        let files = Files::new(&ring, 8);
        let created = files
            .create_partition(&data, &partition("t"), [1; 16])
            .await
            .unwrap();
        assert_eq!(
            names(&created),
            ["00000000000000000000.log", "partition.metadata"]
        );
        let metadata = fs::read(&ring, &created.join(PARTITION_METADATA))
            .await
            .unwrap();
        assert_eq!(parse_partition_metadata(&metadata), Ok([1; 16]));
        files
            .create_partition(&data, &partition("t"), [1; 16])
            .await
            .unwrap();
        let other = files
            .create_partition(&data, &partition("t"), [2; 16])
            .await;
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    });
}

#[test]
fn segments_grow_and_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 8);
        files.create_segment(&path, 0).await.unwrap();
        let log = path.join(file_name(0, FileKind::Log));
        let allocated = files.grow(&log, 0, 5000, 1 << 30).await.unwrap();
        assert_eq!(allocated, EXTENT_MIN);
        assert_eq!(fs::len(&ring, &log).await.unwrap(), EXTENT_MIN);
        files.cut(&log, 61).await.unwrap();
        assert_eq!(fs::len(&ring, &log).await.unwrap(), 61);
    });
}

#[test]
fn index_entries_land_in_place_and_old_ones_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let files = Files::new(&ring, 8);
        let index = path.join(file_name(0, FileKind::Index));
        std::fs::write(&index, [9; 64]).unwrap();
        let mut entries = Unwritten {
            offsets: vec![1; 8],
            ..Unwritten::default()
        };
        files.write_index(&path, 0, &entries).await.unwrap();
        assert_eq!(fs::len(&ring, &index).await.unwrap(), 64);
        entries.offset_at = 8;
        entries.times = vec![2; 12];
        files.finish_index(&path, 0, &entries).await.unwrap();
        assert_eq!(fs::read(&ring, &index).await.unwrap(), [1; 16]);
        let times = path.join(file_name(0, FileKind::TimeIndex));
        assert_eq!(fs::read(&ring, &times).await.unwrap(), [2; 12]);
    });
}

#[test]
fn what_is_marked_disappears_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let data = data_dir(&ring, &path).await;
        let files = Files::new(&ring, 8);
        let kept = files
            .create_partition(&data, &partition("kept"), [1; 16])
            .await
            .unwrap();
        files
            .create_partition(&data, &partition("gone"), [2; 16])
            .await
            .unwrap();
        files.create_segment(&kept, 100).await.unwrap();
        let marked = files.mark_segments_deleted(&kept, &[0]).await.unwrap();
        assert_eq!(marked, [kept.join("00000000000000000000.log.deleted")]);
        let gone = files
            .mark_partition(&data, &partition("gone"), Mark::Delete)
            .await
            .unwrap();
        assert!(
            !fs::exists(&ring, &data.partition_path(&partition("gone")))
                .await
                .unwrap()
        );
        // The later one must not hold up the earlier one.
        files.unlink_later(kept.clone(), Duration::from_secs(3600));
        files.unlink_later(gone.clone(), Duration::ZERO);
        files.unlink_later(marked[0].clone(), Duration::ZERO);
        while fs::exists(&ring, &gone).await.unwrap()
            || fs::exists(&ring, &marked[0]).await.unwrap()
        {
            ring.sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(
            names(&kept),
            ["00000000000000000100.log", "partition.metadata"]
        );
    });
}

#[test]
fn after_a_flush_that_failed_no_directory_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    block_on(async move |ring: Ring| {
        let data = data_dir(&ring, &path).await;
        let files = Files::new(&ring, 8);
        // EMFILE: the directory could not even be opened.
        let lacking = async { Err(io::Error::from_raw_os_error(24)) };
        assert!(files.flushed_by(lacking).await.is_err());
        files.sync_data_dir(&data).await.expect("nothing was lost");
        let failing = async { Err(io::Error::other("no disk")) };
        assert!(files.flushed_by(failing).await.is_err());
        let refused = files.sync_data_dir(&data).await.unwrap_err();
        assert!(refused.to_string().contains("offline"), "{refused}");
    });
}
