//! The oracle of one viewer's stream, which knows only what came over the wire.
//!
//! It reads the events as a client would, knows what docs/protocol.md says of their order, and names the
//! guarantee that a wrong one breaks. It sees neither the server's state nor the other viewers, and shares no
//! code with what it judges. [`ViewerOracle::finish`] compares what was shown with the history at the end.

mod wire;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::Guarantee;

pub use wire::{Piece, WireBody, WireEpisode, WireEvent, WireMessage, WirePart, WireQueued, WireUsage};

/// A guarantee that a stream broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    pub guarantee: Guarantee,
    pub why: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guarantee, self.why)
    }
}

/// The last status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastStatus {
    status: String,
    worker: Option<String>,
    episode: WireEpisode,
}

/// The parts of an answer that has not come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Preview {
    episode: WireEpisode,
    last_seq: u64,
    blocks: Vec<WirePart>,
}

/// A message as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    id: u64,
    revision: u64,
    digest: u64,
    /// It is a user's, so its answers may have been cut off to be given again.
    may_be_answered_again: bool,
}

/// The oracle of one viewer that began with nothing, and resumes by cursor wherever a stream breaks off.
#[derive(Clone, Debug, Default)]
pub struct ViewerOracle {
    messages: Vec<Seen>,
    last_status: Option<LastStatus>,
    /// The history of which a status was told since the messages were dropped.
    spoken_of: Option<u64>,
    preview: Option<Preview>,
    /// Nothing of this episode or an older one may be shown any more.
    over: Option<WireEpisode>,
    /// Parts shown, joined ones counted.
    parts: u64,
}

impl ViewerOracle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Parts shown so far, joined ones counted.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    pub fn status(&self) -> Option<&str> {
        self.last_status.as_ref().map(|last_status| last_status.status.as_str())
    }

    /// The newest message shown.
    pub fn last_message(&self) -> Option<u64> {
        self.messages.last().map(|seen| seen.id)
    }

    /// The database was restored to an earlier state: what follows may be older than what was shown.
    pub fn restored(&mut self) {
        *self = Self { parts: self.parts, ..Self::default() };
    }

    /// Judges the next event of the stream. After a breach it continues from the event, so that one defect is
    /// reported once.
    pub fn handle(&mut self, event: &WireBody<'_>) -> Vec<Breach> {
        let mut found = vec![];
        let mut breach = |guarantee, why: String| found.push(Breach { guarantee, why });
        match event {
            WireBody::Message(message) => self.on_message(message, &mut breach),
            WireBody::Status { status, worker, episode } => {
                self.on_status(
                    LastStatus { status: status.clone(), worker: worker.clone(), episode: *episode },
                    &mut breach,
                );
            }
            WireBody::Parts { episode, first_seq, last_seq, block, piece } => {
                self.on_parts(*episode, (*first_seq, *last_seq), *block, piece, &mut breach);
            }
            WireBody::PreviewReset { episode } => {
                self.preview = None;
                self.close(*episode);
            }
            WireBody::HistoryReset => {
                if let Some(preview) = self.preview.take() {
                    let why = format!("history was reset, and the preview of {} not before", preview.episode);
                    breach(Guarantee::S4, why);
                    self.close(preview.episode);
                }
                self.messages.clear();
                self.spoken_of = None;
            }
            WireBody::Synced if self.last_status.is_none() => {
                breach(Guarantee::S9, "the catch-up is over, and no status was told".into());
            }
            WireBody::Synced | WireBody::QueueUpdate(_) | WireBody::Other => {}
        }
        found
    }

    fn on_message(&mut self, message: &WireMessage, breach: &mut impl FnMut(Guarantee, String)) {
        if let Some(last) = self.messages.last() {
            if message.id <= last.id {
                breach(Guarantee::S1, format!("message {} came after message {}", message.id, last.id));
            }
            if message.revision < last.revision {
                let revisions = (message.revision, last.revision);
                breach(
                    Guarantee::S1,
                    format!("message {} is of revision {}, after {}", message.id, revisions.0, revisions.1),
                );
            }
        }
        if let Some(version) = self.spoken_of.filter(|version| message.revision <= *version) {
            let (id, revision) = (message.id, message.revision);
            breach(
                Guarantee::S8,
                format!("message {id} of {revision} came after the status of history {version}"),
            );
        }
        if let Some(preview) = self.preview.take() {
            if message.episode != Some(preview.episode) {
                let why =
                    format!("message {} ended the preview of {} and is not it", message.id, preview.episode);
                breach(Guarantee::S4, why);
            } else if !message.begins_with(&preview.blocks) {
                let (kept, shown) = (message.content.len(), preview.blocks.len());
                let why = format!(
                    "message {} of {kept} blocks does not begin with the {shown} that were shown",
                    message.id
                );
                breach(Guarantee::S4, why);
            }
            self.close(preview.episode);
        }
        if let Some(episode) = message.episode {
            self.close(episode);
        }
        self.messages.push(Seen {
            id: message.id,
            revision: message.revision,
            digest: digest(message),
            may_be_answered_again: message.role == "user",
        });
    }

    fn on_status(&mut self, now: LastStatus, breach: &mut impl FnMut(Guarantee, String)) {
        if let Some(before) = &self.last_status {
            if now.episode < before.episode {
                breach(
                    Guarantee::S3,
                    format!("the status of {} came after that of {}", now.episode, before.episode),
                );
            }
            if before.episode == now.episode && before.worker != now.worker && now.episode.attempt > 0 {
                self.over = self.over.max(Some(now.episode));
            }
        }
        if let Some(last) = self.messages.last() {
            let version = now.episode.history_version;
            if version > last.revision && !last.may_be_answered_again {
                breach(
                    Guarantee::S8,
                    format!(
                        "the status of history {version} came before its message, after {}",
                        last.revision
                    ),
                );
            } else if version < last.revision {
                breach(
                    Guarantee::S3,
                    format!("the status of history {version} came after the message of {}", last.revision),
                );
            }
        }
        let live = matches!(now.status.as_str(), "running" | "interrupting");
        if let Some(preview) = &self.preview {
            let worker_stays = self.last_status.as_ref().is_none_or(|before| before.worker == now.worker);
            if !live || now.episode != preview.episode || !worker_stays {
                let guarantee = if live { Guarantee::S4 } else { Guarantee::S8 };
                let why = format!(
                    "{} of {} while {} was shown, unsaved and not reset",
                    now.status, now.episode, preview.episode
                );
                breach(guarantee, why);
                let episode = preview.episode;
                self.preview = None;
                self.close(episode);
            }
        }
        self.spoken_of = Some(now.episode.history_version);
        self.last_status = Some(now);
    }

    fn on_parts(
        &mut self,
        episode: WireEpisode,
        (first, last): (u64, u64),
        block: usize,
        piece: &Piece<'_>,
        breach: &mut impl FnMut(Guarantee, String),
    ) {
        if first == 0 || last < first {
            breach(Guarantee::S2, format!("the parts {first} to {last} of {episode} are none"));
            return;
        }
        self.parts += last - first + 1;
        if self.over.is_some_and(|over| episode <= over)
            || self.messages.last().is_some_and(|seen| episode.history_version < seen.revision)
        {
            breach(Guarantee::S3, format!("part {first} of {episode} came after its end"));
            return;
        }
        match &self.last_status {
            Some(last_status) if last_status.episode > episode => {
                breach(
                    Guarantee::S3,
                    format!("part {first} of {episode} came after the status of {}", last_status.episode),
                );
            }
            Some(last_status) if last_status.episode == episode => {
                if !matches!(last_status.status.as_str(), "running" | "interrupting")
                    || last_status.worker.is_none()
                {
                    breach(
                        Guarantee::S8,
                        format!("part {first} of {episode} came while {}", last_status.status),
                    );
                }
            }
            _ => breach(Guarantee::S8, format!("part {first} of {episode} came before its status")),
        }
        let expected = match &mut self.preview {
            Some(preview) if preview.episode == episode => preview.last_seq + 1,
            preview => {
                if let Some(other) = preview.replace(Preview { episode, last_seq: 0, blocks: vec![] }) {
                    breach(
                        Guarantee::S4,
                        format!("{episode} took the place of {}, which was not reset", other.episode),
                    );
                    self.over = self.over.max(Some(other.episode));
                }
                1
            }
        };
        if first != expected {
            breach(Guarantee::S2, format!("part {first} of {episode} came where part {expected} was next"));
        }
        let preview = self.preview.as_mut().expect("it was put there");
        preview.last_seq = last;
        let place = preview.blocks.len();
        match preview.blocks.last_mut() {
            Some(open) if block + 1 == place && open.goes_on_with(piece) => open.text.push_str(&piece.text),
            _ if block == place => preview.blocks.push(piece.to_part()),
            _ => {
                let why = format!("part {first} of {episode} is of block {block} of {}", piece.kind);
                breach(Guarantee::S2, format!("{why}, and {place} blocks were shown"));
                preview.blocks.push(piece.to_part());
            }
        }
    }

    fn close(&mut self, episode: WireEpisode) {
        self.over = self.over.max(Some(episode));
    }

    /// Whether all of `history` was shown. While more events may come, `false` is no breach.
    pub fn has_shown(&self, history: &[WireMessage]) -> bool {
        self.messages.len() == history.len()
            && self.messages.last().map(|seen| seen.id) == history.last().map(|message| message.id)
    }

    /// Compares what was shown with the whole history, once nothing changes any more.
    pub fn finish(&self, history: &[WireMessage]) -> Vec<Breach> {
        let mut found = vec![];
        let mut breach = |why| found.push(Breach { guarantee: Guarantee::S1, why });
        let mut shown = self.messages.iter().peekable();
        for message in history {
            while let Some(seen) = shown.next_if(|seen| seen.id < message.id) {
                breach(format!("message {} was shown and is not in the history", seen.id));
            }
            match shown.next_if(|seen| seen.id == message.id) {
                None => breach(format!("message {} was never shown", message.id)),
                Some(seen) if seen.digest != digest(message) => {
                    breach(format!("message {} was shown with another text or ending", message.id));
                }
                Some(_) => {}
            }
        }
        for seen in shown {
            breach(format!("message {} was shown and is not in the history", seen.id));
        }
        if let Some(preview) = &self.preview {
            let why = format!("{} is still shown, though nothing runs", preview.episode);
            found.push(Breach { guarantee: Guarantee::L1, why });
        }
        found
    }
}

fn digest(message: &WireMessage) -> u64 {
    let mut hasher = DefaultHasher::new();
    let WireMessage { role, interrupted, finish_reason, usage, .. } = message;
    (role, &message.content, interrupted, finish_reason, usage).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
