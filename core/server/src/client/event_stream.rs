//! Server-Sent Events as a client reads them (WHATWG HTML, section 9.2), from any chunks.

use std::borrow::Cow;

use reqwest::Response;

use super::CallError;

/// One event: a page of messages is the largest (B1).
const EVENT_BYTES_MAX: usize = 128 << 20;
/// Read bytes are moved to the front when this many before them are done.
const COMPACTED_BYTES: usize = 64 * 1024;

/// An event as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSent<'a> {
    pub id: Cow<'a, str>,
    pub data: Cow<'a, str>,
}

/// A response's events.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    parser: Parser,
}

impl EventStream {
    pub(super) fn new(response: Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// Waits for more bytes; `false` if there are no more. Cancel-safe.
    pub async fn fill(&mut self) -> Result<bool, CallError> {
        match self.response.chunk().await {
            Ok(Some(chunk)) => self.parser.push(&chunk).map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(CallError::Unreachable(error.to_string())),
        }
    }

    /// The next whole event among the bytes that came.
    pub fn next_event(&mut self) -> Option<Result<ServerSent<'_>, CallError>> {
        self.parser.next_event()
    }
}

#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    /// Where the present event begins.
    begin: usize,
    /// Up to where no end of it was found: the begin of a line.
    line: usize,
    /// Up to where the present line has no end.
    scanned: usize,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Result<(), CallError> {
        if self.begin >= COMPACTED_BYTES || self.begin == self.buffer.len() {
            self.buffer.drain(..self.begin);
            self.line -= self.begin;
            self.scanned -= self.begin;
            self.begin = 0;
        }
        if self.buffer.len() - self.begin + chunk.len() > EVENT_BYTES_MAX {
            return Err(CallError::Unreachable("an event has no end".into()));
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn next_event(&mut self) -> Option<Result<ServerSent<'_>, CallError>> {
        loop {
            let Some(length) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.buffer.len();
                return None;
            };
            let end = self.scanned + length;
            let is_blank = matches!(self.buffer[self.line..end], [] | [b'\r']);
            let event = self.begin..self.line;
            (self.line, self.scanned) = (end + 1, end + 1);
            if is_blank {
                self.begin = end + 1;
                if has_data(&self.buffer[event.clone()]) {
                    return Some(parse(&self.buffer[event]));
                }
            }
        }
    }
}

fn has_data(event: &[u8]) -> bool {
    event.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"data"))
}

fn parse(event: &[u8]) -> Result<ServerSent<'_>, CallError> {
    let text =
        std::str::from_utf8(event).map_err(|_| CallError::Unreachable("the stream is not UTF-8".into()))?;
    let mut sent = ServerSent { id: Cow::Borrowed(""), data: Cow::Borrowed("") };
    let mut lines = 0;
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => sent.id = value.into(),
            "data" if lines == 0 => (sent.data, lines) = (value.into(), 1),
            "data" => {
                let data = sent.data.to_mut();
                data.push('\n');
                data.push_str(value);
            }
            _ => {}
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &str, chunk: usize) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = vec![];
        for chunk in stream.as_bytes().chunks(chunk) {
            parser.push(chunk).expect("within bounds");
            while let Some(event) = parser.next_event() {
                let event = event.expect("UTF-8");
                events.push((event.id.into_owned(), event.data.into_owned()));
            }
        }
        events
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream = "event: a\nid: 1\ndata: {\"é\":1}\n\n: ping\n\nid: 2\r\ndata:x\r\ndata: y\r\n\r\n\n\nid: 3\ndata: no end\n";
        let whole = read(stream, stream.len());
        assert_eq!(whole, [("1".into(), "{\"é\":1}".into()), ("2".into(), "x\ny".into())]);
        for chunk in 1..stream.len() {
            assert_eq!(read(stream, chunk), whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn what_was_read_is_forgotten() {
        let mut parser = Parser::default();
        for _ in 0..10_000 {
            parser.push(b"data: 0123456789\n\nda").expect("within bounds");
            assert!(parser.next_event().is_some());
            parser.push(b"ta: x\n\n").expect("within bounds");
            assert!(parser.next_event().is_some() && parser.next_event().is_none());
        }
        assert!(parser.buffer.capacity() <= 4 * COMPACTED_BYTES, "B1: {}", parser.buffer.capacity());
    }
}
