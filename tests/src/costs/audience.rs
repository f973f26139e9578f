//! Viewers who watch at the least cost to this machine: many connections in one thread, each of which is read a few times a second. The servers
//! write at once whatever comes. Judged is that each viewer gets the parts of an answer in order, each once (S2).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Between two looks at each connection.
const SWEEP_INTERVAL: Duration = Duration::from_millis(200);
/// Until all viewers have been told what there is.
const SYNCED_TIMEOUT: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 64 * 1024;
/// Of one line of a stream.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the lines that come belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Head,
    Parts,
    Status,
    Synced,
    Other,
}

#[derive(Debug)]
struct Viewer {
    stream: TcpStream,
    screen: Screen,
}

/// What one viewer has been told, and what it adds to the count of all.
#[derive(Debug)]
struct Screen {
    /// A line that has not ended yet.
    rest: String,
    event: Event,
    /// The answer that the parts are of, as it is told.
    episode: String,
    /// Of its last part.
    seq: u64,
    is_synced: bool,
    is_waiting: bool,
    deliveries: u64,
}

impl Screen {
    fn new() -> Self {
        let (rest, episode) = <(String, String)>::default();
        Self { rest, event: Event::Head, episode, seq: 0, is_synced: false, is_waiting: false, deliveries: 0 }
    }

    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let came = std::str::from_utf8(bytes).context("what the demo says is ASCII")?;
        let mut left = came;
        while let Some(end) = left.find('\n') {
            let line = &left[..end];
            left = &left[end + 1..];
            if self.rest.is_empty() {
                self.line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.push_str(line);
                self.line(&whole)?;
            }
        }
        ensure!(
            self.rest.len() + left.len() <= LINE_BYTES_MAX,
            "a line has more than {LINE_BYTES_MAX} bytes"
        );
        self.rest.push_str(left);
        Ok(())
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        if let Some(kind) = line.strip_prefix("event: ") {
            self.event = match kind {
                "message_part" => Event::Parts,
                "status" => Event::Status,
                "synced" => Event::Synced,
                _ => Event::Other,
            };
            self.is_synced |= self.event == Event::Synced;
        } else if let Some(data) = line.strip_prefix("data: ") {
            match self.event {
                Event::Parts => self.parts(data)?,
                Event::Status => self.is_waiting = data.contains("\"status\":\"waiting\""),
                _ => {}
            }
        } else if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
            ensure!(self.event == Event::Head && status.starts_with("200"), "a stream is answered {status}");
        }
        Ok(())
    }

    fn parts(&mut self, data: &str) -> anyhow::Result<()> {
        let (first, last) = (number(data, "\"first_seq\":")?, number(data, "\"last_seq\":")?);
        let episode = data.split_once("\"episode\":").and_then(|(_, rest)| rest.split_once('}'));
        let (episode, _) = episode.with_context(|| format!("parts have an episode: {data}"))?;
        if episode != self.episode {
            (self.episode, self.seq) = (episode.to_owned(), 0);
        }
        let is_next = first == self.seq + 1 && last >= first;
        ensure!(is_next, "S2: part {first} to {last} of {episode} came behind part {}", self.seq);
        self.seq = last;
        self.deliveries += last + 1 - first;
        Ok(())
    }
}

/// The number behind a name.
fn number(data: &str, name: &str) -> anyhow::Result<u64> {
    let digits = data.split_once(name).map(|(_, rest)| rest).unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().with_context(|| format!("parts have {name}: {data}"))
}

#[derive(Debug)]
pub(super) struct Audience {
    viewers: Vec<Viewer>,
    buffer: Vec<u8>,
}

impl Audience {
    /// Viewers of these chats, one for each time that it is named, who know what there is.
    pub(super) async fn of(address: &str, chats: impl Iterator<Item = &str>) -> anyhow::Result<Self> {
        let viewers = chats.map(|chat| {
            let mut stream = TcpStream::connect(address)?;
            let head = format!("host: {address}\r\naccept: text/event-stream");
            stream.write_all(format!("GET /v1/chats/{chat}/stream HTTP/1.1\r\n{head}\r\n\r\n").as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(Viewer { stream, screen: Screen::new() })
        });
        let viewers = viewers.collect::<std::io::Result<_>>().context("a stream cannot be opened")?;
        let mut audience = Self { viewers, buffer: vec![0; READ_BYTES] };
        let deadline = Instant::now() + SYNCED_TIMEOUT;
        while !audience.viewers.iter().all(|viewer| viewer.screen.is_synced) {
            ensure!(
                Instant::now() < deadline,
                "not all viewers were told within {SYNCED_TIMEOUT:?} what there is"
            );
            tokio::time::sleep(SWEEP_INTERVAL).await;
            audience.sweep()?;
        }
        Ok(audience)
    }

    /// Reads what is there, and gives how many parts all viewers have got so far, each counted for each.
    pub(super) fn sweep(&mut self) -> anyhow::Result<f64> {
        for Viewer { stream, screen } in &mut self.viewers {
            loop {
                match stream.read(&mut self.buffer) {
                    Ok(0) => bail!("a stream ended"),
                    Ok(read) => {
                        screen.take(&self.buffer[..read])?;
                        if read < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("a stream broke"),
                }
            }
        }
        Ok(self.viewers.iter().map(|viewer| viewer.screen.deliveries).sum::<u64>() as f64)
    }

    /// Watches for so long.
    pub(super) async fn watch(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            tokio::time::sleep(left.min(SWEEP_INTERVAL)).await;
            self.sweep()?;
        }
        Ok(())
    }

    /// The viewers who have been told since the last time that their chat is at rest.
    pub(super) fn rested(&mut self) -> Vec<usize> {
        let rested = self.viewers.iter_mut().enumerate();
        let rested =
            rested.filter_map(|(at, viewer)| std::mem::take(&mut viewer.screen.is_waiting).then_some(at));
        rested.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 700\n\n\
        event: message\nid: a\ndata: {\"type\":\"message\",\"message\":{\"content\":\"event: synced\"}}\n\n\
        event: status\nid: b\ndata: {\"type\":\"status\",\"status\":\"running\"}\n\n\
        event: message_part\nid: c\ndata: {\"type\":\"message_part\",\"episode\":{\"attempt\":1},\"first_seq\":1,\"last_seq\":3,\"block\":0}\n\n\
        event: synced\nid: d\ndata: {\"type\":\"synced\"}\n\n: alive\n\n\
        event: message_part\nid: e\ndata: {\"type\":\"message_part\",\"episode\":{\"attempt\":1},\"first_seq\":4,\"last_seq\":4,\"block\":0}\n\n\
        event: status\nid: f\ndata: {\"type\":\"status\",\"status\":\"waiting\"}\n\n";

    #[test]
    fn a_stream_is_understood_however_it_is_cut() {
        for pieces in [1, 7, STREAM.len()] {
            let mut screen = Screen::new();
            for piece in STREAM.as_bytes().chunks(pieces) {
                screen.take(piece).unwrap();
            }
            let Screen { rest, seq, is_synced, is_waiting, deliveries, .. } = screen;
            assert_eq!((&*rest, seq, is_synced, is_waiting, deliveries), ("", 4, true, true, 4), "{pieces}");
        }
        let next = STREAM.replace(
            "\"attempt\":1},\"first_seq\":4,\"last_seq\":4",
            "\"attempt\":2},\"first_seq\":1,\"last_seq\":2",
        );
        let mut screen = Screen::new();
        screen.take(next.as_bytes()).unwrap();
        assert_eq!((screen.seq, screen.deliveries), (2, 5), "the next episode begins with its first part");
        let before = STREAM.split_once("event: synced\nid").unwrap().0;
        let mut screen = Screen::new();
        screen.take(before.as_bytes()).unwrap();
        assert!(!screen.is_synced && !screen.is_waiting && screen.deliveries == 3);
    }

    #[test]
    fn a_part_that_is_missing_or_comes_twice_is_found() {
        for wrong in [
            "\"first_seq\":5,\"last_seq\":5",
            "\"first_seq\":3,\"last_seq\":4",
            "\"first_seq\":1,\"last_seq\":1",
            "\"first_seq\":4,\"last_seq\":3",
            "\"first_seq\":4",
        ] {
            let stream = STREAM.replace("\"first_seq\":4,\"last_seq\":4", wrong);
            assert!(Screen::new().take(stream.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Screen::new().take(STREAM.replace("200 OK", "404 Not Found").as_bytes()).is_err());
    }
}
