//! One core's journal files at start: they may be a gigabyte, and most of it is settled. A first look at all files reads
//! hardly more than the headers of large entries, and then what is needed is read in pieces.
//!
//! They were written past the page cache and are not in it: reading them past it, too, costs no copy. The device is kept
//! busy by several files at once, and later by pieces read ahead.

use std::io;
use std::path::Path;

use futures_util::stream::{self, StreamExt};
use millstream_ring::{Bytes, File, Open, Ring, fs};

use crate::error::OpenError;
use crate::journal::JournalFileName;
use crate::journal::entry::{Chain, ENTRY_HEADER, read_header};
use crate::journal::replay::{Located, Scan};
use crate::knobs::BLOCK;
use crate::store::event::{Local, join_all};

/// Read at once; more only for an entry that is larger.
const WINDOW_BYTES: usize = 2 << 20;
/// Read where the first look jumps to: a header, and those of the next entries if they are small.
const JUMP_BYTES: usize = 4 << 10;
/// It is not worth a jump to leave out less.
const JUMPED_MIN: usize = 16 << 10;
/// Files that are looked at at the same time: each waits for one header after the other.
const FILES_AT_ONCE: usize = 16;
/// Pieces that are on their way to us while one is worked on.
const PIECES_AHEAD: usize = 4;

pub(super) struct JournalFiles {
    ring: Ring,
    files: Vec<Reader>,
}

/// What the first look at a file tells.
#[derive(Default)]
pub(super) struct Surveyed {
    /// Its entries, by their headers.
    pub entries: Vec<Located>,
    /// How far all was flushed as entries say that stand behind the end of its chain. A crash leaves none that say so of an
    /// entry that is missing: what is flushed is never torn.
    pub beyond: u64,
}

impl JournalFiles {
    pub(super) async fn open(ring: &Ring, dir: &Path, chain: Chain) -> Result<Self, OpenError> {
        let mut files = Vec::new();
        for number in 0.. {
            let name = JournalFileName {
                generation: chain.generation,
                core: chain.core,
                number,
            };
            let path = name.path(dir);
            match Reader::open(ring, &path).await {
                Ok(file) => files.push(file),
                Err(e) if io::Error::kind(&e) == io::ErrorKind::NotFound => break,
                Err(e) => return Err(OpenError::io("read", path, e)),
            }
        }
        let ring = ring.clone();
        Ok(JournalFiles { ring, files })
    }

    /// Looks at all of every file.
    pub(super) async fn survey(&mut self, chain: Chain) -> io::Result<Vec<Surveyed>> {
        let mut surveyed = Vec::with_capacity(self.files.len());
        for some in self.files.chunks_mut(FILES_AT_ONCE) {
            let first = surveyed.len();
            let looking = some
                .iter_mut()
                .zip(first..)
                .map(|(file, index)| Box::pin(file.survey(index, chain)) as Local<'_, _>);
            for done in join_all::<io::Result<Surveyed>>(looking.collect()).await {
                surveyed.push(done?);
            }
        }
        Ok(surveyed)
    }

    /// Gives each of the entries, which were surveyed, to `take`, as long as that returns true.
    pub(super) async fn read(
        &self,
        entries: &[Located],
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let reading = pieces(entries)
            .into_iter()
            .map(|piece| self.read_piece(piece));
        let mut read = stream::iter(reading).buffered(PIECES_AHEAD);
        while let Some(piece) = read.next().await {
            let (piece, bytes) = piece?;
            // The next ones are sent for before this one is worked on.
            self.ring.yield_now().await;
            let first = piece[0].at;
            let goes_on = piece.iter().all(|entry| {
                let rest = bytes.get(entry.at - first..).unwrap_or_default();
                let len = entry.header.disk_bytes() as usize;
                take(rest.get(..len).unwrap_or(rest))
            });
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    async fn read_piece<'e>(&self, piece: &'e [Located]) -> io::Result<(&'e [Located], Bytes)> {
        let len = piece
            .iter()
            .map(|entry| entry.header.disk_bytes())
            .sum::<u64>() as usize;
        let file = &self.files[piece[0].file].file;
        let bytes = file.read_at(piece[0].at as u64, len).await?;
        Ok((piece, bytes.freeze()))
    }
}

/// Splits entries into neighbours of one file, no longer than what is read at once unless a single one is.
fn pieces(entries: &[Located]) -> Vec<&[Located]> {
    let mut bytes = 0;
    let together = |one: &Located, next: &Located| {
        bytes += one.header.disk_bytes();
        let joins = one.file == next.file
            && one.at as u64 + one.header.disk_bytes() == next.at as u64
            && bytes + next.header.disk_bytes() <= WINDOW_BYTES as u64;
        if !joins {
            bytes = 0;
        }
        joins
    };
    entries.chunk_by(together).collect()
}

struct Reader {
    file: File,
    len: usize,
    window: Bytes,
    /// Where the window begins.
    start: usize,
}

impl Reader {
    async fn open(ring: &Ring, path: &Path) -> io::Result<Reader> {
        let how = Open {
            read: true,
            direct: fs::direct_io(ring, path).await?.is_some(),
            ..Open::default()
        };
        let file = File::open(ring, path, how).await?;
        let len = file.len().await?;
        Ok(Reader {
            file,
            len: usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?,
            window: Bytes::from(Vec::new()),
            start: 0,
        })
    }

    async fn survey(&mut self, index: usize, chain: Chain) -> io::Result<Surveyed> {
        let mut scan = Scan::new(index, self.len, chain);
        while scan.take(self.bytes(scan.at()).await?) {}
        let entries = scan.finish();
        let beyond = self.beyond(chain, entries.last()).await?;
        self.window = Bytes::from(Vec::new());
        Ok(Surveyed { entries, beyond })
    }

    async fn beyond(&mut self, chain: Chain, last: Option<&Located>) -> io::Result<u64> {
        let mut flushed = 0;
        let known = last.map_or(0, |last| last.header.sequence);
        let mut at = last.map_or(0, |last| last.at + last.header.disk_bytes() as usize);
        while at < self.len {
            let header = read_header(self.bytes(at).await?).filter(|header| header.chain == chain);
            let later = header.filter(|header| header.sequence > known);
            flushed = flushed.max(later.map_or(0, |header| header.flushed));
            at += header.map_or(BLOCK, |header| header.disk_bytes()) as usize;
        }
        Ok(flushed)
    }

    /// What is there from `at` on, which is a block: at least a header, or nothing where the file ends before.
    async fn bytes(&mut self, at: usize) -> io::Result<&[u8]> {
        let left = self.len.saturating_sub(at);
        if left < ENTRY_HEADER {
            return Ok(&[]);
        }
        let end = self.start + self.window.len();
        let covered = self.start <= at && at + ENTRY_HEADER <= end;
        if !covered {
            let follows = end <= at && at - end < JUMPED_MIN;
            let wanted = match follows {
                // Entry after entry: all of it, in larger and larger pieces.
                true => (2 * self.window.len()).clamp(JUMP_BYTES, WINDOW_BYTES),
                false => JUMP_BYTES,
            };
            // Its memory is taken for the next one.
            self.window = Bytes::from(Vec::new());
            let wanted = wanted.min(left).next_multiple_of(BLOCK as usize);
            let read = self.file.read_at(at as u64, wanted).await?;
            if read.len() < ENTRY_HEADER {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (self.window, self.start) = (read.freeze(), at);
        }
        Ok(&self.window[at - self.start..])
    }
}
