//! Kafka's rules case by case, and random histories against a model that keeps everything.

use millstream_protocol::batch::BatchHeader;
use proptest::prelude::*;

use super::*;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

fn batch(producer_id: i64, producer_epoch: i16, base_sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 100,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: 5,
        max_timestamp: 5,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: records,
    }
}

/// Checks, appends if new, and returns the verdict.
fn append(states: &mut ProducerStates, header: BatchHeader, at: i64) -> Result<Checked, ErrorCode> {
    let verdict = states.check(&header);
    if verdict == Ok(Checked::New) {
        states.update(&header, at, 1_000);
    }
    verdict
}

const NEW: Result<Checked, ErrorCode> = Ok(Checked::New);

fn duplicate(base_offset: i64, last_offset: i64) -> Result<Checked, ErrorCode> {
    Ok(Checked::Duplicate {
        base_offset,
        last_offset,
        timestamp: 5,
    })
}

#[test]
fn sequences_and_epochs() {
    use ErrorCode::{InvalidProducerEpoch, OutOfOrderSequenceNumber};
    let mut states = ProducerStates::new();
    // Without state any sequence may come first.
    assert_eq!(append(&mut states, batch(1, 3, 40, 10), 100), NEW);
    assert_eq!(
        append(&mut states, batch(1, 3, 51, 1), 0),
        Err(OutOfOrderSequenceNumber),
        "a gap"
    );
    assert_eq!(
        append(&mut states, batch(1, 3, 45, 5), 0),
        Err(OutOfOrderSequenceNumber),
        "an overlap"
    );
    assert_eq!(
        append(&mut states, batch(1, 3, 40, 10), 0),
        duplicate(100, 109)
    );
    assert_eq!(append(&mut states, batch(1, 3, 50, 1), 110), NEW);
    // The epoch comes first: an old producer is fenced whatever its sequence.
    assert_eq!(
        append(&mut states, batch(1, 2, 51, 1), 0),
        Err(InvalidProducerEpoch)
    );
    assert_eq!(
        append(&mut states, batch(1, 2, 40, 10), 0),
        Err(InvalidProducerEpoch)
    );
    assert_eq!(
        append(&mut states, batch(1, 4, 51, 1), 0),
        Err(OutOfOrderSequenceNumber),
        "a new epoch starts at 0"
    );
    assert_eq!(append(&mut states, batch(1, 4, 0, 1), 111), NEW);
    // What the old epoch wrote is no duplicate any more.
    assert_eq!(
        append(&mut states, batch(1, 4, 50, 1), 0),
        Err(OutOfOrderSequenceNumber)
    );
    assert_eq!(
        append(&mut states, batch(1, 4, 0, 1), 0),
        duplicate(111, 111)
    );
    // Others are not concerned, nor are batches without idempotence.
    assert_eq!(append(&mut states, batch(2, 0, 7, 1), 112), NEW);
    assert_eq!(
        append(&mut states, batch(NO_PRODUCER_ID, -1, -1, 1), 113),
        NEW
    );
    assert_eq!(states.len(), 2);
}

#[test]
fn the_window_holds_five_batches() {
    let mut states = ProducerStates::new();
    for number in 0..7 {
        assert_eq!(
            append(
                &mut states,
                batch(1, 0, number * 2, 2),
                i64::from(number) * 10
            ),
            NEW
        );
    }
    for number in 0..2 {
        let verdict = states.check(&batch(1, 0, number * 2, 2));
        assert_eq!(
            verdict,
            Err(ErrorCode::OutOfOrderSequenceNumber),
            "batch {number} is forgotten"
        );
    }
    for number in 2..7 {
        let offset = i64::from(number) * 10;
        assert_eq!(
            states.check(&batch(1, 0, number * 2, 2)),
            duplicate(offset, offset + 1),
            "batch {number}"
        );
    }
    // First and last sequence must both be those of the original.
    assert_eq!(
        states.check(&batch(1, 0, 12, 1)),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
}

#[test]
fn a_failed_append_leaves_no_trace() {
    let mut states = ProducerStates::new();
    for number in 0..5 {
        assert_eq!(
            append(&mut states, batch(1, 0, number, 1), number.into()),
            NEW
        );
    }
    let before = states.entries();
    let first = states.update(&batch(1, 0, 5, 1), 5, 2_000);
    let second = states.update(&batch(1, 0, 6, 1), 6, 2_001);
    let third = states.update(&batch(1, 1, 0, 1), 7, 2_002);
    let other = states.update(&batch(2, 0, 0, 1), 8, 2_003);
    for undo in [other, third, second, first] {
        states.roll_back(undo);
    }
    assert_eq!(states.entries(), before);
    for number in 0..5 {
        let offset = i64::from(number);
        assert_eq!(
            states.check(&batch(1, 0, number, 1)),
            duplicate(offset, offset),
            "batch {number} is back"
        );
    }
    assert_eq!(
        states.check(&batch(1, 0, 6, 1)),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_eq!(states.check(&batch(1, 0, 5, 1)), NEW);
}

#[test]
fn sequences_wrap() {
    let mut states = ProducerStates::new();
    assert_eq!(append(&mut states, batch(1, 0, i32::MAX - 4, 5), 0), NEW);
    assert_eq!(
        append(&mut states, batch(1, 0, 0, 3), 5),
        NEW,
        "0 follows 2147483647"
    );
    let mut states = ProducerStates::new();
    assert_eq!(
        append(&mut states, batch(1, 0, i32::MAX - 1, 5), 0),
        NEW,
        "a batch may wrap inside"
    );
    assert_eq!(
        append(&mut states, batch(1, 0, i32::MAX - 1, 5), 0),
        duplicate(0, 4)
    );
    assert_eq!(
        append(&mut states, batch(1, 0, 2, 1), 0),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_eq!(append(&mut states, batch(1, 0, 3, 1), 5), NEW);
}

#[test]
fn a_snapshot_knows_the_newest_batch_and_the_tail_the_others() {
    let mut states = ProducerStates::new();
    for number in 0..4 {
        let verdict = append(
            &mut states,
            batch(1, 2, number * 10, 10),
            i64::from(number) * 10,
        );
        assert_eq!(verdict, NEW);
    }
    let entries = states.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (
            entries[0].last_sequence,
            entries[0].last_offset,
            entries[0].offset_delta
        ),
        (39, 39, 9)
    );
    let tail = [40, 50].map(|sequence| BatchHeader {
        base_offset: sequence.into(),
        ..batch(1, 2, sequence, 10)
    });
    let mut restored = ProducerStates::restore(entries, tail, 2_000);
    assert_eq!(
        restored.check(&batch(1, 2, 20, 10)),
        Err(ErrorCode::OutOfOrderSequenceNumber),
        "not in the row"
    );
    let timestamp = 1_000;
    let of_the_row = Checked::Duplicate {
        base_offset: 30,
        last_offset: 39,
        timestamp,
    };
    assert_eq!(
        restored.check(&batch(1, 2, 30, 10)),
        Ok(of_the_row),
        "a row's time is that of the write"
    );
    assert_eq!(restored.check(&batch(1, 2, 40, 10)), duplicate(40, 49));
    assert_eq!(append(&mut restored, batch(1, 2, 60, 1), 60), NEW);
}

#[test]
fn restore_passes_over_what_makes_no_sense() {
    let good = ProducerEntry {
        producer_id: 1,
        producer_epoch: 5,
        last_sequence: -1,
        last_offset: -1,
        offset_delta: 0,
        timestamp: 9_999_999,
        coordinator_epoch: 3,
        current_txn_first_offset: -1,
    };
    let bad = [
        ProducerEntry {
            producer_id: -1,
            ..good
        },
        ProducerEntry {
            producer_id: 2,
            producer_epoch: -1,
            ..good
        },
        ProducerEntry {
            producer_id: 3,
            offset_delta: -1,
            ..good
        },
    ];
    let old = BatchHeader {
        base_offset: 3,
        ..batch(1, 4, 0, 1)
    };
    let none = BatchHeader {
        base_offset: 4,
        ..batch(4, 0, -1, 1)
    };
    let mut states = ProducerStates::restore(bad.into_iter().chain([good]), [old, none], 1_000);
    assert_eq!(
        states.entries(),
        [ProducerEntry {
            timestamp: 1_000,
            ..good
        }]
    );
    // Only a marker is known of this epoch: the next sequence is 0.
    assert_eq!(
        states.check(&batch(1, 5, 7, 1)),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_eq!(append(&mut states, batch(1, 5, 0, 1), 10), NEW);
}

#[test]
fn transactions_of_a_foreign_log() {
    let with = |attributes, header: BatchHeader| BatchHeader {
        attributes,
        ..header
    };
    let mut states = ProducerStates::new();
    states.update(&with(TRANSACTIONAL, batch(1, 0, 0, 2)), 10, 0);
    states.update(&with(TRANSACTIONAL, batch(1, 0, 2, 2)), 12, 0);
    states.update(&with(TRANSACTIONAL, batch(2, 0, 0, 1)), 14, 0);
    assert_eq!(states.first_undecided_offset(), Some(10));
    assert_eq!(
        states.check(&batch(1, 0, 4, 1)),
        Err(ErrorCode::InvalidTxnState),
        "a plain batch within"
    );
    assert_eq!(states.expire(i64::MAX, 1), 0, "open transactions are kept");
    let undo = states.update(&with(TRANSACTIONAL | CONTROL, batch(1, 1, -1, 1)), 15, 0);
    assert_eq!(states.first_undecided_offset(), Some(14));
    assert_eq!(
        states.check(&batch(1, 0, 4, 1)),
        Err(ErrorCode::InvalidProducerEpoch),
        "the marker raised the epoch"
    );
    states.roll_back(undo);
    assert_eq!(states.first_undecided_offset(), Some(10));
    assert_eq!(states.check(&with(TRANSACTIONAL, batch(1, 0, 4, 1))), NEW);
}

#[test]
fn producers_expire_after_their_last_write() {
    let mut states = ProducerStates::new();
    states.update(&batch(1, 0, 0, 1), 0, 1_000);
    states.update(&batch(2, 0, 0, 1), 1, 1_500);
    assert_eq!(states.expire(1_999, 1_000), 0);
    assert_eq!(states.expire(2_000, 1_000), 1);
    assert_eq!(
        states.check(&batch(1, 0, 77, 1)),
        NEW,
        "an unknown producer may go on"
    );
    assert_eq!(
        states.check(&batch(2, 0, 77, 1)),
        Err(ErrorCode::OutOfOrderSequenceNumber)
    );
}

#[test]
fn memory_of_many_producers_is_small() {
    assert!(size_of::<Producer>() <= 56, "{}", size_of::<Producer>());
    assert!(size_of::<Batch>() <= 24, "{}", size_of::<Batch>());
    let mut producer = Producer::new(0);
    for number in 0..7 {
        let header = batch(1, 0, number, 1);
        producer.push(Batch::of(&header, number.into()));
        assert!(producer.batches.capacity() <= BATCHES_RETAINED);
    }
}

/// All batches ever appended, in order: (header, base offset). Every question is answered by looking through them.
#[derive(Clone, Default)]
struct Model {
    appended: Vec<(BatchHeader, i64)>,
}

impl Model {
    fn check(&self, header: &BatchHeader) -> Result<Checked, ErrorCode> {
        let own: Vec<_> = self
            .appended
            .iter()
            .filter(|(other, _)| other.producer_id == header.producer_id)
            .collect();
        let Some((last, _)) = own.last() else {
            return NEW;
        };
        if header.producer_epoch != last.producer_epoch {
            return match header.producer_epoch < last.producer_epoch {
                true => Err(ErrorCode::InvalidProducerEpoch),
                false if header.base_sequence == 0 => NEW,
                false => Err(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let window = own
            .iter()
            .rev()
            .take_while(|(other, _)| other.producer_epoch == last.producer_epoch)
            .take(5);
        for (other, offset) in window {
            if other.base_sequence == header.base_sequence
                && other.last_offset_delta == header.last_offset_delta
            {
                return duplicate(*offset, offset + i64::from(other.last_offset_delta));
            }
        }
        let next =
            (i64::from(last.base_sequence) + i64::from(last.last_offset_delta) + 1) % (1 << 31);
        if i64::from(header.base_sequence) == next {
            NEW
        } else {
            Err(ErrorCode::OutOfOrderSequenceNumber)
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Sequence relative to the expected one.
    Batch {
        producer: i64,
        epoch_up: bool,
        offset: i32,
        records: i32,
    },
    Retry {
        back: usize,
    },
    /// The last `count` appends fail.
    Fail {
        count: usize,
    },
    Restart {
        snapshot: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let batch = (
        0..2i64,
        prop::bool::weighted(0.04),
        prop::sample::select(vec![0, 0, 0, 0, 0, 0, 0, 0, 1, -1, 1000]),
        1..4i32,
    )
        .prop_map(|(producer, epoch_up, offset, records)| Step::Batch {
            producer,
            epoch_up,
            offset,
            records,
        });
    prop_oneof![
        12 => batch,
        4 => (0..14usize).prop_map(|back| Step::Retry { back }),
        2 => (1..4usize).prop_map(|count| Step::Fail { count }),
        1 => any::<bool>().prop_map(|snapshot| Step::Restart { snapshot }),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..150), start in prop_oneof![Just(0), i32::MAX - 30..=i32::MAX]) {
        let (mut states, mut model, mut undos) = (ProducerStates::new(), Model::default(), Vec::new());
        let mut end = 0i64;
        for step in steps {
            let header = match step {
                Step::Batch { producer, epoch_up, offset, records } => {
                    let last = model.appended.iter().rev().find(|(header, _)| header.producer_id == producer);
                    let (epoch, next) = last.map_or((0, start), |(header, _)| {
                        (header.producer_epoch, sequence_after(header.base_sequence, header.last_offset_delta + 1))
                    });
                    let sequence = if epoch_up { 0 } else { sequence_after(next, offset) };
                    batch(producer, epoch + i16::from(epoch_up), sequence, records)
                }
                Step::Retry { back } => match model.appended.iter().rev().nth(back) {
                    Some((header, _)) => *header,
                    None => continue,
                },
                Step::Fail { count } => {
                    for _ in 0..count {
                        let Some(undo) = undos.pop() else { break };
                        states.roll_back(undo);
                        let (_, offset) = model.appended.pop().expect("each append has its undo");
                        end = offset;
                    }
                    continue;
                }
                Step::Restart { snapshot } => {
                    let placed = |(header, offset): &(BatchHeader, i64)| BatchHeader { base_offset: *offset, ..*header };
                    undos.clear();
                    // A row keeps one batch of each producer: to the model the others are forgotten.
                    states = match snapshot {
                        true => ProducerStates::restore(states.entries(), [], 5),
                        false => ProducerStates::restore([], model.appended.iter().map(placed), 5),
                    };
                    if snapshot {
                        let newest = |id| model.appended.iter().rfind(|(header, _)| header.producer_id == id).copied();
                        model.appended = (0..3).filter_map(newest).collect();
                    }
                    continue;
                }
            };
            let verdict = states.check(&header);
            prop_assert_eq!(verdict, model.check(&header), "{:?}", header);
            if verdict == NEW {
                // max_timestamp, so that a row restored from a snapshot shows the same time.
                undos.push(states.update(&header, end, 5));
                model.appended.push((header, end));
                end += i64::from(header.last_offset_delta) + 1;
            }
        }
    }
}
