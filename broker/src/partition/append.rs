//! Appending a produced batch as the leader: check, order, stamp, hand to the log. Nothing here waits.

use millstream_protocol::batch::{self, BatchError, BatchHeader, ProduceRules, TimestampType};
use millstream_protocol::error::ErrorCode;
use millstream_state::partition::producers::Checked;
use millstream_storage::Ticket;

use super::Partition;
use super::refusal::Refusal;
use crate::clock::Moment;

/// A batch that is in the log, or was there already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The broker's time for a topic with LogAppendTime, else -1.
    pub(crate) log_append_time: i64,
    pub(crate) log_start_offset: i64,
    /// What has to be flushed before this is answered; `None` if it is.
    pub(crate) ticket: Option<Ticket>,
}

impl Partition {
    /// Appends what a client produced. Producer state must be loaded if the batch carries a producer id.
    pub(crate) fn append_produced(
        &self,
        batch: &[u8],
        produce_version: i16,
        now: Moment,
    ) -> Result<Appended, Refusal> {
        if self.deleted.get() {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        }
        let config = self.config.borrow().clone();
        let rules = ProduceRules {
            produce_version,
            now: now.wall_ms,
            ..config.rules
        };
        let header = batch::verify_produced(batch, &rules)
            .map_err(|error| self.refusal(error, batch, &rules))?;
        if header.is_transactional() {
            return Err(ErrorCode::InvalidTxnState.into());
        }
        let log_append_time = match rules.timestamp_type {
            TimestampType::LogAppendTime => now.wall_ms,
            TimestampType::CreateTime => -1,
        };
        match config.codec.filter(|codec| *codec != header.codec()) {
            Some(codec) => {
                let (header, batch) =
                    batch::recode(batch, &header, codec, config.codec_level, &rules)
                        .map_err(|error| self.refusal(error, batch, &rules))?;
                self.append_verified(&batch, header, log_append_time, now)
            }
            None => self.append_verified(batch, header, log_append_time, now),
        }
    }

    /// What is said of a batch that fails the checks. All records that are wrong in themselves are told, as Kafka does;
    /// they are looked for only now.
    fn refusal(&self, error: BatchError, batch: &[u8], rules: &ProduceRules) -> Refusal {
        match &error {
            // Not one whole batch of this format: refused before its log is looked at.
            BatchError::Missing
            | BatchError::Several { .. }
            | BatchError::Magic(_)
            | BatchError::ZstdVersion { .. } => error.into(),
            _ => {
                let wrong = batch::rejected_records(batch, rules);
                let refusal = match wrong.is_empty() {
                    true => error.into(),
                    false => Refusal::of_records(wrong, &format!("{}-{}", self.topic, self.index)),
                };
                refusal.at(self.log.log_start_offset())
            }
        }
    }

    fn append_verified(
        &self,
        batch: &[u8],
        header: BatchHeader,
        log_append_time: i64,
        now: Moment,
    ) -> Result<Appended, Refusal> {
        if header.has_producer_id() {
            let checked = self.producers.borrow().check(&header).map_err(|code| {
                self.tell_refused(&header, code);
                Refusal::from(code).at(self.log.log_start_offset())
            })?;
            if let Checked::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            } = checked
            {
                return Ok(Appended {
                    base_offset,
                    // Of the batch that is there, also where the topic keeps the producer's times, as Kafka.
                    log_append_time: timestamp,
                    log_start_offset: self.log.log_start_offset(),
                    ticket: self
                        .last_ticket
                        .get()
                        .filter(|_| self.log.flushed_end_offset() <= last_offset),
                });
            }
        }
        let appended = self.log.append(batch, header, self.leader_epoch.get())?;
        if header.has_producer_id() {
            self.producers
                .borrow_mut()
                .update(&header, appended.base_offset, now.steady_ms);
        }
        self.last_ticket.set(Some(appended.ticket));
        if appended.ticket.when_written && self.waiters.is_awaited() {
            self.log.flush_soon();
        }
        Ok(Appended {
            base_offset: appended.base_offset,
            log_append_time,
            log_start_offset: self.log.log_start_offset(),
            ticket: Some(appended.ticket),
        })
    }

    /// What an idempotent producer did wrong, for whoever looks into it.
    fn tell_refused(&self, header: &BatchHeader, code: ErrorCode) {
        let known = self
            .producers
            .borrow()
            .entries()
            .into_iter()
            .find(|entry| entry.producer_id == header.producer_id);
        tracing::debug!(
            "{}-{}: {} for producer {} epoch {}: sequence {} to {}, known {known:?}, log {}..{} flushed {}",
            self.topic,
            self.index,
            code.name(),
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.last_sequence(),
            self.log.log_start_offset(),
            self.log.log_end_offset(),
            self.log.flushed_end_offset(),
        );
    }

    /// Appends a batch the broker built itself (internal topics).
    pub(crate) fn append_internal(&self, batch: &[u8]) -> Result<Appended, Refusal> {
        if self.deleted.get() {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        }
        let header = BatchHeader::read(batch)?;
        let appended = self
            .log
            .append_from_reserve(batch, header, self.leader_epoch.get())?;
        self.last_ticket.set(Some(appended.ticket));
        Ok(Appended {
            base_offset: appended.base_offset,
            log_append_time: -1,
            log_start_offset: self.log.log_start_offset(),
            ticket: Some(appended.ticket),
        })
    }
}
