//! What of a stream's response is to be written next: what was there at once, together, so that it is one write. What is
//! small is copied into one buffer, what is large is referred to. Nothing is kept of what was written.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::limits::edge::{COPIED_CONTENT_BYTES_MAX, GATHERED_BYTES_MAX, WRITTEN_SLICES_MAX};

/// Around a chunk: its length in hexadecimal digits, and two ends of lines.
const FRAMING_BYTES: usize = 20;

#[derive(Debug)]
pub(super) struct Outgoing {
    before: VecDeque<Bytes>,
    last: Vec<u8>,
    /// How much of `last` is written.
    written: usize,
    /// A write of it has begun.
    is_begun: bool,
    /// In chunked encoding (RFC 9112, section 7.1).
    chunked: bool,
}

impl Outgoing {
    /// Begins with the head of a response.
    pub(super) fn new(head: Vec<u8>, chunked: bool) -> Self {
        Self { before: VecDeque::new(), last: head, written: 0, is_begun: false, chunked }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.written == self.last.len()
    }

    pub(super) fn len(&self) -> usize {
        self.before.iter().map(Bytes::len).sum::<usize>() + self.last.len() - self.written
    }

    /// Whether more may be gathered before it is written (B1).
    pub(super) fn takes_more(&self) -> bool {
        !self.is_begun && self.len() < GATHERED_BYTES_MAX
    }

    /// Appends data of the body.
    pub(super) fn push(&mut self, data: Bytes) {
        // An empty chunk is the end.
        if data.is_empty() {
            return;
        }
        assert!(!self.is_begun, "what is being written is not gathered to");
        let is_small = data.len() <= COPIED_CONTENT_BYTES_MAX;
        self.last.reserve_exact(if is_small { data.len() } else { 0 } + FRAMING_BYTES);
        if self.chunked {
            write!(self.last, "{:x}\r\n", data.len()).expect("a vector takes what is written");
        }
        if is_small {
            self.last.extend_from_slice(&data);
        } else {
            if !self.last.is_empty() {
                self.before.push_back(mem::take(&mut self.last).into());
            }
            self.before.push_back(data);
        }
        if self.chunked {
            self.last.extend_from_slice(b"\r\n");
        }
    }

    /// Appends the end of the body.
    pub(super) fn end(&mut self) {
        if self.chunked {
            self.last.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Writes all of it.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_begun = true;
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITTEN_SLICES_MAX];
            let count = self.slices(&mut slices);
            let wrote = match &slices[..count] {
                // Its system call is cheaper.
                [only] => Pin::new(&mut *stream).poll_write(cx, only),
                several => Pin::new(&mut *stream).poll_write_vectored(cx, several),
            };
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.advance(count),
            }
        }
        *self = Self::new(Vec::new(), self.chunked);
        Poll::Ready(Ok(()))
    }

    /// What is left, as far as it has a slice.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let last = Some(&self.last[self.written..]).filter(|last| !last.is_empty());
        let all = self.before.iter().map(|piece| &piece[..]).chain(last);
        slices.iter_mut().zip(all).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.before.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.before.pop_front();
        }
        self.written += count;
        assert!(self.written <= self.last.len(), "no more is written than there is");
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes of a write, and has the writes.
    struct Taking {
        at_once: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Taking {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            let count = data.len().min(self.at_once);
            self.writes.push(data[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = slices.iter().flat_map(|slice| slice.iter().copied());
            let taken: Vec<u8> = all.take(self.at_once).collect();
            self.writes.push(taken);
            Poll::Ready(Ok(self.writes[self.writes.len() - 1].len()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn large() -> Bytes {
        Bytes::from(vec![b'x'; COPIED_CONTENT_BYTES_MAX + 1])
    }

    fn several(chunked: bool) -> Outgoing {
        let mut out = Outgoing::new(b"head\r\n\r\n".to_vec(), chunked);
        for data in [Bytes::from_static(b"one"), Bytes::new(), large(), Bytes::from_static(b"three")] {
            out.push(data);
        }
        out.end();
        out
    }

    #[test]
    fn all_is_written_in_order_whatever_is_taken_at_once() {
        let large = String::from_utf8(large().to_vec()).expect("ASCII");
        let chunked = format!("head\r\n\r\n3\r\none\r\n4001\r\n{large}\r\n5\r\nthree\r\n0\r\n\r\n");
        for (is_chunked, wanted) in [(true, chunked), (false, format!("head\r\n\r\none{large}three"))] {
            for at_once in [1, 3, 16, 4000, usize::MAX] {
                let (mut out, mut taking) = (several(is_chunked), Taking { at_once, writes: vec![] });
                assert_eq!(out.len(), wanted.len());
                let written = out.poll_write(&mut taking, &mut Context::from_waker(Waker::noop()));
                assert!(matches!(written, Poll::Ready(Ok(()))) && out.is_empty());
                assert_eq!(taking.writes.concat(), wanted.as_bytes(), "{at_once} at once");
                assert!(at_once != usize::MAX || taking.writes.len() == 1, "it is one write");
            }
        }
    }

    #[test]
    fn what_is_large_is_not_copied_and_what_was_written_is_not_kept() {
        let (mut out, large) = (Outgoing::new(vec![], true), large());
        out.push(large.clone());
        assert_eq!(out.before[1].as_ptr(), large.as_ptr(), "B1: all viewers share it");
        assert!(!out.takes_more(), "B1: no more is gathered to it");
        let mut taking = Taking { at_once: usize::MAX, writes: vec![] };
        assert!(out.poll_write(&mut taking, &mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!((out.last.capacity(), out.before.capacity()), (0, 0), "B1: an idle stream holds nothing");
    }
}
