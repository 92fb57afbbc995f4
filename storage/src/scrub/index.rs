//! Index files held against the batches of their segment.

use crate::segment::index::{BatchSpan, OffsetIndex, TimeIndex};
use crate::segment::survey::{Bounds, Damage};

/// A segment as it was read.
pub(super) struct Segment<'a> {
    pub base_offset: i64,
    pub bounds: &'a Bounds,
    /// Its intact batches, in order.
    pub spans: &'a [BatchSpan],
    pub damages: &'a [Damage],
}

impl Segment<'_> {
    /// The batch that holds `offset`; of one that is damaged nothing can be said.
    fn batch_of(&self, offset: i64) -> Option<&BatchSpan> {
        let after = self.spans.partition_point(|span| span.last_offset < offset);
        self.spans.get(after)
    }

    fn is_damaged(&self, offset: i64) -> bool {
        self.damages.iter().any(|d| d.offsets.contains(&offset))
    }
}

/// What is wrong with an `.index`: each entry leads to a batch, and names an offset with which one ends, there or behind it.
pub(super) fn offsets(segment: &Segment<'_>, bytes: &[u8]) -> Option<String> {
    let decoded = OffsetIndex::decode(segment.base_offset, bytes, segment.bounds.bytes);
    let index = match decoded {
        Ok(index) => index,
        Err(error) => return Some(error.to_string()),
    };
    for entry in index.entries() {
        if segment.is_damaged(entry.offset) {
            continue;
        }
        let there = segment
            .spans
            .binary_search_by_key(&entry.position, |span| span.position);
        let begins = there.is_ok_and(|at| segment.spans[at].last_offset <= entry.offset);
        let ends = segment.batch_of(entry.offset);
        if !begins || ends.is_none_or(|span| span.last_offset != entry.offset) {
            let (offset, position) = (entry.offset, entry.position);
            return Some(format!(
                "offset {offset} does not stand at byte {position} of the segment"
            ));
        }
    }
    None
}

/// What is wrong with a `.timeindex`: each entry names a batch that has its timestamp.
pub(super) fn times(segment: &Segment<'_>, bytes: &[u8]) -> Option<String> {
    let index = match TimeIndex::decode(segment.base_offset, segment.bounds.offsets.end, bytes) {
        Ok(index) => index,
        Err(error) => return Some(error.to_string()),
    };
    for entry in index.entries() {
        let span = segment.batch_of(entry.offset);
        if !segment.is_damaged(entry.offset)
            && span.is_none_or(|span| span.max_timestamp != entry.timestamp)
        {
            let (offset, timestamp) = (entry.offset, entry.timestamp);
            return Some(format!(
                "offset {offset} does not have the time {timestamp}"
            ));
        }
    }
    None
}
