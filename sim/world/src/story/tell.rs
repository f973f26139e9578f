//! Who tells: performs sentences, lets time pass, and waits for what is expected.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use mainstem_machine::{DialId, StreamEvent, Time};
use mainstem_oracles::{Evidence, Guarantee, Judge, Name};
use mainstem_story::{Absence, Sentence, Step, Story};

use super::cast::{cast, setup};
use super::comings::{RETURN_DELAY, Visitor};
use super::faults::{Faults, dialing};
use super::plays::Plays;
use super::untold::{Untold, untold};
use crate::choice::{ChatAt, Choice, From, NodeAt, ViewerAt};
use crate::damage::{Heard, Testimony};
use crate::recording::Recording;
use crate::trace::{Line, Trace};
use crate::walk::{Verdict, judged};
use crate::world::{Asking, World};

/// How long a user waits for an answer, and a sentence about a model for a run.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);
/// Choices without time passing, at most: whatever goes on for longer never ends.
const CHOICES_MAX: usize = 100_000;

/// A story that was told.
#[derive(Debug)]
pub struct Telling {
    /// What was chosen.
    pub recording: Recording,
    /// The sentence that did not come true, if one did not.
    pub missed: Option<Missed>,
    /// What the judges say.
    pub verdict: Verdict,
    /// What happened, if it was to be kept.
    pub lines: Vec<Line>,
}

impl Telling {
    /// Whether everything came true, and no guarantee was broken.
    pub fn is_clean(&self) -> bool {
        self.missed.is_none() && self.verdict == Verdict::Clean
    }
}

/// A sentence that did not come true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// What the story guards first.
    pub guarantee: Guarantee,
    /// Where it stands, from 1.
    pub line: usize,
    /// The sentence.
    pub text: String,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guarantee, line, text, why } = self;
        write!(f, "line {line}: {text}\n{guarantee}: {why}")
    }
}

pub(super) struct Teller<'a> {
    pub(super) story: &'a Story,
    pub(super) world: World,
    pub(super) chats: Vec<String>,
    pub(super) viewers: BTreeMap<String, Visitor>,
    pub(super) slots: BTreeMap<String, ViewerAt>,
    pub(super) marks: BTreeMap<String, usize>,
    /// What users said, as the story has it and as the world has it.
    pub(super) texts: Vec<(String, String)>,
    /// Every dial so far: who dials, for which chat, and whom.
    pub(super) dials: Vec<(NodeAt, ChatAt, DialId, NodeAt)>,
    pub(super) faults: Faults,
    pub(super) plays: Plays,
    pub(super) absences: Vec<(&'a Sentence, Absence, usize)>,
    testimony: Testimony,
    /// All events that each viewer received, over all its streams, with the replica they came from.
    pub(super) received: BTreeMap<Name, Vec<(Name, StreamEvent)>>,
    pub(super) asked_at: Time,
    /// They outlast a world that panics.
    pub(super) choices: Rc<RefCell<Vec<Choice>>>,
    pub(super) chosen_now: usize,
}

/// Tells a story, without some of the judges. `Err` if the world lacks what it is about.
pub fn tell_story(story: &Story, without: &[Guarantee], keep_lines: bool) -> Result<Telling, Untold> {
    if let Some(untold) = untold(story) {
        return Err(untold);
    }
    let trace = Trace::default();
    let (mut missed, choices) = (None, Rc::<RefCell<Vec<Choice>>>::default());
    let (chats, slots) = cast(story);
    let setup = setup(story, &chats, &slots);
    let verdict = judged(|| {
        let testimony = Testimony::default();
        let mut world = World::testified(setup, Judge::without(without), Some(testimony.clone()));
        if keep_lines {
            world.keep(trace.clone());
        }
        let mut teller = Teller {
            story,
            world,
            chats,
            viewers: BTreeMap::new(),
            slots,
            marks: BTreeMap::new(),
            texts: vec![],
            dials: vec![],
            faults: Faults::default(),
            plays: Plays::default(),
            absences: vec![],
            testimony,
            received: BTreeMap::new(),
            asked_at: Time::from_micros(0),
            choices: choices.clone(),
            chosen_now: 0,
        };
        missed = teller.tell().err();
        teller.world
    });
    let choices = choices.take();
    Ok(Telling { recording: Recording { setup, choices }, missed, verdict, lines: trace.take() })
}

impl<'a> Teller<'a> {
    pub(super) fn node(&self, name: &str) -> NodeAt {
        let at = self.story.replicas.iter().position(|replica| replica == name);
        NodeAt(at.expect("the parser knows all replicas") as u8)
    }

    pub(super) fn chat(&self, name: &str) -> ChatAt {
        ChatAt(self.chats.iter().position(|chat| chat == name).unwrap_or(self.chats.len()) as u8)
    }

    pub(super) fn now(&self) -> Time {
        self.world.state.now
    }

    fn tell(&mut self) -> Result<(), Missed> {
        let story = self.story;
        let guarantee = story.guards[0];
        let missed = |sentence: &Sentence, why| {
            let (line, text) = (sentence.line, sentence.text.clone());
            Missed { guarantee, line, text, why }
        };
        let mut hoped = vec![];
        for replica in &story.wrong_secrets {
            self.estrange(self.node(replica));
        }
        for sentence in &story.sentences {
            if let Some(fault) = sentence.step.lands_as() {
                hoped.push((sentence, fault, self.faults.landed(fault)));
            }
            self.perform(sentence).map_err(|why| missed(sentence, why))?;
            if self.world.verdict().is_some() {
                return Ok(());
            }
        }
        for (sentence, absence, since) in &self.absences {
            if let Some(why) = self.intruder(absence, *since) {
                return Err(missed(sentence, why));
            }
        }
        // D2: a story whose fault affects nothing shows nothing.
        match hoped.iter().find(|(_, fault, before)| self.faults.landed(fault) == *before) {
            Some((sentence, fault, _)) => {
                let why = format!("no {fault:?} took effect since");
                Err(Missed { guarantee: Guarantee::D2, ..missed(sentence, why) })
            }
            None => Ok(()),
        }
    }

    fn perform(&mut self, sentence: &'a Sentence) -> Result<(), String> {
        match &sentence.step {
            Step::Wait(span) => self.pass_until(self.now() + *span),
            Step::Within { bound, expectation } => {
                let until = self.now() + *bound;
                return self
                    .until(until, |teller| teller.hold(expectation))
                    .map_err(|why| format!("not within {bound:?}: {why}"));
            }
            Step::Assert(expectation) => return self.hold(expectation),
            Step::For { span, absence } => {
                let since = self.since(absence);
                self.pass_until(self.now() + *span);
                return self.intruder(absence, since).map_or(Ok(()), Err);
            }
            Step::FromNowOn(absence) => {
                self.absences.push((sentence, absence.clone(), self.since(absence)));
            }
            Step::Watch { viewer, replica, chat, claim, .. } => {
                let from = self.claimed(chat, claim)?;
                if from != From::Fresh {
                    self.faults.land("viewer claims messages");
                }
                self.come(viewer, replica, from);
            }
            Step::Resume { viewer, replica, of, back } => {
                self.come_as(viewer, replica, of, From::Back(u16::try_from(*back).unwrap_or(u16::MAX)))?;
            }
            Step::Foresee { viewer, replica, of, messages } => {
                let from = if *messages { From::FutureMessages } else { From::Future };
                self.come_as(viewer, replica, of, from)?;
            }
            Step::Leave { viewer } => {
                let visitor = self.visitor(viewer);
                visitor.present = false;
                let at = visitor.at;
                self.step(Choice::Leave(at));
            }
            Step::Move { viewer, replica } => {
                let (on, now) = (self.node(replica), self.now());
                let visitor = self.visitor(viewer);
                (visitor.on, visitor.returns) = (on, now);
                let at = visitor.at;
                self.step(Choice::Leave(at));
            }
            Step::Read { viewer, reads } => {
                let visitor = self.visitor(viewer);
                visitor.reads_again = *reads;
                let at = visitor.at;
                if !reads {
                    self.step(Choice::Stall(at));
                }
            }
            Step::Order { order, chat, replica, again, .. } => {
                return self.order(order, chat, replica.as_deref(), again.as_deref());
            }
            Step::Model { replica, chat, line } => return self.model(replica, chat, line),
            step => self.befall(step),
        }
        self.carry_on();
        Ok(())
    }

    fn visitor(&mut self, name: &str) -> &mut Visitor {
        self.viewers.get_mut(name).expect("the parser knows all viewers")
    }

    /// Lets time pass until something holds, and then no longer.
    pub(super) fn until(
        &mut self,
        until: Time,
        holds: impl Fn(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            self.carry_on();
            let Err(why) = holds(self) else { return Ok(()) };
            if self.now() >= until || self.world.verdict().is_some() {
                return Err(why);
            }
            self.pass_a_while(until);
        }
    }

    fn pass_until(&mut self, until: Time) {
        self.carry_on();
        while self.now() < until && self.world.verdict().is_none() {
            self.pass_a_while(until);
            self.carry_on();
        }
    }

    /// Lets time pass until something is due, but not beyond `until`.
    fn pass_a_while(&mut self, until: Time) {
        let now = self.now();
        let due = self.faults.due.iter().map(|(at, _)| *at);
        let returns = self.viewers.values().filter(|visitor| visitor.present).map(|visitor| visitor.returns);
        let next = due
            .chain(returns)
            .chain(self.next_line())
            .chain([self.asked_at + RETURN_DELAY])
            .filter(|at| *at > now);
        let next = next.fold(until, Time::min);
        self.chosen_now = 0;
        self.step(Choice::PassAtMost(next.since(now)));
    }

    /// Everything goes on that does not need time.
    pub(super) fn carry_on(&mut self) {
        while self.world.verdict().is_none() {
            if let Some(choice) = self.next() {
                self.step(choice);
            } else if !self.play() {
                return;
            }
        }
    }

    fn next(&mut self) -> Option<Choice> {
        let now = self.now();
        if let Some(at) = self.faults.due.iter().position(|(at, _)| *at <= now) {
            return Some(self.faults.due.remove(at).1);
        }
        if let Some(next) = self.world.first_urgent() {
            return Some(self.faults.decide(&self.world, next));
        }
        if let Some(released) = self.faults.released(&self.world) {
            return Some(released);
        }
        let nodes = (0..self.story.replicas.len()).map(|at| NodeAt(at as u8));
        if let Some(node) = nodes.clone().find(|node| self.world.may_exit(*node)) {
            return Some(Choice::Exit(node));
        }
        if let Some(choice) = self.visit(now) {
            return Some(choice);
        }
        let unanswered = self.world.state.asks.iter().any(|ask| ask.stage == Asking::Unanswered);
        if unanswered && self.asked_at + RETURN_DELAY <= now {
            self.asked_at = now;
            return nodes.clone().find(|node| self.welcomes(*node)).map(Choice::AskAgain);
        }
        None
    }

    pub(super) fn welcomes(&self, node: NodeAt) -> bool {
        self.world.peek(node).is_some_and(|here| here.is_up() && !here.drain.has_begun())
    }

    pub(super) fn step(&mut self, choice: Choice) {
        self.chosen_now += 1;
        assert!(
            self.chosen_now < CHOICES_MAX,
            "L4: {CHOICES_MAX} choices, and no time passed; the last: {choice}"
        );
        self.choices.borrow_mut().push(choice);
        self.world.step(choice);
        self.receive();
        self.faults.time_notices(&self.world);
        self.count_dials();
    }

    /// Keeps what viewers have received by now.
    fn receive(&mut self) {
        for heard in self.testimony.take() {
            if let Heard::Evidence(_, Evidence::Saw { stream, event }) = heard
                && let Some(watcher) = self.world.judge().index().watcher(stream)
            {
                let event = (watcher.on.clone(), event);
                self.received.entry(watcher.name.clone()).or_default().push(event);
            }
        }
    }

    fn count_dials(&mut self) {
        for (at, here) in self.world.state.nodes.iter().enumerate() {
            let node = NodeAt(at as u8);
            for chat in here.hubs.keys() {
                let Some((dial, worker)) = dialing(&self.world, node, *chat) else { continue };
                let known = self.dials.iter().any(|(n, c, d, _)| (*n, *c, *d) == (node, *chat, dial));
                if !known {
                    self.dials.push((node, *chat, dial, worker));
                }
            }
        }
    }
}
