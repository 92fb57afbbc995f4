//! A touch as an item of the journal entry.

use std::ops::Range;
use std::rc::Rc;

use millstream_protocol::batch::{BatchHeader, HEADER};
use millstream_ring::Bytes;

use super::cut::Plan;
use super::units::Touch;
use crate::journal::entry::{Append, EntryBuilder};
use crate::log::{Log, LogState};

/// Whole blocks on their way to a segment.
pub(super) struct DirectWrite {
    pub log: Rc<Log>,
    pub segment: i64,
    pub position: u64,
    pub range: Range<u64>,
    pub parts: Vec<Bytes>,
}

pub(super) fn encode(
    touch: &Touch,
    plan: &Plan,
    entry: &mut EntryBuilder,
    writes: &mut Vec<DirectWrite>,
) {
    let state = touch.log.state.borrow();
    let position = |address: u64| address - plan.segment_start;
    let append = Append {
        key: touch.log.key,
        segment: touch.segment,
        from: position(touch.range.start),
        to: position(touch.range.end),
        end_offset: touch.end_offset,
        headers: &[],
        pieces: Vec::new(),
    };
    let headers = if plan.direct.is_empty() {
        Vec::new()
    } else {
        headers_of(&state, touch)
    };
    let inline = plan.inline(touch.range.end);
    let count =
        inline.iter().filter(|r| !r.is_empty()).count() + usize::from(!plan.direct.is_empty());
    entry.append(&append, &headers, count as u32);
    for range in inline.into_iter().filter(|r| !r.is_empty()) {
        entry.inline(
            position(range.start),
            (range.end - range.start) as usize,
            inline_parts(&state, range),
        );
    }
    if !plan.direct.is_empty() {
        let range = plan.direct.clone();
        let parts = state.tail.views(range.clone());
        let crc = parts
            .iter()
            .fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        entry.direct(position(range.start), (range.end - range.start) as u32, crc);
        writes.push(DirectWrite {
            log: touch.log.clone(),
            segment: touch.segment,
            position: position(range.start),
            range,
            parts,
        });
    }
}

/// Bytes of the tail, with what is missing of its first block from the fetched prefix.
fn inline_parts(state: &LogState, range: Range<u64>) -> impl Iterator<Item = &[u8]> {
    let valid = state.tail.start();
    let missing = valid.saturating_sub(range.start) as usize;
    let prefix = state.prefix.as_deref().unwrap_or_default();
    let prefix = prefix
        .get(..missing)
        .expect("fetched before the unit was sent");
    std::iter::once(prefix).chain(state.tail.slices(range.start.max(valid)..range.end))
}

fn headers_of(state: &LogState, touch: &Touch) -> Vec<u8> {
    let mut headers = Vec::with_capacity(touch.batches * HEADER);
    let mut at = touch.range.start;
    while at < touch.range.end {
        let mut header = [0; HEADER];
        assert!(state.tail.copy(at, &mut header), "a touch lies in the tail");
        let parsed = BatchHeader::read(&header).expect("verified before it was appended");
        headers.extend_from_slice(&header);
        at += parsed.total_len() as u64;
    }
    assert_eq!(headers.len(), touch.batches * HEADER);
    headers
}
