//! The oracle of D4: tells a machine what a tape says that it was told, and compares what it says with
//! what it said.

use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mainstem_machine::Time;
use mainstem_machine::hub::{Deadline, Hub, JoinedParts};
use mainstem_machine::replica::Replica;

use super::format::{End, Head, LedTo, Machine, Next, Reader, TapeError};
use super::machine::{Said, Taped};
use super::recorded::digest_of;

/// One input of a tape, and what the machine says to it now.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub at: Time,
    pub input: &'a dyn Debug,
    /// `None`: it panicked.
    output: Option<&'a dyn Said>,
    deadline: Option<Deadline>,
}

impl Step<'_> {
    /// What the machine says, a line for each thing, and when it wants to be woken.
    pub fn said(&self) -> (Vec<String>, Option<Deadline>) {
        (self.output.map(Said::lines).unwrap_or_default(), self.deadline)
    }
}

impl Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("at", &self.at).field("input", self.input).finish_non_exhaustive()
    }
}

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub head: Head,
    pub build: String,
    /// How many inputs were told.
    pub inputs: u64,
    pub verdict: Verdict,
    pub ending: Ending,
}

/// Whether the machine said the same. Where not, the last input that was told is the first to differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    #[error("the same outputs")]
    Same,
    #[error("the machine panicked where it had, at input {input}: {message}")]
    Panicked { input: u64, message: String },
    #[error("D4: expected outputs with the digest {expected:016x} to input {input}, came {came:016x}")]
    Differs { input: u64, expected: u64, came: u64 },
    #[error("D4: expected outputs to input {input}, and the machine panicked: {message}")]
    PanicsNow { input: u64, message: String },
    #[error("D4: expected a panic at input {input}, and there was none")]
    PanicsNotNow { input: u64 },
}

/// How a tape ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Ended(End),
    /// The process ended first. So many bytes of a frame that is not whole are left.
    Cut(usize),
    /// It was not read to its end.
    Unread,
}

/// Replays a tape, and tells each input with what comes of it.
pub fn replay(tape: &[u8], each: &mut dyn FnMut(Step<'_>)) -> Result<Replayed, TapeError> {
    let (mut reader, head) = Reader::open(tape)?;
    let build = reader.build.to_owned();
    let (inputs, verdict, ending) = match &head.machine {
        Machine::Hub { config, .. } => {
            let hub = Hub::new(head.begun_at, Arc::new(config.clone()));
            run(&mut reader, hub, head.has_content, each)?
        }
        Machine::Replica { config } => {
            let replica = Replica::new(head.begun_at, config.clone());
            run(&mut reader, replica, head.has_content, each)?
        }
    };
    Ok(Replayed { head, build, inputs, verdict, ending })
}

fn run<M: Taped>(
    reader: &mut Reader<'_>,
    mut machine: M,
    has_content: bool,
    each: &mut dyn FnMut(Step<'_>),
) -> Result<(u64, Verdict, Ending), TapeError> {
    let mut joined = JoinedParts::default();
    let mut verdict = Verdict::Same;
    let mut input = 0;
    loop {
        let (told, led_to) = match reader.next::<M::Input>()? {
            Next::Input(told, led_to) => (told, led_to),
            Next::End(end) => return Ok((input, verdict, Ending::Ended(end))),
            Next::Cut(bytes) => return Ok((input, verdict, Ending::Cut(bytes))),
        };
        input += 1;
        let taken = catch_unwind(AssertUnwindSafe(|| machine.take(told.clone(), &mut joined)));
        let output = taken.as_ref().ok().map(|output| output as &dyn Said);
        let deadline = taken.as_ref().ok().and_then(|_| machine.deadline());
        each(Step { at: M::time_of(&told), input: &told, output, deadline });
        verdict = match (taken, led_to) {
            (Ok(output), LedTo::Outputs(expected)) => {
                let came = digest_of::<M>(&output, deadline, has_content);
                if came == expected { Verdict::Same } else { Verdict::Differs { input, expected, came } }
            }
            (Ok(_), LedTo::Panic) => Verdict::PanicsNotNow { input },
            (Err(panic), LedTo::Outputs(_)) => Verdict::PanicsNow { input, message: message(&*panic) },
            (Err(panic), LedTo::Panic) => Verdict::Panicked { input, message: message(&*panic) },
        };
        match verdict {
            Verdict::Same | Verdict::Panicked { .. } => {}
            _ => return Ok((input, verdict, Ending::Unread)),
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
}
