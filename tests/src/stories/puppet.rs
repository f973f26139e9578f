//! A model that says what a story says, when it says so: a provider for one replica, so that who asks is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstem_machine::{Block, Completion, FinishReason};
use mainstem_oracles::{Evidence, FaultKind, RunEnd, RunId};
use mainstem_story::{Carrying, Script, Turn};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::run::{Asked, Calls, Line, Run};
use super::tools::{CallEnd, Called};
use super::wording::{self, Wording};
use crate::court::Ledger;
use crate::tool_endpoint::read_request;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

#[derive(Debug, Default)]
struct State {
    runs: Vec<Run>,
    calls: Calls,
    /// What tools were called with.
    called: Vec<Called>,
    /// Runs end as soon as they have begun.
    finishing: bool,
}

/// The models of all replicas of a story, and what their tools are to do.
#[derive(Clone, Debug)]
pub(super) struct Puppets {
    state: Arc<Mutex<State>>,
    /// That how a call is carried out may have changed.
    changed: Arc<watch::Sender<()>>,
    ledger: Ledger,
}

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
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { state: Arc::default(), changed: Arc::default(), ledger }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let asked = asked(&mut stream).await?;
        let id = self.ledger.begun(&replica, asked.prompt.clone(), asked.has_results);
        let (lines, mut said) = mpsc::unbounded_channel();
        let run = {
            let mut state = self.state();
            let mut run = Run::new(id, replica.clone(), asked, lines);
            if state.finishing {
                run.end_soon();
            } else if let Some(script) = run.script.clone() {
                let before = state.runs.iter().filter(|before| before.asks_the_same(&run)).count();
                tokio::spawn(self.clone().answer(id, replica, script, before as u64 + 1));
            }
            state.runs.push(run);
            state.runs.len() - 1
        };
        let over = self.speak(&mut stream, id, &mut said).await;
        self.state().runs[run].lines = None;
        over?;
        stream.shutdown().await
    }

    async fn speak(
        &self,
        stream: &mut TcpStream,
        run: RunId,
        said: &mut mpsc::UnboundedReceiver<Line>,
    ) -> std::io::Result<()> {
        let (mut bytes, mut wording) = ([0; 4096], Wording::default());
        stream.write_all(HEAD.as_bytes()).await?;
        loop {
            let line = tokio::select! {
                line = said.recv() => line,
                // The client says nothing more: whatever comes is its end.
                _ = stream.read(&mut bytes) => None,
            };
            let ends = |how| Some(Evidence::RunEnded { run, how });
            // The judges hear it before the replica does.
            let (text, says, ends) = match line {
                Some(Line::Part(begins, text)) => {
                    let wire = wording.part(begins.clone(), &text);
                    (wire, Some(Evidence::RunSaid { run, begins, text }), None)
                }
                Some(Line::Done(reason)) => {
                    let completion = Completion { finish_reason: Some(reason), usage: None };
                    (wording::end(reason), None, ends(RunEnd::Done(completion)))
                }
                Some(Line::FailsForGood) => {
                    (wording::end(FinishReason::ContentFilter), None, ends(RunEnd::Failed))
                }
                Some(Line::BreaksOff) => (String::new(), None, ends(RunEnd::Failed)),
                None => (String::new(), None, ends(RunEnd::Cancelled)),
            };
            let over = ends.is_some();
            says.into_iter().chain(ends).for_each(|evidence| self.ledger.say(evidence));
            stream.write_all(text.as_bytes()).await.ok();
            stream.flush().await.ok();
            if over {
                return Ok(());
            }
        }
    }

    /// Answers by itself, as the user's message says.
    async fn answer(self, id: RunId, replica: String, script: Script, attempt: u64) {
        let is_it = |run| run == id;
        let mut said = 0;
        loop {
            tokio::time::sleep(script.every).await;
            // It ends with the run.
            match script.turn(said, attempt) {
                Turn::Parts(count) if self.runs(&replica, is_it) => {
                    self.say_parts(&replica, is_it, count);
                    said += count;
                }
                Turn::Done => {
                    self.finish(&replica, is_it);
                    return;
                }
                Turn::Fail { retryable } => return self.fail(&replica, is_it, retryable),
                Turn::Stall => return self.ledger.fault(FaultKind::ModelStalls, &replica, None),
                Turn::Parts(_) => return,
            }
        }
    }

    /// How the tools carry out the call of this name. A call that no model made returns at once.
    pub(super) fn carrying(&self, call: &str) -> Carrying {
        self.state().calls.get(call).copied().unwrap_or(Carrying::Returns(Duration::ZERO))
    }

    /// From now on, and of whoever waits for it already.
    pub(super) fn carry(&self, call: &str, carrying: Carrying) {
        self.state().calls.insert(call.into(), carrying);
        self.changed.send_replace(());
    }

    pub(super) fn carrying_changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Notes what a tool was called with. Returns its place.
    pub(super) fn note_call(&self, called: Called) -> usize {
        let mut state = self.state();
        state.called.push(called);
        state.called.len() - 1
    }

    pub(super) fn note_end(&self, call: usize, end: CallEnd) {
        self.state().called[call].end = end;
    }

    pub(super) fn called(&self) -> Vec<Called> {
        self.state().called.clone()
    }

    /// What a model was asked.
    pub(super) fn asked(&self, run: RunId) -> Option<Asked> {
        self.state().runs.iter().find(|known| known.id == run).map(|run| run.asked.clone())
    }

    /// The newest model that runs, of those that are meant, with the replica that it runs for.
    pub(super) fn running(&self, is_meant: impl Fn(RunId) -> bool) -> Option<(String, RunId)> {
        let state = self.state();
        let is_it = |run: &&Run| run.lines.is_some() && is_meant(run.id);
        state.runs.iter().rfind(is_it).map(|run| (run.replica.clone(), run.id))
    }

    /// Says this piece of the block before it, or of one that it begins.
    pub(super) fn say(&self, replica: &str, run: RunId, begins: Option<Block>, text: &str) -> bool {
        self.with(replica, |it| it == run, |run, _| run.say(Line::Part(begins, text.into())))
    }

    /// Ends for this reason.
    pub(super) fn end(&self, replica: &str, run: RunId, reason: FinishReason) -> bool {
        self.with(replica, |it| it == run, |run, _| run.say(Line::Done(reason)))
    }

    /// Does this to the newest model that runs for this replica and is meant. False if none does.
    fn with(
        &self,
        replica: &str,
        is_meant: impl Fn(RunId) -> bool,
        act: impl FnOnce(&mut Run, &mut Calls),
    ) -> bool {
        let State { runs, calls, .. } = &mut *self.state();
        let is_it = |run: &&mut Run| run.replica == replica && run.lines.is_some() && is_meant(run.id);
        runs.iter_mut().rev().find(is_it).map(|run| act(run, calls)).is_some()
    }

    /// Whether a model runs for this replica, of those that are meant.
    pub(super) fn runs(&self, replica: &str, is_meant: impl Fn(RunId) -> bool) -> bool {
        self.with(replica, is_meant, |_, _| {})
    }

    /// Says so many parts.
    pub(super) fn say_parts(&self, replica: &str, is_meant: impl Fn(RunId) -> bool, count: u64) {
        self.with(replica, is_meant, |run, calls| run.say_parts(count, calls));
    }

    /// Returns which run it was, if one ran.
    pub(super) fn finish(&self, replica: &str, is_meant: impl Fn(RunId) -> bool) -> Option<RunId> {
        let mut finished = None;
        self.with(replica, is_meant, |run, _| {
            if run.is_to_call() {
                self.ledger.fault(FaultKind::ModelCalls, replica, None);
            }
            run.finish();
            finished = Some(run.id);
        });
        finished
    }

    pub(super) fn fail(&self, replica: &str, is_meant: impl Fn(RunId) -> bool, retryable: bool) {
        let kind = if retryable { FaultKind::ModelFails } else { FaultKind::ModelFailsForGood };
        self.ledger.fault(kind, replica, None);
        self.with(replica, is_meant, |run, _| {
            run.say(if retryable { Line::BreaksOff } else { Line::FailsForGood });
        });
    }

    /// Every run ends, and those that begin from now on.
    pub(super) fn finish_all(&self) {
        let mut state = self.state();
        state.finishing = true;
        state.runs.iter_mut().for_each(Run::end_soon);
    }
}

/// Reads a request.
async fn asked(stream: &mut TcpStream) -> std::io::Result<Asked> {
    let (_, body) = read_request(stream).await?;
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_of = |role: &str, message: &Value| message["role"] == role;
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let tools = tools.filter_map(|tool| tool["function"]["name"].as_str().map(str::to_owned));
    let last = messages.iter().rfind(|message| is_of("user", message)).cloned().unwrap_or_default();
    Ok(Asked {
        prompt: last["content"].as_str().unwrap_or_default().to_owned(),
        has_results: messages.last().is_some_and(|last| is_of("tool", last)),
        messages: body["messages"].to_string(),
        tools: tools.collect(),
    })
}
