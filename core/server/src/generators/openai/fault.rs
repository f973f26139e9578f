//! What goes wrong at a provider, and whose fault it is. Nothing that a provider wrote goes into a message:
//! it may repeat a key, or what a user said. Only error codes from a list of known ones are named.

use mainstem_machine::RunError;
use mainstem_runtime::ports::Generated;
use serde_json::Value;

/// Why a run has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody answers, or the connection broke.
    Unreachable,
    /// Nothing came for as long as is waited.
    Silent,
    /// The stream ended before the answer did.
    CutShort,
    /// The model stopped with the finish reason `error`.
    Stopped,
    /// The answer is no stream of Chat Completions chunks.
    NotEvents,
    /// An event makes no sense.
    Garbage,
    /// An event is longer than is taken.
    TooLong,
    /// The provider filtered the answer, or refused the question for what it says.
    Filtered,
    /// The provider answered with this HTTP status, and may have named a known error code.
    Status(u16, Option<&'static str>),
    /// An error object in the stream.
    InStream(Blame, Option<&'static str>),
}

/// Whom a provider's error is laid to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The provider.
    Provider,
    /// The rate of requests.
    Rate,
    /// The key.
    Key,
    /// The request.
    Request,
    /// What the conversation says.
    Content,
}

const KNOWN: [(&str, Blame); 22] = [
    ("api_error", Blame::Provider),
    ("internal_error", Blame::Provider),
    ("internal_server_error", Blame::Provider),
    ("overloaded_error", Blame::Provider),
    ("server_error", Blame::Provider),
    ("service_unavailable", Blame::Provider),
    ("timeout", Blame::Provider),
    ("rate_limit_error", Blame::Rate),
    ("rate_limit_exceeded", Blame::Rate),
    ("requests", Blame::Rate),
    ("tokens", Blame::Rate),
    ("account_deactivated", Blame::Key),
    ("authentication_error", Blame::Key),
    ("invalid_api_key", Blame::Key),
    ("permission_error", Blame::Key),
    ("context_length_exceeded", Blame::Request),
    ("insufficient_quota", Blame::Request),
    ("invalid_request_error", Blame::Request),
    ("model_not_found", Blame::Request),
    ("not_found_error", Blame::Request),
    ("content_filter", Blame::Content),
    ("content_policy_violation", Blame::Content),
];

impl Fault {
    /// The fault behind an HTTP status that is no success and the body that came with it.
    pub(super) fn of_status(status: u16, body: &[u8]) -> Self {
        let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
        match known(&error["error"]) {
            Some((_, Blame::Content)) if is_final(status) => Self::Filtered,
            known => Self::Status(status, known.map(|(name, _)| name)),
        }
    }

    /// The fault that an error object in the stream tells of. One that says nothing known may be passing.
    pub(super) fn of_error(error: &Value) -> Self {
        let code = &error["code"];
        let status = code.as_u64().or_else(|| code.as_str()?.parse().ok());
        if let Some(status) = status.and_then(|status| u16::try_from(status).ok()).filter(|s| *s >= 400) {
            return Self::Status(status, None);
        }
        match known(error) {
            Some((_, Blame::Content)) => Self::Filtered,
            Some((name, blame)) => Self::InStream(blame, Some(name)),
            None => Self::InStream(Blame::Provider, None),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Filtered => Blame::Content,
            Self::InStream(blame, _) => *blame,
            Self::Status(401 | 403, _) => Blame::Key,
            Self::Status(429, _) => Blame::Rate,
            Self::Status(status, _) if is_final(*status) => Blame::Request,
            _ => Blame::Provider,
        }
    }

    /// Whether another attempt may go better.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::NotEvents => false,
            _ => matches!(self.blame(), Blame::Provider | Blame::Rate),
        }
    }

    /// Stable, for machines.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NotEvents | Self::Garbage | Self::TooLong => "provider_protocol",
            Self::Silent => "provider_timeout",
            _ => match self.blame() {
                Blame::Provider => "provider_unavailable",
                Blame::Rate => "provider_rate_limited",
                Blame::Key => "provider_unauthorized",
                Blame::Request => "provider_rejected",
                Blame::Content => "content_filtered",
            },
        }
    }

    fn message(&self) -> String {
        let came = match self {
            Self::Unreachable => "the model's provider cannot be reached, or the connection broke".into(),
            Self::Silent => "nothing came from the model's provider for too long".into(),
            Self::CutShort => "the provider's stream ended before the answer did".into(),
            Self::Stopped => "the model stopped because of an error at its provider".into(),
            Self::NotEvents => "expected an event stream from the provider, came something else".into(),
            Self::Garbage => "expected a chunk of a chat completion, came something else".into(),
            Self::TooLong => "the provider sent an event that is longer than is taken".into(),
            Self::Filtered => "the provider's content filter ended the answer".into(),
            Self::Status(status, None) => format!("the provider answered {status}"),
            Self::Status(status, Some(name)) => format!("the provider answered {status} ({name})"),
            Self::InStream(_, None) => "the provider reported an error".into(),
            Self::InStream(_, Some(name)) => format!("the provider reported an error ({name})"),
        };
        let advice = match self.blame() {
            _ if matches!(self, Self::NotEvents) => "check the base URL",
            Blame::Provider | Blame::Rate => "try again later",
            Blame::Key => "check the API key",
            Blame::Request => "check the base URL, the model and the length of the conversation",
            Blame::Content => "say it in another way",
        };
        format!("{came}; {advice}")
    }
}

impl From<Fault> for Generated {
    fn from(fault: Fault) -> Self {
        let error = RunError { code: fault.code().into(), message: fault.message().into() };
        Self::Failed { error, retryable: fault.is_retryable() }
    }
}

/// Whether asking the same again will be answered the same.
fn is_final(status: u16) -> bool {
    !matches!(status, 408 | 409 | 429 | 500..)
}

/// The known name in an error object: its `code`, else its `type`.
fn known(error: &Value) -> Option<(&'static str, Blame)> {
    let find = |name: &Value| KNOWN.into_iter().find(|(known, _)| name.as_str() == Some(known));
    find(&error["code"]).or_else(|| find(&error["type"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whose_fault_it_is() {
        for (status, code, retryable) in [
            (302, "provider_rejected", false),
            (400, "provider_rejected", false),
            (401, "provider_unauthorized", false),
            (403, "provider_unauthorized", false),
            (404, "provider_rejected", false),
            (408, "provider_unavailable", true),
            (409, "provider_unavailable", true),
            (422, "provider_rejected", false),
            (429, "provider_rate_limited", true),
            (500, "provider_unavailable", true),
            (503, "provider_unavailable", true),
            (599, "provider_unavailable", true),
        ] {
            let fault = Fault::of_status(status, b"");
            assert_eq!((fault.code(), fault.is_retryable()), (code, retryable), "{status}");
        }
    }

    #[test]
    fn a_body_names_known_codes_only_and_a_filtered_question_is_told_apart() {
        let body = br#"{"error":{"message":"sk-1","type":"invalid_request_error","code":"model_not_found"}}"#;
        assert_eq!(Fault::of_status(404, body), Fault::Status(404, Some("model_not_found")));
        let body = br#"{"error":{"message":"sk-1","type":"sk-1","code":"sk-1"}}"#;
        assert_eq!(Fault::of_status(404, body), Fault::Status(404, None));
        let body = br#"{"error":{"code":"content_filter"}}"#;
        assert_eq!(Fault::of_status(400, body), Fault::Filtered);
        assert_eq!(Fault::of_status(500, body).code(), "provider_unavailable");
    }

    #[test]
    fn an_error_object_is_told_by_number_code_or_type() {
        for (error, code, retryable) in [
            (r#"{"code":502}"#, "provider_unavailable", true),
            (r#"{"code":"429"}"#, "provider_rate_limited", true),
            (r#"{"code":null,"type":"server_error"}"#, "provider_unavailable", true),
            (r#"{"code":"rate_limit_exceeded"}"#, "provider_rate_limited", true),
            (r#"{"code":"context_length_exceeded","type":"server_error"}"#, "provider_rejected", false),
            (r#"{"type":"authentication_error"}"#, "provider_unauthorized", false),
            (r#"{"code":"content_filter"}"#, "content_filtered", false),
            (r#"{"message":"?"}"#, "provider_unavailable", true),
            (r#""overloaded""#, "provider_unavailable", true),
            (r#"{"code":7}"#, "provider_unavailable", true),
        ] {
            let fault = Fault::of_error(&serde_json::from_str(error).unwrap());
            assert_eq!((fault.code(), fault.is_retryable()), (code, retryable), "{error}");
        }
    }
}
