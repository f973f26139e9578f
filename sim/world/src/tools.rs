//! The tools of the server, which take their time, fail, or hang.

use std::sync::Arc;

use mainstem_machine::hub::{HubEvent, ToolEvent};
use mainstem_machine::{CallResult, Offered, OpId, Time, Version};
use mainstem_oracles::{Evidence, FaultKind, Name};
use mainstem_story::{TOOL_TIMEOUT, offered_tools, result_of};

use crate::choice::{ChatAt, NodeAt};
use crate::node::Open;
use crate::setup::{Setup, Tools};
use crate::world::{World, chat_id};

/// A call that a tool carries out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) op: OpId,
    /// The history that ends with it.
    pub(crate) of: Version,
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) asked: Time,
}

impl Setup {
    /// What the server offers to the models.
    pub(crate) fn offered(&self, chat: ChatAt) -> Arc<[Offered]> {
        match self.tools {
            Tools::None => [].into(),
            // In every other chat, it may be begun again.
            Tools::Client | Tools::Server => offered_tools(!chat.0.is_multiple_of(2)),
        }
    }
}

impl World {
    pub(crate) fn begin_call(&mut self, node: NodeAt, chat: ChatAt, call: Call) {
        let (replica, of, id) = (self.name(node), call.of, call.id.clone());
        let offered = self.setup.offered(chat);
        let is_repeatable = offered.iter().any(|tool| tool.name == call.name && tool.is_repeatable);
        self.open(node, chat).calls.push(call);
        self.observe(Evidence::CallBegun { replica, chat: chat_id(chat), of, call: id, is_repeatable });
    }

    pub(crate) fn give_up_call(&mut self, node: NodeAt, chat: ChatAt, op: OpId) {
        self.open(node, chat).calls.retain(|call| call.op != op);
    }

    /// The first of a worker's calls comes to its end, or the last one.
    pub(crate) fn return_call(&mut self, node: NodeAt, chat: ChatAt, is_last: bool) {
        let count = self.calls(node, chat);
        if count > 0 && self.peek(node).is_some_and(|node| node.is_up()) {
            let at = if is_last { count - 1 } else { 0 };
            let result = result_of(&self.open(node, chat).calls[at].id);
            self.return_at(node, chat, at, result);
        }
    }

    /// The first of a worker's calls fails.
    pub(crate) fn fail_call(&mut self, node: NodeAt, chat: ChatAt) {
        let is_up = self.peek(node).is_some_and(|node| node.is_up());
        if self.calls(node, chat) > 0 && is_up {
            let who = self.name(node);
            self.fault(FaultKind::ToolFails, who, None);
            self.return_at(node, chat, 0, CallResult::error("The tool failed."));
        }
    }

    /// Calls that were not answered in time have failed.
    pub(crate) fn time_out_calls(&mut self, node: NodeAt) {
        let now = self.state.now;
        let late = |open: &Open| open.calls.iter().position(|call| call.asked + TOOL_TIMEOUT <= now);
        let first = |world: &Self| {
            let mut hubs = world.peek(node)?.hubs.iter();
            hubs.find_map(|(chat, open)| Some((*chat, late(open)?)))
        };
        while let Some((chat, at)) = first(self) {
            self.return_at(node, chat, at, CallResult::error("The tool did not answer in time."));
        }
    }

    fn return_at(&mut self, node: NodeAt, chat: ChatAt, at: usize, result: CallResult) {
        let Call { op, of, id, .. } = self.open(node, chat).calls.remove(at);
        let (replica, told): (Name, _) = (self.name(node), result.clone());
        self.observe(Evidence::CallReturned { replica, chat: chat_id(chat), of, call: id, result: told });
        self.handle(node, chat, HubEvent::Tool(ToolEvent::Returned { op, result }));
    }

    pub(crate) fn calls(&self, node: NodeAt, chat: ChatAt) -> usize {
        self.peek(node).and_then(|node| node.hubs.get(&chat)).map_or(0, |open| open.calls.len())
    }
}
