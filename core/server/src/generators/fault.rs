//! What goes wrong at a provider or an agent, how it is told, and whether it is tried again. Nothing that either wrote
//! goes into a message: it may repeat a key, or what a user said.

use mainstem_machine::RunError;
use mainstem_runtime::ports::Generated;

use super::report::{Blame, Report};
use crate::limits::model::{ORIGIN_BYTES_MAX, SILENT_ATTEMPTS_MAX};

/// Who was asked, in the words of messages.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it is reached.
    host: &'static str,
    /// The same, once it was named.
    it: &'static str,
    /// Who speaks.
    speaker: &'static str,
    /// What is expected of it.
    event: &'static str,
    /// By which setting it is found.
    url: &'static str,
    /// What may be wrong with a request.
    request: &'static str,
}

/// A provider of models.
pub(super) const PROVIDER: Peer = Peer {
    host: "the model's provider",
    it: "the provider",
    speaker: "the model",
    event: "a chunk of a chat completion",
    url: "check the base URL",
    request: "check the base URL, the model and the length of the conversation",
};

/// An agent.
pub(super) const AGENT: Peer = Peer {
    host: "the agent",
    it: "the agent",
    speaker: "the agent",
    event: "an event of AG-UI",
    url: "check the agent's URL",
    request: "check the agent's URL and the length of the conversation",
};

/// Why a run has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody answers, or the connection broke. Why is for the log.
    Unreachable(String),
    /// Nothing came for as long as is waited.
    Silent,
    /// Signs of life or thoughts came for as long as is waited, or more of them than are taken, and no word.
    Wordless,
    /// The stream ended before the answer did.
    CutShort,
    /// The model stopped with the finish reason `error`.
    Stopped,
    /// The model stopped with a finish reason that nobody knows.
    UnknownReason,
    /// The answer ended, and nothing was said in it.
    Nothing,
    /// More of the answer waits for what is before it than is held.
    HeldTooMuch,
    /// The answer is no stream of Chat Completions chunks.
    NotEvents,
    /// The provider is elsewhere: at this scheme, host and port, if it names one.
    Redirected(Option<String>),
    /// An event makes no sense.
    Garbage,
    /// An event is longer than any answer may be.
    TooLong,
    /// The provider filtered the answer, or refused the question for what it says.
    Filtered,
    /// The provider says that it is an error.
    Told(Report),
    /// The agent says that its run failed.
    Failed { report: Report, has_spoken: bool },
}

impl Fault {
    pub(super) fn told(report: Report) -> Self {
        if report.blame == Blame::Content { Self::Filtered } else { Self::Told(report) }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Filtered => Blame::Content,
            Self::Redirected(_) => Blame::Request,
            Self::Told(report) | Self::Failed { report, .. } => report.blame,
            _ => Blame::Provider,
        }
    }

    /// Whether another attempt may go better after this one.
    pub(super) fn is_retryable(&self, attempt: u64) -> bool {
        match self {
            // The same bytes would come out the same.
            Self::NotEvents | Self::TooLong | Self::HeldTooMuch => false,
            Self::Silent | Self::Wordless => attempt < SILENT_ATTEMPTS_MAX,
            // What its tools did is done.
            Self::Failed { has_spoken: true, .. } => false,
            _ => matches!(self.blame(), Blame::Provider | Blame::Rate),
        }
    }

    /// Stable, for machines.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NotEvents | Self::Garbage | Self::UnknownReason => "provider_protocol",
            Self::TooLong | Self::HeldTooMuch => "answer_too_large",
            Self::Nothing => "answer_empty",
            Self::Silent | Self::Wordless => "provider_timeout",
            Self::Failed { .. } => "agent_failed",
            _ => match self.blame() {
                Blame::Provider => "provider_unavailable",
                Blame::Rate => "provider_rate_limited",
                Blame::Quota => "provider_quota_exhausted",
                Blame::Key => "provider_unauthorized",
                Blame::Request => "provider_rejected",
                Blame::Content => "content_filtered",
            },
        }
    }

    pub(super) fn message(&self, peer: &Peer) -> String {
        let Peer { host, it, speaker, event, url, request } = peer;
        let came = match self {
            Self::Unreachable(_) => format!("{host} cannot be reached, or the connection broke"),
            Self::Silent => format!("nothing came from {speaker} for too long"),
            Self::Wordless => format!("{speaker} gave signs of life for too long, and no word of an answer"),
            Self::CutShort => format!("{it}'s stream ended before the answer did"),
            Self::Stopped => "the model stopped because of an error at its provider".into(),
            Self::UnknownReason => {
                "expected stop, length, tool_calls or function_call as finish reason, came another".into()
            }
            Self::Nothing => "the model's answer ended without a word".into(),
            Self::HeldTooMuch => format!("{speaker} called more tools at once than are taken"),
            Self::NotEvents => format!("expected an event stream from {it}, came something else"),
            Self::Redirected(None) => format!("{it} redirects to somewhere else"),
            Self::Redirected(Some(origin)) => {
                let origin = &origin[..origin.floor_char_boundary(ORIGIN_BYTES_MAX)];
                format!("{it} redirects to {origin}, where the key is not sent")
            }
            Self::Garbage => format!("expected {event}, came something else"),
            Self::TooLong => format!("{it} sent an event that is longer than an answer may be"),
            Self::Filtered => "the provider's content filter ended the answer".into(),
            Self::Told(Report { blame: Blame::Quota, .. }) => {
                format!("{it} says that the account's quota is used up")
            }
            Self::Told(Report { status, name, .. }) => match (status, name) {
                (None, None) => format!("{it} reported an error"),
                (None, Some(name)) => format!("{it} reported an error ({name})"),
                (Some(status), None) => format!("{it} answered {status}"),
                (Some(status), Some(name)) => format!("{it} answered {status} ({name})"),
            },
            Self::Failed { report: Report { name: Some(name), .. }, .. } => {
                format!("{it} says that its run failed ({name})")
            }
            Self::Failed { .. } => format!("{it} says that its run failed"),
        };
        let advice = match self {
            Self::NotEvents | Self::Redirected(_) => url,
            Self::TooLong | Self::HeldTooMuch => "ask for less at once",
            _ => match self.blame() {
                Blame::Provider | Blame::Rate => "try again later",
                Blame::Quota => "check the account's plan and billing",
                Blame::Key => "check the API key",
                Blame::Request => request,
                Blame::Content => "say it in another way",
            },
        };
        format!("{came}; {advice}")
    }

    /// What broke, for the log.
    pub(super) fn cause(&self) -> &str {
        match self {
            Self::Unreachable(cause) => cause,
            _ => "",
        }
    }

    /// What the run ends with, being this attempt.
    pub(super) fn into_generated(self, attempt: u64, peer: &Peer) -> Generated {
        let error = RunError { code: self.code().into(), message: self.message(peer).into() };
        let retry_after = match &self {
            Self::Told(report) => report.retry_after,
            _ => None,
        };
        Generated::Failed { error, retryable: self.is_retryable(attempt), retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_waited_for_twice_and_what_will_not_change_is_not_asked_for_again() {
        for fault in [Fault::Silent, Fault::Wordless] {
            assert!(fault.is_retryable(1) && !fault.is_retryable(2), "{fault:?}");
        }
        for fault in [Fault::TooLong, Fault::HeldTooMuch, Fault::NotEvents] {
            assert!(!fault.is_retryable(1), "{fault:?}");
        }
        for fault in [Fault::CutShort, Fault::UnknownReason, Fault::Nothing, Fault::Garbage] {
            assert!(fault.is_retryable(4), "{fault:?}");
        }
    }

    #[test]
    fn an_agent_is_asked_again_only_if_it_failed_before_it_said_anything() {
        let failed =
            |blame, has_spoken| Fault::Failed { report: Report { blame, ..Report::UNKNOWN }, has_spoken };
        assert!(failed(Blame::Provider, false).is_retryable(4) && failed(Blame::Rate, false).is_retryable(4));
        assert!(!failed(Blame::Provider, true).is_retryable(1));
        assert!(!failed(Blame::Quota, false).is_retryable(1), "what will not change is not asked for again");
    }

    #[test]
    fn a_redirect_is_named_within_bounds() {
        let message = Fault::Redirected(Some(format!("https://{}.example", "ż".repeat(200)))).message(&AGENT);
        assert!(message.contains("https://ż") && message.len() <= 200, "B1: {message}");
    }
}
