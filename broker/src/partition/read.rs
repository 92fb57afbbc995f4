//! Reading as a consumer: never past the high watermark, epochs checked first.

use millstream_protocol::error::ErrorCode;
use millstream_ring::Bytes;
use millstream_storage::ReadError;

use super::Partition;
use crate::api::errors;

/// What is asked of one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) offset: i64,
    pub(crate) max_bytes: usize,
    /// The epoch the client thinks is current, -1 if it does not say.
    pub(crate) current_leader_epoch: i32,
    /// The epoch of the last record the client has, -1 if it does not say.
    pub(crate) last_fetched_epoch: i32,
    /// The client leaves out aborted records (isolation level 1) and needs to know which they are.
    pub(crate) read_committed: bool,
}

/// What one partition gives.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    /// (epoch, end offset) where the client's history differs from ours (KIP-595).
    pub(crate) diverging: Option<(i32, i64)>,
    pub(crate) records: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// Producer and first offset of each aborted transaction in the records, for those who read committed ones.
    pub(crate) aborted: Option<Vec<(i64, i64)>>,
}

impl Given {
    /// An error and nothing else.
    pub(crate) fn error(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            log_start_offset: -1,
            diverging: None,
            records: Vec::new(),
            bytes: 0,
            aborted: None,
        }
    }
}

impl Partition {
    /// FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH if the client's epoch is not ours; -1 is not checked.
    pub(crate) fn check_epoch(&self, current_leader_epoch: i32) -> Result<(), ErrorCode> {
        match current_leader_epoch {
            -1 => Ok(()),
            epoch if epoch < self.leader_epoch.get() => Err(ErrorCode::FencedLeaderEpoch),
            epoch if epoch > self.leader_epoch.get() => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Batches from `wanted.offset`, at most `budget` bytes of them, or the first whatever its size if `at_least_one`.
    pub(crate) async fn read(&self, wanted: Wanted, budget: usize, at_least_one: bool) -> Given {
        if let Err(code) = self.check_epoch(wanted.current_leader_epoch) {
            return Given::error(code);
        }
        if self.deleted.get() {
            return Given::error(ErrorCode::UnknownTopicOrPartition);
        }
        let mut given = Given {
            error: ErrorCode::None,
            high_watermark: self.high_watermark(),
            log_start_offset: self.log.log_start_offset(),
            diverging: self.divergence(wanted),
            records: Vec::new(),
            bytes: 0,
            aborted: wanted.read_committed.then(Vec::new),
        };
        match given.diverging {
            // An epoch that never was here (Partition.readRecords).
            Some((-1, _)) => return Given::error(ErrorCode::OffsetOutOfRange),
            Some(_) => return given,
            None => {}
        }
        if wanted.offset < given.log_start_offset || wanted.offset > self.log.log_end_offset() {
            return Given {
                high_watermark: -1,
                log_start_offset: -1,
                ..Given::error(ErrorCode::OffsetOutOfRange)
            };
        }
        if wanted.offset >= given.high_watermark {
            self.log.flush_soon();
            return given;
        }
        let max_bytes = wanted.max_bytes.min(budget);
        if max_bytes == 0 && !at_least_one {
            return given;
        }
        let tail = self
            .log
            .read_tail(wanted.offset, max_bytes, given.high_watermark, at_least_one);
        let outcome = match tail {
            Some(outcome) => outcome,
            None => {
                self.log
                    .read(wanted.offset, max_bytes, given.high_watermark, at_least_one)
                    .await
            }
        };
        match outcome {
            Ok(read) => {
                given.records = read.parts;
                given.bytes = read.bytes;
                match self.aborted(wanted, given.high_watermark).await {
                    Ok(aborted) => Given { aborted, ..given },
                    Err(error) => Given::error(errors::of_read(&error)),
                }
            }
            Err(_) if self.deleted.get() => Given::error(ErrorCode::UnknownTopicOrPartition),
            Err(error) => Given::error(errors::of_read(&error)),
        }
    }

    /// Those that end behind what is returned do no harm: the client looks at each when it comes to its first offset.
    async fn aborted(
        &self,
        wanted: Wanted,
        high_watermark: i64,
    ) -> Result<Option<Vec<(i64, i64)>>, ReadError> {
        if !wanted.read_committed {
            return Ok(None);
        }
        let aborted = self
            .log
            .aborted_transactions(wanted.offset, high_watermark)
            .await?;
        Ok(Some(
            aborted
                .iter()
                .map(|transaction| (transaction.producer_id, transaction.first_offset))
                .collect(),
        ))
    }

    /// Where the client's last fetched epoch ends here, if that is before the offset it asks for.
    fn divergence(&self, wanted: Wanted) -> Option<(i32, i64)> {
        if wanted.last_fetched_epoch < 0 {
            return None;
        }
        let (epoch, end_offset) = self.log.offset_for_epoch(wanted.last_fetched_epoch);
        (epoch != wanted.last_fetched_epoch || end_offset < wanted.offset)
            .then_some((epoch, end_offset))
    }
}
