//! What is left of a gather list while writes or sends take it piece by piece.

use crate::buffer::Bytes;
use crate::op::Thing;
use crate::ring::Ring;

/// Parts one system call takes (IOV_MAX, limits.h).
const PARTS_MAX: usize = 1024;
/// Bytes one system call is offered: results are 31 bits wide, and a multiple of a block keeps direct
/// writes aligned.
const BYTES_MAX: usize = 1 << 30;

/// Parts still to go, from a position on.
pub(crate) struct Remaining {
    parts: Vec<Bytes>,
    /// The first part that is not done, and what of it is.
    part: usize,
    done: usize,
    bytes: usize,
}

impl Remaining {
    pub(crate) fn new(parts: Vec<Bytes>) -> Remaining {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let mut remaining = Remaining {
            parts,
            part: 0,
            done: 0,
            bytes,
        };
        remaining.skip_empty();
        remaining
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Address and length, if all that is left lies in one part: then no gather list is needed.
    pub(crate) fn single(&self) -> Option<(*const u8, u32)> {
        let rest = &self.parts[self.part][self.done..];
        (rest.len() == self.bytes && rest.len() <= BYTES_MAX)
            .then_some((rest.as_ptr(), rest.len() as u32))
    }

    /// The gather list of the next call.
    pub(crate) fn fill(&self, iovecs: &mut Vec<libc::iovec>) {
        let mut done = self.done;
        let mut left = BYTES_MAX;
        for part in &self.parts[self.part..] {
            let rest = &part[done..];
            done = 0;
            let len = rest.len().min(left);
            if len > 0 {
                iovecs.push(libc::iovec {
                    iov_base: rest.as_ptr().cast_mut().cast(),
                    iov_len: len,
                });
                left -= len;
            }
            if iovecs.len() == PARTS_MAX || left == 0 {
                break;
            }
        }
    }

    /// Moves past `bytes` that were taken.
    pub(crate) fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes, "no more can be taken than was offered");
        self.bytes -= bytes;
        self.done += bytes;
        self.skip_empty();
    }

    /// The parts, for an operation to own while it runs.
    pub(crate) fn take_parts(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.parts)
    }

    /// Takes the parts back from a finished operation.
    pub(crate) fn give_back(&mut self, ring: &Ring, thing: Thing) {
        let Thing::Gather(parts, gather) = thing else {
            unreachable!("the operation held the parts")
        };
        self.parts = parts;
        if let Some(gather) = gather {
            ring.give_gather(gather);
        }
    }

    fn skip_empty(&mut self) {
        while let Some(part) = self.parts.get(self.part)
            && self.done >= part.len()
        {
            self.done -= part.len();
            self.part += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_every_list_comes_out_whole() {
        let parts: Vec<Bytes> = ["", "abc", "", "", "defgh", "i", ""]
            .iter()
            .map(|s| Bytes::from(s.as_bytes().to_vec()))
            .collect();
        for step in 1..=9 {
            let mut rest = Remaining::new(parts.clone());
            let mut out = Vec::new();
            while !rest.is_empty() {
                let mut iovecs = Vec::new();
                rest.fill(&mut iovecs);
                assert_eq!(rest.single().is_some(), iovecs.len() == 1);
                let offered: Vec<u8> = iovecs
                    .iter()
                    // SAFETY: the list points into `parts`.
                    .flat_map(|v| unsafe {
                        std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len)
                    })
                    .copied()
                    .collect();
                let taken = step.min(offered.len());
                out.extend_from_slice(&offered[..taken]);
                rest.advance(taken);
            }
            assert_eq!(out, b"abcdefghi");
        }
        assert!(Remaining::new(Vec::new()).is_empty());
    }

    #[test]
    fn a_call_gets_at_most_the_kernels_limit() {
        let rest = Remaining::new(vec![Bytes::from_static(b"x"); 3000]);
        let mut iovecs = Vec::new();
        rest.fill(&mut iovecs);
        assert_eq!(iovecs.len(), PARTS_MAX);
    }
}
