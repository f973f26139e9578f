//! What was chosen is done.

use mainstem_machine::hub::{self, HubEvent, JoinedParts};
use mainstem_machine::replica::{self, ReplicaEvent};

use crate::choice::{ChatAt, Choice, NodeAt};
use crate::node::Life;
use crate::trace::Told;
use crate::world::World;

/// Parts that a model says at once, now and then: more than wait for anybody.
const MANY: usize = 24;
impl World {
    /// Does what was chosen; nothing if it is not possible now.
    pub fn step(&mut self, choice: Choice) {
        self.note(Told::Chosen, || ("run".into(), choice.to_string()));
        match choice {
            Choice::Operation { node, chat, kind, how } => self.operation(node, chat, kind, how),
            Choice::Stray => self.stray(),
            Choice::Notice(node) => self.take_notice(node, false),
            Choice::RepeatNotice(node) => self.take_notice(node, true),
            Choice::LoseNotice(node) => self.lose_notice(node),
            Choice::HoldNotices(node) => self.hold_notices(node),
            Choice::BreakBus(node) => self.break_bus(node),
            Choice::AnswerDial(node, chat) => self.answer_dial(node, chat),
            Choice::Relay(node, chat) => self.relay(node, chat),
            Choice::HoldLink(node, chat) => self.hold_link(node, chat),
            Choice::BreakLink(node, chat) => self.break_link(node, chat),
            Choice::Say(node, chat) => self.say(node, chat, 1),
            Choice::SayMuch(node, chat) => self.say(node, chat, 60),
            Choice::SayMany(node, chat) => (0..MANY).for_each(|_| self.say(node, chat, 1)),
            Choice::Finish(node, chat) => self.finish(node, chat),
            Choice::Fail(node, chat) => self.fail(node, chat, true, None),
            Choice::FailFor(node, chat, span) => self.fail(node, chat, true, Some(span)),
            Choice::FailForGood(node, chat) => self.fail(node, chat, false, None),
            Choice::Return(node, chat) => self.return_call(node, chat, false),
            Choice::ReturnLast(node, chat) => self.return_call(node, chat, true),
            Choice::FailCall(node, chat) => self.fail_call(node, chat),
            Choice::Watch(viewer, node, from) => self.watch(viewer, node, from),
            Choice::Share(of, to) => self.share(of, to),
            Choice::Read(viewer) => self.read(viewer, false),
            Choice::Lose(viewer) => self.read(viewer, true),
            Choice::Leave(viewer) => self.leave(viewer),
            Choice::Stall(viewer) => self.stall(viewer),
            Choice::Ask(node, chat, order) => self.ask_for(node, chat, order, true),
            Choice::AskOnce(node, chat, order) => self.ask_for(node, chat, order, false),
            Choice::AskEach(node, order) => self.ask_each(node, order),
            Choice::Repeat(node) => self.repeat(node),
            Choice::Try(node, chat, order) => self.try_as_stranger(node, chat, order),
            Choice::Steal(node) => self.steal(node),
            Choice::Peep(node, chat) => self.peep(node, chat),
            Choice::AskAgain(node) => self.ask_again(node),
            Choice::Create(node, chat) => self.create(node, chat),
            Choice::Pass => self.pass(None),
            Choice::PassAtMost(span) => self.pass(Some(span)),
            Choice::MayWork(node) => self.let_work(node, true),
            Choice::MayNotWork(node) => self.let_work(node, false),
            Choice::Crash(node) => self.crash(node, Life::Down),
            Choice::Lost(node) => self.crash(node, Life::Lost),
            Choice::Start(node) => self.start(node, false),
            Choice::StartAmiss(node) => self.start_amiss(node),
            Choice::Pause(node) => self.pause(node),
            Choice::Resume(node) => self.resume(node),
            Choice::Drift(node, per_mille) => self.drift(node, per_mille),
            Choice::Drain(node) => self.drain(node),
            Choice::HandOver(node) => self.hand_over(node),
            Choice::Exit(node) => self.exit(node),
        }
        self.settle_drains();
        if self.laws {
            self.check_open();
        }
    }

    /// Hands an event to a hub, if it is open, and carries out what it asks for.
    pub(crate) fn handle(&mut self, node: NodeAt, chat: ChatAt, event: HubEvent) {
        let there = self.peek(node).and_then(|node| node.hubs.get(&chat));
        if there.is_none_or(|open| open.hub.is_finished()) {
            return;
        }
        let now = self.local(node);
        let input = hub::Input { at: now, what: hub::Told::Event(event) };
        let said = self.open(node, chat).hub.take(input, &mut JoinedParts::default());
        self.settle_hub(node, chat, said);
    }

    /// Hands an event to a replica's machine, and carries out what it asks for.
    pub(crate) fn tell_replica(&mut self, node: NodeAt, event: ReplicaEvent) {
        let now = self.local(node);
        let said = self.node(node).replica.take(replica::Input { at: now, event });
        self.settle_replica(node, said);
    }
}
