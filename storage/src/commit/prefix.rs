//! The first block of a log that is continued without it in memory.

use millstream_ring::Buffer;

use super::units::Unit;
use crate::knobs::BLOCK;
use crate::log::Log;
use crate::store::core_dir::CoreDir;
use crate::store::event::{Local, join_all};

impl CoreDir {
    /// Logs that were continued without their last block in memory: read it, its bytes belong into the entry.
    pub(super) async fn fetch_prefixes(&self, unit: &Unit) {
        let missing: Vec<Local<'_, ()>> = unit
            .touches
            .iter()
            .filter(|t| {
                let state = t.log.state.borrow();
                state.sealed && state.prefix.is_none() && state.tail.missing_prefix().is_some()
            })
            .map(|t| Box::pin(self.fetch_prefix(&t.log)) as Local<'_, ()>)
            .collect();
        if !missing.is_empty() {
            join_all(missing).await;
        }
    }

    async fn fetch_prefix(&self, log: &Log) {
        let (base, position, len) = {
            let state = log.state.borrow();
            let Some(missing) = state.tail.missing_prefix() else {
                return;
            };
            let segment = state
                .segment_at(missing.start)
                .expect("the sealed block lies in a segment");
            (
                segment.info.base_offset,
                missing.start - segment.start,
                (missing.end - missing.start) as usize,
            )
        };
        let read = async {
            let file = self.segment_file(log, base).await?;
            file.read_at(position, BLOCK as usize).await
        };
        match read.await {
            Ok(bytes) if bytes.len() >= len => {
                log.state.borrow_mut().prefix = Some(bytes.freeze());
            }
            _ if log.deleted.get() => {
                let mut zeros = Buffer::with_capacity(BLOCK as usize);
                zeros.resize_zeroed(BLOCK as usize);
                log.state.borrow_mut().prefix = Some(zeros.freeze());
            }
            Ok(bytes) => {
                // Gone, as reads of it say. The log goes on behind it.
                tracing::error!("{}: the end of segment {base} is missing", log.name);
                let mut block = Buffer::with_capacity(BLOCK as usize);
                block.extend_from_slice(&bytes);
                block.resize_zeroed(BLOCK as usize);
                log.state.borrow_mut().prefix = Some(block.freeze());
            }
            Err(cause) => self.fail(&cause, "read the end of a segment"),
        }
    }
}
