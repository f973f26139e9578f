//! Server-sent events out of bytes, however they were cut (WHATWG HTML, section 9.2). Retry times and comments
//! are passed over. What the data means is left to others.
//!
//! A provider of models may send less than the standard asks for. Where a decoder is told how to recognize
//! data that is complete, a line of such data is an event by itself, whether a blank line follows or not.

use bytes::{Buf, Bytes};

/// A line or the data of an event is longer than the decoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// An event that has data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Its type; empty if it names none.
    pub(crate) name: Vec<u8>,
    /// Empty if it has none.
    pub(crate) id: Vec<u8>,
    /// Its lines, joined with LF.
    pub(crate) data: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct SseDecoder {
    /// The most bytes of one line, and of the data of one event (B1).
    bytes_max: usize,
    /// Whether a line of data is a whole event.
    is_whole: Option<fn(&[u8]) -> bool>,
    input: Bytes,
    /// The line that has not ended yet.
    line: Vec<u8>,
    event: SseEvent,
    /// The event has data, though it may be empty.
    has_data: bool,
    /// The last line ended with CR: an LF right behind it belongs to it.
    after_cr: bool,
    /// The first line is over, and with it the byte order mark that may stand there.
    begun: bool,
}

impl SseDecoder {
    /// A decoder as the standard has it.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            is_whole: None,
            input: Bytes::new(),
            line: vec![],
            event: SseEvent::default(),
            has_data: false,
            after_cr: false,
            begun: false,
        }
    }

    /// A decoder that also takes a line by itself for an event if `is_whole` says so of its data. Such data
    /// may even stand there without its field name.
    pub(crate) fn lenient(bytes_max: usize, is_whole: fn(&[u8]) -> bool) -> Self {
        Self { is_whole: Some(is_whole), ..Self::new(bytes_max) }
    }

    /// Takes more bytes. Only after [`Self::next_event`] had no more to give.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        assert!(self.input.is_empty(), "B1: what was fed before is decoded first");
        self.input = bytes;
    }

    /// The next event. `None`: feed more.
    pub(crate) fn next_event(&mut self) -> Result<Option<SseEvent>, TooLong> {
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
            if self.line.len() + taken > self.bytes_max {
                return Err(TooLong);
            }
            self.line.extend_from_slice(&self.input[..taken]);
            let Some(end) = end else {
                self.input.clear();
                return Ok(None);
            };
            self.after_cr = self.input[end] == b'\r';
            self.input.advance(end + 1);
            if let Some(event) = self.end_line()? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// What the stream ended in: an event without its blank line, which the standard drops. Call it until it
    /// has no more.
    pub(crate) fn finish(&mut self) -> Result<Option<SseEvent>, TooLong> {
        if !self.line.is_empty()
            && let Some(event) = self.end_line()?
        {
            return Ok(Some(event));
        }
        Ok(self.end_event())
    }

    fn end_line(&mut self) -> Result<Option<SseEvent>, TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let event = self.take_line(&line);
        line.clear();
        self.line = line;
        event
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<SseEvent>, TooLong> {
        if let Some(is_whole) = self.is_whole
            && !self.has_data
            && is_whole(line)
        {
            self.push_data(line)?;
            return Ok(self.end_event());
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.event.name = value.to_vec(),
            b"id" => self.event.id = value.to_vec(),
            b"data" => {
                let is_whole = !self.has_data && self.is_whole.is_some_and(|is_whole| is_whole(value));
                self.push_data(value)?;
                if is_whole {
                    return Ok(self.end_event());
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn push_data(&mut self, value: &[u8]) -> Result<(), TooLong> {
        let data = &mut self.event.data;
        if self.has_data {
            if data.len() + 1 + value.len() > self.bytes_max {
                return Err(TooLong);
            }
            data.push(b'\n');
        }
        self.has_data = true;
        data.extend_from_slice(value);
        Ok(())
    }

    /// The event so far, if it has data.
    fn end_event(&mut self) -> Option<SseEvent> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 1024 * 1024;

    fn decode<'a>(mut decoder: SseDecoder, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut events = vec![];
        for chunk in chunks {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(event) = decoder.next_event().unwrap() {
                events.push(String::from_utf8(event.data).unwrap());
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
            let chunks = [&bytes[..first], &bytes[first..]];
            assert_eq!(decode(SseDecoder::new(BYTES_MAX), chunks), EVENTS, "cut at {first}");
        }
        for size in 1..8 {
            let events = decode(SseDecoder::new(BYTES_MAX), bytes.chunks(size));
            assert_eq!(events, EVENTS, "cut every {size}");
        }
    }

    #[test]
    fn an_event_has_its_own_name_and_id_and_what_has_no_data_is_none() {
        let mut decoder = SseDecoder::new(BYTES_MAX);
        decoder
            .feed(Bytes::from_static(b"id: 1\nevent: a\n\nid: 2\ndata: x\n\ndata: y\n\nevent: b\ndata: z"));
        let mut events = vec![];
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event);
        }
        events.extend(decoder.finish().unwrap());
        let event = |name: &str, id: &str, data: &str| SseEvent {
            name: name.into(),
            id: id.into(),
            data: data.into(),
        };
        assert_eq!(events, [event("", "2", "x"), event("", "", "y"), event("b", "", "z")]);
        assert_eq!(decoder.finish(), Ok(None));
    }

    #[test]
    fn a_line_that_is_whole_is_an_event_where_that_is_taken() {
        let stream =
            "data: <1>\ndata: <2>\r\n<3>\ndata: <4\ndata: <x>\ndata: 5>\n\nevent: e\ndata: <6>\n\ndata: <7>";
        let is_whole = |data: &[u8]| data.starts_with(b"<") && data.ends_with(b">");
        let wanted = ["<1>", "<2>", "<3>", "<4\n<x>\n5>", "<6>"];
        for size in 1..stream.len() {
            let mut decoder = SseDecoder::lenient(BYTES_MAX, is_whole);
            let mut events = vec![];
            for chunk in stream.as_bytes().chunks(size) {
                decoder.feed(Bytes::copy_from_slice(chunk));
                while let Some(event) = decoder.next_event().unwrap() {
                    events.push(String::from_utf8(event.data).unwrap());
                }
            }
            assert_eq!(events, wanted, "cut every {size}");
            assert_eq!(decoder.finish().unwrap().unwrap().data, b"<7>");
            assert_eq!(decoder.finish(), Ok(None));
        }
    }

    #[test]
    fn a_line_is_taken_up_to_its_maximum_and_no_further() {
        let mut decoder = SseDecoder::new(BYTES_MAX);
        for _ in 0..BYTES_MAX / 1024 {
            decoder.feed(vec![b'x'; 1024].into());
            assert_eq!(decoder.next_event(), Ok(None));
        }
        decoder.feed(Bytes::from_static(b"x"));
        assert_eq!(decoder.next_event(), Err(TooLong), "B1");
    }

    #[test]
    fn an_event_of_endless_lines_has_the_same_maximum() {
        let mut decoder = SseDecoder::new(BYTES_MAX);
        let line = [b"data: ".as_slice(), &[b'x'; 64 * 1024], b"\n"].concat();
        let ended = (0..17).any(|_| {
            decoder.feed(line.clone().into());
            decoder.next_event() == Err(TooLong)
        });
        assert!(ended, "B1: {BYTES_MAX} B of data are the most");
    }
}
