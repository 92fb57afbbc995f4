//! One core's journal files at start, read in pieces: they may be a gigabyte, and most of it is settled.

use std::io;
use std::path::Path;

use millstream_ring::{Bytes, File, Open, Ring};

use crate::error::OpenError;
use crate::journal::JournalFileName;
use crate::journal::entry::{Chain, ENTRY_HEADER, entry_bytes, read_entry};
use crate::journal::replay::{Located, Scan};
use crate::knobs::BLOCK;

/// Read at once; more only for an entry that is larger.
const WINDOW_BYTES: usize = 1 << 20;

pub(super) struct JournalFiles {
    files: Vec<(File, usize)>,
    window: Bytes,
    /// Which file and where the window begins.
    file: usize,
    start: usize,
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
            let how = Open {
                read: true,
                ..Open::default()
            };
            let opened = async {
                let file = File::open(ring, &path, how).await?;
                let len = file.len().await?;
                let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
                Ok((file, len))
            };
            match opened.await {
                Ok(file) => files.push(file),
                Err(e) if io::Error::kind(&e) == io::ErrorKind::NotFound => break,
                Err(e) => return Err(OpenError::io("read", path, e)),
            }
        }
        Ok(JournalFiles {
            files,
            window: Bytes::from(Vec::new()),
            file: 0,
            start: 0,
        })
    }

    /// The entries of each file, checked.
    pub(super) async fn scan(&mut self, chain: Chain) -> io::Result<Vec<Vec<Located>>> {
        let mut scanned = Vec::new();
        for file in 0..self.files.len() {
            let mut scan = Scan::new(file, chain);
            let mut wanted = Some(1);
            while let Some(needed) = wanted {
                let at = scan.at();
                let left = self.files[file].1.saturating_sub(at);
                if needed > left {
                    break;
                }
                wanted = scan.take(self.bytes(file, at, needed).await?);
            }
            scanned.push(scan.finish());
        }
        Ok(scanned)
    }

    /// How far all was flushed as entries say that stand behind the end of a file's chain. A crash leaves none that say so of an
    /// entry that is missing: what is flushed is never torn.
    pub(super) async fn beyond(
        &mut self,
        chain: Chain,
        scanned: &[Vec<Located>],
    ) -> io::Result<u64> {
        let mut flushed = 0;
        for (file, entries) in scanned.iter().enumerate() {
            let last = entries.last();
            let known = last.map_or(0, |last| last.header.sequence);
            let mut at = last.map_or(0, |last| last.at + last.header.disk_bytes() as usize);
            while at < self.files[file].1 {
                let bytes = self.bytes(file, at, ENTRY_HEADER).await?;
                let Some(needed) = entry_bytes(bytes) else {
                    at += BLOCK as usize;
                    continue;
                };
                let mut hop = BLOCK as usize;
                if needed <= self.files[file].1 - at
                    && let Some((header, _)) = read_entry(self.bytes(file, at, needed).await?)
                {
                    hop = header.disk_bytes() as usize;
                    if header.chain == chain && header.sequence > known {
                        flushed = flushed.max(header.flushed);
                    }
                }
                at += hop;
            }
        }
        Ok(flushed)
    }

    /// An entry that was scanned.
    pub(super) async fn entry(&mut self, located: &Located) -> io::Result<&[u8]> {
        let len = located.header.disk_bytes() as usize;
        let bytes = self.bytes(located.file, located.at, len).await?;
        Ok(bytes.get(..len).unwrap_or(bytes))
    }

    /// What is there from `at` on: at least `len` bytes, unless the file ends before.
    async fn bytes(&mut self, file: usize, at: usize, len: usize) -> io::Result<&[u8]> {
        let (from, len_there) = &self.files[file];
        let left = len_there.saturating_sub(at);
        let end = self.start + self.window.len();
        let covered = self.file == file && self.start <= at && at + len.min(left) <= end;
        if !covered {
            let read = from
                .read_at(at as u64, len.max(WINDOW_BYTES).min(left))
                .await?;
            (self.window, self.file, self.start) = (read.freeze(), file, at);
        }
        Ok(&self.window[at - self.start..])
    }
}
