//! What the disk no longer has as it was written: found when something looks wrong, said once, read around.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use millstream_ring::{Buffer, Bytes};

use super::Log;
use crate::error::{Offline, ReadError};
use crate::segment::index::BatchSpan;
use crate::segment::survey::{Bounds, Damage, Flaw, Source, Stretch, Survey};

/// The damage in a segment, the batches without, and where in the segment that ended.
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
        self.state.borrow().segment(base)?.surveyed.clone()
    }

    /// Reads all batches of a segment that begin in its file, remembers and reports what is wrong with them.
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
        let (bounds, epochs) = {
            let state = self.state.borrow();
            let Some(segment) = state.segment(base) else {
                return Err(Offline.into());
            };
            let end = (segment.end(), segment.info.end_offset);
            let end = match segment.closed {
                true => end,
                false => {
                    let flushed = (state.flushed, self.flushed_end_offset.get());
                    let first_in_memory = state.tail.start().max(segment.start);
                    let mut marks = state.marks.iter().copied();
                    let mark = marks.find(|(at, _)| *at >= first_in_memory);
                    end.min(flushed).min(mark.unwrap_or(end))
                }
            };
            let bounds = Bounds {
                bytes: end.0.saturating_sub(segment.start),
                offsets: base..end.1,
            };
            (bounds, state.epochs.clone())
        };
        let mut survey = Survey::new(InLog { log: self, base }, bounds, &epochs);
        let (mut damages, mut spans) = (Vec::new(), Vec::new());
        let mut find = async || -> io::Result<()> {
            while let Some(stretch) = survey.next().await? {
                match stretch {
                    Stretch::Damage(damage) => damages.push(damage),
                    Stretch::Batch(at, header) => spans.push(BatchSpan::new(at, &header)),
                }
            }
            Ok(())
        };
        find().await.map_err(|source| ReadError::Io {
            base_offset: base,
            source,
        })?;
        Ok((damages, spans, survey.position()))
    }

    /// The damage that has `offset`, of a segment that has changed since it was surveyed.
    pub(super) async fn changed_at(
        &self,
        base: i64,
        offset: i64,
        position: u64,
        flaw: Flaw,
    ) -> Result<Damage, ReadError> {
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.surveyed = None;
        }
        let damages = self.survey(base).await?;
        Ok(intact_part(&damages, offset).err().unwrap_or(Damage {
            offsets: offset..offset + 1,
            position,
            bytes: 0,
            flaw,
        }))
    }
}

/// A segment as its readers see it: what its file has no more or not yet is in memory.
struct InLog<'a> {
    log: &'a Log,
    base: i64,
}

impl Source for InLog<'_> {
    async fn bytes(&self, range: Range<u64>) -> io::Result<Bytes> {
        let len = range.end - range.start;
        let window = self.log.window(self.base, range.start, len).await;
        let mut parts = window.map_err(io::Error::other)?.take(range);
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut joined = Buffer::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        Ok(joined.freeze())
    }

    /// The file may end before what memory has begins.
    fn resumes_behind(&self, position: u64) -> Option<u64> {
        let state = self.log.state.borrow();
        let start = state.segment(self.base)?.start;
        let in_memory = state.tail.start().checked_sub(start)?;
        (in_memory > position).then_some(in_memory)
    }
}
