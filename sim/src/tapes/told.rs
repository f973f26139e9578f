//! A tape as a timeline: what a machine was told, and what it says to it now (D4).

use std::collections::VecDeque;
use std::fmt;

use mainstem_machine::Time;
use mainstem_machine::hub::Deadline;
use mainstem_runtime::tape::{Ending, Machine, Replayed, Step, TapeError, Verdict, replay};

use crate::arrows::Arrows;
use crate::run;
use crate::tally::Counts;
use crate::trace::{Kind, Line};

/// Characters of one line: a page of messages is long.
const LINE_CHARS_MAX: usize = 240;
/// Lines that are kept for the end, if not all are asked for.
const LAST_LINES_MAX: usize = 12;

/// A tape that was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub replayed: Replayed,
    /// All lines, or the last ones.
    pub lines: Vec<Line>,
}

/// Tells a tape to its machine, and keeps all lines if `whole`.
pub fn tell(tape: &[u8], whole: bool) -> Result<Told, TapeError> {
    let mut lines = VecDeque::new();
    let mut wake_up = None;
    let mut last = Time::START;
    let replayed = replay(tape, &mut |step| {
        last = step.at;
        write(step, &mut wake_up, &mut lines);
        while !whole && lines.len() > LAST_LINES_MAX {
            lines.pop_front();
        }
    })?;
    let mut lines: Vec<_> = lines.into();
    if !matches!(replayed.verdict, Verdict::Same) {
        lines.push(line(last, "verdict", Kind::Broken, &replayed.verdict));
    }
    Ok(Told { replayed, lines })
}

fn write(step: Step<'_>, wake_up: &mut Option<Deadline>, lines: &mut VecDeque<Line>) {
    lines.push_back(line(step.at, "told", Kind::Done, format_args!("{:?}", step.input)));
    let (said, deadline) = step.said();
    lines.extend(said.into_iter().map(|said| line(step.at, "says", Kind::Done, said)));
    if *wake_up != deadline {
        *wake_up = deadline;
        let when = match deadline {
            Some(Deadline { at, reason }) => format!("Wake at {at:?} for {reason:?}"),
            None => "Wake never".to_owned(),
        };
        lines.push_back(line(step.at, "says", Kind::Done, when));
    }
}

fn line(at: Time, who: &str, kind: Kind, what: impl fmt::Display) -> Line {
    let mut what = what.to_string();
    if let Some((end, _)) = what.char_indices().nth(LINE_CHARS_MAX) {
        let more = what.len() - end;
        what.truncate(end);
        what.push_str(&format!("… ({more} B more)"));
    }
    Line { at, who: who.into(), kind, what }
}

impl Told {
    /// Whether the machine says the same, and had not panicked either.
    pub fn is_clean(&self) -> bool {
        matches!(self.replayed.verdict, Verdict::Same)
    }

    /// As the outcome of a run, for its page.
    pub fn into_outcome(self) -> run::Outcome {
        let verdict = match &self.replayed.verdict {
            Verdict::Same => run::Verdict::Clean,
            Verdict::Panicked { message, .. } => run::Verdict::Panicked(message.clone()),
            other => run::Verdict::Panicked(other.to_string()),
        };
        let (arrows, counts) = (Arrows::default(), Counts::default());
        run::Outcome { verdict, lines: self.lines, arrows, digest: 0, counts }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replayed { head, build, inputs, ending, .. } = &self.replayed;
        let texts = if head.has_content { "with texts" } else { "without texts" };
        match &head.machine {
            Machine::Hub { chat, config } => {
                writeln!(f, "tape   hub of {chat} at {}, {texts}", config.replica)?
            }
            Machine::Replica { config } => writeln!(f, "tape   replica {}, {texts}", config.replica)?,
        }
        writeln!(f, "build  {build}")?;
        writeln!(f, "told   {inputs} inputs")?;
        match ending {
            Ending::Ended(end) => write!(f, "end    {end}"),
            Ending::Cut(0) => write!(f, "end    the process ended first"),
            Ending::Cut(bytes) => {
                write!(f, "end    the process ended first, and left {bytes} B of an input that is not whole")
            }
            Ending::Unread => write!(f, "end    the rest was not told"),
        }
    }
}
