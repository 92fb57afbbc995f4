//! One core's journal files at start: they may be a gigabyte. A first look reads each one's first header, and of the newest
//! those of all entries. They say which of the others are needed, and those are read once, from one end to the other.
//!
//! They were written past the page cache and are not in it: reading them past it, too, costs no copy. The device is kept
//! busy by pieces read ahead.

use std::io;
use std::path::Path;

use millstream_ring::{Bytes, File, Open, Ring, fs};

use crate::error::OpenError;
use crate::journal::JournalFileName;
use crate::journal::entry::{Chain, ENTRY_HEADER, EntryHeader, read_header};
use crate::journal::replay::{Joint, Located, Look, Scan, leave_out, next_look};
use crate::knobs::BLOCK;
use crate::store::event::{Ahead, Local, join_all};

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

/// What is known without having read all.
pub(super) struct Surveyed {
    /// Of each file.
    pub looks: Vec<Look>,
    /// How far all was flushed as entries say that stand behind the end of their file's chain. A crash leaves none that say so
    /// of an entry that is missing: what is flushed is never torn.
    pub beyond: u64,
    /// The same as any entry says.
    flushed: u64,
}

impl Surveyed {
    /// An entry is not whole: it and what follows it in its file is behind the end.
    pub(super) fn ends_at(&mut self, torn: &Located) {
        self.beyond = leave_out(&mut self.looks, torn).max(self.beyond);
    }
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

    /// Looks at the first entry of every file.
    pub(super) async fn survey(&mut self, chain: Chain) -> io::Result<Surveyed> {
        let mut looks = Vec::with_capacity(self.files.len());
        // Behind a first entry that cannot be read there may be others, which say that it was there.
        let mut beyond = 0;
        for some in self.files.chunks_mut(FILES_AT_ONCE) {
            let first = looks.len();
            let looking = some
                .iter_mut()
                .zip(first..)
                .map(|(file, index)| Box::pin(file.first(index, chain)) as Local<'_, _>);
            for done in join_all::<io::Result<(Look, u64)>>(looking.collect()).await {
                let (look, says) = done?;
                looks.push(look);
                beyond = says.max(beyond);
            }
        }
        Ok(Surveyed {
            looks,
            beyond,
            flushed: beyond,
        })
    }

    /// Looks at all entries of the files of which not all may have been flushed.
    pub(super) async fn survey_newest(
        &mut self,
        surveyed: &mut Surveyed,
        chain: Chain,
    ) -> io::Result<()> {
        while let Some(index) = next_look(&surveyed.looks, surveyed.flushed) {
            let (look, says) = self.files[index].survey(index, chain).await?;
            let marks = look.entries.iter().map(|entry| entry.header.flushed);
            let flushed = marks.max().unwrap_or(0).max(says);
            surveyed.flushed = flushed.max(surveyed.flushed);
            surveyed.looks[index] = look;
            surveyed.beyond = says.max(surveyed.beyond);
        }
        Ok(())
    }

    /// Gives the entries of whole files, whose chain `joint` is, to `take`: header and all. Nothing is kept but the beginning
    /// of an entry that goes on in the next piece. Returns `false` as soon as `take` does.
    pub(super) async fn read_whole(
        &self,
        files: &[usize],
        joint: &mut Joint,
        mut take: impl FnMut(&EntryHeader, &[u8]) -> bool,
    ) -> io::Result<bool> {
        let mut pieces = files.iter().flat_map(|&file| {
            let file = &self.files[file];
            (0..file.len)
                .step_by(WINDOW_BYTES)
                .map(move |at| (file, at))
        });
        let mut read: Ahead<'_, io::Result<(usize, usize, Bytes)>> = Ahead::new();
        // The entry that is not there as a whole yet: its header, and what of it was read.
        let mut begun: Option<(EntryHeader, Vec<u8>)> = None;
        let mut ended = false;
        loop {
            let room = PIECES_AHEAD - read.len();
            for (file, at) in pieces.by_ref().take(room) {
                read.push(Box::pin(async move {
                    let bytes = file.window(at).await?;
                    Ok((at, file.len, bytes))
                }));
            }
            let Some(piece) = read.next().await else {
                return Ok(true);
            };
            let (at, file_len, piece) = piece?;
            // The next ones are sent for before this one is worked on.
            self.ring.yield_now().await;
            ended &= at > 0;
            let mut bytes = &piece[..];
            if let Some((header, mut entry)) = begun.take() {
                let missing = header.disk_bytes() as usize - entry.len();
                let (more, rest) = bytes.split_at(missing.min(bytes.len()));
                entry.extend_from_slice(more);
                bytes = rest;
                let ends_here = more.len() == missing || at + piece.len() >= file_len;
                match ends_here {
                    true if !take(&header, &entry) => return Ok(false),
                    true => {}
                    false => begun = Some((header, entry)),
                }
            }
            while !ended && !bytes.is_empty() {
                let left = file_len - (at + piece.len() - bytes.len()).min(file_len);
                let Some(header) = joint.next(bytes, left) else {
                    ended = true;
                    break;
                };
                let len = header.disk_bytes() as usize;
                let is_all = len <= bytes.len() || at + piece.len() >= file_len;
                let (entry, rest) = bytes.split_at(len.min(bytes.len()));
                bytes = rest;
                match is_all {
                    true if !take(&header, entry) => return Ok(false),
                    true => {}
                    false => begun = Some((header, entry.to_vec())),
                }
            }
        }
    }

    /// Gives each of the entries, which were surveyed, to `take`, as long as that returns true.
    pub(super) async fn read(
        &self,
        entries: &[Located],
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let mut reading = pieces(entries).into_iter();
        let mut read: Ahead<'_, io::Result<(&[Located], Bytes)>> = Ahead::new();
        loop {
            let room = PIECES_AHEAD - read.len();
            let more = reading.by_ref().take(room);
            more.for_each(|piece| read.push(Box::pin(self.read_piece(piece))));
            let Some(piece) = read.next().await else {
                break;
            };
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

    /// As much as is read at once, from `at` on.
    async fn window(&self, at: usize) -> io::Result<Bytes> {
        let wanted = WINDOW_BYTES.min(self.len - at);
        let wanted = wanted.next_multiple_of(BLOCK as usize);
        Ok(self.file.read_at(at as u64, wanted).await?.freeze())
    }

    /// Its first entry. Also how far all was flushed as others say, where that one cannot be read.
    async fn first(&mut self, index: usize, chain: Chain) -> io::Result<(Look, u64)> {
        let mut scan = Scan::new(index, self.len, chain);
        let bytes = self.bytes(0).await?;
        scan.take(bytes.get(..ENTRY_HEADER).unwrap_or_default());
        let entries = scan.finish();
        match entries.is_empty() {
            true => self.survey(index, chain).await,
            false => Ok((
                Look {
                    entries,
                    first_only: true,
                },
                0,
            )),
        }
    }

    /// All its entries, and how far all was flushed as those say that stand behind the end of their chain.
    async fn survey(&mut self, index: usize, chain: Chain) -> io::Result<(Look, u64)> {
        let mut scan = Scan::new(index, self.len, chain);
        while scan.take(self.bytes(scan.at()).await?) {}
        let entries = scan.finish();
        let beyond = self.beyond(chain, entries.last()).await?;
        self.window = Bytes::from(Vec::new());
        let look = Look {
            entries,
            first_only: false,
        };
        Ok((look, beyond))
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
