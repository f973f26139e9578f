//! A buffer of several chunks, which are written one after the other without copying them together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The chunks that are left to write. None is empty.
#[derive(Debug, Default)]
pub(super) struct Chunks(VecDeque<Bytes>);

impl Chunks {
    pub(super) fn new(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self(chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect())
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.0);
        pairs.map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let chunk = self.0.front_mut().expect("no more is taken than there is");
            if count < chunk.len() {
                return chunk.advance(count);
            }
            count -= chunk.len();
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_taken_in_any_steps() {
        let chunks = || Chunks::new(["ab", "", "cde", "f"].map(|chunk| Bytes::from_static(chunk.as_bytes())));
        for step in 1..=6 {
            let (mut left, mut taken) = (chunks(), Vec::new());
            while left.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = left.chunks_vectored(&mut slices);
                let offered = slices[..count].iter().flat_map(|slice| slice.iter().copied());
                let some: Vec<u8> = offered.take(step).collect();
                left.advance(some.len());
                taken.extend(some);
            }
            assert_eq!(taken, b"abcdef", "in steps of {step}");
        }
        assert_eq!((chunks().remaining(), chunks().chunk()), (6, &b"ab"[..]));
    }
}
