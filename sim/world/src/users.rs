//! Users, and what they ask for.

use std::sync::Arc;

use mainstem_machine::store::{IdempotencyKey, Request};
use mainstem_machine::{ChatId, Command, Content, Keep, Message, OpId, Role};
use mainstem_oracles::{Answer, Evidence, Name};

use crate::choice::{ChatAt, NodeAt, Order};
use crate::node::{Node, Task};
use crate::world::{Ask, Asking, USER, World, chat_at, chat_id};

impl World {
    /// A user creates a chat.
    pub(crate) fn create(&mut self, node: NodeAt, chat: ChatAt) {
        if chat.0 >= self.setup.chats || !self.peek(node).is_some_and(Node::is_up) {
            return;
        }
        let text: Arc<str> = format!("begin {chat}").into();
        let (title, model, owner) = (None, None, USER.into());
        let content = Some(Content::text(&text));
        let command = Command::Create { chat: chat_id(chat), owner, title, model, content };
        self.ask(node, chat_id(chat), command, Some(text));
    }

    /// A new request of a user, on its way.
    pub(crate) fn ask(&mut self, node: NodeAt, chat: ChatId, command: Command, text: Option<Arc<str>>) {
        let key: Name = format!("k{}", self.state.asks.len()).into();
        let (caller, body, keep) = (USER.into(), [0; 32], Keep::Answer);
        let idempotency_key = Some(IdempotencyKey { caller, key: key.clone(), body, keep });
        let request = Request { chat, command, by: Some(USER.into()), idempotency_key };
        self.state.asks.push(Ask { key, text, request, stage: Asking::Unanswered, rejected: false });
        self.send(self.state.asks.len() - 1, node);
    }

    /// The user is told what became of a request.
    pub(crate) fn answered(&mut self, at: usize, answer: Answer) {
        let ask = &mut self.state.asks[at];
        ask.stage = Asking::Answered;
        ask.rejected = !matches!(answer, Answer::Accepted(_));
        let (caller, key, chat) = (USER.into(), ask.key.clone(), ask.request.chat);
        self.observe(Evidence::Answered { caller, key, chat, answer });
    }

    /// What a user may ask for now, as a command.
    pub(crate) fn command(&self, chat: ChatAt, order: Order) -> Option<(Command, Option<Arc<str>>)> {
        let (rows, id) = (&self.state.rows, chat_id(chat));
        let state = rows.state(id)?;
        let text: Arc<str> = format!("said {}", self.state.asks.len()).into();
        let content = || Content::text(&text);
        Some(match order {
            Order::Send(mode) => (Command::Send { content: content(), mode, queue_max: 4 }, Some(text)),
            Order::Edit => {
                let users = |message: &&Arc<Message>| message.role == Role::User;
                let message = rows.history(id).iter().rfind(users)?.id;
                (Command::Edit { message, content: content() }, Some(text))
            }
            Order::Interrupt => (Command::Interrupt { episode: None }, None),
            Order::Promote => (Command::Promote { queued: state.queue.last()?.id }, None),
            Order::DeleteQueued => (Command::DeleteQueued { queued: state.queue.first()?.id }, None),
            Order::Delete => (Command::Delete, None),
            Order::EditThis(message) => (Command::Edit { message, content: content() }, Some(text)),
            Order::PromoteThis(queued) => (Command::Promote { queued }, None),
            Order::DeleteThisQueued(queued) => (Command::DeleteQueued { queued }, None),
        })
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
        let chat = chat_at(request.chat);
        self.begin(node, Some(chat), OpId(0), Task::User(at, request));
    }
}
