//! What the disk no longer has as it was written: found when something looks wrong, said once, read around.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use millstream_protocol::batch::BatchHeader;

use super::Log;
use crate::error::{Offline, ReadError};
use crate::files::Access;
use crate::segment::index::BatchSpan;
use crate::segment::survey::{Bounds, Damage, Flaw, Stretch, Survey};

/// The damage in a segment, the batches without, and where in the file that ended.
type Looked = (Vec<Damage>, Vec<BatchSpan>, u64);

/// The bytes around `offset` in which everything is as it was written, or the damage that has the offset.
pub(super) fn intact_part(damages: &[Damage], offset: i64) -> Result<Range<u64>, Damage> {
    if let Some(damage) = damages.iter().find(|d| d.offsets.contains(&offset)) {
        return Err(damage.clone());
    }
    let after = damages.partition_point(|d| d.offsets.end <= offset);
    let start = after
        .checked_sub(1)
        .map_or(0, |i| damages[i].position + damages[i].bytes);
    let end = damages.get(after).map_or(u64::MAX, |d| d.position);
    Ok(start..end)
}

impl Log {
    /// The damage in a segment that was surveyed.
    pub(super) fn surveyed(&self, base: i64) -> Option<Rc<[Damage]>> {
        let mut state = self.state.borrow_mut();
        state.segment_mut(base)?.surveyed.clone()
    }

    /// Reads all of a segment that its file has, remembers and reports what is wrong in it.
    pub(super) async fn survey(&self, base: i64) -> Result<Rc<[Damage]>, ReadError> {
        let (damages, _, _) = self.find_damage(base).await?;
        Ok(self.remember_damage(base, damages))
    }

    /// Reports what was found, once, and answers it to readers from now on.
    pub(crate) fn remember_damage(&self, base: i64, damages: Vec<Damage>) -> Rc<[Damage]> {
        let known = self.surveyed(base);
        if let Some(known) = known.filter(|known| known.len() == damages.len()) {
            return known;
        }
        let damages: Rc<[Damage]> = damages.into();
        for damage in damages.iter() {
            tracing::error!(
                "{}: segment {base} is damaged: {damage}; what is before and behind it is served",
                self.name
            );
        }
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.surveyed = Some(damages.clone());
        }
        damages
    }

    /// What a segment's index can be made of: its batches up to `end` that are as they were written.
    pub(crate) async fn intact_spans(
        &self,
        base: i64,
        end: u64,
    ) -> Result<Vec<BatchSpan>, ReadError> {
        let (_, mut spans, looked_to) = self.find_damage(base).await?;
        if let Ok(headers) = self.headers(base, looked_to, end).await {
            spans.extend(
                headers
                    .iter()
                    .map(|(at, header)| BatchSpan::new(*at, header)),
            );
        }
        spans.retain(|span| u64::from(span.position) < end);
        Ok(spans)
    }

    async fn find_damage(&self, base: i64) -> Result<Looked, ReadError> {
        let (bounds, closed, epochs) = {
            let mut state = self.state.borrow_mut();
            let (in_file, epochs) = (state.tail.start().min(state.flushed), state.epochs.clone());
            let Some(segment) = state.segment_mut(base) else {
                return Err(Offline.into());
            };
            let closed = segment.closed;
            let in_file = match closed {
                true => segment.info.bytes,
                false => in_file.min(segment.end()).saturating_sub(segment.start),
            };
            let end = segment.info.end_offset.min(self.flushed_end_offset.get());
            let bounds = Bounds {
                bytes: in_file,
                offsets: base..end,
                open: !closed,
            };
            (bounds, closed, epochs)
        };
        if bounds.bytes == 0 {
            return Ok((Vec::new(), Vec::new(), 0));
        }
        let access = match closed {
            true => Access::Buffered,
            false => Access::Direct,
        };
        let find = async || -> io::Result<Looked> {
            let file = self.dir.files.get(&self.segment_path(base), access).await?;
            let mut survey = Survey::new(file, access, bounds, &epochs);
            let (mut damages, mut spans) = (Vec::new(), Vec::new());
            while let Some(stretch) = survey.next().await? {
                match stretch {
                    Stretch::Damage(damage) => damages.push(damage),
                    Stretch::Batch(at, header) => spans.push(BatchSpan::new(at, &header)),
                }
            }
            Ok((damages, spans, survey.position()))
        };
        find().await.map_err(|source| ReadError::Io {
            base_offset: base,
            source,
        })
    }

    /// A batch that no survey found damaged: it goes on from the file into memory, or has changed since.
    pub(super) fn damaged_besides(
        &self,
        base: i64,
        offset: i64,
        position: u64,
        header: Option<BatchHeader>,
        flaw: Flaw,
    ) -> Damage {
        let end = self.flushed_end_offset.get();
        // As far as its header says, unless memory knows of a batch before that.
        let holds = header.filter(|h| h.base_offset <= offset && offset <= h.last_offset());
        let offsets = holds.map_or(offset..offset + 1, |h| h.base_offset..h.next_offset());
        let state = self.state.borrow();
        let marks = state.marks.iter().map(|(_, at)| *at);
        let next = marks.filter(|at| *at > offset).min().unwrap_or(end);
        drop(state);
        // The next read surveys the segment again.
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.surveyed = None;
        }
        let damage = Damage {
            offsets: offsets.start..offsets.end.min(next).max(offset + 1),
            position,
            bytes: header.map_or(0, |h| h.total_len() as u64),
            flaw,
        };
        tracing::error!("{}: segment {base} is damaged: {damage}", self.name);
        damage
    }
}
