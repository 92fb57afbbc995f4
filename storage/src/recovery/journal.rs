//! One core's journal files at start, read in pieces: they may be a gigabyte, and most of it is settled.
//!
//! They were written past the page cache and are not in it: reading them past it, too, costs no copy. The device is kept
//! busy by several files at once, and later by a piece read ahead.

use std::io;
use std::path::Path;

use futures_util::future::join;
use millstream_ring::{Bytes, File, Open, Ring, fs};

use crate::error::OpenError;
use crate::journal::JournalFileName;
use crate::journal::entry::{Chain, ENTRY_HEADER, entry_bytes, read_entry};
use crate::journal::replay::{Located, Scan};
use crate::knobs::BLOCK;
use crate::store::event::{Local, join_all};

/// Read at once; more only for an entry that is larger.
const WINDOW_BYTES: usize = 2 << 20;
/// Files that are read at the same time.
const FILES_AT_ONCE: usize = 8;

pub(super) struct JournalFiles {
    ring: Ring,
    files: Vec<Reader>,
}

/// What the first look at a file tells.
#[derive(Default)]
pub(super) struct Surveyed {
    /// Its entries, checked.
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
        let mut pieces = pieces(entries).into_iter();
        let mut ahead = self.read_piece(pieces.next()).await?;
        while let Some((piece, bytes)) = ahead {
            // The next is on its way to us, while this one is worked on.
            let work = async {
                self.ring.yield_now().await;
                let first = piece[0].at;
                piece.iter().all(|entry| {
                    let rest = bytes.get(entry.at - first..).unwrap_or_default();
                    let len = entry.header.disk_bytes() as usize;
                    take(rest.get(..len).unwrap_or(rest))
                })
            };
            let (next, goes_on) = join(self.read_piece(pieces.next()), work).await;
            if !goes_on {
                break;
            }
            ahead = next?;
        }
        Ok(())
    }

    async fn read_piece<'e>(
        &self,
        piece: Option<&'e [Located]>,
    ) -> io::Result<Option<(&'e [Located], Bytes)>> {
        let Some(piece) = piece else {
            return Ok(None);
        };
        let len = piece
            .iter()
            .map(|entry| entry.header.disk_bytes())
            .sum::<u64>() as usize;
        let file = &self.files[piece[0].file].file;
        let bytes = file.read_at(piece[0].at as u64, len).await?;
        Ok(Some((piece, bytes.freeze())))
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
        let mut scan = Scan::new(index, chain);
        let mut wanted = Some(1);
        while let Some(needed) = wanted {
            let at = scan.at();
            if needed > self.len.saturating_sub(at) {
                break;
            }
            wanted = scan.take(self.bytes(at, needed).await?);
        }
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
            let bytes = self.bytes(at, ENTRY_HEADER).await?;
            let Some(needed) = entry_bytes(bytes) else {
                at += BLOCK as usize;
                continue;
            };
            let mut hop = BLOCK as usize;
            if needed <= self.len - at
                && let Some((header, _)) = read_entry(self.bytes(at, needed).await?)
            {
                hop = header.disk_bytes() as usize;
                if header.chain == chain && header.sequence > known {
                    flushed = flushed.max(header.flushed);
                }
            }
            at += hop;
        }
        Ok(flushed)
    }

    /// What is there from `at` on, which is a block: at least `len` bytes, unless the file ends before.
    async fn bytes(&mut self, at: usize, len: usize) -> io::Result<&[u8]> {
        let left = self.len.saturating_sub(at);
        let end = self.start + self.window.len();
        let covered = self.start <= at && at + len.min(left) <= end;
        if !covered {
            // Its memory is taken for the next one.
            self.window = Bytes::from(Vec::new());
            let wanted = len.max(WINDOW_BYTES).min(left);
            let wanted = wanted.next_multiple_of(BLOCK as usize);
            let read = self.file.read_at(at as u64, wanted).await?;
            (self.window, self.start) = (read.freeze(), at);
        }
        Ok(&self.window[at - self.start..])
    }
}
