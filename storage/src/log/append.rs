//! Place a stamped batch in the tail. Never waits: durability is news that comes by ticket.

use millstream_protocol::batch::{BatchHeader, HEADER};

use super::{Index, Log, LogState, Segment};
use crate::commit::Ticket;
use crate::error::{AppendError, Offline};
use crate::knobs::BLOCK;
use crate::segment::index::BatchSpan;

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Durable when this is.
    pub ticket: Ticket,
}

impl Log {
    /// Appends one verified batch. `header` is stamped as given, with our base offset and `leader_epoch`:
    /// a caller that sets LogAppendTime has changed its timestamps and CRC already.
    pub fn append(
        &self,
        batch: &[u8],
        header: BatchHeader,
        leader_epoch: i32,
    ) -> Result<Appended, AppendError> {
        if !self.dir.has_room() {
            return Err(AppendError::NoSpace);
        }
        self.append_from_reserve(batch, header, leader_epoch)
    }

    /// The same for what the broker itself has to remember, committed offsets say: it may use the space that is kept in
    /// reserve. Refused only where the journal, too, is about to run out while nothing can be settled.
    pub fn append_from_reserve(
        &self,
        batch: &[u8],
        header: BatchHeader,
        leader_epoch: i32,
    ) -> Result<Appended, AppendError> {
        assert_eq!(
            batch.len(),
            header.total_len(),
            "a verified batch is as long as it says"
        );
        self.check_append(batch.len())?;
        let base_offset = self.log_end_offset.get();
        let mut header = header;
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        // A directory can be found with any number in it.
        let next_offset = base_offset.checked_add(i64::from(header.last_offset_delta) + 1);
        let next_offset = next_offset.ok_or(AppendError::OutOfOffsets)?;
        let last_offset = next_offset - 1;
        assert!(last_offset >= base_offset, "offsets only rise");

        let mut stamped = [0; HEADER];
        header.write(&mut stamped);
        let mut state = self.state.borrow_mut();
        if state.must_roll(&header, self.roll_jitter_ms(&state)) {
            self.roll(&mut state, base_offset);
        }
        let from = state.tail.end();
        let taken = state.tail.append([&stamped, &batch[HEADER..]]);
        state.epochs.assign(leader_epoch, base_offset);
        state.note_batch(from, &header, self.dir.ring.wall_ms());
        self.log_end_offset.set(next_offset);
        let ticket = self.dir.touch(self, &mut state, from, next_offset);
        drop(state);
        let unseen = &self.dir.unseen;
        unseen.set(unseen.get() + batch.len() as u64);
        self.dir.budget.tail_grew(self, taken);
        Ok(Appended {
            base_offset,
            last_offset,
            ticket,
        })
    }

    /// The largest batch this log can store.
    pub fn batch_bytes_max(&self) -> usize {
        let segment = self.state.borrow().config.segment_bytes as usize;
        segment.min(self.dir.unit_bytes_max())
    }

    fn check_append(&self, bytes: usize) -> Result<(), AppendError> {
        if self.dir.is_offline() || self.dir.stopped.get() {
            return Err(Offline.into());
        }
        if self.deleted.get() {
            return Err(AppendError::Deleted);
        }
        if self.dir.is_for_deletions() {
            return Err(AppendError::NoSpace);
        }
        let max = self.batch_bytes_max();
        if bytes > max {
            return Err(AppendError::TooLarge { bytes, max });
        }
        Ok(())
    }

    /// A share of `segment.jitter.ms` that differs between logs, so that they do not all roll at once.
    fn roll_jitter_ms(&self, state: &LogState) -> i64 {
        let jitter = state.config.segment_jitter_ms;
        if jitter <= 0 {
            return 0;
        }
        let spread = crc32c::crc32c(&self.key.id.topic_id) ^ self.key.id.partition as u32;
        i64::from(spread) % jitter
    }

    /// Ends the active segment in memory and begins the next. Its file is made in the background: until it
    /// is there, its bytes go through the journal alone, which can name it already.
    pub(crate) fn roll(&self, state: &mut LogState, base_offset: i64) {
        let old_end = state.active().end();
        let start = state.tail.pad();
        let interval = state.config.index_interval_bytes;
        assert!(
            base_offset > state.active().info.base_offset,
            "a segment has its own base offset"
        );
        state
            .segments
            .push_back(Segment::new(base_offset, start, interval));
        if state.cut == old_end {
            // Nothing of the old segment waits for an entry: its sealed last block stays as it is.
            state.sealed = false;
        }
        state.cut = state.past_padding(state.cut);
        state.flushed = state.past_padding(state.flushed);
        self.dir.wants_maintenance(self);
    }
}

impl LogState {
    /// Kafka's rule (LogSegment.shouldRoll): size, time by record timestamps, index full, offsets out of reach.
    fn must_roll(&self, header: &BatchHeader, jitter_ms: i64) -> bool {
        let active = self.active();
        if active.info.bytes == 0 {
            return false;
        }
        let size =
            active.info.bytes + header.total_len() as u64 > u64::from(self.config.segment_bytes);
        let first = active.info.first_timestamp.unwrap_or(header.max_timestamp);
        let age = header.max_timestamp.saturating_sub(first);
        let time =
            self.config.segment_ms > 0 && age > self.config.segment_ms.saturating_sub(jitter_ms);
        let full = match &active.index {
            Index::Active(index) => index.is_full(self.config.segment_index_bytes),
            _ => false,
        };
        let reach = header.last_offset() - active.info.base_offset > i64::from(i32::MAX);
        size || time || full || reach
    }

    /// Books a batch that stands at `from` in the tail.
    pub(crate) fn note_batch(&mut self, from: u64, header: &BatchHeader, now_ms: i64) {
        if self.marks.back().is_none_or(|&(at, _)| from - at >= BLOCK) {
            self.marks.push_back((from, header.base_offset));
        }
        self.batches_since_snapshot += 1;
        self.unclean = true;
        let active = self.active_mut();
        assert_eq!(active.end(), from, "batches follow each other");
        let span = BatchSpan {
            position: (from - active.start) as u32,
            bytes: header.total_len() as u32,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
        };
        match &mut active.index {
            Index::Active(index) => index.push(span),
            Index::Unread(spans) => spans.push(span),
            Index::OnDisk => panic!("append to a closed segment"),
        }
        let info = &mut active.info;
        info.bytes += header.total_len() as u64;
        info.end_offset = header.next_offset();
        info.modified_ms = now_ms;
        info.first_timestamp = info.first_timestamp.or(Some(header.max_timestamp));
        if header.max_timestamp > info.largest_timestamp {
            info.largest_timestamp = header.max_timestamp;
            info.largest_timestamp_offset = header.last_offset();
        }
    }
}
