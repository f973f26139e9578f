//! One answer, from its first event to its end. The rule of endings: only a reason that is known ends well;
//! what comes after a reason still counts, until `[DONE]` or the end of the body; and an answer in which
//! nothing was said is none.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstem_machine::{Completion, Episode, FinishReason, Usage};
use mainstem_runtime::ports::Generated;

use super::blocks::Blocks;
use super::piece::Piece;
use super::wire::Reason;
use crate::generators::fault::Fault;

#[derive(Debug)]
pub(super) struct Answer {
    blocks: Blocks,
    spoke: bool,
    /// The last reason given.
    reason: Option<Reason>,
    /// The last one told: some providers count along.
    usage: Option<Usage>,
    /// A reason was given, and something was said or another given since: then reasons are no sign of the end.
    went_on: bool,
    /// A reason that ends badly. No later one mends it.
    fault: Option<Fault>,
}

/// What an event adds to an answer.
#[derive(Debug, Default)]
pub(super) struct Gain {
    pub(super) parts: Vec<Generated>,
    /// It has more text, told or not.
    pub(super) has_text: bool,
}

impl Answer {
    /// Of this model. No call of it gets a name that is `taken`.
    pub(super) fn new(episode: Episode, model: Arc<str>, taken: BTreeSet<String>) -> Self {
        let blocks = Blocks::new(episode, model, taken);
        Self { blocks, spoke: false, reason: None, usage: None, went_on: false, fault: None }
    }

    /// Takes what an event says, and gives the parts of it that can be told.
    pub(super) fn take(&mut self, piece: Piece) -> Result<Gain, Fault> {
        self.went_on |= self.reason.is_some() && (piece.says() || piece.reason.is_some());
        self.spoke |= piece.says();
        self.usage = piece.usage.or(self.usage);
        match piece.reason {
            None => {}
            Some(Reason::ContentFilter) => self.fault = Some(Fault::Filtered),
            Some(Reason::Error) if self.fault.is_none() => self.fault = Some(Fault::Stopped),
            Some(Reason::Unknown) if self.fault.is_none() => self.fault = Some(Fault::UnknownReason),
            Some(reason) => self.reason = Some(reason),
        }
        let (mut gain, held) = (Gain::default(), self.blocks.held());
        self.blocks.take(piece.bits, &mut gain.parts)?;
        let has_text = |part: &Generated| matches!(part, Generated::Part { text, .. } if !text.is_empty());
        gain.has_text = gain.parts.iter().any(has_text) || self.blocks.held() > held;
        Ok(gain)
    }

    /// Whether the answer is whole even if the connection breaks now.
    pub(super) fn is_whole(&self) -> bool {
        self.reason.is_some() && !self.went_on && self.fault.is_none()
    }

    /// What it came to, at `[DONE]` or at the end of the body: the last parts, and the end.
    pub(super) fn end(&mut self, marked: bool) -> Result<Vec<Generated>, Fault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.reason.is_none() && !marked {
            return Err(Fault::CutShort);
        }
        if !self.spoke {
            return Err(Fault::Nothing);
        }
        let mut parts = vec![];
        self.blocks.end(&mut parts)?;
        let completion = Completion { finish_reason: self.finish_reason(), usage: self.usage };
        parts.push(Generated::Done(completion));
        Ok(parts)
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        match self.reason {
            // Some say so of an answer that calls.
            None | Some(Reason::Stop) if self.blocks.has_calls() => Some(FinishReason::ToolCalls),
            Some(Reason::Stop) => Some(FinishReason::Stop),
            Some(Reason::Length) => Some(FinishReason::Length),
            Some(Reason::ToolCalls) => Some(FinishReason::ToolCalls),
            None | Some(Reason::ContentFilter | Reason::Error | Reason::Unknown) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstem_machine::Version;

    use super::*;
    use crate::generators::openai::blocks::Bit;
    use crate::generators::openai::call::CallBit;

    fn said(text: &str, reason: Option<Reason>) -> Piece {
        let bits = Some(Bit::Text(text.into())).filter(|_| !text.is_empty());
        Piece { bits: bits.into_iter().collect(), reason, ..Piece::default() }
    }

    fn new() -> Answer {
        Answer::new(Episode { history_version: Version(1), attempt: 1 }, "m".into(), BTreeSet::new())
    }

    fn end(pieces: impl IntoIterator<Item = Piece>, marked: bool) -> Result<Option<FinishReason>, Fault> {
        let mut answer = new();
        for piece in pieces {
            answer.take(piece)?;
        }
        match answer.end(marked)?.pop() {
            Some(Generated::Done(completion)) => Ok(completion.finish_reason),
            other => panic!("expected an end, came {other:?}"),
        }
    }

    #[test]
    fn only_a_known_reason_or_the_mark_ends_well() {
        for (reason, kept) in [
            (Reason::Stop, FinishReason::Stop),
            (Reason::Length, FinishReason::Length),
            (Reason::ToolCalls, FinishReason::ToolCalls),
        ] {
            assert_eq!(end([said("x", Some(reason))], false), Ok(Some(kept)));
        }
        assert_eq!(end([said("x", None)], true), Ok(None));
        assert_eq!(end([said("x", None)], false), Err(Fault::CutShort));
        for (reason, fault) in [
            (Reason::ContentFilter, Fault::Filtered),
            (Reason::Error, Fault::Stopped),
            (Reason::Unknown, Fault::UnknownReason),
        ] {
            let pieces = [said("x", Some(reason)), said("y", Some(Reason::Stop))];
            assert_eq!(end(pieces, true), Err(fault), "no later reason mends it");
        }
    }

    #[test]
    fn an_answer_in_which_nothing_was_said_is_none() {
        let stop = || said("", Some(Reason::Stop));
        assert_eq!(end([], true), Err(Fault::Nothing));
        assert_eq!(end([stop()], true), Err(Fault::Nothing));
        assert_eq!(end([said("", Some(Reason::ToolCalls))], true), Err(Fault::Nothing));
        let only = |bit| Piece { bits: vec![bit], ..Piece::default() };
        let thought = only(Bit::Reasoning("hm".into()));
        assert_eq!(end([thought, stop()], true), Ok(Some(FinishReason::Stop)));
        let call = || only(Bit::Call(CallBit { name: "f".into(), ..CallBit::default() }));
        assert_eq!(end([call(), stop()], true), Ok(Some(FinishReason::ToolCalls)));
        assert_eq!(end([call()], true), Ok(Some(FinishReason::ToolCalls)));
        let length = said("", Some(Reason::Length));
        assert_eq!(end([call(), length], true), Ok(Some(FinishReason::Length)));
    }

    #[test]
    fn a_reason_that_was_given_more_than_once_is_no_sign_of_the_end() {
        let mut answer = new();
        answer.take(said("x", Some(Reason::Stop))).unwrap();
        assert!(answer.is_whole());
        answer.take(said("", None)).unwrap();
        assert!(answer.is_whole(), "usage comes after the reason");
        answer.take(said("y", Some(Reason::Stop))).unwrap();
        assert!(!answer.is_whole());
    }
}
