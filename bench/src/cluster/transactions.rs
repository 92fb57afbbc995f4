//! What a transactional producer asks its coordinator (KIP-98): AddPartitionsToTxn and EndTxn.
//!
//! Written and read by hand, in the last version without compact lengths: Millstream's protocol crate declares what
//! Millstream serves, and that is not among it. Every broker with transactions serves these versions.

use millstream_protocol::frame;
use millstream_protocol::wire::{Reader, Writer};

use super::call::CLIENT_ID;
use super::{ProducerId, Target};
use crate::Fault;

const ADD_PARTITIONS_TO_TXN: i16 = 24;
/// Its API key.
pub const END_TXN: i16 = 26;
/// Of both: version 2 knows PRODUCER_FENCED.
const VERSION: i16 = 2;
/// Smallest encoding of a topic's results (name 2, count 4) and of a partition's (index 4, code 2).
const RESULT_MIN: usize = 6;

/// AddPartitionsToTxn for these partitions of one producer's open transaction, or of the one it begins with that.
pub fn add_partitions(
    id: &str,
    producer: ProducerId,
    targets: &[&Target],
) -> Result<Vec<u8>, Fault> {
    let mut w = begin(ADD_PARTITIONS_TO_TXN, id, producer);
    let topics: Vec<_> = targets.chunk_by(|a, b| a.topic == b.topic).collect();
    w.array(false, Some(topics.len()));
    for partitions in topics {
        w.string(false, partitions.first().map(|target| &*target.topic));
        w.array(false, Some(partitions.len()));
        partitions.iter().for_each(|target| w.i32(target.partition));
    }
    Ok(frame::close(w)?.bytes)
}

/// The first error code of the answer, 0 if there is none.
pub fn added(frame: &[u8]) -> Result<i16, Fault> {
    let mut r = answer(frame)?;
    let mut first = 0;
    for _ in 0..r.array(false, RESULT_MIN)?.unwrap_or(0) {
        r.string(false)?;
        for _ in 0..r.array(false, RESULT_MIN)?.unwrap_or(0) {
            r.i32()?;
            let code = r.i16()?;
            first = if first == 0 { code } else { first };
        }
    }
    r.finish()?;
    Ok(first)
}

/// EndTxn: a commit, or an abort.
pub fn end(id: &str, producer: ProducerId, committed: bool) -> Result<Vec<u8>, Fault> {
    let mut w = begin(END_TXN, id, producer);
    w.bool(committed);
    Ok(frame::close(w)?.bytes)
}

/// The answer's error code, 0 if there is none.
pub fn ended(frame: &[u8]) -> Result<i16, Fault> {
    let mut r = answer(frame)?;
    let code = r.i16()?;
    r.finish()?;
    Ok(code)
}

/// Header and the fields that both begin with.
fn begin(api_key: i16, id: &str, producer: ProducerId) -> Writer {
    let mut w = frame::open(256);
    w.i16(api_key);
    w.i16(VERSION);
    w.i32(0); // correlation id
    w.string(false, Some(CLIENT_ID));
    w.string(false, Some(id));
    w.i64(producer.id);
    w.i16(producer.epoch);
    w
}

/// Behind correlation id and throttle time.
fn answer(frame: &[u8]) -> Result<Reader<'_>, Fault> {
    let mut r = Reader::new(frame);
    r.i32()?;
    r.i32()?;
    Ok(r)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ProducerId = ProducerId { id: 4711, epoch: 3 };

    fn target(topic: &str, partition: i32) -> Target {
        Target {
            topic: topic.into(),
            partition,
            leader: ([127, 0, 0, 1], 9092).into(),
        }
    }

    /// Behind length and client id.
    fn body(frame: &[u8], api_key: i16) -> Reader<'_> {
        let mut r = Reader::new(&frame[4..]);
        assert_eq!((r.i16().unwrap(), r.i16().unwrap()), (api_key, VERSION));
        r.i32().unwrap();
        assert_eq!(r.string(false).unwrap().as_deref(), Some(CLIENT_ID));
        assert_eq!(r.string(false).unwrap().as_deref(), Some("an id"));
        assert_eq!((r.i64().unwrap(), r.i16().unwrap()), (4711, 3));
        r
    }

    #[test]
    fn partitions_are_added_topic_by_topic() {
        let targets = [target("a", 0), target("a", 2), target("b", 1)];
        let targets: Vec<&Target> = targets.iter().collect();
        let frame = add_partitions("an id", PRODUCER, &targets).unwrap();
        let mut r = body(&frame, ADD_PARTITIONS_TO_TXN);
        assert_eq!(r.array(false, 1).unwrap(), Some(2));
        for (topic, partitions) in [("a", &[0, 2][..]), ("b", &[1])] {
            assert_eq!(r.string(false).unwrap().as_deref(), Some(topic));
            assert_eq!(r.array(false, 4).unwrap(), Some(partitions.len()));
            for partition in partitions {
                assert_eq!(r.i32().unwrap(), *partition);
            }
        }
        r.finish().unwrap();
    }

    #[test]
    fn an_end_says_whether_it_commits() {
        let frame = end("an id", PRODUCER, true).unwrap();
        let mut r = body(&frame, END_TXN);
        assert!(r.bool().unwrap());
        r.finish().unwrap();
    }

    #[test]
    fn the_first_error_of_an_answer_counts() {
        let mut w = Writer::new();
        w.i32(9);
        w.i32(0);
        w.array(false, Some(1));
        w.string(false, Some("a"));
        w.array(false, Some(3));
        for (partition, code) in [(0, 0), (1, 51), (2, 55)] {
            w.i32(partition);
            w.i16(code);
        }
        let bytes = w.finish().unwrap().bytes;
        assert_eq!(added(&bytes).unwrap(), 51);
        assert!(added(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(ended(&[0, 0, 0, 9, 0, 0, 0, 0, 0, 48]).unwrap(), 48);
    }
}
