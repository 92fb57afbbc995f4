//! A doorway for `benches/`: the journal's encoder, without the rest. No part of the crate's promise.

use crate::LogId;
use crate::journal::entry::{Append, Chain, EntryBuilder, LogKey, append_overhead};

/// Encodes an entry in which each batch is one log's share, and returns its bytes on the device.
pub fn encode_entry(batches: &[Vec<u8>]) -> usize {
    let payload: usize = batches
        .iter()
        .map(|batch| append_overhead(0) + batch.len())
        .sum();
    let mut entry = EntryBuilder::new(payload);
    for (batch, partition) in batches.iter().zip(0..) {
        let append = Append {
            key: LogKey {
                id: LogId {
                    topic_id: [7; 16],
                    partition,
                },
                instance: 1,
            },
            segment: 0,
            from: 0,
            to: batch.len() as u64,
            end_offset: 1,
            headers: &[],
            pieces: Vec::new(),
        };
        entry.append(&append, &[], 1);
        entry.inline(0, batch.len(), std::iter::once(batch.as_slice()));
    }
    let chain = Chain {
        generation: 1,
        core: 0,
        directory: 7,
    };
    let (bytes, _) = entry.finish(chain, 2, 0, 1, 1);
    bytes.len()
}
