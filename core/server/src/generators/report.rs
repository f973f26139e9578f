//! What a provider says about its error, in whichever form it says it: a status, an error object in a body or
//! in the stream, a name or a number in it. What is said counts more than the form it comes in. Of all that is
//! said, only names from a list of known ones are kept.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

/// Whom a provider's error is laid to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The provider.
    Provider,
    /// The rate of requests.
    Rate,
    /// The account has nothing left to spend.
    Quota,
    /// The key.
    Key,
    /// The request.
    Request,
    /// What the conversation says.
    Content,
}

/// What a provider's error comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) blame: Blame,
    /// The HTTP status, by the answer's head or by the error itself.
    pub(super) status: Option<u16>,
    pub(super) name: Option<&'static str>,
    /// How long it asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Names that say what happened: they count more than any status.
const PRECISE: [(&str, Blame); 25] = [
    ("overloaded_error", Blame::Provider),
    ("service_unavailable", Blame::Provider),
    ("unavailable", Blame::Provider),
    ("rate_limit_error", Blame::Rate),
    ("rate_limit_exceeded", Blame::Rate),
    ("rate_limited", Blame::Rate),
    ("resource_exhausted", Blame::Rate),
    ("too_many_requests", Blame::Rate),
    ("insufficient_quota", Blame::Quota),
    ("insufficient_balance", Blame::Quota),
    ("insufficient_credits", Blame::Quota),
    ("billing_hard_limit_reached", Blame::Quota),
    ("billing_not_active", Blame::Quota),
    ("payment_required", Blame::Quota),
    ("account_deactivated", Blame::Key),
    ("invalid_api_key", Blame::Key),
    ("unauthenticated", Blame::Key),
    ("permission_denied", Blame::Key),
    ("context_length_exceeded", Blame::Request),
    ("string_above_max_length", Blame::Request),
    ("model_not_found", Blame::Request),
    ("unsupported_parameter", Blame::Request),
    ("content_filter", Blame::Content),
    ("content_policy_violation", Blame::Content),
    ("responsibleaipolicyviolation", Blame::Content),
];

/// Names of whole classes of errors: they count where no status does.
const VAGUE: [(&str, Blame); 12] = [
    ("api_error", Blame::Provider),
    ("internal_error", Blame::Provider),
    ("internal_server_error", Blame::Provider),
    ("server_error", Blame::Provider),
    ("timeout", Blame::Provider),
    ("requests", Blame::Rate),
    ("tokens", Blame::Rate),
    ("authentication_error", Blame::Key),
    ("permission_error", Blame::Key),
    ("invalid_request_error", Blame::Request),
    ("invalid_argument", Blame::Request),
    ("not_found_error", Blame::Request),
];

impl Report {
    /// An error of which nothing is known. It may pass.
    pub(super) const UNKNOWN: Self =
        Self { blame: Blame::Provider, status: None, name: None, retry_after: None };

    /// What the head's status, if it is no success, and the body or the event say together.
    pub(super) fn of(head: Option<u16>, said: &Value) -> Self {
        let outer = match said {
            Value::Array(all) => all.first().unwrap_or(&Value::Null),
            said => said,
        };
        let members = [&outer["error"], outer]
            .into_iter()
            .flat_map(|object| [&object["code"], &object["type"], &object["status"], &object["status_code"]]);
        let members: Vec<&Value> = members.chain([&outer["error"]]).collect();
        let named = |names: &'static [(&str, Blame)]| {
            let find = |member: &&Value| {
                let said = member.as_str()?;
                names.iter().find(|(name, _)| said.eq_ignore_ascii_case(name)).copied()
            };
            members.iter().find_map(find)
        };
        let number = members.iter().find_map(|member| status(member));
        // Either of them may be what is busy; else the error knows better than the head.
        let number = head.filter(|head| *head == 429).or(number).or(head);
        if let Some((name, blame)) = named(&PRECISE) {
            return Self { blame, status: number, name: Some(name), retry_after: None };
        }
        let vague = named(&VAGUE);
        let blame = match (number, vague) {
            (Some(status), _) => Blame::of_status(status),
            (None, Some((_, blame))) => blame,
            (None, None) => Blame::Provider,
        };
        Self { blame, status: number, name: vague.map(|(name, _)| name), retry_after: None }
    }

    /// Whether the request is to blame, and nothing says what of it.
    pub(super) fn is_vague(&self) -> bool {
        let is_named = self.name.is_some_and(|name| PRECISE.iter().any(|(precise, _)| *precise == name));
        matches!(self.status, Some(400 | 422))
            && self.blame == Blame::Request
            && (!is_named || self.name == Some("unsupported_parameter"))
    }
}

impl Blame {
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Key,
            402 => Self::Quota,
            429 => Self::Rate,
            408 | 409 | 425 | 500.. => Self::Provider,
            _ => Self::Request,
        }
    }
}

/// What `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date, which is read by the clock of
/// whoever wrote it if that told the time.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(asked).ok()?;
    let told = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Some(date.duration_since(told.unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

/// A status in an error object, as a number or as its digits.
fn status(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: Option<u16>, said: &str) -> (Blame, Option<&'static str>) {
        let report = Report::of(head, &serde_json::from_str(said).unwrap_or_default());
        (report.blame, report.name)
    }

    #[test]
    fn a_status_tells_whose_fault_it_is() {
        for (status, blame) in [
            (302, Blame::Request),
            (400, Blame::Request),
            (401, Blame::Key),
            (402, Blame::Quota),
            (403, Blame::Key),
            (404, Blame::Request),
            (408, Blame::Provider),
            (409, Blame::Provider),
            (422, Blame::Request),
            (429, Blame::Rate),
            (500, Blame::Provider),
            (503, Blame::Provider),
            (599, Blame::Provider),
        ] {
            assert_eq!(of(Some(status), ""), (blame, None), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |headers: &[(&'static str, &str)]| {
            let header = |(name, value): &(&'static str, &str)| {
                (reqwest::header::HeaderName::from_static(name), value.parse().unwrap())
            };
            retry_after(&headers.iter().map(header).collect()).map(|asked| asked.as_secs())
        };
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(asked(&[("retry-after", "7")]), Some(7));
        assert_eq!(asked(&[("retry-after", " 0 ")]), Some(0));
        assert_eq!(asked(&[("retry-after", "Wed, 21 Oct 2015 07:28:20 GMT"), date]), Some(20));
        assert_eq!(asked(&[("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT"), date]), Some(0));
        assert_eq!(asked(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(0));
        let hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        assert!(asked(&[("retry-after", &hour)]).is_some_and(|asked| (3590..=3600).contains(&asked)));
        for none in ["", "soon", "-1"] {
            assert_eq!(asked(&[("retry-after", none)]), None, "{none}");
        }
    }

    #[test]
    fn what_is_said_counts_more_than_the_form_it_comes_in() {
        for (head, said, blame, name) in [
            (None, r#"{"error":{"code":429,"message":"slow down"}}"#, Blame::Rate, None),
            (None, r#"{"error":{"code":"429"}}"#, Blame::Rate, None),
            (None, r#"{"code":502,"message":"x"}"#, Blame::Provider, None),
            (None, r#"{"object":"error","code":400,"message":"x"}"#, Blame::Request, None),
            (
                None,
                r#"{"object":"error","type":"invalid_request_error"}"#,
                Blame::Request,
                Some("invalid_request_error"),
            ),
            (
                None,
                r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]"#,
                Blame::Rate,
                Some("resource_exhausted"),
            ),
            (None, r#"{"error":"rate_limit_exceeded"}"#, Blame::Rate, Some("rate_limit_exceeded")),
            (None, r#"{"error":"no idea"}"#, Blame::Provider, None),
            (None, r#"{"error":{"code":7}}"#, Blame::Provider, None),
            (None, r#"{"error":{"code":null,"type":"server_error"}}"#, Blame::Provider, Some("server_error")),
            (
                None,
                r#"{"error":{"code":"context_length_exceeded","type":"server_error"}}"#,
                Blame::Request,
                Some("context_length_exceeded"),
            ),
            (Some(400), r#"{"error":{"code":429}}"#, Blame::Rate, None),
            (
                Some(400),
                r#"{"error":{"type":"overloaded_error"}}"#,
                Blame::Provider,
                Some("overloaded_error"),
            ),
            (Some(429), r#"{"error":{"code":400}}"#, Blame::Rate, None),
            (
                Some(429),
                r#"{"error":{"code":"insufficient_quota"}}"#,
                Blame::Quota,
                Some("insufficient_quota"),
            ),
            (
                Some(429),
                r#"{"error":{"type":"invalid_request_error"}}"#,
                Blame::Rate,
                Some("invalid_request_error"),
            ),
            (Some(500), r#"{"error":{"code":"invalid_api_key"}}"#, Blame::Key, Some("invalid_api_key")),
            (Some(404), r#"{"error":{"message":"sk-1","type":"sk-1","code":"sk-1"}}"#, Blame::Request, None),
            (Some(400), r#"{"error":{"code":"content_filter"}}"#, Blame::Content, Some("content_filter")),
        ] {
            assert_eq!(of(head, said), (blame, name), "{head:?} {said}");
        }
    }
}
