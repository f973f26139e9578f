//! Users, and what they ask for.

use std::sync::Arc;

use mainstem_machine::store::{IdempotencyKey, Request};
use mainstem_machine::{ChatId, Command, Content, Keep, Message, NewMessage, OpId, Role, SendMode, Settings};
use mainstem_oracles::{Answer, Evidence, Name};
use mainstem_story::{called_tool, result_of};

use crate::choice::{ChatAt, NodeAt, Order};
use crate::node::{Node, Task};
use crate::setup::Tools;
use crate::world::{Ask, Asking, World, chat_at, chat_id};

/// A command, with the text in it.
pub(crate) type Asked = (Command, Option<Arc<str>>);

/// The names of all users.
pub(crate) fn users(count: u8) -> Arc<[Name]> {
    let name = |at| if at == 0 { "user".into() } else { format!("user{}", at + 1).into() };
    (0..count.max(1)).map(name).collect()
}

/// The user to whom a chat belongs.
pub(crate) fn owner_of(users: &[Name], chat: ChatAt) -> &Name {
    &users[usize::from(chat.0) % users.len()]
}

/// A user to whom it does not belong.
pub(crate) fn friend_of(users: &[Name], chat: ChatAt) -> Name {
    match users.len() {
        1 => "stranger".into(),
        users_len => users[(usize::from(chat.0) + 1) % users_len].clone(),
    }
}

/// A turn that is over, with a call and its result.
fn said_elsewhere() -> [NewMessage; 4] {
    let call = r#"[{"type":"tool_call","id":"c","name":"find","input":{}}]"#;
    let result = r#"[{"type":"tool_result","tool_call_id":"c","content":"found"}]"#;
    let said = [
        (Role::User, Content::text("find it")),
        (Role::Assistant, Content::from_stored(call)),
        (Role::Tool, Content::from_stored(result)),
        (Role::Assistant, Content::text("it is there")),
    ];
    said.map(|(role, content)| NewMessage { role, content, client_id: None })
}

impl World {
    /// A user creates a chat.
    pub(crate) fn create(&mut self, node: NodeAt, chat: ChatAt) {
        if chat.0 >= self.setup.chats || !self.peek(node).is_some_and(Node::is_up) {
            return;
        }
        let text: Arc<str> = format!("begin {chat}").into();
        let owner = self.owner(chat);
        let mut messages = NewMessage::opening(Some(Content::text(&text)));
        // Before some, something was said elsewhere.
        if !self.setup.empty && chat.0 % 3 == 1 {
            messages.splice(0..0, said_elsewhere());
        }
        let has_tool = self.setup.tools == Tools::Client && chat.0.is_multiple_of(2);
        let tools = if has_tool { [called_tool()].into() } else { [].into() };
        let settings = Settings { tools, ..Settings::default() };
        let command = Command::Create { chat: chat_id(chat), owner: owner.clone(), settings, messages };
        self.ask(node, chat_id(chat), (command, Some(text)), owner, true);
    }

    /// The user to whom a chat belongs.
    pub(crate) fn owner(&self, chat: ChatAt) -> Name {
        self.owner_of(chat).clone()
    }

    /// The same, to look at.
    pub(crate) fn owner_of(&self, chat: ChatAt) -> &Name {
        owner_of(&self.users, chat)
    }

    /// A new request of a user, on its way. `again`: it has a key, and is sent again if nobody answers.
    pub(crate) fn ask(&mut self, node: NodeAt, chat: ChatId, asked: Asked, caller: Name, again: bool) {
        let (mut command, text) = asked;
        let key: Name = format!("k{}", self.state.asks.len()).into();
        let (body, keep) = ([0; 32], Keep::Answer);
        // Every other message is known by a name of its own.
        let is_named = again && self.state.asks.len() % 2 == 1;
        let is_named = match &mut command {
            Command::Send { client_id, .. } if is_named => {
                *client_id = Some(key.clone());
                true
            }
            _ => false,
        };
        let idempotency_key = (again && !is_named).then(|| IdempotencyKey {
            caller: caller.clone(),
            key: key.clone(),
            body,
            keep,
        });
        let request = Request { chat, command, by: Some(caller.clone()), idempotency_key };
        self.push(Ask { caller, key, text, request, stage: Asking::Unanswered, rejected: false }, node);
    }

    pub(crate) fn push(&mut self, ask: Ask, node: NodeAt) {
        self.state.asks.push(ask);
        self.send(self.state.asks.len() - 1, node);
    }

    /// The user is told what became of a request.
    pub(crate) fn answered(&mut self, at: usize, answer: Answer) {
        let ask = &mut self.state.asks[at];
        ask.stage = Asking::Answered;
        ask.rejected = !matches!(answer, Answer::Accepted(_));
        let (caller, key, chat) = (ask.caller.clone(), ask.key.clone(), ask.request.chat);
        self.observe(Evidence::Answered { caller, key, chat, answer });
    }

    /// Nobody knows what became of a request.
    pub(crate) fn lose_ask(&mut self, at: usize) {
        let ask = &mut self.state.asks[at];
        let is_named = ask.request.command.client_id().is_some();
        let again = is_named || ask.request.idempotency_key.is_some();
        ask.stage = if again { Asking::Unanswered } else { Asking::GivenUp };
    }

    /// What a user may ask for now, as a command.
    pub(crate) fn command(&self, chat: ChatAt, order: Order) -> Option<Asked> {
        let (rows, id) = (&self.state.rows, chat_id(chat));
        let state = rows.state(id)?;
        let text: Arc<str> = format!("said {}", self.state.asks.len()).into();
        let content = || Content::text(&text);
        Some(match order {
            Order::Send(mode) => {
                (Command::Send { content: content(), mode, queue_max: 4, client_id: None }, Some(text))
            }
            Order::Edit => {
                let users = |message: &&Arc<Message>| message.role == Role::User;
                let message = rows.history(id).iter().rfind(users)?.id;
                (Command::Edit { message, content: content() }, Some(text))
            }
            Order::Regenerate(mode) => (Command::Regenerate { message: None, mode }, None),
            Order::RegenerateEarlier => {
                let mut users = rows.history(id).iter().rev().filter(|message| message.role == Role::User);
                let message = Some(users.nth(1)?.id);
                (Command::Regenerate { message, mode: SendMode::Interrupt }, None)
            }
            Order::RegenerateThis(message, mode) => {
                (Command::Regenerate { message: Some(message), mode }, None)
            }
            Order::Interrupt => (Command::Interrupt { episode: None }, None),
            Order::Promote => (Command::Promote { queued: state.queue.last()?.id }, None),
            Order::DeleteQueued => (Command::DeleteQueued { queued: state.queue.first()?.id }, None),
            Order::Answer => {
                let open = state.calls.iter().filter(|call| call.waits_for_client());
                // One after the other, or all at once.
                let most = if self.state.asks.len().is_multiple_of(2) { 1 } else { usize::MAX };
                let results: Vec<_> =
                    open.take(most).map(|call| (call.id.clone(), result_of(&call.id))).collect();
                (Command::ToolResults { results }, None)
            }
            Order::Delete => (Command::Delete, None),
            Order::Share(may) => (Command::Share { user: friend_of(&self.users, chat), may }, None),
            Order::Unshare => (Command::Unshare { user: friend_of(&self.users, chat) }, None),
            Order::EditThis(message) => (Command::Edit { message, content: content() }, Some(text)),
            Order::PromoteThis(queued) => (Command::Promote { queued }, None),
            Order::DeleteThisQueued(queued) => (Command::DeleteQueued { queued }, None),
        })
    }

    fn may_ask(&self, node: NodeAt) -> bool {
        self.state.budget.requests > 0 && self.peek(node).is_some_and(Node::is_up)
    }

    /// A user asks for something; `again`: with a key, and until there is an answer.
    pub(crate) fn ask_for(&mut self, node: NodeAt, chat: ChatAt, order: Order, again: bool) {
        if let Some(asked) = self.command(chat, order).filter(|_| self.may_ask(node)) {
            self.state.budget.requests -= 1;
            let caller = self.owner(chat);
            self.ask(node, chat_id(chat), asked, caller, again);
        }
    }

    /// The chats of the first user.
    pub(crate) fn of_first_user(&self) -> impl Iterator<Item = ChatAt> + use<> {
        (0..self.setup.chats).step_by(usize::from(self.setup.users.max(1))).map(ChatAt)
    }

    /// The first user asks for the same in each chat at the same moment.
    pub(crate) fn ask_each(&mut self, node: NodeAt, order: Order) {
        for (at, chat) in self.of_first_user().enumerate() {
            self.ask_for(node, chat, order, at.is_multiple_of(2));
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
        let (request, caller, key) = (ask.request.clone(), ask.caller.clone(), ask.key.clone());
        let text = ask.text.as_deref().map(str::to_owned);
        let on = self.name(node);
        let keyed = request.command.client_id().is_none();
        self.observe(Evidence::Asked { caller, key, chat: request.chat, on, text, keyed });
        let chat = chat_at(request.chat);
        self.begin(node, Some(chat), OpId(0), Task::User(at, request));
    }
}

impl Asking {
    /// Nobody waits for an answer.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Answered | Self::GivenUp)
    }
}
