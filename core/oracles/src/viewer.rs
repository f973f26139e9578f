//! The oracle of one viewer's stream, which knows only what came over the wire.
//!
//! It reads the events as a client would, knows what docs/protocol.md says of their order, and names the
//! guarantee that a wrong one breaks. It sees neither the server's state nor the other viewers, and shares no
//! code with what it judges. [`ViewerOracle::finish`] compares what was shown with the history at the end.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use crate::Guarantee;

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

/// An episode, as events name it. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct WireEpisode {
    pub history_version: u64,
    pub attempt: u64,
}

impl fmt::Display for WireEpisode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.history_version, self.attempt)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WireMessage {
    pub id: u64,
    pub revision: u64,
    pub role: String,
    pub content: Vec<WireText>,
    pub interrupted: bool,
    pub episode: Option<WireEpisode>,
    #[serde(default)]
    pub finish_reason: Option<String>,
    #[serde(default)]
    pub usage: Option<WireUsage>,
    #[serde(default)]
    pub queued_as: Option<u64>,
}

impl WireMessage {
    /// The text of all parts, joined.
    pub fn text(&self) -> String {
        self.content.iter().map(|part| part.text.as_str()).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct WireUsage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// A part of a message. Those that are no text count as empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WireText {
    #[serde(default)]
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WireQueued {
    pub id: u64,
    #[serde(default)]
    pub content: Vec<WireText>,
}

/// One event, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEvent<'a> {
    pub cursor: Cow<'a, str>,
    pub body: WireBody<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireBody<'a> {
    Message(WireMessage),
    QueueUpdate(Vec<WireQueued>),
    Status {
        status: String,
        worker: Option<String>,
        episode: WireEpisode,
    },
    Parts {
        episode: WireEpisode,
        first_seq: u64,
        last_seq: u64,
        text: Cow<'a, str>,
    },
    PreviewReset {
        episode: WireEpisode,
    },
    HistoryReset,
    Synced,
    /// `error`, `retry`, and types that are added later.
    Other,
}

#[derive(Deserialize)]
struct WirePart<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

/// The members of all types together, so that one pass over the bytes is enough.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    cursor: Cow<'a, str>,
    episode: Option<WireEpisode>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    #[serde(borrow)]
    part: Option<WirePart<'a>>,
    message: Option<WireMessage>,
    queue: Option<Vec<WireQueued>>,
    status: Option<String>,
    worker: Option<String>,
    history_version: Option<u64>,
    attempt: Option<u64>,
}

impl<'a> WireEvent<'a> {
    /// Parses the JSON of one event.
    pub fn parse(json: &'a str) -> Result<Self, Breach> {
        let malformed =
            |why: String| Breach { guarantee: Guarantee::S1, why: format!("an event cannot be read: {why}") };
        let m: Members<'a> = serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
        let body = match &*m.kind {
            "message" => m.message.map(WireBody::Message),
            "queue_update" => m.queue.map(WireBody::QueueUpdate),
            "status" => (|| {
                let episode = WireEpisode { history_version: m.history_version?, attempt: m.attempt? };
                Some(WireBody::Status { status: m.status?, worker: m.worker, episode })
            })(),
            "message_part" => (|| {
                let (first_seq, last_seq) = (m.first_seq?, m.last_seq?);
                Some(WireBody::Parts { episode: m.episode?, first_seq, last_seq, text: m.part?.text })
            })(),
            "preview_reset" => m.episode.map(|episode| WireBody::PreviewReset { episode }),
            "history_reset" => Some(WireBody::HistoryReset),
            "synced" => Some(WireBody::Synced),
            _ => Some(WireBody::Other),
        };
        let body = body.ok_or_else(|| malformed(format!("a {} lacks a member", m.kind)))?;
        Ok(Self { cursor: m.cursor, body })
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
    text: String,
}

/// A message as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    id: u64,
    revision: u64,
    digest: u64,
}

/// The oracle of one viewer that began with nothing, and resumes by cursor wherever a stream breaks off.
#[derive(Clone, Debug, Default)]
pub struct ViewerOracle {
    messages: Vec<Seen>,
    last_status: Option<LastStatus>,
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
            WireBody::Parts { episode, first_seq, last_seq, text } => {
                self.on_parts(*episode, *first_seq, *last_seq, text, &mut breach);
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
            }
            WireBody::Synced if self.last_status.is_none() => {
                breach(Guarantee::S9, "the catch-up is over, and no status was told".into());
            }
            WireBody::Synced | WireBody::QueueUpdate(_) | WireBody::Other => {}
        }
        found
    }

    fn on_message(&mut self, message: &WireMessage, breach: &mut impl FnMut(Guarantee, String)) {
        let text = message.text();
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
        if let Some(preview) = self.preview.take() {
            if message.episode != Some(preview.episode) {
                let why =
                    format!("message {} ended the preview of {} and is not it", message.id, preview.episode);
                breach(Guarantee::S4, why);
            } else if !text.starts_with(&preview.text) {
                let shown = (preview.text.len(), text.len());
                let why = format!(
                    "message {} ({} B) does not begin with what was shown ({} B)",
                    message.id, shown.1, shown.0
                );
                breach(Guarantee::S4, why);
            }
            self.close(preview.episode);
        }
        if let Some(episode) = message.episode {
            self.close(episode);
        }
        self.messages.push(Seen { id: message.id, revision: message.revision, digest: digest(message) });
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
            if version > last.revision {
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
        self.last_status = Some(now);
    }

    fn on_parts(
        &mut self,
        episode: WireEpisode,
        first: u64,
        last: u64,
        text: &str,
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
                if let Some(other) = preview.replace(Preview { episode, last_seq: 0, text: String::new() }) {
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
        preview.text.push_str(text);
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
    (role, message.text(), interrupted, finish_reason, usage).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: WireEpisode = WireEpisode { history_version: 1, attempt: 1 };
    const TWO: WireEpisode = WireEpisode { history_version: 1, attempt: 2 };
    const THREE: WireEpisode = WireEpisode { history_version: 3, attempt: 1 };

    fn message(id: u64, revision: u64, text: &str, episode: Option<WireEpisode>) -> WireMessage {
        let role = if episode.is_some() { "assistant" } else { "user" }.into();
        let content = vec![WireText { text: text.into() }];
        let (interrupted, finish_reason, usage, queued_as) = (false, None, None, None);
        WireMessage { id, revision, role, content, interrupted, episode, finish_reason, usage, queued_as }
    }

    fn said(id: u64, revision: u64, text: &str, episode: Option<WireEpisode>) -> WireBody<'static> {
        WireBody::Message(message(id, revision, text, episode))
    }

    fn status(status: &str, worker: &str, episode: WireEpisode) -> WireBody<'static> {
        let worker = Some(worker.to_owned()).filter(|worker| !worker.is_empty());
        WireBody::Status { status: status.into(), worker, episode }
    }

    fn parts(episode: WireEpisode, first_seq: u64, last_seq: u64, text: &'static str) -> WireBody<'static> {
        WireBody::Parts { episode, first_seq, last_seq, text: text.into() }
    }

    fn found(events: &[WireBody<'static>]) -> Vec<&'static str> {
        let mut oracle = ViewerOracle::new();
        events.iter().flat_map(|event| oracle.handle(event)).map(|breach| breach.guarantee.as_str()).collect()
    }

    /// The stream up to two parts of the first episode, and what follows.
    fn running(then: &[WireBody<'static>]) -> Vec<&'static str> {
        let begin =
            [said(1, 1, "q", None), status("running", "a", ONE), WireBody::Synced, parts(ONE, 1, 2, "1 2 ")];
        found(&[&begin, then].concat())
    }

    #[test]
    fn what_the_protocol_promises_is_no_breach() {
        let episode_over = [
            said(2, 3, "1 2 3 ", Some(ONE)),
            status("waiting", "", WireEpisode { history_version: 3, attempt: 0 }),
        ];
        assert!(running(&episode_over).is_empty());
        let interrupted = [
            status("interrupting", "a", ONE),
            parts(ONE, 3, 3, "3 "),
            episode_over[0].clone(),
            episode_over[1].clone(),
        ];
        assert!(running(&interrupted).is_empty());
        let retried = [
            WireBody::PreviewReset { episode: ONE },
            WireBody::Other,
            status("running", "b", TWO),
            parts(TWO, 1, 1, "1 "),
        ];
        assert!(running(&retried).is_empty());
        let edited = [
            WireBody::PreviewReset { episode: ONE },
            WireBody::HistoryReset,
            said(2, 3, "q2", None),
            status("running", "a", THREE),
            parts(THREE, 1, 1, "1 "),
        ];
        assert!(running(&edited).is_empty());
    }

    #[test]
    fn each_kind_of_breach_is_found_under_its_id() {
        let zero = WireEpisode { history_version: 3, attempt: 0 };
        let cases: &[(&str, &[WireBody<'static>])] = &[
            ("S1", &[said(1, 1, "q", Some(ONE)), said(1, 1, "q", None)]),
            ("S2", &[parts(ONE, 4, 4, "4 ")]),
            ("S2", &[parts(ONE, 2, 3, "2 3 ")]),
            ("S2", &[parts(ONE, 3, 2, "")]),
            ("S3", &[WireBody::PreviewReset { episode: ONE }, parts(ONE, 3, 3, "3 ")]),
            ("S3", &[said(2, 3, "1 2 3 ", Some(ONE)), parts(ONE, 3, 3, "3 ")]),
            (
                "S3",
                &[
                    WireBody::PreviewReset { episode: ONE },
                    status("running", "b", TWO),
                    parts(ONE, 3, 3, "3 "),
                ],
            ),
            (
                "S3",
                &[
                    WireBody::PreviewReset { episode: ONE },
                    status("running", "b", TWO),
                    status("running", "a", ONE),
                ],
            ),
            ("S4", &[said(2, 3, "1 x", Some(ONE))]),
            ("S4", &[said(2, 3, "q", None)]),
            ("S4", &[WireBody::HistoryReset]),
            ("S4", &[status("running", "b", ONE)]),
            ("S4", &[status("running", "a", TWO)]),
            ("S8", &[status("waiting", "", ONE)]),
            ("S8", &[said(2, 3, "1 2 ", Some(ONE)), parts(THREE, 1, 1, "1 ")]),
            ("S8", &[said(2, 2, "1 2 ", Some(ONE)), status("waiting", "", zero)]),
        ];
        let both = |found: &[&str], id: &str| !found.is_empty() && found.iter().all(|other| *other == id);
        for (id, then) in cases {
            let found = running(then);
            let cause = found.first().copied();
            assert!(both(&found, id) || (*id == "S1" && cause == Some("S1")), "{id}: {found:?} for {then:?}");
        }
        assert_eq!(found(&[WireBody::Synced]), ["S9"]);
    }

    #[test]
    fn the_history_at_the_end_is_what_was_shown() {
        let mut oracle = ViewerOracle::new();
        let history = [message(1, 1, "q", None), message(4, 3, "1 ", Some(ONE))];
        for message in &history {
            assert!(oracle.handle(&WireBody::Message(message.clone())).is_empty());
        }
        assert!(oracle.finish(&history).is_empty() && oracle.has_shown(&history));
        let why = |history: &[WireMessage]| {
            oracle.finish(history).iter().map(|breach| breach.why.clone()).collect::<Vec<_>>()
        };
        assert!(why(&history[..1])[0].contains("not in the history"));
        assert!(why(&[&history[..], &[message(5, 5, "x", None)]].concat())[0].contains("never shown"));
        assert!(why(&[message(1, 1, "Q", None), history[1].clone()])[0].contains("another text"));
        let ended = WireMessage { finish_reason: Some("length".into()), ..history[1].clone() };
        assert!(why(&[history[0].clone(), ended])[0].contains("ending"));
    }

    #[test]
    fn events_are_read_as_they_come() {
        let json = r#"{"type":"message_part","cursor":"c","episode":{"history_version":1,"attempt":1},
            "first_seq":1,"last_seq":2,"part":{"type":"text","text":"1 2 "},"more":0}"#;
        let event = WireEvent::parse(json).expect("an event");
        assert_eq!((&*event.cursor, &event.body), ("c", &parts(ONE, 1, 2, "1 2 ")));
        assert!(matches!(&event.body, WireBody::Parts { text: Cow::Borrowed(_), .. }));
        let json = r#"{"type":"status","cursor":"c","status":"running","worker":null,"history_version":1,"attempt":1}"#;
        assert_eq!(WireEvent::parse(json).map(|event| event.body), Ok(status("running", "", ONE)));
        let json = r#"{"type":"message","cursor":"c","message":{"id":1,"revision":1,"role":"user","interrupted":false,
            "content":[{"type":"text","text":"q"}],"episode":null,"created_at":"x"}}"#;
        assert_eq!(WireEvent::parse(json).map(|event| event.body), Ok(said(1, 1, "q", None)));
        let json = r#"{"type":"later","cursor":"c"}"#;
        assert_eq!(WireEvent::parse(json).map(|event| event.body), Ok(WireBody::Other));
        for bad in ["", "{}", "[]", r#"{"type":"status","cursor":"c"}"#, r#"{"type":"synced"}"#] {
            assert!(WireEvent::parse(bad).is_err(), "{bad}");
        }
    }
}
