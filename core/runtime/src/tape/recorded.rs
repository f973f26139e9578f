//! A machine, and the tape of what it is told, if one is kept. Without one it costs a look at an `Option`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use mainstem_machine::Time;
use mainstem_machine::hub::{Deadline, JoinedParts};

use super::digest::digest;
use super::format::{End, Head, InputFrame, LedTo, Machine, first_bytes, last_frame};
use super::machine::Taped;
use super::names::Names;
use super::redact::Redact;
use super::text::Replacement;
use crate::ports::{NewTape, TapeFull, TapeWriter, Tapes};

/// That tapes are kept, where, and of which build.
#[derive(Clone)]
pub struct Recording {
    pub tapes: Arc<dyn Tapes>,
    /// Keep texts of users and models as they are.
    pub with_content: bool,
    /// What ids of calls and names of tools are replaced under, where texts are: drawn at random, and kept nowhere.
    pub key: [u8; 32],
    pub build: Arc<str>,
}

/// Nothing of the key.
impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("with_content", &self.with_content).finish_non_exhaustive()
    }
}

impl Recording {
    /// Begins the tape of a machine that begins now.
    pub(crate) fn begin(&self, machine: Machine, begun_at: Time) -> Option<Tape> {
        let name = match &machine {
            Machine::Hub { chat, .. } => format!("hub-{chat}"),
            Machine::Replica { .. } => "replica".to_owned(),
        };
        let head = Head { machine, begun_at, has_content: self.with_content };
        let first = first_bytes(&self.build, &head)?;
        let if_lost = last_frame(End::Lost);
        let writer = Some(self.tapes.begin(NewTape { name: name.clone(), first, if_lost }));
        let names = (!self.with_content).then(|| Names::new(&self.key));
        Some(Tape { name, writer, names })
    }
}

/// The tape of one machine.
pub(crate) struct Tape {
    name: String,
    writer: Option<Box<dyn TapeWriter>>,
    /// `None`: texts are kept as they are.
    names: Option<Names>,
}

impl Tape {
    fn frame<I: Taped>(&self, input: &I::Input) -> Option<InputFrame> {
        let Some(names) = &self.names else { return InputFrame::of(input) };
        let mut redacted = input.clone();
        redacted.redact(Replacement::Filling(names));
        InputFrame::of(&redacted)
    }

    fn append(&mut self, frame: Vec<u8>) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(why) = writer.append(frame) {
            tracing::warn!(tape = self.name, %why, "a tape ends before its machine");
            self.end(match why {
                TapeFull::Tape => End::TapeFull,
                TapeFull::Behind => End::Behind,
                TapeFull::Lost => End::Lost,
            });
        }
    }

    fn end(&mut self, why: End) {
        if let Some(writer) = self.writer.take() {
            writer.end(last_frame(why));
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.end(End::LetGo);
    }
}

/// A digest of what a machine said, and of when it wants to be woken, which does not depend on texts unless the tape has them.
pub(super) fn digest_of<M: Taped>(output: &M::Output, deadline: Option<Deadline>, has_content: bool) -> u64 {
    if has_content {
        return digest(&(output, deadline));
    }
    let mut measured = output.clone();
    measured.redact(Replacement::Length);
    digest(&(measured, deadline))
}

/// A machine that is told nothing but through here.
pub(crate) struct Recorded<M: Taped> {
    pub(super) machine: M,
    tape: Option<Tape>,
    joined: JoinedParts,
}

impl<M: Taped> Recorded<M> {
    pub(crate) fn new(machine: M, tape: Option<Tape>) -> Self {
        Self { machine, tape, joined: JoinedParts::default() }
    }

    pub(super) fn is_taped(&self) -> bool {
        self.tape.is_some()
    }

    /// Tells the machine. A tape keeps what it was told and a digest of what it said.
    pub(crate) fn take(&mut self, input: M::Input) -> M::Output {
        if !self.is_taped() {
            return self.machine.take(input, &mut self.joined);
        }
        let telling = Telling::<M>::begin(&mut self.tape, &input);
        let output = self.machine.take(input, &mut self.joined);
        telling.end(&self.machine, &output);
        output
    }
}

/// All questions, and nothing that would change it.
impl<M: Taped> Deref for Recorded<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

/// While a machine is told an input. If it panics, the input is the last one of its tape.
struct Telling<'a, M> {
    tape: &'a mut Option<Tape>,
    frame: Option<InputFrame>,
    machine: std::marker::PhantomData<M>,
}

impl<'a, M: Taped> Telling<'a, M> {
    fn begin(tape: &'a mut Option<Tape>, input: &M::Input) -> Self {
        let frame = tape.as_ref().and_then(|tape| tape.frame::<M>(input));
        Self { tape, frame, machine: std::marker::PhantomData }
    }

    fn end(mut self, machine: &M, output: &M::Output) {
        let frame = self.frame.take();
        let Some(tape) = self.tape else { return };
        match frame {
            Some(frame) => {
                let digest = digest_of::<M>(output, machine.deadline(), tape.names.is_none());
                tape.append(frame.led_to(LedTo::Outputs(digest)));
            }
            None => tape.end(End::Formless),
        }
        if machine.is_finished() {
            tape.end(End::Finished);
        }
        if tape.writer.is_none() {
            *self.tape = None;
        }
    }
}

impl<M> Drop for Telling<'_, M> {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take()
            && let Some(mut tape) = self.tape.take()
        {
            tape.append(frame.led_to(LedTo::Panic));
            tape.end(End::Panicked);
        }
    }
}

impl<M: Taped> fmt::Debug for Recorded<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("is_taped", &self.is_taped()).finish_non_exhaustive()
    }
}
