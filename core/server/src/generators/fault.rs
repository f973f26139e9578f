//! What goes wrong at a provider, how it is told, and whether it is tried again. Nothing that a provider wrote
//! goes into a message: it may repeat a key, or what a user said.

use mainstem_machine::RunError;
use mainstem_runtime::ports::Generated;

use super::report::{Blame, Report};
use crate::limits::model::{ORIGIN_BYTES_MAX, SILENT_ATTEMPTS_MAX};

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
}

impl Fault {
    pub(super) fn told(report: Report) -> Self {
        if report.blame == Blame::Content { Self::Filtered } else { Self::Told(report) }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Filtered => Blame::Content,
            Self::Redirected(_) => Blame::Request,
            Self::Told(report) => report.blame,
            _ => Blame::Provider,
        }
    }

    /// Whether another attempt may go better after this one.
    pub(super) fn is_retryable(&self, attempt: u64) -> bool {
        match self {
            // The same bytes would come out the same.
            Self::NotEvents | Self::TooLong | Self::HeldTooMuch => false,
            Self::Silent | Self::Wordless => attempt < SILENT_ATTEMPTS_MAX,
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

    pub(super) fn message(&self) -> String {
        let came = match self {
            Self::Unreachable(_) => "the model's provider cannot be reached, or the connection broke".into(),
            Self::Silent => "nothing came from the model for too long".into(),
            Self::Wordless => "the model gave signs of life for too long, and no word of an answer".into(),
            Self::CutShort => "the provider's stream ended before the answer did".into(),
            Self::Stopped => "the model stopped because of an error at its provider".into(),
            Self::UnknownReason => {
                "expected stop, length, tool_calls or function_call as finish reason, came another".into()
            }
            Self::Nothing => "the model's answer ended without a word".into(),
            Self::HeldTooMuch => "the model called more tools at once than are taken".into(),
            Self::NotEvents => "expected an event stream from the provider, came something else".into(),
            Self::Redirected(None) => "the provider redirects to somewhere else".into(),
            Self::Redirected(Some(origin)) => {
                let origin = &origin[..origin.floor_char_boundary(ORIGIN_BYTES_MAX)];
                format!("the provider redirects to {origin}, where the key is not sent")
            }
            Self::Garbage => "expected a chunk of a chat completion, came something else".into(),
            Self::TooLong => "the provider sent an event that is longer than an answer may be".into(),
            Self::Filtered => "the provider's content filter ended the answer".into(),
            Self::Told(Report { blame: Blame::Quota, .. }) => {
                "the provider says that the account's quota is used up".into()
            }
            Self::Told(Report { status, name, .. }) => match (status, name) {
                (None, None) => "the provider reported an error".into(),
                (None, Some(name)) => format!("the provider reported an error ({name})"),
                (Some(status), None) => format!("the provider answered {status}"),
                (Some(status), Some(name)) => format!("the provider answered {status} ({name})"),
            },
        };
        let advice = match self {
            Self::NotEvents | Self::Redirected(_) => "check the base URL",
            Self::TooLong | Self::HeldTooMuch => "ask for less at once",
            _ => match self.blame() {
                Blame::Provider | Blame::Rate => "try again later",
                Blame::Quota => "check the account's plan and billing",
                Blame::Key => "check the API key",
                Blame::Request => "check the base URL, the model and the length of the conversation",
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
    pub(super) fn into_generated(self, attempt: u64) -> Generated {
        let error = RunError { code: self.code().into(), message: self.message().into() };
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
    fn a_redirect_is_named_within_bounds() {
        let message = Fault::Redirected(Some(format!("https://{}.example", "ż".repeat(200)))).message();
        assert!(message.contains("https://ż") && message.len() <= 200, "B1: {message}");
    }
}
