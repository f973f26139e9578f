//! Whoever asks for what belongs to another user, and users who ask for the same twice.

use mainstem_machine::hub::{AudienceEvent, HubEvent, Input, JoinedParts, Told};
use mainstem_machine::{Command, Resume, SubscriptionId};
use mainstem_oracles::{Begin, Evidence, FaultKind, Name, StreamEnd, StreamId};

use crate::choice::{ChatAt, NodeAt, Order};
use crate::hashed::Hashed;
use crate::node::{Node, Open};
use crate::users::friend_of;
use crate::world::{Ask, Asking, World, chat_at, chat_id};

impl World {
    /// Somebody to whom a chat does not belong.
    fn stranger(&self, chat: ChatAt) -> Name {
        friend_of(&self.users, chat)
    }

    /// The last request that has a key, of those that owners made.
    pub(crate) fn last_keyed(&self) -> Option<&Ask> {
        let own = |ask: &&Ask| ask.caller == *self.owner_of(chat_at(ask.request.chat));
        self.state.asks.iter().rev().filter(own).find(|ask| ask.request.idempotency_key.is_some())
    }

    /// A user sends the last request again.
    pub(crate) fn repeat(&mut self, node: NodeAt) {
        let Some(mut ask) = self.last_keyed().cloned() else { return };
        if self.take_stranger(node) {
            let (who, on) = (ask.caller.clone(), self.name(node));
            self.fault(FaultKind::AskedTwice, who, Some(on));
            ask.stage = Asking::Unanswered;
            self.push(ask, node);
        }
    }

    /// Somebody sends the last request of another user.
    pub(crate) fn steal(&mut self, node: NodeAt) {
        // Whoever creates a chat is its owner.
        let creates = |ask: &&Ask| matches!(ask.request.command, Command::Create { .. });
        let Some(mut ask) = self.last_keyed().filter(|ask| !creates(ask)).cloned() else { return };
        if self.take_stranger(node) {
            ask.caller = self.stranger(chat_at(ask.request.chat));
            ask.request.by = Some(ask.caller.clone());
            if let Some(key) = &mut ask.request.idempotency_key {
                key.caller = ask.caller.clone();
            }
            ask.stage = Asking::Unanswered;
            self.tries(&ask.caller, node);
            self.push(ask, node);
        }
    }

    /// Somebody asks for something in a chat of another user.
    pub(crate) fn try_as_stranger(&mut self, node: NodeAt, chat: ChatAt, order: Order) {
        let Some(asked) = self.command(chat, order) else { return };
        if self.take_stranger(node) {
            let caller = self.stranger(chat);
            self.tries(&caller, node);
            self.ask(node, chat_id(chat), asked, caller, true);
        }
    }

    fn take_stranger(&mut self, node: NodeAt) -> bool {
        let may = self.state.budget.strangers > 0 && self.peek(node).is_some_and(Node::is_up);
        self.state.budget.strangers -= u16::from(may);
        may
    }

    fn tries(&mut self, who: &Name, node: NodeAt) {
        let on = self.name(node);
        self.fault(FaultKind::StrangerTries, who.clone(), Some(on));
    }

    /// Somebody asks to watch a chat of another user. Whoever is not refused is told the first thing that there is.
    pub(crate) fn peep(&mut self, node: NodeAt, chat: ChatAt) {
        let draining = self.peek(node).is_none_or(|here| here.drain.has_begun());
        let Some(state) = self.state.rows.state(chat_id(chat)).filter(|_| !draining).cloned() else { return };
        if !self.take_stranger(node) {
            return;
        }
        let (caller, stream, on) = (self.stranger(chat), self.next_stream(), self.name(node));
        self.tries(&caller, node);
        let (viewer, of, from) = (format!("{caller}, who peeps").into(), chat_id(chat), Begin::Fresh);
        self.observe(Evidence::Watches { stream, viewer, caller: caller.clone(), chat: of, on, from });
        if state.is_there_for(&caller) {
            self.guest = Some((node, chat));
            self.let_in(node, chat, stream, caller);
            self.guest = None;
        }
        self.observe(Evidence::StreamEnded { stream, how: StreamEnd::Refused });
    }

    fn let_in(&mut self, node: NodeAt, chat: ChatAt, stream: StreamId, caller: Name) {
        let now = self.local(node);
        let here = self.node(node);
        let config = here.config.clone();
        let open = here.hubs.entry(chat).or_insert_with(|| Hashed::new(Open::new(now, config)));
        let subscription = SubscriptionId(open.next_id());
        self.handle(
            node,
            chat,
            HubEvent::Audience(AudienceEvent::Subscribe {
                subscription,
                from: Resume::Fresh,
                user: Some(caller),
            }),
        );
        self.settle();
        if let Some(open) = self.node(node).hubs.get_mut(&chat) {
            let input = Input { at: now, what: Told::NextEvent(subscription) };
            let mut said = open.hub.take(input, &mut JoinedParts::default());
            let event = said.event.take();
            self.settle_hub(node, chat, said);
            if let Some(event) = event {
                self.observe(Evidence::Sent { stream, event: event.clone() });
                self.observe(Evidence::Saw { stream, event });
            }
        }
        self.handle(node, chat, HubEvent::Audience(AudienceEvent::Leave { subscription }));
    }
}
