//! What may happen next.

use std::time::Duration;

use mainstem_machine::{SendMode, Status};

use crate::choice::From;
use crate::choice::{ChatAt, Choice, Class, How, NodeAt, Order, ViewerAt};
use crate::clock::DRIFTS;
use crate::node::{Life, LinkStage, Node};
use crate::world::{Asking, Viewer, World, chat_id};

/// How long a model asks to be left alone, if it fails so.
const LEFT_ALONE: Duration = Duration::from_secs(4);
/// What viewers claim, if they can.
const CLAIMS: [From; 9] = [
    From::Before(1),
    From::Before(2),
    From::Gone,
    From::Never,
    From::Back(1),
    From::Back(5),
    From::Back(20),
    From::Future,
    From::FutureMessages,
];

impl World {
    /// Everything that may happen now, in an order that depends on the state alone.
    pub fn choices(&self, into: &mut Vec<Choice>) {
        into.clear();
        for (at, node) in self.state.nodes.iter().enumerate() {
            let at = NodeAt(at as u8);
            match node.life {
                Life::Lost => {}
                Life::Down => {
                    into.push(Choice::Start(at));
                    if self.state.budget.strangers > 0 && self.state.budget.faults > 0 {
                        into.push(Choice::StartAmiss(at));
                    }
                }
                Life::Paused => into.extend([Choice::Resume(at), Choice::Crash(at)]),
                Life::Up => self.choices_of(at, node, into),
            }
        }
        if self.state.budget.faults == 0 {
            into.retain(|choice| !matches!(choice, Choice::Crash(_)));
        }
        if !self.state.strays.is_empty() {
            into.push(Choice::Stray);
        }
        self.choices_of_viewers(into);
        self.choices_of_users(into);
        if !self.is_urgent() && self.state.budget.passes > 0 && self.is_anything_due() {
            into.push(Choice::Pass);
        }
    }

    fn choices_of(&self, at: NodeAt, node: &Node, into: &mut Vec<Choice>) {
        let (faults, delays) = (self.state.budget.faults > 0, self.state.budget.delays > 0);
        for (place, operation) in node.operations.iter().enumerate() {
            let (chat, kind, held) = (operation.chat, operation.task.kind(), operation.held);
            if node.find(chat, kind, held) != Some(place) {
                continue;
            }
            let mut push = |how| into.push(Choice::Operation { node: at, chat, kind, how });
            if held {
                push(How::Late);
                continue;
            }
            push(How::Carry);
            if faults {
                push(How::Refuse);
                if operation.task.writes() {
                    push(How::LoseRequest);
                    push(How::LoseAnswer);
                }
            }
            if delays {
                push(How::Hold);
                push(How::Happen);
            }
        }
        if !node.notices.is_empty() {
            into.push(Choice::Notice(at));
            if faults {
                into.extend([Choice::LoseNotice(at), Choice::RepeatNotice(at)]);
            }
            if delays && !node.notices_held {
                into.push(Choice::HoldNotices(at));
            }
        }
        for (chat, open) in &node.hubs {
            if let Some(link) = &open.link {
                match link.stage {
                    LinkStage::Dialing(_) if self.may_answer_dial(link.worker) => {
                        into.push(Choice::AnswerDial(at, *chat));
                    }
                    _ if self.may_relay(at, *chat) => into.push(Choice::Relay(at, *chat)),
                    _ => {}
                }
                if delays && !link.held {
                    into.push(Choice::HoldLink(at, *chat));
                }
                if faults {
                    into.push(Choice::BreakLink(at, *chat));
                }
            }
            if open.model.is_some() {
                if self.state.budget.parts > 0 {
                    into.extend([Choice::Say, Choice::SayMuch, Choice::SayMany].map(|say| say(at, *chat)));
                }
                into.push(Choice::Finish(at, *chat));
                if faults {
                    into.extend([Choice::Fail(at, *chat), Choice::FailForGood(at, *chat)]);
                    into.push(Choice::FailFor(at, *chat, LEFT_ALONE));
                }
            }
        }
        for (chat, open) in node.hubs.iter().filter(|(_, open)| !open.calls.is_empty()) {
            into.extend([Choice::Return(at, *chat), Choice::FailCall(at, *chat)]);
            if open.calls.len() > 1 {
                into.push(Choice::ReturnLast(at, *chat));
            }
        }
        if self.state.budget.drifts > 0 {
            let drifts: &[i16] = if node.keeps_time() { &DRIFTS } else { &[0] };
            into.extend(drifts.iter().map(|per_mille| Choice::Drift(at, *per_mille)));
        }
        if faults && !node.drain.has_begun() {
            into.push(Choice::Drain(at));
        }
        if node.drain.is_patient() {
            into.push(Choice::HandOver(at));
        }
        if self.may_exit(at) {
            into.push(Choice::Exit(at));
        }
        if faults {
            into.extend([Choice::BreakBus(at), Choice::Crash(at), Choice::Pause(at)]);
            if self.may_be_lost(at) {
                into.push(Choice::Lost(at));
            }
        }
    }

    /// Whether another replica can take its place.
    pub(crate) fn may_be_lost(&self, node: NodeAt) -> bool {
        let others = self.state.nodes.iter().enumerate().filter(|(at, _)| *at != usize::from(node.0));
        others.into_iter().any(|(_, other)| other.life != Life::Lost)
    }

    fn may_answer_dial(&self, worker: Option<NodeAt>) -> bool {
        worker.and_then(|worker| self.peek(worker)).is_none_or(|worker| worker.life != Life::Paused)
    }

    fn choices_of_viewers(&self, into: &mut Vec<Choice>) {
        for (at, viewer) in self.state.viewers.iter().enumerate() {
            let at = ViewerAt(at as u8);
            match &viewer.stream {
                Some(stream) => {
                    let awake = self.peek(stream.on).is_some_and(Node::is_up);
                    if awake && !stream.idle {
                        into.push(Choice::Read(at));
                        if self.state.budget.faults > 0 {
                            into.push(Choice::Lose(at));
                        }
                    }
                    if self.state.budget.moves > 0 {
                        into.push(Choice::Leave(at));
                    }
                    if self.state.budget.delays > 0 && !viewer.stalled {
                        into.push(Choice::Stall(at));
                    }
                }
                None if viewer.over || self.state.budget.moves == 0 => {}
                None if !self.is_admitted(viewer) => {}
                None => {
                    let mut claims = [None; CLAIMS.len()];
                    if self.state.budget.claims > 0 {
                        claims = CLAIMS.map(|from| self.claim(at, from).map(|_| from));
                    }
                    for (node, here) in self.state.nodes.iter().enumerate() {
                        if !here.is_up() || here.drain.has_begun() {
                            continue;
                        }
                        let node = NodeAt(node as u8);
                        into.push(Choice::Watch(at, node, From::Newest));
                        if viewer.cursor.is_some() {
                            into.push(Choice::Watch(at, node, From::Fresh));
                            into.push(Choice::Watch(at, node, From::Message));
                        }
                        let claims = claims.iter().flatten();
                        into.extend(claims.map(|from| Choice::Watch(at, node, *from)));
                    }
                }
            }
        }
    }

    /// Whether the chat is there for whoever watches it.
    pub(crate) fn is_admitted(&self, viewer: &Viewer) -> bool {
        let state = self.state.rows.state(chat_id(viewer.chat));
        state.is_some_and(|state| state.is_there_for(&viewer.caller))
    }

    /// Whether a user would watch the chat if it were shared.
    fn has_friend(&self, chat: ChatAt) -> bool {
        let of_friends = |viewer: &&Viewer| viewer.chat == chat && viewer.caller != *self.owner_of(chat);
        self.state.viewers.iter().any(|viewer| of_friends(&viewer))
    }

    fn choices_of_users(&self, into: &mut Vec<Choice>) {
        let waiting = self.state.asks.iter().any(|ask| ask.stage == Asking::Unanswered);
        for (at, _) in self.state.nodes.iter().enumerate().filter(|(_, node)| node.is_up()) {
            let at = NodeAt(at as u8);
            if waiting {
                into.push(Choice::AskAgain(at));
            }
            self.choices_of_strangers(at, into);
            if self.state.budget.requests == 0 {
                continue;
            }
            let is_there = |chat: &ChatAt| self.state.rows.state(chat_id(*chat)).is_some();
            if self.of_first_user().filter(is_there).count() > 1 {
                let both = [Order::Send(SendMode::Queue), Order::Interrupt];
                into.extend(both.map(|order| Choice::AskEach(at, order)));
            }
            for chat in (0..self.setup.chats).map(ChatAt) {
                let Some(state) = self.state.rows.state(chat_id(chat)) else { continue };
                for order in Order::ALL {
                    let sensible = match order {
                        Order::Promote | Order::DeleteQueued => !state.queue.is_empty(),
                        Order::Interrupt | Order::Send(SendMode::Reject) => state.status.is_busy(),
                        Order::Regenerate(SendMode::Interrupt) => true,
                        // What it does to a busy chat is the same as a rejection.
                        Order::Regenerate(SendMode::Queue) => !state.status.is_busy(),
                        Order::Regenerate(SendMode::Reject) => state.status.is_busy(),
                        Order::RegenerateEarlier => {
                            state.turn.as_ref().is_some_and(|turn| turn.message.0 > 1)
                        }
                        Order::Answer => state.status == Status::RequiresAction,
                        Order::Delete => !state.status.is_runnable(),
                        Order::Share(_) => self.has_friend(chat),
                        Order::Unshare => self.has_friend(chat) && !state.shares.is_empty(),
                        Order::Send(_) | Order::Edit => true,
                        Order::EditThis(_)
                        | Order::RegenerateThis(..)
                        | Order::PromoteThis(_)
                        | Order::DeleteThisQueued(_) => false,
                    };
                    if sensible {
                        into.push(Choice::Ask(at, chat, order));
                    }
                }
                // Where nothing is lost, nobody asks again.
                if self.state.budget.faults > 0 {
                    into.push(Choice::AskOnce(at, chat, Order::Send(SendMode::Queue)));
                }
            }
        }
    }

    fn choices_of_strangers(&self, at: NodeAt, into: &mut Vec<Choice>) {
        if self.state.budget.strangers == 0 {
            return;
        }
        if self.last_keyed().is_some() {
            into.extend([Choice::Repeat(at), Choice::Steal(at)]);
        }
        for chat in (0..self.setup.chats).map(ChatAt) {
            let Some(state) = self.state.rows.state(chat_id(chat)) else { continue };
            into.push(Choice::Peep(at, chat));
            let order = if state.status.is_runnable() { Order::Interrupt } else { Order::Delete };
            into.push(Choice::Try(at, chat, order));
            into.push(Choice::Try(at, chat, Order::Send(SendMode::Interrupt)));
        }
    }

    /// What kind of thing a choice is now.
    pub(crate) fn class(&self, choice: Choice) -> Class {
        let is_link_late = |node, chat: &ChatAt| {
            let link = self.peek(node).and_then(|node| node.hubs.get(chat)?.link.as_ref());
            link.is_some_and(|link| link.held)
        };
        match choice {
            Choice::Notice(node) if self.peek(node).is_some_and(|node| node.notices_held) => Class::Late,
            Choice::AnswerDial(node, chat) | Choice::Relay(node, chat) if is_link_late(node, &chat) => {
                Class::Late
            }
            Choice::Read(viewer) if self.state.viewers[usize::from(viewer.0)].stalled => Class::Late,
            _ => choice.class(),
        }
    }

    /// What may happen next if what takes no time goes in order: of the rest, everything that [`choices`] has. What
    /// becomes of an operation is chosen when it is its turn.
    ///
    /// [`choices`]: Self::choices
    pub(crate) fn ordered_choices(&self, into: &mut Vec<Choice>) {
        self.choices(into);
        let next = self.first_urgent();
        let of_next = |choice: &Choice| match (*choice, next) {
            (Choice::Operation { how: How::Late, .. }, _) => true,
            (
                Choice::Operation { node, chat, kind, .. },
                Some(Choice::Operation { node: n, chat: c, kind: k, .. }),
            ) => (node, chat, kind) == (n, c, k),
            (Choice::Operation { .. }, _) => false,
            (Choice::LoseNotice(at) | Choice::RepeatNotice(at) | Choice::HoldNotices(at), next) => {
                next == Some(Choice::Notice(at))
            }
            (Choice::HoldLink(at, chat), next) => {
                next == Some(Choice::Relay(at, chat)) || next == Some(Choice::AnswerDial(at, chat))
            }
            (Choice::Stall(at) | Choice::Lose(at), next) => next == Some(Choice::Read(at)),
            (choice, next) => self.class(choice) != Class::Progress || next.is_none_or(|next| next == choice),
        };
        into.retain(of_next);
    }

    /// Whether something is under way that does not take its time. Until it is done, no time passes.
    pub(crate) fn is_urgent(&self) -> bool {
        self.first_urgent().is_some()
    }

    /// The first thing under way that does not take its time.
    pub(crate) fn first_urgent(&self) -> Option<Choice> {
        for (at, node) in self.state.nodes.iter().enumerate().filter(|(_, node)| node.is_up()) {
            let at = NodeAt(at as u8);
            if let Some(operation) = node.operations.iter().find(|operation| !operation.held) {
                let (chat, kind) = (operation.chat, operation.task.kind());
                return Some(Choice::Operation { node: at, chat, kind, how: How::Carry });
            }
            if !node.notices.is_empty() && !node.notices_held {
                return Some(Choice::Notice(at));
            }
            for (chat, open) in &node.hubs {
                let Some(link) = open.link.as_ref().filter(|link| !link.held) else { continue };
                match link.stage {
                    LinkStage::Dialing(_) if self.may_answer_dial(link.worker) => {
                        return Some(Choice::AnswerDial(at, *chat));
                    }
                    LinkStage::Dialing(_) => {}
                    _ if self.may_relay(at, *chat) => return Some(Choice::Relay(at, *chat)),
                    _ => {}
                }
            }
        }
        let reads = |viewer: &&crate::world::Viewer| {
            let stream = viewer.stream.as_ref().filter(|stream| !stream.idle && !viewer.stalled);
            stream.and_then(|stream| self.peek(stream.on)).is_some_and(Node::is_up)
        };
        let at = self.state.viewers.iter().position(|viewer| reads(&viewer))?;
        Some(Choice::Read(ViewerAt(at as u8)))
    }
}
