//! Server-sent events out of bytes, however they were cut (WHATWG HTML, section 9.2). It keeps to the event's
//! data: names, ids and comments are passed over, and an event that the stream ends in is dropped, as the
//! standard says. What the data means is left to others.

use bytes::{Buf, Bytes};

/// One line, and the data of one event.
pub(super) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// A line or an event is longer than [`EVENT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    input: Bytes,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The event's data so far, if it has any.
    data: Option<Vec<u8>>,
    /// The last line ended with CR: an LF right behind it belongs to it.
    after_cr: bool,
    /// The first line is over, and with it the byte order mark that may stand there.
    started: bool,
}

impl SseDecoder {
    /// Takes more bytes. Only after [`Self::next_data`] had no more to give.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        assert!(self.input.is_empty(), "B1: what was fed before is decoded first");
        self.input = bytes;
    }

    /// The data of the next event, its lines joined with LF. `None`: feed more.
    pub(super) fn next_data(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while !self.input.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if self.input[0] == b'\n' {
                    self.input.advance(1);
                    continue;
                }
            }
            let end = self.input.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let taken = end.unwrap_or(self.input.len());
            if self.line.len() + taken > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(&self.input[..taken]);
            let Some(end) = end else {
                self.input.clear();
                return Ok(None);
            };
            self.after_cr = self.input[end] == b'\r';
            self.input.advance(end + 1);
            if let Some(data) = self.end_line()? {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.started, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) if data.len() + 1 + value.len() > EVENT_BYTES_MAX => return Err(TooLong),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            }
        }
        line.clear();
        self.line = line;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = SseDecoder::default();
        let mut events = vec![];
        for chunk in chunks {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(data) = decoder.next_data().unwrap() {
                events.push(String::from_utf8(data).unwrap());
            }
        }
        events
    }

    const STREAM: &str = "\u{feff}: a comment\r\ndata: one\r\n\r\nevent: x\rid: 1\rdata:two\rdata:  more\r\r\
        data\n\ndata: żółw 🐢\n: keep-alive\n\n\n\nnonsense\n\nretry: 5\ndata: [DONE]\r\n\r\ndata: cut";
    const EVENTS: [&str; 5] = ["one", "two\n more", "", "żółw 🐢", "[DONE]"];

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = STREAM.as_bytes();
        for first in 0..=bytes.len() {
            assert_eq!(decode([&bytes[..first], &bytes[first..]]), EVENTS, "cut at {first}");
        }
        for size in 1..8 {
            assert_eq!(decode(bytes.chunks(size)), EVENTS, "cut every {size}");
        }
    }

    #[test]
    fn a_line_is_taken_up_to_its_maximum_and_no_further() {
        let mut decoder = SseDecoder::default();
        let fits = EVENT_BYTES_MAX;
        for _ in 0..fits / 1024 {
            decoder.feed(vec![b'x'; 1024].into());
            assert_eq!(decoder.next_data(), Ok(None));
        }
        decoder.feed(Bytes::from_static(b"x"));
        assert_eq!(decoder.next_data(), Err(TooLong), "B1");
    }

    #[test]
    fn an_event_of_endless_lines_has_the_same_maximum() {
        let mut decoder = SseDecoder::default();
        let line = [b"data: ".as_slice(), &[b'x'; 64 * 1024], b"\n"].concat();
        let ended = (0..17).any(|_| {
            decoder.feed(line.clone().into());
            decoder.next_data() == Err(TooLong)
        });
        assert!(ended, "B1: {EVENT_BYTES_MAX} B of data are the most");
    }
}
