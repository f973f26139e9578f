//! One answer, from its first event to its end. The rule of endings: only a reason that is known ends well;
//! what comes after a reason still counts, until `[DONE]` or the end of the body; and an answer in which
//! nothing was said is none.

use mainstem_machine::{Completion, FinishReason, Usage};

use super::fault::Fault;
use super::wire::{Piece, Reason};

#[derive(Debug, Default)]
pub(super) struct Answer {
    spoke: bool,
    reasoned: bool,
    asked_tools: bool,
    /// The last reason given.
    reason: Option<Reason>,
    /// The last one told: some providers count along.
    usage: Option<Usage>,
    /// A reason was given, and something was said or another given since: then reasons are no sign of the end.
    went_on: bool,
    /// A reason that ends badly. No later one mends it.
    fault: Option<Fault>,
}

impl Answer {
    /// Takes what an event says, and gives the text of it.
    pub(super) fn take(&mut self, piece: Piece) -> String {
        self.went_on |= self.reason.is_some() && (piece.says() || piece.reason.is_some());
        self.spoke |= !piece.text.is_empty();
        self.reasoned |= piece.reasons;
        self.asked_tools |= piece.asks_tools;
        self.usage = piece.usage.or(self.usage);
        match piece.reason {
            None => {}
            Some(Reason::ContentFilter) => self.fault = Some(Fault::Filtered),
            Some(Reason::Error) if self.fault.is_none() => self.fault = Some(Fault::Stopped),
            Some(Reason::Unknown) if self.fault.is_none() => self.fault = Some(Fault::UnknownReason),
            Some(reason) => self.reason = Some(reason),
        }
        piece.text
    }

    /// Whether the answer is whole even if the connection breaks now.
    pub(super) fn is_whole(&self) -> bool {
        self.reason.is_some() && !self.went_on && self.fault.is_none()
    }

    /// What it came to, at `[DONE]` or at the end of the body.
    pub(super) fn end(&mut self, marked: bool) -> Result<Completion, Fault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.reason.is_none() && !marked {
            return Err(Fault::CutShort);
        }
        match () {
            () if self.spoke => Ok(Completion { finish_reason: self.finish_reason(), usage: self.usage }),
            () if self.asked_tools || self.reason == Some(Reason::ToolCalls) => Err(Fault::ToolsOnly),
            () if self.reasoned => Err(Fault::ReasoningOnly),
            () => Err(Fault::Nothing),
        }
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        match self.reason? {
            Reason::Stop => Some(FinishReason::Stop),
            Reason::Length => Some(FinishReason::Length),
            Reason::ToolCalls => Some(FinishReason::ToolCalls),
            Reason::ContentFilter | Reason::Error | Reason::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, reason: Option<Reason>) -> Piece {
        Piece { text: text.into(), reason, ..Piece::default() }
    }

    fn end(pieces: impl IntoIterator<Item = Piece>, marked: bool) -> Result<Option<FinishReason>, Fault> {
        let mut answer = Answer::default();
        pieces.into_iter().for_each(|piece| drop(answer.take(piece)));
        answer.end(marked).map(|completion| completion.finish_reason)
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
        let reasons = Piece { reasons: true, ..Piece::default() };
        assert_eq!(end([reasons, stop()], true), Err(Fault::ReasoningOnly));
        let asks = Piece { asks_tools: true, ..Piece::default() };
        assert_eq!(end([asks, stop()], true), Err(Fault::ToolsOnly));
    }

    #[test]
    fn a_reason_that_was_given_more_than_once_is_no_sign_of_the_end() {
        let mut answer = Answer::default();
        answer.take(said("x", Some(Reason::Stop)));
        assert!(answer.is_whole());
        answer.take(said("", None));
        assert!(answer.is_whole(), "usage comes after the reason");
        answer.take(said("y", Some(Reason::Stop)));
        assert!(!answer.is_whole());
    }
}
