//! Layout of a journal entry: one header, then items, padded with zeros to whole blocks.
//!
//! All integers little endian: nobody but us reads a journal.
//!
//! | at | field |
//! |--:|---|
//! | 0 | magic `MSJ3` |
//! | 4 | CRC-32C of the header after it: a header says what it says, whatever became of the payload |
//! | 8 | generation: which start of the process wrote it |
//! | 16 | sequence: rises by one with each entry of a journal |
//! | 24 | the CRC at 4 of the entry before: a chain that a stale entry cannot join |
//! | 28 | bytes of payload |
//! | 32 | flushed: every entry up to this sequence was on the device when this one was written |
//! | 40 | replay from: entries below it are no longer needed |
//! | 48 | core |
//! | 52 | first eight bytes of the directory id: a journal copied elsewhere has no authority |
//! | 60 | items |
//! | 64 | how far the log table was on the device, as [`crate::table`] counts: one that has less is damaged |
//! | 72 | CRC-32C of the payload |
//! | 76 | payload |

use millstream_ring::Buffer;

use crate::LogId;
use crate::knobs::BLOCK;

pub(crate) const ENTRY_HEADER: usize = 76;
const MAGIC: [u8; 4] = *b"MSJ3";
const BATCH_HEADER: usize = millstream_protocol::batch::HEADER;

/// A log's name in journal and table. The instance rises with each creation and each start, so that a
/// recreated log can never be confused with its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LogKey {
    pub id: LogId,
    pub instance: u64,
}

/// Which chain an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub generation: u64,
    pub core: u32,
    pub directory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub chain: Chain,
    pub sequence: u64,
    pub previous_crc: u32,
    pub flushed: u64,
    pub replay_from: u64,
    pub items: u32,
    pub table: u64,
    pub payload_bytes: u32,
    pub payload_crc: u32,
    pub crc: u32,
}

impl EntryHeader {
    /// Header and payload.
    pub fn bytes(&self) -> u64 {
        ENTRY_HEADER as u64 + u64::from(self.payload_bytes)
    }

    /// Bytes of the entry on the device.
    pub fn disk_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(BLOCK)
    }
}

/// What an entry says about one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Batches were appended.
    Append(Append<'a>),
    /// Bytes that only the former journals held; says nothing new about the log.
    Carry {
        key: LogKey,
        segment: i64,
        position: u64,
        bytes: &'a [u8],
    },
    /// The log was created, empty.
    Create {
        key: LogKey,
        topic: &'a str,
        start_offset: i64,
    },
    /// The log is gone; its files follow in the background.
    Drop { key: LogKey },
    /// Records below this offset are gone.
    LogStart { key: LogKey, offset: i64 },
}

/// One log's share of a unit: whole batches of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Append<'a> {
    pub key: LogKey,
    /// Base offset of the segment.
    pub segment: i64,
    /// Position of the first batch.
    pub from: u64,
    /// Position after the last.
    pub to: u64,
    /// Offset after the last record.
    pub end_offset: i64,
    /// The batches' headers where their bytes are not all in `pieces` (61 bytes each), else empty.
    pub headers: &'a [u8],
    pub pieces: Vec<Piece<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// The bytes at this position; they may begin before `from`, with the block's earlier bytes.
    Inline { position: u64, bytes: &'a [u8] },
    /// Whole blocks written to the segment beside this entry.
    Direct { position: u64, len: u32, crc: u32 },
}

const KIND_APPEND: u8 = 1;
const KIND_CARRY: u8 = 2;
const KIND_CREATE: u8 = 3;
const KIND_DROP: u8 = 4;
const KIND_LOG_START: u8 = 5;

/// Upper bound of an append's encoding without its bytes: fixed fields, headers and up to three pieces.
pub(crate) fn append_overhead(headers: usize) -> usize {
    1 + KEY_BYTES + 8 * 4 + 4 + headers * BATCH_HEADER + 4 + 3 * 17
}

/// Encoding of carried bytes without the bytes.
pub(crate) const CARRY_OVERHEAD: usize = 1 + KEY_BYTES + 8 + 13;

const KEY_BYTES: usize = 16 + 4 + 8;

/// Builds an entry in aligned memory. Its capacity is fixed, so the caller counts before.
pub(crate) struct EntryBuilder {
    bytes: Buffer,
    items: u32,
    appends: bool,
}

impl EntryBuilder {
    /// `payload_max`: no more bytes of items than this will be added.
    pub fn new(payload_max: usize) -> EntryBuilder {
        let mut bytes =
            Buffer::with_capacity((ENTRY_HEADER + payload_max).next_multiple_of(BLOCK as usize));
        bytes.extend_from_slice(&[0; ENTRY_HEADER]);
        EntryBuilder {
            bytes,
            items: 0,
            appends: false,
        }
    }

    /// Bytes the entry will take on the device.
    pub fn disk_bytes(&self) -> u64 {
        (self.bytes.len() as u64).next_multiple_of(BLOCK)
    }

    /// Without items: it only carries the header's marks.
    pub fn is_mark(&self) -> bool {
        self.items == 0
    }

    /// It has batches that are new.
    pub fn has_appends(&self) -> bool {
        self.appends
    }

    /// How far the log table is on the device.
    pub fn table_reaches(&mut self, mark: u64) {
        self.bytes[64..72].copy_from_slice(&mark.to_le_bytes());
    }

    /// Items that were encoded before.
    pub fn encoded(&mut self, bytes: &[u8], items: u32) {
        self.bytes.extend_from_slice(bytes);
        self.items += items;
    }

    /// Starts an append; exactly `pieces` calls of [`Self::inline`] or [`Self::direct`] follow.
    pub fn append(&mut self, append: &Append<'_>, headers: &[u8], pieces: u32) {
        assert!(headers.len().is_multiple_of(BATCH_HEADER));
        self.items += 1;
        self.appends = true;
        self.bytes.extend_from_slice(&[KIND_APPEND]);
        self.bytes.extend_from_slice(&encode_key(&append.key));
        self.bytes.extend_from_slice(&append.segment.to_le_bytes());
        self.bytes.extend_from_slice(&append.from.to_le_bytes());
        self.bytes.extend_from_slice(&append.to.to_le_bytes());
        self.bytes
            .extend_from_slice(&append.end_offset.to_le_bytes());
        self.bytes
            .extend_from_slice(&((headers.len() / BATCH_HEADER) as u32).to_le_bytes());
        self.bytes.extend_from_slice(headers);
        self.bytes.extend_from_slice(&pieces.to_le_bytes());
    }

    /// A piece whose bytes follow in `parts`.
    pub fn inline<'a>(&mut self, position: u64, len: usize, parts: impl Iterator<Item = &'a [u8]>) {
        self.bytes.extend_from_slice(&[0]);
        self.bytes.extend_from_slice(&position.to_le_bytes());
        self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
        let before = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        assert_eq!(
            self.bytes.len() - before,
            len,
            "a piece is as long as it says"
        );
    }

    /// A piece that stands in the segment.
    pub fn direct(&mut self, position: u64, len: u32, crc: u32) {
        self.bytes.extend_from_slice(&[1]);
        self.bytes.extend_from_slice(&position.to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&crc.to_le_bytes());
    }

    /// Bytes that only older journals hold.
    pub fn carry<'a>(
        &mut self,
        key: &LogKey,
        segment: i64,
        position: u64,
        len: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) {
        self.items += 1;
        self.bytes.extend_from_slice(&[KIND_CARRY]);
        self.bytes.extend_from_slice(&encode_key(key));
        self.bytes.extend_from_slice(&segment.to_le_bytes());
        self.inline(position, len, parts);
    }

    /// Fills in the header and pads to whole blocks. Returns the bytes and the entry's CRC, the next one's `previous_crc`.
    pub fn finish(
        mut self,
        chain: Chain,
        sequence: u64,
        previous_crc: u32,
        flushed: u64,
        replay_from: u64,
    ) -> (Buffer, u32) {
        assert!(
            flushed < sequence,
            "an entry cannot say that it is flushed itself"
        );
        let payload = (self.bytes.len() - ENTRY_HEADER) as u32;
        let head = &mut self.bytes[..ENTRY_HEADER];
        head[..4].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&chain.generation.to_le_bytes());
        head[16..24].copy_from_slice(&sequence.to_le_bytes());
        head[24..28].copy_from_slice(&previous_crc.to_le_bytes());
        head[28..32].copy_from_slice(&payload.to_le_bytes());
        head[32..40].copy_from_slice(&flushed.to_le_bytes());
        head[40..48].copy_from_slice(&replay_from.to_le_bytes());
        head[48..52].copy_from_slice(&chain.core.to_le_bytes());
        head[52..60].copy_from_slice(&chain.directory.to_le_bytes());
        head[60..64].copy_from_slice(&self.items.to_le_bytes());
        let payload_crc = crc32c::crc32c(&self.bytes[ENTRY_HEADER..]);
        self.bytes[72..ENTRY_HEADER].copy_from_slice(&payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[8..ENTRY_HEADER]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        let whole = self.bytes.len().next_multiple_of(BLOCK as usize);
        self.bytes.resize_zeroed(whole);
        (self.bytes, crc)
    }
}

fn encode_key(key: &LogKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes[..16].copy_from_slice(&key.id.topic_id);
    bytes[16..20].copy_from_slice(&key.id.partition.to_le_bytes());
    bytes[20..].copy_from_slice(&key.instance.to_le_bytes());
    bytes
}

/// Encodes a control item by itself; it joins an entry through [`EntryBuilder::encoded`].
pub(crate) fn encode_create(key: &LogKey, topic: &str, start_offset: i64, out: &mut Vec<u8>) {
    out.push(KIND_CREATE);
    out.extend_from_slice(&encode_key(key));
    out.extend_from_slice(&start_offset.to_le_bytes());
    out.extend_from_slice(&(topic.len() as u32).to_le_bytes());
    out.extend_from_slice(topic.as_bytes());
}

/// See [`encode_create`].
pub(crate) fn encode_drop(key: &LogKey, out: &mut Vec<u8>) {
    out.push(KIND_DROP);
    out.extend_from_slice(&encode_key(key));
}

/// See [`encode_create`].
pub(crate) fn encode_log_start(key: &LogKey, offset: i64, out: &mut Vec<u8>) {
    out.push(KIND_LOG_START);
    out.extend_from_slice(&encode_key(key));
    out.extend_from_slice(&offset.to_le_bytes());
}

/// Reads the entry at the start of `bytes` and checks both its CRCs. `None`: there is no whole entry here.
pub(crate) fn read_entry(bytes: &[u8]) -> Option<(EntryHeader, &[u8])> {
    let header = read_header(bytes)?;
    let end = ENTRY_HEADER.checked_add(header.payload_bytes as usize)?;
    let payload = bytes.get(ENTRY_HEADER..end)?;
    (crc32c::crc32c(payload) == header.payload_crc).then_some((header, payload))
}

/// Reads the header at the start of `bytes` and checks its CRC. `None`: there is none.
pub(crate) fn read_header(bytes: &[u8]) -> Option<EntryHeader> {
    let mut head = Cursor(bytes);
    if head.take(4)? != MAGIC {
        return None;
    }
    let crc = head.u32()?;
    let generation = head.u64()?;
    let sequence = head.u64()?;
    let previous_crc = head.u32()?;
    let payload_bytes = head.u32()?;
    let flushed = head.u64()?;
    let replay_from = head.u64()?;
    let core = head.u32()?;
    let directory = head.u64()?;
    let items = head.u32()?;
    let table = head.u64()?;
    let payload_crc = head.u32()?;
    if crc32c::crc32c(bytes.get(8..ENTRY_HEADER)?) != crc {
        return None;
    }
    Some(EntryHeader {
        chain: Chain {
            generation,
            core,
            directory,
        },
        sequence,
        previous_crc,
        flushed,
        replay_from,
        items,
        table,
        payload_bytes,
        payload_crc,
        crc,
    })
}

/// The items of a payload. `None` stands for an item that does not parse, which a right CRC excludes.
pub(crate) fn items<'a>(
    header: &EntryHeader,
    payload: &'a [u8],
) -> impl Iterator<Item = Option<Item<'a>>> + use<'a> {
    let mut cursor = Cursor(payload);
    (0..header.items).map(move |_| read_item(&mut cursor))
}

fn read_item<'a>(c: &mut Cursor<'a>) -> Option<Item<'a>> {
    let kind = c.take(1)?[0];
    let key = read_key(c)?;
    Some(match kind {
        KIND_APPEND => Item::Append(read_append(key, c)?),
        KIND_CARRY => {
            let segment = c.i64()?;
            let Piece::Inline { position, bytes } = read_piece(c)? else {
                return None;
            };
            Item::Carry {
                key,
                segment,
                position,
                bytes,
            }
        }
        KIND_CREATE => {
            let start_offset = c.i64()?;
            let len = c.u32()? as usize;
            Item::Create {
                key,
                topic: std::str::from_utf8(c.take(len)?).ok()?,
                start_offset,
            }
        }
        KIND_DROP => Item::Drop { key },
        KIND_LOG_START => Item::LogStart {
            key,
            offset: c.i64()?,
        },
        _ => return None,
    })
}

fn read_append<'a>(key: LogKey, c: &mut Cursor<'a>) -> Option<Append<'a>> {
    let segment = c.i64()?;
    let from = c.u64()?;
    let to = c.u64()?;
    let end_offset = c.i64()?;
    let headers = c.u32()? as usize;
    let headers = c.take(headers.checked_mul(BATCH_HEADER)?)?;
    let count = c.u32()?;
    let mut pieces = Vec::new();
    for _ in 0..count {
        pieces.push(read_piece(c)?);
    }
    Some(Append {
        key,
        segment,
        from,
        to,
        end_offset,
        headers,
        pieces,
    })
}

fn read_piece<'a>(c: &mut Cursor<'a>) -> Option<Piece<'a>> {
    let kind = c.take(1)?[0];
    let position = c.u64()?;
    let len = c.u32()?;
    match kind {
        0 => Some(Piece::Inline {
            position,
            bytes: c.take(len as usize)?,
        }),
        1 => Some(Piece::Direct {
            position,
            len,
            crc: c.u32()?,
        }),
        _ => None,
    }
}

pub(crate) fn read_key(c: &mut Cursor<'_>) -> Option<LogKey> {
    let topic_id = c.take(16)?.try_into().ok()?;
    let partition = c.u32()? as i32;
    Some(LogKey {
        id: LogId {
            topic_id,
            partition,
        },
        instance: c.u64()?,
    })
}

pub(crate) fn write_key(key: &LogKey, out: &mut Vec<u8>) {
    out.extend_from_slice(&encode_key(key));
}

/// Bounded reader: every step says whether the bytes were there.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn i64(&mut self) -> Option<i64> {
        Some(self.u64()? as i64)
    }
}
