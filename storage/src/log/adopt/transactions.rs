//! Open transactions while batches pass by, to tell what was aborted.

use std::collections::HashMap;

use millstream_protocol::batch::{BatchHeader, ControlType};

use crate::segment::aborted::AbortedTxn;
use crate::snapshot::ProducerEntry;

/// Producer id → where its open transaction begins.
#[derive(Default)]
pub(super) struct OpenTransactions {
    first_offsets: HashMap<i64, i64>,
}

impl OpenTransactions {
    /// As a producer snapshot has them.
    pub(super) fn new(entries: &[ProducerEntry]) -> OpenTransactions {
        let open = entries.iter().filter(|e| e.current_txn_first_offset >= 0);
        OpenTransactions {
            first_offsets: open
                .map(|e| (e.producer_id, e.current_txn_first_offset))
                .collect(),
        }
    }

    /// A batch of which only the header is known: a marker ends its transaction, whichever way. Batches below `from` are in the
    /// snapshot already.
    pub(super) fn pass(&mut self, header: &BatchHeader, from: i64) {
        if header.last_offset() >= from {
            self.note(header, None);
        }
    }

    /// The next batch; `marker` is what a control batch says. Returns the transaction that it aborts, as Kafka's
    /// `ProducerStateManager.completeTxn` would index it.
    pub(super) fn note(
        &mut self,
        header: &BatchHeader,
        marker: Option<ControlType>,
    ) -> Option<AbortedTxn> {
        let producer_id = header.producer_id;
        if producer_id < 0 || !header.is_transactional() {
            return None;
        }
        if !header.is_control() {
            self.first_offsets
                .entry(producer_id)
                .or_insert(header.base_offset);
            return None;
        }
        let first_offset = self.first_offsets.remove(&producer_id)?;
        let last_offset = header.last_offset();
        let still_open = self.first_offsets.values().min().copied();
        // A snapshot can claim anything; an entry must make sense.
        let aborted = marker == Some(ControlType::Abort) && first_offset < last_offset;
        aborted.then_some(AbortedTxn {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset: still_open.unwrap_or(last_offset.saturating_add(1)),
        })
    }
}
