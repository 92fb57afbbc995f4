use super::*;

fn bytes_of(run: &Run, range: Range<u64>) -> Vec<u8> {
    run.slices(range).flatten().copied().collect()
}

fn starts() -> HashMap<i64, u64> {
    HashMap::from([(0, 0), (7, 8192)])
}

#[test]
fn neighbours_become_one_run_and_what_is_known_is_not_added() {
    let mut runs = Runs::default();
    runs.keep(0, 0, &[1; 5000], 0);
    runs.keep(0, 4096, &[1; 904], 0);
    runs.keep(0, 4096, &[1; 904], 0);
    runs.keep(0, 5000, &[2; 10], 0);
    let (runs, direct) = runs.placed(&starts());
    assert!(direct.is_empty());
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].range(), 0..5010);
    assert_eq!(bytes_of(&runs[0], 4998..5002), [1, 1, 2, 2]);
}

#[test]
fn segments_do_not_join_and_lie_where_they_begin() {
    let mut runs = Runs::default();
    runs.keep(0, 4096, &[1; 4096], 0);
    runs.keep(7, 0, &[2; 100], 0);
    runs.batch_at(7, 40);
    runs.batch_at(7, 60);
    runs.keep(9, 0, &[3; 100], 0);
    let (mut runs, _) = runs.placed(&starts());
    let ranges: Vec<_> = runs.iter().map(Run::range).collect();
    assert_eq!(ranges, [4096..8192, 8192..8292]);
    let (tail, first) = runs.pop().expect("two").into_tail();
    assert_eq!((tail.end(), first), (8292, Some(8232)));
}

#[test]
fn what_comes_in_any_order_is_put_together() {
    let mut runs = Runs::default();
    runs.keep(0, 4096, &[2; 4096], 0);
    runs.batch_at(0, 4100);
    runs.keep(0, 0, &[1; 4200], 0);
    runs.batch_at(0, 9);
    let (runs, _) = runs.placed(&starts());
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].range(), 0..8192);
    assert_eq!(bytes_of(&runs[0], 4199..4201), [1, 2]);
    assert_eq!(runs[0].first_batch, Some(9));
}

#[test]
fn what_is_settled_is_left_out() {
    let mut runs = Runs::default();
    runs.keep(0, 0, &[1; 5000], 4096);
    runs.keep(0, 5000, &[], 4096);
    let (runs, _) = runs.placed(&starts());
    assert_eq!(runs[0].range(), 4096..5000);
}

#[test]
fn blocks_that_stand_in_the_segment_are_not_written_again() {
    let mut runs = Runs::default();
    runs.keep(0, 0, &[1; 3 * 4096], 0);
    runs.direct(0, 8192..1 << 20);
    runs.direct(0, 4096..8192);
    let (runs, direct) = runs.placed(&starts());
    assert_eq!(runs[0].without(&direct), vec![0..4096]);
    let middle = std::slice::from_ref(&direct[0]);
    assert_eq!(runs[0].without(middle), [0..4096, 8192..12288]);
    assert_eq!(runs[0].without(&[]), vec![0..12288]);
}
