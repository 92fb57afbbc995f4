//! The bytes of one file: shared, copied when they change.

use std::rc::Rc;

/// Granularity of sharing and of space accounting, in bytes.
pub(super) const PAGE: usize = 4096;
/// What a device writes as one: a torn write ends at such a boundary.
pub(super) const SECTOR: usize = 512;

pub(super) type Page = Rc<[u8; PAGE]>;

thread_local! {
    static ZEROS: Page = Rc::new([0; PAGE]);
}

/// A page of `bytes`; all pages of zeros are one.
fn page(bytes: &[u8]) -> Page {
    ZEROS.with(|zeros| {
        if bytes == &zeros[..] {
            return zeros.clone();
        }
        let mut page = [0; PAGE];
        page.copy_from_slice(bytes);
        Rc::new(page)
    })
}

/// The bytes of one write. Whole pages are shared by every content they were written to.
#[derive(Clone)]
pub(crate) enum Data {
    Pages(Vec<Page>),
    Bytes(Rc<[u8]>),
}

impl Data {
    /// `bytes` as they are to be written at `offset`.
    pub fn new(offset: u64, bytes: &[u8]) -> Data {
        if offset.is_multiple_of(PAGE as u64) && bytes.len().is_multiple_of(PAGE) {
            Data::Pages(bytes.chunks_exact(PAGE).map(page).collect())
        } else {
            Data::Bytes(bytes.into())
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Data::Pages(pages) => pages.len() * PAGE,
            Data::Bytes(bytes) => bytes.len(),
        }
    }

    fn slice(&self, from: usize, to: usize) -> Vec<u8> {
        match self {
            Data::Pages(pages) => (from..to).map(|at| pages[at / PAGE][at % PAGE]).collect(),
            Data::Bytes(bytes) => bytes[from..to].to_vec(),
        }
    }
}

/// A file's length and pages; a page that was never written or set aside is a hole.
#[derive(Clone, Default)]
pub(super) struct Content {
    len: u64,
    pages: Vec<Option<Page>>,
    allocated: u64,
}

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Pages that take space.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Pages that `[offset, offset + len)` would take beside those there are.
    pub fn missing(&self, offset: u64, len: u64) -> u64 {
        let (first, end) = range(offset, len);
        let there = self.pages.get(first..end.min(self.pages.len()).max(first));
        let there = there.map_or(0, |pages| pages.iter().flatten().count());
        (end - first - there) as u64
    }

    pub fn read(&self, offset: u64, len: usize, mut out: impl FnMut(&[u8])) {
        let end = (offset + len as u64).min(self.len) as usize;
        let mut at = (offset.min(self.len)) as usize;
        while at < end {
            let to = (at / PAGE + 1) * PAGE;
            let to = to.min(end);
            let start = at % PAGE;
            match self.pages.get(at / PAGE).and_then(Option::as_ref) {
                Some(page) => out(&page[start..start + to - at]),
                None => ZEROS.with(|zeros| out(&zeros[..to - at])),
            }
            at = to;
        }
    }

    /// Writes all of `data`, and lengthens the file where need be.
    pub fn write(&mut self, offset: u64, data: &Data) {
        match data {
            Data::Pages(pages) => {
                let first = (offset / PAGE as u64) as usize;
                self.reach(first + pages.len());
                for (slot, page) in self.pages[first..].iter_mut().zip(pages) {
                    self.allocated += u64::from(slot.is_none());
                    *slot = Some(page.clone());
                }
            }
            Data::Bytes(bytes) => self.put(offset, bytes),
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    /// Writes the sectors of `data` for which `keep` says so. Does not lengthen the file for sectors that are not kept.
    pub fn write_torn(&mut self, offset: u64, data: &Data, mut keep: impl FnMut() -> bool) {
        let mut at = 0;
        while at < data.len() {
            let position = offset + at as u64;
            let rest = SECTOR - (position % SECTOR as u64) as usize;
            let to = (at + rest).min(data.len());
            if keep() {
                self.put(position, &data.slice(at, to));
                self.len = self.len.max(offset + to as u64);
            }
            at = to;
        }
    }

    /// Cuts or extends; what is cut off, also what was only set aside, reads as zeros should the file grow again.
    pub fn set_len(&mut self, len: u64) {
        if len <= self.len {
            let pages = (len as usize).div_ceil(PAGE);
            let gone = self.pages.len().saturating_sub(pages);
            let gone = self.pages.drain(self.pages.len() - gone..);
            self.allocated -= gone.flatten().count() as u64;
            let inside = len as usize % PAGE;
            if inside > 0
                && let Some(Some(page)) = self.pages.get_mut(pages - 1)
            {
                Rc::make_mut(page)[inside..].fill(0);
            }
        }
        self.len = len;
    }

    /// Sets pages aside and, unless it is to keep its length, lengthens the file to their end.
    pub fn allocate(&mut self, offset: u64, len: u64, keep_len: bool) {
        let (first, end) = range(offset, len);
        self.reach(end);
        for slot in &mut self.pages[first..end] {
            if slot.is_none() {
                *slot = Some(ZEROS.with(Rc::clone));
                self.allocated += 1;
            }
        }
        if !keep_len {
            self.len = self.len.max(offset + len);
        }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        let (_, end) = range(offset, bytes.len() as u64);
        self.reach(end);
        while done < bytes.len() {
            let at = offset as usize + done;
            let start = at % PAGE;
            let take = (PAGE - start).min(bytes.len() - done);
            let slot = &mut self.pages[at / PAGE];
            self.allocated += u64::from(slot.is_none());
            let page = slot.get_or_insert_with(|| ZEROS.with(Rc::clone));
            Rc::make_mut(page)[start..start + take].copy_from_slice(&bytes[done..done + take]);
            done += take;
        }
    }

    fn reach(&mut self, pages: usize) {
        if self.pages.len() < pages {
            self.pages.resize(pages, None);
        }
    }
}

fn range(offset: u64, len: u64) -> (usize, usize) {
    let end = (offset + len).div_ceil(PAGE as u64);
    ((offset / PAGE as u64) as usize, end as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.read(0, content.len() as usize + 100, |part| bytes.extend(part));
        bytes
    }

    #[test]
    fn writes_and_cuts_are_those_of_a_vector() {
        let mut content = Content::default();
        let mut expected: Vec<u8> = Vec::new();
        for (n, (offset, len)) in [(0, 5000), (8192, 8192), (4090, 10), (20_000, 1), (8191, 2)]
            .into_iter()
            .enumerate()
        {
            let bytes = vec![n as u8 + 1; len];
            content.write(offset as u64, &Data::new(offset as u64, &bytes));
            expected.resize(expected.len().max(offset + len), 0);
            expected[offset..offset + len].copy_from_slice(&bytes);
            assert_eq!(all(&content), expected);
        }
        for len in [19_000, 8195, 8192, 4095, 4096, 9000] {
            content.set_len(len);
            expected.resize(len as usize, 0);
            assert_eq!(all(&content), expected, "{len}");
        }
    }

    #[test]
    fn a_torn_write_keeps_whole_sectors() {
        let mut content = Content::default();
        let data = Data::new(0, &[7; PAGE]);
        let mut sectors = 0..;
        content.write_torn(0, &data, || sectors.next().is_some_and(|n| n % 2 == 1));
        let bytes = all(&content);
        assert_eq!(bytes.len(), PAGE);
        for (n, sector) in bytes.chunks(SECTOR).enumerate() {
            assert!(sector.iter().all(|b| *b == 7 * (n % 2) as u8), "{n}");
        }
    }

    #[test]
    fn space_is_counted_in_pages() {
        let mut content = Content::default();
        assert_eq!(content.missing(0, 1), 1);
        content.allocate(0, 10_000, false);
        assert_eq!((content.len(), content.allocated()), (10_000, 3));
        assert_eq!(content.missing(4096, 10_000), 1);
        content.set_len(1);
        assert_eq!(content.allocated(), 1);
        content.allocate(1, 10_000, true);
        assert_eq!((content.len(), content.allocated()), (1, 3));
        content.set_len(1);
        assert_eq!((content.len(), content.allocated()), (1, 1));
    }
}
