//! Those outside: viewers, users, and models.

use mainstem_machine::hub::HubEvent;
use mainstem_machine::{Completion, Ending, FinishReason, Resume, RunError, SubscriptionId, Usage};
use mainstem_oracles::{Begin, Evidence, FaultKind, RunEnd, StreamEnd};

use crate::choice::{ChatAt, From, NodeAt, Order, ViewerAt};
use crate::hashed::Hashed;
use crate::node::{Label, Open, Task};
use crate::trace::Told;
use crate::world::{Asking, Stream, USER, World, chat_id};

impl World {
    fn viewer(&mut self, at: ViewerAt) -> Option<&mut crate::world::Viewer> {
        self.state.viewers.get_mut(usize::from(at.0))
    }

    /// A viewer begins a stream at a replica.
    pub(crate) fn watch(&mut self, at: ViewerAt, node: NodeAt, from: From) {
        let Some(viewer) = self.viewer(at) else { return };
        let (chat, name, cursor) = (viewer.chat, viewer.name.clone(), viewer.cursor);
        let free = viewer.stream.is_none() && !viewer.over;
        let Some(here) = self.peek(node) else { return };
        let admits =
            here.is_up() && !here.drain.has_begun() && self.state.rows.state(chat_id(chat)).is_some();
        if !free || !admits || self.state.budget.moves == 0 {
            return;
        }
        let last =
            self.judge.index().view(&name, chat_id(chat)).and_then(|view| Some(view.messages.last()?.id));
        let (begin, resume) = match (from, cursor, last) {
            (From::Newest, Some(cursor), _) => (Begin::At(cursor), Resume::At(cursor)),
            (From::Message, _, Some(id)) => (Begin::After(id), Resume::After(id)),
            _ => (Begin::Fresh, Resume::Fresh),
        };
        self.state.budget.moves -= 1;
        let (id, on) = (self.next_stream(), self.name(node));
        let (viewer, caller) = (name, USER.into());
        let chat_named = chat_id(chat);
        self.observe(Evidence::Watches { stream: id, viewer, caller, chat: chat_named, on, from: begin });
        let now = self.state.now;
        let here = self.node(node);
        let config = here.config.clone();
        let open = here.hubs.entry(chat).or_insert_with(|| Hashed::new(Open::new(now, config)));
        let subscription = SubscriptionId(open.next_id());
        let viewer = &mut self.state.viewers[usize::from(at.0)];
        viewer.stream = Some(Stream { on: node, subscription, id: Label(id), idle: false });
        // An old cursor does not fit a screen that begins anew.
        viewer.cursor = viewer.cursor.filter(|_| matches!(begin, Begin::At(_)));
        self.handle(node, chat, HubEvent::Subscribe { subscription, from: resume });
    }

    /// A viewer's stream is sent its next event. `lost`: it breaks before the event comes.
    pub(crate) fn read(&mut self, at: ViewerAt, lost: bool) {
        let Some(viewer) = self.viewer(at) else { return };
        let Some(Stream { on, subscription, id: Label(id), .. }) = viewer.stream.clone() else { return };
        let chat = viewer.chat;
        if !self.peek(on).is_some_and(|node| node.is_up()) || (lost && !self.take_fault()) {
            return;
        }
        let alone = self.laws.then(|| self.told_alone(on, chat, subscription));
        let (now, mut joined) = (self.state.now, std::mem::take(&mut self.joined));
        let (event, ending) = match self.node(on).hubs.get_mut(&chat) {
            Some(open) => {
                let event = open.hub.next_event(now, subscription, &mut joined);
                (event, open.hub.ending())
            }
            None => (None, Some(Ending::Leaving)),
        };
        if let Some(alone) = alone {
            assert_eq!(event, alone, "S2: what viewers share of an event changes nothing of it");
            self.joined = joined;
        }
        self.settle_hub(on, chat);
        match event {
            Some(event) => {
                self.observe(Evidence::Sent { stream: id, event: event.clone() });
                if lost {
                    return self.end_stream(at, StreamEnd::Broken);
                }
                self.state.viewers[usize::from(at.0)].cursor = Some(event.cursor);
                self.note(Told::Happened, || (at.to_string(), format!("{:?}", event.body)));
                self.observe(Evidence::Saw { stream: id, event });
            }
            None if lost => self.end_stream(at, StreamEnd::Broken),
            None => match ending {
                Some(Ending::Deleted) => {
                    self.state.viewers[usize::from(at.0)].over = true;
                    self.end_stream(at, StreamEnd::Deleted);
                }
                Some(Ending::Leaving) => self.end_stream(at, StreamEnd::Leaving),
                None => {
                    if let Some(stream) = &mut self.state.viewers[usize::from(at.0)].stream {
                        stream.idle = true;
                    }
                }
            },
        }
    }

    /// A viewer goes.
    pub(crate) fn leave(&mut self, at: ViewerAt) {
        let watches = self.viewer(at).is_some_and(|viewer| viewer.stream.is_some());
        if watches && self.state.budget.moves > 0 {
            self.state.budget.moves -= 1;
            self.end_stream(at, StreamEnd::Broken);
        }
    }

    /// A viewer reads nothing for a while.
    pub(crate) fn stall(&mut self, at: ViewerAt) {
        let Some(viewer) = self.viewer(at).filter(|viewer| viewer.stream.is_some() && !viewer.stalled) else {
            return;
        };
        let who = viewer.name.clone();
        if self.state.budget.delays > 0 {
            self.state.budget.delays -= 1;
            self.state.viewers[usize::from(at.0)].stalled = true;
            self.fault(FaultKind::ViewerStopsReading, who, None);
        }
    }

    pub(crate) fn end_stream(&mut self, at: ViewerAt, how: StreamEnd) {
        let Some(viewer) = self.viewer(at) else { return };
        let chat = viewer.chat;
        viewer.stalled = false;
        let Some(Stream { on, subscription, id, .. }) = viewer.stream.take() else { return };
        self.note(Told::Happened, || (at.to_string(), format!("its stream ends: {how:?}")));
        self.observe(Evidence::StreamEnded { stream: id.0, how });
        self.handle(on, chat, HubEvent::Leave { subscription });
    }

    /// A user asks for something.
    pub(crate) fn ask_for(&mut self, node: NodeAt, chat: ChatAt, order: Order) {
        if self.state.budget.requests == 0 || !self.peek(node).is_some_and(|node| node.is_up()) {
            return;
        }
        if let Some((command, text)) = self.command(chat, order) {
            self.state.budget.requests -= 1;
            self.ask(node, chat_id(chat), command, text);
        }
    }

    /// A user asks again for the first thing that was not answered.
    pub(crate) fn ask_again(&mut self, node: NodeAt) {
        let waiting = self.state.asks.iter().position(|ask| ask.stage == Asking::Unanswered);
        if let Some(at) = waiting.filter(|_| self.peek(node).is_some_and(|node| node.is_up())) {
            self.send(at, node);
        }
    }

    /// A request goes to a replica.
    pub(crate) fn send(&mut self, at: usize, node: NodeAt) {
        let ask = &mut self.state.asks[at];
        ask.stage = Asking::InFlight(node);
        let (request, key) = (ask.request.clone(), ask.key.clone());
        let text = ask.text.as_deref().map(str::to_owned);
        let on = self.name(node);
        self.observe(Evidence::Asked { caller: USER.into(), key, chat: request.chat, on, text });
        let chat = crate::world::chat_at(request.chat);
        self.begin(node, Some(chat), mainstem_machine::OpId(0), Task::User(at, request));
    }

    /// A model says a part, of about this many bytes.
    pub(crate) fn say(&mut self, node: NodeAt, chat: ChatAt, bytes: usize) {
        if self.state.budget.parts == 0 || !self.peek(node).is_some_and(|node| node.is_up()) {
            return;
        }
        let Some(model) = self.node(node).hubs.get_mut(&chat).and_then(|open| open.model.as_mut()) else {
            return;
        };
        model.parts += 1;
        let mut text = format!("{node}{:?}:{} ", model.episode, model.parts);
        text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
        let (generation, run) = (model.generation, model.run.0);
        self.state.budget.parts -= 1;
        self.observe(Evidence::RunSaid { run, text: text.clone() });
        self.handle(node, chat, HubEvent::Generated { generation, text });
    }

    fn take_model(&mut self, node: NodeAt, chat: ChatAt) -> Option<crate::node::Model> {
        let here = self.state.nodes.get_mut(usize::from(node.0)).filter(|node| node.is_up())?;
        here.hubs.get_mut(&chat)?.model.take()
    }

    /// A model ends its answer.
    pub(crate) fn finish(&mut self, node: NodeAt, chat: ChatAt) {
        let Some(model) = self.take_model(node, chat) else { return };
        // Another one for each length of an answer, with and without what it may lack.
        let usage = Usage { input_tokens: model.episode.history_version.0, output_tokens: model.parts };
        let completion = Completion {
            finish_reason: [FinishReason::Stop, FinishReason::Length].get(model.parts as usize % 3).copied(),
            usage: (!model.parts.is_multiple_of(2)).then_some(usage),
        };
        self.observe(Evidence::RunEnded { run: model.run.0, how: RunEnd::Done(completion) });
        self.handle(node, chat, HubEvent::GenerationDone { generation: model.generation, completion });
    }

    /// A model fails.
    pub(crate) fn fail(&mut self, node: NodeAt, chat: ChatAt, retryable: bool) {
        if self.state.budget.faults == 0 {
            return;
        }
        let Some(model) = self.take_model(node, chat) else { return };
        self.take_fault();
        let who = self.name(node);
        self.fault(if retryable { FaultKind::ModelFails } else { FaultKind::ModelFailsForGood }, who, None);
        self.observe(Evidence::RunEnded { run: model.run.0, how: RunEnd::Failed });
        let error = RunError { code: "model_failed".into(), message: "as it was chosen".into() };
        let (generation, retry_after, entropy) = (model.generation, None, self.next_entropy());
        let failed = HubEvent::GenerationFailed { generation, error, retryable, retry_after, entropy };
        self.handle(node, chat, failed);
    }
}
