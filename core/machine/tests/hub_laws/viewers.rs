//! Viewers come and leave, with nothing, with messages, or with any cursor that was ever sent. Each event
//! goes to the viewer's judge.

use mainstem_machine::hub::{AudienceEvent, HubEvent, JoinedParts};
use mainstem_machine::{Body, Cursor, Episode, MessageId, Resume, SubscriptionId, Version};

use std::sync::Arc;

use mainstem_oracles::{Begin, Evidence, StreamEnd, StreamId};

use crate::court::Memory;
use crate::step::From;
use crate::world::{World, pick};

const VIEWERS_MAX: usize = 6;

#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) node: usize,
    pub(crate) id: SubscriptionId,
    /// Its name, for the judges.
    pub(crate) name: String,
    stream: StreamId,
    memory: Memory,
    /// It came with what is in no history: that it is to forget before all else.
    owes_reset: bool,
    /// There was no event for it, and it waits for news.
    pub(crate) idle: bool,
    /// The parts that its own replica had generated when it subscribed: they come before `synced`.
    pub(crate) expected: Option<(Episode, u64)>,
}

impl World {
    pub(crate) fn subscribe(&mut self, node: usize, from: From) {
        if self.viewers.len() >= VIEWERS_MAX {
            return;
        }
        let log = &self.database.log;
        let fresh = |began| Memory { began, events: Arc::default() };
        let (resume, begin, memory) = match from {
            From::Fresh => (Resume::Fresh, Begin::Fresh, None),
            From::After(which) => {
                let messages = &log[usize::from(which) % log.len()].messages;
                let Some(at) = pick(usize::from(which) / 7, messages.len()) else { return };
                let id = messages[at].id;
                (Resume::After(id), Begin::After(id), None)
            }
            From::AfterNothing => {
                let id = MessageId(1_000_000);
                (Resume::After(id), Begin::After(id), None)
            }
            From::Future => {
                let (id, version) = (MessageId(1_000_000), Version(1_000_000));
                let cursor = Cursor { snapshot_version: version, message: id, ..Cursor::default() };
                (Resume::At(cursor), Begin::At(cursor), None)
            }
            From::Newest => {
                let Some((cursor, memory)) = self.checkpoints.last() else { return };
                (Resume::At(*cursor), Begin::At(*cursor), Some(memory.clone()))
            }
            From::At(which) => {
                let Some(at) = pick(which.into(), self.checkpoints.len()) else { return };
                let (cursor, memory) = &self.checkpoints[at];
                let cursor = Cursor::from_bytes(&cursor.to_bytes()).expect("a cursor survives its bytes");
                (Resume::At(cursor), Begin::At(cursor), Some(memory.clone()))
            }
        };
        let owes_reset = matches!(from, From::AfterNothing | From::Future);
        self.hub(node);
        self.nodes[node].last_id += 1;
        let id = SubscriptionId(self.nodes[node].last_id);
        let live = self.nodes[node].model.map(|model| model.episode);
        let expected = live.map(|episode| (episode, self.database.produced[&episode].parts.len() as u64));
        let name = format!("viewer {id} at {node}");
        let stream = self.court.watches(self.now, &name, &self.nodes[node].id, begin, memory.as_ref());
        let memory = memory.unwrap_or_else(|| fresh(begin));
        self.viewers.push(Viewer { node, id, name, stream, memory, owes_reset, idle: false, expected });
        self.handle(
            node,
            HubEvent::Audience(AudienceEvent::Subscribe { subscription: id, from: resume, user: None }),
        );
    }

    pub(crate) fn leave(&mut self, which: usize) {
        if let Some(at) = pick(which, self.viewers.len()) {
            let viewer = self.viewers.remove(at);
            let (stream, how) = (viewer.stream, StreamEnd::Broken);
            self.court.tell(self.now, Evidence::StreamEnded { stream, how });
            self.handle(viewer.node, HubEvent::Audience(AudienceEvent::Leave { subscription: viewer.id }));
        }
    }

    /// Takes up to `events` events of a viewer's stream. Returns whether there was any.
    pub(crate) fn view(&mut self, at: usize, events: usize) -> bool {
        let (node, id) = (self.viewers[at].node, self.viewers[at].id);
        let mut any = false;
        for _ in 0..events {
            let now = self.now;
            let hub = self.nodes[node].hub.as_mut().expect("a hub with viewers stays");
            let alone = hub.clone().next_event(now, id, &mut JoinedParts::default());
            let event = hub.next_event(now, id, &mut self.joined);
            assert_eq!(event, alone, "S2: what viewers share of an event changes nothing of it");
            self.settle_node(node);
            let Some(event) = event else {
                self.viewers[at].idle = true;
                return any;
            };
            any = true;
            self.note(|| format!("  viewer {id} at {node}: {}", crate::event(&event)));
            self.check_silence(node, at, &event.body);
            self.count(&event.body);
            let viewer = &mut self.viewers[at];
            viewer.owes_reset &= event.body != Body::HistoryReset;
            let forgets = !viewer.owes_reset || !matches!(event.body, Body::Message(_) | Body::Synced);
            assert!(forgets, "S1: what is in no history is taken back first");
            self.court.tell(now, Evidence::Saw { stream: viewer.stream, event: event.clone() });
            let view = self.court.view(&viewer.name);
            let names = |episode| view.status.as_ref().is_some_and(|status| status.episode == episode);
            if let (Body::Synced, Some((episode, parts))) = (&event.body, viewer.expected)
                && self.nodes[node].model.is_some_and(|model| model.episode == episode)
                && names(episode)
            {
                let sent = view.preview.as_ref().map_or(0, |preview| preview.last_seq.0);
                assert!(sent >= parts, "S9: synced after {sent} of {parts} parts");
            }
            let cursor = event.cursor;
            Arc::make_mut(&mut viewer.memory.events).push(event);
            self.checkpoints.push((cursor, viewer.memory.clone()));
        }
        any
    }

    pub(crate) fn count(&mut self, body: &Body) {
        self.saw(match body {
            Body::Message(_) => "sent message",
            Body::QueueUpdate(_) => "sent queue",
            Body::Status { .. } => "sent status",
            Body::Error(_) => "sent error",
            Body::Retry(_) => "sent retry",
            Body::Parts { .. } => "sent parts",
            Body::PreviewReset { .. } => "sent preview_reset",
            Body::HistoryReset => "sent history_reset",
            Body::Synced => "sent synced",
        });
    }

    /// A worker whose lease has expired sends no parts, unless the answer is saved (S5).
    pub(crate) fn check_silence(&self, node: usize, viewer: usize, body: &Body) {
        let (Body::Parts { episode, .. }, Some(held)) = (body, &self.nodes[node].held) else { return };
        let produced = &self.database.produced[episode];
        if produced.by == node && produced.lease == held.lease && self.is_suspended(node) {
            let saved = self.database.log.iter().any(|entry| {
                let shown = &self.court.view(&self.viewers[viewer].name).messages;
                entry.messages.starts_with(shown)
                    && entry.messages.iter().any(|m| m.episode == Some(*episode))
            });
            assert!(saved, "S5: a worker whose lease has expired sends parts of {episode:?}");
        }
    }
}
