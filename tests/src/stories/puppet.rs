//! A model that says what a story says, when it says so: a provider for one replica, so that who asks is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::provider::{DONE, chunk, events};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

#[derive(Debug)]
enum Line {
    Part(String),
    Done,
    /// The connection breaks off: another attempt may go better.
    BreaksOff,
    FailsForGood,
}

/// One generation that a replica asked for.
#[derive(Debug)]
struct Run {
    replica: String,
    pieces: Vec<String>,
    /// `None` when it has ended, or the replica has gone.
    lines: Option<mpsc::UnboundedSender<Line>>,
}

#[derive(Debug, Default)]
struct State {
    runs: Vec<Run>,
    /// Runs end as soon as they have begun.
    finishing: bool,
}

/// The models of all replicas of a story.
#[derive(Clone, Debug, Default)]
pub(super) struct Puppets(Arc<Mutex<State>>);

/// The provider of one replica. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) base_url: String,
    serving: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Puppets {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn provide(&self, replica: &str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (puppets, replica) = (self.clone(), replica.to_owned());
        let serving = tokio::spawn(async move {
            let mut runs = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (puppets, replica) = (puppets.clone(), replica.clone());
                runs.spawn(async move { puppets.perform(stream, replica).await.ok() });
            }
        });
        Provider { base_url: format!("http://127.0.0.1:{port}/v1"), serving }
    }

    async fn perform(&self, mut stream: TcpStream, replica: String) -> std::io::Result<()> {
        let mut request = vec![];
        let mut bytes = [0; 4096];
        loop {
            let length = stream.read(&mut bytes).await?;
            request.extend_from_slice(&bytes[..length]);
            let text = String::from_utf8_lossy(&request);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
            if body.is_some_and(|body| serde_json::from_str::<Value>(body).is_ok()) {
                break;
            }
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        stream.write_all(HEAD.as_bytes()).await?;
        let (lines, mut said) = mpsc::unbounded_channel();
        let run = {
            let mut state = self.state();
            if state.finishing {
                lines.send(Line::Part("last ".into())).ok();
                lines.send(Line::Done).ok();
            }
            state.runs.push(Run { replica, pieces: vec![], lines: Some(lines) });
            state.runs.len() - 1
        };
        loop {
            let line = tokio::select! {
                line = said.recv() => line,
                // The client says nothing more: whatever comes is its end.
                _ = stream.read(&mut bytes) => None,
            };
            let (text, over) = match line {
                Some(Line::Part(text)) => (events(&[chunk(&text, Value::Null)]), false),
                Some(Line::Done) => (events(&[chunk("", "stop".into())]) + DONE, true),
                Some(Line::FailsForGood) => (events(&[chunk("", "content_filter".into())]) + DONE, true),
                Some(Line::BreaksOff) | None => (String::new(), true),
            };
            stream.write_all(text.as_bytes()).await.ok();
            stream.flush().await.ok();
            if over {
                self.state().runs[run].lines = None;
                return stream.shutdown().await;
            }
        }
    }

    /// Whether a model runs for this replica.
    pub(super) fn runs(&self, replica: &str) -> bool {
        self.state().runs.iter().any(|run| run.replica == replica && run.lines.is_some())
    }

    fn say(&self, replica: &str, line: Line) {
        let mut state = self.state();
        let run = state.runs.iter_mut().rev().find(|run| run.replica == replica && run.lines.is_some());
        if let Some(lines) = run.and_then(|run| run.lines.as_ref()) {
            lines.send(line).ok();
        }
    }

    /// Says so many parts, each of which tells whose it is.
    pub(super) fn say_parts(&self, replica: &str, count: u64) {
        for _ in 0..count {
            let mut state = self.state();
            let live = |run: &Run| run.replica == replica && run.lines.is_some();
            let Some(at) = state.runs.iter().rposition(live) else { return };
            let run = &mut state.runs[at];
            let piece = format!("{at}-{} ", run.pieces.len() + 1);
            run.pieces.push(piece.clone());
            if let Some(lines) = &run.lines {
                lines.send(Line::Part(piece)).ok();
            }
        }
    }

    pub(super) fn finish(&self, replica: &str) {
        self.say(replica, Line::Done);
    }

    pub(super) fn fail(&self, replica: &str, retryable: bool) {
        self.say(replica, if retryable { Line::BreaksOff } else { Line::FailsForGood });
    }

    /// Every run ends, and those that begin from now on.
    pub(super) fn finish_all(&self) {
        let mut state = self.state();
        state.finishing = true;
        for run in &mut state.runs {
            if let Some(lines) = &run.lines {
                lines.send(Line::Part("last ".into())).ok();
                lines.send(Line::Done).ok();
            }
        }
    }

    /// The replica whose model said this text first.
    pub(super) fn who_said(&self, text: &str) -> Option<String> {
        let run = text.split_once('-')?.0.parse::<usize>().ok()?;
        self.state().runs.get(run).map(|run| run.replica.clone())
    }

    /// Whether the text is the first parts of one run, so many.
    pub(super) fn is_beginning(&self, text: &str, parts: u64) -> bool {
        let parts = usize::try_from(parts).unwrap_or(usize::MAX);
        self.state().runs.iter().any(|run| run.pieces.get(..parts).is_some_and(|said| said.concat() == text))
    }
}
