//! `.index` and `.timeindex`: sparse ways into a segment (Kafka's `OffsetIndex`, `TimeIndex`, `LogSegment.append`).
//!
//! Both follow from the batches alone, so they are written late and rebuilt when they make no sense. Kafka leaves
//! zeros behind the entries of a file that it preallocated: they are padding, cut while reading.

use millstream_protocol::batch::BatchHeader;

/// Bytes of an entry of `.index`: offset − base offset, position.
pub const OFFSET_ENTRY: usize = 8;
/// Bytes of an entry of `.timeindex`: timestamp, offset − base offset.
pub const TIME_ENTRY: usize = 12;

/// How many entries of each index a segment being written keeps in memory. When they are used up every second one
/// goes and only every second of the coming ones is kept: a lookup then scans twice as far.
const ENTRIES_IN_MEMORY_MAX: usize = 512;

/// The batch whose last offset is `offset` begins at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Absolute.
    pub offset: i64,
    /// In the file.
    pub position: u32,
}

/// Up to and including the batch whose last offset is `offset`, no timestamp is larger than `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// Milliseconds.
    pub timestamp: i64,
    /// Absolute.
    pub offset: i64,
}

/// What an index needs to know of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSpan {
    /// Where it begins in the file.
    pub position: u32,
    /// Its whole length.
    pub bytes: u32,
    /// Its last offset.
    pub last_offset: i64,
    /// Its largest timestamp, -1 if none.
    pub max_timestamp: i64,
}

impl BatchSpan {
    /// Of the batch with this header at this position; a segment is shorter than 2 GiB.
    pub fn new(position: u64, header: &BatchHeader) -> BatchSpan {
        BatchSpan {
            position: u32::try_from(position).unwrap_or(u32::MAX),
            bytes: u32::try_from(header.total_len()).unwrap_or(u32::MAX),
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
        }
    }
}

/// Index files that were read and cannot be right: they are rebuilt from the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not a whole number of entries.
    #[error("{0} bytes are no whole number of entries")]
    Length(usize),
    /// Entries do not rise.
    #[error("entry {0} is out of order")]
    Order(usize),
    /// An entry leads outside of its segment.
    #[error("entry {0} leads outside of the segment")]
    Range(usize),
}

/// A whole `.index` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: i64,
    entries: Vec<OffsetEntry>,
}

impl OffsetIndex {
    /// Reads the file's bytes. Checked as Kafka does when it loads a segment, and further: every entry rises in offset
    /// and position and leads into the `log_size` bytes of the segment. A wrong entry would hide records.
    pub fn decode(
        base_offset: i64,
        bytes: &[u8],
        log_size: u64,
    ) -> Result<OffsetIndex, IndexError> {
        let (raw, rest) = bytes.as_chunks::<OFFSET_ENTRY>();
        if !rest.is_empty() {
            return Err(IndexError::Length(bytes.len()));
        }
        let mut entries: Vec<OffsetEntry> = Vec::new();
        for (i, entry) in used(raw).iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = *entry;
            let position = u32::from_be_bytes([e, f, g, h]);
            let offset = absolute(base_offset, [a, b, c, d]).ok_or(IndexError::Range(i))?;
            if u64::from(position) >= log_size {
                return Err(IndexError::Range(i));
            }
            let rises = |last: &OffsetEntry| last.offset < offset && last.position < position;
            if !entries.last().is_none_or(rises) {
                return Err(IndexError::Order(i));
            }
            entries.push(OffsetEntry { offset, position });
        }
        Ok(OffsetIndex {
            base_offset,
            entries,
        })
    }

    /// The file's bytes, without padding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * OFFSET_ENTRY);
        for entry in &self.entries {
            put_offset_entry(&mut bytes, self.base_offset, *entry);
        }
        bytes
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[OffsetEntry] {
        &self.entries
    }
}

/// A whole `.timeindex` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: i64,
    entries: Vec<TimeEntry>,
}

impl TimeEntry {
    /// Whether the batch with this header is the one that the entry was made for.
    pub fn is_of(&self, header: &BatchHeader) -> bool {
        let offsets = header.base_offset..=header.last_offset();
        header.max_timestamp == self.timestamp && offsets.contains(&self.offset)
    }
}

impl TimeIndex {
    /// Reads the file's bytes; `end_offset` is the segment's: no entry may name an offset at or above it.
    pub fn decode(
        base_offset: i64,
        end_offset: i64,
        bytes: &[u8],
    ) -> Result<TimeIndex, IndexError> {
        let (raw, rest) = bytes.as_chunks::<TIME_ENTRY>();
        if !rest.is_empty() {
            return Err(IndexError::Length(bytes.len()));
        }
        let mut entries: Vec<TimeEntry> = Vec::new();
        for (i, entry) in used(raw).iter().enumerate() {
            let [a, b, c, d, e, f, g, h, offset @ ..] = *entry;
            let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let offset = absolute(base_offset, offset).ok_or(IndexError::Range(i))?;
            if offset >= end_offset {
                return Err(IndexError::Range(i));
            }
            let rises = |last: &TimeEntry| last.timestamp < timestamp && last.offset <= offset;
            if timestamp < 0 || !entries.last().is_none_or(rises) {
                return Err(IndexError::Order(i));
            }
            entries.push(TimeEntry { timestamp, offset });
        }
        Ok(TimeIndex {
            base_offset,
            entries,
        })
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[TimeEntry] {
        &self.entries
    }

    /// The file's bytes, without padding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * TIME_ENTRY);
        for entry in &self.entries {
            put_time_entry(&mut bytes, self.base_offset, *entry);
        }
        bytes
    }

    /// The last entry. After a roll or a close it names the largest timestamp of the segment.
    pub fn last(&self) -> Option<TimeEntry> {
        self.entries.last().copied()
    }
}

/// Both indexes of a segment from all of its batches.
pub fn rebuild(
    base_offset: i64,
    index_interval_bytes: u32,
    spans: impl IntoIterator<Item = BatchSpan>,
) -> (OffsetIndex, TimeIndex) {
    let mut rule = Rule::new(base_offset, index_interval_bytes);
    let mut offsets = Vec::new();
    let mut times = Vec::new();
    for span in spans {
        let (offset, time) = rule.push(span);
        offsets.extend(offset);
        times.extend(time);
    }
    times.extend(rule.final_time_entry());
    let offsets = OffsetIndex {
        base_offset,
        entries: offsets,
    };
    let times = TimeIndex {
        base_offset,
        entries: times,
    };
    (offsets, times)
}

/// Bytes to be written into the index files, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// Position in `.index`.
    pub offset_at: u64,
    /// Whole entries.
    pub offsets: Vec<u8>,
    /// Position in `.timeindex`.
    pub time_at: u64,
    /// Whole entries.
    pub times: Vec<u8>,
}

/// The indexes of the segment being written: entries on their way to the files, and a thinned copy to look up.
#[derive(Clone, Debug)]
pub struct ActiveIndex {
    rule: Rule,
    offsets: Thinned<OffsetEntry>,
    times: Thinned<TimeEntry>,
    unwritten: Unwritten,
}

impl ActiveIndex {
    /// For an empty segment.
    pub fn new(base_offset: i64, index_interval_bytes: u32) -> ActiveIndex {
        ActiveIndex {
            rule: Rule::new(base_offset, index_interval_bytes),
            offsets: Thinned::default(),
            times: Thinned::default(),
            unwritten: Unwritten::default(),
        }
    }

    /// Continues what the files hold. The batches from [`ActiveIndex::resume_position`] on are pushed next: the
    /// indexed one comes again, since its successors' distance is counted from it.
    pub fn resume(
        index_interval_bytes: u32,
        offsets: &OffsetIndex,
        times: &TimeIndex,
    ) -> ActiveIndex {
        assert_eq!(offsets.base_offset, times.base_offset);
        let mut index = ActiveIndex::new(offsets.base_offset, index_interval_bytes);
        offsets.entries.iter().for_each(|e| index.offsets.push(*e));
        times.entries.iter().for_each(|e| index.times.push(*e));
        index.unwritten.offset_at = (offsets.entries.len() * OFFSET_ENTRY) as u64;
        index.unwritten.time_at = (times.entries.len() * TIME_ENTRY) as u64;
        index.rule.last_offset_entry = offsets.entries.last().copied();
        index.rule.last_time_entry = times.last();
        index.rule.largest = times.last();
        index
    }

    /// The segment's.
    pub fn base_offset(&self) -> i64 {
        self.rule.base_offset
    }

    /// From which position on batches are missing here.
    pub fn resume_position(&self) -> u32 {
        self.rule
            .last_offset_entry
            .map_or(0, |entry| entry.position)
    }

    /// Notes the next batch of the segment.
    pub fn push(&mut self, span: BatchSpan) {
        let base_offset = self.rule.base_offset;
        let (offset, time) = self.rule.push(span);
        if let Some(entry) = offset {
            put_offset_entry(&mut self.unwritten.offsets, base_offset, entry);
            self.offsets.push(entry);
        }
        if let Some(entry) = time {
            put_time_entry(&mut self.unwritten.times, base_offset, entry);
            self.times.push(entry);
        }
    }

    /// From where a forward scan finds the batch that contains `offset`: 0 if no entry is nearer.
    pub fn position_for(&self, offset: i64) -> u32 {
        floor_position(&self.offsets.kept, offset)
    }

    /// The last entry below `timestamp`: from its offset on a record with that timestamp is to be looked for.
    pub fn time_before(&self, timestamp: i64) -> Option<TimeEntry> {
        below(&self.times.kept, timestamp)
    }

    /// Whether one of the files has used up `segment.index.bytes`: the segment must roll before the next batch. Kafka
    /// keeps the last slot of the time index for the entry that rolling adds.
    pub fn is_full(&self, segment_index_bytes: u32) -> bool {
        let slots = |entry: usize| segment_index_bytes as usize / entry;
        self.offsets.total >= slots(OFFSET_ENTRY) || self.times.total + 1 >= slots(TIME_ENTRY)
    }

    /// Takes the bytes that the files do not have yet: the caller writes them.
    pub fn take_unwritten(&mut self) -> Unwritten {
        let next = Unwritten {
            offset_at: self.unwritten.offset_at + self.unwritten.offsets.len() as u64,
            time_at: self.unwritten.time_at + self.unwritten.times.len() as u64,
            ..Unwritten::default()
        };
        std::mem::replace(&mut self.unwritten, next)
    }

    /// Takes back what could not be written: it comes again, before what was added since.
    pub fn put_back(&mut self, mut taken: Unwritten) {
        let since = &self.unwritten;
        assert_eq!(
            (
                taken.offset_at + taken.offsets.len() as u64,
                taken.time_at + taken.times.len() as u64
            ),
            (since.offset_at, since.time_at),
            "the last that was taken"
        );
        taken.offsets.extend_from_slice(&since.offsets);
        taken.times.extend_from_slice(&since.times);
        self.unwritten = taken;
    }

    /// Rolling and closing add a last time entry, so that the file alone tells the largest timestamp.
    pub fn finish(&mut self) -> Unwritten {
        if let Some(entry) = self.rule.final_time_entry() {
            put_time_entry(&mut self.unwritten.times, self.rule.base_offset, entry);
            self.times.push(entry);
        }
        self.take_unwritten()
    }
}

/// When Kafka adds entries: for a batch that begins more than `index.interval.bytes` after the last indexed one, and
/// a time entry with it if the largest timestamp has risen since.
#[derive(Clone, Debug)]
struct Rule {
    base_offset: i64,
    index_interval_bytes: u32,
    last_offset_entry: Option<OffsetEntry>,
    last_time_entry: Option<TimeEntry>,
    largest: Option<TimeEntry>,
    end_position: u32,
}

impl Rule {
    fn new(base_offset: i64, index_interval_bytes: u32) -> Rule {
        Rule {
            base_offset,
            index_interval_bytes,
            last_offset_entry: None,
            last_time_entry: None,
            largest: None,
            end_position: 0,
        }
    }

    fn push(&mut self, span: BatchSpan) -> (Option<OffsetEntry>, Option<TimeEntry>) {
        assert!(span.position >= self.end_position, "batches in file order");
        assert!(span.last_offset >= self.base_offset);
        self.end_position = span.position.saturating_add(span.bytes);
        let rises = |largest: TimeEntry| span.max_timestamp > largest.timestamp;
        if span.max_timestamp >= 0 && self.largest.is_none_or(rises) {
            self.largest = Some(TimeEntry {
                timestamp: span.max_timestamp,
                offset: span.last_offset,
            });
        }
        let indexed = self.last_offset_entry.map_or(0, |entry| entry.position);
        if span.position.saturating_sub(indexed) <= self.index_interval_bytes {
            return (None, None);
        }
        let entry = OffsetEntry {
            offset: span.last_offset,
            position: span.position,
        };
        self.last_offset_entry = Some(entry);
        (Some(entry), self.final_time_entry())
    }

    /// The time entry that is due if one is added now.
    fn final_time_entry(&mut self) -> Option<TimeEntry> {
        let largest = self.largest?;
        let due = self
            .last_time_entry
            .is_none_or(|last| largest.timestamp > last.timestamp);
        due.then(|| *self.last_time_entry.insert(largest))
    }
}

/// Every `stride`-th of the entries pushed.
#[derive(Clone, Debug)]
struct Thinned<T> {
    kept: Vec<T>,
    stride: usize,
    total: usize,
}

impl<T> Default for Thinned<T> {
    fn default() -> Self {
        Thinned {
            kept: Vec::new(),
            stride: 1,
            total: 0,
        }
    }
}

impl<T> Thinned<T> {
    fn push(&mut self, entry: T) {
        if self.total.is_multiple_of(self.stride) {
            if self.kept.len() == ENTRIES_IN_MEMORY_MAX {
                let mut index = 0;
                self.kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
            // 512 is even: the entry that did not fit is a multiple of the new stride too.
            self.kept.push(entry);
        }
        self.total += 1;
        assert!(self.kept.len() <= ENTRIES_IN_MEMORY_MAX);
    }
}

fn floor_position(entries: &[OffsetEntry], offset: i64) -> u32 {
    let after = entries.partition_point(|entry| entry.offset <= offset);
    after.checked_sub(1).map_or(0, |i| entries[i].position)
}

fn below(entries: &[TimeEntry], timestamp: i64) -> Option<TimeEntry> {
    let after = entries.partition_point(|entry| entry.timestamp < timestamp);
    Some(entries[after.checked_sub(1)?])
}

/// The entries before the padding. One entry alone is none: Kafka preallocates many, and a time index may well begin with
/// timestamp 0 at the base offset.
fn used<const N: usize>(raw: &[[u8; N]]) -> &[[u8; N]] {
    if raw.len() == 1 {
        return raw;
    }
    let zeros = raw.iter().rev().take_while(|entry| **entry == [0; N]);
    &raw[..raw.len() - zeros.count()]
}

fn absolute(base_offset: i64, relative: [u8; 4]) -> Option<i64> {
    let relative = i32::from_be_bytes(relative);
    (relative >= 0).then(|| base_offset.checked_add(i64::from(relative)))?
}

fn relative(base_offset: i64, offset: i64) -> [u8; 4] {
    let relative = i32::try_from(offset - base_offset).ok().filter(|r| *r >= 0);
    // A segment rolls before its offsets need more than 31 bits.
    relative
        .expect("offset within 2^31 of the segment's base")
        .to_be_bytes()
}

fn put_offset_entry(bytes: &mut Vec<u8>, base_offset: i64, entry: OffsetEntry) {
    bytes.extend_from_slice(&relative(base_offset, entry.offset));
    bytes.extend_from_slice(&entry.position.to_be_bytes());
}

fn put_time_entry(bytes: &mut Vec<u8>, base_offset: i64, entry: TimeEntry) {
    bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
    bytes.extend_from_slice(&relative(base_offset, entry.offset));
}

#[cfg(test)]
mod tests;
