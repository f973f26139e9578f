//! Models, and what they say.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{HubEvent, ModelEvent};
use mainstem_machine::{Block, Completion, FinishReason, Message, Role, RunError, Usage};
use mainstem_oracles::{Evidence, FaultKind, RunEnd};

use mainstem_story::{part_of_all_kinds, parts_of_call};

use crate::choice::{ChatAt, NodeAt};
use crate::node::Model;
use crate::setup::Tools;
use crate::world::{World, chat_id};

/// The part with which the first call of an answer of all kinds ends.
const FIRST_CALL_ENDS: u64 = 6;

impl World {
    /// A model says a part, of about this many bytes.
    pub(crate) fn say(&mut self, node: NodeAt, chat: ChatAt, bytes: usize) {
        if self.state.budget.parts == 0 || !self.peek(node).is_some_and(|node| node.is_up()) {
            return;
        }
        let Some(turns) = self.turns(node, chat) else { return };
        let Some(model) = self.node(node).hubs.get_mut(&chat).and_then(|open| open.model.as_mut()) else {
            return;
        };
        model.parts += 1;
        let mut text = format!("{node}{:?}:{} ", model.episode, model.parts);
        text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
        let parts = model.parts;
        // Every other answer, the first one included.
        let is_of_all_kinds = (turns + model.episode.attempt).is_multiple_of(2);
        self.state.budget.parts -= 1;
        let part = match is_of_all_kinds {
            true => part_of_all_kinds(parts, text),
            false => (None, text),
        };
        self.generate(node, chat, part);
    }

    /// How many messages of users there are up to the one that a model answers: its answers take turns by it.
    fn turns(&self, node: NodeAt, chat: ChatAt) -> Option<u64> {
        let model = self.peek(node)?.hubs.get(&chat)?.model.as_ref()?;
        let version = model.episode.history_version;
        let asked = |message: &&Arc<Message>| message.role == Role::User && message.revision <= version;
        Some(self.state.rows.history(chat_id(chat)).iter().filter(asked).count() as u64)
    }

    fn generate(&mut self, node: NodeAt, chat: ChatAt, (begins, text): (Option<Block>, String)) {
        let here = self.peek(node).and_then(|node| node.hubs.get(&chat));
        let Some(model) = here.and_then(|open| open.model.as_ref()) else { return };
        let (generation, run) = (model.generation, model.run.0);
        self.observe(Evidence::RunSaid { run, begins: begins.clone(), text: text.clone() });
        self.handle(node, chat, HubEvent::Model(ModelEvent::Generated { generation, begins, text }));
    }

    /// A model that is to end with calls makes some, if it has not come to it.
    fn call(&mut self, node: NodeAt, chat: ChatAt) {
        let here = self.peek(node).filter(|node| node.is_up()).and_then(|node| node.hubs.get(&chat));
        let Some(model) = here.and_then(|open| open.model.as_ref()) else { return };
        let Some(turns) = self.turns(node, chat) else { return };
        let (said, more) = (model.parts, (turns + 1) % 3);
        if said.is_multiple_of(3) && said < FIRST_CALL_ENDS {
            for part in (said..=said + more).flat_map(parts_of_call) {
                self.generate(node, chat, part);
            }
        }
    }

    /// Whether a model answers what came of its calls.
    fn has_results(&self, chat: ChatAt) -> bool {
        let history = self.state.rows.history(chat_id(chat));
        history.last().is_some_and(|last| last.role == Role::Tool)
    }

    fn take_model(&mut self, node: NodeAt, chat: ChatAt) -> Option<Model> {
        let here = self.state.nodes.get_mut(usize::from(node.0)).filter(|node| node.is_up())?;
        here.hubs.get_mut(&chat)?.model.take()
    }

    /// A model ends its answer.
    pub(crate) fn finish(&mut self, node: NodeAt, chat: ChatAt) {
        let calls = self.setup.tools != Tools::None && !self.has_results(chat);
        if calls {
            self.call(node, chat);
        }
        let Some(model) = self.take_model(node, chat) else { return };
        // Another one for each length of an answer, with and without what it may lack.
        let usage = Usage { input_tokens: model.episode.history_version.0, output_tokens: model.parts };
        let reasons = [FinishReason::ToolCalls, FinishReason::Stop, FinishReason::Length];
        let reasons = if calls { &reasons[..] } else { &reasons[1..] };
        let completion = Completion {
            finish_reason: reasons.get(model.parts as usize % 3).copied(),
            usage: (!model.parts.is_multiple_of(2)).then_some(usage),
        };
        self.observe(Evidence::RunEnded { run: model.run.0, how: RunEnd::Done(completion) });
        let (generation, offered) = (model.generation, self.setup.offered(chat));
        self.handle(node, chat, HubEvent::Model(ModelEvent::Done { generation, completion, offered }));
    }

    /// A model fails.
    pub(crate) fn fail(
        &mut self,
        node: NodeAt,
        chat: ChatAt,
        retryable: bool,
        retry_after: Option<Duration>,
    ) {
        if self.state.budget.faults == 0 {
            return;
        }
        let Some(model) = self.take_model(node, chat) else { return };
        self.take_fault();
        let who = self.name(node);
        self.fault(if retryable { FaultKind::ModelFails } else { FaultKind::ModelFailsForGood }, who, None);
        self.observe(Evidence::RunEnded { run: model.run.0, how: RunEnd::Failed });
        let error = RunError { code: "model_failed".into(), message: "as it was chosen".into() };
        let (generation, entropy) = (model.generation, self.next_entropy());
        let failed =
            HubEvent::Model(ModelEvent::Failed { generation, error, retryable, retry_after, entropy });
        self.handle(node, chat, failed);
    }
}
