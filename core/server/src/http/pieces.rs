//! Bytes in several pieces, written one after the other and never copied into one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// What is left to write. No piece is empty.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    pub(super) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.0);
        pairs.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let piece = self.0.front_mut().expect("no more is taken than there is");
            if count < piece.len() {
                return piece.advance(count);
            }
            count -= piece.len();
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_taken_in_any_steps() {
        let pieces = || Pieces::new(["ab", "", "cde", "f"].map(|piece| Bytes::from_static(piece.as_bytes())));
        for step in 1..=6 {
            let (mut left, mut taken) = (pieces(), Vec::new());
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
        assert_eq!((pieces().remaining(), pieces().chunk()), (6, &b"ab"[..]));
    }
}
