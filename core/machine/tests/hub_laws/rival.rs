//! A third replica that only writes rows and relays what it generates. It takes over, crashes, returns, and
//! continues to relay when it was superseded long ago.

use std::collections::BTreeMap;

use mainstem_machine::{
    Command, Completion, Content, Episode, Fence, Lease, Part, RelayFrame, ReplicaId, RunError, Seq, Status,
};

use mainstem_oracles::RunEnd;

use crate::database::Produced;
use crate::node::{Connection, Sent};
use crate::step::Rival;
use crate::world::{RIVAL, World};

#[derive(Debug, Default)]
pub(crate) struct Rivalry {
    pub(crate) lease: Option<Lease>,
    /// What it generates, or believes it does.
    live: Option<Episode>,
    parts: u64,
}

pub(crate) fn error() -> RunError {
    RunError { code: "model_failed".into(), message: "the model failed".into() }
}

fn id() -> ReplicaId {
    ReplicaId::new("rival").expect("a replica's id")
}

impl World {
    pub(crate) fn rival(&mut self, rival: Rival) {
        let replica = id();
        let state = self.database.state().clone();
        let episode = state.present_episode();
        if let Rival::Acquire = rival {
            if let Ok(state) = self.commit(&Command::Acquire { replica, interrupting_only: false }) {
                self.rivalry.lease = Some(state.lease);
                self.rivalry.live = None;
            }
            return;
        }
        if let Rival::Part = rival {
            return self.rival_part();
        }
        let Some(lease) = self.rivalry.lease else { return };
        if let (Rival::Begin, Some(left)) = (&rival, state.retry_left()) {
            self.now = self.now + left;
        }
        let fence = Fence { replica: replica.clone(), lease, episode };
        let ours = self.rivalry.live == Some(episode) && state.live_episode() == Some((episode, lease));
        let text = self.database.produced.get(&episode).filter(|_| ours).map(Produced::text);
        let text = text.filter(|text| !text.is_empty()).map(|text| Content::text(&text));
        let command = match rival {
            Rival::Begin => Command::BeginAttempt { fence },
            Rival::Finish if ours => {
                Command::FinishTurn { fence, answer: text, completion: Completion::STOPPED }
            }
            Rival::Fail if ours => Command::Fail { fence, partial: text, error: error() },
            Rival::Retry if ours => Command::RecordRetry { fence, delay_ms: 500, error: error() },
            Rival::Interruption if state.status == Status::Interrupting => {
                Command::FinishInterruption { fence, partial: text }
            }
            Rival::Release => Command::Release { replica, lease },
            _ => return,
        };
        if let Some(live) = self.rivalry.live {
            let how = match rival {
                Rival::Finish => RunEnd::Done(Completion::STOPPED),
                Rival::Fail | Rival::Retry => RunEnd::Failed,
                _ => RunEnd::Cancelled,
            };
            self.court.ended(self.now, live, how);
        }
        let Ok(state) = self.commit(&command) else { return };
        self.rivalry.live = None;
        if let Rival::Begin = rival {
            let episode = state.present_episode();
            self.rivalry.live = Some(episode);
            self.database.produced.insert(episode, Produced { by: RIVAL, lease, parts: vec![] });
            self.court.started(self.now, &id(), episode);
        }
    }

    /// Completes turns on behalf of an unknown replica, if nobody holds the chat.
    pub(crate) fn talk(&mut self, turns: u8) {
        for _ in 0..turns {
            if self.database.is_free(self.now) {
                let acquire = Command::Acquire { replica: id(), interrupting_only: false };
                let Ok(state) = self.commit(&acquire) else { return };
                if state.status != Status::Running {
                    let fence = Fence { replica: id(), lease: state.lease, episode: state.present_episode() };
                    let _ = self.commit(&Command::FinishInterruption { fence, partial: None });
                    continue;
                }
                let fence = Fence { replica: id(), lease: state.lease, episode: state.present_episode() };
                let Ok(state) = self.commit(&Command::BeginAttempt { fence: fence.clone() }) else { return };
                let (episode, completion) = (state.present_episode(), Completion::default());
                self.court.started(self.now, &id(), episode);
                self.court.ended(self.now, episode, RunEnd::Done(completion));
                let fence = Fence { episode, ..fence };
                let _ = self.commit(&Command::FinishTurn { fence, answer: None, completion });
            }
            let status = self.database.state().status;
            if !status.is_runnable() {
                let content = Content::text("and then");
                let _ = self.commit(&Command::Send {
                    content,
                    mode: Default::default(),
                    queue_max: 5,
                    client_id: None,
                });
            }
        }
    }

    fn rival_part(&mut self) {
        let Some(episode) = self.rivalry.live else { return };
        self.rivalry.parts += 1;
        let text = format!("r{} ", self.rivalry.parts);
        self.court.said(self.now, episode, None, &text);
        self.database.produced.get_mut(&episode).expect("it began").parts.push(text);
    }
}

/// The rival's next frame for a follower. `replay` begins at the first part, whatever the follower has (R23).
pub(crate) fn next_frame(
    produced: &BTreeMap<Episode, Produced>,
    connection: &mut Connection,
    replay: bool,
) -> Option<Sent> {
    let ours = |(_, produced): &(&Episode, &Produced)| produced.by == RIVAL;
    let Some((episode, sent)) = connection.sent else {
        let position = connection.position;
        let held =
            position.and_then(|at| produced.get(&at.episode).filter(|p| p.by == RIVAL).map(|p| (at, p)));
        let (episode, from) = match (held, position) {
            (Some((at, held)), _) => (at.episode, (at.seq.0 as usize).min(held.parts.len())),
            (None, Some(at)) => {
                let (episode, _) = produced.iter().filter(ours).find(|(e, _)| **e > at.episode)?;
                (*episode, 0)
            }
            (None, None) => (*produced.iter().rfind(ours)?.0, 0),
        };
        connection.sent = Some((episode, if replay { 0 } else { from }));
        let lease = produced[&episode].lease;
        return Some(Sent::Frame(RelayFrame::Opened { episode, lease }));
    };
    let parts = &produced[&episode].parts;
    if sent < parts.len() {
        let end = parts.len().min(sent + 3);
        connection.sent = Some((episode, end));
        let parts = parts[sent..end].iter().map(|part| Part::piece(part.clone())).collect();
        let first_seq = Seq(sent as u64 + 1);
        return Some(Sent::Frame(RelayFrame::Parts { episode, first_seq, parts }));
    }
    let (next, held) = produced.iter().filter(ours).find(|(e, _)| **e > episode)?;
    connection.sent = Some((*next, 0));
    connection.under_way.push_back(Sent::Frame(RelayFrame::Closed { episode }));
    Some(Sent::Frame(RelayFrame::Opened { episode: *next, lease: held.lease }))
}
